//! The tail of the log in memory: the frame being filled, and closed frames that wait for the disk. Pure.
//!
//! ```text
//!   … durable │ in flight (group_commit) │ closed, waiting │ open: being filled │
//!                                                          ^ position           ^ appended
//! ```
//!
//! Invariants
//!  1. Frames are closed in order of their positions, each chained to the one before.
//!  2. A frame never crosses a segment, and the last block of every segment is kept for its seal.
//!  3. All of a batch is in one frame: `room` is asked for the whole batch before its first item.
//!
//! Not here: what was given to the disk and in which order it counts ([`crate::group_commit`]).

use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use super::frame::{
    FrameKind, HEADER_BYTES, Header, ITEM_BYTES, Item, ItemKind, block_rounded, encode_around_payload,
    frame_bytes,
};
use crate::env::{BLOCK_BYTES, Buffer};
use crate::limits::{BATCH_BYTES_MAX, FRAME_BUFFER_BYTES_MAX, FRAME_BUFFER_BYTES_MIN, FRAME_ITEMS_MAX};

/// What the log's owner wants to hear when a frame is durable: its `slot` may be shown up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub slot: u32,
    pub end: u64,
}

/// What a batch needs of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Need {
    pub payload_bytes: usize,
    pub items: usize,
}

impl Need {
    /// Length of a frame of its own.
    pub fn frame_bytes(&self) -> usize {
        frame_bytes(self.payload_bytes, self.items)
    }
}

/// A frame that changes no more.
#[derive(Debug)]
pub(crate) struct ClosedFrame<B> {
    pub position: u64,
    pub buffer: Rc<B>,
    pub marks: Vec<Mark>,
    /// What its buffer occupies; it was made before the frame's length was known.
    pub memory_bytes: usize,
    /// It may be written when there is space up to here: a seal only when the segment after it is there.
    pub space_end: u64,
}

impl<B: Buffer> ClosedFrame<B> {
    /// Physical offset just past it.
    pub fn end(&self) -> u64 {
        self.position + self.buffer.len() as u64
    }
}

/// Where frames go next, and what they are chained to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TailStart {
    pub store_id: u64,
    pub segment_bytes: u64,
    pub epoch: u64,
    pub position: u64,
    pub crc: u32,
    pub store_timestamp_ms: i64,
}

/// See the module. One per shard.
#[derive(Debug)]
pub(crate) struct Tail<B> {
    store_id: u64,
    segment_bytes: u64,
    epoch: u64,
    /// Where the next frame begins.
    next: u64,
    crc: u32,
    store_timestamp_ms: i64,
    open: Option<OpenFrame<B>>,
    closed: VecDeque<ClosedFrame<B>>,
    closed_bytes: usize,
    last_frame_bytes: usize,
    last_durable: u64,
    spare_marks: Vec<Vec<Mark>>,
    spare_directory: Vec<Item>,
    frames_closed: u64,
    /// End of the last closed frame that carries batches.
    batches_end: u64,
    last_batch_at: Duration,
    /// Seals written, until they are taken.
    seals: Vec<Sealed>,
}

/// The frame that ended a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub position: u64,
    pub epoch: u64,
    pub crc: u32,
    pub store_timestamp_ms: i64,
}

/// The frame being filled.
#[derive(Debug)]
struct OpenFrame<B> {
    position: u64,
    buffer: B,
    payload_bytes: usize,
    directory: Vec<Item>,
    marks: Vec<Mark>,
    batches: u32,
    records: u32,
    /// Somebody waits for it.
    urgent: bool,
    opened_at: Duration,
}

impl<B: Buffer> Tail<B> {
    pub fn new(start: TailStart) -> Tail<B> {
        Tail {
            store_id: start.store_id,
            segment_bytes: start.segment_bytes,
            epoch: start.epoch,
            next: start.position,
            crc: start.crc,
            store_timestamp_ms: start.store_timestamp_ms,
            open: None,
            closed: VecDeque::new(),
            closed_bytes: 0,
            last_frame_bytes: 0,
            last_durable: 0,
            spare_marks: Vec::new(),
            spare_directory: Vec::new(),
            frames_closed: 0,
            batches_end: start.position,
            last_batch_at: Duration::ZERO,
            seals: Vec::new(),
        }
    }

