//! One log frame as bytes: encode and decode. Pure. The drawing is in [`crate::log`].
//!
//! Invariants
//!  1. `decode(encode(frame))` is the frame.
//!  2. No input makes decoding panic, and decoding allocates nothing.
//!  3. A frame that decodes is whole: its checksums cover header, directory and every payload byte.
//!
//! Not here: whether a whole frame *follows* the one before ([`crate::log::chain`]).

use crate::env::BLOCK_BYTES;
use crate::limits::{BATCH_BYTES_MAX, FRAME_ITEMS_MAX};

/// The first bytes of a frame: "RMQF".
pub const MAGIC: u32 = 0x524d_5146;
/// The format that this build writes and reads.
pub const FORMAT_VERSION: u16 = 1;
/// Length of a frame's header.
pub const HEADER_BYTES: usize = 128;
/// Length of one item of a frame's directory.
pub const ITEM_BYTES: usize = 16;

const CRC_AT: usize = 124;
const RESERVED_AT: usize = 76;
/// Set on the last item of each batch.
const FLAG_BATCH_END: u8 = 1;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Carries batches.
    Batches,
    /// The first of a new epoch: written and flushed before anything else after a start.
    Opening,
    /// The last of its segment: the log goes on in the next one.
    Seal,
    /// Says only how far the log is durable.
    Note,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<FrameKind> {
        match byte {
            0 => Some(FrameKind::Batches),
            1 => Some(FrameKind::Opening),
            2 => Some(FrameKind::Seal),
            3 => Some(FrameKind::Note),
            _ => None,
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            FrameKind::Batches => 0,
            FrameKind::Opening => 1,
            FrameKind::Seal => 2,
            FrameKind::Note => 3,
        }
    }
}

/// What an item of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A stored message record.
    Record,
    /// Key length (u16), key, value.
    FactPut,
    /// Key.
    FactDelete,
}

impl ItemKind {
    fn from_byte(byte: u8) -> Option<ItemKind> {
        match byte {
            0 => Some(ItemKind::Record),
            1 => Some(ItemKind::FactPut),
            2 => Some(ItemKind::FactDelete),
            _ => None,
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            ItemKind::Record => 0,
            ItemKind::FactPut => 1,
            ItemKind::FactDelete => 2,
        }
    }
}

/// A frame's header, but for magic and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is for.
    pub kind: FrameKind,
    /// Drawn when the store was created: a frame of another store is not ours.
    pub store_id: u64,
    /// Grows with every start.
    pub epoch: u64,
    /// Physical offset of the frame's first byte.
    pub position: u64,
    /// Replication term; 0 without replication.
    pub term: u64,
    /// Everything before this physical offset was durable when the frame was closed.
    pub durable: u64,
    /// Store time of its last batch; never before that of the frame before.
    pub store_timestamp_ms: i64,
    /// Length of all items together.
    pub payload_bytes: u32,
    /// Number of items.
    pub items: u32,
    /// Number of batches.
    pub batches: u32,
    /// Number of records among the items.
    pub records: u32,
    /// The header CRC of the frame before: the chain.
    pub previous_crc: u32,
    /// CRC-32 of header and directory.
    pub crc: u32,
}

