//! A store on the simulated disk, and what it has: shared by stories of whole stores.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_engine::env::Signal;
use ringmq_engine::env::sim::{Disk, Sim, SimEnv};
use ringmq_engine::store::{FlushHow, OpenError, OpenReport, Piece, ReadBudget, Store, StoreOptions};
use ringmq_engine::{Batch, sidecar};
use ringmq_wire::record::{Draft, decode};

/// The folder that every store is in.
pub const FOLDER: &str = "/shard";
/// The topic of all records.
const TOPIC: &str = "orders";

/// An open store.
pub struct Life {
    pub sim: Sim,
    pub store: Store<SimEnv>,
    pub report: OpenReport,
}

/// Nothing is held in memory that could be read from the disk.
pub fn options(segment_bytes: u64, bytes_max: Option<u64>) -> StoreOptions {
    let mut options = StoreOptions {
        segment_bytes,
        flush: FlushHow::Fdatasync,
        tail_cache_bytes: 0,
        ..StoreOptions::default()
    };
    options.retention.bytes_max = bytes_max;
    options
}

impl Life {
    /// Opens the store on a disk.
    pub fn open(disk: Disk, options: StoreOptions) -> Result<Life, OpenError> {
        let sim = Sim::on(disk, 7);
        let opening = Store::open(sim.env(), Path::new(FOLDER), options, Rc::new(Signal::new()));
        let (store, report) = sim.run_until(opening).expect("it opens in time")?;
        Ok(Life { sim, store, report })
    }

    /// Adds a record to a batch.
    pub fn add_record(&self, batch: &mut Batch, queue_id: i32, body: &[u8]) {
        let host = "10.0.0.1:5000".parse().expect("an address");
        let draft = Draft {
            topic: TOPIC,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: 5,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: b"",
        };
        batch.record(self.store.queue(TOPIC, queue_id), 1, &draft).expect("a record");
    }

    /// Lets the log note its watermark, and all sealed segments get their sidecars.
    pub fn rest(&self) {
        self.sim.run_for(Duration::from_secs(5));
        self.sim.run_until(self.store.sealed()).expect("sealing ends");
    }

    /// Offsets and bodies of a queue that a consumer gets, in order.
    pub fn records(&self, queue_id: i32) -> Vec<(u64, Vec<u8>)> {
        let Some(queue) = self.store.find_queue(TOPIC, queue_id) else { return Vec::new() };
        let (mut from, end) = self.store.bounds(queue);
        let mut records = Vec::new();
        while from < end {
            let budget = ReadBudget { records_max: 11, bytes_max: 20_000, entries_max: 1000 };
            let mut reading = self.store.read(queue, from, budget, |_| true);
            if reading.records == 0 {
                return records;
            }
            self.sim.run_until(self.store.fetch(&mut reading.pieces)).expect("in time").expect("it reads");
            let bytes = bytes(&reading.pieces);
            let mut rest = &bytes[..];
            while let Ok(record) = decode(rest) {
                records.push((record.queue_offset as u64, record.body.to_vec()));
                rest = &rest[record.bytes.len()..];
            }
            from = reading.next_offset;
        }
        records
    }
}

/// The bytes of pieces that were fetched.
pub fn bytes(pieces: &[Piece<SimEnv>]) -> Vec<u8> {
    let bytes = pieces.iter().map(|piece| match piece {
        Piece::Hot(slice) => slice.bytes(),
        Piece::Cold { .. } => panic!("it was fetched"),
    });
    bytes.collect::<Vec<_>>().concat()
}

/// The sidecars on a disk, the oldest first.
pub fn sidecars(disk: &Disk) -> Vec<std::path::PathBuf> {
    let names = disk.list(Path::new(FOLDER)).expect("the folder is there");
    let sidecars = names.iter().filter(|name| sidecar::base_of(name).is_some());
    sidecars.map(|name| Path::new(FOLDER).join(name)).collect()
}
