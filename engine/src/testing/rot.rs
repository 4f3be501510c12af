//! A bit is flipped, a file lost, or a sidecar of another history put in the place of one, in a log that has come to rest:
//! nothing answered may then be missing without a word.
//!
//! A log at rest ends with a frame that notes its watermark, so every batch lies below a watermark that is on
//! the disk. The damage is *refused* (the open names the file), *not read* (a record of that file is not served), or
//! *harmless*: every batch is found, byte for byte (it hit what nobody needs, or a sidecar, which is made again).
//!
//! In every case the files are looked at afterwards: refusing changes nothing but sidecars, and no block of a log is
//! changed or taken away but the one that was hurt. Where all was found, what follows the damage may be written anew: it
//! was a seal or a note, which hold nothing.
//!
//! Files are taken as they are found: of each kind in the folder, whatever it is for, some are hurt. Every third log is one
//! whose first segments have retired; while it is hurt, nothing more retires.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::crash::{Violation, workload_random};
use super::life::{Life, Script};
use super::model::Model;
use super::workload::{FOLDER, Pace, Workload};
use crate::env::sim::{Disk, Sim};
use crate::env::{BLOCK_BYTES, LOCK_FILE, Random};
use crate::flush_probe::PROBE_FILE;
use crate::log::segment;
use crate::retention::Retention;
use crate::store::StoreOptions;

/// Longer than an idle log waits before it notes its watermark.
const REST: Duration = Duration::from_secs(10);
/// So many of a thousand damages take a file away.
const LOSSES_PER_MILLE: u32 = 50;
/// Of a sidecar, so many put another history's in its place.
const FOREIGN_PER_MILLE: u32 = 100;

/// How much is run.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Decides everything.
    pub seed: u64,
    /// Flipped bits, at least.
    pub flips: u64,
    /// Damages to what one workload left.
    pub damages_per_workload: u64,
    /// Begins with this workload.
    pub first_workload: u64,
    /// Workloads, at most.
    pub workloads_max: u64,
}

impl Scope {
    /// As many workloads as it takes.
    pub fn flips(seed: u64, flips: u64) -> Scope {
        Scope { seed, flips, damages_per_workload: 50, first_workload: 0, workloads_max: u64::MAX }
    }

    /// So many workloads.
    pub fn workloads(seed: u64, workloads: u64) -> Scope {
        Scope { flips: u64::MAX, workloads_max: workloads, ..Scope::flips(seed, 0) }
    }
}

/// What was visited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Workloads run.
    pub workloads: u64,
    /// Of these, those whose first segments had retired when they were hurt.
    pub retired: u64,
    /// Flipped bits, by kind of file: its name without digits.
    pub flips: BTreeMap<String, Outcomes>,
    /// Lost files, by kind.
    pub losses: BTreeMap<String, Outcomes>,
    /// Files of another history, by kind.
    pub foreign: BTreeMap<String, Outcomes>,
}

/// What became of damages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// The store did not open.
    pub refused: u64,
    /// A record was not served.
    pub unread: u64,
    /// Everything was found.
    pub harmless: u64,
}

impl Outcomes {
    /// All damages.
    pub fn count(&self) -> u64 {
        self.refused + self.unread + self.harmless
    }
}

impl Tally {
    /// Flipped bits, of all kinds.
    pub fn flipped(&self) -> u64 {
        self.flips.values().map(Outcomes::count).sum()
    }

    /// Damages that were noticed.
    pub fn noticed(&self) -> u64 {
        let outcomes = self.flips.values().chain(self.losses.values());
        outcomes.map(|outcomes| outcomes.refused + outcomes.unread).sum()
    }
}

/// Runs workloads, each to its rest, and hurts what it left; `progress` hears after every one.
pub fn run(scope: &Scope, mut progress: impl FnMut(&Tally)) -> Result<Tally, Violation> {
    let mut tally = Tally::default();
    let mut number = scope.first_workload;
    while tally.workloads < scope.workloads_max && tally.flipped() < scope.flips {
        let violation = |(state, what)| Violation { seed: scope.seed, workload: number, state, what };
        damage(scope, number, &mut tally).map_err(violation)?;
        tally.workloads += 1;
        number += 1;
        progress(&tally);
    }
    Ok(tally)
}

