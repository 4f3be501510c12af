//! Internal moves under one seed: a broker and its store, without network, that die again and again.
//!
//! ```text
//!   requests: for later, given back ─▶ Broker ─▶ Store ─▶ simulated disk ─ crash ─▶ the next life
//!                 │                        ▲ clock            │
//!                 └─ what was promised     └ reads            └─▶ watcher: what has come to the queues
//! ```
//!
//! What holds: each message that was accepted comes exactly once, whatever dies in between, and never before its time; one that
//! was not answered comes once or not at all. The whole-system simulation holds this too; this one has hardly anything else, so
//! that a hundred thousand seeds take minutes, and segments so small that waiting records are carried forward.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_engine::Store;
use ringmq_engine::env::sim::{Disk, Sim, SimEnv};
use ringmq_engine::env::{Env, Random, Signal, TaskClass};
use ringmq_engine::offset::QueueOffset;
use ringmq_engine::retention::Retention;
use ringmq_engine::store::{FlushHow, Piece, ReadBudget, ReadError, StoreOptions, Ticket};
use ringmq_server::broker::outcome::{Inspection, Now, OutItem, Outbox, ReadFor, RecordRead};
use ringmq_server::broker::waiting::rule::{DelayLevels, Waits};
use ringmq_server::broker::{Broker, Identity, Settings};
use ringmq_wire::code::RequestCode;
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::name::{dead_letter_topic, retry_topic};
use ringmq_wire::record::{Record, Records, properties};
use ringmq_wire::request::send::{SendBack, SendRequest};
use ringmq_wire::{HeadFormat, HeadScratch, OutHead, Value};

use super::producer::number_of;

const TOPIC: &str = "orders";
const GROUP: &str = "movers";
const QUEUES: i32 = 2;
const CLIENT: ConnId = ConnId { slot: 1, generation: 0 };
/// Things done in one life, at most.
const DEEDS_MAX: u64 = 60;
/// After the last death, for whatever is still to come.
const CALM: Duration = Duration::from_secs(40);
/// Between two looks whether a read has come back.
const FETCH_STEP: Duration = Duration::from_millis(1);
/// Looks, at most: longer than any disk here stalls.
const FETCH_STEPS_MAX: usize = 60_000;
/// Furthest that a timer is away.
const TIMER_MS_MAX: u64 = 4_000;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MovesReport {
    /// Everything that the disk and the tasks did, summed up.
    pub hash: u64,
    /// Messages for later that were accepted.
    pub later: u64,
    /// Messages given back that were accepted.
    pub given_back: u64,
    /// Records that came to their queues.
    pub came: u64,
    /// Lives that ended in a crash.
    pub crashes: u64,
}

/// Runs a seed; the error says what is wrong.
pub fn run_moves(seed: u64) -> Result<MovesReport, String> {
    let mut world = World::new(seed);
    world.live().map_err(|what| format!("seed {seed}, life {}: {what}", world.lives))?;
    Ok(world.report())
}

/// How often something was tried, accepted, and came.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    tried: u64,
    accepted: u64,
    came: u64,
}

struct World {
    random: Random,
    options: StoreOptions,
    lives: u64,
    report: MovesReport,
    next_number: u64,
    later: BTreeMap<u64, Count>,
    given_back: BTreeMap<u64, Count>,
    /// Messages that were seen, and where: to be given back.
    seen: Vec<(u64, i64)>,
    /// Of the queues that are watched, the next offset.
    watched: BTreeMap<(String, i32), u64>,
    /// A queue began later than it was watched: records retired unseen.
    unseen: bool,
    /// Global time at which this life began.
    began: Duration,
}

/// What an answer will say.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Later(u64),
    GivenBack(u64),
}

/// A read that has ended: what rules asked for, or what a call waits for.
enum DoneRead {
    Rule(ReadFor, Result<Vec<u8>, ReadError>),
    Call(Inspection<SimEnv>, Result<(), ReadError>),
}

struct Life {
    sim: Sim,
    store: Store<SimEnv>,
    broker: Broker<SimEnv>,
    out: Outbox<SimEnv>,
    asked: BTreeMap<i32, Asked>,
    /// Answers that wait until they are durable.
    held: Vec<(Ticket, Asked)>,
    done: Rc<RefCell<Vec<DoneRead>>>,
    next_opaque: i32,
}

