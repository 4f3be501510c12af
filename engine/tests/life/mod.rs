//! One life of a process with its store on the simulated disk: shared by the stories of whole stores.

// Each story asks for a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ringmq_engine::env::Signal;
use ringmq_engine::env::sim::{Disk, Sim, SimEnv};
use ringmq_engine::log::verify::{VerifyReport, verify_names};
use ringmq_engine::store::{
    AppendError, Appended, FlushHow, OpenError, OpenReport, Piece, ReadBudget, ReadError, Store, StoreOptions,
};
use ringmq_engine::{Batch, sidecar};
use ringmq_wire::record::{Draft, decode};

/// The folder that every store is in.
pub const FOLDER: &str = "/shard";
/// Length of a segment, where nothing else is said.
pub const SEGMENT: u64 = 32 * 1024;
/// The topic of all records.
pub const TOPIC: &str = "orders";
const ALL: ReadBudget = ReadBudget { records_max: 1000, bytes_max: 1 << 20, entries_max: 1000 };

/// An open store.
pub struct Life {
    pub sim: Sim,
    pub store: Store<SimEnv>,
    pub report: OpenReport,
    pub progress: Rc<Signal>,
}

/// Several writes in flight, and everything new in memory.
pub fn hot_options() -> StoreOptions {
    StoreOptions {
        segment_bytes: SEGMENT,
        writes_in_flight_max: 4,
        tail_cache_bytes: 1 << 20,
        cold_bytes_max: 1 << 20,
        appended_bytes_max: 1 << 20,
        flush: FlushHow::Fdatasync,
        answer_before_flush: false,
        ..StoreOptions::default()
    }
}

/// Nothing is held in memory that could be read from the disk; the log may have so many bytes.
pub fn cold_options(segment_bytes: u64, bytes_max: Option<u64>) -> StoreOptions {
    let mut options = StoreOptions { segment_bytes, flush: FlushHow::Fdatasync, ..StoreOptions::default() };
    options.tail_cache_bytes = 0;
    options.retention.bytes_max = bytes_max;
    options
}

impl Life {
    /// Opens the store on a disk.
    pub fn open(disk: Disk, options: StoreOptions) -> Result<Life, OpenError> {
        let sim = Sim::on(disk, 7);
        let progress = Rc::new(Signal::new());
        let opening = Store::open(sim.env(), Path::new(FOLDER), options, progress.clone());
        let (store, report) = sim.run_until(opening).expect("it opens in time")?;
        Ok(Life { sim, store, report, progress })
    }

    /// Appends one batch of records to queue 0.
    pub fn append(&self, bodies: &[&[u8]]) -> Result<Appended, AppendError> {
        let mut batch = Batch::default();
        for body in bodies {
            self.add_record(&mut batch, 0, body);
        }
        self.store.append(&mut batch)
    }

