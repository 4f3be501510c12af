//! Which frame may follow which: the rule that recovery and verification share. Pure.
//!
//! A frame at physical offset p follows the last one if it is whole, says that it belongs at p and to this store,
//! is of the last frame's epoch or a later one, and names the last frame's checksum. Bytes that survived from
//! before a crash can never follow: every start writes an opening frame of a new epoch, durable before anything
//! else, at the place where the log was cut.
//!
//! A frame that does not follow is a torn tail or damage. Any whole frame of this store, wherever it lies,
//! that calls an offset beyond p durable proves damage: it was written after p had been flushed, and what was
//! flushed is never cut.

use super::frame::{Frame, FrameFault, FrameKind, Header};
use crate::env::BLOCK_BYTES;
use crate::planted::{self, Bug};

/// The end of a run of frames that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub store_id: u64,
    pub segment_bytes: u64,
    /// Where the next frame begins.
    pub position: u64,
    pub epoch: u64,
    pub crc: u32,
    /// Highest offset that a frame so far calls durable.
    pub durable: u64,
    pub store_timestamp_ms: i64,
}

impl Chain {
    /// The chain of a store without frames.
    pub fn new(store_id: u64, segment_bytes: u64) -> Chain {
        Chain { store_id, segment_bytes, position: 0, epoch: 0, crc: 0, durable: 0, store_timestamp_ms: 0 }
    }

    /// Length of the frame whose header this is, if it can lie here: so much is to be read to check it.
    pub fn frame_bytes(&self, head: &[u8]) -> Result<usize, FrameFault> {
        let header = Header::decode(head)?;
        if header.position != self.position && !planted::is(Bug::PlaceIgnored) {
            return Err(FrameFault::Position(header.position));
        }
        let bytes = header.frame_bytes();
        // Every segment keeps its last block for the seal.
        let kept = if header.kind == FrameKind::Seal { 0 } else { BLOCK_BYTES as u64 };
        if bytes as u64 + kept > self.segment_bytes - self.position % self.segment_bytes {
            return Err(FrameFault::Field("length"));
        }
        Ok(bytes)
    }

    /// The frame in `bytes`, if it follows.
    pub fn check<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, FrameFault> {
        let frame = Frame::decode_unchecked_payload(bytes)?;
        let header = &frame.header;
        if header.store_id != self.store_id {
            return Err(FrameFault::Store(header.store_id));
        }
        if header.position != self.position && !planted::is(Bug::PlaceIgnored) {
            return Err(FrameFault::Position(header.position));
        }
        if !planted::is(Bug::FreshnessIgnored) && !planted::is(Bug::PlaceIgnored) {
            if header.epoch < self.epoch {
                return Err(FrameFault::Epoch { found: header.epoch, last: self.epoch });
            }
            if header.previous_crc != self.crc && !planted::is(Bug::EpochReused) {
                return Err(FrameFault::Chain { found: header.previous_crc, last: self.crc });
            }
        }
        match frame.first_bad_item() {
            Some(index) if !planted::is(Bug::RecoveryCrcSkipped) && !planted::is(Bug::HalfBatchApplied) => {
                Err(FrameFault::ItemCrc(index))
            }
            _ => Ok(frame),
        }
    }

    /// Goes past a frame that was checked.
    pub fn follow(&mut self, header: &Header) {
        self.epoch = self.epoch.max(header.epoch);
        self.crc = header.crc;
        self.durable = self.durable.max(header.durable);
        self.store_timestamp_ms = self.store_timestamp_ms.max(header.store_timestamp_ms);
        self.position = match header.kind {
            FrameKind::Seal => (header.position / self.segment_bytes + 1) * self.segment_bytes,
            _ => header.end(),
        };
    }

    /// How far the frame in `bytes`, found at `position`, proves the log to have been durable.
    pub fn proof(&self, position: u64, bytes: &[u8]) -> Option<u64> {
        let frame = Frame::decode_unchecked_payload(bytes).ok()?;
        let ours = frame.header.store_id == self.store_id && frame.header.position == position;
        ours.then_some(frame.header.durable)
    }
}

/// What lies after the end of the log, block by block: a torn tail, or what a file held in an earlier life.
///
/// In a file that was recycled, old bytes look like torn ones wherever the frame that they belong to was overwritten at
/// its beginning; there only a header that claims its place counts. So what is said of a torn tail may be too little,
/// never what is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Remains {
    base: u64,
    /// Of all segments before this one, and of what claims its place in this one.
    torn_end: u64,
    /// Of anything else in this segment.
    unknown_end: u64,
    is_recycled: bool,
}

impl Remains {
    /// Notes the block at `position`, past all before.
    pub fn note(&mut self, chain: &Chain, position: u64, block: &[u8]) {
        let base = position - position % chain.segment_bytes;
        if base != self.base {
            *self = Remains { base, torn_end: self.torn_end(), ..Remains::default() };
        }
        let end = position + BLOCK_BYTES as u64;
        match Header::decode(block) {
            Ok(header) if header.store_id == chain.store_id && header.position == position => {
                self.torn_end = end;
            }
            Ok(header) if header.store_id == chain.store_id => self.is_recycled = true,
            _ if block.iter().all(|&byte| byte == 0) => {}
            _ => self.unknown_end = end,
        }
    }

