//! Each single operation of a workload fails, in each way; then power fails too.
//!
//! | the operation that fails | demanded |
//! | --- | --- |
//! | while a new store is opened, or an old one recovered | the open is refused, or succeeds all the same |
//! | later | batches are answered or the log is poisoned; a poisoned log accepts and answers nothing more |
//! | a read, once the store is open | the record is not served, or it goes on |
//! | a flush of the log, once the store is open | nothing is answered any more, unless it only said that the disk is full |
//! | any, and it only took long | the store goes on |
//!
//! In every case the next open, without a fault, finds all that was answered ([`super::model`]).
//!
//! The lives that are gone through: a new store from its first operation to its last; an old one through its recovery;
//! and an old one that goes on after its recovery.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use super::crash::{Violation, record, workload_random};
use super::life::{Life, Script};
use super::model::Model;
use super::workload::{Pace, Workload};
use crate::env::Random;
use crate::env::sim::{Disk, Fault, OpKind, Sim};
use crate::flush_probe::PROBE_FILE;

/// The ways in which an operation fails.
pub const FAULTS: [Fault; 4] =
    [Fault::Error, Fault::NoSpace, Fault::ShortWrite, Fault::Stall(Duration::from_secs(3))];

/// What was visited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Workloads run.
    pub workloads: u64,
    /// Batches answered, in all lives.
    pub answered: u64,
    /// How the lives went, by what failed.
    pub outcomes: BTreeMap<OpKind, Outcomes>,
    /// The same for all operations on the file of the flush probe, which nobody misses: most operations of a short life
    /// are its own.
    pub of_the_probe: Outcomes,
}

/// How lives went in which one operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Lives, by [`FAULTS`].
    pub by_fault: [u64; FAULTS.len()],
    /// Opens that were refused.
    pub refused: u64,
    /// Records that were not served.
    pub unread: u64,
    /// Logs that were poisoned.
    pub poisoned: u64,
    /// Stores that went on.
    pub went_on: u64,
}

impl Outcomes {
    /// All lives.
    pub fn lives(&self) -> u64 {
        self.by_fault.iter().sum()
    }
}

impl Tally {
    /// Over all kinds of operations; those of the flush probe are not counted.
    pub fn total(&self) -> Outcomes {
        let mut total = Outcomes::default();
        for outcomes in self.outcomes.values() {
            total.by_fault.iter_mut().zip(outcomes.by_fault).for_each(|(sum, count)| *sum += count);
            total.refused += outcomes.refused;
            total.unread += outcomes.unread;
            total.poisoned += outcomes.poisoned;
            total.went_on += outcomes.went_on;
        }
        total
    }
}

/// How much is run.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Decides everything.
    pub seed: u64,
    /// Lives, at least.
    pub lives: u64,
    /// Begins with this workload.
    pub first_workload: u64,
    /// Workloads, at most.
    pub workloads_max: u64,
}

impl Scope {
    /// As many workloads as it takes.
    pub fn lives(seed: u64, lives: u64) -> Scope {
        Scope { seed, lives, first_workload: 0, workloads_max: u64::MAX }
    }

    /// So many workloads.
    pub fn workloads(seed: u64, workloads: u64) -> Scope {
        Scope { seed, lives: u64::MAX, first_workload: 0, workloads_max: workloads }
    }
}

/// Runs workloads, each to its end; `progress` hears after every one.
pub fn run(scope: &Scope, mut progress: impl FnMut(&Tally)) -> Result<Tally, Violation> {
    let mut tally = Tally::default();
    let mut number = scope.first_workload;
    while tally.workloads < scope.workloads_max && tally.total().lives() < scope.lives {
        let violation = |(state, what)| Violation { seed: scope.seed, workload: number, state, what };
        fail_everything(scope.seed, number, &mut tally).map_err(violation)?;
        tally.workloads += 1;
        number += 1;
        progress(&tally);
    }
    Ok(tally)
}

