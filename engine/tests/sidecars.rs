//! Stories of sidecars through the store's door: sealed, missing, damaged, of another history.

mod life;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use life::{FOLDER, Life, SEGMENT, bytes, cold_options, names, sidecars};
use ringmq_engine::Batch;
use ringmq_engine::env::sim::Disk;
use ringmq_engine::log::dump::Source;
use ringmq_engine::offset::{PhysicalOffset, QueueOffset};
use ringmq_engine::sidecar::verify::verify_names;
use ringmq_engine::store::{OpenError, ReadBudget};
use ringmq_wire::record::decode;

const RECORDS: u64 = 300;

fn open(disk: Disk) -> Life {
    open_keeping(disk, None).expect("it opens")
}

/// Opens a store whose log may have so many bytes.
fn open_keeping(disk: Disk, bytes_max: Option<u64>) -> Result<Life, OpenError> {
    Life::open(disk, cold_options(SEGMENT, bytes_max))
}

fn body(fill: u8, number: u64) -> Vec<u8> {
    vec![fill ^ number as u8; 200 + number as usize % 500]
}

/// Appends records to two queues by turns, the second one rarely, and changes facts.
fn fill(life: &Life, fill: u8, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let mut batch = Batch::default();
        life.add_record(&mut batch, i32::from(number % 50 == 3), &body(fill, number));
        batch.put(&[b'f', number as u8 % 40], &number.to_be_bytes());
        if number % 9 == 0 {
            batch.delete(&[b'f', number as u8 % 7]);
        }
        life.store.append(&mut batch).expect("there is room");
        life.sim.run_for(Duration::from_millis(3));
    }
    life.rest();
}

/// So many facts that few segments change half of them: most sidecars then have no base of their own.
fn put_many_facts(life: &Life, value: u8) {
    let mut batch = Batch::default();
    for number in 0..300_u16 {
        batch.put(&[b'g', number as u8, (number >> 8) as u8], &[value; 60]);
    }
    life.store.append(&mut batch).expect("there is room");
    life.sim.run_for(Duration::from_millis(3));
}

/// That everything that `fill` appended is there.
fn check(life: &Life, fill: u8) {
    for queue_id in [0, 1] {
        let queue = life.store.find_queue("orders", queue_id).expect("it has records");
        assert_eq!(life.store.bounds(queue).0, QueueOffset(0));
    }
    check_kept(life, fill);
}

/// That all that `fill` appended and that has not retired is there, in whatever way it is asked for.
fn check_kept(life: &Life, fill: u8) {
    let numbers = |queue_id: i32| (0..RECORDS).filter(move |n| i32::from(n % 50 == 3) == queue_id);
    for queue_id in [0, 1] {
        let expected: Vec<(u64, Vec<u8>)> =
            (0..).zip(numbers(queue_id).map(|number| body(fill, number))).collect();
        let queue = life.store.find_queue("orders", queue_id).expect("it has records");
        let first = life.store.bounds(queue).0.0;
        let found = life.records(queue_id);
        assert!(found == expected[first as usize..], "queue {queue_id} has other records from {first} on");
        let mut last = (0, i64::MIN);
        for offset in first..expected.len() as u64 {
            let ms = life.store.store_time(queue, QueueOffset(offset)).expect("it is there");
            assert!(ms >= last.1);
            if ms > last.1 && last.1 > i64::MIN {
                assert_eq!(life.store.offset_at_or_after(queue, ms), QueueOffset(offset));
            }
            last = (offset, ms);
        }
    }
    let mut facts = std::collections::BTreeMap::new();
    for number in 0..RECORDS {
        facts.insert(vec![b'f', number as u8 % 40], number.to_be_bytes().to_vec());
        if number % 9 == 0 {
            facts.remove(&vec![b'f', number as u8 % 7]);
        }
    }
    let mut found = std::collections::BTreeMap::new();
    life.store.facts_with_prefix(b"f", |key, value| {
        found.insert(key.to_vec(), value.to_vec());
    });
    assert_eq!(found, facts);
}

/// A disk with a store of many sealed segments, all with sidecars.
fn filled(fill: u8) -> Disk {
    let life = open(Disk::new());
    self::fill(&life, fill, 0..RECORDS);
    check(&life, fill);
    life.power_cut()
}

