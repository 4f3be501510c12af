//! A sidecar's keys: how they are sorted, and looked up. Pure. Drawn in [`crate::sidecar`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Damaged, KEYS, PAGE_BYTES, Sidecar, u32_at};
use crate::limits::SIDECAR_STEP_ROWS;
use crate::planted::{self, Bug};
use crate::state::keys::{KeyRow, KeySearch, Keys};

/// Length of one row.
pub(super) const KEY_ROW_BYTES: usize = 8;

/// Half a page of rows: of a million, those before a hash are a thousand more or less than expected, once in twenty times.
const NEAR_ROWS: u64 = (PAGE_BYTES / KEY_ROW_BYTES / 2) as u64;

/// Rows on their way into order: sorted in runs, each a step's worth, which are then merged. Eight bytes per row.
#[derive(Debug, Default)]
pub(super) struct KeySort {
    /// Each with its least row last.
    runs: Vec<Vec<KeyRow>>,
    /// The least row of each run that has one.
    least: BinaryHeap<Reverse<(KeyRow, usize)>>,
    taken: usize,
    last: Option<KeyRow>,
}

impl KeySort {
    /// Makes another run. Whether it was the last.
    pub fn sort_some(&mut self, keys: &Keys) -> bool {
        let mut run: Vec<KeyRow> =
            (self.taken..self.taken + SIDECAR_STEP_ROWS).map_while(|number| keys.row(number)).collect();
        self.taken += run.len();
        let is_last = run.len() < SIDECAR_STEP_ROWS;
        run.sort_unstable_by(|a, b| b.cmp(a));
        self.least.extend(run.pop().map(|least| Reverse((least, self.runs.len()))));
        self.runs.push(run);
        is_last
    }

    /// The next row in order, each once.
    pub fn next(&mut self) -> Option<KeyRow> {
        loop {
            let Reverse((row, run)) = self.least.pop()?;
            self.least.extend(self.runs[run].pop().map(|least| Reverse((least, run))));
            if self.last.replace(row) != Some(row) {
                return Some(row);
            }
        }
    }
}

impl KeyRow {
    /// As it lies in the file.
    pub(super) fn encode(self) -> [u8; KEY_ROW_BYTES] {
        (u64::from(self.hash) << 32 | u64::from(self.position)).to_be_bytes()
    }

    fn decode(bytes: &[u8]) -> KeyRow {
        KeyRow { hash: u32_at(bytes, 0), position: u32_at(bytes, 4) }
    }
}

impl Sidecar {
    /// Number of its keys; `None` if its version does not keep them.
    pub(crate) fn keys(&self) -> Option<u64> {
        self.footer().has_keys().then(|| self.footer().sections[KEYS].rows)
    }

    /// A key that is there.
    pub(super) fn key(&self, number: u64) -> Result<KeyRow, Damaged> {
        self.fixed_row(KEYS, number, KEY_ROW_BYTES).map(KeyRow::decode)
    }

    /// Rows between which the first one lies that is not before what is sought. Hashes are spread evenly, so that is where
    /// this one would be, give or take a page; and if they are not, it is anywhere.
    fn near(&self, hash: u32, is_before: impl Fn(KeyRow) -> bool) -> Result<(u64, u64), Damaged> {
        let rows = self.footer().sections[KEYS].rows;
        let guess = ((u128::from(rows) * u128::from(hash)) >> 32) as u64;
        let (low, high) = (guess.saturating_sub(NEAR_ROWS), (guess + NEAR_ROWS).min(rows));
        let is_inside =
            (low == 0 || is_before(self.key(low - 1)?)) && (high == rows || !is_before(self.key(high)?));
        Ok(if is_inside { (low, high) } else { (0, rows) })
    }

    /// Takes a look-up through the segment, as far as it may go.
    pub(crate) fn search_key(&self, search: &mut KeySearch) -> Result<(), Damaged> {
        let position = search.before.saturating_sub(self.base());
        let is_before = |row: KeyRow| (row.hash, u64::from(row.position)) < (search.hash, position);
        let near = self.near(search.hash, is_before)?;
        let end = self.partition_within(KEYS, KEY_ROW_BYTES, near, |row| is_before(KeyRow::decode(row)))?;
        let skipped = u64::from(planted::is(Bug::SidecarKeySkipped));
        for number in (0..end.saturating_sub(skipped)).rev() {
            let row = self.key(number)?;
            let physical = self.base().saturating_add(u64::from(row.position));
            if row.hash != search.hash || physical < search.from {
                break;
            }
            search.take(physical);
            // Kept true at each step: the next row may be damaged.
            search.before = physical;
            if search.is_spent() {
                return Ok(());
            }
        }
        search.before = self.base();
        Ok(())
    }
}
