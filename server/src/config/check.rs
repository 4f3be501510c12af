//! Rules that a single value cannot show: what must hold between settings, and bounds of numbers.

use std::net::IpAddr;

use super::Settings;

/// Most shards of a node; more than any machine has cores.
pub const SHARDS_MAX: usize = 1024;
/// Smallest segment; with the default bound on messages the rule about two messages asks for more.
pub const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Largest segment; entries count positions in a segment in 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// A value that does not fit the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {what}")]
pub struct CheckError {
    /// The key to change.
    pub key: &'static str,
    /// What is wrong with it, and what to do.
    pub what: String,
}

/// Checks settings in which "auto" is filled in.
pub fn check(settings: &Settings) -> Result<(), CheckError> {
    let server = &settings.server;
    let fail = |key: &'static str, what: String| Err(CheckError { key, what });

    let Ok(host) = server.host.parse::<IpAddr>() else {
        return fail(
            "server.host",
            format!("is {}, not an IP address; write 127.0.0.1 or 0.0.0.0", server.host),
        );
    };
    if !host.is_loopback() && !server.insecure {
        return fail(
            "server.host",
            format!(
                "is {host}, reachable from outside without authentication and TLS; \
                 add --insecure if the network is trusted, or leave it at 127.0.0.1"
            ),
        );
    }
    if settings.shards() == 0 || settings.shards() > SHARDS_MAX {
        return fail("server.shards", format!("is {}; write 1 to {SHARDS_MAX}, or auto", settings.shards()));
    }
    check_ports(settings)?;
    for (key, name) in [("server.cluster", server.cluster.as_str()), ("server.name", settings.name())] {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 100 || !name.chars().all(fits) {
            return fail(key, format!("is {name:?}; use 1 to 100 of letters, digits, - _ and ."));
        }
    }
    if settings.advertise().parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        return fail(
            "server.advertise",
            format!("is {}, which clients cannot connect to; name this machine", settings.advertise()),
        );
    }
    if server.roles.broker && settings.name_servers().is_empty() {
        return fail(
            "server.namesrv",
            "is empty and this process is no name server; add --namesrv host:9876, or --roles broker,namesrv"
                .to_owned(),
        );
    }

    let log = &settings.log;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&log.segment_bytes.0) {
        return fail("log.segment_bytes", format!("is {}; write 1MiB to 1GiB", log.segment_bytes));
    }
    let whole_segment = 2 * settings.limits.message_bytes.0;
    if log.segment_bytes.0 < whole_segment {
        return fail(
            "log.segment_bytes",
            format!(
                "is {}, less than two messages of limits.message_bytes = {}",
                log.segment_bytes, settings.limits.message_bytes
            ),
        );
    }
    if log.unflushed_bytes_max.0 < whole_segment {
        return fail(
            "log.unflushed_bytes_max",
            format!(
                "is {}, less than two messages of limits.message_bytes = {}",
                log.unflushed_bytes_max, settings.limits.message_bytes
            ),
        );
    }
    for (key, value, max) in [
        ("log.writes_in_flight", log.writes_in_flight, 64),
        ("topics.default_queues", settings.topics.default_queues as usize, 1024),
        ("topics.auto_create_shards", settings.topics.auto_create_shards, SHARDS_MAX),
        ("limits.connections", settings.limits.connections, 1_000_000),
    ] {
        if value == 0 || value > max {
            return fail(key, format!("is {value}; write 1 to {max}"));
        }
    }
    if settings.limits.message_bytes.0 > 8 << 20 {
        return fail("limits.message_bytes", "exceeds 8MiB, half of the largest wire frame".to_owned());
    }
    Ok(())
}

/// Every listener needs a port of its own.
fn check_ports(settings: &Settings) -> Result<(), CheckError> {
    let server = &settings.server;
    let fail = |key: &'static str, what: String| Err(CheckError { key, what });
    if !server.roles.broker {
        return Ok(());
    }
    let shards = settings.shards();
    let last = usize::from(server.port) + (shards - 1) * usize::from(server.port_stride);
    if server.port == 0 || (server.vip && server.port <= 2) {
        return fail("server.port", format!("is {}; write 3 to 65535", server.port));
    }
    if last > usize::from(u16::MAX) {
        return fail(
            "server.port",
            format!(
                "is {}, so shard {} would listen on {last}; write a smaller one",
                server.port,
                shards - 1
            ),
        );
    }
    if shards > 1 && server.port_stride < 3 {
        return fail("server.port_stride", format!("is {}; write 3 or more", server.port_stride));
    }
    if server.roles.namesrv {
        for shard in 0..shards {
            let port = settings.shard_port(shard);
            if server.namesrv_port == port || (server.vip && server.namesrv_port == port - 2) {
                return fail("server.namesrv_port", format!("is {port}, which shard {shard} needs"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Flag, Layers, merge};
    use crate::config::machine::Machine;

    /// The error of settings changed by `key=value` pairs; empty when there is none.
    fn error(changes: &[(&str, &str)]) -> String {
        let flags: Vec<Flag> = changes
            .iter()
            .map(|(key, value)| Flag { flag: "--set".into(), key: (*key).into(), value: (*value).into() })
            .collect();
        let mut loaded = merge(Layers { flags: &flags, ..Default::default() }).expect("values that parse");
        loaded.settings.fill_in(&Machine { cores: 1, host_name: None, address: None });
        check(&loaded.settings).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn defaults_pass() {
        assert_eq!(error(&[]), "");
    }

    #[test]
    fn each_rule_names_the_key_to_change() {
        let rows: &[(&[(&str, &str)], &str)] = &[
            (&[("server.host", "localhost")], "server.host is localhost, not an IP address"),
            (&[("server.host", "0.0.0.0")], "server.host is 0.0.0.0, reachable from outside"),
            (&[("server.shards", "0")], "server.shards is 0"),
            (&[("server.port", "2")], "server.port is 2"),
            (
                &[("server.port", "65530"), ("server.shards", "2")],
                "server.port is 65530, so shard 1 would listen on 65540",
            ),
            (&[("server.port_stride", "2"), ("server.shards", "2")], "server.port_stride is 2"),
            (&[("server.namesrv_port", "10909")], "server.namesrv_port is 10911, which shard 0 needs"),
            (&[("server.cluster", "a b")], "server.cluster is \"a b\""),
            (&[("server.advertise", "0.0.0.0")], "server.advertise is 0.0.0.0"),
            (&[("server.roles", "broker")], "server.namesrv is empty"),
            (&[("log.segment_bytes", "2GiB")], "log.segment_bytes is 2GiB"),
            (&[("log.segment_bytes", "4MiB")], "log.segment_bytes is 4MiB, less than two messages"),
            (&[("log.unflushed_bytes_max", "1MiB")], "log.unflushed_bytes_max is 1MiB"),
            (&[("log.writes_in_flight", "0")], "log.writes_in_flight is 0"),
            (&[("limits.message_bytes", "9MiB")], "limits.message_bytes exceeds 8MiB"),
        ];
        for (changes, expected) in rows {
            let found = error(changes);
            assert!(found.starts_with(expected), "{changes:?} gave {found:?}");
        }
    }

    #[test]
    fn a_public_bind_can_be_asked_for_by_name() {
        assert_eq!(error(&[("server.host", "0.0.0.0"), ("server.insecure", "true")]), "");
    }

    #[test]
    fn a_name_server_alone_needs_no_shard_port() {
        assert_eq!(error(&[("server.roles", "namesrv"), ("server.port", "1")]), "");
    }
}
