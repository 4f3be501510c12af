//! Damaged frames are replaced: every other record is still there, with its offset, and no offset is given out again.

mod life;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use life::{FOLDER, Life, cold_options, names, sidecars, verified};
use ringmq_engine::Batch;
use ringmq_engine::env::BLOCK_BYTES;
use ringmq_engine::env::sim::Disk;
use ringmq_engine::folder::{MARKER_FILE, Marker};
use ringmq_engine::log::dump::Source;
use ringmq_engine::log::frame::{Frame, FrameKind, HEADER_BYTES, ItemKind};
use ringmq_engine::log::segment;
use ringmq_engine::salvage::{LOST_BODY, Replaced, Salvage, Segment};
use ringmq_engine::sidecar;
use ringmq_engine::sidecar::verify::verify_names;

const SEGMENT: u64 = 64 * 1024;

/// A log whose frames hold several records, of three queues, and facts.
fn filled(bytes_max: Option<u64>) -> Disk {
    let life = Life::open(Disk::new(), cold_options(SEGMENT, bytes_max)).expect("it opens");
    for number in 0..160_u64 {
        for part in 0..3 {
            let mut batch = Batch::default();
            // The last queue is rare: of what is lost of it little is missed later.
            let queue_id = if number % 20 == 5 { 2 } else { part % 2 };
            let body = format!("{number}.{part} {}", "x".repeat((number * 37 % 700) as usize));
            let keys = format!("KEYS\u{1}k{number}\u{2}");
            life.add_record_with(&mut batch, queue_id, body.as_bytes(), &keys);
            if part == 1 {
                batch.put(&[b'f', number as u8 % 7], &number.to_be_bytes());
            }
            life.store.append(&mut batch).expect("there is room");
        }
        life.sim.run_for(Duration::from_millis(3));
    }
    life.rest();
    life.power_cut()
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// What `ringmq log repair` does to a copy.
fn repair(disk: &mut Disk, log_end: u64) -> Result<Vec<Replaced>, String> {
    let marker = Marker::decode(&disk.bytes(&path(MARKER_FILE)).expect("a marker")).expect("it is whole");
    let mut bases: Vec<u64> = names(disk, ".log").iter().filter_map(|name| segment::base_of(name)).collect();
    bases.sort_unstable();
    let mut salvage = Salvage::new(&marker, bases[0], log_end);
    let mut replaced = Vec::new();
    for base in bases.iter().take_while(|base| **base < log_end) {
        let name = path(&segment::file_name(*base));
        let mut bytes = disk.bytes(&name).expect("a segment");
        let next = disk.bytes(&path(&segment::file_name(base + SEGMENT))).unwrap_or_default();
        let next = &next[..next.len().min(BLOCK_BYTES)];
        let sidecar = disk.bytes(&path(&sidecar::file_name(*base))).ok();
        let later = |base: u64| disk.bytes(&path(&segment::file_name(base))).ok();
        let segment = Segment { bytes: &mut bytes, sidecar, next, later: &later };
        replaced.extend(salvage.segment(segment)?);
        disk.put(&name, &bytes).expect("it is there");
    }
    Ok(replaced)
}

/// A frame: its segment, where it is there, its length, its kind, and its records by queue and offset.
struct Found {
    base: u64,
    at: usize,
    len: usize,
    kind: FrameKind,
    records: Vec<(i32, u64)>,
}

fn frames(disk: &Disk) -> Vec<Found> {
    let mut found = Vec::new();
    let mut bases: Vec<u64> = names(disk, ".log").iter().filter_map(|name| segment::base_of(name)).collect();
    bases.sort_unstable();
    for base in bases {
        let bytes = disk.bytes(&path(&segment::file_name(base))).expect("a segment");
        let mut at = 0;
        while let Ok(frame) = Frame::decode(&bytes[at..])
            && frame.header.position == base + at as u64
        {
            let records = frame.items().filter(|(item, _, _)| item.kind == ItemKind::Record);
            let records = records.map(|(_, _, bytes)| {
                let record = ringmq_wire::record::decode(bytes).expect("a record");
                (record.queue_id, record.queue_offset as u64)
            });
            let (len, kind) = (frame.header.frame_bytes(), frame.header.kind);
            found.push(Found { base, at, len, kind, records: records.collect() });
            at += len;
            if kind == FrameKind::Seal || at >= bytes.len() {
                break;
            }
        }
    }
    found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hurt {
    Header,
    Record,
    LastByte,
    Whole,
}

impl Hurt {
    fn hurt(self, disk: &mut Disk, frame: &Found) {
        let name = path(&segment::file_name(frame.base));
        let mut bytes = disk.bytes(&name).expect("a segment");
        let frame = &mut bytes[frame.at..frame.at + frame.len];
        match self {
            Hurt::Header => frame[45] ^= 4,
            // The topic's name of the first record, or what comes where it would be.
            Hurt::Record => frame[HEADER_BYTES + 20] ^= 1,
            Hurt::LastByte => {
                let last = frame.iter().rposition(|byte| *byte != 0).expect("a frame is not empty");
                frame[last] ^= 64;
            }
            Hurt::Whole => frame.fill(0),
        }
        disk.put(&name, &bytes).expect("it is there");
    }
}

fn every_frame(disk: &Disk) {
    let before = Life::open(disk.clone(), cold_options(SEGMENT, None)).expect("it opens");
    let expected: Vec<Vec<(u64, Vec<u8>)>> = (0..3).map(|queue_id| before.records(queue_id)).collect();
    let (mut replaced, mut kept, mut lost, mut forgotten) = (0, 0, 0, 0);
    let all_sidecars = sidecars(disk);
    for (number, frame) in frames(disk).iter().enumerate() {
        for how in [Hurt::Header, Hurt::Record, Hurt::LastByte, Hurt::Whole] {
            let own = path(&sidecar::file_name(frame.base));
            let may_lose = all_sidecars.contains(&own) && all_sidecars.first() != Some(&own);
            for loses_sidecar in [false, true] {
                if (loses_sidecar && !may_lose) || (how == Hurt::Record && frame.records.is_empty()) {
                    continue;
                }
                let what = format!(
                    "frame {number} ({:?} at {} of {}), {how:?}, sidecar lost: {loses_sidecar}",
                    frame.kind, frame.at, frame.base
                );
                let mut hurt = disk.clone();
                how.hurt(&mut hurt, frame);
                if loses_sidecar {
                    hurt.lose(&own).expect("it is there");
                }
                let report = verified(&hurt);
                if report.is_whole() {
                    // Nothing that follows it says that it was durable.
                    assert!(report.end <= frame.base + (frame.at + frame.len) as u64, "{what}");
                    continue;
                }
                let name = segment::file_name(frame.base);
                assert_eq!((&report.findings[0].file, report.findings[0].position), (&name, frame.at as u64));
                let found = repair(&mut hurt, report.end).unwrap_or_else(|why| panic!("{what}: {why}"));
                assert_eq!(found.len(), 1, "{what}: {found:?}");
                let after = verified(&hurt);
                assert!(after.is_whole() && after.end == report.end, "{what}: {after:?}");
                let open = |name: &str| -> std::io::Result<Box<dyn Source>> {
                    Ok(Box::new(Cursor::new(hurt.bytes(&path(name))?)))
                };
                let (_, findings) = verify_names(&names(&hurt, ""), open).expect("memory is readable");
                assert!(findings.is_empty(), "{what}: {findings:?}");
                replaced += 1;
                kept += found[0].kept;
                lost += found[0].lost;

                let life = Life::open(hurt, cold_options(SEGMENT, None)).unwrap_or_else(|error| {
                    panic!("{what}: {error}");
                });
                assert_eq!(life.report.torn_bytes, 0, "{what}");
                for (queue_id, expected) in expected.iter().enumerate() {
                    let records = life.records(queue_id as i32);
                    let records: BTreeMap<u64, Vec<u8>> = records.into_iter().collect();
                    for (offset, body) in expected {
                        let was_hurt = frame.records.contains(&(queue_id as i32, *offset));
                        match records.get(offset) {
                            Some(found) if found == body => {}
                            Some(found) if was_hurt => {
                                let marked = LOST_BODY.as_bytes();
                                let len = found.len().min(marked.len());
                                assert_eq!(found[..len], marked[..len], "{what}: {queue_id}/{offset}");
                            }
                            None if was_hurt => forgotten += 1,
                            other => panic!("{what}: {queue_id}/{offset} became {other:?}"),
                        }
                    }
                    assert!(records.len() <= expected.len(), "{what}: queue {queue_id} has more records");
                }
            }
        }
    }
    println!("{replaced} frames replaced, {kept} records kept, {lost} lost, {forgotten} not missed");
    assert!(replaced > 100 && kept > 100 && lost > 100);
    // Without a sidecar, and without a later record of the queue in the segment, nobody knows of it.
    assert!(forgotten * 10 < lost, "{forgotten}");
}

#[test]
fn whichever_frame_is_damaged_all_others_are_still_read() {
    every_frame(&filled(None));
}

#[test]
fn so_it_is_after_segments_have_retired() {
    let disk = filled(Some(4 * SEGMENT));
    assert!(!names(&disk, ".log").contains(&segment::file_name(0)));
    every_frame(&disk);
}
