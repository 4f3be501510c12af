//! Power cuts of a real file system under a real node, without special hardware. Needs root.
//!
//! | campaign | cuts by | what is lost |
//! | --- | --- | --- |
//! | [`cuts`] | `FS_IOC_SHUTDOWN` on a file system in a loop file, at a random moment | what the file system had not handed to its device: metadata, journal, file lengths |
//! | [`replay`] | mounting what a recorded device had on it at every flush | that, and what the device had not been told to flush: any part of it |
//!
//! In both a node works under load on that file system, what its senders were answered is known outside it, and after
//! the cut the file system is mounted again, the node is started on it and compared ([`crate::load::Known::check`]).
//!
//! Nothing is left behind: mounts are in a name space of their own, which ends with the process.

pub mod cuts;
pub mod file_system;
mod fuse;
pub mod recording;
pub mod replay;

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::compat::ringmq::{Node, NodeSettings};
use crate::load::remoting::Remoting;
use crate::load::{Extent, Known, QUEUES, TOPIC};

/// The node of a campaign: one shard, segments so small that it rolls again and again.
fn settings(data: &Path, segment_bytes: &str) -> NodeSettings {
    let mut settings = NodeSettings::new(data, 1);
    settings.more.push(format!("log.segment_bytes={segment_bytes}"));
    settings
}

fn connect(settings: &NodeSettings) -> Result<Remoting, String> {
    let address = settings.shard_address(0);
    Remoting::connect(&address).map_err(|error| format!("connecting to {address}: {error}"))
}

fn create_topic(node: &Node) -> Result<(), String> {
    connect(&node.settings)?.create_topic(TOPIC, QUEUES);
    Ok(())
}

/// Compares all that the node has with what its senders and readers knew by the time `now`; returns its records.
fn check(node: &Node, known: &Arc<Mutex<Known>>, now: u64) -> Result<usize, String> {
    let mut remoting = connect(&node.settings)?;
    known.lock().expect("no thread panicked").check(&mut remoting, Extent::Whole, now)
}
