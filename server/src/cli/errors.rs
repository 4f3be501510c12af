//! What went wrong, and what looks wrong, as people read it.
//!
//! A failed start is one message: what failed, then the remedy. A warning is one message too, and nothing stops.
//! Each carries a name, `error[port-in-use]`, which `ringmq explain` knows.

use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;

use crate::cli::paint::Paint;
use crate::config::Settings;
use crate::config::machine::is_local;
use crate::config::value::Flush;
use crate::start_error::StartError;

/// Columns that messages are wrapped to.
pub(super) const WIDTH: usize = 96;

/// The message of a failed start.
pub fn render(error: &StartError, paint: Paint) -> String {
    message("error", Some(error.name()), &error.to_string(), &error.remedy(), paint)
}

/// Something that works but will surprise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The most common first failure: clients are sent to an address that leads elsewhere.
    #[error("clients are told to connect to {host}, which is not an address of this machine")]
    AdvertisedElsewhere {
        /// The advertised host.
        host: String,
    },
    /// The advertised name cannot be resolved here.
    #[error("clients are told to connect to {host}, which this machine cannot resolve: {error}")]
    AdvertisedUnknown {
        /// The advertised host.
        host: String,
        /// What the resolver said.
        error: String,
    },
    /// Listening for others, who are then sent to themselves.
    #[error("this node listens on {host} but tells clients to connect to {advertised}, their own machine")]
    AdvertisedLoopback {
        /// Where it listens.
        host: String,
        /// What clients are told.
        advertised: String,
    },
    /// Reachable by everybody.
    #[error("this node listens on {host} without authentication and TLS")]
    Insecure {
        /// Where it listens.
        host: String,
    },
    /// Answers before bytes are durable.
    #[error("log.flush is async: sends are answered before they are on disk")]
    AsyncFlush,
    /// The folder cannot be written around the page cache.
    #[error("{} has no O_DIRECT, so writes go through the page cache and fdatasync", .folder.display())]
    Buffered {
        /// The data folder.
        folder: PathBuf,
    },
}

impl Warning {
    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Warning::AdvertisedElsewhere { .. } => {
                "That is right behind NAT or in a container whose outer address it is; otherwise name an address \
                 of this machine with `--advertise HOST`."
            }
            Warning::AdvertisedUnknown { .. } => "Name a host that clients can resolve: `--advertise HOST`.",
            Warning::AdvertisedLoopback { .. } => "Name the address that others reach: `--advertise HOST`.",
            Warning::Insecure { .. } => {
                "Everybody who reaches these ports may send, consume and administer; keep them inside a trusted \
                 network."
            }
            Warning::AsyncFlush => {
                "A power failure loses answered messages; `--set log.flush=sync` prevents that."
            }
            Warning::Buffered { .. } => "Expect more latency; ext4 and xfs on a local disk have it.",
        }
    }

    /// The name that `ringmq explain` knows it by.
    pub fn name(&self) -> &'static str {
        match self {
            Warning::AdvertisedElsewhere { .. } => "advertised-elsewhere",
            Warning::AdvertisedUnknown { .. } => "advertised-unknown",
            Warning::AdvertisedLoopback { .. } => "advertised-loopback",
            Warning::Insecure { .. } => "insecure",
            Warning::AsyncFlush => "async-flush",
            Warning::Buffered { .. } => "buffered",
        }
    }

    /// The message.
    pub fn render(&self, paint: Paint) -> String {
        message("warning", Some(self.name()), &self.to_string(), self.remedy(), paint)
    }
}

/// What in the settings works but will surprise. Resolves the advertised host.
pub fn warnings(settings: &Settings) -> Vec<Warning> {
    let server = &settings.server;
    let advertised = settings.advertise();
    let addresses =
        (advertised, 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect());
    let listens_outside = server.host.parse::<IpAddr>().is_ok_and(|host| !host.is_loopback());
    let mut warnings = Vec::new();
    if server.roles.broker {
        warnings.extend(advertised_warning(&server.host, advertised, addresses, is_local));
    }
    if listens_outside {
        warnings.push(Warning::Insecure { host: server.host.clone() });
    }
    if server.roles.broker && settings.log.flush == Flush::Async {
        warnings.push(Warning::AsyncFlush);
    }
    warnings
}

