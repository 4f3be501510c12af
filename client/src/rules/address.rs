//! Where name servers are: `rocketmq://host:9876,host:9876`, or the same without the scheme.

use crate::error::Error;

/// Where a name server listens unless it is said.
const PORT: u16 = 9876;
/// Most name servers of one client.
const NAME_SERVERS_MAX: usize = 64;

/// Reads a list of name servers, separated by commas or semicolons, as `NAMESRV_ADDR` has them.
pub(crate) fn parse(text: &str) -> Result<Vec<String>, Error> {
    let list = text.trim();
    let list = list.strip_prefix("rocketmq://").unwrap_or(list);
    if let Some((scheme, _)) = list.split_once("://") {
        return Err(Error::Invalid(format!(
            "the scheme {scheme}:// is not known; it is rocketmq://host:{PORT}"
        )));
    }
    let list = list.strip_suffix('/').unwrap_or(list);
    let mut servers = Vec::new();
    for part in list.split([',', ';']).map(str::trim).filter(|part| !part.is_empty()) {
        let server = with_port(part)?;
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    match servers.len() {
        0 => Err(Error::Invalid(format!("`{text}` names no name server; one is rocketmq://host:{PORT}"))),
        1..=NAME_SERVERS_MAX => Ok(servers),
        more => Err(Error::Invalid(format!("{more} name servers exceed {NAME_SERVERS_MAX}"))),
    }
}

fn with_port(part: &str) -> Result<String, Error> {
    let wrong = || Error::Invalid(format!("`{part}` is no host:port"));
    if part.contains(['/', ' ', '@', '?', '#']) {
        return Err(wrong());
    }
    // An IPv6 address has its colons in brackets.
    let after_host = part.rfind(']').map_or(part, |bracket| &part[bracket..]);
    match after_host.rsplit_once(':') {
        None => Ok(format!("{part}:{PORT}")),
        Some((host, port)) => {
            let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
            if host.is_empty() || !is_port || host.contains(':') { Err(wrong()) } else { Ok(part.to_owned()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_name_servers() {
        for (text, expected) in [
            ("rocketmq://host:9876", "host:9876"),
            ("host", "host:9876"),
            ("rocketmq://host/", "host:9876"),
            (" a:1 , b:2;c ", "a:1 b:2 c:9876"),
            ("a:1,a:1", "a:1"),
            ("[::1]:9876", "[::1]:9876"),
            ("[::1]", "[::1]:9876"),
        ] {
            assert_eq!(parse(text).unwrap().join(" "), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_with_what_one_is() {
        for (text, expected) in [
            ("", "`` names no name server; one is rocketmq://host:9876"),
            ("rocketmq://", "`rocketmq://` names no name server; one is rocketmq://host:9876"),
            ("http://host:80", "the scheme http:// is not known; it is rocketmq://host:9876"),
            ("host:port", "`host:port` is no host:port"),
            ("host:0", "`host:0` is no host:port"),
            ("host:70000", "`host:70000` is no host:port"),
            (":9876", "`:9876` is no host:port"),
            ("::1", "`::1` is no host:port"),
            ("user@host:1", "`user@host:1` is no host:port"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
        }
        let many = (0..65).map(|n| format!("h{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(parse(&many).unwrap_err().to_string(), "65 name servers exceed 64");
    }
}
