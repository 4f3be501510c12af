//! How RingMQ is started for a measurement.

use super::{Launch, ports};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Shard i listens on the base port plus so much times i.
const PORT_STRIDE: u16 = 10;
/// Most queues of a topic of a run.
const QUEUES_MAX: u16 = 64;

/// `ringmq serve` with `shards` shards in `folder`, on free ports of loopback, on these cores. `settings` are further
/// `key=value` pairs.
pub fn launch(
    binary: &Path,
    folder: PathBuf,
    shards: u16,
    cores: Vec<usize>,
    settings: &[String],
) -> io::Result<Launch> {
    let name_server_offset = i32::from(PORT_STRIDE * shards);
    let mut offsets: Vec<i32> = (0..i32::from(shards)).map(|shard| shard * i32::from(PORT_STRIDE)).collect();
    offsets.push(name_server_offset);
    let base = ports::free_base(&offsets)?;
    // The name server's port is the one after the last shard's.
    let address = |index: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, base + index * PORT_STRIDE));
    let mut command = Command::new(binary);
    command.arg("serve");
    let mut set = |key: &str, value: String| {
        command.arg("--set").arg(format!("{key}={value}"));
    };
    set("server.data", folder.display().to_string());
    set("server.host", Ipv4Addr::LOCALHOST.to_string());
    set("server.port", base.to_string());
    set("server.port_stride", PORT_STRIDE.to_string());
    set("server.vip", "false".into());
    set("server.namesrv_port", address(shards).port().to_string());
    set("server.shards", shards.to_string());
    // Topics that are made by their first message may have as many queues as a run asks for.
    set("topics.default_queues", QUEUES_MAX.to_string());
    for setting in settings {
        command.arg("--set").arg(setting);
    }
    Ok(Launch {
        name: "ringmq".into(),
        command,
        folder,
        brokers: (0..shards).map(address).collect(),
        name_server: Some(address(shards)),
        ready: "ready",
        cores,
    })
}
