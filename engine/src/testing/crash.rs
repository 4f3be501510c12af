//! Crash enumeration: every disk that a crash could leave, at every write and every flush.
//!
//! ```text
//!   workload ──▶ a point at every change of the disk ──▶ every choice of what survives ──▶ lives
//!                disk with pending writes, batches         n units pending: all 2ⁿ up to a    open, check;
//!                appended, batches answered                 bound, else a sample               often crash again,
//!                                                                                              inside recovery or after
//! ```
//!
//! Everything of a workload follows from the seed and the workload's number: a violation is seen again by running
//! that one workload.
//!
//! Not here: what is demanded of a recovered store ([`super::model`]), what is watched meanwhile ([`super::life`]).

use std::fmt;
use std::ops::ControlFlow;

use super::life::{Life, Script};
use super::model::Model;
use super::workload::{Pace, Workload, draw_plan, draw_plan_with_timers};
use crate::env::Random;
use crate::env::sim::{Disk, Sim, Unit};
use crate::retention::Retention;
use crate::store::{FlushHow, StoreOptions};

/// How much is enumerated.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Decides everything.
    pub seed: u64,
    /// Recovered disks, at least.
    pub states: u64,
    /// Begins with this workload.
    pub first_workload: u64,
    /// Workloads, at most.
    pub workloads_max: u64,
    /// Up to so many pending units, all subsets are tried.
    pub exhaustive_units_max: usize,
    /// Beyond, so many.
    pub samples: usize,
    /// Of a thousand moments of a workload, so many: then the same number of states comes from more workloads.
    pub points_per_mille: u32,
    /// The log may hold few segments: others retire and are used again.
    pub retains: bool,
}

impl Scope {
    /// Enough for an ordinary test run.
    pub fn short(seed: u64, states: u64) -> Scope {
        let bounds = Scope::long(seed, states);
        Scope { exhaustive_units_max: 4, samples: 6, ..bounds }
    }

    /// The same for logs whose segments retire: they are longer, so fewer moments of each.
    pub fn short_retaining(seed: u64, states: u64) -> Scope {
        Scope { points_per_mille: 250, retains: true, ..Scope::short(seed, states) }
    }

    /// All subsets, of logs whose segments retire.
    pub fn long_retaining(seed: u64, states: u64) -> Scope {
        Scope { retains: true, ..Scope::long(seed, states) }
    }

    /// All subsets of up to ten pending units, 64 samples beyond.
    pub fn long(seed: u64, states: u64) -> Scope {
        Scope {
            seed,
            states,
            first_workload: 0,
            workloads_max: u64::MAX,
            exhaustive_units_max: 10,
            samples: 64,
            points_per_mille: 1000,
            retains: false,
        }
    }
}

/// What was visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Workloads run.
    pub workloads: u64,
    /// Moments at which a crash was put.
    pub points: u64,
    /// Points whose choices were all tried.
    pub exhaustive: u64,
    /// Largest number of units pending at a point.
    pub units_max: usize,
    /// Disks recovered and checked.
    pub states: u64,
    /// Of the first crashes, those that left a write in part.
    pub torn: u64,
    /// Recoveries that found fewer batches than had been appended.
    pub lost_some: u64,
    /// Recoveries that found more batches than had been answered.
    pub kept_more: u64,
    /// Recoveries that went through more than one segment.
    pub rolled: u64,
    /// Recoveries of a log whose first segments have retired.
    pub retired: u64,
    /// Recoveries that found a fact whose record had been carried forward.
    pub carried: u64,
    /// Crashes inside recovery.
    pub in_recovery: u64,
    /// Crashes of a store that had already recovered from one.
    pub after_recovery: u64,
}

/// A promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of the campaign.
    pub seed: u64,
    /// The number of the workload.
    pub workload: u64,
    /// Which of its states.
    pub state: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { seed, workload, state, what } = self;
        write!(formatter, "seed {seed}, workload {workload}, {state}: {what}")
    }
}

/// The randomness of one workload.
pub(super) fn workload_random(seed: u64, workload: u64) -> Random {
    Random::new(Random::new(seed).next().wrapping_add(workload)).fork()
}