impl World {
    fn new(seed: u64) -> World {
        let random = Random::new(seed);
        let options = StoreOptions {
            segment_bytes: (32 * 1024) << random.below(3),
            writes_in_flight_max: 1 + random.index(4),
            tail_cache_bytes: [0, 16 * 1024, 1 << 20][random.index(3)],
            cold_bytes_max: [0, 16 * 1024, 1 << 20][random.index(3)],
            appended_bytes_max: [16 * 1024, 1 << 20][random.index(2)],
            flush: [FlushHow::Fdatasync, FlushHow::Dsync][random.index(2)],
            retention: Retention {
                bytes_max: [None, Some(128 * 1024)][random.index(2)],
                ..Retention::default()
            },
            ..StoreOptions::default()
        };
        World {
            random,
            options,
            lives: 0,
            report: MovesReport::default(),
            next_number: 0,
            later: BTreeMap::new(),
            given_back: BTreeMap::new(),
            seen: Vec::new(),
            watched: BTreeMap::new(),
            unseen: false,
            began: Duration::ZERO,
        }
    }

    fn live(&mut self) -> Result<(), String> {
        let mut disk = Disk::new();
        for _ in 0..1 + self.random.below(4) {
            let mut life = self.begin(disk)?;
            for _ in 0..self.random.below(DEEDS_MAX) {
                self.deed(&mut life)?;
            }
            disk = self.die(life)?;
        }
        let mut life = self.begin(disk)?;
        for _ in 0..self.random.below(DEEDS_MAX) {
            self.deed(&mut life)?;
        }
        self.pass(&mut life, CALM)?;
        for (what, counts) in [("for later", &self.later), ("given back", &self.given_back)] {
            if let Some((number, count)) = counts.iter().find(|(_, count)| count.came < count.accepted)
                && !self.unseen
            {
                return Err(format!("message {number}, {what}, was lost: {count:?}"));
            }
        }
        self.die(life).map(drop)
    }

    fn begin(&mut self, disk: Disk) -> Result<Life, String> {
        self.lives += 1;
        let sim = Sim::on(disk, self.random.next());
        sim.jump_wall_clock(i64::try_from(self.began.as_millis()).expect("a simulation is short"));
        let opening =
            Store::open(sim.env(), Path::new("/data"), self.options.clone(), Rc::new(Signal::new()));
        let opened = sim.run_until(opening).map_err(|stuck| format!("opening: {stuck:?}"))?;
        let (store, _) = opened.map_err(|error| error.to_string())?;
        let identity = Identity {
            cluster: "simulation".to_owned(),
            broker_name: "simulation-0".to_owned(),
            store_host: super::process::address(),
            region: "DefaultRegion".to_owned(),
            version: "simulated".to_owned(),
            nonce: 1,
        };
        let waits = Waits { levels: DelayLevels::parse("1s 2s 3s").expect("levels"), ..Waits::default() };
        let settings = Settings { default_topic_queues: QUEUES as u32, waits, ..Settings::default() };
        let now = now(&sim);
        let mut broker =
            Broker::open(store.clone(), identity, settings, now).map_err(|error| error.to_string())?;
        broker.opened(CLIENT, "10.0.0.1:5000".parse().expect("an address"), now);
        Ok(Life {
            sim,
            store,
            broker,
            out: Outbox::default(),
            asked: BTreeMap::new(),
            held: Vec::new(),
            done: Rc::default(),
            next_opaque: 1,
        })
    }

    /// Power fails, or it is stopped.
    fn die(&mut self, life: Life) -> Result<Disk, String> {
        let Life { sim, store, broker, out, .. } = life;
        drop((broker, out));
        let crashes = self.random.chance(800);
        if crashes {
            self.report.crashes += 1;
        } else {
            let closed = sim.run_until(store.close()).map_err(|stuck| format!("closing: {stuck:?}"))?;
            closed.map_err(|error| error.to_string())?;
        }
        drop(store);
        self.began += sim.now() + Duration::from_millis(self.random.below(2_000));
        let trace = sim.trace();
        trace.mix(self.report.hash);
        self.report.hash = trace.hash();
        Ok(if crashes { sim.disk().crash_by_chance(&self.random) } else { sim.disk() })
    }

    fn deed(&mut self, life: &mut Life) -> Result<(), String> {
        match self.random.below(10) {
            0..5 => self.send_later(life),
            5 if !self.seen.is_empty() => self.give_back(life),
            6 => return self.pass(life, Duration::from_millis(self.random.below(1_500))),
            _ => return self.pass(life, Duration::from_micros(self.random.below(3_000))),
        }
        self.turn(life)
    }

