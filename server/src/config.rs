//! Settings: what `ringmq serve` was asked to do, and where each answer came from.
//!
//! One table below is the source of everything: the typed [`Settings`], their defaults, the commented
//! file that `ringmq config init` prints, the environment variables, and the keys of `--set`.
//!
//! Invariants
//!  1. A flag beats the environment, the environment beats the file, the file beats the default.
//!  2. A key that nobody knows is an error, with its place and the nearest key that exists.
//!  3. The printed file, read back, gives exactly the defaults.
//!  4. Whoever holds [`Settings`] from [`load`] holds values that passed [`check`].
//!
//! Not here: how a value is spelled ([`value`]), reading and merging ([`load`]), rules that span keys
//! ([`check`]), what is asked of the machine ([`machine`]), the flags themselves (`cli`).

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

pub mod check;
pub mod load;
pub mod machine;
pub mod value;

use crate::broker::waiting::rule::DelayLevels;
use ringmq_conn::limits::CONNECTIONS_MAX;
use value::{Auto, ByteSize, Flush, FlushMethod, HostPorts, Roles, Setting};

/// Builds the section structs, their defaults and [`KEYS`] from one table, so that they cannot disagree.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $Section:ident {
            $( $(#[doc = $doc:literal])* $key:ident: $Type:ty = $default:expr; )*
        }
    )*) => {
        /// Everything that can be configured, by section.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct Settings {
            $( $(#[doc = $section_doc])* pub $section: $Section, )*
        }
        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $Section {
                $( $(#[doc = $doc])* pub $key: $Type, )*
            }
            impl Default for $Section {
                fn default() -> Self {
                    $Section { $( $key: $default, )* }
                }
            }
        )*
        /// The sections in the order of the file, with their comments.
        static SECTIONS: &[(&str, &[&str])] =
            &[ $( (stringify!($section), &[$($section_doc),*]), )* ];
        /// Every key, in the order of the file.
        pub static KEYS: &[Key] = &[ $( $( Key {
            section: stringify!($section),
            name: concat!(stringify!($section), ".", stringify!($key)),
            doc: &[$($doc),*],
            expected: <$Type as Setting>::EXPECTED,
            set: |settings, text| {
                settings.$section.$key = <$Type as Setting>::parse(text)?;
                Ok(())
            },
            toml: |settings| Setting::toml(&settings.$section.$key),
        }, )* )* ];
    };
}

settings! {
    /// Who this node is and where it listens.
    server: Server {
        /// Address to listen on. Anything but loopback is reachable from outside and needs
        /// `insecure = true`, because neither authentication nor TLS stands in front of it.
        host: String = "127.0.0.1".to_owned();
        /// Port of the first shard. Shard i listens on port + i * port_stride.
        port: u16 = 10911;
        /// Distance between the ports of neighbouring shards.
        port_stride: u16 = 10;
        /// Also answer on each shard's port - 2, for clients that use the VIP channel.
        vip: bool = true;
        /// Port of the name server.
        namesrv_port: u16 = 9876;
        /// What this process is: "broker", "namesrv", or both.
        roles: Roles = Roles { broker: true, namesrv: true };
        /// Name servers to register with, "host:port;host:port". Empty: the one in this process.
        namesrv: HostPorts = HostPorts::default();
        /// Shards, one pinned thread each. "auto": one per online core.
        shards: Auto<usize> = Auto::Auto;
        /// A shard with few sends in hand looks again and again, instead of sleeping, for a disk and for
        /// clients that answer within this time. It makes lone senders faster and costs CPU while they
        /// send: at most twice this per send. An idle shard sleeps. "0us": never.
        spin: Duration = Duration::from_micros(200);
        /// Cluster that the brokers belong to.
        cluster: String = "DefaultCluster".to_owned();
        /// Name of the node; its brokers are called name-0, name-1, ... "auto": the host name.
        name: Auto<String> = Auto::Auto;
        /// Host that clients are told to connect to. "auto": `host`, or, when that is every
        /// address, the one this machine reaches others from. In a container: the outer address.
        advertise: Auto<String> = Auto::Auto;
        /// Folder that holds everything; one folder per shard inside.
        data: PathBuf = PathBuf::from("ringmq-data");
        /// Allow listening beyond loopback without authentication and TLS.
        insecure: bool = false;
        /// What is written to stderr: error, warn, info, debug, trace, or a filter per module.
        trace: String = "info".to_owned();
    }
    /// The commit log, per shard.
    log: Log {
        /// Size of one segment file.
        segment_bytes: ByteSize = ByteSize(256 << 20);
        /// "sync": a send is answered when it is on disk. "async": when it is in memory, which
        /// loses answered messages on a power failure.
        flush: Flush = Flush::Sync;
        /// How a write is made durable: "fdatasync", "dsync", or "probe" to measure both at start.
        flush_method: FlushMethod = FlushMethod::Probe;
        /// Writes in flight to the disk at once.
        writes_in_flight: usize = 4;
        /// Memory for the newest records, from which consumers are served without reading.
        tail_cache: ByteSize = ByteSize(64 << 20);
        /// Memory for older records, read from disk for consumers that are behind, until they are
        /// sent. Reads beyond wait.
        cold_reads: ByteSize = ByteSize(32 << 20);
        /// Bytes that may wait for the disk; senders beyond are answered "busy".
        unflushed_bytes_max: ByteSize = ByteSize(64 << 20);
    }
    /// What happens as the disk fills up. Shares are `df`'s, in percent.
    disk: Disk {
        /// From this share on, the log says that the disk is filling up.
        warn_percent: u8 = 85;
        /// From this share on, producers are refused; consumers go on, and producers too once
        /// there is room again.
        refuse_percent: u8 = 90;
        /// Space per shard kept prepared for group offsets, for a disk that has nothing left.
        reserve: ByteSize = ByteSize(4 << 20);
    }
    /// How long records are kept. They go by whole segments, the oldest first, and never while
    /// somebody reads them.
    retention: Retention {
        /// Since the newest record of a segment was stored.
        age: Duration = Duration::from_secs(72 * 3600);
        /// Of each shard's log; the rest goes even if it is younger. "0B": no bound.
        bytes: ByteSize = ByteSize(0);
        /// Of the disk, for the logs of all shards together. 100: no bound.
        disk_percent: u8 = 100;
    }
    /// Topics.
    topics: Topics {
        /// Create a topic when the first message for it comes.
        auto_create: bool = true;
        /// Queues of a topic that is created that way, per shard.
        default_queues: u32 = 8;
        /// Shards of a node that offer to create topics; more mean more connections per client.
        auto_create_shards: usize = 4;
    }
    /// Consumer groups.
    groups: Groups {
        /// Create a group when its first member comes.
        auto_create: bool = true;
        /// Let groups select by SQL92 conditions on properties (RocketMQ: enablePropertyFilter, there false).
        property_filter: bool = true;
    }
    /// Messages that are delivered later.
    delay: Delay {
        /// Delays of the levels, level 1 first (RocketMQ: messageDelayLevel). Messages that wait
        /// already keep the time that they were given.
        levels: DelayLevels = DelayLevels::default();
        /// Timers that are due later than this are refused; at most 366d.
        timer_horizon: Duration = Duration::from_secs(3 * 86_400);
        /// Producers may recall a timer (RocketMQ: recallMessageEnable).
        recall: bool = true;
    }
    /// The name server.
    namesrv: Namesrv {
        /// A broker that has said nothing for so long is gone, unless it asked for another time.
        broker_timeout: Duration = Duration::from_secs(120);
        /// Tell clients about order topics (RocketMQ: orderMessageEnable).
        order_topics: bool = false;
    }
    /// Bounds. What comes beyond is refused with an error that names the bound.
    limits: Limits {
        /// Connections per shard, and to the name server; more are closed at once.
        connections: usize = CONNECTIONS_MAX;
    }
}

/// One key: how it is called, explained, set and shown.
pub struct Key {
    /// `log`.
    pub section: &'static str,
    /// `log.flush`.
    pub name: &'static str,
    /// The comment, a line each, with the blank that doc comments begin with.
    pub doc: &'static [&'static str],
    /// What its value looks like, for errors.
    pub expected: &'static str,
    /// Parses and stores a value; the error says what is wrong with it.
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
    /// The value in TOML.
    pub toml: fn(&Settings) -> String,
}

