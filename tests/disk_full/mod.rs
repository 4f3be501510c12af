//! A disk that is filled and freed again and again under a node at work. Needs root: the disk is an ext4 file system of
//! 512 MiB in a loop file.
//!
//! ```text
//!   load goes on ─▶ fill ─▶ sends are refused ─▶ reads and offsets go on ─▶ free ─▶ sends are taken, within 2 s ─┐
//!        ▲                                                                                                     │
//!        └─────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Every other time the disk is filled to its last byte; else a little is left, and sends are refused all the same.
//! A sender and a reader are at work throughout; the log's size is bounded, so segments retire meanwhile.
//!
//! Demanded: every answered send is read by the reader, once, where it was answered to be; no send is refused while there
//! is room, none for another reason, and everything is there after `kill -9`.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::compat::ringmq::{Node, NodeSettings};
use crate::compat::site::Folder;
use crate::load::remoting::Remoting;
use crate::power::file_system::{Kind, Mounted, empty_file};

const DISK_BYTES: u64 = 512 << 20;
const TOPIC: &str = "Full";
const GROUP: &str = "e2e";
const QUEUES: usize = 4;
/// Sends at once, and the pause after them.
const BURST: usize = 16;
const BURST_PAUSE: Duration = Duration::from_millis(2);
const BODY_BYTES: usize = 1000;
/// Answers between two fillings, at least.
const ANSWERS_MIN: u64 = 200;
/// For everything but resuming.
const PATIENCE: Duration = Duration::from_secs(20);
/// For resuming.
const RESUME_MAX: Duration = Duration::from_secs(2);
const SERVICE_NOT_AVAILABLE: i64 = 14;

/// What was visited.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Fillings.
    pub cycles: u64,
    /// Sends answered as stored.
    pub answered: u64,
    /// Sends refused.
    pub refused: u64,
    /// Records that the reader got.
    pub read: u64,
    /// Answered sends that the reader did not get.
    pub lost: u64,
    /// Group offsets stored while the disk was full.
    pub offsets: u64,
    /// Reads that found records while the disk was full.
    pub reads_while_full: u64,
    /// First offset of each queue in the end: what was before has retired.
    pub retired_records: u64,
    /// From freeing to the next answer, each, sorted.
    pub resumed_after: Vec<Duration>,
}

/// What sender and reader share.
#[derive(Default)]
struct Shared {
    /// The sender ends first, so that the reader can be seen to get everything.
    stop_sending: AtomicBool,
    stop_reading: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
    read: AtomicU64,
    /// By queue and offset: the number in the body. The reader takes out what it got.
    owed: Mutex<HashMap<(usize, i64), u64>>,
    /// By queue: where the reader is.
    next: Mutex<[i64; QUEUES]>,
    failed: Mutex<Option<String>>,
}

impl Shared {
    fn fail(&self, what: String) {
        self.failed.lock().expect("no thread panicked").get_or_insert(what);
        self.stop_sending.store(true, Ordering::Relaxed);
        self.stop_reading.store(true, Ordering::Relaxed);
    }

    /// Waits until the condition holds; how long that took.
    fn wait(&self, what: &str, max: Duration, holds: impl Fn() -> bool) -> Result<Duration, String> {
        let began = Instant::now();
        while !holds() {
            if let Some(failed) = self.failed.lock().expect("no thread panicked").clone() {
                return Err(failed);
            }
            if began.elapsed() > max {
                return Err(format!("{what}: not within {max:?}"));
            }
            thread::park_timeout(Duration::from_millis(2));
        }
        Ok(began.elapsed())
    }
}

