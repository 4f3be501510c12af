//! One run: drives process, network and clients from event to event, and judges.
//!
//! ```text
//!   storm: clients send and pull, things fail, the process dies and comes back ─▶ calm: no faults ─▶ last audit
//! ```
//!
//! Each life begins with an audit: the store, read from outside the broker, must agree with the whole history.

use std::fmt;
use std::time::Duration;

use ringmq_conn::sim::{Faults as NetFaults, SimNet};
use ringmq_engine::env::Random;
use ringmq_engine::env::sim::{Disk, FaultMix, Step};

use super::asker::Asker;
use super::consumer::Consumer;
use super::history::History;
use super::plan::{Death, Plan, STORM};
use super::process::{Audit, End, Process, address};
use super::producer::{Producer, QUEUES};

/// After the storm, what is under way gets this long to come to an end.
const CALM: Duration = Duration::from_secs(90);
/// A shard that does so much without time passing spins.
const STEPS_WITHOUT_TIME_MAX: u64 = 200_000;
/// Starts that may fail in a row while the disk fails.
const START_FAILURES_MAX: u32 = 20;
/// Between the end of a process and the start of the next.
const RESTART: Duration = Duration::from_millis(300);

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Everything that happened, summed up.
    pub hash: u64,
    /// Messages sent.
    pub sent: u64,
    /// Sends answered as stored.
    pub answered: u64,
    /// Records handed to consumers.
    pub seen: u64,
    /// Lives that ended in a crash.
    pub crashes: u64,
    /// Lives that ended as asked.
    pub stops: u64,
    /// Lives that ended because the log failed, or could not begin.
    pub failures: u64,
    /// Comparisons of the store with the history.
    pub audits: u64,
    /// Messages for later that the broker said it has.
    pub later: u64,
    /// Messages that the broker said it has taken back.
    pub given_back: u64,
}

/// A promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed that shows it again.
    pub seed: u64,
    /// Virtual time.
    pub at: Duration,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seed {} at {:?}: {}", self.seed, self.at, self.what)
    }
}

/// Runs a seed.
pub fn run(seed: u64) -> Result<Report, Failure> {
    let mut world = World::new(seed);
    let judged = world.live();
    let at = world.process.now();
    judged.map_err(|what| Failure { seed, at, what })?;
    Ok(world.report())
}

struct World {
    random: Random,
    plan: Plan,
    net: SimNet,
    process: Process,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    asker: Asker,
    history: History,
    report: Report,
    /// Whether the life under way has been compared with the history.
    audited: Audited,
    /// Per queue, the end of what was claimed when the audit began.
    claimed: Vec<i64>,
    start_failures: u32,
    stopping: bool,
    /// The last audit: nothing is under way any more.
    over: bool,
    next_cut: Duration,
    steps_without_time: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audited {
    NotYet,
    UnderWay,
    Done,
}

impl World {
    fn new(seed: u64) -> World {
        let random = Random::new(seed);
        let plan = Plan::draw(&random);
        let net = SimNet::new(random.next(), plan.net.clone());
        let start = (Disk::new(), random.next());
        let process = Process::begin(start, Duration::ZERO, &net, plan.options.clone(), plan.disk);
        let producer = |_| Producer::new(net.clone(), address(), random.fork(), plan.window);
        let consumer = |index| Consumer::new(net.clone(), address(), random.fork(), index, plan.calm);
        let producers = (0..plan.producers).map(producer).collect();
        let consumers = (0..plan.consumers).map(consumer).collect();
        let asker = Asker::new(net.clone(), address(), random.fork());
        let next_cut =
            if plan.calm { STORM } else { Duration::from_millis(random.below(STORM.as_millis() as u64)) };
        World {
            random,
            plan,
            net,
            process,
            producers,
            consumers,
            asker,
            history: History::default(),
            report: Report::default(),
            audited: Audited::NotYet,
            claimed: Vec::new(),
            start_failures: 0,
            stopping: false,
            over: false,
            next_cut,
            steps_without_time: 0,
        }
    }

    fn live(&mut self) -> Result<(), String> {
        while self.process.now() < STORM {
            let limit = self.next_event().min(STORM);
            self.step(limit)?;
            self.events()?;
        }
        self.net.set_faults(NetFaults::none());
        self.plan.disk = FaultMix::default();
        self.process.sim.faults().set_mix(FaultMix::default());
        let until = STORM + CALM;
        while self.process.now() < until {
            let limit = self.next_event().min(until);
            self.step(limit)?;
        }
        self.last_audit()
    }

    /// Runs one task, or lets time pass and everybody see what it brought.
    fn step(&mut self, limit: Duration) -> Result<(), String> {
        let step = self.process.sim.step_until(limit.saturating_sub(self.process.began));
        if step == Step::Ran {
            self.steps_without_time += 1;
            if self.steps_without_time > STEPS_WITHOUT_TIME_MAX {
                return Err("the shard spins".into());
            }
        } else {
            self.steps_without_time = 0;
            self.net.advance(self.process.now());
            self.act()?;
        }
        self.look()
    }

    fn act(&mut self) -> Result<(), String> {
        let now = self.process.now();
        let process = &self.process;
        for producer in &mut self.producers {
            producer.act(now, now < STORM, &mut self.history)?;
        }
        for consumer in &mut self.consumers {
            consumer.act(now, now < STORM, &mut self.history, &|| process.durable_end())?;
        }
        self.asker.act(now, &mut self.history)?;
        // What clients have just sent is on its way only now.
        self.net.advance(now);
        Ok(())
    }

