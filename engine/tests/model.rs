//! Random operations on a store, restarts and crashes included, against a plain model in memory.
//!
//! Every batch also sets the fact `seq` to its number. So a recovered store says how many batches it kept: it
//! must be at least those that were durable, and everything in it must be as if just those had happened.
//!
//! A seed that fails is printed; `RINGMQ_SEED=<seed>` replays it alone.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_engine::Batch;
use ringmq_engine::env::sim::{Disk, FaultMix, Sim, SimEnv};
use ringmq_engine::env::{Random, Signal};
use ringmq_engine::log::dump::Source;
use ringmq_engine::log::verify::{VerifyReport, verify_names};
use ringmq_engine::offset::{PhysicalOffset, QueueOffset};
use ringmq_engine::sidecar;
use ringmq_engine::store::{
    AppendError, FlushHow, OpenError, OpenReport, Piece, ReadBudget, Store, StoreOptions, Ticket,
};
use ringmq_wire::record::{Draft, decode};

const FOLDER: &str = "/shard";
const TOPICS: [&str; 3] = ["orders", "payments", "a-topic-with-a-longer-name"];

/// One batch as the model remembers it.
#[derive(Debug, Clone, Default)]
struct Step {
    records: Vec<(usize, i32, Vec<u8>)>,
    facts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    forget: Option<(usize, i32)>,
}

type Bodies = Vec<Vec<u8>>;

/// What a store must hold after some steps.
#[derive(Debug, Default)]
struct Model {
    /// By topic and queue id: the minimum, and all bodies.
    queues: BTreeMap<(usize, i32), (u64, Bodies)>,
    facts: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Model {
    fn after(steps: &[Step]) -> Model {
        let mut model = Model::default();
        for (seq, step) in steps.iter().enumerate() {
            if let Some(queue) = step.forget {
                let queue = model.queues.entry(queue).or_default();
                queue.0 = queue.1.len() as u64;
            }
            for (topic, queue, body) in &step.records {
                model.queues.entry((*topic, *queue)).or_default().1.push(body.clone());
            }
            for (key, value) in &step.facts {
                match value {
                    Some(value) => model.facts.insert(key.clone(), value.clone()),
                    None => model.facts.remove(key),
                };
            }
            model.facts.insert(b"seq".to_vec(), (seq as u64 + 1).to_be_bytes().to_vec());
        }
        model
    }
}

fn options(chance: &Random) -> StoreOptions {
    StoreOptions {
        segment_bytes: 32 * 1024,
        writes_in_flight_max: 1 + chance.index(4),
        tail_cache_bytes: [0, 30_000, 1 << 20][chance.index(3)],
        cold_bytes_max: [0, 30_000, 1 << 20][chance.index(3)],
        appended_bytes_max: 1 << 20,
        flush: [FlushHow::Probe, FlushHow::Fdatasync, FlushHow::Dsync][chance.index(3)],
        answer_before_flush: false,
        ..StoreOptions::default()
    }
}

/// A run: one disk, a store on it that is opened again and again.
struct Run {
    chance: Random,
    disk: Disk,
    steps: Vec<Step>,
    /// Steps known to be durable.
    durable: usize,
    /// Whether operations of the disk fail.
    faulty: bool,
}

impl Run {
    fn life(&mut self) {
        let sim = Sim::on(self.disk.clone(), self.chance.next());
        let env = sim.env();
        let options = options(&self.chance);
        self.let_fail(&sim);
        let opening = Store::open(env, Path::new(FOLDER), options, Rc::new(Signal::new()));
        let (store, report) = match sim.run_until(opening).expect("it opens in time") {
            Ok(opened) => opened,
            Err(OpenError::Io { .. }) if self.faulty => {
                self.disk = sim.disk().crash_by_chance(&self.chance);
                return;
            }
            Err(error) => panic!("{error}"),
        };
        sim.faults().set_mix(FaultMix::default());
        self.check_recovered(&sim, &store, &report);
        self.let_fail(&sim);

        let mut waiting: Vec<(usize, Ticket)> = Vec::new();
        for _ in 0..self.chance.index(60) {
            match self.chance.index(10) {
                0..6 => {
                    let Some((step, ticket)) = self.append(&store) else { break };
                    self.steps.push(step);
                    waiting.push((self.steps.len(), ticket));
                }
                6..8 => sim.run_for(Duration::from_micros(self.chance.below(3000))),
                8 => sim.run_for(Duration::from_millis(self.chance.below(2500))),
                _ if self.faulty => {}
                _ => self.check_reads(&sim, &store, self.durable),
            }
            let durable = store.durable();
            waiting.retain(|(count, ticket)| {
                if *ticket <= durable {
                    self.durable = self.durable.max(*count);
                }
                *ticket > durable
            });
        }
        if self.chance.index(3) == 0 {
            let closed = sim.run_until(store.close()).expect("it closes in time");
            assert!(closed.is_ok() || self.faulty, "{closed:?}");
            if closed.is_ok() {
                self.durable = self.steps.len();
            }
            self.disk = sim.disk();
        } else {
            self.disk = sim.disk().crash_by_chance(&self.chance);
        }
    }

