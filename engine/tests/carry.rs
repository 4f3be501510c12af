//! What a fact points to outlives its segment: one story per test, on the simulated disk. Crashes in the midst of it are in
//! `crash.rs`.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_engine::Batch;
use ringmq_engine::batch::Target;
use ringmq_engine::env::sim::{Disk, Fault, Sim, SimEnv};
use ringmq_engine::env::{BLOCK_BYTES, Signal};
use ringmq_engine::log::segment;
use ringmq_engine::offset::{PhysicalOffset, QueueOffset};
use ringmq_engine::pointing;
use ringmq_engine::retention::Retention;
use ringmq_engine::store::{AppendError, FlushHow, Piece, Store, StoreOptions};
use ringmq_wire::record::{Draft, Record, decode};

const FOLDER: &str = "/shard";
const SEGMENT: u64 = 32 * 1024;

fn options(retention: Retention) -> StoreOptions {
    StoreOptions {
        segment_bytes: SEGMENT,
        tail_cache_bytes: 0,
        cold_bytes_max: 1 << 20,
        flush: FlushHow::Fdatasync,
        retention,
        ..StoreOptions::default()
    }
}

fn of_bytes(bytes_max: u64) -> Retention {
    Retention { bytes_max: Some(bytes_max), ..Retention::default() }
}

/// One life of a process with its store.
struct Life {
    sim: Sim,
    store: Store<SimEnv>,
}

impl Life {
    fn open(disk: Disk, retention: Retention) -> Life {
        let sim = Sim::on(disk, 7);
        let opening = Store::open(sim.env(), Path::new(FOLDER), options(retention), Rc::new(Signal::new()));
        let (store, _) = sim.run_until(opening).expect("it opens in time").expect("it opens");
        Life { sim, store }
    }

    fn close(self) -> Disk {
        self.sim.run_until(self.store.close()).expect("it closes in time").expect("it closes");
        self.sim.disk()
    }

    /// A timer as a broker would keep it.
    fn set(&self, key: &[u8], body: &[u8], rest: &[u8]) {
        let mut batch = Batch::default();
        add(&self.store, &mut batch, "timers", body);
        batch.put_pointing(key, Target::LastRecord, rest);
        self.store.append(&mut batch).expect("there is room");
    }

    fn delete(&self, key: &[u8]) {
        let mut batch = Batch::default();
        batch.delete(key);
        self.store.append(&mut batch).expect("there is room");
    }

    fn append(&self) -> Result<(), AppendError> {
        let mut batch = Batch::default();
        add(&self.store, &mut batch, "orders", &[1; 3000]);
        self.store.append(&mut batch).map(|_| ())
    }

    /// Other records, until the log has this many segments more.
    fn fill(&self, segments: u64) {
        let end = self.end() + segments * SEGMENT;
        while self.end() < end {
            self.append().expect("there is room");
            self.sim.run_for(Duration::from_millis(20));
        }
        self.sim.run_for(Duration::from_secs(5));
    }

    fn start(&self) -> u64 {
        self.store.log_bounds().0.0
    }

    fn end(&self) -> u64 {
        self.store.log_bounds().1.0
    }

    /// Where a fact points, and the rest of it.
    fn fact(&self, key: &[u8]) -> Option<(PhysicalOffset, Vec<u8>)> {
        let value = self.store.fact(key)?;
        let (place, rest) = pointing::split(&value).expect("it points");
        Some((place, rest.to_vec()))
    }

    /// The record that a fact points to.
    fn record(&self, key: &[u8]) -> Vec<u8> {
        let (place, _) = self.fact(key).expect("the fact is there");
        let mut pieces = vec![self.store.locate(place).expect("a record is there")];
        self.sim.run_until(self.store.fetch(&mut pieces)).expect("in time").expect("it reads");
        let bytes = pieces.iter().map(|piece| match piece {
            Piece::Hot(slice) => slice.bytes(),
            Piece::Cold { .. } => panic!("it was fetched"),
        });
        bytes.collect::<Vec<_>>().concat()
    }

    /// Records that the timers' queue ever had.
    fn timers(&self) -> u64 {
        self.store.find_queue("timers", 0).map_or(0, |queue| self.store.appended_end(queue).0)
    }
}

