//! What a simulated process has asked of its disk: a count, a hash of everything, and the latest few.
//!
//! The hash covers kind, path, position, length and virtual time of every operation, in order. Two runs that
//! differ anywhere differ in it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::env::Random;

/// How many operations are kept to be shown.
const LATEST: usize = 24;

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the method of `Env` or `File` of that name")]
pub enum OpKind {
    Open,
    Map,
    Create,
    List,
    CreateFolder,
    SyncFolder,
    Rename,
    Remove,
    Space,
    Lock,
    Write,
    Read,
    Flush,
    Len,
    Close,
}

impl OpKind {
    /// How long one takes: mostly near its usual time, now and then far beyond.
    pub(super) fn latency(self, chance: &Random) -> Duration {
        let usual_us = match self {
            OpKind::Write => 60,
            OpKind::Flush | OpKind::SyncFolder => 150,
            OpKind::Read => 80,
            _ => 10,
        };
        let spread = 1 + chance.below(2 * usual_us);
        let tail = if chance.chance(10) { 100 } else { 1 };
        Duration::from_micros(spread * tail)
    }
}

/// The operations of one simulated process.
#[derive(Debug, Default)]
pub struct Trace {
    count: Cell<u64>,
    hash: Cell<u64>,
    latest: RefCell<VecDeque<Operation>>,
}

#[derive(Debug)]
struct Operation {
    index: u64,
    kind: OpKind,
    path: PathBuf,
    position: u64,
    len: usize,
    now: Duration,
}

impl Trace {
    /// Operations so far; the next one has this index.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// The hash of all of them.
    pub fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// The latest operations, a line each.
    pub fn latest(&self) -> String {
        self.latest.borrow().iter().map(|operation| format!("  {operation}\n")).collect()
    }

    /// Takes anything else into the hash: what the network did, what a client was told.
    pub fn mix(&self, number: u64) {
        // FNV-1a over the eight bytes: not strong, and deterministic on every machine.
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self.hash.set(number.to_le_bytes().iter().fold(self.hash.get() ^ 0xcbf2_9ce4_8422_2325, fold));
    }

    pub(super) fn enter(&self, kind: OpKind, path: &Path, position: u64, len: usize, now: Duration) -> u64 {
        let index = self.count.get();
        self.count.set(index + 1);
        self.mix(kind as u64);
        for chunk in path.as_os_str().as_encoded_bytes().chunks(8) {
            self.mix(chunk.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        }
        self.mix(position);
        self.mix(len as u64);
        self.mix(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        let mut latest = self.latest.borrow_mut();
        if latest.len() == LATEST {
            latest.pop_front();
        }
        latest.push_back(Operation { index, kind, path: path.to_path_buf(), position, len, now });
        index
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operation { index, kind, path, position, len, now } = self;
        write!(formatter, "{index:>6} {now:>14?} {kind:?} {} {position}+{len}", path.display())
    }
}
