//! Rules that a single value cannot show: what must hold between settings, and bounds of numbers.

use std::net::IpAddr;
use std::time::Duration;

use ringmq_conn::limits::CONNECTIONS_MAX;
use ringmq_engine::limits::{RESERVE_PART_MAX, SEGMENT_BYTES_MAX};

use super::Settings;
use super::value::ByteSize;
use crate::broker::limits::{BODY_BYTES_MAX, TIMER_HORIZON_MAX};

/// Most shards of a node; more than any machine has cores.
pub const SHARDS_MAX: usize = 1024;
/// Waits longer than this are not made much shorter by spinning.
const SPIN_MAX: Duration = Duration::from_millis(5);
/// Room for two of the largest messages, with their properties.
const LARGEST_MESSAGES: u64 = 2 * (BODY_BYTES_MAX as u64).next_power_of_two();

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
    if server.spin > SPIN_MAX {
        let us = |time: Duration| time.as_micros();
        return fail("server.spin", format!("is {}us; write 0us to {}us", us(server.spin), us(SPIN_MAX)));
    }
    check_ports(settings)?;
    for (key, name) in [("server.cluster", server.cluster.as_str()), ("server.name", settings.name())] {
        // Both are names of topics too.
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if name.is_empty() || name.len() > 100 || !name.chars().all(fits) {
            return fail(key, format!("is {name:?}; use 1 to 100 of letters, digits, - and _"));
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
    if log.segment_bytes.0 > SEGMENT_BYTES_MAX {
        let max = ByteSize(SEGMENT_BYTES_MAX);
        return fail("log.segment_bytes", format!("is {}; write {max} or less", log.segment_bytes));
    }
    for (key, size) in
        [("log.segment_bytes", log.segment_bytes), ("log.unflushed_bytes_max", log.unflushed_bytes_max)]
    {
        if size.0 < LARGEST_MESSAGES {
            return fail(
                key,
                format!(
                    "is {size}; write {} or more, for two of the largest messages",
                    ByteSize(LARGEST_MESSAGES)
                ),
            );
        }
    }
    for (key, value, max) in [
        ("log.writes_in_flight", log.writes_in_flight, 64),
        ("topics.default_queues", settings.topics.default_queues as usize, 1024),
        ("topics.auto_create_shards", settings.topics.auto_create_shards, SHARDS_MAX),
        ("limits.connections", settings.limits.connections, CONNECTIONS_MAX),
    ] {
        if value == 0 || value > max {
            return fail(key, format!("is {value}; write 1 to {max}"));
        }
    }
    if settings.delay.timer_horizon.is_zero() || settings.delay.timer_horizon > TIMER_HORIZON_MAX {
        let days = TIMER_HORIZON_MAX.as_secs() / 86_400;
        return fail(
            "delay.timer_horizon",
            format!("is {:?}; write 1ms to {days}d", settings.delay.timer_horizon),
        );
    }
    check_disk(settings)
}

/// Shares are shares, in their order, and the reserve fits into a segment.
fn check_disk(settings: &Settings) -> Result<(), CheckError> {
    let disk = &settings.disk;
    for (key, percent) in [
        ("disk.warn_percent", disk.warn_percent),
        ("disk.refuse_percent", disk.refuse_percent),
        ("retention.disk_percent", settings.retention.disk_percent),
    ] {
        if percent == 0 || percent > 100 {
            return Err(CheckError { key, what: format!("is {percent}; write 1 to 100") });
        }
    }
    if disk.warn_percent > disk.refuse_percent {
        let what = format!(
            "is {}, above disk.refuse_percent, which is {}; write a smaller one",
            disk.warn_percent, disk.refuse_percent
        );
        return Err(CheckError { key: "disk.warn_percent", what });
    }
    let reserve_max = ByteSize(settings.log.segment_bytes.0 / RESERVE_PART_MAX);
    if disk.reserve.0 > reserve_max.0 {
        let what = format!("is {}; write {reserve_max} or less, half of a segment", disk.reserve);
        return Err(CheckError { key: "disk.reserve", what });
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
            (&[("server.spin", "6ms")], "server.spin is 6000us; write 0us to 5000us"),
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
            (&[("log.segment_bytes", "8GiB")], "log.segment_bytes is 8GiB; write 4GiB or less"),
            (&[("log.segment_bytes", "4MiB")], "log.segment_bytes is 4MiB; write 8MiB or more"),
            (&[("log.unflushed_bytes_max", "1MiB")], "log.unflushed_bytes_max is 1MiB"),
            (&[("log.writes_in_flight", "0")], "log.writes_in_flight is 0"),
            (&[("disk.refuse_percent", "101")], "disk.refuse_percent is 101; write 1 to 100"),
            (&[("disk.warn_percent", "0")], "disk.warn_percent is 0; write 1 to 100"),
            (&[("disk.warn_percent", "91")], "disk.warn_percent is 91, above disk.refuse_percent"),
            (&[("retention.disk_percent", "0")], "retention.disk_percent is 0; write 1 to 100"),
            (&[("disk.reserve", "129MiB")], "disk.reserve is 129MiB; write 128MiB or less"),
            (&[("limits.connections", "1000000")], "limits.connections is 1000000; write 1 to "),
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