fn fail_everything(seed: u64, number: u64, tally: &mut Tally) -> Result<(), (String, String)> {
    let random = workload_random(seed, number);
    // Every third one's segments retire.
    let retains = number % 3 == 2;
    let workload = if retains { Workload::draw_retaining(&random) } else { Workload::draw(&random) };
    let without = |what| ("without a fault".to_string(), what);
    let (points, model) = record(&workload, &random).map_err(without)?;

    let crashed = &points[random.index(points.len())];
    let disk = crashed.disk.crash_by_chance(&random);
    let old = Start { disk, model: model.first(crashed.appended), answered: crashed.answered };
    let new = Start { disk: Disk::new(), model: Model::default(), answered: 0 };
    let lives = [("a new store", &new, true), ("a recovery", &old, false), ("a recovered store", &old, true)];
    for (name, start, whole) in lives {
        let script = script(&workload, start.answered, whole);
        let life_seed = random.next();
        let operations = start.operations(&script, life_seed, whole).map_err(without)?;
        for index in 0..operations {
            for (number, fault) in FAULTS.into_iter().enumerate() {
                let failed = start.fail(&script, life_seed, (index, number), &random, tally);
                failed.map_err(|what| (format!("{fault:?} at operation {index} of {name}"), what))?;
            }
        }
    }
    Ok(())
}

fn script(workload: &Workload, answered: usize, whole: bool) -> Script {
    Script {
        options: workload.options.clone(),
        answered,
        resends: (0, Pace::Next),
        plans: if whole { workload.plans.clone() } else { Vec::new() },
        settles: true,
        closes: whole && workload.closes,
    }
}

/// What a life begins with.
struct Start {
    disk: Disk,
    model: Model,
    answered: usize,
}

impl Start {
    /// How many operations the life has when nothing fails: all, or those until it is open.
    fn operations(&self, script: &Script, seed: u64, whole: bool) -> Result<u64, String> {
        let sim = Sim::on(self.disk.clone(), seed);
        let life = Life::begin(&sim, self.model.clone(), script.clone());
        let mut until_open = 0;
        life.run(&sim, |life| {
            if life.is_opened() && !whole {
                // The step that opened it has perhaps begun the first read of the check: not counted.
                return ControlFlow::Break(());
            }
            until_open = sim.trace().count();
            ControlFlow::Continue(())
        })?;
        Ok(until_open)
    }

    fn fail(
        &self,
        script: &Script,
        seed: u64,
        (index, fault): (u64, usize),
        random: &Random,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let sim = Sim::on(self.disk.clone(), seed);
        sim.faults().plan(index, FAULTS[fault]);
        let life = Life::begin(&sim, self.model.clone(), script.clone());
        let mut answered_when_failed = None;
        let ended = life.run(&sim, |life| {
            if sim.faults().flushes_failed() > 0 && answered_when_failed.is_none() {
                answered_when_failed = Some(life.answered());
            }
            ControlFlow::Continue(())
        });
        let Some((kind, path)) = sim.faults().latest() else {
            return Err("the operation that is to fail never comes: the life is not what it was".into());
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_probe = name == PROBE_FILE;
        // What failed of it is made again from the log, by this life or the next.
        let is_sidecar = name.contains(".side");
        let outcomes =
            if is_probe { &mut tally.of_the_probe } else { tally.outcomes.entry(kind).or_default() };
        outcomes.by_fault[fault] += 1;
        if life.refused().is_some() {
            outcomes.refused += 1;
        } else if life.unread().is_some() && !matches!(FAULTS[fault], Fault::Stall(_)) {
            outcomes.unread += 1;
        } else {
            ended?;
            *(if life.is_poisoned() { &mut outcomes.poisoned } else { &mut outcomes.went_on }) += 1;
        }
        tally.answered += life.answered() as u64;
        let stopped = life.refused().is_some() || life.is_poisoned();
        match FAULTS[fault] {
            Fault::Stall(_) if stopped => {
                return Err(format!("{kind:?} only took long, and it stopped: {:?}", life.refused()));
            }
            // A disk that is full when space is prepared becomes free again.
            Fault::NoSpace if !stopped => {}
            _ if kind == OpKind::Flush && !is_probe && !is_sidecar => {
                if let Some(before) = answered_when_failed {
                    flush_failed(&life, stopped, before)?;
                }
            }
            _ => {}
        }

        let disk = sim.disk().crash_by_chance(random);
        let next = Sim::on(disk, random.next());
        let recovery =
            Script { answered: life.answered(), plans: Vec::new(), closes: false, ..script.clone() };
        let life = Life::begin(&next, life.model(), recovery);
        life.run(&next, |_| ControlFlow::Continue(())).map_err(|what| format!("afterwards: {what}"))
    }
}

/// What a flush that failed demands of the life in which it did.
fn flush_failed(life: &Life, stopped: bool, answered_before: usize) -> Result<(), String> {
    if !stopped {
        return Err("a flush failed, and the store went on".into());
    }
    let late = life.answered().saturating_sub(answered_before);
    if late > 0 {
        return Err(format!("{late} batches were answered after a flush had failed"));
    }
    Ok(())
}