#[test]
fn every_segment_that_ended_has_a_sidecar_and_a_start_reads_only_what_follows() {
    let disk = filled(1);
    let segments = names(&disk, ".log").len();
    let sealed = sidecars(&disk).len();
    assert!(sealed > 4 && sealed + 2 >= segments - 1, "{sealed} sidecars of {segments} segments");
    let life = open(disk);
    assert_eq!((life.report.sidecars, life.report.sidecars_made), (sealed, 0));
    assert!(life.report.replayed_bytes <= 4 * SEGMENT, "{} bytes", life.report.replayed_bytes);
    assert_eq!(life.report.records, RECORDS);
    check(&life, 1);
}

#[test]
fn a_missing_sidecar_is_made_again_and_so_are_all() {
    let disk = filled(1);
    let all = sidecars(&disk);
    for lost in [&all[..1], &all[2..3], &all[all.len() - 1..], &all[1..4], &all[..]] {
        let mut disk = disk.clone();
        lost.iter().for_each(|path| disk.lose(path).expect("it is there"));
        let life = open(disk);
        check(&life, 1);
        life.rest();
        check(&life, 1);
        assert_eq!(sidecars(&life.sim.disk()), all);
        let again = open(life.power_cut());
        assert_eq!((again.report.sidecars, again.report.sidecars_made), (all.len(), 0));
        check(&again, 1);
    }
}

#[test]
fn a_page_that_rotted_is_noticed_when_it_is_read_and_the_sidecar_made_again() {
    let disk = filled(1);
    let all = sidecars(&disk);
    let mut mended_while_serving = 0;
    for (number, path) in all.iter().enumerate() {
        let mut bad = disk.clone();
        bad.rot(path, 40 + number as u64 * 7, 3).expect("it is there");
        let life = open(bad);
        // What is damaged is not shown; a reader waits until it is made again.
        mended_while_serving += u32::from(life.records(0).len() < 200);
        life.rest();
        check(&life, 1);
        let again = open(life.power_cut());
        assert_eq!(again.report.sidecars_made, 0, "it was made again for good");
    }
    assert!(mended_while_serving > 0, "no start looks at all pages of all sidecars");
}

#[test]
fn a_sidecar_of_another_history_is_not_believed() {
    let (ours, other) = (filled(1), filled(2));
    for path in sidecars(&ours) {
        let mut mixed = ours.clone();
        mixed.put(&path, &other.bytes(&path).expect("the histories are alike")).expect("it is there");
        let life = open(mixed);
        check(&life, 1);
        life.rest();
        check(&life, 1);
    }
}

/// A disk with a store whose first segments have retired.
fn retained(many_facts: bool) -> Disk {
    // With few facts every third sidecar has all of them: so many segments that two of these are kept.
    let kept = if many_facts { 4 } else { 8 };
    let life = open_keeping(Disk::new(), Some(kept * SEGMENT)).expect("it opens");
    if many_facts {
        put_many_facts(&life, 1);
    }
    fill(&life, 1, 0..RECORDS);
    check_kept(&life, 1);
    assert!(life.store.log_bounds().0.0 > 10 * SEGMENT, "segments have retired");
    life.power_cut()
}

#[test]
fn any_sidecar_is_made_again_after_those_before_it_have_retired_if_a_newer_one_has_all_facts() {
    let disk = retained(false);
    let all = sidecars(&disk);
    let lose = |path: &PathBuf| {
        let mut disk = disk.clone();
        disk.lose(path).expect("it is there");
        disk
    };
    let rot = |path: &PathBuf, at| {
        let mut disk = disk.clone();
        disk.rot(path, at, 3).expect("it is there");
        disk
    };
    let first = |life: &Life| {
        [0, 1].map(|id| life.store.bounds(life.store.find_queue("orders", id).expect("it is there")).0)
    };
    let known = first(&open(disk.clone()));
    let footer = |path: &PathBuf| disk.bytes(path).expect("it is there").len() as u64 - 300;
    for path in &all {
        for hurt in [lose(path), rot(path, 40), rot(path, 300), rot(path, footer(path))] {
            let life = open(hurt);
            // A consumer that is sent to where a queue begins never misses anything.
            assert!(first(&life).into_iter().zip(known).all(|(now, known)| now <= known));
            life.records(0);
            life.rest();
            check_kept(&life, 1);
            assert_eq!(first(&life), known);
            assert_eq!(sidecars(&life.sim.disk()), all);
            let again = open(life.power_cut());
            assert_eq!(again.report.sidecars_made, 0, "it was made again for good");
            check_kept(&again, 1);
        }
    }
}

