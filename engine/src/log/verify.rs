//! Checks the folder of a store that is not open, frame by frame and record by record: `ringmq log verify`.
//!
//! Where recovery stops at the first thing that is wrong, this goes on at the next whole frame, and lists all.
//! The verdict on the end of the log is the same: a torn tail is said and is no finding.
//!
//! Nothing is written.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::chain::{Chain, Remains};
use super::files::{SegmentBytes, Source};
use super::frame::{Frame, FrameFault, FrameKind, ItemKind, split_fact};
use super::segment;
use crate::folder::{self, MARKER_FILE, Marker};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segment files.
    pub segments: u64,
    /// Sidecars, where somebody looked at them.
    pub sidecars: u64,
    /// Whole frames that follow.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Changes of facts in them.
    pub fact_changes: u64,
    /// Physical end of the log.
    pub end: u64,
    /// Where a torn tail begins, if there is one: the next start will cut it.
    pub torn_at: Option<u64>,
    /// What is wrong. Empty: the store is whole.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// File position.
    pub position: u64,
    /// What is wrong there.
    pub what: String,
}

/// Checks the store in `folder`.
pub fn verify(folder: &Path) -> io::Result<VerifyReport> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    verify_names(&names, |name| Ok(Box::new(File::open(folder.join(name))?)))
}

/// Checks the store that consists of these files, each opened by `open`.
pub fn verify_names<'a>(
    names: &[String],
    mut open: impl FnMut(&str) -> io::Result<Box<dyn Source + 'a>>,
) -> io::Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let marker = match read_marker(names, &mut open)? {
        Ok(marker) => marker,
        Err(what) => {
            report.find(MARKER_FILE, 0, what);
            return Ok(report);
        }
    };
    let mut bases: Vec<u64> = names.iter().filter_map(|name| segment::base_of(name)).collect();
    bases.sort_unstable();
    report.segments = bases.len() as u64;
    let store_id = marker.store_id().expect("it was checked when the marker was read");
    let mut walk =
        Walk { chain: Chain::new(store_id, marker.segment_bytes), ends: HashMap::new(), fault: None };
    let count = bases.last().map_or(1, |last| last / marker.segment_bytes + 1);
    let first = bases.first().map_or(0, |first| first / marker.segment_bytes);
    if let Err(lost) = folder::kept(names, &bases, marker.segment_bytes)
        && !bases.contains(&lost)
        && bases.first().is_some_and(|first| lost < *first)
    {
        report.find(&segment::file_name(lost), 0, "this segment is missing".into());
    }
    if let Some(&base) = bases.first().filter(|base| **base > 0) {
        walk.resume(base, &mut SegmentBytes::new(open(&segment::file_name(base))?)?, base)?;
    }
    for base in (first..count).map(|n| n * marker.segment_bytes) {
        let name = segment::file_name(base);
        if bases.contains(&base) {
            walk.segment(base, SegmentBytes::new(open(&name)?)?, &mut report)?;
        } else {
            report.find(&name, 0, "this segment is missing".into());
            let physical = walk.chain.position;
            walk.fault.get_or_insert(Fault::new(physical, FrameFault::Empty));
        }
    }
    walk.end(&mut report);
    Ok(report)
}

fn read_marker<'a>(
    names: &[String],
    open: &mut impl FnMut(&str) -> io::Result<Box<dyn Source + 'a>>,
) -> io::Result<Result<Marker, String>> {
    if !names.iter().any(|name| name == MARKER_FILE) {
        return Ok(Err("there is no marker: this is no store".into()));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut open(MARKER_FILE)?, &mut bytes)?;
    Ok(Marker::decode(&bytes))
}

/// Where the check is.
struct Walk {
    chain: Chain,
    /// Next offset of each queue, as far as it is known.
    ends: HashMap<(String, i32), i64>,
    /// The first frame that does not follow, until a later whole frame proves it to be damage.
    fault: Option<Fault>,
}

struct Fault {
    physical: u64,
    fault: FrameFault,
    remains: Remains,
}

impl Fault {
    fn new(physical: u64, fault: FrameFault) -> Fault {
        Fault { physical, fault, remains: Remains::default() }
    }
}