    /// In a faulty run, lets operations go wrong from now on, more often than not.
    fn let_fail(&self, sim: &Sim) {
        if self.faulty && self.chance.index(3) != 0 {
            sim.faults().set_mix(FaultMix::draw(&self.chance));
        }
    }

    /// Appends a batch; `None` if the log is poisoned, or waits for a disk that stalls.
    fn append(&self, store: &Store<SimEnv>) -> Option<(Step, Ticket)> {
        let chance = &self.chance;
        let mut step = Step::default();
        let mut batch = Batch::default();
        if chance.index(20) == 0 {
            let (topic, queue) = (chance.index(3), chance.index(4) as i32);
            let queue_ref = store.queue(TOPICS[topic], queue);
            store.forget_queue(&mut batch, queue_ref);
            step.forget = Some((topic, queue));
        }
        for _ in 0..[0, 1, 1, 2, 9][chance.index(5)] {
            let (topic, queue) = (chance.index(3), chance.index(4) as i32);
            let len = [10, 100, 1000, 5000][chance.index(4)];
            let body: Vec<u8> = (0..len).map(|_| chance.next() as u8).collect();
            // Whether the keys are found is what the check of a folder at rest looks for.
            let properties =
                format!("KEYS\x01all k{}\x02UNIQ_KEY\x01{}-{queue}\x02", body[0] % 5, self.steps.len());
            let draft = Draft {
                topic: TOPICS[topic],
                queue_id: queue,
                flag: 0,
                sys_flag: 0,
                born_timestamp_ms: 5,
                born_host: "10.0.0.1:5000".parse().expect("an address"),
                store_host: "10.0.0.2:10911".parse().expect("an address"),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: &body,
                properties: properties.as_bytes(),
            };
            if step.records.iter().map(|(_, _, body)| body.len() + 200).sum::<usize>() + len > 20_000 {
                break;
            }
            batch.record(store.queue(TOPICS[topic], queue), body[0].into(), &draft).expect("it is a record");
            step.records.push((topic, queue, body));
        }
        for _ in 0..[0, 0, 1, 3][chance.index(4)] {
            let key = vec![b'k', chance.index(5) as u8];
            if chance.index(3) == 0 {
                batch.delete(&key);
                step.facts.push((key, None));
            } else {
                let value = vec![chance.index(3) as u8; 1 + chance.index(2)];
                batch.put(&key, &value);
                step.facts.push((key, Some(value)));
            }
        }
        batch.put(b"seq", &(self.steps.len() as u64 + 1).to_be_bytes());
        batch.lazy = chance.index(4) == 0;
        let appended = match store.append(&mut batch) {
            Err(
                AppendError::Poisoned(_)
                | AppendError::Busy { .. }
                | AppendError::DiskFull
                | AppendError::DiskNearlyFull { .. },
            ) if self.faulty => {
                return None;
            }
            appended => appended.expect("there is room"),
        };
        assert_eq!(batch.places().count(), step.records.len());
        Some((step, appended.ticket))
    }

    fn check_recovered(&mut self, sim: &Sim, store: &Store<SimEnv>, report: &OpenReport) {
        let seq = store.fact(b"seq").map_or(0, |seq| u64::from_be_bytes((*seq).try_into().expect("8 bytes")));
        let kept = seq as usize;
        assert!(
            kept >= self.durable,
            "{kept} of {} batches kept, {} were durable",
            self.steps.len(),
            self.durable
        );
        self.steps.truncate(kept);
        self.durable = kept;
        let model = Model::after(&self.steps);
        let mut facts = BTreeMap::new();
        store.facts(&[1][..]..=&[0xff][..], |key, value| {
            facts.insert(key.to_vec(), value.to_vec());
        });
        assert_eq!(facts, model.facts);
        let records: usize = model.queues.values().map(|(_, bodies)| bodies.len()).sum();
        assert_eq!(report.records as usize, records);
        self.check_reads(sim, store, kept);
        // What recovery accepts, the check of a folder at rest finds whole; what was cut once may still lie there.
        let verified = verified(&sim.disk());
        assert_eq!((verified.findings, verified.records), (Vec::new(), report.records));
    }

