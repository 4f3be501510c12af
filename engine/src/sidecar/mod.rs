//! Sidecars: beside each sealed segment one immutable file with everything that was learnt from it. Here is the
//! format; [`build`](Builder) makes it, [`Sidecar`] reads it.
//!
//! `sidecar(n) = build(sidecar(n−1), what apply learnt from segment n)`: derived, so one that is missing or bad is made
//! again from its segment, and nothing has to be believed but the log.
//!
//! ```text
//! sidecar   │ sections, back to back │ zeros to a page │ page checksums │ zeros │ footer │     all numbers big-endian
//!           0                                          n·16 KiB                 end−512  end: a multiple of 4 KiB
//!
//! sections  0 queues         table: queue key → first offset (u64) │ count (u32) │ first entry (u32) │ previous (u64)
//!           2 entries        per record, by queue and offset: position (u32) │ size (u32) │ tag hash (i32) │ crc (u32)
//!           3 places         per record, in the order of the log: row of its queue (u32)
//!           4 strides        per 32nd of these: its position (u32)
//!           5 times          per millisecond in which something was stored: ms (i64) │ position of the first (u32)
//!          12 keys           per key of a record, by hash and position: hash (u32) │ position (u32), each once
//!           6 changes        table: fact key → value, or deleted
//!           8 base queues    table: queue key → end (u64) │ last segment (u64)      all queues, if it has a base
//!          10 base facts     table: fact key → value                                all facts, if it has a base
//!
//! table     rows, keys strictly ascending:   key length (u16) │ value length (u32) │ key │ value
//!           then, as a section of its own (1, 7, 9, 11): where every 16th row begins in the table (u64)
//!           a value length of ffffffff: deleted, no value
//! queue key topic │ queue id (i32, as two's complement)
//!
//! footer    0      4       6   8        16     24             32             40     48         52
//!           │ RMQS │version│ 0 │store id│ base │ segment bytes│ seal position│ epoch│ seal crc │ crc of page checksums │
//!           56             64        72              80          88         96       104
//!           │ store timestamp │ base at │ since base │ base bytes │ live facts │ records │ bytes of pages │
//!           112                                              424        508
//!           │ 13 × section: begins at, bytes, rows (u64 each) │ zeros … │ crc │
//! ```
//!
//! A `position` is a place in the segment; `previous` and `last segment` are bases of segments (all ones: none), so that
//! a queue is followed back through the sidecars. A key's hash is drawn in `state/keys.rs`. `base at` is the segment whose
//! sidecar has the newest base, at most this one; `since base` counts the bytes of changes after it. A page is 16 KiB,
//! checked when it is first touched.
//!
//! Version 1 has no keys, and zeros for their section: records of its segment are not found by key, and it stays as it is
//! until the segment retires. Written is version 2.
//!
//! A base is written when the changes since the last one outgrow half of it, when that one is small against a segment,
//! or when it is [`SIDECARS_SINCE_BASE_MAX`] sidecars old: so writing stays proportional to what changed, and a look-up
//! goes through few files.
//!
//! The sidecar of segment 0 with one record of queue t/1 at 4224 (91 bytes, tag hash 0x41, key `a`) and the fact `k` = `v`:
//!
//! ```text
//! 0000  00 05 00 00 00 18 74 00 00 00 01 00 00 00 00 00   queues: key of 5 bytes, value of 24: t/1, first offset 0,
//! 0010  00 00 00 00 00 00 01 00 00 00 00 ff ff ff ff ff   one record, first entry 0, none before;
//! 0020  ff ff ff 00 00 00 00 00 00 00 00 00 00 10 80 00   index: row 0 at 0. Entry: at 0x1080,
//! 0030  00 00 5b 00 00 00 41 fe ed f0 0d 00 00 00 00 00   91 bytes, tag hash, crc. Place: row 0. Stride:
//! 0040  00 10 80 00 00 01 8b cf e5 68 00 00 00 10 80 28   0x1080. Time: 2023-11-14 22:13:20 at 0x1080. Key:
//! 0050  a5 3f 31 00 00 10 80 00 01 00 00 00 01 6b 76 00   hash of t#a, at 0x1080. Changes: k = v;
//! 0060  00 00 00 00 00 00 00 00 05 00 00 00 10 74 00 00   index. Base queues:
//! 0070  00 01 00 00 00 00 00 00 00 01 00 00 00 00 00 00   t/1 ends at 1, last in segment
//! 0080  00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 01   0; index. Base facts:
//! 0090  6b 76 00 00 00 00 00 00 00 00 00 00 00 00 00 00   k = v; index
//!       …
//! f000  52 4d 51 53 00 02 00 00 11 22 33 44 55 66 77 88   footer: magic, version 2, store id
//! f010  00 00 00 00 00 00 00 00 00 00 00 00 00 10 00 00   segment 0 of 1 MiB,
//! f020  00 00 00 00 00 00 20 00 00 00 00 00 00 00 00 01   sealed at 8192 in epoch 1
//! f030  de ad be ef 57 99 74 6d 00 00 01 8b cf e5 68 00   by deadbeef; crc of page checksums; store timestamp
//! f040  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00   base at 0, nothing since,
//! f050  00 00 00 00 00 00 00 23 00 00 00 00 00 00 00 01   35 bytes in the base, one fact,
//! f060  00 00 00 00 00 00 00 01 00 00 00 00 00 00 40 00   one record, one page
//! ```
//!
//! One that is made again after those before it retired has `previous` only where it is still there. If it had a base,
//! that is kept as long as it is whole; else it gets none, and its `base at` is a retired segment: then it needs a newer
//! sidecar that has one.
//!
//! Invariants
//!  1. A sidecar is written under another name, flushed, and renamed: under its name it is whole.
//!  2. It is made only of what is durable: the segment's seal, whose checksum it carries, was flushed before.
//!  3. No bytes make reading one panic, and nothing is allocated by a length that is read.
//!
//! Not here: when sidecars are made (`sealing`), how a start finds them (`opening`).