impl Key {
    /// `flush`, of `log.flush`.
    pub fn short(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// `RINGMQ_LOG_FLUSH`.
    pub fn variable(&self) -> String {
        format!("RINGMQ_{}", self.name.replace('.', "_").to_uppercase())
    }
}

/// The key of that name.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

impl Settings {
    /// Number of shards. Before [`Settings::fill_in`], "auto" is one.
    pub fn shards(&self) -> usize {
        match self.server.shards {
            Auto::Is(shards) => shards,
            Auto::Auto => 1,
        }
    }

    /// The node's name. Before [`Settings::fill_in`], "auto" is `ringmq`.
    pub fn name(&self) -> &str {
        match &self.server.name {
            Auto::Is(name) => name,
            Auto::Auto => "ringmq",
        }
    }

    /// The host clients are told. Before [`Settings::fill_in`], "auto" is the host listened on.
    pub fn advertise(&self) -> &str {
        match &self.server.advertise {
            Auto::Is(host) => host,
            Auto::Auto => &self.server.host,
        }
    }

    /// The broker name of one shard.
    pub fn broker_name(&self, shard: usize) -> String {
        format!("{}-{shard}", self.name())
    }

    /// The port of one shard; [`check`] has made sure that it is one.
    pub fn shard_port(&self, shard: usize) -> u16 {
        let port = usize::from(self.server.port) + shard * usize::from(self.server.port_stride);
        u16::try_from(port).expect("checked: the last shard's port is at most 65535")
    }