    /// What consumers see: at least what the first `durable` steps appended, and nothing that was not appended.
    fn check_reads(&self, sim: &Sim, store: &Store<SimEnv>, durable: usize) {
        let (least, most) = (Model::after(&self.steps[..durable]), Model::after(&self.steps));
        for (&(topic, queue_id), (min, bodies)) in &most.queues {
            let queue = store.find_queue(TOPICS[topic], queue_id).expect("it is known");
            assert_eq!(store.appended_end(queue), QueueOffset(bodies.len() as u64));
            let (first, end) = store.bounds(queue);
            let least_end = least.queues.get(&(topic, queue_id)).map_or(0, |(_, bodies)| bodies.len() as u64);
            assert_eq!(first, QueueOffset(*min));
            assert!(
                end.0 <= bodies.len() as u64 && end.0 >= least_end,
                "durable records are shown, no others"
            );
            let mut from = first;
            let mut last_ms = 0;
            while from < end {
                let budget = ReadBudget { records_max: 7, bytes_max: 9000, entries_max: 1000 };
                let mut reading = store.read(queue, from, budget, |_| true);
                assert!(reading.records > 0, "a reader gets on");
                sim.run_until(store.fetch(&mut reading.pieces)).expect("in time").expect("it reads");
                let bytes = hot(&reading.pieces);
                // Who keeps them may have to wait for itself when it fetches more.
                drop(reading.pieces);
                assert_eq!(bytes.len(), reading.bytes);
                let mut rest = &bytes[..];
                while let Ok(record) = decode(rest) {
                    assert_eq!(record.body, bodies[from.0 as usize]);
                    assert_eq!((record.topic, record.queue_id), (TOPICS[topic], queue_id));
                    assert_eq!(record.queue_offset, from.0 as i64);
                    assert_eq!(store.store_time(queue, from), Some(record.store_timestamp_ms));
                    assert!(store.offset_at_or_after(queue, record.store_timestamp_ms) <= from);
                    assert!(store.offset_at_or_before(queue, record.store_timestamp_ms) >= Some(from));
                    assert!(last_ms <= record.store_timestamp_ms);
                    last_ms = record.store_timestamp_ms;
                    let located =
                        store.locate(PhysicalOffset(record.physical_offset as u64)).expect("it is there");
                    let mut pieces = vec![located];
                    sim.run_until(store.fetch(&mut pieces)).expect("in time").expect("it reads");
                    assert_eq!(hot(&pieces), record.bytes);
                    rest = &rest[record.bytes.len()..];
                    from.0 += 1;
                }
                assert!(rest.is_empty(), "pieces are whole records");
                assert_eq!(reading.next_offset, from);
            }
        }
    }
}

fn hot(pieces: &[Piece<SimEnv>]) -> Vec<u8> {
    let bytes = pieces.iter().map(|piece| match piece {
        Piece::Hot(slice) => slice.bytes(),
        Piece::Cold { .. } => panic!("it was fetched"),
    });
    bytes.collect::<Vec<_>>().concat()
}

fn verified(disk: &Disk) -> VerifyReport {
    let names = disk.list(Path::new(FOLDER)).expect("the folder is there");
    let open = |name: &str| -> std::io::Result<Box<dyn Source>> {
        Ok(Box::new(Cursor::new(disk.bytes(&Path::new(FOLDER).join(name))?)))
    };
    let mut report = verify_names(&names, &open).expect("reading from memory succeeds");
    let (sidecars, findings) =
        sidecar::verify::verify_names(&names, open).expect("reading from memory succeeds");
    report.sidecars = sidecars;
    report.findings.extend(findings);
    report
}

fn run(seed: u64, faulty: bool) {
    println!("RINGMQ_SEED={seed}");
    let chance = Random::new(seed);
    let mut run = Run { chance, disk: Disk::new(), steps: Vec::new(), durable: 0, faulty };
    for _ in 0..8 {
        run.life();
    }
}

fn run_seeds(faulty: bool, seeds: u64) {
    let replay = std::env::var("RINGMQ_SEED").ok().and_then(|seed| seed.parse().ok());
    match replay {
        Some(seed) => run(seed, faulty),
        None => (0..seeds).for_each(|seed| run(seed, faulty)),
    }
}

#[test]
fn a_store_is_what_its_durable_batches_made_it() {
    run_seeds(false, 40);
}

#[test]
fn so_it_is_whatever_fails() {
    run_seeds(true, 120);
}

/// Writes of three segments were in flight when one came back short. The start after it made a sidecar of a segment
/// whose end no frame called durable, and so left that end where a failed write had left it.
#[test]
fn a_start_makes_durable_what_it_makes_sidecars_of() {
    run(64, true);
}
