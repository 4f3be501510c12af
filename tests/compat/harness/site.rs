//! A place where clients can work: Apache's broker, or a node of ours, with its name server.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use super::apache::{self, Broker, BrokerSettings, NameServer};
use super::client::{Client, Kind};
use super::ringmq::{Node, NodeSettings};
use super::wire;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running name server with its brokers, and a folder that lives as long.
pub struct Site {
    servers: Servers,
    folder: Folder,
    /// `host:port` of the name server.
    pub name_server: String,
}

enum Servers {
    Apache { broker: Box<Broker>, _name_server: NameServer },
    Ringmq(Box<Node>),
}

impl Site {
    /// Apache's name server and one broker.
    pub fn apache() -> Site {
        let folder = Folder::new("apache");
        let name_server = apache::name_server(&folder.path.join("namesrv"));
        let address = name_server.address.clone();
        let broker = Broker::start(BrokerSettings::new(&folder.path.join("broker"), &address));
        let servers = Servers::Apache { broker: Box::new(broker), _name_server: name_server };
        Site { servers, folder, name_server: address }
    }

    /// A node of ours.
    pub fn ringmq(shards: usize) -> Site {
        let folder = Folder::new("ringmq");
        let node = Node::start(NodeSettings::new(&folder.path.join("node"), shards));
        let name_server = node.settings.name_server();
        Site { servers: Servers::Ringmq(Box::new(node)), folder, name_server }
    }

    /// Where a test is run: at a node of one shard and at one of two; at Apache's broker instead, if
    /// `RINGMQ_COMPAT_AT=apache` asks whether the test itself is right.
    pub fn all() -> Vec<fn() -> Site> {
        match std::env::var("RINGMQ_COMPAT_AT").as_deref() {
            Ok("apache") => vec![Site::apache],
            Err(_) => vec![|| Site::ringmq(1), || Site::ringmq(2)],
            Ok(other) => panic!("RINGMQ_COMPAT_AT={other}: it can only be \"apache\""),
        }
    }

    /// The name and the address of every broker.
    pub fn brokers(&self) -> Vec<(String, String)> {
        match &self.servers {
            Servers::Apache { broker, .. } => vec![("broker-a".to_string(), broker.address.clone())],
            Servers::Ringmq(node) => {
                let names = node.settings.broker_names().into_iter().enumerate();
                names.map(|(shard, name)| (name, node.settings.shard_address(shard))).collect()
            }
        }
    }

    /// Creates a topic of `queues` queues on every broker, and waits for its route.
    pub fn create_topic(&self, topic: &str, queues: u32, permission: u32) {
        let fields = json!({
            "topic": topic, "defaultTopic": "TBW102", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0",
            "order": "false", "perm": permission.to_string(),
            "readQueueNums": queues.to_string(), "writeQueueNums": queues.to_string(),
        });
        for (name, address) in self.brokers() {
            let answer = wire::ask(&address, 17, fields.clone(), b"").expect("the broker answers");
            assert_eq!(answer.code(), 0, "creating {topic} at {name}: {}", answer.remark());
            wire::await_route(&self.name_server, topic, &name, PATIENCE);
        }
    }

    /// Starts a client whose orders go here.
    pub fn client(&self, kind: Kind) -> Client {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Client::start(kind, &self.name_server, &self.folder.path.join(format!("client-{number}")))
    }

    /// Kills all brokers and starts them again on their files.
    pub fn restart(&mut self) {
        match &mut self.servers {
            Servers::Apache { broker, .. } => broker.restart(),
            Servers::Ringmq(node) => node.restart(),
        }
    }

    /// A folder for files that belong to this site.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }
}

/// A folder of its own, removed when dropped.
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
}

impl Folder {
    /// A new folder; `what` is part of its name.
    pub fn new(what: &str) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Beside the build, because a folder for temporary files may be memory, which io_uring cannot
        // write past the page cache.
        let path =
            super::build::root().join(format!("target/test-folders/{what}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("target/ can be written");
        Folder { path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What a failed test left is looked at by hand.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
