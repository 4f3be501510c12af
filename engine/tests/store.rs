//! What a store promises, one story per test, on the simulated disk.

mod life;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use life::{FOLDER, Life, SEGMENT, bytes, hot_options as options, verified};
use ringmq_engine::Batch;
use ringmq_engine::env::sim::{Disk, Fault, FaultMix, Sim, Unit};
use ringmq_engine::env::{BLOCK_BYTES, Env};
use ringmq_engine::log::frame::{Frame, FrameKind};
use ringmq_engine::log::{dump, segment};
use ringmq_engine::offset::QueueOffset;
use ringmq_engine::store::{AppendError, OpenError, Piece, ReadBudget, ReadError, Store, StoreOptions};

fn open(disk: Disk) -> Result<Life, OpenError> {
    Life::open(disk, options())
}

fn new() -> Life {
    open(Disk::new()).expect("a new store opens")
}

fn file(base: u64) -> PathBuf {
    segment::path(Path::new(FOLDER), base)
}

/// Where the frames of a segment begin, and what they are.
fn frames(disk: &Disk, base: u64) -> Vec<(u64, FrameKind)> {
    let bytes = disk.bytes(&file(base)).expect("the segment is there");
    let (mut at, mut found) = (0, Vec::new());
    while let Ok(frame) = Frame::decode(&bytes[at..]) {
        found.push((at as u64, frame.header.kind));
        at += frame.header.frame_bytes();
    }
    found
}

/// The last frame that carries batches.
fn last_batches(disk: &Disk) -> u64 {
    let last = frames(disk, 0).into_iter().rev().find(|(_, kind)| *kind == FrameKind::Batches);
    last.expect("something was written").0
}

#[test]
fn what_is_durable_survives_a_power_cut_and_is_read_from_disk() {
    let life = new();
    life.append_durably(b"one");
    life.append_durably(b"two");
    life.put(b"key", b"value").map(|appended| life.wait(appended)).expect("there is room");
    assert_eq!(life.bodies(), Ok(vec![b"one".to_vec(), b"two".to_vec()]));

    let life = open(life.power_cut()).expect("it opens");
    assert_eq!((life.report.records, life.report.facts, life.report.torn_bytes), (2, 1, 0));
    assert_eq!(life.bodies(), Ok(vec![b"one".to_vec(), b"two".to_vec()]));
    assert_eq!(life.store.fact(b"key").as_deref(), Some(&b"value"[..]));
}

#[test]
fn consumers_see_a_record_when_it_is_durable_and_not_before() {
    let life = new();
    let appended = life.append(&[b"one"]).expect("there is room");
    let queue = life.store.queue("orders", 0);
    assert_eq!(life.store.bounds(queue), (QueueOffset(0), QueueOffset(0)));
    assert_eq!(life.store.appended_end(queue), QueueOffset(1));
    assert_eq!(life.bodies(), Ok(vec![]));
    life.wait(appended);
    let mut grown = Vec::new();
    life.store.take_grown(&mut grown);
    assert_eq!(grown, [queue]);
    assert_eq!(life.store.bounds(queue), (QueueOffset(0), QueueOffset(1)));
    grown.clear();
    life.store.take_grown(&mut grown);
    assert_eq!(grown, []);
}

#[test]
fn a_torn_tail_is_cut_and_never_comes_back() {
    let life = new();
    life.append_durably(b"one");
    life.append_durably(b"two");
    let mut disk = life.power_cut();
    let at = last_batches(&disk);
    disk.rot(&file(0), at + 200, 0).expect("the file is there");
    assert_eq!(verified(&disk).torn_at, Some(at));

    let life = open(disk).expect("a torn tail is no damage");
    assert_eq!((life.report.records, life.report.torn_bytes), (1, BLOCK_BYTES as u64));
    life.append_durably(b"new");
    let life = open(life.power_cut()).expect("it opens");
    assert_eq!(life.bodies(), Ok(vec![b"one".to_vec(), b"new".to_vec()]));
}

