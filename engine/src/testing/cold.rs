//! Consumers that are behind: many readers over a log that is on disk only, while it grows, on disks that fail and rot.
//!
//! ```text
//!   fill ──▶ restart: nothing is in memory ──▶ readers, each its own way ──▶ all get to their ends
//!                                              a writer goes on meanwhile     all memory is given back
//! ```
//!
//! | demanded of every read | |
//! | --- | --- |
//! | served | byte for byte what was written, and exactly the records that the budget allows |
//! | refused | only where reads were made to fail, or bits to rot, and with the file's name |
//! | memory | within `cold_bytes_max`, but for what one read alone needs |
//!
//! Edges are near: budgets from nothing to more than the whole log, records larger than a read, segments of a few blocks.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_wire::record::Draft;

use super::crash::{Violation, workload_random};
use super::workload::FOLDER;
use crate::batch::Batch;
use crate::env::sim::{FaultMix, Sim, SimEnv};
use crate::env::{BLOCK_BYTES, Env, Random, Signal, TaskClass};
use crate::limits::SEGMENT_BYTES_MIN;
use crate::offset::{PhysicalOffset, QueueOffset};
use crate::store::{FlushHow, Piece, ReadBudget, ReadError, Store, StoreOptions};

const QUEUES: usize = 3;
/// Between two appends of the writer; a reader's pauses.
const PAUSE_US_MAX: u64 = 2_000;
/// Appends while there are readers.
const APPENDS_MAX: usize = 200;
/// Virtual time by which all have got to their ends, though every read may stall for seconds.
const READERS_END: Duration = Duration::from_secs(3600);

/// What was visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Logs read.
    pub workloads: u64,
    /// Reads served, in part or all from disk.
    pub served: u64,
    /// Reads refused, because the disk failed.
    pub failed: u64,
    /// Reads refused, because what was read is not what was written.
    pub corrupt: u64,
    /// Operations of the disk.
    pub operations: u64,
}

/// Runs so many workloads.
pub fn run(seed: u64, workloads: u64, mut progress: impl FnMut(&Tally)) -> Result<Tally, Violation> {
    let mut tally = Tally::default();
    for number in 0..workloads {
        let random = workload_random(seed, number);
        let state = || "readers".to_string();
        read_cold(&random, &mut tally).map_err(|what| Violation {
            seed,
            workload: number,
            state: state(),
            what,
        })?;
        tally.workloads += 1;
        progress(&tally);
    }
    Ok(tally)
}

/// What all of one workload share.
struct World {
    env: SimEnv,
    store: RefCell<Option<Store<SimEnv>>>,
    /// Per queue: the records as they are stored.
    written: RefCell<[Vec<Vec<u8>>; QUEUES]>,
    body_bytes_max: usize,
    options: StoreOptions,
    may_fail: Cell<bool>,
    may_rot: Cell<bool>,
    readers: Cell<usize>,
    wrong: RefCell<Option<String>>,
    tally: Cell<Tally>,
}

fn read_cold(random: &Random, tally: &mut Tally) -> Result<(), String> {
    let (disk, mut world) = fill(random)?;
    let sim = Sim::on(disk, random.next());
    world.env = sim.env();
    let world = Rc::new(world);
    let opening = Store::open(sim.env(), Path::new(FOLDER), world.options.clone(), Rc::default());
    let (store, _) = sim.run_until(opening).map_err(|stuck| stuck.to_string())?.map_err(|e| e.to_string())?;
    world.store.replace(Some(store.clone()));
    let begun = sim.trace().count();

    let mix = FaultMix {
        read_errors: [0, 0, 5, 100][random.index(4)],
        rot: [0, 0, 0, 20][random.index(4)],
        stalls: [0, 0, 10][random.index(3)],
        ..FaultMix::default()
    };
    world.may_fail.set(mix.read_errors > 0);
    world.may_rot.set(mix.rot > 0);
    sim.faults().set_mix(mix);
    let readers = 1 + random.index(8);
    world.readers.set(readers);
    for _ in 0..readers {
        let (reading, random) = (world.clone(), random.fork());
        sim.env().spawn(TaskClass::Serve, async move {
            if let Err(what) = Reader::draw(&random).read(&reading, &random).await {
                reading.wrong.borrow_mut().get_or_insert(what);
            }
            reading.readers.set(reading.readers.get() - 1);
        });
    }
    if random.chance(700) {
        let (writing, random) = (world.clone(), random.fork());
        sim.env().spawn(TaskClass::Serve, async move { write(&writing, &random).await });
    }
    let ended = sim.run_until(async {
        while world.readers.get() > 0 && world.wrong.borrow().is_none() {
            world.env.sleep(Duration::from_millis(100)).await;
            if world.env.monotonic() > READERS_END {
                return Err(format!("{} readers wait in vain", world.readers.get()));
            }
        }
        Ok(())
    });
    add(tally, world.tally.get(), sim.trace().count() - begun);
    if let Some(what) = world.wrong.take() {
        return Err(what);
    }
    ended.map_err(|stuck| stuck.to_string())??;
    sim.faults().set_mix(FaultMix::default());
    world.store.take();
    sim.run_until(store.close()).map_err(|stuck| stuck.to_string())?.map_err(|error| error.to_string())
}