    /// What is due at this moment.
    fn events(&mut self) -> Result<(), String> {
        let now = self.process.now();
        if now >= self.next_cut {
            self.next_cut = now + Duration::from_millis(1 + self.random.below(10_000));
            let victim = self.random.index(self.producers.len() + self.consumers.len());
            match self.producers.get_mut(victim) {
                Some(producer) => producer.cut(),
                None => self.consumers[victim - self.producers.len()].cut(),
            }
        }
        if self.plan.deaths.first().is_some_and(|(at, _)| *at <= now) {
            match self.plan.deaths.remove(0).1 {
                Death::Crash => {
                    self.report.crashes += 1;
                    self.restart();
                }
                Death::Stop => {
                    self.stopping = true;
                    self.process.ask_to_stop();
                }
            }
        }
        Ok(())
    }

    fn next_event(&self) -> Duration {
        let sends = self.process.now() < STORM;
        let clients = self.producers.iter().filter_map(|producer| producer.next_due(sends));
        let clients = clients.chain(self.consumers.iter().filter_map(Consumer::next_due));
        let clients = clients.chain(self.asker.next_due()).min();
        let death = self.plan.deaths.first().map(|(at, _)| *at);
        let cut = sends.then_some(self.next_cut);
        [clients, death, cut, self.net.next_due()].into_iter().flatten().min().unwrap_or(Duration::MAX)
    }

    /// Looks after the process: audits a new one, replaces one that has ended.
    fn look(&mut self) -> Result<(), String> {
        if self.audited == Audited::NotYet && self.process.is_open() {
            self.begin_audit();
        }
        if self.audited == Audited::UnderWay
            && let Some(audit) = self.process.take_audit()
        {
            self.audited = Audited::Done;
            self.start_failures = 0;
            self.judge(audit)?;
        }
        match self.process.ended() {
            None => Ok(()),
            Some(End::Stopped) if self.stopping => {
                self.report.stops += 1;
                self.restart();
                Ok(())
            }
            Some(End::Stopped) => Err("the shard stopped, and nobody had asked it to".into()),
            Some(End::Poisoned) if self.process.sim.faults().happened() > 0 => {
                self.report.failures += 1;
                self.restart();
                Ok(())
            }
            Some(End::NotStarted(error)) if self.process.sim.faults().happened() > 0 => {
                self.report.failures += 1;
                self.start_failures += 1;
                if self.start_failures > START_FAILURES_MAX {
                    // A disk on which nothing can start: the rest of the run is calm.
                    self.plan.disk = FaultMix::default();
                }
                if self.plan.disk == FaultMix::default() && self.start_failures > 2 * START_FAILURES_MAX {
                    return Err(format!("it does not start any more: {error}"));
                }
                self.restart();
                Ok(())
            }
            Some(end) => Err(format!("without a fault of the disk: {end:?}")),
        }
    }

    fn begin_audit(&mut self) {
        self.claimed = (0..QUEUES).map(|queue_id| self.history.end(queue_id)).collect();
        self.process.begin_audit();
        self.audited = Audited::UnderWay;
    }

    fn judge(&mut self, audit: Result<Audit, String>) -> Result<(), String> {
        let audit = match audit {
            Ok(audit) => audit,
            // A read that failed says nothing; the next life is audited too.
            Err(_) if self.process.sim.faults().happened() > 0 => return Ok(()),
            Err(error) => return Err(format!("an audit: {error}")),
        };
        self.report.audits += 1;
        for ((queue_id, (first, numbers)), end) in (0..).zip(&audit.queues).zip(&self.claimed) {
            self.history.agree(queue_id, (*first, numbers), *end)?;
        }
        // What clients were told while the store was being read is for the next audit.
        self.history.agree_on_given_back(&audit.given_back, self.over)?;
        if self.over {
            let found = audit.queues.iter().flat_map(|(_, numbers)| numbers).copied().collect();
            self.history.agree_on_later(&found)?;
        }
        Ok(())
    }

    /// The process is gone, with everything it had not flushed; the next one begins on what is left.
    fn restart(&mut self) {
        self.note_trace();
        let disk = self.process.sim.disk().crash_by_chance(&self.random);
        let began = self.process.now() + RESTART;
        let start = (disk, self.random.next());
        // The old one is dropped here, with its end of every connection, before the new one takes its first step.
        self.process = Process::begin(start, began, &self.net, self.plan.options.clone(), self.plan.disk);
        self.net.advance(began);
        self.audited = Audited::NotYet;
        self.stopping = false;
    }

    fn last_audit(&mut self) -> Result<(), String> {
        while self.audited != Audited::Done {
            self.step(Duration::MAX)?;
        }
        self.over = true;
        self.begin_audit();
        while self.audited != Audited::Done {
            self.step(self.next_event())?;
        }
        Ok(())
    }

    fn note_trace(&mut self) {
        let trace = self.process.sim.trace();
        trace.mix(self.report.hash);
        self.report.hash = trace.hash();
    }

    fn report(mut self) -> Report {
        let trace = self.process.sim.trace();
        let (sent, answered, seen) = self.history.counts();
        [self.net.trace(), sent, answered, seen].into_iter().for_each(|number| trace.mix(number));
        self.note_trace();
        let (later, given_back) = self.history.moved();
        Report { sent, answered, seen, later, given_back, ..self.report }
    }
}
