//! How Apache's broker is started for a measurement, from a folder of its published jars.
//!
//! It flushes before it answers or some time after, and either with its defaults or with the settings that help it most
//! here: four configurations. Every setting that is not a default stands in a table below, with the reason for it, and
//! every comparison prints them.
//!
//! The flags of the JVM are upstream's (`bin/runbroker.sh` of 5.3), except that the heap is 4 GiB and is not touched in
//! advance (`AlwaysPreTouch`).

use super::{Launch, ports};
use clap::ValueEnum;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

const JVM: &[&str] = &[
    "-Xms4g",
    "-Xmx4g",
    "-XX:MaxDirectMemorySize=4g",
    "-XX:+UseG1GC",
    "-XX:G1HeapRegionSize=16m",
    "-XX:G1ReservePercent=25",
    "-XX:InitiatingHeapOccupancyPercent=30",
    "-XX:SoftRefLRUPolicyMSPerMB=0",
    "-XX:-UseLargePages",
];
const EXPORTS: &[&str] = &["java.base/jdk.internal.ref", "java.base/sun.nio.ch"];
const OPENS: &[&str] = &["java.nio", "sun.nio.ch", "java.lang", "java.util", "jdk.internal.misc"];

/// How Apache's broker is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Configuration {
    /// Answers after the flush, and is otherwise as it comes.
    Sync,
    /// Answers after the flush, tuned: the fair counterpart of a broker that is durable by default.
    SyncTuned,
    /// Answers from memory: all its defaults.
    Async,
    /// Answers from memory, tuned.
    AsyncTuned,
}

/// A setting, and why it is made.
pub type Setting = (&'static str, &'static str);

/// Where it is, and that it fits beside others on one machine; no bearing on speed.
const PLACE: &[Setting] = &[
    ("brokerClusterName=bench", "a name"),
    ("brokerName=apache", "a name"),
    ("brokerId=0", "a master"),
    ("bindAddress=127.0.0.1", "as RingMQ: loopback only"),
    ("brokerIP1=127.0.0.1", "as RingMQ: loopback only"),
    ("fileReservedTime=1", "old files may go, so that the disk does not fill up"),
    ("diskMaxUsedSpaceRatio=98", "a disk that others have filled does not make it refuse sends"),
];
const SYNC: Setting = ("flushDiskType=SYNC_FLUSH", "a send is answered when it is on disk, as RingMQ's are");
const ASYNC: Setting = ("flushDiskType=ASYNC_FLUSH", "its default: a send is answered from memory");
/// By default a request that waited 200 ms in a queue, or met a page cache that was busy for a second, is refused (code 2).
const PATIENT: &[Setting] = &[
    (
        "waitTimeMillsInSendQueue=2000",
        "a short stall of the disk delays sends, and does not have them refused",
    ),
    ("osPageCacheBusyTimeOutMills=5000", "the same"),
];
const SYNC_TUNED: &[Setting] = &[
    (
        "sendMessageThreadPoolNums=16",
        "more senders wait for one flush; the default is the number of cores, at least 4",
    ),
    (
        "useReentrantLockWhenPutMessage=true",
        "those senders sleep for the lock; by default they spin on the core that flushes",
    ),
    (
        "syncFlushTimeout=5000",
        "a slow flush delays the answer and does not fail it (default the same, said for certain)",
    ),
];
const ASYNC_TUNED: &[Setting] = &[
    (
        "sendMessageThreadPoolNums=4",
        "more would only switch: nobody waits for the disk (default on two cores, said for certain)",
    ),
    (
        "useReentrantLockWhenPutMessage=true",
        "senders on one core must not spin against the one that holds the lock",
    ),
    (
        "transientStorePoolEnable=true",
        "appends go to locked memory outside the page cache, so write-back does not stall them",
    ),
    (
        "transientStorePoolSize=2",
        "two buffers of one segment each; five, the default, pass the direct memory of this heap",
    ),
    (
        "warmMapedFileEnable=false",
        "a segment's pages are not touched one by one while it is used (default, said for certain)",
    ),
];

impl Configuration {
    /// All of them.
    pub const ALL: [Configuration; 4] =
        [Configuration::Sync, Configuration::SyncTuned, Configuration::Async, Configuration::AsyncTuned];

    /// In reports.
    pub fn name(self) -> &'static str {
        match self {
            Configuration::Sync => "apache sync",
            Configuration::SyncTuned => "apache sync tuned",
            Configuration::Async => "apache async",
            Configuration::AsyncTuned => "apache async tuned",
        }
    }

    /// What is set, and why; where its files and ports are is not among them.
    pub fn settings(self) -> Vec<Setting> {
        let (flush, tuned): (Setting, &[&[Setting]]) = match self {
            Configuration::Sync => (SYNC, &[]),
            Configuration::SyncTuned => (SYNC, &[SYNC_TUNED, PATIENT]),
            Configuration::Async => (ASYNC, &[]),
            Configuration::AsyncTuned => (ASYNC, &[ASYNC_TUNED, PATIENT]),
        };
        [PLACE, &[flush], &tuned.concat()].concat()
    }
}

/// Apache's broker without a name server, in `folder`, on free ports of loopback, on these cores.
pub fn launch(
    jars: &Path,
    folder: PathBuf,
    configuration: Configuration,
    cores: Vec<usize>,
) -> io::Result<Launch> {
    let base = ports::free_base(&[-2, 0, 1])?;
    fs::create_dir_all(&folder)?;
    let conf = folder.join("broker.conf");
    fs::write(&conf, broker_conf(&folder, base, configuration))?;
    let mut command = Command::new("java");
    command.args(JVM);
    for export in EXPORTS {
        command.arg("--add-exports").arg(format!("{export}=ALL-UNNAMED"));
    }
    for open in OPENS {
        command.arg("--add-opens").arg(format!("java.base/{open}=ALL-UNNAMED"));
    }
    command
        .arg(format!("-Duser.home={}", folder.display()))
        .arg("-cp")
        .arg(jars.join("*"))
        .arg("org.apache.rocketmq.broker.BrokerStartup")
        .arg("-c")
        .arg(&conf)
        .env("ROCKETMQ_HOME", &folder)
        .env_remove("NAMESRV_ADDR");
    let brokers = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, base))];
    Ok(Launch {
        name: configuration.name().into(),
        command,
        folder,
        brokers,
        name_server: None,
        ready: "boot success",
        cores,
    })
}

fn broker_conf(folder: &Path, port: u16, configuration: Configuration) -> String {
    let place = [
        format!("listenPort={port}"),
        format!("fastListenPort={}", port - 2),
        format!("haListenPort={}", port + 1),
        format!("storePathRootDir={}", folder.join("store").display()),
        format!("storePathCommitLog={}", folder.join("store/commitlog").display()),
    ];
    let settings = configuration.settings();
    let lines = place.iter().map(String::as_str).chain(settings.iter().map(|(line, _)| *line));
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_configuration_says_anything_twice_and_each_setting_has_a_reason() {
        for configuration in Configuration::ALL {
            let settings = configuration.settings();
            let mut names: Vec<&str> =
                settings.iter().filter_map(|(line, _)| line.split('=').next()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), settings.len(), "{configuration:?}");
            assert!(settings.iter().all(|(line, why)| line.contains('=') && !why.is_empty()));
            let conf = broker_conf(Path::new("/data"), 20_911, configuration);
            let sync = conf.contains("flushDiskType=SYNC_FLUSH");
            assert_eq!(sync, matches!(configuration, Configuration::Sync | Configuration::SyncTuned));
        }
    }
}