    /// Where the torn tail ends; 0 if there is none.
    pub fn torn_end(&self) -> u64 {
        if self.is_recycled { self.torn_end } else { self.torn_end.max(self.unknown_end) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::encode_around_payload;
    use super::*;

    const SEGMENT: u64 = 8 * BLOCK_BYTES as u64;

    fn last() -> Chain {
        Chain { position: 4096, epoch: 3, crc: 0xfeed, durable: 0, ..Chain::new(1, SEGMENT) }
    }

    fn frame(change: impl FnOnce(&mut Header)) -> Vec<u8> {
        let mut header = Header {
            kind: FrameKind::Note,
            store_id: 1,
            epoch: 3,
            position: 4096,
            term: 0,
            durable: 4096,
            store_timestamp_ms: 5,
            payload_bytes: 0,
            items: 0,
            batches: 0,
            records: 0,
            previous_crc: 0xfeed,
            crc: 0,
        };
        change(&mut header);
        let mut bytes = vec![0; BLOCK_BYTES];
        encode_around_payload(&mut bytes, &header, &[]);
        bytes
    }

    #[test]
    fn a_frame_follows_if_place_store_epoch_and_chain_agree() {
        type Change = fn(&mut Header);
        #[rustfmt::skip]
        let rows: &[(Change, Option<FrameFault>)] = &[
            (|_| (),                             None),
            (|header| header.epoch = 4,          None),
            (|header| header.epoch = 2,          Some(FrameFault::Epoch { found: 2, last: 3 })),
            (|header| header.previous_crc = 7,   Some(FrameFault::Chain { found: 7, last: 0xfeed })),
            (|header| header.store_id = 2,       Some(FrameFault::Store(2))),
            (|header| header.position = 8192,    Some(FrameFault::Position(8192))),
        ];
        for (change, fault) in rows {
            assert_eq!(last().check(&frame(*change)).map(|_| ()).err(), *fault);
        }
    }

    #[test]
    fn only_a_seal_may_fill_a_segment_to_its_end() {
        let at_end = Chain { position: SEGMENT - BLOCK_BYTES as u64, ..last() };
        for (kind, fits) in [(FrameKind::Seal, true), (FrameKind::Note, false), (FrameKind::Batches, false)] {
            let bytes = frame(|header| (header.kind, header.position) = (kind, at_end.position));
            assert_eq!(at_end.frame_bytes(&bytes).is_ok(), fits, "{kind:?}");
        }
    }

    #[test]
    fn after_a_seal_the_log_goes_on_in_the_next_segment() {
        for (kind, next) in [(FrameKind::Seal, SEGMENT), (FrameKind::Note, 8192)] {
            let mut chain = last();
            let bytes = frame(|header| header.kind = kind);
            let header = chain.check(&bytes).expect("it follows").header;
            chain.follow(&header);
            let expected =
                Chain { position: next, crc: header.crc, durable: 4096, store_timestamp_ms: 5, ..last() };
            assert_eq!(chain, expected);
        }
    }

    #[test]
    fn what_a_recycled_file_held_before_is_no_torn_tail() {
        let here = frame(|_| ());
        let elsewhere = frame(|header| header.position = SEGMENT + 4096);
        let (zeros, garbage) = (vec![0; BLOCK_BYTES], vec![7; BLOCK_BYTES]);
        let block = BLOCK_BYTES as u64;
        #[rustfmt::skip]
        let rows: &[(&str, &[&[u8]], u64)] = &[
            ("nothing",                      &[&zeros, &zeros],                  0),
            ("a torn frame",                 &[&here, &garbage, &zeros],         3 * block),
            ("its middle only",              &[&zeros, &garbage, &zeros],        3 * block),
            ("old frames",                   &[&garbage, &elsewhere, &zeros],    0),
            ("a torn frame over old ones",   &[&here, &garbage, &elsewhere],     2 * block),
            ("in the segment after",         &[&garbage, &elsewhere, &zeros, &zeros, &zeros, &zeros, &zeros, &garbage], 9 * block),
            ("nothing in the segment after", &[&here, &garbage, &zeros, &zeros, &zeros, &zeros, &zeros, &zeros], 3 * block),
            ("old frames in that one",       &[&zeros, &zeros, &zeros, &zeros, &zeros, &zeros, &zeros, &garbage, &zeros, &elsewhere], 0),
            ("torn before old frames",       &[&garbage, &zeros, &zeros, &zeros, &zeros, &zeros, &zeros, &garbage, &zeros, &elsewhere], 2 * block),
        ];
        for (what, blocks, torn_end) in rows {
            let mut remains = Remains::default();
            for (position, block) in (1..).map(|n: u64| n * block).zip(*blocks) {
                remains.note(&last(), position, block);
            }
            assert_eq!(remains.torn_end(), *torn_end, "{what}");
        }
    }

    #[test]
    fn any_whole_frame_of_this_store_in_its_place_proves_its_watermark() {
        let stale = frame(|header| (header.epoch, header.previous_crc) = (1, 9));
        assert_eq!(last().proof(4096, &stale), Some(4096));
        assert_eq!(last().proof(8192, &stale), None);
        assert_eq!(last().proof(4096, &frame(|header| header.store_id = 2)), None);
        let mut bad = stale;
        bad[44] ^= 1;
        assert_eq!(last().proof(4096, &bad), None);
    }
}