#[test]
fn frames_from_before_a_crash_never_follow_newer_ones() {
    let life = new();
    life.append_durably(b"one");
    // Two frames in flight; the power cut keeps the later one only, whole.
    for (in_flight, body) in [b"two", b"six"].into_iter().enumerate() {
        life.append(&[body]).expect("there is room");
        while writes(&life.sim.disk()) <= in_flight {
            life.sim.step();
        }
    }
    let disk = life.sim.disk();
    let units = disk.pending_units();
    let disk = disk.crash(|unit| units[unit] == Unit::Sector { write: 1 });

    // The new frame takes the place of the lost one, with the same length; the old one lies behind it.
    let life = open(disk).expect("it opens");
    assert_eq!(life.bodies(), Ok(vec![b"one".to_vec()]));
    assert_eq!(life.report.torn_bytes, 2 * BLOCK_BYTES as u64);
    let epochs = |disk: &Disk| {
        let bytes = disk.bytes(&file(0)).expect("the file is there");
        let epoch = |block: &[u8]| Frame::decode(block).ok().map(|frame| frame.header.epoch);
        bytes.chunks(BLOCK_BYTES).map_while(epoch).collect::<Vec<_>>()
    };
    assert_eq!(epochs(&life.sim.disk()), [1, 1, 2, 1], "opening, one; opening, the old frame");
    let life = open(life.power_cut()).expect("it opens");
    assert_eq!(epochs(&life.sim.disk()), [1, 1, 2, 3]);
    life.append_durably(b"new");
    assert_eq!(
        open(life.power_cut()).expect("it opens").bodies(),
        Ok(vec![b"one".to_vec(), b"new".to_vec()])
    );
}

/// Writes pending on the disk.
fn writes(disk: &Disk) -> usize {
    let write = |unit: &Unit| match unit {
        Unit::Sector { write } => Some(*write),
        _ => None,
    };
    disk.pending_units().iter().filter_map(write).max().map_or(0, |last| last + 1)
}

#[test]
fn damage_to_what_was_durable_is_refused_and_nothing_is_changed() {
    let life = new();
    life.append_durably(b"one");
    life.append_durably(b"two");
    let whole = life.power_cut();
    let (opening, first) = (0, last_batches(&whole) - BLOCK_BYTES as u64);
    for at in [opening + 20, first, first + 70, first + 125, first + 140] {
        let mut disk = whole.clone();
        disk.rot(&file(0), at, 3).expect("the file is there");
        let before = disk.bytes(&file(0)).expect("the file is there");
        let sim = Sim::on(disk, 1);
        let opened = sim.run_until(Store::open(sim.env(), Path::new(FOLDER), options(), Rc::default()));
        let error = opened.expect("in time").map(|_| ()).expect_err("it is damaged");
        let expected = if at < first { opening } else { first };
        match &error {
            OpenError::Corrupt { file: name, position, what } => {
                assert_eq!(
                    (name.as_str(), *position),
                    (file(0).to_str().expect("text"), expected),
                    "bit at {at}"
                );
                assert!(what.contains("restore this file from a copy"), "{what}");
            }
            other => panic!("bit at {at}: {other}"),
        }
        assert_eq!(sim.disk().bytes(&file(0)).expect("the file is there"), before);
        let report = verified(&sim.disk());
        assert_eq!(report.findings.len(), 1, "{report:?}");
        assert_eq!((report.findings[0].position, report.torn_at), (expected, None));
    }
}

#[test]
fn an_idle_log_notes_its_watermark_so_that_damage_to_the_last_batch_is_told_from_a_torn_tail() {
    let life = new();
    life.append_durably(b"one");
    life.sim.run_for(Duration::from_secs(3));
    let mut disk = life.power_cut();
    let kinds: Vec<_> = frames(&disk, 0).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [FrameKind::Opening, FrameKind::Batches, FrameKind::Note]);
    let at = last_batches(&disk);
    disk.rot(&file(0), at + 130, 0).expect("the file is there");
    assert!(matches!(open(disk).map(|_| ()), Err(OpenError::Corrupt { position, .. }) if position == at));
}

#[test]
fn a_closed_store_opens_with_everything_and_nothing_torn() {
    let life = new();
    let mut batch = Batch::default();
    life.add_record(&mut batch, 0, b"lazy");
    batch.lazy = true;
    life.store.append(&mut batch).expect("there is room");
    let store = life.store.clone();
    let disk = life.close();
    assert_eq!(store.append(&mut batch), Err(AppendError::Closing));
    let life = open(disk).expect("it opens");
    assert_eq!((life.report.records, life.report.torn_bytes), (1, 0));
}

