//! How Apache's broker is started for a measurement, from a folder of its published jars.
//!
//! The flags are upstream's (`bin/runbroker.sh` of 5.3), except that the heap is not touched in advance
//! (`AlwaysPreTouch`), which every comparison says.

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

/// When Apache's broker answers a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flush {
    /// After the flush, with the settings tuned for it; the fair counterpart of a broker that is durable by default.
    Sync,
    /// From memory; its default.
    Async,
}

/// Apache's broker without a name server, in `folder`, on free ports of loopback, on these cores.
pub fn launch(jars: &Path, folder: PathBuf, flush: Flush, cores: Vec<usize>) -> io::Result<Launch> {
    let base = ports::free_base(&[-2, 0, 1])?;
    fs::create_dir_all(&folder)?;
    let configuration = folder.join("broker.conf");
    fs::write(&configuration, broker_conf(&folder, base, flush))?;
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
        .arg(&configuration)
        .env("ROCKETMQ_HOME", &folder)
        .env_remove("NAMESRV_ADDR");
    let brokers = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, base))];
    let name = match flush {
        Flush::Sync => "apache sync",
        Flush::Async => "apache async",
    };
    Ok(Launch {
        name: name.into(),
        command,
        folder,
        brokers,
        name_server: None,
        ready: "boot success",
        cores,
    })
}

fn broker_conf(folder: &Path, port: u16, flush: Flush) -> String {
    let mut lines = vec![
        "brokerClusterName=bench".to_owned(),
        "brokerName=apache".to_owned(),
        "brokerId=0".to_owned(),
        "bindAddress=127.0.0.1".to_owned(),
        "brokerIP1=127.0.0.1".to_owned(),
        format!("listenPort={port}"),
        format!("fastListenPort={}", port - 2),
        format!("haListenPort={}", port + 1),
        format!("storePathRootDir={}", folder.join("store").display()),
        format!("storePathCommitLog={}", folder.join("store/commitlog").display()),
        "fileReservedTime=1".to_owned(),
        "diskMaxUsedSpaceRatio=98".to_owned(),
    ];
    let tuned: &[&str] = match flush {
        Flush::Sync => &[
            "flushDiskType=SYNC_FLUSH",
            "sendMessageThreadPoolNums=16",
            "useReentrantLockWhenPutMessage=true",
            "syncFlushTimeout=5000",
            "waitTimeMillsInSendQueue=2000",
            "osPageCacheBusyTimeOutMills=5000",
        ],
        Flush::Async => &["flushDiskType=ASYNC_FLUSH"],
    };
    lines.extend(tuned.iter().map(|line| (*line).to_owned()));
    lines.join("\n") + "\n"
}