/// Fills and frees `cycles` times. An error says what was wrong.
pub fn run(cycles: u64, mut progress: impl FnMut(&Tally)) -> Result<Tally, String> {
    let folder = Folder::new("disk-full");
    let file = folder.path.join("disk");
    empty_file(&file, DISK_BYTES)?;
    Kind::Ext4.make(&file)?;
    let mounted = Mounted::new(Kind::Ext4, &file, &folder.path.join("mounted"))?;
    let mut settings = NodeSettings::new(mounted.folder(), 1);
    settings.more.extend(["log.segment_bytes=8MiB".into(), "retention.bytes=96MiB".into()]);
    let mut node = Node::start(settings.clone());
    let address = settings.shard_address(0);
    let mut remoting = connect(&address)?;
    remoting.create_topic(TOPIC, QUEUES);
    create_group(&mut remoting)?;

    let shared = Arc::new(Shared::default());
    let [sender, reader] = [send_until as fn(&str, &Shared) -> Result<(), String>, read_until].map(|work| {
        let (shared, address) = (shared.clone(), address.clone());
        thread::spawn(move || {
            if let Err(what) = work(&address, &shared) {
                shared.fail(what);
            }
        })
    });
    let mut tally = Tally::default();
    let filled: Result<(), String> = (0..cycles).try_for_each(|cycle| {
        fill_and_free(mounted.folder(), cycle, &mut remoting, &shared, &mut tally)?;
        tally.cycles += 1;
        progress(&tally);
        Ok(())
    });
    // All answers are in before the reader is waited for: what is owed then only gets less.
    shared.stop_sending.store(true, Ordering::Relaxed);
    sender.join().map_err(|_| "the sender panicked")?;
    if filled.is_ok() {
        // What is owed still when time is up is lost, and counted below.
        let _ = shared.wait("the reader at the end", PATIENCE, || {
            shared.owed.lock().expect("no thread panicked").is_empty()
        });
    }
    shared.stop_reading.store(true, Ordering::Relaxed);
    reader.join().map_err(|_| "the reader panicked")?;
    let failed = shared.failed.lock().expect("no thread panicked").take();
    failed.map_or(Ok(()), Err)?;
    filled?;
    tally.lost = shared.owed.lock().expect("no thread panicked").len() as u64;
    tally.answered = shared.answered.load(Ordering::Relaxed);
    tally.refused = shared.refused.load(Ordering::Relaxed);
    tally.read = shared.read.load(Ordering::Relaxed);
    tally.resumed_after.sort_unstable();

    node.process.kill();
    let node = Node::start(settings);
    let mut remoting = connect(&node.settings.shard_address(0))?;
    for (queue, read_to) in shared.next.lock().expect("no thread panicked").iter().enumerate() {
        let end = bound(&mut remoting, 30, queue)?;
        if end < *read_to {
            return Err(format!("after a restart queue {queue} ends at {end}; {read_to} were read"));
        }
        tally.retired_records += bound(&mut remoting, 31, queue)?.unsigned_abs();
    }
    drop(node);
    mounted.unmount();
    Ok(tally)
}

fn fill_and_free(
    folder: &Path,
    cycle: u64,
    remoting: &mut Remoting,
    shared: &Shared,
    tally: &mut Tally,
) -> Result<(), String> {
    let answered = || shared.answered.load(Ordering::Relaxed);
    let refused = || shared.refused.load(Ordering::Relaxed);
    let before = answered();
    shared.wait("answers", PATIENCE, || answered() >= before + ANSWERS_MIN)?;

    let filler = folder.join("filler");
    let left = if cycle.is_multiple_of(2) { 0 } else { DISK_BYTES / 50 };
    let before = refused();
    fill(&filler, left).map_err(|error| format!("filling the disk: {error}"))?;
    shared.wait("refused sends", PATIENCE, || refused() > before + 10)?;
    // What was accepted before is answered still; then consumers are alone.
    let read_to = shared.next.lock().expect("no thread panicked")[0];
    let records = remoting.pull(TOPIC, 0, (read_to - 1).max(0), 0).map_err(|error| error.to_string())?;
    if records.is_empty() {
        return Err(format!("nothing is read at {read_to} while the disk is full"));
    }
    tally.reads_while_full += 1;
    let offset = (cycle + 1).to_string();
    let fields =
        json!({ "consumerGroup": GROUP, "topic": TOPIC, "queueId": "0", "commitOffset": offset.clone() });
    let stored = remoting.ask(15, &fields, b"").map_err(|error| error.to_string())?;
    if stored.code != 0 {
        return Err(format!("a group offset is refused with {}: {}", stored.code, stored.remark));
    }
    let known = remoting.ask(14, &fields, b"").map_err(|error| error.to_string())?;
    if known.fields["offset"].as_str() != Some(&offset) {
        return Err(format!("a group offset of {offset} was stored, and is {}", known.fields["offset"]));
    }
    tally.offsets += 1;

    std::fs::remove_file(&filler).map_err(|error| format!("freeing the disk: {error}"))?;
    let before = answered();
    let resumed = shared.wait("answers after space came back", RESUME_MAX, || answered() > before)?;
    tally.resumed_after.push(resumed);
    Ok(())
}

/// A file that leaves `left` bytes of the file system to others.
fn fill(filler: &Path, left: u64) -> std::io::Result<()> {
    let file = File::create(filler)?;
    let mut bytes = 0;
    // The largest piece that still fits, and smaller ones until nothing does.
    let mut piece = DISK_BYTES;
    while piece >= 4096 {
        let wanted = (bytes + piece).cast_signed();
        // SAFETY: it takes no pointer.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, bytes.cast_signed(), wanted - bytes.cast_signed()) }
            == 0
        {
            bytes += piece;
        } else {
            piece /= 2;
        }
    }
    file.set_len(bytes.saturating_sub(left))
}

