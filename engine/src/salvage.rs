//! Salvage: damaged frames of a closed log are replaced by whole ones that hold what is left of them. Pure; for
//! `ringmq log repair`, which gives it the bytes of a copy.
//!
//! ```text
//!   before   │ whole │ header │ item │ bad │ item │ directory │ whole │ …
//!   after    │ whole │ header │ item │lost │ item │ directory │ whole │ …       the same length, the same checksum
//! ```
//!
//! Where the directory is whole, each item whose checksum is right stays. Where it is not, the segment's sidecar says which
//! records lay there; without one, those that the queues' later records show to be missing are lost. In the place of a lost
//! record comes one of its queue and offset whose body says so: consumers go past it, and see that something is missing.
//! In the place of anything else comes the deletion of a fact that never was.
//!
//! Invariants
//!  1. Nothing changes but the bytes of damaged frames. What replaces one has its checksum (four bytes are chosen so that
//!     it has), and a lost record the one that sidecars know: so what follows, and all sidecars, still fit.
//!  2. A record that is left has its place and its offset, and no offset is given to another record: unless what was lost
//!     was the last of its queue, and no sidecar knows of it. Nobody can tell then, and [`Replaced::unknown`] says so.
//!
//! Not here: files, and the check of what came out (`log::verify`).

use std::collections::HashMap;

use ringmq_wire::record::{self, Draft};

use crate::env::BLOCK_BYTES;
use crate::folder::Marker;
use crate::limits::{BATCH_BYTES_MAX, FACT_KEY_BYTES_MAX, FRAME_ITEMS_MAX};
use crate::log::Chain;
use crate::log::frame::{
    Frame, FrameFault, FrameKind, HEADER_BYTES, Header, ITEM_BYTES, Item, ItemKind, encode_around_payload,
    frame_bytes,
};
use crate::sidecar::{QueueEnd, Sidecar, queue_of_key};

/// The property of a message that stands for a lost one.
pub const LOST_PROPERTY: &str = "RINGMQ_LOST";
/// Its body, as much of it as there was room for, filled up with spaces.
pub const LOST_BODY: &str = "This message was lost: the log was damaged where it lay.";
/// The key of facts that never were.
const NOTHING_KEY: &[u8] = b"\0lost";

/// A damaged frame that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// Where it begins in its segment.
    pub position: u64,
    /// Records that were whole.
    pub kept: u64,
    /// Records in whose place a message says so.
    pub lost: u64,
    /// Items, or parts of what was lost, of which is not known what they were: facts, or a queue's last records.
    pub unknown: u64,
}

/// Whether an item stands for something that is lost: a sidecar knows more than its segment then.
pub(crate) fn stands_for_lost(kind: ItemKind, bytes: &[u8]) -> bool {
    match kind {
        // No broker has that address; there is not always room for the property.
        ItemKind::Record => record::decode(bytes).is_ok_and(|record| record.store_host.port() == 0),
        ItemKind::FactDelete => bytes.starts_with(NOTHING_KEY),
        ItemKind::FactPut => false,
    }
}

/// Goes through the segments of one store in order.
pub struct Salvage {
    chain: Chain,
    /// Next offset of each queue, as far as it is known.
    ends: HashMap<(String, i32), u64>,
    /// A queue that is not known has no record.
    knows_all: bool,
    /// Up to here there are whole frames.
    log_end: u64,
}

/// One segment.
pub struct Segment<'a> {
    /// All its bytes.
    pub bytes: &'a mut [u8],
    /// The bytes of its sidecar, if it has one.
    pub sidecar: Option<Vec<u8>>,
    /// The first block of the next segment.
    pub next: &'a [u8],
    /// The bytes of a later segment, by its base.
    pub later: &'a dyn Fn(u64) -> Option<Vec<u8>>,
}

impl Salvage {
    /// Begins at `first_base`; `log_end` is what `log::verify` says.
    pub fn new(marker: &Marker, first_base: u64, log_end: u64) -> Salvage {
        let store_id = marker.store_id().expect("it was checked when the marker was read");
        let chain = Chain { position: first_base, ..Chain::new(store_id, marker.segment_bytes) };
        Salvage { chain, ends: HashMap::new(), knows_all: first_base == 0, log_end }
    }