fn add(store: &Store<SimEnv>, batch: &mut Batch, topic: &str, body: &[u8]) {
    let draft = Draft {
        topic,
        queue_id: 0,
        flag: 17,
        sys_flag: 4,
        born_timestamp_ms: 5,
        born_host: "[2001:db8::1]:5000".parse().expect("an address"),
        store_host: "10.0.0.2:10911".parse().expect("an address"),
        reconsume_times: 3,
        prepared_transaction_offset: 99,
        body,
        properties: b"TAGS\x01timer\x02",
    };
    batch.record(store.queue(topic, 0), 23, &draft).expect("it is a record");
}

#[test]
fn what_facts_point_to_outlives_its_segment_and_nothing_else_of_it_does() {
    let life = Life::open(Disk::new(), of_bytes(3 * SEGMENT));
    life.set(b"\x80a", b"first", b"of a");
    life.set(b"\x80b", &[7; 5000], b"");
    life.set(b"\x80c", b"third", b"of c");
    life.fill(1);
    let keys = [&b"\x80a"[..], b"\x80b", b"\x80c"];
    let first = keys.map(|key| life.record(key));
    let (first_place, _) = life.fact(b"\x80a").expect("it is there");

    life.fill(12);
    let start = life.start();
    assert!(start > 8 * SEGMENT && life.store.locate(first_place).is_none(), "{start}");
    let disk = life.close();
    let life = Life::open(disk, of_bytes(3 * SEGMENT));
    for (key, first) in keys.into_iter().zip(&first) {
        let copy = life.record(key);
        let (first, copy) = (decode(first).expect("a record"), decode(&copy).expect("a record"));
        let (place, _) = life.fact(key).expect("it is there");
        assert!(place.0 >= start && copy.physical_offset as u64 == place.0);
        assert!(copy.store_timestamp_ms > first.store_timestamp_ms && copy.queue_offset > first.queue_offset);
        let Record { bytes, physical_offset, queue_offset, store_timestamp_ms, .. } = first;
        assert_eq!(Record { bytes, physical_offset, queue_offset, store_timestamp_ms, ..copy }, first);
    }
    assert_eq!(life.fact(b"\x80c").map(|(_, rest)| rest), Some(b"of c".to_vec()));
    let orders = life.store.find_queue("orders", 0).expect("it is known");
    assert!(life.store.bounds(orders).0 > QueueOffset(0));
}

#[test]
fn what_no_fact_points_to_any_more_is_not_carried() {
    let life = Life::open(Disk::new(), of_bytes(3 * SEGMENT));
    life.set(b"\x80a", b"first", b"");
    life.set(b"\x80b", b"second", b"");
    life.fill(1);
    life.delete(b"\x80a");
    life.fill(4);
    assert!(life.start() > 0);
    assert_eq!(life.timers(), 3, "two, and one of them again");
    assert_eq!(decode(&life.record(b"\x80b")).map(|record| record.body), Ok(&b"second"[..]));
}

/// The record is being read while its fact is deleted, or says something else.
#[test]
fn what_has_happened_to_a_fact_while_its_record_was_read_stays() {
    for deletes in [true, false] {
        let retention = Retention { age: Some(Duration::from_secs(3600)), ..Retention::default() };
        let life = Life::open(Disk::new(), retention);
        life.set(b"\x80a", b"first", b"before");
        life.fill(4);
        life.sim.run_for(Duration::from_secs(3500));
        let (place, _) = life.fact(b"\x80a").expect("it is there");
        assert_eq!(life.store.cold_bytes(), 0);
        while life.store.cold_bytes() == 0 {
            assert!(life.sim.now() < Duration::from_secs(4000), "it is never read");
            life.sim.step();
        }
        assert_eq!(life.timers(), 1);
        if deletes {
            life.delete(b"\x80a");
        } else {
            let mut batch = Batch::default();
            batch.put_pointing(b"\x80a", Target::At(place), b"after");
            life.store.append(&mut batch).expect("there is room");
        }
        life.sim.run_for(Duration::from_secs(30));
        assert!(life.start() > 0, "the segment retires all the same");
        let rest = life.fact(b"\x80a").map(|(_, rest)| rest);
        assert_eq!((life.timers(), rest), if deletes { (1, None) } else { (2, Some(b"after".to_vec())) });
    }
}

