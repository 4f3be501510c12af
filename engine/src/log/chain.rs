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
        if header.position != self.position {
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
        if header.position != self.position {
            return Err(FrameFault::Position(header.position));
        }
        if !planted::is(Bug::FreshnessIgnored) {
            if header.epoch < self.epoch {
                return Err(FrameFault::Epoch { found: header.epoch, last: self.epoch });
            }
            if header.previous_crc != self.crc {
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