    /// Takes the seals of segments that end at or before `durable`.
    pub fn take_seals(&mut self, durable: u64) -> Vec<Sealed> {
        let ended = self.seals.iter().take_while(|seal| self.next_segment(seal.position) <= durable).count();
        self.seals.drain(..ended).collect()
    }

    /// The largest batch that a frame of this log can hold, header and directory included.
    pub fn batch_bytes_max(&self) -> usize {
        let segment = usize::try_from(self.segment_bytes).unwrap_or(usize::MAX);
        (segment - BLOCK_BYTES).min(BATCH_BYTES_MAX)
    }

    /// Physical offset just past everything accepted.
    pub fn appended(&self) -> u64 {
        match &self.open {
            Some(open) => open.position + (HEADER_BYTES + open.payload_bytes) as u64,
            None => self.next,
        }
    }

    /// Bytes accepted and not yet given to the disk.
    pub fn bytes(&self) -> usize {
        let open = self.open.as_ref();
        self.closed_bytes + open.map_or(0, |open| frame_bytes(open.payload_bytes, open.directory.len()))
    }

    /// Nothing waits to be given to the disk.
    pub fn is_empty(&self) -> bool {
        self.open.is_none() && self.closed.is_empty()
    }

    /// Whether no frame says yet that the last batch is durable: damage to it would look like a torn tail.
    pub fn is_unnoted(&self) -> bool {
        self.last_durable < self.batches_end
    }

    /// When the frame of the last batch was opened.
    pub fn last_batch_at(&self) -> Duration {
        self.last_batch_at
    }

    /// When the open frame was opened, if nobody waits for it.
    pub fn lazy_since(&self) -> Option<Duration> {
        self.open.as_ref().filter(|open| !open.urgent).map(|open| open.opened_at)
    }

    /// Number of the frame that is filled now, or will be next: it tells one frame's marks from another's.
    pub fn frame_number(&self) -> u64 {
        self.frames_closed
    }

    /// Physical offset of the end of the frame that a batch would be in, and of the seal that must still follow.
    pub fn end_with(&self, need: Need) -> u64 {
        let (position, payload, items) = match &self.open {
            Some(open) if open.fits(need) => (open.position, open.payload_bytes, open.directory.len()),
            Some(open) => (open.end(), 0, 0),
            None => (self.next, 0, 0),
        };
        let bytes = frame_bytes(payload + need.payload_bytes, items + need.items) as u64 + BLOCK_BYTES as u64;
        if bytes > self.left_in_segment(position) {
            self.next_segment(position) + bytes
        } else {
            position + bytes
        }
    }

    /// Makes room for a whole batch in the open frame: closes the one that is too full, goes on to the next segment
    /// when this one is. `durable` is the watermark that closed frames record. The batch is at most
    /// `batch_bytes_max`.
    pub fn room(
        &mut self,
        need: Need,
        durable: u64,
        now: impl Fn() -> Duration,
        new_buffer: impl Fn(usize) -> B,
    ) {
        if self.open.as_ref().is_some_and(|open| !open.fits(need)) {
            self.close_open(durable);
        }
        if self.open.is_some() {
            return;
        }
        let least = need.frame_bytes();
        if (least + BLOCK_BYTES) as u64 > self.left_in_segment(self.next) {
            self.write_control(FrameKind::Seal, durable, &new_buffer);
        }
        let left = usize::try_from(self.left_in_segment(self.next)).unwrap_or(usize::MAX) - BLOCK_BYTES;
        let wanted = (2 * self.last_frame_bytes).clamp(FRAME_BUFFER_BYTES_MIN, FRAME_BUFFER_BYTES_MAX);
        let capacity = block_rounded(wanted).max(least).min(left);
        // Asked once per frame: a look at the clock per batch is 1 % of a loaded shard.
        let now = now();
        self.last_batch_at = now;
        self.open = Some(OpenFrame {
            position: self.next,
            buffer: new_buffer(capacity),
            payload_bytes: 0,
            directory: mem::take(&mut self.spare_directory),
            marks: self.spare_marks.pop().unwrap_or_default(),
            batches: 0,
            records: 0,
            urgent: false,
            opened_at: now,
        });
    }