/// Enumerates until enough states were visited; `progress` hears after every workload.
pub fn run(scope: &Scope, mut progress: impl FnMut(&Tally)) -> Result<Tally, Violation> {
    let mut tally = Tally::default();
    let mut number = scope.first_workload;
    while tally.states < scope.states && tally.workloads < scope.workloads_max {
        let violation = |(state, what)| Violation { seed: scope.seed, workload: number, state, what };
        enumerate(scope, number, &mut tally).map_err(violation)?;
        tally.workloads += 1;
        number += 1;
        progress(&tally);
    }
    Ok(tally)
}

/// One moment of a workload.
#[derive(Debug)]
pub(super) struct Point {
    pub disk: Disk,
    pub answered: usize,
    pub appended: usize,
}

fn enumerate(scope: &Scope, number: u64, tally: &mut Tally) -> Result<(), (String, String)> {
    let random = workload_random(scope.seed, number);
    let workload = if scope.retains { Workload::draw_retaining(&random) } else { Workload::draw(&random) };
    let (points, model) = record(&workload, &random).map_err(|what| ("without a crash".into(), what))?;
    for (index, point) in points.iter().enumerate() {
        if scope.points_per_mille < 1000 && !random.chance(scope.points_per_mille) {
            continue;
        }
        let units = point.disk.pending_units();
        // While nothing was appended, most of what is pending is the probe's, and the same each time.
        let scope = if point.appended > 0 { *scope } else { Scope::short(scope.seed, scope.states) };
        let choices = Choices::of(&units, &scope, &random);
        tally.points += 1;
        tally.exhaustive += u64::from(matches!(choices, Choices::All { .. }));
        tally.units_max = tally.units_max.max(units.len());
        for choice in 0..choices.len() {
            let kept = choices.kept(choice);
            tally.torn += u64::from(is_torn(&units, &kept));
            let disk = point.disk.crash(|unit| kept[unit]);
            let lives = Lives { options: &workload.options, random: &random, tally };
            lives.run(disk, model.first(point.appended), point.answered).map_err(|what| {
                (format!("point {index} of {}, choice {choice} of {}", points.len(), choices.len()), what)
            })?;
        }
    }
    Ok(())
}

/// Runs a workload to its end, keeping every moment that differs from the one before.
pub(super) fn record(workload: &Workload, random: &Random) -> Result<(Vec<Point>, Model), String> {
    let sim = Sim::new(random.next());
    let script = Script {
        options: workload.options.clone(),
        answered: 0,
        resends: (0, Pace::Next),
        plans: workload.plans.clone(),
        settles: true,
        closes: workload.closes,
    };
    let life = Life::begin(&sim, Model::default(), script);
    let mut points: Vec<Point> = Vec::new();
    let mut latest = None;
    let ended = life.run(&sim, |life| {
        let (answered, appended) = (life.answered(), life.appended());
        let moment = Some((sim.change_disk(|disk| disk.changes()), answered, appended));
        if moment != latest {
            latest = moment;
            points.push(Point { disk: sim.disk(), answered, appended });
        }
        ControlFlow::Continue(())
    });
    ended.map(|()| (points, life.model()))
}

/// Which units survive: all subsets, or a sample of them.
enum Choices {
    All { units: usize },
    Some(Vec<Vec<bool>>),
}

impl Choices {
    fn of(units: &[Unit], scope: &Scope, random: &Random) -> Choices {
        if units.len() <= scope.exhaustive_units_max {
            return Choices::All { units: units.len() };
        }
        let mut some = vec![vec![false; units.len()], vec![true; units.len()]];
        some.extend((2..scope.samples).map(|_| Unit::keep_by_chance(units, random)));
        Choices::Some(some)
    }

    fn len(&self) -> usize {
        match self {
            Choices::All { units } => 1 << units,
            Choices::Some(some) => some.len(),
        }
    }

    fn kept(&self, choice: usize) -> Vec<bool> {
        match self {
            Choices::All { units } => (0..*units).map(|unit| choice & (1 << unit) != 0).collect(),
            Choices::Some(some) => some[choice].clone(),
        }
    }
}

