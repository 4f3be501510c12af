//! Stories of look-ups by key through the store's door: in memory, in sidecars, after restarts, damage and retirement.

mod life;

use std::ops::RangeInclusive;
use std::time::Duration;

use life::{Life, SEGMENT, TOPIC, bytes, cold_options, sidecars};
use ringmq_engine::Batch;
use ringmq_engine::env::sim::Disk;
use ringmq_engine::keys::KeyQuery;
use ringmq_wire::record::decode;

const RECORDS: usize = 300;
const EVER: RangeInclusive<i64> = i64::MIN..=i64::MAX;

fn open(disk: Disk) -> Life {
    Life::open(disk, cold_options(SEGMENT, None)).expect("it opens")
}

/// A record's unique key.
fn unique_key(number: usize) -> String {
    format!("u{number:03}")
}

/// Appends records, some in one millisecond, to two queues; the last ones are in no sidecar.
fn fill(life: &Life) {
    for number in 0..RECORDS {
        let mut batch = Batch::default();
        let properties = format!("KEYS\x01all n{}\x02UNIQ_KEY\x01{}\x02", number % 10, unique_key(number));
        life.add_record_with(&mut batch, i32::from(number % 50 == 3), &vec![1; 200 + number], &properties);
        life.store.append(&mut batch).expect("there is room");
        life.sim.run_for(Duration::from_micros(300 * (number as u64 % 9)));
    }
    life.rest();
}

/// Numbers of all records with a key, as look-ups of a few return them, and when they were stored. `None` while a look-up
/// waits for a damaged sidecar.
fn found(life: &Life, key: &str, stored_ms: RangeInclusive<i64>) -> Option<Vec<(usize, i64)>> {
    let query = KeyQuery { topic: TOPIC, key, stored_ms };
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let some = life.store.find_by_key(&query, before, 7);
        assert!(some.candidates.len() <= 7);
        if some.next.is_some() && some.next == before {
            return None;
        }
        for candidate in some.candidates {
            let mut pieces = vec![life.store.locate(candidate).expect("it is there")];
            life.sim.run_until(life.store.fetch(&mut pieces)).expect("in time").expect("it reads");
            let bytes = bytes(&pieces);
            let record = decode(&bytes).expect("a record");
            assert_eq!(record.physical_offset as u64, candidate.0);
            if query.matches(&record) {
                found.push((record.body.len() - 200, record.store_timestamp_ms));
            }
        }
        before = some.next;
        if before.is_none() {
            return Some(found);
        }
    }
}

/// That the records from `first` on, which are all there are, are found by their keys, the newest first.
fn check(life: &Life, first: usize) {
    let numbers = |key: &str, stored_ms| -> Vec<usize> {
        let found = found(life, key, stored_ms).expect("nothing is damaged");
        found.into_iter().map(|(number, _)| number).collect()
    };
    let newest_first = || (first..RECORDS).rev();
    assert_eq!(numbers("all", EVER), newest_first().collect::<Vec<_>>());
    for digit in 0..10 {
        let expected: Vec<usize> = newest_first().filter(|number| number % 10 == digit).collect();
        assert_eq!(numbers(&format!("n{digit}"), EVER), expected);
    }
    let all = found(life, "all", EVER).expect("nothing is damaged");
    for number in [first, first + 7, (first + RECORDS) / 2, RECORDS - 1] {
        let unique = unique_key(number);
        let (_, ms) = all[RECORDS - 1 - number];
        assert_eq!(numbers(&unique, ms..=ms), [number]);
        assert!(numbers(&unique, ms + 1..=i64::MAX).is_empty());
        assert!(numbers(&unique, i64::MIN..=ms - 1).is_empty());
        for (from, to) in [(ms, i64::MAX), (ms, ms), (i64::MIN, ms), (ms - 20, ms + 20)] {
            let expected: Vec<usize> =
                all.iter().filter(|(_, at)| (from..=to).contains(at)).map(|(number, _)| *number).collect();
            assert_eq!(numbers("all", from..=to), expected, "from {from} to {to}");
        }
    }
    for absent in ["", "u", "al", "all n1", "u300"] {
        assert!(numbers(absent, EVER).is_empty(), "{absent:?}");
    }
}

#[test]
fn records_are_found_by_their_keys_wherever_they_are_and_after_every_restart() {
    let life = open(Disk::new());
    fill(&life);
    check(&life, 0);
    let disk = life.sim.disk().crash(|_| false);
    let all = sidecars(&disk);
    assert!(all.len() > 4, "most are in sidecars");
    let again = open(disk.clone());
    assert_eq!((again.report.records, again.report.sidecars_made), (RECORDS as u64, 0));
    check(&again, 0);
    // Made again from the segments.
    let mut lost = disk;
    all.iter().for_each(|path| lost.lose(path).expect("it is there"));
    let life = open(lost);
    check(&life, 0);
    life.rest();
    check(&life, 0);
}

#[test]
fn records_of_retired_segments_are_not_found_and_all_others_are() {
    let life = Life::open(Disk::new(), cold_options(SEGMENT, Some(4 * SEGMENT))).expect("it opens");
    fill(&life);
    let first = RECORDS - life.records(0).len() - life.records(1).len();
    assert!(first > 100, "segments have retired");
    check(&life, first);
    check(&open(life.sim.disk().crash(|_| false)), first);
}

#[test]
fn a_look_up_waits_for_a_damaged_sidecar_and_leaves_nothing_out() {
    let life = open(Disk::new());
    fill(&life);
    let disk = life.sim.disk().crash(|_| false);
    let mut waited = 0;
    for path in sidecars(&disk) {
        let mut bad = disk.clone();
        bad.rot(&path, 40, 3).expect("it is there");
        let life = open(bad);
        waited += u32::from(found(&life, "all", EVER).is_none());
        life.rest();
        check(&life, 0);
    }
    assert!(waited > 0, "no start looks at all pages of all sidecars");
}