    fn send_later(&mut self, life: &mut Life) {
        let number = self.next_number;
        self.next_number += 1;
        let asks = match self.random.index(2) {
            0 => format!("DELAY\u{1}{}\u{2}", 1 + self.random.below(3)),
            _ => format!("TIMER_DELAY_MS\u{1}{}\u{2}", 1 + self.random.below(TIMER_MS_MAX)),
        };
        let mut body = number.to_be_bytes().to_vec();
        body.resize(8 + self.random.index(2_000), number as u8);
        let request = SendRequest {
            producer_group: "producers",
            topic: TOPIC,
            default_topic: "TBW102",
            default_topic_queues: QUEUES,
            queue_id: self.random.below(QUEUES as u64) as i32,
            sys_flag: 0,
            born_timestamp_ms: 1,
            flag: 0,
            properties: &asks,
            reconsume_times: 0,
            unit_mode: false,
            reconsume_times_max: None,
            batch: false,
        };
        self.later.entry(number).or_default().tried += 1;
        let code = RequestCode::SendMessageV2.number();
        life.ask(code, &request.fields(code), &body, Asked::Later(number));
    }

    fn give_back(&mut self, life: &mut Life) {
        let (number, physical_offset) = self.seen[self.random.index(self.seen.len())];
        let request = SendBack {
            physical_offset,
            group: GROUP,
            delay_level: [1, 2, -1][self.random.index(3)],
            origin_message_id: None,
            origin_topic: None,
            unit_mode: false,
            reconsume_times_max: None,
        };
        self.given_back.entry(number).or_default().tried += 1;
        let code = RequestCode::ConsumerSendMessageBack.number();
        life.ask(code, &request.fields(), &[], Asked::GivenBack(number));
    }

    /// Time passes; the broker is told whenever something is due, as the loop does it.
    fn pass(&mut self, life: &mut Life, duration: Duration) -> Result<(), String> {
        let end = life.sim.now() + duration;
        loop {
            let due = [life.broker.next_due(), life.broker.next_move()].into_iter().flatten().min();
            // The disk moves on its own, which wakes the loop too.
            let step_us = if duration == CALM { 300_000 } else { 20_000 };
            let step = Duration::from_micros(200 + self.random.below(step_us));
            let at = due
                .unwrap_or(end)
                .max(life.sim.now() + Duration::from_micros(50))
                .min(life.sim.now() + step)
                .min(end);
            life.sim.run_for(at.saturating_sub(life.sim.now()));
            self.turn(life)?;
            if life.sim.now() >= end {
                return Ok(());
            }
        }
    }

    /// What the shard loop does without waiting.
    fn turn(&mut self, life: &mut Life) -> Result<(), String> {
        if let Some(reason) = life.store.poisoned() {
            return Err(format!("the log is poisoned: {reason}"));
        }
        life.take_done();
        life.broker.tick(now(&life.sim), &mut life.out);
        life.start_reads();
        life.collect()?;
        let durable = life.store.durable();
        let (answered, held) =
            std::mem::take(&mut life.held).into_iter().partition(|(ticket, _)| *ticket <= durable);
        life.held = held;
        for (_, asked) in answered {
            match asked {
                Asked::Later(number) => self.later.entry(number).or_default().accepted += 1,
                Asked::GivenBack(number) => self.given_back.entry(number).or_default().accepted += 1,
            }
        }
        self.watch(life)
    }

    /// Looks at what has come to the queues.
    fn watch(&mut self, life: &mut Life) -> Result<(), String> {
        let topics = (0..QUEUES).map(|queue_id| (TOPIC.to_owned(), queue_id));
        for (topic, queue_id) in topics.chain([(retry_topic(GROUP), 0), (dead_letter_topic(GROUP), 0)]) {
            let Some(queue) = life.store.find_queue(&topic, queue_id) else { continue };
            let (first, end) = life.store.bounds(queue);
            let next = self.watched.entry((topic.clone(), queue_id)).or_default();
            if *next < first.0 {
                (*next, self.unseen) = (first.0, true);
            }
            while *next < end.0 {
                let budget = ReadBudget { records_max: 100, bytes_max: 1 << 20, entries_max: 100 };
                let mut reading = life.store.read(queue, QueueOffset(*next), budget, |_| true);
                let pieces = life.fetch(std::mem::take(&mut reading.pieces))?;
                let mut bytes = Vec::new();
                for piece in &pieces {
                    let Piece::Hot(slice) = piece else { return Err("a fetched piece is still cold".into()) };
                    bytes.extend_from_slice(slice.bytes());
                }
                for record in Records::new(&bytes) {
                    let record = record.map_err(|error| error.to_string())?;
                    let number = number_of(record.body).ok_or("a body is not whole")?;
                    let counts = if topic == TOPIC { &mut self.later } else { &mut self.given_back };
                    let count = counts.entry(number).or_default();
                    count.came += 1;
                    self.report.came += 1;
                    if count.came > count.tried {
                        return Err(format!("message {number} was doubled in {topic}: {count:?}"));
                    }
                    is_not_early(&record)?;
                    if topic == TOPIC {
                        self.seen.push((number, record.physical_offset));
                    }
                    *next = record.queue_offset as u64 + 1;
                }
            }
        }
        Ok(())
    }