    /// Replaces what is damaged in the next segment. An error says why that cannot be.
    pub fn segment(&mut self, segment: Segment<'_>) -> Result<Vec<Replaced>, String> {
        let Segment { bytes, sidecar, next, later } = segment;
        let base = self.chain.position;
        if !base.is_multiple_of(self.chain.segment_bytes) {
            return Err("the segment before it does not end".into());
        }
        let next = Header::decode(next).ok().filter(|next| {
            (next.store_id, next.position) == (self.chain.store_id, base + self.chain.segment_bytes)
        });
        let seal_crc = next.map(|next| next.previous_crc);
        let sidecar = sidecar.and_then(|bytes| Sidecar::decode(Box::new(bytes)).ok());
        let sidecar = sidecar.filter(|sidecar| self.is_of(sidecar, base, bytes, seal_crc));
        if base > 0 && !self.knows_all && self.ends.is_empty() {
            self.begin(bytes);
        }
        let mut replaced: Vec<Replaced> = Vec::new();
        while self.chain.position < self.log_end && self.chain.position < base + self.chain.segment_bytes {
            let at = (self.chain.position - base) as usize;
            let place = Place { base, at, sidecar: sidecar.as_ref(), seal_crc, later };
            match self.follow(&bytes[at.min(bytes.len())..]) {
                Ok(FrameKind::Seal) => break,
                Ok(_) => {}
                Err(_) if replaced.last().is_some_and(|last| last.position == at as u64) => {
                    return Err("what replaces it does not follow".into());
                }
                Err(FrameFault::ItemCrc(_)) => replaced.push(self.replace_items(bytes, &place)?),
                Err(_) => replaced.push(self.replace_frame(bytes, &place)?),
            }
        }
        self.learn_ends(sidecar.as_ref());
        Ok(replaced)
    }

    /// What was before the first segment is not known: it is what its first frame says.
    fn begin(&mut self, bytes: &[u8]) {
        if let Ok(header) = Header::decode(bytes) {
            (self.chain.epoch, self.chain.crc) = (header.epoch, header.previous_crc);
        }
    }

    /// Whether a sidecar is whole and of this segment.
    fn is_of(&self, sidecar: &Sidecar, base: u64, bytes: &[u8], seal_crc: Option<u32>) -> bool {
        let seal = sidecar.seal();
        let at = seal.position.checked_sub(base).and_then(|at| usize::try_from(at).ok());
        let found = at.and_then(|at| bytes.get(at..)).and_then(|bytes| Frame::decode(bytes).ok());
        let ends = |crc: Option<u32>| crc == Some(seal.crc);
        (sidecar.store_id(), sidecar.base()) == (self.chain.store_id, base)
            && (ends(found.map(|frame| frame.header.crc)) || ends(seal_crc))
            && sidecar.check_all().is_ok()
    }

    /// Goes past the next frame if it is whole and follows.
    fn follow(&mut self, bytes: &[u8]) -> Result<FrameKind, FrameFault> {
        let len = self.chain.frame_bytes(bytes)?;
        let frame = self.chain.check(bytes.get(..len).unwrap_or(bytes))?;
        for (item, _, bytes) in frame.items() {
            if item.kind == ItemKind::Record
                && let Ok(found) = record::decode(bytes)
                && let Ok(offset) = u64::try_from(found.queue_offset)
            {
                self.ends.insert((found.topic.to_owned(), found.queue_id), offset + 1);
            }
        }
        let header = frame.header;
        self.chain.follow(&header);
        Ok(header.kind)
    }

    /// All queues and their ends, where a sidecar has them.
    fn learn_ends(&mut self, sidecar: Option<&Sidecar>) {
        let Some(sidecar) = sidecar.filter(|sidecar| sidecar.has_base()) else { return };
        let Ok(mut rows) = sidecar.base_queues_from(&[]) else { return };
        while let Ok(Some(row)) = rows.next() {
            let end = QueueEnd::decode(row.value, sidecar.base());
            if let (Some((topic, queue_id)), Some(end)) = (queue_of_key(row.key), end) {
                self.ends.insert((topic.to_owned(), queue_id), end.end);
            }
        }
        self.knows_all = true;
    }