fn connect(address: &str) -> Result<Remoting, String> {
    Remoting::connect(address).map_err(|error| format!("connecting to {address}: {error}"))
}

fn create_group(remoting: &mut Remoting) -> Result<(), String> {
    let group = json!({ "groupName": GROUP, "consumeEnable": true, "consumeBroadcastEnable": true, "retryMaxTimes": 16 });
    let made =
        remoting.ask(200, &json!({}), group.to_string().as_bytes()).map_err(|error| error.to_string())?;
    if made.code == 0 {
        Ok(())
    } else {
        Err(format!("the group is refused with {}: {}", made.code, made.remark))
    }
}

/// The first (31) or the end (30) offset of a queue.
fn bound(remoting: &mut Remoting, code: i32, queue: usize) -> Result<i64, String> {
    let fields = json!({ "topic": TOPIC, "queueId": queue.to_string() });
    let answer = remoting.ask(code, &fields, b"").map_err(|error| error.to_string())?;
    let offset = answer.fields["offset"].as_str().and_then(|offset| offset.parse().ok());
    offset.ok_or_else(|| format!("{code} was answered with {}: {}", answer.code, answer.remark))
}

fn send_until(address: &str, shared: &Shared) -> Result<(), String> {
    let mut remoting = connect(address)?;
    let mut number: u64 = 0;
    while !shared.stop_sending.load(Ordering::Relaxed) {
        let mut open = HashMap::new();
        for _ in 0..BURST {
            number += 1;
            let queue = number as usize % QUEUES;
            let mut body = number.to_be_bytes().to_vec();
            body.resize(BODY_BYTES, number as u8);
            let opaque = remoting
                .call(310, &Remoting::send_fields(TOPIC, queue), &body)
                .map_err(|error| format!("sending: {error}"))?;
            open.insert(opaque, (queue, number));
        }
        for _ in 0..BURST {
            let answer = remoting.answer().map_err(|error| format!("an answer to a send: {error}"))?;
            let (queue, number) = open.remove(&answer.opaque).ok_or("an answer to no send")?;
            if answer.code == SERVICE_NOT_AVAILABLE && answer.remark.contains("the broker's disk is full [") {
                shared.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let offset = answer.fields["queueOffset"].as_str().and_then(|offset| offset.parse().ok());
            let offset = offset.filter(|_| answer.code == 0);
            let offset: i64 = offset
                .ok_or_else(|| format!("a send was refused with {}: {}", answer.code, answer.remark))?;
            let twice = shared.owed.lock().expect("no thread panicked").insert((queue, offset), number);
            if twice.is_some() {
                return Err(format!("offset {offset} of queue {queue} was answered twice"));
            }
            shared.answered.fetch_add(1, Ordering::Relaxed);
        }
        thread::park_timeout(BURST_PAUSE);
    }
    Ok(())
}

/// Reads every queue from its beginning on; what was not answered may be there too.
fn read_until(address: &str, shared: &Shared) -> Result<(), String> {
    let mut remoting = connect(address)?;
    while !shared.stop_reading.load(Ordering::Relaxed) {
        for queue in 0..QUEUES {
            let from = shared.next.lock().expect("no thread panicked")[queue];
            let records =
                remoting.pull(TOPIC, queue, from, 20).map_err(|error| format!("reading: {error}"))?;
            let mut next = from;
            for record in &records {
                if record.queue_offset != next {
                    return Err(format!("queue {queue} goes from {next} to {}", record.queue_offset));
                }
                let number = record.body.first_chunk().map(|number| u64::from_be_bytes(*number));
                // The sender may not have seen its answer yet: then it is owed for a moment after it was read.
                take_owed(shared, queue, next, number)?;
                next += 1;
            }
            shared.read.fetch_add(records.len() as u64, Ordering::Relaxed);
            shared.next.lock().expect("no thread panicked")[queue] = next;
        }
    }
    Ok(())
}

fn take_owed(shared: &Shared, queue: usize, offset: i64, number: Option<u64>) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let owed = shared.owed.lock().expect("no thread panicked").remove(&(queue, offset));
        match owed {
            Some(owed) if Some(owed) == number => return Ok(()),
            Some(owed) => return Err(format!("{queue}/{offset} was message {owed} and is {number:?}")),
            None if began.elapsed() > PATIENCE || shared.stop_reading.load(Ordering::Relaxed) => {
                return Err(format!("{queue}/{offset} is there and was not answered"));
            }
            None => thread::park_timeout(Duration::from_millis(1)),
        }
    }
}
