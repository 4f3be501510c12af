//! A table: rows of key and value, keys ascending, of which every 16th is found by an index. Pure.
//!
//! Drawn in [`crate::sidecar`]. A row is found by a binary search of the index and at most 16 rows read.

use super::pages::Pages;
use super::{ROWS_PER_INDEX, u64_at};

const ROW_HEAD_BYTES: u64 = 6;
const DELETED: u32 = u32::MAX;

/// A section's place in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub at: u64,
    pub bytes: u64,
    pub rows: u64,
}

/// One row. `None`: deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// Where a row begins, or the table ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RowAt {
    pub row: u64,
    at: u64,
}

/// A table in a sidecar. The error of every look-up is the position of what is damaged.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub pages: &'a Pages,
    pub rows: Section,
    pub index: Section,
}

impl<'a> Table<'a> {
    /// The row that begins there, and where the next one does; `None` at the end.
    pub fn row(&self, place: RowAt) -> Result<Option<(Row<'a>, RowAt)>, u64> {
        if place.row >= self.rows.rows {
            return Ok(None);
        }
        let head = self.part(place.at, ROW_HEAD_BYTES)?;
        let key_len = u64::from(u16::from_be_bytes([head[0], head[1]]));
        let value_len = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
        let deleted = value_len == DELETED;
        let value_len = if deleted { 0 } else { u64::from(value_len) };
        let body = self.part(place.at + ROW_HEAD_BYTES, key_len + value_len)?;
        let (key, value) = body.split_at(key_len as usize);
        let next = RowAt { row: place.row + 1, at: place.at + ROW_HEAD_BYTES + key_len + value_len };
        Ok(Some((Row { key, value: (!deleted).then_some(value) }, next)))
    }

    /// Where the first row is whose key is not before `key`.
    pub fn seek(&self, key: &[u8]) -> Result<RowAt, u64> {
        let (mut low, mut high) = (0, self.rows.rows.div_ceil(ROWS_PER_INDEX));
        while low < high {
            let middle = low + (high - low) / 2;
            let before = self.row(self.indexed(middle)?)?.is_some_and(|(row, _)| row.key < key);
            if before { low = middle + 1 } else { high = middle }
        }
        let Some(before) = low.checked_sub(1) else { return Ok(RowAt::default()) };
        let mut place = self.indexed(before)?;
        while let Some((row, next)) = self.row(place)? {
            if row.key >= key {
                break;
            }
            place = next;
        }
        Ok(place)
    }

    /// The row of that key, and its number.
    pub fn find(&self, key: &[u8]) -> Result<Option<Row<'a>>, u64> {
        let found = self.row(self.seek(key)?)?;
        Ok(found.map(|(row, _)| row).filter(|row| row.key == key))
    }

    /// The row of that number.
    pub fn nth(&self, number: u64) -> Result<Option<Row<'a>>, u64> {
        if number >= self.rows.rows {
            return Ok(None);
        }
        let mut place = self.indexed(number / ROWS_PER_INDEX)?;
        while place.row < number {
            match self.row(place)? {
                Some((_, next)) => place = next,
                None => return Ok(None),
            }
        }
        Ok(self.row(place)?.map(|(row, _)| row))
    }

    fn indexed(&self, index: u64) -> Result<RowAt, u64> {
        let at = index * 8;
        if at + 8 > self.index.bytes {
            return Err(self.index.at);
        }
        let place = self.pages.bytes(self.index.at + at, 8)?;
        Ok(RowAt { row: index * ROWS_PER_INDEX, at: u64_at(place, 0) })
    }

    fn part(&self, at: u64, len: u64) -> Result<&'a [u8], u64> {
        match at.checked_add(len) {
            Some(end) if end <= self.rows.bytes => self.pages.bytes(self.rows.at + at, len),
            _ => Err(self.rows.at),
        }
    }
}

/// Adds a row to the bytes of a table.
pub(super) fn push_row(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    let key_len = u16::try_from(key.len()).expect("keys are at most FACT_KEY_BYTES_MAX, topics less");
    let value_len = value.map_or(DELETED, |value| {
        u32::try_from(value.len()).expect("values are at most FACT_VALUE_BYTES_MAX")
    });
    out.extend_from_slice(&key_len.to_be_bytes());
    out.extend_from_slice(&value_len.to_be_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value.unwrap_or_default());
}
