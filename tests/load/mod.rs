//! Senders and readers that go on while the server dies and comes back, and remember what they were told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub mod remoting;

use remoting::{Record, Remoting};

/// The topic that is written.
pub const TOPIC: &str = "Load";
/// Its queues per shard.
pub const QUEUES: usize = 4;
/// Sends without an answer yet, per sender.
const WINDOW: usize = 32;
/// Before the next try to connect.
const RECONNECT: Duration = Duration::from_millis(20);

/// A reader's wait at the end of one queue, before it looks at the next.
const HOLD_MS: u32 = 100;

/// What is known about one shard from its answers: by queue, by offset, the record's body.
#[derive(Default)]
pub struct Known {
    /// Told to a sender by an answer with code 0.
    pub answered: [HashMap<i64, Answered>; QUEUES],
    /// Given to a reader.
    pub read: [Vec<Record>; QUEUES],
    /// Noted with each answer; whoever wants to know when an answer came lets it grow.
    pub clock: Arc<AtomicU64>,
    /// Bodies are numbered; the next number.
    next: u64,
}

/// A record whose sender was told that it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its body.
    pub body: Vec<u8>,
    /// What [`Known::clock`] was when the answer came.
    pub at: u64,
}

/// How much of a shard is read again to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What follows the records that were read already.
    New,
    /// Everything.
    Whole,
}

impl Known {
    /// Compares what the shard has with all that was ever known about it by the time `now` of the clock; returns how many
    /// records it has.
    pub fn check(&mut self, remoting: &mut Remoting, extent: Extent, now: u64) -> Result<usize, String> {
        let mut found = 0;
        for queue in 0..QUEUES {
            let before = self.read[queue].clone();
            if extent == Extent::Whole {
                self.read[queue].clear();
            }
            loop {
                let next = self.read[queue].len() as i64;
                let records = remoting.pull(TOPIC, queue, next, 0);
                let records = records.map_err(|error| format!("queue {queue}: a pull at {next}: {error}"))?;
                if records.is_empty() {
                    break;
                }
                append(&mut self.read[queue], records, queue);
            }
            self.compare(queue, &before, now)?;
            found += self.read[queue].len();
        }
        Ok(found)
    }

    fn compare(&self, queue: usize, before: &[Record], now: u64) -> Result<(), String> {
        let read = &self.read[queue];
        if read.len() < before.len() {
            return Err(format!("queue {queue}: {} records became {}", before.len(), read.len()));
        }
        if read[..before.len()] != *before {
            return Err(format!("queue {queue}: what was read has changed"));
        }
        for (offset, answered) in self.answered[queue].iter().filter(|(_, answered)| answered.at <= now) {
            match usize::try_from(*offset).ok().and_then(|offset| read.get(offset)) {
                Some(record) if record.body == answered.body => {}
                Some(_) => {
                    return Err(format!("queue {queue}: offset {offset} has other bytes than answered"));
                }
                None => {
                    let end = read.len();
                    return Err(format!("queue {queue}: offset {offset} was answered; the end is {end}"));
                }
            }
        }
        Ok(())
    }
}

/// A sender and a reader at one shard.
pub struct Load {
    /// What they know, also after they ended.
    pub known: Arc<Mutex<Known>>,
    answers: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts both; what they learn is added to `known`.
    pub fn start(address: &str, known: Arc<Mutex<Known>>) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicUsize::new(0));
        let mut load = Load { known, answers, stop, threads: Vec::new() };
        let (known, answers, stop, at) = load.shared(address);
        load.threads.push(thread::spawn(move || send_until(&at, &known, &answers, &stop)));
        let (known, _, stop, at) = load.shared(address);
        load.threads.push(thread::spawn(move || read_until(&at, &known, &stop)));
        load
    }

    fn shared(&self, address: &str) -> (Arc<Mutex<Known>>, Arc<AtomicUsize>, Arc<AtomicBool>, String) {
        (self.known.clone(), self.answers.clone(), self.stop.clone(), address.to_string())
    }

    /// Sends that were accepted so far.
    pub fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Ends both, once the server is gone or stopped answering.
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("neither sender nor reader found anything wrong");
        }
    }
}

fn send_until(address: &str, known: &Mutex<Known>, answers: &AtomicUsize, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        // It ends with the connection; which of the unanswered sends were stored stays unknown.
        if let Ok(mut remoting) = Remoting::connect(address) {
            let _ = send(&mut remoting, known, answers, stop);
        }
        thread::park_timeout(RECONNECT);
    }
}

fn send(
    remoting: &mut Remoting,
    known: &Mutex<Known>,
    answers: &AtomicUsize,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    let mut open = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        while open.len() < WINDOW {
            let number = {
                let mut known = known.lock().expect("no other thread panicked");
                known.next += 1;
                known.next
            };
            let queue = number as usize % QUEUES;
            let body = body(number);
            let opaque = remoting.call(310, &Remoting::send_fields(TOPIC, queue), &body)?;
            open.insert(opaque, (queue, body));
        }
        let answer = remoting.answer()?;
        let (queue, body) = open.remove(&answer.opaque).expect("each answer is to an open send");
        if answer.code == 0 {
            let offset = answer.fields["queueOffset"].as_str().and_then(|offset| offset.parse().ok());
            let offset = offset.expect("an accepted send has a queue offset");
            let mut known = known.lock().expect("no other thread panicked");
            let at = known.clock.load(Ordering::SeqCst);
            let before = known.answered[queue].insert(offset, Answered { body, at });
            drop(known);
            assert_eq!(before, None, "queue {queue}: offset {offset} was answered twice");
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// A body of 8 to a few thousand bytes that says which it is.
fn body(number: u64) -> Vec<u8> {
    let bytes = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 53;
    let mut body = number.to_be_bytes().to_vec();
    body.resize(8 + bytes as usize, number as u8);
    body
}

fn read_until(address: &str, known: &Mutex<Known>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok(mut remoting) = Remoting::connect(address) {
            let _ = read(&mut remoting, known, stop);
        }
        thread::park_timeout(RECONNECT);
    }
}

fn read(remoting: &mut Remoting, known: &Mutex<Known>, stop: &AtomicBool) -> std::io::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        for queue in 0..QUEUES {
            let next = known.lock().expect("no other thread panicked").read[queue].len() as i64;
            let records = remoting.pull(TOPIC, queue, next, HOLD_MS)?;
            let mut known = known.lock().expect("no other thread panicked");
            append(&mut known.read[queue], records, queue);
        }
    }
    Ok(())
}

/// Adds records to what was read of a queue; panics unless their offsets go on where that ends.
pub fn append(read: &mut Vec<Record>, records: Vec<Record>, queue: usize) {
    for record in records {
        assert_eq!(record.queue_offset, read.len() as i64, "queue {queue}: offsets are dense");
        read.push(record);
    }
}
