//! A sidecar's keys: how they are sorted, and looked up. Pure. Drawn in [`crate::sidecar`].

use super::{Damaged, KEYS, PAGE_BYTES, Sidecar, u32_at};
use crate::limits::SIDECAR_STEP_ROWS;
use crate::planted::{self, Bug};
use crate::state::keys::{KeyRow, KeySearch, Keys};

/// Length of one row.
pub(super) const KEY_ROW_BYTES: usize = 8;

/// Half a page of rows: of a million, those before a hash are a thousand more or less than expected, once in twenty times.
const NEAR_ROWS: u64 = (PAGE_BYTES / KEY_ROW_BYTES / 2) as u64;

/// Bits of the hash that one pass sorts by, and passes.
const DIGIT_BITS: u32 = 11;
const PASSES: u32 = 32_u32.div_ceil(DIGIT_BITS);
/// Rows that a step moves once: a few nanoseconds each.
const STEP_ROWS: usize = 16 * SIDECAR_STEP_ROWS;

/// Rows on their way into order: by hash, digit by digit from the least, each pass keeping the order of the one before;
/// so rows of one hash stay in the order of the log, in which they came. Sixteen bytes per row.
#[derive(Debug, Default)]
pub(super) struct KeySort {
    rows: Vec<KeyRow>,
    /// As many, in the order of the next pass as far as it has come.
    sorted: Vec<KeyRow>,
    /// Of each digit: how often it was counted, then where its next row goes.
    places: Vec<u32>,
    step: Step,
    taken: usize,
}

/// What is done to the rows from `next` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Copy { next: usize },
    Count { pass: u32, next: usize },
    Move { pass: u32, next: usize },
}

impl Default for Step {
    fn default() -> Step {
        Step::Copy { next: 0 }
    }
}

fn digit(row: &KeyRow, pass: u32) -> usize {
    (row.hash >> (pass * DIGIT_BITS)) as usize & ((1 << DIGIT_BITS) - 1)
}

impl KeySort {
    /// Goes on sorting. Whether that was the end of it.
    pub fn sort_some(&mut self, keys: &Keys) -> bool {
        let step = |next: usize, all: usize| next..all.min(next + STEP_ROWS);
        self.step = match self.step {
            Step::Copy { next } => {
                self.rows.extend((next..next + STEP_ROWS).map_while(|number| keys.row(number)));
                if self.rows.len() == next + STEP_ROWS {
                    Step::Copy { next: next + STEP_ROWS }
                } else {
                    self.sorted = vec![KeyRow::default(); self.rows.len()];
                    self.places = vec![0; 1 << DIGIT_BITS];
                    Step::Count { pass: 0, next: 0 }
                }
            }
            Step::Count { pass, next } => {
                let range = step(next, self.rows.len());
                for row in &self.rows[range.clone()] {
                    self.places[digit(row, pass)] += 1;
                }
                if range.end < self.rows.len() {
                    Step::Count { pass, next: range.end }
                } else {
                    let mut before = 0;
                    for place in &mut self.places {
                        before += std::mem::replace(place, before);
                    }
                    Step::Move { pass, next: 0 }
                }
            }
            Step::Move { pass, next } => {
                let range = step(next, self.rows.len());
                for row in &self.rows[range.clone()] {
                    let place = &mut self.places[digit(row, pass)];
                    self.sorted[*place as usize] = *row;
                    *place += 1;
                }
                if range.end < self.rows.len() {
                    Step::Move { pass, next: range.end }
                } else {
                    std::mem::swap(&mut self.rows, &mut self.sorted);
                    self.places.fill(0);
                    if pass + 1 == PASSES {
                        return true;
                    }
                    Step::Count { pass: pass + 1, next: 0 }
                }
            }
        };
        false
    }

    /// The next row in order, each once.
    pub fn next(&mut self) -> Option<KeyRow> {
        let row = *self.rows.get(self.taken)?;
        while self.rows.get(self.taken) == Some(&row) {
            self.taken += 1;
        }
        Some(row)
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