    /// Adds an item of `len` bytes, which `fill` writes, given where they will lie in the log. Returns that offset
    /// and the checksum of the bytes.
    pub fn item(
        &mut self,
        kind: ItemKind,
        tag_hash: i32,
        len: usize,
        fill: impl FnOnce(u64, &mut [u8]),
    ) -> (u64, u32) {
        let open = self.open.as_mut().expect("room was made for the batch");
        let start = HEADER_BYTES + open.payload_bytes;
        let physical = open.position + start as u64;
        let bytes = &mut open.buffer.as_mut()[start..start + len];
        fill(physical, bytes);
        let crc = crc32fast::hash(bytes);
        let len_in_frame = u32::try_from(len).expect("a batch is at most BATCH_BYTES_MAX");
        open.payload_bytes += len;
        open.records += u32::from(kind == ItemKind::Record);
        open.directory.push(Item { len: len_in_frame, kind, batch_end: false, crc, tag_hash });
        (physical, crc)
    }

    /// Sets or moves a mark of the open frame; `at` is what an earlier call of this frame returned for the slot.
    pub fn mark(&mut self, mark: Mark, at: Option<u32>) -> u32 {
        let open = self.open.as_mut().expect("room was made for the batch");
        if let Some(at) = at {
            open.marks[at as usize] = mark;
            return at;
        }
        open.marks.push(mark);
        u32::try_from(open.marks.len() - 1).expect("a frame has at most FRAME_ITEMS_MAX items")
    }

    /// Ends the batch begun by `room`.
    pub fn end_batch(&mut self, lazy: bool, store_timestamp_ms: i64) {
        let open = self.open.as_mut().expect("room was made for the batch");
        open.directory.last_mut().expect("a batch has an item").batch_end = true;
        open.batches += 1;
        open.urgent |= !lazy;
        self.store_timestamp_ms = store_timestamp_ms;
    }

    /// Makes the open frame urgent: nobody may wait for company any more.
    pub fn hurry(&mut self) {
        if let Some(open) = &mut self.open {
            open.urgent = true;
        }
    }

    /// Adds a frame without batches, sealing the segment first if only the seal's block is left.
    pub fn control(&mut self, kind: FrameKind, durable: u64, new_buffer: impl Fn(usize) -> B) {
        self.close_open(durable);
        if self.left_in_segment(self.next) < 2 * BLOCK_BYTES as u64 {
            self.write_control(FrameKind::Seal, durable, &new_buffer);
        }
        self.write_control(kind, durable, &new_buffer);
    }

    /// How far space must reach for the frame that `take` would return; `None` if it would return none.
    pub fn next_space_end(&self) -> Option<u64> {
        match (self.closed.front(), &self.open) {
            (Some(closed), _) => Some(closed.space_end),
            (None, Some(open)) if open.urgent => Some(open.end()),
            _ => None,
        }
    }

    /// The next frame to give to the disk: a closed one, else the open one if somebody waits for it.
    pub fn take(&mut self, durable: u64) -> Option<ClosedFrame<B>> {
        if self.closed.is_empty() && self.open.as_ref().is_some_and(|open| open.urgent) {
            self.close_open(durable);
        }
        let frame = self.closed.pop_front()?;
        self.closed_bytes -= frame.buffer.len();
        Some(frame)
    }

    /// Takes a list of marks back for reuse.
    pub fn recycle(&mut self, mut marks: Vec<Mark>) {
        const SPARE_MAX: usize = 8;
        if self.spare_marks.len() < SPARE_MAX {
            marks.clear();
            self.spare_marks.push(marks);
        }
    }

    fn left_in_segment(&self, position: u64) -> u64 {
        self.segment_bytes - position % self.segment_bytes
    }

    fn next_segment(&self, position: u64) -> u64 {
        (position / self.segment_bytes + 1) * self.segment_bytes
    }