/// Found by a read that stalled: the loop took the signal that the log ends for one that it may go on, and waited for the
/// next.
#[test]
fn a_store_closes_in_the_midst_of_carrying() {
    let retention = Retention { age: Some(Duration::from_secs(3600)), ..Retention::default() };
    let life = Life::open(Disk::new(), retention);
    life.set(b"\x80a", b"first", b"");
    life.fill(4);
    life.sim.run_for(Duration::from_secs(3500));
    let next = life.sim.trace().count();
    (next..next + 1000)
        .for_each(|operation| life.sim.faults().plan(operation, Fault::Stall(Duration::from_secs(3))));
    while life.store.cold_bytes() == 0 {
        assert!(life.sim.now() < Duration::from_secs(4000), "it is never read");
        life.sim.step();
    }
    let life = Life::open(life.close(), retention);
    assert_eq!(decode(&life.record(b"\x80a")).map(|record| record.body), Ok(&b"first"[..]));
}

#[test]
fn a_record_that_rotted_keeps_its_segment_and_is_not_asked_for_all_the_time() {
    let life = Life::open(Disk::new(), of_bytes(3 * SEGMENT));
    life.set(b"\x80a", b"first", b"");
    life.fill(1);
    let (place, _) = life.fact(b"\x80a").expect("it is there");
    let path = segment::path(Path::new(FOLDER), 0);
    let rot = || life.sim.change_disk(|disk| disk.rot(&path, place.0 + 100, 0)).expect("the file is there");
    rot();
    life.fill(8);
    assert_eq!((life.start(), life.timers()), (0, 1));
    let before = life.sim.trace().count();
    life.sim.run_for(Duration::from_secs(600));
    let operations = life.sim.trace().count() - before;
    assert!(operations < 700, "{operations} in ten minutes: the space is looked at every second");
    rot();
    life.sim.run_for(Duration::from_secs(120));
    assert!(life.start() > 0 && life.timers() == 2, "it is as it was written, and is carried");
    assert_eq!(decode(&life.record(b"\x80a")).map(|record| record.body), Ok(&b"first"[..]));
}

#[test]
fn a_disk_that_is_nearly_full_gets_room_by_carrying_although_producers_are_refused() {
    let life = Life::open(Disk::new(), Retention::default());
    for n in 0..20 {
        life.set(&[0x80, n], &[n; 1000], b"");
    }
    life.fill(8);
    let mut disk = life.close();
    let space = disk.space();
    let used_blocks = (space.total - space.available) as usize / BLOCK_BYTES;
    disk.set_capacity(used_blocks * 100 / 95);
    let life = Life::open(disk, of_bytes(3 * SEGMENT));
    let refused = life.append();
    assert!(matches!(refused, Err(AppendError::DiskNearlyFull { .. })), "{refused:?}");
    life.sim.run_for(Duration::from_secs(10));
    assert!(life.start() > 0 && life.timers() >= 40);
    assert_eq!(life.append(), Ok(()), "there is room again");
    for n in 0..20 {
        let record = life.record(&[0x80, n]);
        assert_eq!(decode(&record).map(|record| record.body), Ok(&[n; 1000][..]));
    }
}

/// Else they would be copied for ever, and the log would not get smaller.
#[test]
fn carried_records_do_not_count_as_bytes_that_the_log_may_hold() {
    let life = Life::open(Disk::new(), of_bytes(SEGMENT));
    for n in 0..100 {
        life.set(&[0x80, n], &[n; 3000], b"");
        life.sim.run_for(Duration::from_millis(20));
    }
    life.fill(1);
    life.sim.run_for(Duration::from_secs(600));
    let (start, end) = (life.start(), life.end());
    assert!(start > 8 * SEGMENT, "all were carried once: {start} to {end}");
    life.sim.run_for(Duration::from_secs(3600));
    assert_eq!((life.start(), life.end()), (start, end), "and not again");
    for n in 0..100 {
        let record = life.record(&[0x80, n]);
        assert_eq!(decode(&record).map(|record| record.body), Ok(&[n; 3000][..]));
    }
    // What is new still counts.
    life.fill(4);
    assert!(life.start() > start);
}

#[test]
#[should_panic(expected = "begins with a place")]
fn a_fact_that_points_is_not_set_without_a_place() {
    Batch::default().put(b"\x80a", b"");
}

#[test]
#[should_panic(expected = "known by their first byte")]
fn a_fact_that_does_not_point_is_not_given_a_place() {
    Batch::default().put_pointing(b"a", Target::At(PhysicalOffset(0)), b"");
}