fn add(all: &mut Tally, one: Tally, operations: u64) {
    all.served += one.served;
    all.failed += one.failed;
    all.corrupt += one.corrupt;
    all.operations += operations;
}

/// Writes the log that is then read; everything is durable.
fn fill(random: &Random) -> Result<(crate::env::sim::Disk, World), String> {
    let sim = Sim::new(random.next());
    let options = StoreOptions {
        segment_bytes: SEGMENT_BYTES_MIN * [1, 3, 8, 64][random.index(4)],
        writes_in_flight_max: 1 + random.index(4),
        tail_cache_bytes: [0, 16 * 1024][random.index(2)],
        cold_bytes_max: [0, 16 * 1024, 64 * 1024, 256 * 1024, 4 << 20][random.index(5)],
        appended_bytes_max: 1 << 20,
        flush: FlushHow::Dsync,
        ..StoreOptions::default()
    };
    let world = World {
        env: sim.env(),
        store: RefCell::default(),
        written: RefCell::default(),
        body_bytes_max: [100, 1000, 9000][random.index(3)],
        options,
        may_fail: Cell::default(),
        may_rot: Cell::default(),
        readers: Cell::default(),
        wrong: RefCell::default(),
        tally: Cell::default(),
    };
    let progress = Rc::new(Signal::new());
    let filling = async {
        let opening = Store::open(sim.env(), Path::new(FOLDER), world.options.clone(), progress.clone());
        let (store, _) = opening.await.map_err(|error| error.to_string())?;
        for _ in 0..20 + random.below(200) {
            append(&world, &store, random);
            if random.chance(300) {
                world.env.sleep(Duration::from_micros(random.below(PAUSE_US_MAX))).await;
            }
        }
        store.close().await.map_err(|error| error.to_string())
    };
    sim.run_until(filling).map_err(|stuck| stuck.to_string())??;
    Ok((sim.disk().crash(|_| false), world))
}

/// Appends a batch if there is room for it, and notes what is stored.
fn append(world: &World, store: &Store<SimEnv>, random: &Random) {
    let mut batch = Batch::default();
    let mut queues = Vec::new();
    for _ in 0..1 + random.index(3) {
        let number = random.index(QUEUES);
        let body: Vec<u8> = (0..random.index(world.body_bytes_max)).map(|_| random.next() as u8).collect();
        batch.record(store.queue("T", number as i32), 0, &draft(number as i32, &body)).expect("it is small");
        queues.push((number, body));
    }
    let Ok(appended) = store.append(&mut batch) else { return };
    let places: Vec<_> = batch.places().collect();
    for ((number, body), place) in queues.into_iter().zip(places) {
        let mut stored = Vec::new();
        draft(number as i32, &body).encode(&mut stored).expect("it is small");
        let (offset, physical) = (place.queue_offset.0 as i64, place.physical_offset.0 as i64);
        ringmq_wire::record::place(&mut stored, offset, physical, appended.store_timestamp_ms);
        world.written.borrow_mut()[number].push(stored);
    }
}

fn draft(queue_id: i32, body: &[u8]) -> Draft<'_> {
    let host = ([10, 0, 0, 1], 10911).into();
    Draft {
        topic: "T",
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp_ms: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: b"",
    }
}

/// Goes on writing while there are readers.
async fn write(world: &World, random: &Random) {
    for _ in 0..APPENDS_MAX {
        let store = world.store.borrow().clone().filter(|_| world.readers.get() > 0);
        let Some(store) = store else { return };
        append(world, &store, random);
        world.env.sleep(Duration::from_micros(random.below(20 * PAUSE_US_MAX))).await;
    }
}

/// One consumer.
struct Reader {
    budget: ReadBudget,
    /// Of a thousand reads: how many begin anywhere instead of where the last one ended.
    jumps: u32,
    reads: u64,
    /// It does not take every record.
    picky: bool,
}

impl Reader {
    fn draw(random: &Random) -> Reader {
        let budget = ReadBudget {
            records_max: [1, 7, 32][random.index(3)],
            bytes_max: [1, 4000, 64 * 1024, 256 * 1024][random.index(4)],
            entries_max: 800,
        };
        Reader {
            budget,
            jumps: [0, 0, 100, 1000][random.index(4)],
            reads: 10 + random.below(60),
            picky: random.chance(200),
        }
    }