    fn close_open(&mut self, durable: u64) {
        let Some(mut open) = self.open.take() else { return };
        let header = self.header(FrameKind::Batches, durable, &open);
        let bytes = header.frame_bytes();
        let memory_bytes = open.buffer.len();
        self.crc = encode_around_payload(open.buffer.as_mut(), &header, &open.directory);
        open.buffer.truncate(bytes);
        open.directory.clear();
        self.spare_directory = open.directory;
        self.last_frame_bytes = bytes;
        self.next = open.position + bytes as u64;
        self.batches_end = self.next;
        self.push(ClosedFrame {
            position: open.position,
            buffer: Rc::new(open.buffer),
            marks: open.marks,
            memory_bytes,
            space_end: self.next,
        });
        self.last_durable = durable;
    }

    fn write_control(&mut self, kind: FrameKind, durable: u64, new_buffer: impl Fn(usize) -> B) {
        let mut frame = OpenFrame {
            position: self.next,
            buffer: new_buffer(BLOCK_BYTES),
            payload_bytes: 0,
            directory: Vec::new(),
            marks: Vec::new(),
            batches: 0,
            records: 0,
            urgent: true,
            opened_at: Duration::ZERO,
        };
        let header = self.header(kind, durable, &frame);
        self.crc = encode_around_payload(frame.buffer.as_mut(), &header, &[]);
        let (position, buffer) = (frame.position, Rc::new(frame.buffer));
        if kind == FrameKind::Seal {
            let (epoch, crc, store_timestamp_ms) = (self.epoch, self.crc, self.store_timestamp_ms);
            self.seals.push(Sealed { position, epoch, crc, store_timestamp_ms });
        }
        let space_end = match kind {
            FrameKind::Seal => self.next_segment(position) + BLOCK_BYTES as u64,
            _ => position + BLOCK_BYTES as u64,
        };
        self.next = match kind {
            FrameKind::Seal => self.next_segment(position),
            _ => space_end,
        };
        self.push(ClosedFrame { position, buffer, marks: Vec::new(), memory_bytes: BLOCK_BYTES, space_end });
        self.last_durable = durable;
    }

    fn push(&mut self, frame: ClosedFrame<B>) {
        self.closed_bytes += frame.buffer.len();
        self.frames_closed += 1;
        self.closed.push_back(frame);
    }

    fn header(&self, kind: FrameKind, durable: u64, frame: &OpenFrame<B>) -> Header {
        let count = |n: usize| u32::try_from(n).expect("a frame is at most BATCH_BYTES_MAX");
        Header {
            kind,
            store_id: self.store_id,
            epoch: self.epoch,
            position: frame.position,
            // Without replication there are no terms.
            term: 0,
            durable,
            store_timestamp_ms: self.store_timestamp_ms,
            payload_bytes: count(frame.payload_bytes),
            items: count(frame.directory.len()),
            batches: frame.batches,
            records: frame.records,
            previous_crc: self.crc,
            crc: 0,
        }
    }
}

impl<B: Buffer> OpenFrame<B> {
    fn fits(&self, need: Need) -> bool {
        let items = self.directory.len() + need.items;
        let bytes = HEADER_BYTES + self.payload_bytes + need.payload_bytes + ITEM_BYTES * items;
        bytes <= self.buffer.len() && items <= FRAME_ITEMS_MAX
    }

