//! A node under load on a recorded device; then the device is put back to every flush of it, and to a moment after each, and
//! every time the file system is mounted and the node started and compared.
//!
//! At a flush exactly what was written before it is there; at a moment after it, besides that, of each later write all,
//! nothing, or some blocks. An answer that came before that moment must be found.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmq_engine::env::Random;

use super::file_system::{Kind, Mounted};
use super::fuse::ServedFile;
use super::recording::{Blocks, Operation, RecordedDisk};
use super::{check, create_topic, settings};
use crate::compat::ringmq::{Node, NodeSettings};
use crate::compat::site::Folder;
use crate::compat::wire::await_that;
use crate::load::{Known, Load, QUEUES};

const PATIENCE: Duration = Duration::from_secs(120);

/// What was visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Flushes of the recorded device.
    pub flushes: u64,
    /// Its writes.
    pub writes: u64,
    /// Sends answered as stored.
    pub answered: u64,
    /// Devices put back, mounted and compared.
    pub states: u64,
    /// Of these, with a part of what was not flushed.
    pub torn: u64,
    /// Sends whose answers had come by then and that were found, over all states.
    pub found: u64,
}

/// When the recorded node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Once the send is flushed, as it should be.
    AfterFlush,
    /// Once the send is written (`log.flush=async`): this must lose something, or the campaign proves nothing.
    BeforeFlush,
}

/// How much is recorded and replayed.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// The file system.
    pub kind: Kind,
    /// When the recorded node answers.
    pub answers: Answers,
    /// The record goes from the node's first start to so many flushes under load.
    pub flushes: u64,
    /// Of the flushes before the load, one in so many is replayed; of those under load, all are.
    pub starting_stride: usize,
    /// Decides what survives of what was not flushed.
    pub seed: u64,
}

/// Records and replays. An error says what was lost.
pub fn run(scope: &Scope, mut progress: impl FnMut(&Tally)) -> Result<Tally, String> {
    let random = Random::new(scope.seed);
    let folder = Folder::new("replay");
    let disk = Arc::new(RecordedDisk::new(scope.kind.bytes()));
    let served = ServedFile::mount(disk.clone(), &folder.path.join("device"));
    let served = served.map_err(|error| format!("mounting the recorded device: {error}"))?;
    scope.kind.make(served.path())?;
    let recorded = record(scope, &disk, served.path(), &folder.path)?;
    let mut tally = recorded.tally();
    let kind = scope.kind;
    let replay =
        Replay { kind, disk: &disk, device: served.path(), folder: &folder.path, recorded: &recorded };

    let mut durable = recorded.start.clone();
    let mut done = 0;
    for (number, flush) in recorded.flushes().enumerate() {
        recorded.operations[done..=flush].iter().for_each(|operation| durable.apply(operation));
        done = flush + 1;
        if (done as u64) < recorded.topic_at && !number.is_multiple_of(scope.starting_stride) {
            continue;
        }
        replay.compare(durable.clone(), done, &mut tally)?;
        let crash = done + random.index(recorded.next_flush(done) + 1 - done);
        if crash > done {
            let mut torn = durable.clone();
            let pending = &recorded.operations[done..crash];
            pending.iter().for_each(|operation| torn.apply_by_chance(operation, &random));
            replay.compare(torn, crash, &mut tally)?;
            tally.torn += 1;
        }
        progress(&tally);
    }
    Ok(tally)
}

/// A flush is one write that is flushed: a node that first tries which way is faster would fill the record with that.
fn node_settings(data: &Path) -> NodeSettings {
    let mut settings = settings(data, "8MiB");
    settings.more.push("log.flush_method=fdatasync".to_string());
    settings
}

/// What the device and the senders saw.
struct Recorded {
    start: Blocks,
    operations: Vec<Operation>,
    known: Known,
    /// When the topic's creation was answered.
    topic_at: u64,
}

fn record(scope: &Scope, disk: &RecordedDisk, device: &Path, folder: &Path) -> Result<Recorded, String> {
    let mounted = Mounted::new(scope.kind, device, &folder.join("mounted"))?;
    let start = disk.record();
    let known: Arc<Mutex<Known>> = Arc::default();
    known.lock().expect("nobody has it yet").clock = disk.clock();
    let mut settings = node_settings(mounted.folder());
    if scope.answers == Answers::BeforeFlush {
        settings.more.push("log.flush=async".to_string());
    }
    let mut node = Node::start(settings);
    create_topic(&node)?;
    let topic_at = disk.clock().load(Ordering::SeqCst);
    disk.record_flushes(scope.flushes);
    let load = Load::start(&node.settings.shard_address(0), known.clone());
    let operations = await_that("the last flush of the record", PATIENCE, || disk.recorded());
    node.process.kill();
    load.end();
    mounted.unmount();
    let known = std::mem::take(&mut *known.lock().expect("no thread panicked"));
    Ok(Recorded { start, operations, known, topic_at })
}

impl Recorded {
    fn flushes(&self) -> impl Iterator<Item = usize> {
        self.operations
            .iter()
            .enumerate()
            .filter(|(_, operation)| operation.is_flush())
            .map(|(index, _)| index)
    }

    /// The first flush from `from` on, or the end.
    fn next_flush(&self, from: usize) -> usize {
        let after = self.operations[from..].iter().position(Operation::is_flush);
        after.map_or(self.operations.len(), |after| from + after)
    }

    fn tally(&self) -> Tally {
        let flushes = self.flushes().count() as u64;
        let answered = (0..QUEUES).map(|queue| self.known.answered[queue].len() as u64).sum();
        Tally { flushes, writes: self.operations.len() as u64 - flushes, answered, ..Tally::default() }
    }
}

struct Replay<'a> {
    kind: Kind,
    disk: &'a RecordedDisk,
    device: &'a Path,
    folder: &'a Path,
    recorded: &'a Recorded,
}

impl Replay<'_> {
    /// Mounts a device that crashed after so many operations, and compares the node on it.
    fn compare(&self, blocks: Blocks, crash: usize, tally: &mut Tally) -> Result<(), String> {
        let now = crash as u64;
        let at =
            |what: String| format!("after {crash} of {} operations: {what}", self.recorded.operations.len());
        self.disk.put_back(blocks);
        let mounted = Mounted::new(self.kind, self.device, &self.folder.join("mounted")).map_err(at)?;
        let mut node = Node::start(node_settings(mounted.folder()));
        if now >= self.recorded.topic_at {
            let known: Arc<Mutex<Known>> = Arc::default();
            known.lock().expect("nobody has it yet").answered = self.recorded.known.answered.clone();
            check(&node, &known, now).map_err(at)?;
            let answered = self.recorded.known.answered.iter().flat_map(|answered| answered.values());
            tally.found += answered.filter(|answered| answered.at <= now).count() as u64;
        }
        node.process.kill();
        mounted.unmount();
        tally.states += 1;
        Ok(())
    }
}