/// One item of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Length in the payload.
    pub len: u32,
    /// What it is.
    pub kind: ItemKind,
    /// Whether its batch ends with it.
    pub batch_end: bool,
    /// CRC-32 of its bytes.
    pub crc: u32,
    /// A record's tag hash; 0 for facts.
    pub tag_hash: i32,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// All zeros: prepared and never written.
    #[error("nothing was written here")]
    Empty,
    /// Fewer bytes than the frame has.
    #[error("frame ends early: {have} bytes of {need}")]
    Short {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// It does not begin with the magic.
    #[error("no frame begins here")]
    Magic,
    /// Written by another format.
    #[error("format version {0} is not {FORMAT_VERSION}")]
    Version(u16),
    /// A field has a value that is never written.
    #[error("{0} has a value that is never written")]
    Field(&'static str),
    /// Header or directory are not what was written.
    #[error("header and directory fail their checksum")]
    HeaderCrc,
    /// An item is not what was written.
    #[error("item {0} fails its checksum")]
    ItemCrc(usize),
    /// A whole frame of another place.
    #[error("frame says it belongs at {0}")]
    Position(u64),
    /// A whole frame of another store.
    #[error("frame belongs to store {0:016x}")]
    Store(u64),
    /// A whole frame, from before the one it follows.
    #[error("frame of epoch {found} follows one of epoch {last}")]
    Epoch {
        /// The frame's.
        found: u64,
        /// The epoch of the frame before.
        last: u64,
    },
    /// A whole frame that follows another one.
    #[error("frame follows one with checksum {found:08x}, not {last:08x}")]
    Chain {
        /// What the frame names.
        found: u32,
        /// What is there.
        last: u32,
    },
}

/// Rounds up to whole blocks.
pub const fn block_rounded(len: usize) -> usize {
    len.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// Length of a frame with so much payload in so many items, padding included.
pub const fn frame_bytes(payload_bytes: usize, items: usize) -> usize {
    block_rounded(HEADER_BYTES + payload_bytes + ITEM_BYTES * items)
}

impl Header {
    /// Length of the whole frame, padding included.
    pub fn frame_bytes(&self) -> usize {
        frame_bytes(self.payload_bytes as usize, self.items as usize)
    }

    /// Physical offset just past the frame.
    pub fn end(&self) -> u64 {
        self.position + self.frame_bytes() as u64
    }

    /// Reads a header, believing its lengths only within the limits. Its checksum needs the whole frame: [`Frame::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Header, FrameFault> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(FrameFault::Short { have: bytes.len(), need: HEADER_BYTES });
        };
        if header.iter().all(|&byte| byte == 0) {
            return Err(FrameFault::Empty);
        }
        if u32_at(header, 0) != MAGIC {
            return Err(FrameFault::Magic);
        }
        let version = u16::from_be_bytes([header[4], header[5]]);
        if version != FORMAT_VERSION {
            return Err(FrameFault::Version(version));
        }
        let kind = FrameKind::from_byte(header[6]).ok_or(FrameFault::Field("kind"))?;
        if header[7] != 0 || header[RESERVED_AT..CRC_AT].iter().any(|&byte| byte != 0) {
            return Err(FrameFault::Field("reserved space"));
        }
        let decoded = Header {
            kind,
            store_id: u64_at(header, 8),
            epoch: u64_at(header, 16),
            position: u64_at(header, 24),
            term: u64_at(header, 32),
            durable: u64_at(header, 40),
            store_timestamp_ms: i64::from_be_bytes(u64_at(header, 48).to_be_bytes()),
            payload_bytes: u32_at(header, 56),
            items: u32_at(header, 60),
            batches: u32_at(header, 64),
            records: u32_at(header, 68),
            previous_crc: u32_at(header, 72),
            crc: u32_at(header, CRC_AT),
        };
        if decoded.items as usize > FRAME_ITEMS_MAX || decoded.payload_bytes as usize > BATCH_BYTES_MAX {
            return Err(FrameFault::Field("length"));
        }
        if !decoded.position.is_multiple_of(BLOCK_BYTES as u64) || decoded.position > u64::MAX / 2 {
            return Err(FrameFault::Field("position"));
        }
        Ok(decoded)
    }
}

