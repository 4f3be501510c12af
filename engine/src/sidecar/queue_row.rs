//! What a sidecar says of a queue: its records in the segment, and where it ends. Drawn in `mod.rs`.

use super::{u32_at, u64_at};

/// A queue's records in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueRow {
    /// Offset of the first.
    pub first: u64,
    pub count: u32,
    /// Number of its entry.
    pub entry: u32,
    /// The segment where the queue occurred before.
    pub previous: u64,
}

impl QueueRow {
    /// Offset after the last.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<QueueRow> {
        let bytes: &[u8; 24] = bytes.try_into().ok()?;
        let (first, previous) = (u64_at(bytes, 0), u64_at(bytes, 16));
        Some(QueueRow { first, count: u32_at(bytes, 8), entry: u32_at(bytes, 12), previous })
    }

    pub(super) fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[0..8].copy_from_slice(&self.first.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.count.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.entry.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.previous.to_be_bytes());
        bytes
    }
}

/// A queue's end, and the segment of its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueEnd {
    pub end: u64,
    pub last: u64,
}

impl QueueEnd {
    /// From a row of `queues` of the sidecar of segment `base`, or of `base queues`.
    pub fn decode(value: Option<&[u8]>, base: u64) -> Option<QueueEnd> {
        let value = value?;
        match <&[u8; 16]>::try_from(value) {
            Ok(ends) => Some(QueueEnd { end: u64_at(ends, 0), last: u64_at(ends, 8) }),
            Err(_) => QueueRow::decode(value).map(|row| QueueEnd { end: row.end(), last: base }),
        }
    }

    pub(super) fn encode(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[0..8].copy_from_slice(&self.end.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.last.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 3 << 20;

    #[test]
    fn an_end_is_read_from_a_queues_row_or_from_a_base() {
        let row = QueueRow { first: 10, count: 3, entry: 0, previous: 0 };
        let end = QueueEnd { end: 9, last: 5 };
        assert_eq!(QueueEnd::decode(Some(&row.encode()), BASE), Some(QueueEnd { end: 13, last: BASE }));
        assert_eq!(QueueEnd::decode(Some(&end.encode()), BASE), Some(end));
        assert_eq!((QueueEnd::decode(None, BASE), QueueEnd::decode(Some(b"odd"), BASE)), (None, None));
    }
}