impl Walk {
    fn segment(
        &mut self,
        base: u64,
        mut bytes: SegmentBytes<'_>,
        report: &mut VerifyReport,
    ) -> io::Result<()> {
        let end = base + self.chain.segment_bytes;
        // The log's end may be in an earlier segment; what is here then was prepared, or proves damage there.
        while self.chain.position < end {
            let from = self.chain.position.max(base);
            if self.fault.is_none() {
                match self.follow(&mut bytes, report)? {
                    Ok(FrameKind::Seal) => return Ok(()),
                    Ok(_) => continue,
                    Err(fault) => self.fault = Some(Fault::new(from, fault)),
                }
            }
            let broken = self.fault.as_mut().expect("it was set just now, or in an earlier segment");
            let (store_id, physical) = (self.chain.store_id, broken.physical);
            let proves = |at: u64, frame: &Frame<'_>| {
                let header = &frame.header;
                header.store_id == store_id && header.position == base + at && header.durable > physical
            };
            let (chain, remains) = (&self.chain, &mut broken.remains);
            let skip = |at: u64, block: &[u8]| remains.note(chain, base + at, block);
            let next = bytes.next_frame(from - base, proves, skip)?;
            let Some(next) = next else { return Ok(()) };
            let what = format!("{}, but it was once durable", broken.fault);
            report.find(&segment::file_name(self.base(physical)), physical - self.base(physical), what);
            self.resume(base + next, &mut bytes, base)?;
        }
        Ok(())
    }

    /// Checks the frame that should follow, and goes past it.
    fn follow(
        &mut self,
        bytes: &mut SegmentBytes<'_>,
        report: &mut VerifyReport,
    ) -> io::Result<Result<FrameKind, FrameFault>> {
        let base = self.base(self.chain.position);
        let read = bytes.frame(self.chain.position - base)?;
        let checked =
            read.and_then(|bytes| self.chain.frame_bytes(bytes).and_then(|_| self.chain.check(bytes)));
        let frame = match checked {
            Ok(frame) => frame,
            Err(fault) => return Ok(Err(fault)),
        };
        report.frames += 1;
        for (item, physical, bytes) in frame.items() {
            let wrong = match item.kind {
                ItemKind::Record => self.record(physical, bytes),
                ItemKind::FactPut if split_fact(bytes).is_none() => Some("a fact without a key".into()),
                ItemKind::FactPut | ItemKind::FactDelete => None,
            };
            match item.kind {
                ItemKind::Record => report.records += 1,
                ItemKind::FactPut | ItemKind::FactDelete => report.fact_changes += 1,
            }
            if let Some(what) = wrong {
                report.find(&segment::file_name(base), physical - base, what);
            }
        }
        let header = frame.header;
        self.chain.follow(&header);
        Ok(Ok(header.kind))
    }

    fn record(&mut self, physical: u64, bytes: &[u8]) -> Option<String> {
        let record = match ringmq_wire::record::decode(bytes) {
            Ok(record) => record,
            Err(error) => return Some(format!("a record that is none: {error}")),
        };
        if u64::try_from(record.physical_offset) != Ok(physical) {
            return Some(format!("a record that says it is at {}", record.physical_offset));
        }
        let end = self.ends.entry((record.topic.to_owned(), record.queue_id)).or_insert(record.queue_offset);
        let expected = std::mem::replace(end, record.queue_offset.saturating_add(1));
        (expected != record.queue_offset).then(|| {
            format!(
                "number {} of {}/{} follows {}",
                record.queue_offset,
                record.topic,
                record.queue_id,
                expected - 1
            )
        })
    }

    /// After damage: goes on at a whole frame, as if it followed.
    fn resume(&mut self, physical: u64, bytes: &mut SegmentBytes<'_>, base: u64) -> io::Result<()> {
        self.fault = None;
        self.ends.clear();
        self.chain.position = physical;
        if let Ok(frame) = bytes.frame(physical - base)?.and_then(Frame::decode_unchecked_payload) {
            self.chain.epoch = frame.header.epoch;
            self.chain.crc = frame.header.previous_crc;
        }
        Ok(())
    }

    /// The verdict on the end of the log.
    fn end(self, report: &mut VerifyReport) {
        report.end = self.chain.position;
        let Some(broken) = &self.fault else {
            if !self.chain.position.is_multiple_of(self.chain.segment_bytes) || report.segments == 0 {
                return;
            }
            let name = segment::file_name(self.chain.position);
            return report.find(&name, 0, "the segment before it is sealed, and this one is missing".into());
        };
        let base = self.base(broken.physical);
        if self.chain.durable > broken.physical {
            let what = format!("{}, but it was once durable", broken.fault);
            report.find(&segment::file_name(base), broken.physical - base, what);
        } else if broken.remains.torn_end() > 0 {
            report.torn_at = Some(broken.physical);
        }
    }

    fn base(&self, physical: u64) -> u64 {
        physical - physical % self.chain.segment_bytes
    }
}

impl VerifyReport {
    fn find(&mut self, file: &str, position: u64, what: String) {
        self.findings.push(Finding { file: file.to_owned(), position, what });
    }

    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}