    fn report(self) -> MovesReport {
        let accepted = |counts: &BTreeMap<u64, Count>| counts.values().map(|count| count.accepted).sum();
        MovesReport { later: accepted(&self.later), given_back: accepted(&self.given_back), ..self.report }
    }
}

impl Life {
    fn ask(&mut self, code: i32, fields: &[(&str, Value<'_>)], body: &[u8], asked: Asked) {
        let opaque = self.next_opaque;
        self.next_opaque += 1;
        self.asked.insert(opaque, asked);
        let head = OutHead { format: HeadFormat::Json, code, opaque, flag: 0, remark: None, fields };
        let mut bytes = Vec::new();
        head.encode(&mut bytes, body.len());
        bytes.extend_from_slice(body);
        let Ok(Decoded::Frame(frame, _)) = frame::decode(&bytes) else { panic!("our own frame") };
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(frame.format, frame.head).expect("our own header");
        let now = now(&self.sim);
        self.broker.handle(CLIENT, frame.format, &head, frame.body, now, &mut self.out);
        self.start_reads();
    }

    /// Hands what was read for rules back to them.
    fn take_done(&mut self) {
        let now = now(&self.sim);
        let done = std::mem::take(&mut *self.done.borrow_mut());
        for done in done {
            match done {
                DoneRead::Rule(what, read) => self.broker.read_done(what, read, now, &mut self.out),
                DoneRead::Call(inspection, read) => {
                    self.broker.inspected(inspection, read, now, &mut self.out)
                }
            }
        }
    }

    /// Gets pieces. What was read for a rule holds memory until the rule has it, and this read may need that memory: so
    /// rules go on meanwhile, as they do in the shard loop.
    fn fetch(&mut self, mut pieces: Vec<Piece<SimEnv>>) -> Result<Vec<Piece<SimEnv>>, String> {
        let fetched = Rc::new(RefCell::new(None));
        let (store, put) = (self.store.clone(), fetched.clone());
        self.sim.env().spawn(TaskClass::Read, async move {
            let read = store.fetch(&mut pieces).await;
            put.replace(Some(read.map(|()| pieces)));
        });
        for _ in 0..FETCH_STEPS_MAX {
            if let Some(read) = fetched.take() {
                return read.map_err(|error| error.to_string());
            }
            self.sim.run_for(FETCH_STEP);
            self.take_done();
            self.start_reads();
        }
        Err("a read does not come back".into())
    }

    /// Reads what rules asked for, beside everything else.
    fn start_reads(&mut self) {
        for RecordRead { what, mut pieces } in self.out.reads.drain(..) {
            let (store, done) = (self.store.clone(), self.done.clone());
            self.sim.env().spawn(TaskClass::Read, async move {
                let read = store.fetch(&mut pieces).await.map(|()| Piece::gather(&pieces).into_owned());
                done.borrow_mut().push(DoneRead::Rule(what, read));
            });
        }
        for mut inspection in self.out.inspections.drain(..) {
            let (store, done) = (self.store.clone(), self.done.clone());
            self.sim.env().spawn(TaskClass::Read, async move {
                let read = store.fetch(&mut inspection.pieces).await;
                done.borrow_mut().push(DoneRead::Call(inspection, read));
            });
        }
    }

    /// Takes the answers that are in the outbox.
    fn collect(&mut self) -> Result<(), String> {
        let Outbox { bytes, items, .. } = &mut self.out;
        for OutItem { start, len, wait, .. } in items.drain(..) {
            let Ok(Decoded::Frame(frame, _)) = frame::decode(&bytes[start..start + len]) else {
                return Err("an answer is no frame".into());
            };
            let mut scratch = HeadScratch::default();
            let head = scratch.decode(frame.format, frame.head).map_err(|error| error.to_string())?;
            let Some(asked) =
                self.asked.remove(&head.opaque).filter(|_| head.is_response() && head.code == 0)
            else {
                continue;
            };
            self.held.push((wait.unwrap_or_default(), asked));
        }
        bytes.clear();
        Ok(())
    }
}

fn is_not_early(record: &Record<'_>) -> Result<(), String> {
    let out =
        properties::get(record.properties, properties::TIMER_OUT_MS).and_then(|out| out.parse::<i64>().ok());
    match out.filter(|out| record.store_timestamp_ms <= *out) {
        Some(out) => Err(format!("a timer of {out} came at {}", record.store_timestamp_ms)),
        None => Ok(()),
    }
}

fn now(sim: &Sim) -> Now {
    Now { wall_ms: sim.env().wall_ms(), monotonic: sim.env().monotonic() }
}
