//! What a crash leaves: everything durable, and of everything pending whatever the caller decides.
//!
//! What is pending falls apart into [`Unit`]s, each of which survives or not: a sector of a write, a change
//! of a folder. Sectors that would change nothing are no units, so the choices that matter are few and can be
//! enumerated: n units, 2ⁿ disks.
//!
//! Invariants
//!  1. A disk after a crash has nothing pending.
//!  2. The order of units depends on the disk only: the same mask gives the same disk.

use super::content::{SECTORS, bytes_of, sector_of};
use super::disk::{Disk, FileNode, FolderNode, Node, PendingWrite};
use crate::env::Random;

/// One thing that a crash keeps or loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A sector of the pending write with this number, counted over the whole disk.
    Sector {
        /// Which write.
        write: usize,
    },
    /// A change of a folder's entries.
    Entry,
}

impl Disk {
    /// The units of what is pending, in order.
    pub fn pending_units(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        let mut writes = 0;
        for node in &self.nodes {
            match node {
                Node::File(file) => {
                    for (index, write) in file.pending.iter().enumerate() {
                        let sectors = file.sectors_that_matter(index, write);
                        let count: u32 = sectors.iter().map(|mask| mask.count_ones()).sum();
                        units.extend((0..count).map(|_| Unit::Sector { write: writes }));
                        writes += 1;
                    }
                }
                Node::Folder(folder) => units.extend(folder.pending.iter().map(|_| Unit::Entry)),
            }
        }
        units
    }

    /// The disk after a crash that keeps the units for which `survives` says so; it is asked for each index
    /// of [`Disk::pending_units`] in turn.
    pub fn crash(&self, mut survives: impl FnMut(usize) -> bool) -> Disk {
        let mut next = 0;
        let mut survives = || {
            next += 1;
            survives(next - 1)
        };
        let mut after = self.clone();
        for (node, before) in after.nodes.iter_mut().zip(&self.nodes) {
            match (node, before) {
                (Node::File(after), Node::File(before)) => after.crash(before, &mut survives),
                (Node::Folder(after), Node::Folder(before)) => after.crash(before, &mut survives),
                _ => unreachable!("a clone has the same nodes"),
            }
        }
        after
    }

    /// The disk after a crash by chance: each write is lost, whole or torn; each change of a folder is kept
    /// or lost.
    pub fn crash_by_chance(&self, chance: &Random) -> Disk {
        let kept = Unit::keep_by_chance(&self.pending_units(), chance);
        self.crash(|index| kept[index])
    }
}

impl Unit {
    /// For each unit whether it survives: each write is lost, whole or torn, each change of a folder kept or lost.
    pub fn keep_by_chance(units: &[Unit], chance: &Random) -> Vec<bool> {
        let mut fate = (None, Fate::Lost);
        let mut keep = |unit: &Unit| match unit {
            Unit::Entry => chance.chance(500),
            Unit::Sector { write } => {
                if fate.0 != Some(*write) {
                    fate = (Some(*write), [Fate::Lost, Fate::Whole, Fate::Torn][chance.index(3)]);
                }
                match fate.1 {
                    Fate::Lost => false,
                    Fate::Whole => true,
                    Fate::Torn => chance.chance(500),
                }
            }
        };
        units.iter().map(&mut keep).collect()
    }
}

#[derive(Clone, Copy)]
enum Fate {
    Lost,
    Whole,
    Torn,
}

impl FileNode {
    /// Per block of a pending write, the sectors that would change something, a bit each.
    fn sectors_that_matter(&self, index: usize, write: &PendingWrite) -> Vec<u8> {
        let changed = |(offset, block)| {
            if write.superseded[offset] {
                return 0;
            }
            let block_index = write.first_block + offset;
            let earlier = &self.pending[..index];
            let contested = earlier.iter().any(|other| other.covers(block_index));
            let grows = block_index >= self.durable.len_blocks();
            let differs = |sector: &usize| {
                contested
                    || sector_of(bytes_of(block), *sector) != self.durable.sector(block_index, *sector)
                    || (grows && *sector == 0)
            };
            (0..SECTORS).filter(differs).fold(0, |mask, sector| mask | 1 << sector)
        };
        write.blocks.iter().enumerate().map(changed).collect()
    }

    fn crash(&mut self, before: &FileNode, survives: &mut impl FnMut() -> bool) {
        for (index, write) in before.pending.iter().enumerate() {
            let sectors = before.sectors_that_matter(index, write);
            for (offset, (block, matter)) in write.blocks.iter().zip(sectors).enumerate() {
                let asked = (0..SECTORS).filter(|sector| matter & (1 << sector) != 0);
                let kept = asked.fold(0, |mask, sector| mask | (u8::from(survives()) << sector));
                self.durable.put_sectors(write.first_block + offset, block, kept);
            }
        }
        self.now = self.durable.clone();
        self.pending.clear();
    }
}

impl PendingWrite {
    fn covers(&self, block: usize) -> bool {
        (self.first_block..self.first_block + self.blocks.len()).contains(&block)
    }
}

impl FolderNode {
    fn crash(&mut self, before: &FolderNode, survives: &mut impl FnMut() -> bool) {
        for change in &before.pending {
            if survives() {
                change.apply(&mut self.durable);
            }
        }
        self.now = self.durable.clone();
        self.pending.clear();
    }
}
