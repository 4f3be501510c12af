//! Who listens on a port, as far as `/proc` says: a process that runs, or one whose end the kernel has not finished.
//!
//! Of a process that was killed a moment ago the port is still taken, because its rings are taken apart after its end;
//! but no process has the socket open. What others' processes have open is not shown to everybody: then nobody is found.
//!
//! Source: `proc_pid_net(5)`, `/proc/net/tcp` and `/proc/net/tcp6`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// A process that listens there now.
pub fn find(address: SocketAddr) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> = tables
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(|line| listening_inode(line, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let processes =
        fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.into_iter().find(|process: &u32| {
        let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten();
        let mut targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    })
}

/// The inode of a socket, from its line of a table, if it listens on that address or on all.
fn listening_inode(line: &str, address: SocketAddr) -> Option<&str> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let (ip, port) = local.split_once(':')?;
    let (ip, port) = (ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    let meets = ip.is_unspecified() || address.ip().is_unspecified() || ip.to_canonical() == address.ip();
    (*state == LISTENING && port == address.port() && meets).then_some(inode)
}

/// Words of 32 bits in the machine's own order, as hexadecimal digits.
fn ip_of(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(digits.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_line_of_the_table_is_a_socket_that_listens_there_or_is_passed_over() {
        let line = |local: &str, state: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  0  0 4711 1 0"
            )
        };
        let of = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let loopback = of([127, 0, 0, 1]);
        let mapped = format!("{}{}{loopback}", "0".repeat(16), of([0, 0, 255, 255]));
        let zeros = "0".repeat(32);
        #[rustfmt::skip]
        let rows: &[(String, &str, &str, bool)] = &[
            (format!("{loopback}:2694"),               "0A", "127.0.0.1:9876", true),
            (format!("{loopback}:2694"),               "01", "127.0.0.1:9876", false),
            (format!("{loopback}:2695"),               "0A", "127.0.0.1:9876", false),
            (format!("{}:2694", of([127, 0, 0, 2])),   "0A", "127.0.0.1:9876", false),
            (format!("{}:2694", of([127, 0, 0, 2])),   "0A", "0.0.0.0:9876",   true),
            ("00000000:2694".to_owned(),               "0A", "127.0.0.1:9876", true),
            (format!("{zeros}:2694"),                  "0A", "127.0.0.1:9876", true),
            (format!("{mapped}:2694"),                 "0A", "127.0.0.1:9876", true),
            (format!("{mapped}:2694"),                 "0A", "[::1]:9876",     false),
            ("nonsense".to_owned(),                    "0A", "127.0.0.1:9876", false),
        ];
        for (local, state, address, is_it) in rows {
            let line = line(local, state);
            let found = listening_inode(&line, address.parse().unwrap());
            assert_eq!(found, is_it.then_some("4711"), "{local} {state} {address}");
        }
        assert_eq!(listening_inode("  sl  local_address", "127.0.0.1:1".parse().unwrap()), None);
    }

    #[test]
    fn our_own_listener_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(find(address), Some(std::process::id()));
        drop(listener);
        assert_eq!(find(address), None);
    }
}