#[test]
fn the_only_sidecar_with_all_facts_is_named_when_it_cannot_be_made_again() {
    let mut disk = retained(true);
    let oldest = sidecars(&disk).remove(0);
    disk.lose(&oldest).expect("it is there");
    match open_keeping(disk.clone(), None).map(|life| life.report) {
        Err(OpenError::Corrupt { file, what, .. }) => {
            assert_eq!(Path::new(&file), oldest);
            assert!(what.contains("restore this file from a copy"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    let open = |name: &str| -> std::io::Result<Box<dyn Source>> {
        Ok(Box::new(Cursor::new(disk.bytes(&Path::new(FOLDER).join(name))?)))
    };
    let (_, findings) = verify_names(&names(&disk, ""), open).expect("memory is readable");
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(Path::new(FOLDER).join(&finding.file), oldest);
    assert!(finding.what.contains("restore it from a copy"), "{}", finding.what);
}

#[test]
fn the_only_sidecar_with_all_facts_is_made_again_as_long_as_these_are_whole() {
    // Entries are so many that they have pages of their own.
    const LARGE: u64 = 512 * 1024;
    let open = |disk: Disk| Life::open(disk, cold_options(LARGE, Some(2 * LARGE))).expect("it opens");
    let life = open(Disk::new());
    let mut next = 0_u64;
    let mut fill = |batches: u32| {
        for _ in 0..batches {
            let mut batch = Batch::default();
            for _ in 0..400 {
                life.add_record(&mut batch, 0, &next.to_be_bytes());
                next += 1;
            }
            life.store.append(&mut batch).expect("there is room");
            life.sim.run_for(Duration::from_millis(20));
        }
    };
    fill(20);
    put_many_facts(&life, 2);
    fill(50);
    life.rest();
    let read = |life: &Life| {
        let records = life.records(0);
        let first = next - records.len() as u64;
        let expected = (first..next).map(|number| (number, number.to_be_bytes().to_vec()));
        records.into_iter().eq(expected).then_some(first)
    };
    let mut facts = 0;
    life.store.facts_with_prefix(b"g", |_, value| facts += u32::from(value == [2; 60]));
    let first = read(&life).expect("each record is what was written");
    assert!(first > 0 && facts == 300, "{facts} facts, first record {first}");

    let disk = life.power_cut();
    let oldest = sidecars(&disk).remove(0);
    let mut bad = disk.clone();
    bad.rot(&oldest, 40_000, 5).expect("it is there");
    let life = open(bad);
    assert_ne!(read(&life), Some(first), "a reader waits until it is made again");
    life.rest();
    assert_eq!(read(&life), Some(first));
    let again = open(life.power_cut());
    assert_eq!((read(&again), again.report.sidecars_made), (Some(first), 0));
    let mut facts = 0;
    again.store.facts_with_prefix(b"g", |_, value| facts += u32::from(value == [2; 60]));
    assert_eq!(facts, 300);
    let [before, after] = [&disk, &again.sim.disk()].map(|disk| disk.bytes(&oldest).expect("it is there"));
    assert_eq!(before.len(), after.len());
    let other = before.chunks(16 * 1024).zip(after.chunks(16 * 1024)).filter(|(one, other)| one != other);
    assert!(other.count() <= 2, "but for where queues were before, and checksums, it is the same file");
}

#[test]
fn a_record_is_found_by_its_place_in_a_sidecar() {
    let life = open(filled(1));
    let queue = life.store.find_queue("orders", 1).expect("it has records");
    let budget = ReadBudget { records_max: 1, bytes_max: 1, entries_max: 1 };
    let mut reading = life.store.read(queue, QueueOffset(1), budget, |_| true);
    life.sim.run_until(life.store.fetch(&mut reading.pieces)).expect("in time").expect("it reads");
    let physical = decode(&bytes(&reading.pieces)).expect("a record").physical_offset as u64;
    let mut found = vec![life.store.locate(PhysicalOffset(physical)).expect("it is there")];
    life.sim.run_until(life.store.fetch(&mut found)).expect("in time").expect("it reads");
    assert_eq!(bytes(&found), bytes(&reading.pieces));
    assert!(life.store.locate(PhysicalOffset(physical + 1)).is_none());
}