/// Whether some sectors of a write survive and others do not.
fn is_torn(units: &[Unit], kept: &[bool]) -> bool {
    let pairs = units.windows(2).zip(kept.windows(2));
    pairs.into_iter().any(|(units, kept)| {
        units[0] == units[1] && matches!(units[0], Unit::Sector { .. }) && kept[0] != kept[1]
    })
}

/// One or more lives on what a crash left; each but the last ends in another crash.
struct Lives<'a> {
    options: &'a StoreOptions,
    random: &'a Random,
    tally: &'a mut Tally,
}

impl Lives<'_> {
    fn run(mut self, mut disk: Disk, mut model: Model, mut answered: usize) -> Result<(), String> {
        let crashes = match self.random.below(20) {
            0..8 => 0,
            8..16 => 1,
            16..19 => 2,
            _ => 3,
        };
        for left in (0..=crashes).rev() {
            let sim = Sim::on(disk, self.random.next());
            if self.random.chance(500) {
                // Clocks go back: what is sent again may then get the very bytes it had before.
                sim.jump_wall_clock(-3_600_000);
            }
            let life = Life::begin(&sim, model.clone(), self.script(answered, left == 0));
            let mut fuse = Fuse::draw(self.random, left == 0);
            let outcome = life.run(&sim, |life| fuse.step(life));
            outcome.map_err(|what| format!("{what} (with {left} crashes to come)"))?;
            self.count(&life, &model, answered, left > 0);
            disk = sim.disk().crash_by_chance(self.random);
            (model, answered) = (life.model(), life.answered());
        }
        Ok(())
    }

    fn script(&self, answered: usize, last: bool) -> Script {
        let random = self.random;
        let flush = [FlushHow::Fdatasync, FlushHow::Dsync][random.index(2)];
        let goes_on = !last || random.chance(200);
        let fresh = if goes_on { random.below(5) } else { 0 };
        let pace = || [Pace::Next, Pace::Durable][random.index(2)];
        let retains = self.options.retention != Retention::default();
        let draw = if retains { draw_plan_with_timers } else { draw_plan };
        let resends = if goes_on { [0, 1, 2, usize::MAX][random.index(4)] } else { 0 };
        Script {
            options: StoreOptions { flush, ..self.options.clone() },
            answered,
            resends: (resends, pace()),
            plans: (0..fresh).map(|_| (draw(random, 1000 + random.below(1 << 20)), pace())).collect(),
            settles: true,
            closes: false,
        }
    }

    fn count(&mut self, life: &Life, model: &Model, answered: usize, crashes: bool) {
        let tally = &mut self.tally;
        tally.states += 1;
        match life.recovered() {
            None => tally.in_recovery += 1,
            Some(recovered) => {
                tally.lost_some += u64::from(recovered < model.len());
                tally.kept_more += u64::from(recovered > answered);
                tally.rolled +=
                    u64::from(model.first(recovered).last_ticket().0 > self.options.segment_bytes);
                tally.retired += u64::from(life.log_start() > 0);
                tally.carried += u64::from(life.is_any_carried());
                tally.after_recovery += u64::from(crashes);
            }
        }
    }
}

/// When a life is cut short.
enum Fuse {
    Never,
    /// After so many steps, mostly inside recovery.
    Steps(u64),
    /// So many steps after recovery.
    AfterRecovery(u64),
}

impl Fuse {
    fn draw(random: &Random, last: bool) -> Fuse {
        match random.below(5) {
            _ if last => Fuse::Never,
            0..2 => Fuse::Steps(1 + random.below(160)),
            2..4 => Fuse::AfterRecovery(1 + random.below(24)),
            _ => Fuse::AfterRecovery(1 + random.below(120)),
        }
    }

    fn step(&mut self, life: &Life) -> ControlFlow<()> {
        let left = match self {
            Fuse::Never => return ControlFlow::Continue(()),
            Fuse::AfterRecovery(_) if life.recovered().is_none() => return ControlFlow::Continue(()),
            Fuse::Steps(left) | Fuse::AfterRecovery(left) => left,
        };
        *left -= 1;
        if *left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