    /// The folder of one shard's store.
    pub fn shard_folder(&self, shard: usize) -> PathBuf {
        self.server.data.join(format!("shard-{shard}"))
    }

    /// Name servers to register with, as `host:port`: the configured ones, else the one in this process.
    pub fn name_servers(&self) -> Vec<String> {
        if !self.server.namesrv.0.is_empty() {
            return self.server.namesrv.0.clone();
        }
        if !self.server.roles.namesrv {
            return Vec::new();
        }
        let unspecified =
            self.server.host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_unspecified());
        let host = match (unspecified, self.server.host.contains(':')) {
            (true, true) => "[::1]".to_owned(),
            (true, false) => "127.0.0.1".to_owned(),
            (false, true) => format!("[{}]", self.server.host),
            (false, false) => self.server.host.clone(),
        };
        vec![format!("{host}:{}", self.server.namesrv_port)]
    }
}

/// The commented file of all defaults (`ringmq config init`).
pub fn commented_defaults() -> String {
    let defaults = Settings::default();
    let mut text = String::from(
        "# RingMQ. Every line shows a default; change what you need and delete the rest.\n\
         #\n\
         # Sizes take B, KiB, MiB, GiB; times take us, ms, s, m, h, d.\n\
         # Each key can also be set as RINGMQ_<SECTION>_<KEY>, or with --set section.key=value.\n\
         # A flag beats the environment, which beats this file.\n",
    );
    for (section, doc) in SECTIONS {
        text.push('\n');
        comment(&mut text, doc);
        let _ = writeln!(text, "[{section}]");
        for key in KEYS.iter().filter(|key| key.section == *section) {
            text.push('\n');
            comment(&mut text, key.doc);
            let _ = writeln!(text, "{} = {}", key.short(), (key.toml)(&defaults));
        }
    }
    text
}

fn comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(text, "#{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_file_parses_to_exactly_the_defaults() {
        let text = commented_defaults();
        let loaded = load::merge(load::Layers { file: Some(("ringmq.toml", &text)), ..Default::default() })
            .expect("the printed file is valid");
        assert_eq!(loaded.settings, Settings::default());
        for (key, origin) in loaded.origins() {
            assert!(matches!(origin, load::Origin::File { .. }), "{} is missing from the file", key.name);
        }
    }

    #[test]
    fn every_key_is_explained_and_can_be_set_to_what_it_shows() {
        for key in KEYS {
            assert!(!key.doc.is_empty(), "{} has no comment", key.name);
            let mut settings = Settings::default();
            let shown = (key.toml)(&settings);
            (key.set)(&mut settings, shown.trim_matches('"')).expect(key.name);
            assert_eq!(settings, Settings::default(), "{}", key.name);
        }
    }

    #[test]
    fn a_lone_process_registers_with_its_own_name_server() {
        let mut settings = Settings::default();
        assert_eq!(settings.name_servers(), ["127.0.0.1:9876"]);
        settings.server.host = "::".to_owned();
        assert_eq!(settings.name_servers(), ["[::1]:9876"]);
        settings.server.roles.namesrv = false;
        assert!(settings.name_servers().is_empty());
        settings.server.namesrv = HostPorts(vec!["ns:1".to_owned()]);
        assert_eq!(settings.name_servers(), ["ns:1"]);
    }

    #[test]
    fn shards_have_ports_names_and_folders_of_their_own() {
        let settings = Settings::default();
        assert_eq!(settings.shard_port(3), 10941);
        assert_eq!(settings.broker_name(3), "ringmq-3");
        assert_eq!(settings.shard_folder(3), PathBuf::from("ringmq-data/shard-3"));
    }
}
