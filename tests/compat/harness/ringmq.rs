//! Our binary, as a user starts it: `ringmq serve`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::process::{Process, run};
use super::{build, ports, wire};

const PATIENCE: Duration = Duration::from_secs(60);
/// A build from nothing, with link-time optimisation, on two cores.
const BUILD_PATIENCE: Duration = Duration::from_secs(1200);

/// How a node is started.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Everything the node keeps.
    pub data: PathBuf,
    /// The node's name; its brokers are called `name-0`, `name-1`, …
    pub name: String,
    /// Port of the first shard.
    pub port: u16,
    /// Port of its name server.
    pub name_server_port: u16,
    /// Shards.
    pub shards: usize,
    /// Further settings, as `section.key=value`.
    pub more: Vec<String>,
}

impl NodeSettings {
    /// The ordinary settings, on free ports.
    pub fn new(data: &Path, shards: usize) -> NodeSettings {
        let first = ports::free(1 + 3 + 10 * shards as u16);
        NodeSettings {
            data: data.to_path_buf(),
            name: "node".to_string(),
            port: first + 3,
            name_server_port: first,
            shards,
            more: Vec::new(),
        }
    }

    /// The port of one shard.
    pub fn shard_port(&self, shard: usize) -> u16 {
        self.port + 10 * shard as u16
    }

    /// The address of one shard.
    pub fn shard_address(&self, shard: usize) -> String {
        format!("127.0.0.1:{}", self.shard_port(shard))
    }

    /// The address of the node's name server.
    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", self.name_server_port)
    }

    /// The broker names of all shards.
    pub fn broker_names(&self) -> Vec<String> {
        (0..self.shards).map(|shard| format!("{}-{shard}", self.name)).collect()
    }

    /// `ringmq serve` with these settings.
    pub fn command(&self) -> Command {
        let mut serve = Command::new(binary());
        serve.arg("serve");
        serve.arg("--data").arg(&self.data).args(["--name", &self.name]);
        serve.args(["--port", &self.port.to_string()]);
        serve.args(["--namesrv-port", &self.name_server_port.to_string()]);
        serve.args(["--shards", &self.shards.to_string()]);
        // Small, so that a test does not fill the disk with segments prepared ahead.
        serve.args(["--set", "log.segment_bytes=16MiB"]);
        for setting in &self.more {
            serve.args(["--set", setting]);
        }
        serve
    }
}

/// A running node. Killed when dropped.
pub struct Node {
    /// Ends with this value.
    pub process: Process,
    /// What it was started with.
    pub settings: NodeSettings,
}

impl Node {
    /// Starts a node with a name server of its own and waits until each shard is in the route.
    pub fn start(settings: NodeSettings) -> Node {
        let name_server = settings.name_server();
        Node::start_registering_with(settings, &name_server)
    }

    /// Starts a node that is a name server only, and waits until it answers.
    pub fn start_name_server(settings: NodeSettings) -> Node {
        let process = Process::start("ringmq", &mut settings.command());
        wire::await_that("an answering name server", PATIENCE, || {
            wire::ask(&settings.name_server(), 105, serde_json::json!({"topic": "TBW102"}), b"").ok()
        });
        Node { process, settings }
    }

    /// Starts a node that registers with the name server at `name_server`.
    pub fn start_registering_with(settings: NodeSettings, name_server: &str) -> Node {
        let mut process = Process::start("ringmq", &mut settings.command());
        for broker in settings.broker_names() {
            wire::await_that(&format!("{broker} in the route"), PATIENCE, || {
                process.assert_running();
                wire::is_routed(name_server, "TBW102", &broker).then_some(())
            });
        }
        Node { process, settings }
    }

    /// Kills the node and starts it again on its folder.
    pub fn restart(&mut self) {
        self.process.kill();
        *self = Node::start(self.settings.clone());
    }
}

/// The binary: the one that `RINGMQ_BINARY` names, or else ours, built once per test process in the
/// profile that the tests were built in.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = std::env::var_os("RINGMQ_BINARY") {
            return binary.into();
        }
        let this = std::env::current_exe().expect("a process knows its program");
        // target/<profile>/deps/<this test>, or target/<profile>/<this program>.
        let folder = this.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
        let folder = folder.expect("a program lies in a folder");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.current_dir(build::root()).args(["build", "--quiet", "--workspace", "--bin", "ringmq"]);
        // The profile of the tests themselves has built every dependency already.
        cargo.args(["--profile", if folder.ends_with("release") { "release" } else { "test" }]);
        run("cargo build", &mut cargo, BUILD_PATIENCE);
        folder.join("ringmq")
    })
}