/// A whole frame, borrowed from its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    payload: &'a [u8],
    directory: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`: header, directory and payload are checked.
    pub fn decode(bytes: &'a [u8]) -> Result<Frame<'a>, FrameFault> {
        let frame = Frame::decode_unchecked_payload(bytes)?;
        match frame.first_bad_item() {
            None => Ok(frame),
            Some(index) => Err(FrameFault::ItemCrc(index)),
        }
    }

    /// Like [`Frame::decode`], but only header and directory are checked: enough to believe what the header says.
    pub fn decode_unchecked_payload(bytes: &'a [u8]) -> Result<Frame<'a>, FrameFault> {
        let header = Header::decode(bytes)?;
        let directory_at = HEADER_BYTES + header.payload_bytes as usize;
        let end = directory_at + ITEM_BYTES * header.items as usize;
        let short = FrameFault::Short { have: bytes.len(), need: end };
        let payload = bytes.get(HEADER_BYTES..directory_at).ok_or(short)?;
        let directory = bytes.get(directory_at..end).ok_or(short)?;
        if header_crc(&bytes[..CRC_AT], directory) != header.crc {
            return Err(FrameFault::HeaderCrc);
        }
        let frame = Frame { header, payload, directory };
        frame.check_directory()?;
        Ok(frame)
    }

    /// The items with their bytes, and where in the log each begins.
    pub fn items(&self) -> impl Iterator<Item = (Item, u64, &'a [u8])> + '_ {
        let mut rest = self.payload;
        let mut physical = self.header.position + HEADER_BYTES as u64;
        self.directory_items().map(move |item| {
            let item = item.expect("the directory was checked when the frame was decoded");
            let (bytes, after) = rest.split_at(item.len as usize);
            let at = physical;
            rest = after;
            physical += u64::from(item.len);
            (item, at, bytes)
        })
    }

    /// The first item whose bytes are not what was written.
    pub fn first_bad_item(&self) -> Option<usize> {
        self.items().position(|(item, _, bytes)| crc32fast::hash(bytes) != item.crc)
    }

    fn directory_items(&self) -> impl Iterator<Item = Option<Item>> + 'a {
        self.directory.chunks_exact(ITEM_BYTES).map(Item::decode)
    }

    /// A checksum can be right and the directory still not one that we write: bytes from outside.
    fn check_directory(&self) -> Result<(), FrameFault> {
        let (mut bytes, mut records, mut batches, mut ended) = (0u64, 0, 0, true);
        for item in self.directory_items() {
            let item = item.ok_or(FrameFault::Field("directory"))?;
            bytes += u64::from(item.len);
            records += u32::from(item.kind == ItemKind::Record);
            batches += u32::from(item.batch_end);
            ended = item.batch_end;
        }
        let header = &self.header;
        let agrees = bytes == u64::from(header.payload_bytes)
            && records == header.records
            && batches == header.batches
            && ended
            && (header.kind == FrameKind::Batches || header.items == 0);
        if agrees { Ok(()) } else { Err(FrameFault::Field("directory")) }
    }
}

impl Item {
    fn decode(bytes: &[u8]) -> Option<Item> {
        let bytes = bytes.first_chunk::<ITEM_BYTES>()?;
        if bytes[5] & !FLAG_BATCH_END != 0 || bytes[6] != 0 || bytes[7] != 0 {
            return None;
        }
        Some(Item {
            len: u32_at(bytes, 0),
            kind: ItemKind::from_byte(bytes[4])?,
            batch_end: bytes[5] & FLAG_BATCH_END != 0,
            crc: u32_at(bytes, 8),
            tag_hash: i32::from_be_bytes(u32_at(bytes, 12).to_be_bytes()),
        })
    }

    fn encode(&self, out: &mut [u8]) {
        out[0..4].copy_from_slice(&self.len.to_be_bytes());
        out[4] = self.kind.to_byte();
        out[5] = if self.batch_end { FLAG_BATCH_END } else { 0 };
        out[6..8].fill(0);
        out[8..12].copy_from_slice(&self.crc.to_be_bytes());
        out[12..16].copy_from_slice(&self.tag_hash.to_be_bytes());
    }
}

/// Completes a frame whose payload is already in `frame` (from [`HEADER_BYTES`] on): writes the padding, the
/// directory and the header, whose `crc` is computed here and returned.
pub fn encode_around_payload(frame: &mut [u8], header: &Header, directory: &[Item]) -> u32 {
    let directory_at = HEADER_BYTES + header.payload_bytes as usize;
    let directory_end = directory_at + ITEM_BYTES * directory.len();
    for (item, out) in directory.iter().zip(frame[directory_at..directory_end].chunks_exact_mut(ITEM_BYTES)) {
        item.encode(out);
    }
    frame[directory_end..header.frame_bytes()].fill(0);
    let (head, rest) = frame.split_at_mut(HEADER_BYTES);
    head.fill(0);
    head[0..4].copy_from_slice(&MAGIC.to_be_bytes());
    head[4..6].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
    head[6] = header.kind.to_byte();
    head[8..16].copy_from_slice(&header.store_id.to_be_bytes());
    head[16..24].copy_from_slice(&header.epoch.to_be_bytes());
    head[24..32].copy_from_slice(&header.position.to_be_bytes());
    head[32..40].copy_from_slice(&header.term.to_be_bytes());
    head[40..48].copy_from_slice(&header.durable.to_be_bytes());
    head[48..56].copy_from_slice(&header.store_timestamp_ms.to_be_bytes());
    head[56..60].copy_from_slice(&header.payload_bytes.to_be_bytes());
    head[60..64].copy_from_slice(&header.items.to_be_bytes());
    head[64..68].copy_from_slice(&header.batches.to_be_bytes());
    head[68..72].copy_from_slice(&header.records.to_be_bytes());
    head[72..76].copy_from_slice(&header.previous_crc.to_be_bytes());
    let crc = header_crc(&head[..CRC_AT], &rest[directory_at - HEADER_BYTES..directory_end - HEADER_BYTES]);
    head[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    crc
}

/// Splits a fact put into key and value.
pub fn split_fact(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

fn header_crc(head: &[u8], directory: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(directory);
    hasher.finalize()
}

/// `at` is a constant within a header or an item.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: FrameKind, items: u32, payload_bytes: u32) -> Header {
        Header {
            kind,
            store_id: 0x1122_3344_5566_7788,
            epoch: 1,
            position: 4096,
            term: 0,
            durable: 4096,
            store_timestamp_ms: 1_700_000_000_000,
            payload_bytes,
            items,
            batches: items,
            records: 0,
            previous_crc: 0xdead_beef,
            crc: 0,
        }
    }

    /// The frame of the drawing in `log/mod.rs`.
    fn example() -> Vec<u8> {
        let payload = b"\x00\x01kv";
        let mut frame = vec![0; BLOCK_BYTES];
        frame[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(payload);
        let crc = crc32fast::hash(payload);
        let item = Item { len: 4, kind: ItemKind::FactPut, batch_end: true, crc, tag_hash: 0 };
        encode_around_payload(&mut frame, &header(FrameKind::Batches, 1, 4), &[item]);
        frame
    }

    /// Frames with two records and a deleted fact in two batches, and another header field than the example's.
    fn rich(change: impl FnOnce(&mut Header, &mut [Item; 3])) -> Vec<u8> {
        let item = |len, kind, batch_end, bytes: &[u8], tag_hash| Item {
            len,
            kind,
            batch_end,
            crc: crc32fast::hash(bytes),
            tag_hash,
        };
        let mut items = [
            item(5, ItemKind::Record, false, b"first", -7),
            item(6, ItemKind::Record, true, b"second", 9),
            item(3, ItemKind::FactDelete, true, b"key", 0),
        ];
        let mut header = Header { batches: 2, records: 2, ..header(FrameKind::Batches, 3, 14) };
        change(&mut header, &mut items);
        let mut frame = vec![0; BLOCK_BYTES];
        frame[HEADER_BYTES..HEADER_BYTES + 14].copy_from_slice(b"firstsecondkey");
        encode_around_payload(&mut frame, &header, &items);
        frame
    }

    #[test]
    fn the_drawn_frame_is_the_written_one() {
        let frame = example();
        let mut lines = 0;
        for line in include_str!("mod.rs").lines() {
            let Some((at, hex)) = line.strip_prefix("//! ").and_then(|line| line.split_at_checked(4)) else {
                continue;
            };
            let (Ok(at), Some(hex)) = (usize::from_str_radix(at, 16), hex.strip_prefix("  ")) else {
                continue;
            };
            let bytes: Vec<u8> =
                hex.split_whitespace().map_while(|byte| u8::from_str_radix(byte, 16).ok()).take(16).collect();
            assert_eq!(frame[at..at + bytes.len()], bytes, "at {at:04x}");
            lines += 1;
        }
        assert_eq!(lines, 8);
        assert_eq!(frame[0x94..], vec![0; BLOCK_BYTES - 0x94]);
    }

    #[test]
    fn a_written_frame_is_read_back() {
        let bytes = rich(|_, _| ());
        let frame = Frame::decode(&bytes).expect("it is whole");
        assert_eq!((frame.header.frame_bytes(), frame.header.end()), (4096, 8192));
        let items: Vec<_> = frame.items().map(|(item, at, bytes)| (item.tag_hash, at, bytes)).collect();
        assert_eq!(items, [(-7, 4224, &b"first"[..]), (9, 4229, b"second"), (0, 4235, b"key")]);
        assert_eq!(Frame::decode(&example()).expect("it is whole").header.crc, u32_at(&example(), CRC_AT));
    }

    #[test]
    fn every_kind_is_read_back_and_no_other() {
        let kinds = [FrameKind::Batches, FrameKind::Opening, FrameKind::Seal, FrameKind::Note];
        for (byte, kind) in (0..).zip(kinds) {
            assert_eq!((kind.to_byte(), FrameKind::from_byte(byte)), (byte, Some(kind)));
        }
        let items = [ItemKind::Record, ItemKind::FactPut, ItemKind::FactDelete];
        for (byte, kind) in (0..).zip(items) {
            assert_eq!((kind.to_byte(), ItemKind::from_byte(byte)), (byte, Some(kind)));
        }
        assert!((4..=u8::MAX).all(|byte| FrameKind::from_byte(byte).is_none()));
        assert!((3..=u8::MAX).all(|byte| ItemKind::from_byte(byte).is_none()));
    }

    #[test]
    fn a_fact_is_split_where_its_key_ends() {
        type Row<'a> = (&'a [u8], Option<(&'a [u8], &'a [u8])>);
        #[rustfmt::skip]
        let rows: &[Row<'_>] = &[
            (b"",               None),
            (b"\x00",           None),
            (b"\x00\x00",       Some((b"", b""))),
            (b"\x00\x01kv",     Some((b"k", b"v"))),
            (b"\x00\x02kv",     Some((b"kv", b""))),
            (b"\x00\x03kv",     None),
            (b"\x01\x00kv",     None),
        ];
        for (bytes, split) in rows {
            assert_eq!(split_fact(bytes), *split, "{bytes:?}");
        }
    }

    #[test]
    fn every_flipped_bit_is_found_but_for_the_padding() {
        let bytes = rich(|_, _| ());
        let used = HEADER_BYTES + 14 + 3 * ITEM_BYTES;
        for bit in 0..used * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::decode(&bad).is_err(), "bit {bit}");
        }
        let mut padded = bytes;
        padded[used] ^= 1;
        assert!(Frame::decode(&padded).is_ok());
    }

    #[test]
    fn every_truncation_is_short() {
        let bytes = rich(|_, _| ());
        for len in 0..HEADER_BYTES + 14 + 3 * ITEM_BYTES {
            assert!(matches!(Frame::decode(&bytes[..len]), Err(FrameFault::Short { .. })), "{len} bytes");
        }
        assert_eq!(Frame::decode(&[0; 4096]).map(|_| ()), Err(FrameFault::Empty));
    }

    #[test]
    fn what_is_never_written_is_refused_even_with_right_checksums() {
        type Change = fn(&mut Header, &mut [Item; 3]);
        #[rustfmt::skip]
        let rows: &[(&str, Change)] = &[
            ("too few records",       |header, _| header.records = 1),
            ("too many batches",      |header, _| header.batches = 3),
            ("no end of the batch",   |_, items| items[2].batch_end = false),
            ("items in a seal",       |header, _| header.kind = FrameKind::Seal),
            ("a length too short",    |_, items| items[0].len = 4),
            ("a length too long",     |_, items| items[0].len = u32::MAX),
            ("a position in a block", |header, _| header.position = 4097),
            ("a position too far",    |header, _| header.position = u64::MAX - 4095),
        ];
        for (what, change) in rows {
            let fault = Frame::decode(&rich(change)).map(|_| ());
            assert!(matches!(fault, Err(FrameFault::Field(_))), "{what}: {fault:?}");
        }
        let mut other = example();
        other[5] = 2;
        assert_eq!(Frame::decode(&other).map(|_| ()), Err(FrameFault::Version(2)));
    }

    #[test]
    fn declared_lengths_beyond_the_limits_are_refused() {
        let mut huge = example();
        huge[56..60].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Header::decode(&huge), Err(FrameFault::Field("length")));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(noise in proptest::collection::vec(proptest::num::u8::ANY, 0..300), at in 0..300usize) {
            let _ = Frame::decode(&noise);
            let mut frame = rich(|_, _| ());
            let end = frame.len().min(at + noise.len());
            frame[at..end].copy_from_slice(&noise[..end - at]);
            let _ = Frame::decode(&frame);
        }
    }
}