    /// Sets a fact.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<Appended, AppendError> {
        let mut batch = Batch::default();
        batch.put(key, value);
        self.store.append(&mut batch)
    }

    /// Appends one record and waits until it is durable.
    pub fn append_durably(&self, body: &[u8]) {
        let appended = self.append(&[body]).expect("there is room");
        self.wait(appended);
    }

    /// Waits until a batch is durable.
    pub fn wait(&self, appended: Appended) {
        let durable = async {
            while self.store.durable() < appended.ticket {
                assert_eq!(self.store.poisoned(), None);
                self.progress.wait().await;
            }
        };
        self.sim.run_until(durable).expect("it becomes durable in time");
    }

    /// Adds a record to a batch.
    pub fn add_record(&self, batch: &mut Batch, queue_id: i32, body: &[u8]) {
        self.add_record_with(batch, queue_id, body, "");
    }

    /// Adds a record with properties to a batch.
    pub fn add_record_with(&self, batch: &mut Batch, queue_id: i32, body: &[u8], properties: &str) {
        let draft = Draft {
            topic: TOPIC,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: 5,
            born_host: "10.0.0.1:5000".parse().expect("an address"),
            store_host: "10.0.0.2:10911".parse().expect("an address"),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: properties.as_bytes(),
        };
        batch.record(self.store.queue(TOPIC, queue_id), 0, &draft).expect("it is a record");
    }

    /// Lets the log note its watermark, and all sealed segments get their sidecars.
    pub fn rest(&self) {
        self.sim.run_for(Duration::from_secs(5));
        self.sim.run_until(self.store.sealed()).expect("sealing ends");
    }

    /// The bodies that a consumer of queue 0 sees with one read.
    pub fn bodies(&self) -> Result<Vec<Vec<u8>>, ReadError> {
        let Some(queue) = self.store.find_queue(TOPIC, 0) else { return Ok(Vec::new()) };
        let mut reading = self.store.read(queue, self.store.bounds(queue).0, ALL, |_| true);
        self.sim.run_until(self.store.fetch(&mut reading.pieces)).expect("it reads in time")?;
        Ok(records(&reading.pieces).into_iter().map(|(_, body)| body).collect())
    }

    /// Offsets and bodies of a queue, in order, with as many reads as it takes.
    pub fn records(&self, queue_id: i32) -> Vec<(u64, Vec<u8>)> {
        let Some(queue) = self.store.find_queue(TOPIC, queue_id) else { return Vec::new() };
        let (mut from, end) = self.store.bounds(queue);
        let mut all = Vec::new();
        while from < end {
            let budget = ReadBudget { records_max: 11, bytes_max: 20_000, entries_max: 1000 };
            let mut reading = self.store.read(queue, from, budget, |_| true);
            if reading.records == 0 {
                break;
            }
            self.sim.run_until(self.store.fetch(&mut reading.pieces)).expect("in time").expect("it reads");
            all.extend(records(&reading.pieces));
            from = reading.next_offset;
        }
        all
    }

    /// Ends it in order.
    pub fn close(self) -> Disk {
        self.sim.run_until(self.store.close()).expect("it closes in time").expect("it closes");
        self.sim.disk()
    }

    /// The disk after a power cut that loses all that is not certain.
    pub fn power_cut(&self) -> Disk {
        self.sim.disk().crash(|_| false)
    }
}

/// The records, by offset and body, of pieces that were fetched.
pub fn records(pieces: &[Piece<SimEnv>]) -> Vec<(u64, Vec<u8>)> {
    let bytes = bytes(pieces);
    let mut rest = &bytes[..];
    let mut records = Vec::new();
    while let Ok(record) = decode(rest) {
        records.push((record.queue_offset as u64, record.body.to_vec()));
        rest = &rest[record.bytes.len()..];
    }
    assert!(rest.is_empty(), "whole records are read");
    records
}

/// The bytes of pieces that were fetched.
pub fn bytes(pieces: &[Piece<SimEnv>]) -> Vec<u8> {
    let bytes = pieces.iter().map(|piece| match piece {
        Piece::Hot(slice) => slice.bytes(),
        Piece::Cold { .. } => panic!("it was fetched"),
    });
    bytes.collect::<Vec<_>>().concat()
}

/// The names of the files in the folder that end so.
pub fn names(disk: &Disk, extension: &str) -> Vec<String> {
    let names = disk.list(Path::new(FOLDER)).expect("the folder is there");
    names.into_iter().filter(|name| name.ends_with(extension)).collect()
}

/// The sidecars on a disk, the oldest first.
pub fn sidecars(disk: &Disk) -> Vec<PathBuf> {
    let names = names(disk, "");
    let sidecars = names.iter().filter(|name| sidecar::base_of(name).is_some());
    sidecars.map(|name| Path::new(FOLDER).join(name)).collect()
}

/// What `ringmq log verify` says of the segments.
pub fn verified(disk: &Disk) -> VerifyReport {
    let files: BTreeMap<String, Vec<u8>> = names(disk, "")
        .into_iter()
        .map(|name| (name.clone(), disk.bytes(&Path::new(FOLDER).join(name)).expect("it is there")))
        .collect();
    let names: Vec<String> = files.keys().cloned().collect();
    verify_names(&names, |name| Ok(Box::new(Cursor::new(&files[name])))).expect("memory is readable")
}