fn damage(scope: &Scope, number: u64, tally: &mut Tally) -> Result<(), (String, String)> {
    let random = workload_random(scope.seed, number);
    let retains = number % 3 == 2;
    let mut workload = if retains { Workload::draw_retaining(&random) } else { Workload::draw(&random) };
    if let Some((_, pace)) = workload.plans.last_mut() {
        *pace = Pace::Durable;
    }
    let undamaged = |what| ("undamaged".to_string(), what);
    let seed = random.next();
    let AtRest { disk, model, log_start, log_end } = rest(&workload, seed).map_err(undamaged)?;
    tally.retired += u64::from(log_start > 0);
    // The same store in another history: equal in shape, other bytes.
    for (plan, _) in &mut workload.plans {
        plan.number += 1000;
    }
    let other = rest(&workload, seed).map_err(undamaged)?.disk;
    let script = Script {
        options: StoreOptions { retention: Retention::default(), ..workload.options.clone() },
        answered: model.len(),
        resends: (0, Pace::Next),
        plans: Vec::new(),
        settles: true,
        closes: false,
    };
    for index in 0..scope.damages_per_workload {
        let damage = Damage::draw(&disk, &other, &random);
        let mut hurt = disk.clone();
        damage.hurt(&mut hurt, &other);
        let at = |what: String| (format!("damage {index}, {damage:?}"), what);
        let sim = Sim::on(hurt.clone(), random.next());
        let life = Life::begin(&sim, model.clone(), script.clone());
        let ended = life.run(&sim, |_| ControlFlow::Continue(()));
        let outcomes = damage.outcomes(tally);
        let end = if life.refused().is_some() {
            outcomes.refused += 1;
            End::Refused
        } else if let Some(unread) = life.unread() {
            if !unread.contains(damage.place().0) {
                return Err(at(format!("another file is blamed: {unread}")));
            }
            outcomes.unread += 1;
            End::Unread
        } else {
            ended.map_err(at)?;
            outcomes.harmless += 1;
            End::Harmless
        };
        damage.look(&hurt, &sim.disk(), end, log_end).map_err(at)?;
    }
    Ok(())
}

/// What a workload left.
struct AtRest {
    disk: Disk,
    model: Model,
    /// Where the log begins and ends.
    log_start: u64,
    log_end: u64,
}

/// Runs the workload and lets it come to rest.
fn rest(workload: &Workload, seed: u64) -> Result<AtRest, String> {
    let sim = Sim::new(seed);
    let script = Script {
        options: workload.options.clone(),
        answered: 0,
        resends: (0, Pace::Next),
        plans: workload.plans.clone(),
        settles: true,
        closes: false,
    };
    let life = Life::begin(&sim, Model::default(), script);
    life.run(&sim, |_| ControlFlow::Continue(()))?;
    sim.run_for(REST);
    let (log_start, log_end) = life.log_bounds();
    Ok(AtRest { disk: sim.disk().crash(|_| false), model: life.model(), log_start, log_end })
}

/// What became of one damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Refused,
    Unread,
    Harmless,
}

/// One damage.
#[derive(Debug, Clone)]
enum Damage {
    Loss { name: String },
    Foreign { name: String },
    Flip { name: String, position: u64, bit: u8 },
}

impl Damage {
    /// Half of all damages are to logs, the rest to whatever else there is, each kind as often as another.
    fn draw(disk: &Disk, other: &Disk, random: &Random) -> Damage {
        let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // Mostly files that have something: of those prepared ahead there are as many.
        let empty_too = random.chance(50);
        for name in names(disk) {
            let bytes = bytes(disk, &name);
            if bytes.iter().any(|byte| *byte != 0) || (empty_too && !bytes.is_empty()) {
                kinds.entry(kind_of(&name)).or_default().push(name);
            }
        }
        let logs = kinds.remove(LOG).expect("a store has a log");
        let others: Vec<Vec<String>> = kinds.into_values().collect();
        let is_log = others.is_empty() || random.chance(500);
        let files = if is_log { &logs } else { &others[random.index(others.len())] };
        let name = files[random.index(files.len())].clone();
        if random.chance(LOSSES_PER_MILLE) {
            return Damage::Loss { name };
        }
        if kind_of(&name) == SIDECAR && random.chance(FOREIGN_PER_MILLE) && other.bytes(&path(&name)).is_ok()
        {
            return Damage::Foreign { name };
        }
        let bytes = bytes(disk, &name);
        let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let position = match written.is_empty() || random.chance(100) {
            true => random.index(bytes.len()),
            false => written[random.index(written.len())],
        };
        Damage::Flip { name, position: position as u64, bit: random.below(8) as u8 }
    }