    async fn read(&self, world: &World, random: &Random) -> Result<(), String> {
        let store = world.store.borrow().clone().ok_or("the store is open")?;
        let number = random.index(QUEUES);
        let Some(queue) = store.find_queue("T", number as i32) else { return Ok(()) };
        let mut from = QueueOffset(0);
        for read in 0..self.reads {
            let (begin, end) = store.bounds(queue);
            if from >= end || random.chance(self.jumps) {
                from = QueueOffset(begin.0 + random.below((end.0 - begin.0).max(1)));
            }
            if random.chance(100) {
                locate(world, &store, number, from).await?;
            }
            let (_, end) = store.bounds(queue);
            let mut turn = 0;
            let mut reading = store.read(queue, from, self.budget, |_| {
                turn += 1;
                self.takes(turn + read)
            });
            let (next, expected) = {
                let written = &world.written.borrow()[number];
                self.expected(written, from.0, end.0, read)
            };
            if (reading.next_offset.0, reading.bytes) != (next, expected.len()) {
                return Err(format!("a read from {from:?} goes to {:?}, not to {next}", reading.next_offset));
            }
            let is_cold = reading.pieces.iter().any(|piece| matches!(piece, Piece::Cold { .. }));
            let fetched = store.fetch(&mut reading.pieces).await;
            let was_served = fetched.is_ok();
            check(world, fetched, &reading.pieces, &expected, is_cold)
                .map_err(|what| format!("queue {number} from {from:?}: {what}"))?;
            check_memory(world, &store)?;
            // A client may be slow to take it.
            if was_served && random.chance(300) {
                world.env.sleep(Duration::from_micros(random.below(PAUSE_US_MAX))).await;
                let still = bytes(&reading.pieces);
                if still != expected {
                    return Err(format!("queue {number} from {from:?}: changed while it was sent"));
                }
            }
            from = if reading.next_offset > from { reading.next_offset } else { QueueOffset(from.0 + 1) };
        }
        Ok(())
    }

    fn takes(&self, turn: u64) -> bool {
        !self.picky || !turn.is_multiple_of(3)
    }

    /// Where a read must end and what it must return.
    fn expected(&self, written: &[Vec<u8>], from: u64, end: u64, read: u64) -> (u64, Vec<u8>) {
        let (mut next, mut records, mut bytes, mut turn) = (from, 0, Vec::new(), 0);
        while next < end && records < self.budget.records_max {
            let record = &written[next as usize];
            turn += 1;
            if self.takes(turn + read) {
                if records > 0 && bytes.len() + record.len() > self.budget.bytes_max {
                    break;
                }
                records += 1;
                bytes.extend_from_slice(record);
            }
            next += 1;
        }
        (next, bytes)
    }
}

/// Reads one record by its physical offset.
async fn locate(
    world: &World,
    store: &Store<SimEnv>,
    queue: usize,
    offset: QueueOffset,
) -> Result<(), String> {
    let record = world.written.borrow()[queue].get(offset.0 as usize).cloned();
    let Some(record) = record else { return Ok(()) };
    let stored = ringmq_wire::record::decode(&record).map_err(|error| error.to_string())?;
    let Some(piece) = store.locate(PhysicalOffset(stored.physical_offset as u64)) else { return Ok(()) };
    let is_cold = matches!(piece, Piece::Cold { .. });
    let mut pieces = vec![piece];
    let fetched = store.fetch(&mut pieces).await;
    check(world, fetched, &pieces, &record, is_cold)
}

/// What came of a read is what was written, or a failure that was asked for.
fn check(
    world: &World,
    fetched: Result<(), ReadError>,
    pieces: &[Piece<SimEnv>],
    expected: &[u8],
    is_cold: bool,
) -> Result<(), String> {
    let mut tally = world.tally.get();
    match fetched {
        Ok(()) if bytes(pieces) != expected => return Err("served what was not written".into()),
        Ok(()) => tally.served += u64::from(is_cold),
        Err(ReadError::Io { .. }) if world.may_fail.get() => tally.failed += 1,
        Err(ReadError::Corrupt { .. }) if world.may_rot.get() => tally.corrupt += 1,
        Err(error) => return Err(format!("refused without a reason: {error}")),
    }
    world.tally.set(tally);
    Ok(())
}

fn bytes(pieces: &[Piece<SimEnv>]) -> Vec<u8> {
    let bytes = pieces.iter().map(|piece| match piece {
        Piece::Hot(slice) => slice.bytes(),
        Piece::Cold { .. } => &[],
    });
    bytes.collect::<Vec<_>>().concat()
}

fn check_memory(world: &World, store: &Store<SimEnv>) -> Result<(), String> {
    // The largest that one read alone may need: what lies between its records is read too.
    let one_read = 64 * (world.body_bytes_max + BLOCK_BYTES) * QUEUES * 3 + 256 * 1024;
    let (held, max) = (store.cold_bytes(), world.options.cold_bytes_max.max(one_read));
    if held > max { Err(format!("{held} bytes of cold reads in memory, of at most {max}")) } else { Ok(()) }
}