mod build;
pub mod dump;
mod footer;
mod keys;
mod map;
mod merge;
mod pages;
mod queue_row;
mod set;
mod table;
#[cfg(test)]
mod tests;
pub mod verify;

use std::path::{Path, PathBuf};

pub(crate) use build::{Builder, Foundation, Identity, Input};
pub use footer::SidecarFault;
pub(crate) use map::ENTRY_BYTES;
pub use map::{Damaged, Sidecar};
pub(crate) use merge::{Merge, Source};
pub(crate) use queue_row::{QueueEnd, QueueRow};
pub(crate) use set::SidecarSet;
pub(crate) use table::Row;

/// The first bytes of the footer: "RMQS".
const MAGIC: u32 = 0x524d_5153;
/// The format that this build writes. It reads this one and the one before.
const FORMAT_VERSION: u16 = 2;
/// The format before it.
const VERSION_WITHOUT_KEYS: u16 = 1;
/// Length of the footer, at the end of the file.
const FOOTER_BYTES: usize = 512;
/// What has a checksum of its own.
pub(crate) const PAGE_BYTES: usize = 16 * 1024;
/// One row in so many of a table is found without reading those before it.
const ROWS_PER_INDEX: u64 = 16;
/// One record in so many has its position in the strides.
pub(crate) const STRIDE: usize = 32;
/// Where a queue occurred before, if it did not.
pub(crate) const NO_SEGMENT: u64 = u64::MAX;

/// Sections by number.
const SECTIONS: usize = 13;
const QUEUES: usize = 0;
const ENTRIES: usize = 2;
const PLACES: usize = 3;
const STRIDES: usize = 4;
const TIMES: usize = 5;
const CHANGES: usize = 6;
const BASE_QUEUES: usize = 8;
const BASE_FACTS: usize = 10;
const KEYS: usize = 12;

pub use crate::limits::SIDECARS_SINCE_BASE_MAX;

/// The name of the sidecar of the segment that begins at this physical offset.
pub fn file_name(base: u64) -> String {
    format!("{base:020}.side")
}

/// The base of the segment whose sidecar has that name; `None` for another name.
pub fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".side")?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { digits.parse().ok() } else { None }
}

/// Whether a file was being written when its process ended: of no meaning, and in the way.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(".new").is_some_and(|name| base_of(name).is_some())
}

/// Where the sidecar of that segment is.
pub(crate) fn path(folder: &Path, base: u64) -> PathBuf {
    folder.join(file_name(base))
}

/// Where it is while it is written.
pub(crate) fn unfinished_path(folder: &Path, base: u64) -> PathBuf {
    folder.join(file_name(base) + ".new")
}

/// The frame that ends a segment, as its sidecar names it: what follows must follow this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Physical offset of the frame.
    pub position: u64,
    pub epoch: u64,
    pub crc: u32,
    pub store_timestamp_ms: i64,
}

/// The name of a queue as one key: in the order of topics, then of numbers (negative ones last).
pub(crate) fn queue_key(topic: &str, queue_id: i32) -> Vec<u8> {
    [topic.as_bytes(), &queue_id.to_be_bytes()].concat()
}

/// The queue of a key.
pub(crate) fn queue_of_key(key: &[u8]) -> Option<(&str, i32)> {
    let (topic, queue_id) = key.split_last_chunk::<4>()?;
    Some((std::str::from_utf8(topic).ok()?, i32::from_be_bytes(*queue_id)))
}

/// `at` is a constant within a row or the footer.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}