    /// Header and directory are whole: the items that are not are replaced.
    fn replace_items(&mut self, bytes: &mut [u8], place: &Place<'_>) -> Result<Replaced, String> {
        let frame = Frame::decode_unchecked_payload(&bytes[place.at..]).map_err(|fault| fault.to_string())?;
        let header = frame.header;
        let mut missing = self.missing(bytes, place.at, place);
        let mut plan = Plan::new(place.physical());
        for (item, physical, found) in frame.items() {
            let is_whole = crc32fast::hash(found) == item.crc;
            let record = (item.kind == ItemKind::Record && !is_whole)
                .then(|| self.name_lost(physical, found, place, &mut missing))
                .flatten();
            let stub = record.and_then(|lost| lost.stub(item.len as usize, physical, &self.chain));
            plan.batch_end = item.batch_end;
            match stub {
                _ if is_whole => plan.keep(item, found),
                Some(stub) => plan.put_lost(stub, item.tag_hash, Some(item.crc))?,
                None => plan.put_nothing(found.len()),
            }
            if is_whole && let Ok(found) = record::decode(found) {
                let end = u64::try_from(found.queue_offset).unwrap_or_default() + 1;
                self.ends.insert((found.topic.to_owned(), found.queue_id), end);
            }
        }
        let replaced = plan.replaced(place);
        let frame = plan.frame(header, header.frame_bytes(), Some(header.crc))?;
        bytes[place.at..place.at + frame.len()].copy_from_slice(&frame);
        Ok(replaced)
    }

    /// Nothing of the frame can be believed, perhaps of several: what lies up to the next whole one is replaced.
    fn replace_frame(&mut self, bytes: &mut [u8], place: &Place<'_>) -> Result<Replaced, String> {
        let next = (place.at + BLOCK_BYTES..bytes.len())
            .step_by(BLOCK_BYTES)
            .filter_map(|at| Some((at, Frame::decode_unchecked_payload(&bytes[at..]).ok()?.header)))
            .find(|(at, header)| self.may_follow(header, place.base + *at as u64));
        let seal = place.sidecar.map(|sidecar| sidecar.seal());
        let (end, crc) = match (&next, place.seal_crc, seal) {
            (Some((at, next)), _, _) => (Some(*at), next.previous_crc),
            (None, Some(crc), Some(seal)) if seal.position >= place.physical() => {
                (Some((seal.position - place.base) as usize), crc)
            }
            (None, Some(crc), _) => (None, crc),
            (None, None, _) => return Err("no whole frame follows it".into()),
        };
        let mut plan = Plan::new(place.physical());
        match (place.sidecar, end) {
            (Some(sidecar), Some(end)) => plan.take_known(sidecar, bytes, place, end, &self.chain)?,
            _ => {
                plan.unknown += 1;
                let after = end.unwrap_or(bytes.len());
                for lost in self.missing(bytes, after, place) {
                    let size = record::FIXED_BYTES + lost.topic.len() + 1 + LOST_MARK_BYTES;
                    let stub = lost.stub(size, plan.physical(), &self.chain);
                    plan.put_lost(stub.ok_or("a topic that is too long")?, 0, None)?;
                }
            }
        }
        let replaced = plan.replaced(place);
        let header = Header {
            kind: FrameKind::Batches,
            store_id: self.chain.store_id,
            epoch: self.chain.epoch,
            position: place.physical(),
            term: 0,
            durable: self.chain.durable,
            store_timestamp_ms: self.chain.store_timestamp_ms,
            payload_bytes: 0,
            items: 0,
            batches: 0,
            records: 0,
            previous_crc: self.chain.crc,
            crc: 0,
        };
        // Without a frame after it, its seal was lost too.
        let mut at = place.at;
        let mut previous_crc = self.chain.crc;
        let least = match plan.items.len() {
            0 => 0,
            items => frame_bytes(plan.payload.len(), items),
        };
        let len = end.map_or(least, |end| end - at);
        if len > 0 {
            let frame = plan.frame(header, len, next.is_some().then_some(crc))?;
            let into = bytes.get_mut(at..at + frame.len()).ok_or("the file is too short")?;
            into.copy_from_slice(&frame);
            at += frame.len();
            previous_crc = Frame::decode(&frame).map_err(|fault| fault.to_string())?.header.crc;
        }
        if next.is_none() {
            let position = place.base + at as u64;
            let epoch = seal.map_or(header.epoch, |seal| seal.epoch);
            let seal = Header { kind: FrameKind::Seal, epoch, position, previous_crc, ..header };
            let mut frame = vec![0; BLOCK_BYTES];
            encode_around_payload(&mut frame, &seal, &[]);
            force_crc(&mut frame, 0, crc)?;
            bytes.get_mut(at..at + BLOCK_BYTES).ok_or("no room for a seal")?.copy_from_slice(&frame);
            bytes[at + BLOCK_BYTES..].fill(0);
        }
        Ok(replaced)
    }

