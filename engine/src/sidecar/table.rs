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

#[cfg(test)]
mod tests {
    use super::super::{FOOTER_BYTES, PAGE_BYTES};
    use super::*;

    /// A key and a value per row, the rows of a multiple of seven deleted.
    fn row(number: u64) -> (Vec<u8>, Option<Vec<u8>>) {
        let value = vec![number as u8; number as usize % 5];
        (format!("key {:04}", number * 2).into_bytes(), (!number.is_multiple_of(7)).then_some(value))
    }

    /// A table of so many rows in pages of their own, changed by `change`, with right checksums.
    fn with_table(
        count: u64,
        change: impl FnOnce(&mut Vec<u8>, &mut Section, &mut Section),
        check: impl FnOnce(Table<'_>),
    ) {
        let (mut bytes, mut places) = (vec![0xee; 100], Vec::new());
        for number in 0..count {
            if number.is_multiple_of(ROWS_PER_INDEX) {
                places.extend((bytes.len() as u64 - 100).to_be_bytes());
            }
            let (key, value) = row(number);
            push_row(&mut bytes, &key, value.as_deref());
        }
        let mut rows = Section { at: 100, bytes: bytes.len() as u64 - 100, rows: count };
        let mut index = Section {
            at: bytes.len() as u64,
            bytes: places.len() as u64,
            rows: count.div_ceil(ROWS_PER_INDEX),
        };
        bytes.extend(places);
        change(&mut bytes, &mut rows, &mut index);
        bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0xee);
        let pages_bytes = bytes.len() as u64;
        let checksums: Vec<u8> =
            bytes.chunks(PAGE_BYTES).flat_map(|page| crc32fast::hash(page).to_be_bytes()).collect();
        bytes.extend(checksums);
        bytes.extend([0; FOOTER_BYTES]);
        let pages = Pages::new(Box::new(bytes), pages_bytes).expect("it is whole");
        check(Table { pages: &pages, rows, index });
    }

    #[test]
    fn rows_are_found_by_key_by_number_and_by_what_is_next() {
        for count in [0, 1, 2, 15, 16, 17, 32, 33, 100, 2000] {
            with_table(
                count,
                |_, _, _| (),
                |table| {
                    let mut place = RowAt::default();
                    for number in 0..count {
                        let (key, value) = row(number);
                        let expected = Row { key: &key, value: value.as_deref() };
                        let (found, next) = table.row(place).expect("whole").expect("it is there");
                        assert_eq!((found, place.row), (expected, number), "of {count}");
                        assert_eq!((table.seek(&key), table.find(&key)), (Ok(place), Ok(Some(expected))));
                        assert_eq!(table.nth(number), Ok(Some(expected)));
                        // Just after the key: the next row.
                        let after = [&key[..], b"!"].concat();
                        assert_eq!((table.seek(&after), table.find(&after)), (Ok(next), Ok(None)));
                        place = next;
                    }
                    assert_eq!(
                        (table.row(place), table.nth(count), table.nth(u64::MAX)),
                        (Ok(None), Ok(None), Ok(None))
                    );
                    assert_eq!((table.seek(b""), table.seek(b"z")), (Ok(RowAt::default()), Ok(place)));
                },
            );
        }
    }

    #[test]
    fn lengths_that_lead_out_of_the_table_are_damage_even_with_right_checksums() {
        type Change = fn(&mut Vec<u8>, &mut Section, &mut Section);
        /// The head of row 16.
        fn head<'a>(bytes: &'a mut [u8], index: &Section) -> &'a mut [u8] {
            let at = 100 + u64_at(bytes, index.at as usize + 8) as usize;
            &mut bytes[at..at + 6]
        }
        #[rustfmt::skip]
        let rows: &[(&str, Change, bool)] = &[
            // what is wrong, whether row 20 can still be found
            ("nothing",                     |_, _, _| (),                                              true),
            ("a key far too long",          |bytes, _, index| head(bytes, index)[0] = 0xff,            false),
            ("a value far too long",        |bytes, _, index| head(bytes, index)[2] = 0x7f,            false),
            ("a table that ends in a row",  |_, rows, _| rows.bytes = 300,                             false),
            ("an index that ends too soon", |_, _, index| index.bytes = 15,                            false),
            ("an index to far beyond",      |bytes, _, index| bytes[index.at as usize + 8] = 0xff,     false),
        ];
        for (what, change, found) in rows {
            with_table(32, change, |table| {
                let (key, value) = row(20);
                let expected = Some(Row { key: &key, value: value.as_deref() });
                for row in [table.find(&key), table.nth(20)] {
                    let is_damage = row.is_err_and(|at| at == table.rows.at || at == table.index.at);
                    assert_eq!((row == Ok(expected), is_damage), (*found, !found), "{what}");
                }
            });
        }
    }
}