#[test]
fn lost_segments_are_named() {
    let life = new();
    for n in 0..40u8 {
        life.append_durably(&[n; 3000]);
    }
    let disk = life.close();
    let sealed: Vec<u64> = (0..10)
        .map(|n| n * SEGMENT)
        .filter(|base| disk.bytes(&file(*base)).is_ok())
        .filter(|base| frames(&disk, *base).last().is_some_and(|(_, kind)| *kind == FrameKind::Seal))
        .collect();
    assert!(sealed.len() >= 3, "{sealed:?}");
    let after_all = SEGMENT + sealed.iter().max().copied().unwrap_or(0);
    for lost in [0, sealed[1], after_all] {
        let sim = Sim::on(disk.clone(), 1);
        let all: Vec<u64> =
            (0..10).map(|n| n * SEGMENT).filter(|base| disk.bytes(&file(*base)).is_ok()).collect();
        let remove = async {
            // Of the last ones, those that were only prepared go too: they would be a gap.
            for base in all.into_iter().filter(|base| *base == lost || (lost == after_all && *base > lost)) {
                sim.env().remove(&file(base)).await.expect("it is removed");
            }
            Store::open(sim.env(), Path::new(FOLDER), options(), Rc::default()).await.map(|_| ())
        };
        let error = sim.run_until(remove).expect("in time").expect_err("a segment is missing").to_string();
        assert!(error.contains(&segment::file_name(lost)), "{lost}: {error}");
        assert!(
            verified(&sim.disk()).findings.iter().any(|finding| finding.file == segment::file_name(lost))
        );
    }
}

#[test]
fn segments_prepared_and_never_used_are_no_part_of_the_log() {
    let life = new();
    life.sim.run_for(Duration::from_secs(5));
    let disk = life.close();
    assert_eq!(disk.bytes(&file(SEGMENT)).map(|bytes| bytes.len() as u64).ok(), Some(SEGMENT));
    let report = verified(&disk);
    assert!(report.is_whole() && report.torn_at.is_none(), "{report:?}");
    assert_eq!(open(disk).expect("it opens").report.torn_bytes, 0);
}

#[test]
fn after_a_failed_write_or_flush_nothing_is_written_and_nothing_becomes_durable() {
    // The two operations of a durable frame: its write and its flush.
    for failing in 0..2 {
        let life = new();
        life.sim.run_for(Duration::from_millis(4500));
        life.append_durably(b"one");
        life.sim.faults().plan(life.sim.trace().count() + failing, Fault::Error);
        let (durable, appended) = (life.store.durable(), life.append(&[b"two"]).expect("there is room"));
        life.progress.take();
        let poisoned = async {
            while life.store.poisoned().is_none() {
                life.progress.wait().await;
            }
        };
        life.sim.run_until(poisoned).expect("the failure is told");
        let written = life.sim.trace().count();
        assert!(matches!(life.append(&[b"three"]), Err(AppendError::Poisoned(_))));
        life.sim.run_for(Duration::from_secs(10));
        assert_eq!((life.sim.trace().count(), life.store.durable()), (written, durable));
        assert!(appended.ticket > durable);
        assert!(matches!(life.sim.run_until(life.store.close()), Ok(Err(AppendError::Poisoned(_)))));

        // The process starts again on the same disk: what it shows now, it keeps.
        let life = open(life.sim.disk()).expect("it opens");
        let shown = life.bodies();
        assert_eq!(open(life.power_cut()).expect("it opens").bodies(), shown);
        assert!(shown.is_ok_and(|bodies| bodies[0] == b"one"));
    }
}

#[test]
fn a_lazy_batch_goes_after_a_second() {
    let life = new();
    let mut batch = Batch::default();
    batch.put(b"offset", b"7");
    batch.lazy = true;
    let appended = life.store.append(&mut batch).expect("there is room");
    life.sim.run_for(Duration::from_millis(900));
    assert!(life.store.durable() < appended.ticket);
    life.sim.run_for(Duration::from_millis(200));
    assert!(life.store.durable() >= appended.ticket);
}

#[test]
fn somebody_who_waits_for_a_value_that_a_lazy_batch_set_does_not_wait_for_company() {
    let life = new();
    let mut batch = Batch::default();
    batch.put(b"offset", b"7");
    batch.lazy = true;
    life.store.append(&mut batch).expect("there is room");
    let appended = life.put(b"offset", b"7").expect("there is room");
    life.sim.run_for(Duration::from_millis(100));
    assert!(life.store.durable() >= appended.ticket);
}