    /// Whether a whole frame may come after what is whole so far, there.
    fn may_follow(&self, header: &Header, physical: u64) -> bool {
        let ours = (header.store_id, header.position) == (self.chain.store_id, physical);
        ours && header.epoch >= self.chain.epoch
    }

    /// The records that are missing before those that lie from `at` on: the whole ones there, and in the segments after,
    /// say so.
    fn missing(&self, bytes: &[u8], at: usize, place: &Place<'_>) -> Vec<Lost> {
        let mut seen = HashMap::new();
        self.see(bytes, at, place.base, &mut seen);
        let mut base = place.base + self.chain.segment_bytes;
        while let Some(bytes) = (place.later)(base).filter(|_| base < self.log_end) {
            self.see(&bytes, 0, base, &mut seen);
            base += self.chain.segment_bytes;
        }
        let mut missing = Vec::new();
        for ((topic, queue_id), offset) in seen {
            let known = self.ends.get(&(topic.clone(), queue_id)).copied();
            let Some(end) = known.or(self.knows_all.then_some(0)) else { continue };
            let offsets = (end..offset).take(FRAME_ITEMS_MAX);
            missing.extend(offsets.map(|offset| Lost { topic: topic.clone(), queue_id, offset }));
        }
        missing.sort_by(|one, other| {
            (&one.topic, one.queue_id, one.offset).cmp(&(&other.topic, other.queue_id, other.offset))
        });
        missing
    }

    /// Notes the first whole record of each queue from `at` on in the segment at `base`.
    fn see(&self, bytes: &[u8], mut at: usize, base: u64, seen: &mut HashMap<(String, i32), u64>) {
        while at < bytes.len() {
            let frame = Frame::decode_unchecked_payload(&bytes[at..]);
            let Some(frame) = frame.ok().filter(|frame| self.may_follow(&frame.header, base + at as u64))
            else {
                at += BLOCK_BYTES;
                continue;
            };
            for (item, _, bytes) in frame.items().filter(|(item, _, _)| item.kind == ItemKind::Record) {
                if crc32fast::hash(bytes) == item.crc
                    && let Ok(found) = record::decode(bytes)
                    && let Ok(offset) = u64::try_from(found.queue_offset)
                {
                    seen.entry((found.topic.to_owned(), found.queue_id)).or_insert(offset);
                }
            }
            at += frame.header.frame_bytes();
        }
    }

    /// Which record it was that is damaged: as the sidecar says, or it itself, or what is missing.
    fn name_lost(
        &mut self,
        physical: u64,
        found: &[u8],
        place: &Place<'_>,
        missing: &mut Vec<Lost>,
    ) -> Option<Lost> {
        let of_sidecar = place.sidecar.and_then(|sidecar| Lost::of_place(sidecar, physical));
        let of_itself = || {
            let found = record::decode(found).ok()?;
            let offset = u64::try_from(found.queue_offset).ok()?;
            let known = self.ends.get(&(found.topic.to_owned(), found.queue_id)).copied();
            let expected = known.or(self.knows_all.then_some(0))?;
            let is_it = (found.physical_offset, offset) == (i64::try_from(physical).ok()?, expected);
            is_it.then(|| Lost { topic: found.topic.to_owned(), queue_id: found.queue_id, offset })
        };
        let of_others = || {
            let end = |lost: &Lost| self.ends.get(&(lost.topic.clone(), lost.queue_id)).copied();
            missing.iter().find(|lost| lost.offset == end(lost).unwrap_or(0)).cloned()
        };
        let lost = of_sidecar.or_else(of_itself).or_else(of_others)?;
        missing.retain(|other| *other != lost);
        self.ends.insert((lost.topic.clone(), lost.queue_id), lost.offset + 1);
        Some(lost)
    }
}