    fn end(&self) -> u64 {
        self.position + frame_bytes(self.payload_bytes, self.directory.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::Chain;
    use super::*;
    use crate::env::sim::{Sim, SimBuffer, SimEnv};
    use crate::env::{Env, Random};

    const SEGMENT: u64 = 16 * BLOCK_BYTES as u64;
    const START: TailStart = TailStart {
        store_id: 9,
        segment_bytes: SEGMENT,
        epoch: 1,
        position: 0,
        crc: 0,
        store_timestamp_ms: 0,
    };

    fn env() -> SimEnv {
        Sim::new(1).env()
    }

    /// Appends a batch of items of these lengths; returns the offset after it.
    fn append(tail: &mut Tail<SimBuffer>, env: &SimEnv, lens: &[usize], lazy: bool) -> u64 {
        let need = Need { payload_bytes: lens.iter().sum(), items: lens.len() };
        tail.room(need, 0, || Duration::ZERO, |len| env.buffer(len));
        for len in lens {
            tail.item(ItemKind::FactDelete, 0, *len, |_, out| out.fill(7));
        }
        tail.end_batch(lazy, 0);
        tail.appended()
    }

    fn positions(tail: &mut Tail<SimBuffer>) -> Vec<u64> {
        std::iter::from_fn(|| tail.take(0)).map(|frame| frame.position).collect()
    }

    #[test]
    fn batches_gather_in_one_frame_until_somebody_takes_it() {
        let (env, mut tail) = (env(), Tail::new(START));
        let ends: Vec<u64> = (0..3).map(|_| append(&mut tail, &env, &[10, 20], false)).collect();
        assert_eq!(ends, [158, 188, 218]);
        assert_eq!(positions(&mut tail), [0]);
        assert!(tail.is_empty());
        append(&mut tail, &env, &[10], false);
        assert_eq!(positions(&mut tail), [4096]);
    }

    #[test]
    fn nobody_takes_a_lazy_batch_until_an_urgent_one_joins() {
        let (env, mut tail) = (env(), Tail::new(START));
        append(&mut tail, &env, &[10], true);
        assert_eq!((tail.next_space_end(), positions(&mut tail)), (None, vec![]));
        append(&mut tail, &env, &[10], false);
        assert_eq!(positions(&mut tail), [0]);
        append(&mut tail, &env, &[10], true);
        tail.hurry();
        assert_eq!(positions(&mut tail), [4096]);
    }

    #[test]
    fn a_batch_that_does_not_fit_goes_into_the_next_segment_after_a_seal() {
        let (env, mut tail) = (env(), Tail::new(START));
        append(&mut tail, &env, &[10 * BLOCK_BYTES], false);
        append(&mut tail, &env, &[10 * BLOCK_BYTES], false);
        let frames: Vec<_> = std::iter::from_fn(|| tail.take(0)).collect();
        let places: Vec<_> =
            frames.iter().map(|frame| (frame.position, frame.buffer.len() / BLOCK_BYTES)).collect();
        assert_eq!(places, [(0, 11), (11 * 4096, 1), (SEGMENT, 11)]);
        // The seal may be written only when the next segment is there.
        assert_eq!(frames[1].space_end, SEGMENT + BLOCK_BYTES as u64);
    }

    #[test]
    fn a_slots_mark_moves_within_a_frame_and_begins_anew_in_the_next() {
        let (env, mut tail) = (env(), Tail::new(START));
        append(&mut tail, &env, &[1], false);
        let frame = tail.frame_number();
        let at = tail.mark(Mark { slot: 3, end: 1 }, None);
        tail.mark(Mark { slot: 3, end: 2 }, Some(at));
        let marks = tail.take(0).expect("it is urgent").marks;
        assert_eq!(marks, [Mark { slot: 3, end: 2 }]);
        assert_ne!(tail.frame_number(), frame);
    }

    #[test]
    fn a_closed_frame_says_where_it_ends_and_what_it_occupies() {
        let (env, mut tail) = (env(), Tail::new(START));
        append(&mut tail, &env, &[5000], false);
        tail.control(FrameKind::Note, 0, |len| env.buffer(len));
        let batches = tail.take(0).expect("it was closed for the note");
        let note = tail.take(0).expect("it follows");
        let said = |frame: &ClosedFrame<SimBuffer>| (frame.position, frame.end(), frame.memory_bytes);
        assert_eq!(said(&batches), (0, 8192, FRAME_BUFFER_BYTES_MIN), "its buffer was made before");
        assert_eq!(said(&note), (8192, 12288, BLOCK_BYTES));
        assert_eq!((batches.space_end, note.space_end, tail.take(0).is_none()), (8192, 12288, true));
    }

    #[test]
    fn headers_say_what_is_in_the_frame_and_what_was_durable_when_it_was_closed() {
        let (env, mut tail) = (env(), Tail::new(START));
        let need = Need { payload_bytes: 30, items: 2 };
        tail.room(need, 0, || Duration::ZERO, |len| env.buffer(len));
        let (at, crc) = tail.item(ItemKind::Record, 5, 10, |at, out| out.fill(at as u8));
        assert_eq!((at, crc), (128, crc32fast::hash(&[128; 10])));
        assert_eq!(tail.item(ItemKind::FactDelete, 0, 20, |at, out| out.fill(at as u8)).0, 138);
        tail.end_batch(true, 77);
        tail.room(need, 0, || Duration::ZERO, |len| env.buffer(len));
        tail.item(ItemKind::Record, 6, 30, |_, _| ());
        tail.end_batch(false, 78);
        let frame = tail.take(4096).expect("it is urgent");
        let header = Header::decode(&frame.buffer).expect("a header");
        let counts = (header.payload_bytes, header.items, header.batches, header.records);
        assert_eq!((counts, header.durable, header.store_timestamp_ms), ((60, 3, 2, 2), 4096, 78));
        assert_eq!((header.kind, header.store_id, header.epoch), (FrameKind::Batches, 9, 1));
        tail.control(FrameKind::Opening, 8192, |len| env.buffer(len));
        let opening = Header::decode(&tail.take(0).expect("it was made").buffer).expect("a header");
        assert_eq!(
            (opening.kind, opening.durable, opening.store_timestamp_ms),
            (FrameKind::Opening, 8192, 78)
        );
        assert_eq!(opening.previous_crc, header.crc);
    }

    #[test]
    fn a_batch_is_noted_by_any_later_frame_that_calls_it_durable() {
        let (env, mut tail) = (env(), Tail::new(START));
        assert!(!tail.is_unnoted());
        append(&mut tail, &env, &[10], false);
        tail.take(0);
        assert!(tail.is_unnoted());
        tail.control(FrameKind::Note, 4095, |len| env.buffer(len));
        assert!(tail.is_unnoted(), "it says too little");
        tail.control(FrameKind::Note, 4096, |len| env.buffer(len));
        assert!(!tail.is_unnoted());
        assert_eq!(positions(&mut tail), [4096, 8192]);
        append(&mut tail, &env, &[10], false);
        assert_eq!(tail.take(12288).map(|frame| frame.end()), Some(16384));
        assert!(tail.is_unnoted(), "it says only what was durable before it");
    }

    #[test]
    fn what_is_accepted_and_not_taken_is_counted_in_whole_blocks() {
        let (env, mut tail) = (env(), Tail::new(START));
        assert_eq!((tail.bytes(), tail.is_empty()), (0, true));
        append(&mut tail, &env, &[10], true);
        assert_eq!((tail.bytes(), tail.is_empty()), (4096, false));
        append(&mut tail, &env, &[4000], true);
        assert_eq!((tail.bytes(), tail.is_empty()), (8192, false));
        tail.control(FrameKind::Note, 0, |len| env.buffer(len));
        append(&mut tail, &env, &[10], false);
        assert_eq!(tail.bytes(), 8192 + 4096 + 4096);
        for left in [8192, 4096, 0] {
            assert!(!tail.is_empty() && tail.take(0).is_some());
            assert_eq!((tail.bytes(), tail.is_empty()), (left, left == 0));
        }
    }

    #[test]
    fn a_lazy_frame_says_since_when_until_somebody_waits_for_it() {
        let (env, mut tail) = (env(), Tail::new(START));
        let append_at = |tail: &mut Tail<SimBuffer>, ms, lazy| {
            let need = Need { payload_bytes: 1, items: 1 };
            tail.room(need, 0, || Duration::from_millis(ms), |len| env.buffer(len));
            tail.item(ItemKind::FactDelete, 0, 1, |_, _| ());
            tail.end_batch(lazy, 0);
        };
        assert_eq!(tail.lazy_since(), None);
        append_at(&mut tail, 5, true);
        append_at(&mut tail, 9, true);
        assert_eq!(tail.lazy_since(), Some(Duration::from_millis(5)));
        append_at(&mut tail, 11, false);
        assert_eq!((tail.lazy_since(), tail.last_batch_at()), (None, Duration::from_millis(5)));
        tail.take(0);
        append_at(&mut tail, 20, false);
        assert_eq!(tail.last_batch_at(), Duration::from_millis(20));
    }

    #[test]
    fn a_buffer_is_made_for_twice_the_last_frame_and_at_least_for_its_batch() {
        const LARGE: TailStart = TailStart { segment_bytes: 64 << 20, ..START };
        let (env, mut tail) = (env(), Tail::new(LARGE));
        #[rustfmt::skip]
        let rows = [
            // batch, its frame, the buffer made for it
            (      1,    4096, FRAME_BUFFER_BYTES_MIN),
            (100_000,  102_400, 102_400),
            (      1,    4096, 204_800),
            (      1,    4096, FRAME_BUFFER_BYTES_MIN),
            (900_000,  901_120, 901_120),
            (      1,    4096, FRAME_BUFFER_BYTES_MAX),
        ];
        for (batch, bytes, memory) in rows {
            append(&mut tail, &env, &[batch], false);
            let frame = tail.take(0).expect("it is urgent");
            assert_eq!((frame.buffer.len(), frame.memory_bytes), (bytes, memory), "{batch} bytes");
        }
    }

    #[test]
    fn a_frame_takes_batches_until_its_buffer_or_its_directory_is_full() {
        let (env, mut tail) = (env(), Tail::new(START));
        // 16 KiB hold a header, 12 items of 1 KiB, and one item that fits to the byte.
        let rest = FRAME_BUFFER_BYTES_MIN - HEADER_BYTES - 12 * (1024 + ITEM_BYTES) - ITEM_BYTES;
        for (last, frames) in [(rest, 1), (rest + 1, 2)] {
            append(&mut tail, &env, &[1024; 12], false);
            append(&mut tail, &env, &[last], false);
            assert_eq!(positions(&mut tail).len(), frames, "{last} bytes more");
            tail = Tail::new(START);
        }
    }

    #[test]
    fn the_largest_batch_fills_a_segment_but_for_its_seal() {
        for (segment, max) in
            [(16 << 10, 12 << 10), (16 << 20, (16 << 20) - 4096), (1 << 30, BATCH_BYTES_MAX)]
        {
            let tail: Tail<SimBuffer> = Tail::new(TailStart { segment_bytes: segment, ..START });
            assert_eq!(tail.batch_bytes_max(), max);
        }
        let (env, mut tail) = (env(), Tail::new(START));
        let max = tail.batch_bytes_max();
        append(&mut tail, &env, &[max - HEADER_BYTES - ITEM_BYTES], false);
        append(&mut tail, &env, &[1], false);
        assert_eq!(positions(&mut tail), [0, SEGMENT - 4096, SEGMENT]);
    }

    #[test]
    fn a_batch_ends_where_its_frame_and_the_seal_after_it_would() {
        // What was appended before, as whole frames and in the open one; the batch; where its frame and a seal end.
        #[rustfmt::skip]
        let rows: &[(&[usize], usize, usize, u64)] = &[
            (&[],           0,    10, 2),
            (&[],           0,  5000, 3),
            (&[],           0, 60_000, 16),
            (&[10],         0,    10, 3),
            (&[],          10,    10, 2),
            (&[],        4000,    10, 3),
            // The open frame's buffer is full: another one follows it.
            (&[],      16_000,  1000, 6),
            // Only the seal is left, or too little: in the next segment.
            (&[50_000],     0,  4000, 16),
            (&[50_000],     0,  9000, 16 + 4),
            (&[],      50_000,  9000, 16 + 4),
            (&[55_000],     0,    10, 16),
            (&[57_400],     0,    10, 16 + 2),
        ];
        for (closed, open, batch, blocks) in rows {
            let (env, mut tail) = (env(), Tail::new(START));
            for len in *closed {
                append(&mut tail, &env, &[*len], false);
                tail.take(0);
            }
            if *open > 0 {
                append(&mut tail, &env, &[*open], true);
            }
            let end = tail.end_with(Need { payload_bytes: *batch, items: 1 });
            assert_eq!(end, blocks * BLOCK_BYTES as u64, "{batch} after {closed:?} and {open}");
            append(&mut tail, &env, &[*batch], false);
            let last = std::iter::from_fn(|| tail.take(0)).last().expect("it is urgent");
            assert_eq!(last.end() + BLOCK_BYTES as u64, end, "{batch} after {closed:?} and {open}");
        }
    }

    #[test]
    fn a_control_frame_leaves_the_last_block_to_the_seal() {
        let (env, mut tail) = (env(), Tail::new(START));
        for _ in 0..16 {
            tail.control(FrameKind::Note, 0, |len| env.buffer(len));
        }
        let frames: Vec<_> = std::iter::from_fn(|| tail.take(0)).collect();
        let kinds: Vec<_> =
            frames.iter().map(|frame| Header::decode(&frame.buffer).map(|it| it.kind)).collect();
        assert_eq!(kinds[14..], [Ok(FrameKind::Note), Ok(FrameKind::Seal), Ok(FrameKind::Note)]);
        assert_eq!((frames[14].position, frames[15].position), (14 * 4096, 15 * 4096));
        assert_eq!((frames[16].position, frames[16].end()), (SEGMENT, SEGMENT + 4096));
    }

    #[test]
    fn a_seal_is_taken_once_its_segment_is_durable_to_the_end() {
        let (env, mut tail) = (env(), Tail::new(START));
        for _ in 0..3 {
            append(&mut tail, &env, &[10 * BLOCK_BYTES], false);
        }
        let mut seals =
            |durable| -> Vec<u64> { tail.take_seals(durable).iter().map(|seal| seal.position).collect() };
        assert_eq!(seals(SEGMENT - 1), [0; 0]);
        assert_eq!(seals(SEGMENT), [11 * 4096]);
        assert_eq!((seals(SEGMENT), seals(2 * SEGMENT - 4096)), (vec![], vec![]));
        assert_eq!(seals(5 * SEGMENT), [SEGMENT + 11 * 4096]);
    }

    #[test]
    fn lists_of_marks_are_used_again_and_few_are_kept() {
        let (env, mut tail) = (env(), Tail::new(START));
        for _ in 0..20 {
            let mut marks = Vec::with_capacity(100);
            marks.push(Mark { slot: 1, end: 1 });
            tail.recycle(marks);
        }
        let mut used_again = 0;
        for _ in 0..12 {
            append(&mut tail, &env, &[1], false);
            let marks = tail.take(0).expect("it is urgent").marks;
            assert!(marks.is_empty());
            used_again += usize::from(marks.capacity() >= 100);
        }
        assert_eq!(used_again, 8);
    }

    #[test]
    fn whatever_is_appended_every_frame_follows_and_none_crosses_its_segment() {
        for seed in 0..200 {
            let (env, mut tail, chance) = (env(), Tail::new(START), Random::new(seed));
            let mut chain = Chain::new(START.store_id, SEGMENT);
            let (mut appended, mut read) = (0, 0);
            let mut drain = |tail: &mut Tail<SimBuffer>| {
                while let Some(frame) = tail.take(0) {
                    assert_eq!(frame.position, chain.position, "seed {seed}");
                    assert_eq!(chain.frame_bytes(&frame.buffer), Ok(frame.buffer.len()), "seed {seed}");
                    let header = chain.check(&frame.buffer).expect("it follows").header;
                    chain.follow(&header);
                    read += header.items as usize;
                }
            };
            for _ in 0..60 {
                let lens: Vec<usize> =
                    (0..1 + chance.index(4)).map(|_| [1, 500, 4000, 12_000][chance.index(4)]).collect();
                let need = Need { payload_bytes: lens.iter().sum(), items: lens.len() };
                assert!(frame_bytes(need.payload_bytes, need.items) <= tail.batch_bytes_max());
                let end = tail.end_with(need);
                append(&mut tail, &env, &lens, chance.index(2) == 0);
                assert_eq!(tail.end_with(Need::default()), end, "seed {seed}");
                if chance.index(3) == 0 {
                    tail.control(FrameKind::Note, 0, |len| env.buffer(len));
                }
                drain(&mut tail);
                appended += need.items;
            }
            tail.hurry();
            drain(&mut tail);
            assert_eq!((read, tail.bytes()), (appended, 0), "seed {seed}");
        }
    }
}
