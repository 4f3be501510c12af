//! Cold reads: records from the files, in few direct reads, each record checked against its checksum.
//!
//! Invariants
//!  1. No read is longer than `READ_BYTES_MAX`, none leaves its segment.
//!  2. Bytes that fail their checksum are never handed out.
//!
//! Not here: which records (`state`), what is in memory (`cache`).

use std::io;
use std::rc::Rc;

use super::segment_set::SegmentSet;
use crate::env::{BLOCK_BYTES, Buffer as _, Env, File};
use crate::limits::{READ_BYTES_MAX, READ_GAP_BYTES_MAX};
use crate::store::ReadError;

/// A record wanted from the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub physical: u64,
    pub len: u32,
    pub crc: u32,
}

impl Wanted {
    fn end(&self) -> u64 {
        self.physical + u64::from(self.len)
    }
}

/// Reads as many records from the front of `wanted` as lie near each other, at least one. Returns the buffer, and
/// how many records are in it; each begins at its physical offset minus the returned one.
pub(crate) async fn read<E: Env>(
    env: &E,
    segments: &SegmentSet<E>,
    wanted: &[Wanted],
) -> Result<(Rc<E::Buffer>, u64, usize), ReadError> {
    let count = run(wanted, segments.segment_bytes());
    let (first, last) = (wanted[0], wanted[count - 1]);
    let from = first.physical - first.physical % BLOCK_BYTES as u64;
    let to = last.end().next_multiple_of(BLOCK_BYTES as u64);
    let buffer = match bytes(env, segments, from, to - from).await {
        Ok(buffer) => buffer,
        Err(error) => {
            let position = from % segments.segment_bytes();
            return Err(ReadError::Io { file: segments.file_name(from), position, error: error.to_string() });
        }
    };
    for record in &wanted[..count] {
        let start = usize::try_from(record.physical - from).unwrap_or(usize::MAX);
        let bytes = buffer.get(start..start.saturating_add(record.len as usize));
        if bytes.is_none_or(|bytes| crc32fast::hash(bytes) != record.crc) {
            return Err(ReadError::Corrupt {
                file: segments.file_name(record.physical),
                physical: record.physical,
            });
        }
    }
    Ok((Rc::new(buffer), from, count))
}

/// How many records of the front of `wanted` one read takes.
fn run(wanted: &[Wanted], segment_bytes: u64) -> usize {
    let first = &wanted[0];
    let from = first.physical - first.physical % BLOCK_BYTES as u64;
    let follows = |pair: &&[Wanted]| {
        let (before, next) = (&pair[0], &pair[1]);
        next.physical >= before.end()
            && next.physical - before.end() <= READ_GAP_BYTES_MAX
            && next.end().next_multiple_of(BLOCK_BYTES as u64) - from <= READ_BYTES_MAX as u64
            && next.physical / segment_bytes == first.physical / segment_bytes
    };
    1 + wanted.windows(2).take_while(follows).count()
}

async fn bytes<E: Env>(env: &E, segments: &SegmentSet<E>, from: u64, len: u64) -> io::Result<E::Buffer> {
    let file = segments.reader(from).await?;
    let position = from % segments.segment_bytes();
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    if len <= READ_BYTES_MAX {
        return file.read_at(position, len).await;
    }
    let mut whole = env.buffer(len);
    let mut done = 0;
    while done < len {
        let part = file.read_at(position + done as u64, (len - done).min(READ_BYTES_MAX)).await?;
        if part.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        whole.as_mut()[done..done + part.len()].copy_from_slice(&part);
        done += part.len();
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_records_of_one_segment_come_with_one_read() {
        let record = |physical, len| Wanted { physical, len, crc: 0 };
        let segment = 4 << 20;
        #[rustfmt::skip]
        let rows: &[(&str, &[Wanted], usize)] = &[
            ("alone",               &[record(5000, 100)],                                              1),
            ("neighbours",          &[record(5000, 100), record(5100, 50)],                            2),
            ("a small gap",         &[record(5000, 100), record(5100 + READ_GAP_BYTES_MAX, 50)],       2),
            ("a large gap",         &[record(5000, 100), record(5101 + READ_GAP_BYTES_MAX, 50)],       1),
            ("another segment",     &[record(segment - 100, 100), record(segment, 50)],                1),
            ("longer than a read",  &[record(0, 3 << 20), record(3 << 20, 50)],                        1),
            ("together too long",   &[record(0, 1 << 19), record(1 << 19, (1 << 19) + 1)],             1),
            ("together just a read", &[record(0, 1 << 19), record(1 << 19, 1 << 19)],                  2),
            ("backwards",           &[record(5000, 100), record(4000, 50)],                            1),
        ];
        for (what, wanted, count) in rows {
            assert_eq!(run(wanted, segment), *count, "{what}");
        }
    }
}