/// Where something is replaced.
struct Place<'a> {
    base: u64,
    at: usize,
    sidecar: Option<&'a Sidecar>,
    /// What the next segment says of the seal.
    seal_crc: Option<u32>,
    later: &'a dyn Fn(u64) -> Option<Vec<u8>>,
}

impl Place<'_> {
    fn physical(&self) -> u64 {
        self.base + self.at as u64
    }
}

/// A record that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lost {
    topic: String,
    queue_id: i32,
    offset: u64,
}

/// What [`LOST_PROPERTY`] takes.
const LOST_MARK_BYTES: usize = LOST_PROPERTY.len() + 6;

impl Lost {
    fn of_place(sidecar: &Sidecar, physical: u64) -> Option<Lost> {
        let (key, offset) = sidecar.place(physical).ok()??;
        let (topic, queue_id) = queue_of_key(key)?;
        Some(Lost { topic: topic.to_owned(), queue_id, offset })
    }

    /// A record of that size in its place; `None` if that is too small for its topic.
    fn stub(&self, size: usize, physical: u64, chain: &Chain) -> Option<Vec<u8>> {
        let long_topic = usize::from(self.topic.len() > 127);
        let room = size.checked_sub(record::FIXED_BYTES + self.topic.len() + long_topic)?;
        let mark = format!("{LOST_PROPERTY}\u{1}true\u{2}");
        let properties = if mark.len() <= room { mark.as_bytes() } else { b"" };
        let mut body = LOST_BODY.as_bytes().to_vec();
        body.resize(room - properties.len(), b' ');
        let nowhere = "0.0.0.0:0".parse().expect("it is an address");
        let draft = Draft {
            topic: &self.topic,
            queue_id: self.queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: chain.store_timestamp_ms,
            born_host: nowhere,
            store_host: nowhere,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            properties,
        };
        let mut stub = Vec::with_capacity(size);
        draft.encode(&mut stub).ok()?;
        let [offset, physical] = [self.offset, physical].map(i64::try_from);
        record::place(&mut stub, offset.ok()?, physical.ok()?, chain.store_timestamp_ms);
        (stub.len() == size).then_some(stub)
    }
}

/// The items of a frame that is to be.
struct Plan {
    position: u64,
    payload: Vec<u8>,
    items: Vec<Item>,
    /// Of what is added next.
    batch_end: bool,
    lost: u64,
    unknown: u64,
}

impl Plan {
    fn new(position: u64) -> Plan {
        Plan { position, payload: Vec::new(), items: Vec::new(), batch_end: true, lost: 0, unknown: 0 }
    }

    /// Where the next item begins.
    fn physical(&self) -> u64 {
        self.position + (HEADER_BYTES + self.payload.len()) as u64
    }

    fn add(&mut self, kind: ItemKind, bytes: &[u8], tag_hash: i32, crc: u32) {
        let len = u32::try_from(bytes.len()).expect("it is part of a frame");
        self.items.push(Item { len, kind, batch_end: self.batch_end, crc, tag_hash });
        self.payload.extend_from_slice(bytes);
    }

    fn keep(&mut self, item: Item, bytes: &[u8]) {
        self.add(item.kind, bytes, item.tag_hash, item.crc);
    }

    /// A stub; with that checksum, if sidecars know one.
    fn put_lost(&mut self, mut stub: Vec<u8>, tag_hash: i32, crc: Option<u32>) -> Result<(), String> {
        if let Some(crc) = crc {
            let all = stub.len();
            force(&mut stub, PREPARED_OFFSET_AT + 4, all, crc);
        }
        let found = crc32fast::hash(&stub);
        if crc.is_some_and(|crc| crc != found) {
            return Err("no record has that checksum".into());
        }
        self.add(ItemKind::Record, &stub, tag_hash, found);
        self.lost += 1;
        Ok(())
    }

    /// Bytes that mean nothing, as one item or several.
    fn put_nothing(&mut self, len: usize) {
        self.unknown += 1;
        self.fill(len);
    }

