//! What goes wrong, and when: by the index of an operation, or by chance.
//!
//! | fault | the operation | afterwards |
//! | --- | --- | --- |
//! | `Error` | fails with EIO | a write may have landed in part; **a failed flush forgets its writes**: a later flush succeeds without them, as kernels do |
//! | `NoSpace` | fails with ENOSPC | nothing has landed |
//! | `ShortWrite` | a write takes only its first half, and says so | the rest may have landed too |
//! | `Stall` | takes seconds | it succeeds |
//! | `Rot` | a read finds one bit flipped | the bit stays flipped |
//!
//! A folder's change that fails may have happened all the same. Whole-disk faults (power, capacity) are
//! [`super::Disk::crash`] and [`super::Disk::set_capacity`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::trace::OpKind;
use crate::env::Random;

/// One thing that goes wrong with one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// EIO.
    Error,
    /// ENOSPC.
    NoSpace,
    /// Only the first half is taken. Of another operation than a write: EIO.
    ShortWrite,
    /// Takes so much longer.
    Stall(Duration),
    /// One bit of what is read is wrong from now on. Of another operation than a read: nothing.
    Rot,
}

impl Fault {
    /// The error of an operation that simply fails.
    pub(super) fn refuse(fault: Option<Fault>) -> io::Result<()> {
        match fault {
            Some(Fault::Error | Fault::ShortWrite) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Some(Fault::NoSpace) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            Some(Fault::Stall(_) | Fault::Rot) | None => Ok(()),
        }
    }
}

/// How often which fault happens, per thousand operations of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultMix {
    /// EIO on writes.
    pub write_errors: u32,
    /// Short writes.
    pub short_writes: u32,
    /// EIO on flushes.
    pub flush_errors: u32,
    /// EIO on reads.
    pub read_errors: u32,
    /// EIO on everything about folders, and on opening.
    pub folder_errors: u32,
    /// Stalls of up to ten seconds.
    pub stalls: u32,
    /// Bits flipped under reads.
    pub rot: u32,
}

impl FaultMix {
    /// Some kinds off, some rare, now and then one extreme: a uniform drizzle would never get past the start.
    pub fn draw(random: &Random) -> FaultMix {
        let rate = || match random.below(10) {
            0..6 => 0,
            6..9 => 1 + random.below(5) as u32,
            _ => 50 + random.below(100) as u32,
        };
        FaultMix {
            write_errors: rate(),
            short_writes: rate(),
            flush_errors: rate(),
            read_errors: rate(),
            folder_errors: rate(),
            stalls: rate(),
            rot: 0,
        }
    }
}

/// What is to go wrong in one life of a process.
#[derive(Debug)]
pub struct Faults {
    planned: RefCell<BTreeMap<u64, Fault>>,
    mix: Cell<FaultMix>,
    chance: Random,
    happened: Cell<u64>,
    latest: RefCell<Option<(OpKind, PathBuf)>>,
    flushes_failed: Cell<u64>,
}

impl Faults {
    pub(super) fn new(chance: Random) -> Faults {
        Faults {
            planned: RefCell::default(),
            mix: Cell::default(),
            chance,
            happened: Cell::new(0),
            latest: RefCell::default(),
            flushes_failed: Cell::new(0),
        }
    }

    /// Lets the operation of this index go wrong.
    pub fn plan(&self, index: u64, fault: Fault) {
        self.planned.borrow_mut().insert(index, fault);
    }

    /// Lets operations go wrong by chance from now on.
    pub fn set_mix(&self, mix: FaultMix) {
        self.mix.set(mix);
    }

    /// How many have happened.
    pub fn happened(&self) -> u64 {
        self.happened.get()
    }

    /// What the latest one happened to, and where. It may still be on its way: a fault shows when the operation ends.
    pub fn latest(&self) -> Option<(OpKind, PathBuf)> {
        self.latest.borrow().clone()
    }

    /// Flushes that have ended with an error.
    pub fn flushes_failed(&self) -> u64 {
        self.flushes_failed.get()
    }

    pub(super) fn flush_failed(&self) {
        self.flushes_failed.set(self.flushes_failed.get() + 1);
    }

    pub(super) fn draw(&self, index: u64, kind: OpKind, path: &Path) -> Option<Fault> {
        let planned = self.planned.borrow_mut().remove(&index);
        let fault = planned.or_else(|| self.by_chance(kind));
        if fault.is_some() {
            self.happened.set(self.happened.get() + 1);
            self.latest.replace(Some((kind, path.to_path_buf())));
        }
        fault
    }

    fn by_chance(&self, kind: OpKind) -> Option<Fault> {
        let mix = self.mix.get();
        if mix == FaultMix::default() {
            return None;
        }
        let hit = |per_mille| per_mille > 0 && self.chance.chance(per_mille);
        if hit(mix.stalls) {
            return Some(Fault::Stall(Duration::from_millis(1 + self.chance.below(10_000))));
        }
        match kind {
            OpKind::Write if hit(mix.short_writes) => Some(Fault::ShortWrite),
            OpKind::Write if hit(mix.write_errors) => Some(Fault::Error),
            OpKind::Flush if hit(mix.flush_errors) => Some(Fault::Error),
            OpKind::Read if hit(mix.rot) => Some(Fault::Rot),
            OpKind::Read | OpKind::Map if hit(mix.read_errors) => Some(Fault::Error),
            OpKind::Write | OpKind::Flush | OpKind::Read | OpKind::Map | OpKind::Len | OpKind::Close => None,
            _ if hit(mix.folder_errors) => Some(Fault::Error),
            _ => None,
        }
    }
}
