//! Apache's name server, broker and mqadmin, from their published jars: the referee.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::{build, ports, wire};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running name server of Apache's.
pub struct NameServer {
    /// Ends with this value.
    pub process: Process,
    /// `host:port`.
    pub address: String,
}

/// Starts a name server that keeps its files in `home`.
pub fn name_server(home: &Path) -> NameServer {
    let port = ports::free(1);
    let conf = home.join("namesrv.conf");
    fs::create_dir_all(home).expect("the folder can be made");
    fs::write(&conf, format!("bindAddress=127.0.0.1\nlistenPort={port}\n")).expect("conf can be written");
    let mut java = java("org.apache.rocketmq.namesrv.NamesrvStartup", home);
    let mut process = Process::start("Apache's name server", java.arg("-c").arg(&conf));
    process.expect_line("boot success", PATIENCE);
    NameServer { process, address: format!("127.0.0.1:{port}") }
}

/// A running broker of Apache's.
pub struct Broker {
    /// Ends with this value.
    pub process: Process,
    /// Where it listens: `host:port`.
    pub address: String,
    settings: BrokerSettings,
}

/// How a broker of Apache's is started.
#[derive(Clone)]
pub struct BrokerSettings {
    /// Its files.
    pub home: PathBuf,
    /// The name server to register with.
    pub name_server: String,
    /// The broker's name.
    pub name: String,
    /// The host it tells clients to connect to; it listens on 127.0.0.1.
    pub advertised_host: String,
    /// Its port; port − 2 and port + 1 are taken too.
    pub port: u16,
}

impl BrokerSettings {
    /// The ordinary settings.
    pub fn new(home: &Path, name_server: &str) -> BrokerSettings {
        BrokerSettings {
            home: home.to_path_buf(),
            name_server: name_server.to_string(),
            name: "broker-a".to_string(),
            advertised_host: "127.0.0.1".to_string(),
            port: ports::free(4) + 2,
        }
    }
}

impl Broker {
    /// Starts a broker and waits until its default route is in the name server.
    pub fn start(settings: BrokerSettings) -> Broker {
        let home = &settings.home;
        fs::create_dir_all(home).expect("the folder can be made");
        let conf = home.join("broker.conf");
        let lines = [
            "brokerClusterName=DefaultCluster".to_string(),
            format!("brokerName={}", settings.name),
            "brokerId=0".to_string(),
            "bindAddress=127.0.0.1".to_string(),
            format!("brokerIP1={}", settings.advertised_host),
            format!("brokerIP2={}", settings.advertised_host),
            format!("listenPort={}", settings.port),
            format!("namesrvAddr={}", settings.name_server),
            format!("storePathRootDir={}", home.join("store").display()),
            "mappedFileSizeCommitLog=67108864".to_string(),
            "diskMaxUsedSpaceRatio=99".to_string(),
            "enablePropertyFilter=true".to_string(),
        ];
        fs::write(&conf, lines.join("\n")).expect("conf can be written");
        let mut java = java("org.apache.rocketmq.broker.BrokerStartup", home);
        let mut process = Process::start("Apache's broker", java.arg("-c").arg(&conf));
        process.expect_line("boot success", PATIENCE);
        wire::await_route(&settings.name_server, "TBW102", &settings.name, PATIENCE);
        Broker { process, address: format!("127.0.0.1:{}", settings.port), settings }
    }

    /// Kills the broker and starts it again on its files.
    pub fn restart(&mut self) {
        self.process.kill();
        *self = Broker::start(self.settings.clone());
    }
}

/// An mqadmin command, ready to be run.
pub fn mqadmin(name_server: &str, home: &Path, arguments: &[&str]) -> Command {
    let mut java = java("org.apache.rocketmq.tools.command.MQAdminStartup", home);
    java.args(arguments).args(["-n", name_server]);
    java
}

fn java(main: &str, home: &Path) -> Command {
    let mut java = Command::new("java");
    java.env("ROCKETMQ_HOME", home);
    java.args(["-Xms256m", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
    for module in ["java.nio", "sun.nio.ch", "java.lang", "java.util", "jdk.internal.misc"] {
        java.arg(format!("--add-opens=java.base/{module}=ALL-UNNAMED"));
    }
    for module in ["jdk.internal.ref", "sun.nio.ch"] {
        java.arg(format!("--add-exports=java.base/{module}=ALL-UNNAMED"));
    }
    java.arg(format!("-Duser.home={}", home.display()));
    java.arg("-cp").arg(format!("{}/*", build::apache().display())).arg(main);
    java
}