    fn fill(&mut self, mut len: usize) {
        let batch_end = self.batch_end;
        while len > 0 {
            let mut key = NOTHING_KEY.to_vec();
            key.resize(len.min(FACT_KEY_BYTES_MAX), 0);
            len -= key.len();
            self.batch_end = batch_end && len == 0;
            self.add(ItemKind::FactDelete, &key, 0, crc32fast::hash(&key));
        }
        self.batch_end = batch_end;
    }

    /// Everything that a sidecar says of the bytes up to `end`.
    fn take_known(
        &mut self,
        sidecar: &Sidecar,
        bytes: &[u8],
        place: &Place<'_>,
        end: usize,
        chain: &Chain,
    ) -> Result<(), String> {
        let damaged = |damaged: crate::sidecar::Damaged| damaged.to_string();
        let mut known = Vec::new();
        let mut rows = sidecar.queues_from(&[]).map_err(damaged)?;
        while let Some(row) = rows.next().map_err(damaged)? {
            let Some((topic, queue_id)) = queue_of_key(row.key) else { continue };
            let Some(queue) = sidecar.queue(row.key).map_err(damaged)? else { continue };
            let first = sidecar.entries_before(&queue, place.physical()).map_err(damaged)?;
            for index in first..queue.count {
                let Some(entry) = sidecar.entry(&queue, index).map_err(damaged)? else { break };
                if entry.physical >= place.base + end as u64 {
                    break;
                }
                let offset = queue.first + u64::from(index);
                known.push((entry, Lost { topic: topic.to_owned(), queue_id, offset }));
            }
        }
        known.sort_by_key(|(entry, _)| entry.physical);
        for (entry, lost) in known {
            let gap = entry.physical.checked_sub(self.physical()).ok_or("records that overlap")?;
            if gap > 0 {
                self.put_nothing(usize::try_from(gap).map_err(|error| error.to_string())?);
            }
            let at = (entry.physical - place.base) as usize;
            let found = bytes.get(at..at + entry.size as usize).ok_or("the file is too short")?;
            if crc32fast::hash(found) == entry.crc {
                self.add(ItemKind::Record, found, entry.tag_hash, entry.crc);
                continue;
            }
            let stub = lost.stub(entry.size as usize, entry.physical, chain);
            self.put_lost(stub.ok_or("a record that is too small")?, entry.tag_hash, Some(entry.crc))?;
        }
        Ok(())
    }

    fn replaced(&self, place: &Place<'_>) -> Replaced {
        let records = self.items.iter().filter(|item| item.kind == ItemKind::Record).count() as u64;
        Replaced {
            position: place.at as u64,
            kept: records - self.lost,
            lost: self.lost,
            unknown: self.unknown,
        }
    }

    /// The frame, of exactly that length, and with that checksum if one is named.
    fn frame(mut self, header: Header, len: usize, crc: Option<u32>) -> Result<Vec<u8>, String> {
        let used = |plan: &Plan| HEADER_BYTES + plan.payload.len() + ITEM_BYTES * plan.items.len();
        self.batch_end = true;
        while frame_bytes(self.payload.len(), self.items.len()) < len {
            let left = len - used(&self) - ITEM_BYTES;
            self.fill(left.min(FACT_KEY_BYTES_MAX));
        }
        let count = |kept: &dyn Fn(&Item) -> bool| self.items.iter().filter(|item| kept(item)).count() as u32;
        let header = Header {
            payload_bytes: u32::try_from(self.payload.len()).map_err(|error| error.to_string())?,
            items: self.items.len() as u32,
            batches: count(&|item| item.batch_end),
            records: count(&|item| item.kind == ItemKind::Record),
            ..header
        };
        if used(&self) > len || self.items.len() > FRAME_ITEMS_MAX || self.payload.len() > BATCH_BYTES_MAX {
            return Err("what is left does not fit one frame".into());
        }
        let mut frame = vec![0; len];
        frame[HEADER_BYTES..HEADER_BYTES + self.payload.len()].copy_from_slice(&self.payload);
        encode_around_payload(&mut frame, &header, &self.items);
        if let Some(crc) = crc {
            force_crc(&mut frame, self.items.len(), crc)?;
        }
        Ok(frame)
    }
}