fn advertised_warning(
    host: &str,
    advertised: &str,
    addresses: std::io::Result<Vec<IpAddr>>,
    is_local: impl Fn(IpAddr) -> bool,
) -> Option<Warning> {
    let addresses = match addresses {
        Ok(addresses) => addresses,
        Err(error) => {
            return Some(Warning::AdvertisedUnknown {
                host: advertised.to_owned(),
                error: error.to_string(),
            });
        }
    };
    let listens_outside = host.parse::<IpAddr>().is_ok_and(|host| !host.is_loopback());
    if listens_outside && addresses.iter().any(IpAddr::is_loopback) {
        return Some(Warning::AdvertisedLoopback {
            host: host.to_owned(),
            advertised: advertised.to_owned(),
        });
    }
    let elsewhere = !addresses.iter().any(|address| is_local(*address));
    elsewhere.then(|| Warning::AdvertisedElsewhere { host: advertised.to_owned() })
}

/// `error[name]: problem`, then the remedy below it, indented.
pub(super) fn message(label: &str, name: Option<&str>, problem: &str, remedy: &str, paint: Paint) -> String {
    let label = name.map_or_else(|| label.to_owned(), |name| format!("{label}[{name}]"));
    let label = if label.starts_with("warning") { paint.yellow(&label) } else { paint.red(&label) };
    let mut text = format!("{label}: {problem}\n");
    for line in wrap(remedy, WIDTH - 2) {
        text.push_str("  ");
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Lines of at most `width` columns, broken between words.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::ConfigError;
    use crate::start_error::Listener;

    #[test]
    fn every_name_can_be_explained() {
        use crate::cli::explain::problem::PROBLEMS;
        let warnings = [
            Warning::AdvertisedElsewhere { host: String::new() },
            Warning::AdvertisedUnknown { host: String::new(), error: String::new() },
            Warning::AdvertisedLoopback { host: String::new(), advertised: String::new() },
            Warning::Insecure { host: String::new() },
            Warning::AsyncFlush,
            Warning::Buffered { folder: PathBuf::new() },
        ];
        let (text, path, address) = (String::new, PathBuf::new, "127.0.0.1:1".parse().unwrap());
        let what = Listener::Namesrv;
        let errors = [
            StartError::Config(ConfigError::NotAnAssignment(text())),
            StartError::NotLinux { system: text() },
            StartError::IoUringRefused { error: text(), disabled: None },
            StartError::MemlockTooSmall { limit: 0, needed: 0 },
            StartError::PortInUse { what, address, owner: None },
            StartError::Listen { what, address, error: text() },
            StartError::FolderLocked { folder: path() },
            StartError::Folder { operation: text(), path: path(), error: text() },
            StartError::DiskFull { folder: path(), error: text() },
            StartError::Corrupt { file: text(), position: 0, what: text() },
            StartError::Runtime { what: text(), error: text() },
            StartError::ShardStopped { shard: 0, error: text() },
        ];
        let names = warnings.iter().map(Warning::name).chain(errors.iter().map(StartError::name));
        for name in names {
            assert!(PROBLEMS.iter().any(|problem| problem.0 == name), "{name} is not explained");
        }
    }

    #[test]
    fn a_failed_start_is_one_message_with_the_remedy() {
        let address = "127.0.0.1:10911".parse().unwrap();
        let error = StartError::PortInUse { what: Listener::Shard(0), address, owner: None };
        assert_eq!(
            render(&error, Paint::PLAIN),
            "error[port-in-use]: shard 0 cannot listen on 127.0.0.1:10911: the port is in use\n  \
             Stop the other process (`ss -ltnp 'sport = :10911'` names it), or choose another `--port`.\n"
        );
    }

    #[test]
    fn the_advertised_host_is_looked_at_from_both_sides() {
        let here = |address: IpAddr| address.is_loopback() || address.to_string() == "10.0.0.7";
        let warned = |host: &str, advertised: &str| {
            let addresses = advertised.parse().map(|address| vec![address]);
            let addresses = addresses.map_err(|_| std::io::Error::other("no such host"));
            advertised_warning(host, advertised, addresses, here).map(|warning| warning.to_string())
        };
        assert_eq!(warned("127.0.0.1", "127.0.0.1"), None);
        assert_eq!(warned("0.0.0.0", "10.0.0.7"), None);
        let elsewhere = warned("0.0.0.0", "192.0.2.1").unwrap();
        assert!(elsewhere.contains("192.0.2.1, which is not an address of this machine"), "{elsewhere}");
        let themselves = warned("0.0.0.0", "127.0.0.1").unwrap();
        assert!(themselves.contains("their own machine"), "{themselves}");
        let unknown = warned("0.0.0.0", "mq.invalid").unwrap();
        assert!(unknown.contains("cannot resolve: no such host"), "{unknown}");
    }

    #[test]
    fn defaults_on_loopback_warn_of_nothing() {
        assert_eq!(warnings(&Settings::default()), []);
    }

    #[test]
    fn remedies_are_wrapped() {
        assert_eq!(wrap("a bb ccc dddd", 6), ["a bb", "ccc", "dddd"]);
        assert!(wrap("", 6).is_empty());
    }
}
