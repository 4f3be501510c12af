//! Each single operation of a workload fails, in each way; then power fails too.
//!
//! | the operation that fails | demanded |
//! | --- | --- |
//! | while a new store is opened, or an old one recovered | the open is refused, or succeeds all the same |
//! | later | batches are answered or the log is poisoned; a poisoned log accepts and answers nothing more |
//!
//! In every case the next open, without a fault, finds all that was answered ([`super::model`]).

use std::ops::ControlFlow;
use std::time::Duration;

use super::crash::{Violation, record, workload_random};
use super::life::{Life, Script};
use super::model::Model;
use super::workload::{Pace, Workload};
use crate::env::Random;
use crate::env::sim::{Disk, Fault, Sim};

/// The ways in which an operation fails.
const FAULTS: [Fault; 4] =
    [Fault::Error, Fault::NoSpace, Fault::ShortWrite, Fault::Stall(Duration::from_secs(3))];

/// What was visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Workloads run.
    pub workloads: u64,
    /// Lives in which one operation failed.
    pub faults: u64,
    /// Of these, opens that were refused.
    pub refused: u64,
    /// Of these, logs that were poisoned.
    pub poisoned: u64,
}

/// Runs so many workloads.
pub fn run(seed: u64, workloads: u64, mut progress: impl FnMut(&Tally)) -> Result<Tally, Violation> {
    let mut tally = Tally::default();
    for number in 0..workloads {
        let violation = |(state, what)| Violation { seed, workload: number, state, what };
        fail_everything(seed, number, &mut tally).map_err(violation)?;
        tally.workloads += 1;
        progress(&tally);
    }
    Ok(tally)
}

fn fail_everything(seed: u64, number: u64, tally: &mut Tally) -> Result<(), (String, String)> {
    let random = workload_random(seed, number);
    let workload = Workload::draw(&random);
    let without = |what| ("without a fault".to_string(), what);
    let (points, model) = record(&workload, &random).map_err(without)?;

    // A new store, every operation to its end; then an old one, every operation of its recovery.
    let crashed = &points[random.index(points.len())];
    let disk = crashed.disk.crash_by_chance(&random);
    let old = Start { disk, model: model.first(crashed.appended), answered: crashed.answered };
    let new = Start { disk: Disk::new(), model: Model::default(), answered: 0 };
    for (name, start, whole) in [("a new store", new, true), ("a recovery", old, false)] {
        let script = script(&workload, start.answered, whole);
        let life_seed = random.next();
        let operations = start.operations(&script, life_seed, whole).map_err(without)?;
        for index in 0..operations {
            for fault in FAULTS {
                start
                    .fail(&script, life_seed, (index, fault), &random, tally)
                    .map_err(|what| (format!("{fault:?} at operation {index} of {name}"), what))?;
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
        (index, fault): (u64, Fault),
        random: &Random,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let sim = Sim::on(self.disk.clone(), seed);
        sim.faults().plan(index, fault);
        let life = Life::begin(&sim, self.model.clone(), script.clone());
        let ended = life.run(&sim, |_| ControlFlow::Continue(()));
        tally.faults += 1;
        tally.poisoned += u64::from(life.is_poisoned());
        match life.refused() {
            Some(_) => tally.refused += 1,
            None => ended?,
        }
        let disk = sim.disk().crash_by_chance(random);
        let next = Sim::on(disk, random.next());
        let recovery =
            Script { answered: life.answered(), plans: Vec::new(), closes: false, ..script.clone() };
        let life = Life::begin(&next, life.model(), recovery);
        life.run(&next, |_| ControlFlow::Continue(())).map_err(|what| format!("afterwards: {what}"))
    }
}