/// Where a record of two IPv4 hosts has its prepared transaction offset; nothing reads it of a message without one.
const PREPARED_OFFSET_AT: usize = 76;
/// The low half of a frame's term: one of a replaced frame was agreed on by nobody.
const TERM_AT: usize = 36;
const CRC_AT: usize = HEADER_BYTES - 4;

/// Gives a frame of so many items the checksum that it had.
fn force_crc(frame: &mut [u8], items: usize, crc: u32) -> Result<(), String> {
    let header = Header::decode(frame).map_err(|fault| fault.to_string())?;
    if header.crc == crc {
        return Ok(());
    }
    let directory_at = HEADER_BYTES + header.payload_bytes as usize;
    let directory = &frame[directory_at..directory_at + ITEM_BYTES * items];
    let mut summed = [&frame[..CRC_AT], directory].concat();
    let all = summed.len();
    force(&mut summed, TERM_AT, all, crc);
    frame[TERM_AT..TERM_AT + 4].copy_from_slice(&summed[TERM_AT..TERM_AT + 4]);
    frame[CRC_AT..HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
    Frame::decode(frame).map(|_| ()).map_err(|fault| fault.to_string())
}

/// Chooses the four bytes at `at` so that the first `len` bytes have that CRC-32.
fn force(bytes: &mut [u8], at: usize, len: usize, crc: u32) {
    let forwards = bytes[..at].iter().fold(u32::MAX, |state, byte| step(state, *byte));
    let backwards = bytes[at + 4..len].iter().rev().fold(!crc, |state, byte| step_back(state, *byte));
    let needed = [0; 4].iter().fold(backwards, |state, byte| step_back(state, *byte));
    bytes[at..at + 4].copy_from_slice(&(forwards ^ needed).to_le_bytes());
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut number = 0;
    while number < 256 {
        let mut value = number as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[number] = value;
        number += 1;
    }
    table
};

/// The state of a CRC-32 after one more byte.
fn step(state: u32, byte: u8) -> u32 {
    TABLE[((state ^ u32::from(byte)) & 0xff) as usize] ^ (state >> 8)
}

/// The state before that byte.
fn step_back(state: u32, byte: u8) -> u32 {
    let number = TABLE.iter().position(|value| value >> 24 == state >> 24);
    let number = number.expect("the upper bytes of the table are all different") as u32;
    ((state ^ TABLE[number as usize]) << 8) | (number ^ u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bytes_give_any_checksum() {
        for (len, at) in [(4, 0), (5, 0), (5, 1), (128, 36), (1000, 500), (1000, 996)] {
            for crc in [0, 1, u32::MAX, 0xdead_beef] {
                let mut bytes: Vec<u8> = (0..len).map(|n: usize| (n * 7) as u8).collect();
                let before = bytes.clone();
                force(&mut bytes, at, len, crc);
                assert_eq!(crc32fast::hash(&bytes), crc, "{len} bytes, at {at}");
                assert_eq!((&bytes[..at], &bytes[at + 4..]), (&before[..at], &before[at + 4..]));
            }
        }
    }

    #[test]
    fn what_stands_for_a_lost_record_has_its_place_and_length_and_says_so() {
        let chain = Chain { store_timestamp_ms: 1_700_000_000_000, ..Chain::new(1, 1 << 20) };
        let lost = Lost { topic: "orders".into(), queue_id: 3, offset: 41 };
        let least = record::FIXED_BYTES + lost.topic.len();
        assert_eq!(lost.stub(least - 1, 4224, &chain), None);
        for (size, is_marked) in
            [(least, false), (least + LOST_MARK_BYTES, true), (1024, true), (100_000, true)]
        {
            let stub = lost.stub(size, 4224, &chain).expect("there is room");
            let found = record::decode(&stub).expect("a record");
            assert_eq!((found.bytes.len(), found.topic, found.queue_id), (size, "orders", 3));
            assert_eq!((found.queue_offset, found.physical_offset), (41, 4224));
            assert_eq!(found.store_timestamp_ms, chain.store_timestamp_ms);
            assert_eq!(found.property(LOST_PROPERTY), is_marked.then_some("true"));
            assert!(found.body_is_intact());
        }
    }
}