#[test]
fn a_fact_set_to_the_value_it_has_costs_nothing() {
    let life = new();
    let first = life.put(b"offset", b"7").expect("there is room");
    let again = life.put(b"offset", b"7").expect("there is room");
    assert_eq!(again.ticket, first.ticket, "it is durable when the value is, not before");
    life.wait(first);
    let (before, operations) = (life.store.log_bounds(), life.sim.trace().count());
    let appended = life.put(b"offset", b"7").expect("there is room");
    assert!(appended.ticket <= life.store.durable());
    life.sim.run_for(Duration::from_millis(100));
    assert_eq!((life.store.log_bounds().0, life.sim.trace().count()), (before.0, operations));
}

#[test]
fn of_two_changes_of_a_fact_in_one_batch_the_later_wins() {
    let life = new();
    life.put(b"k", b"1").expect("there is room");
    let mut batch = Batch::default();
    batch.put(b"k", b"2");
    batch.put(b"k", b"1");
    let appended = life.store.append(&mut batch).expect("there is room");
    life.wait(appended);
    let life = open(life.power_cut()).expect("it opens");
    assert_eq!(life.store.fact(b"k").as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_forgotten_queue_is_empty_and_goes_on_counting() {
    let life = new();
    life.append_durably(b"one");
    let queue = life.store.queue("orders", 0);
    let mut batch = Batch::default();
    life.store.forget_queue(&mut batch, queue);
    let appended = life.store.append(&mut batch).expect("there is room");
    life.wait(appended);
    life.append_durably(b"two");
    for life in [open(life.power_cut()).expect("it opens"), life] {
        let queue = life.store.queue("orders", 0);
        assert_eq!(life.store.bounds(queue), (QueueOffset(1), QueueOffset(2)));
        assert_eq!(life.bodies(), Ok(vec![b"two".to_vec()]));
    }
}

#[test]
fn store_times_never_go_back() {
    let life = new();
    let first = life.append(&[b"one"]).expect("there is room");
    life.sim.jump_wall_clock(-3_600_000);
    let second = life.append(&[b"two"]).expect("there is room");
    assert_eq!(second.store_timestamp_ms, first.store_timestamp_ms);
    life.wait(second);
    let sim_disk = life.power_cut();
    let life = open(sim_disk).expect("it opens");
    life.sim.jump_wall_clock(-3_600_000);
    let third = life.append(&[b"three"]).expect("there is room");
    assert_eq!(third.store_timestamp_ms, first.store_timestamp_ms);
}

#[test]
fn bounds_refuse_and_say_the_number() {
    let life =
        Life::open(Disk::new(), StoreOptions { appended_bytes_max: 20_000, ..options() }).expect("it opens");
    assert!(matches!(life.append(&[&[0; 40_000]]), Err(AppendError::TooLarge { max: 28_672, .. })));
    assert!(matches!(life.put(&[0; 1025], b""), Err(AppendError::TooLarge { bytes: 1025, max: 1024 })));
    assert!(matches!(
        life.put(b"k", &[0; 65_537]),
        Err(AppendError::TooLarge { bytes: 65_537, max: 65_536 })
    ));
    let mut last = None;
    let busy = loop {
        match life.append(&[&[0; 3000]]) {
            Ok(appended) => last = Some(appended),
            Err(error) => break error,
        }
    };
    assert!(matches!(busy, AppendError::Busy { max: 20_000, .. }), "{busy}");
    life.wait(last.expect("some were accepted"));
    life.append_durably(&[0; 3000]);
}

#[test]
fn a_folder_that_is_in_use_or_foreign_is_refused() {
    let life = new();
    let again = Store::open(life.sim.env(), Path::new(FOLDER), options(), Rc::default());
    let again = life.sim.run_until(again).expect("it gives up in time").map(|_| ());
    assert_eq!(again, Err(OpenError::Locked { folder: FOLDER.into() }));

    let sim = Sim::new(1);
    let foreign = async {
        sim.env().create_folder(Path::new("/home/photos")).await.expect("it is made");
        Store::open(sim.env(), Path::new("/home"), options(), Rc::default()).await.map(|_| ())
    };
    let refused = sim.run_until(foreign).expect("in time");
    assert!(matches!(refused, Err(OpenError::Refused { .. })), "{refused:?}");
}

#[test]
fn a_record_that_rotted_is_not_served() {
    let life = Life::open(Disk::new(), StoreOptions { tail_cache_bytes: 0, ..options() }).expect("it opens");
    life.append_durably(b"one");
    let at = last_batches(&life.sim.disk());
    life.append_durably(b"two");
    life.sim.change_disk(|disk| disk.rot(&file(0), at + 150, 0)).expect("the file is there");
    assert_eq!(
        life.bodies(),
        Err(ReadError::Corrupt { file: file(0).display().to_string(), physical: at + 128 })
    );
}

/// The store of a consumer that is behind serves a pull as large as that of one that keeps up.
#[test]
fn a_read_gets_the_same_from_disk_as_from_memory() {
    let life = Life::open(Disk::new(), StoreOptions { cold_bytes_max: 8192, ..options() }).expect("it opens");
    for n in 0..60 {
        life.append_durably(&vec![n; 10 + 97 * usize::from(n)]);
    }
    let budgets = [(1, 1), (8, 1 << 20), (32, 4000), (32, 1 << 20), (60, 20_000), (1000, 1 << 20)];
    let read = |life: &Life, from, (records_max, bytes_max), is_cold: bool| {
        let queue = life.store.find_queue("orders", 0).expect("it is known");
        let budget = ReadBudget { records_max, bytes_max, entries_max: 800 };
        let mut reading = life.store.read(queue, from, budget, |_| true);
        assert_eq!(reading.pieces.iter().any(|piece| matches!(piece, Piece::Cold { .. })), is_cold);
        life.sim.run_until(life.store.fetch(&mut reading.pieces)).expect("in time").expect("it reads");
        (reading.next_offset, reading.records, reading.bytes, bytes(&reading.pieces))
    };
    let requests = || (0..60).step_by(7).flat_map(|from| budgets.map(|budget| (QueueOffset(from), budget)));
    let hot: Vec<_> = requests().map(|(from, budget)| read(&life, from, budget, false)).collect();
    let options = StoreOptions { cold_bytes_max: 8192, ..options() };
    let life = Life::open(life.close(), options).expect("it opens");
    for ((from, budget), hot) in requests().zip(hot) {
        assert_eq!(read(&life, from, budget, true), hot, "from {from:?}, {budget:?}");
    }
}

#[test]
fn a_read_that_cannot_be_done_is_told_with_its_place_and_done_when_it_can() {
    let life = Life::open(Disk::new(), options()).expect("it opens");
    for n in 0..10 {
        life.append_durably(&[n; 1000]);
    }
    let life = open(life.close()).expect("it opens");
    life.sim.faults().set_mix(FaultMix { read_errors: 1000, ..FaultMix::default() });
    let Err(ReadError::Io { file, position, .. }) = life.bodies() else { panic!("both reads fail") };
    assert!(file.ends_with("00000000000000000000.log") && position < SEGMENT, "{file} at {position}");
    life.sim.faults().set_mix(FaultMix::default());
    assert_eq!(life.bodies().map(|bodies| bodies.len()), Ok(10));
}

#[test]
fn answering_before_the_flush_flushes_soon_after() {
    let options = StoreOptions { answer_before_flush: true, ..options() };
    let life = Life::open(Disk::new(), options.clone()).expect("it opens");
    life.append_durably(b"one");
    assert_eq!(Life::open(life.power_cut(), options.clone()).expect("it opens").report.records, 0);
    life.sim.run_for(Duration::from_secs(2));
    assert_eq!(Life::open(life.power_cut(), options.clone()).expect("it opens").report.records, 1);
    life.append_durably(b"two");
    assert_eq!(
        Life::open(life.close(), options).expect("it opens").bodies().map(|bodies| bodies.len()),
        Ok(2)
    );
}

#[test]
fn any_segment_can_be_printed() {
    let life = new();
    life.append_durably(b"one");
    life.put(b"key\x01", b"value").map(|appended| life.wait(appended)).expect("there is room");
    let mut disk = life.close();
    let print = |disk: &Disk| {
        let mut out = Vec::new();
        let bytes = disk.bytes(&file(0)).expect("the file is there");
        dump::dump_source(Box::new(Cursor::new(bytes)), &mut out).expect("writing to memory succeeds");
        String::from_utf8(out).expect("it prints text")
    };
    let text = print(&disk);
    for part in
        ["opening, 4096 bytes", "orders/0 number 0", r"fact key\x01 = value", "note", "nothing was written"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let at = last_batches(&disk);
    disk.rot(&file(0), at + 130, 0).expect("the file is there");
    let text = print(&disk);
    assert!(
        text.contains(&format!("item 0 fails its checksum; the next whole frame is at {}", at + 4096)),
        "{text}"
    );
}