    fn hurt(&self, disk: &mut Disk, other: &Disk) {
        match self {
            Damage::Foreign { name } => disk.put(&path(name), &bytes(other, name)).expect("it is there"),
            Damage::Loss { name } => disk.lose(&path(name)).expect("it is there"),
            Damage::Flip { name, position, bit } => {
                disk.rot(&path(name), *position, *bit).expect("it is there");
            }
        }
    }

    fn outcomes<'a>(&self, tally: &'a mut Tally) -> &'a mut Outcomes {
        match self {
            Damage::Loss { name } => tally.losses.entry(kind_of(name)).or_default(),
            Damage::Foreign { name } => tally.foreign.entry(kind_of(name)).or_default(),
            Damage::Flip { name, .. } => tally.flips.entry(kind_of(name)).or_default(),
        }
    }

    /// The file and the block.
    fn place(&self) -> (&str, usize) {
        match self {
            Damage::Loss { name } | Damage::Foreign { name } => (name, 0),
            Damage::Flip { name, position, .. } => (name, *position as usize / BLOCK_BYTES),
        }
    }

    /// Whether good data was deleted or changed.
    fn look(&self, hurt: &Disk, after: &Disk, end: End, log_end: u64) -> Result<(), String> {
        for name in names(hurt) {
            let before = bytes(hurt, &name);
            let kind = kind_of(&name);
            if kind == SIDECAR || kind == SPARE {
                continue;
            }
            let now = after.bytes(&path(&name)).map_err(|_| format!("{name} was deleted"))?;
            if end == End::Refused && now != before {
                return Err(format!("the open was refused, and {name} has changed"));
            }
            if kind == LOG {
                self.look_at_log(&name, &before, &now, end, log_end)?;
            }
        }
        Ok(())
    }

    /// What a used file held before lies after the end of the log: it is nobody's.
    fn look_at_log(
        &self,
        name: &str,
        before: &[u8],
        now: &[u8],
        end: End,
        log_end: u64,
    ) -> Result<(), String> {
        let base = segment::base_of(name).expect("it is named as a segment");
        let blocks = log_end.saturating_sub(base).div_ceil(BLOCK_BYTES as u64);
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        for (index, block) in before.chunks(BLOCK_BYTES).take(blocks).enumerate() {
            // Names of segments are in the order of what they hold.
            let may_change = match end {
                End::Harmless => (name, index) >= self.place(),
                _ => (name, index) == self.place(),
            };
            let is_written = block.iter().any(|byte| *byte != 0);
            let is_kept = now.chunks(BLOCK_BYTES).nth(index).is_some_and(|now| now == block);
            if is_written && !is_kept && !may_change {
                return Err(format!("block {index} of {name} was good, and was changed"));
            }
        }
        Ok(())
    }
}

/// The kind of the files that hold what must be believed.
const LOG: &str = "*.log";
/// The kind of those that are made again from the log.
const SIDECAR: &str = "*.side";
/// The kind of those that held a retired segment.
const SPARE: &str = "*.spare";

/// A file's name with its digits as one star.
fn kind_of(name: &str) -> String {
    let mut kind = String::new();
    for letter in name.chars() {
        match letter.is_ascii_digit() {
            true if kind.ends_with('*') => {}
            true => kind.push('*'),
            false => kind.push(letter),
        }
    }
    kind
}

/// The files of the store, but those that are of no meaning to a later start.
fn names(disk: &Disk) -> Vec<String> {
    let mut names = disk.list(Path::new(FOLDER)).expect("the store's folder is there");
    names.retain(|name| name != LOCK_FILE && name != PROBE_FILE);
    names
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(FOLDER).join(name)
}

fn bytes(disk: &Disk, name: &str) -> Vec<u8> {
    disk.bytes(&path(name)).expect("it is there")
}
