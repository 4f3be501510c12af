//! A bit is flipped, a file lost, or a sidecar of another history put in the place of one, in a log that has come to rest:
//! nothing answered may then be missing without a word.
//!
//! A log at rest ends with a frame that notes its watermark, so every batch lies below a watermark that is on
//! the disk. The open is refused with the file's name, or finds every batch (the damage hit what nobody needs, or a
//! sidecar, which is made again), or a record of a sealed segment fails its checksum when it is read, and is not served.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::crash::{Violation, workload_random};
use super::life::{Life, Script};
use super::model::Model;
use super::workload::{FOLDER, Pace, Workload};
use crate::env::sim::{Disk, Sim};
use crate::env::{LOCK_FILE, Random};

/// Longer than an idle log waits before it notes its watermark.
const REST: Duration = Duration::from_secs(10);

/// What was visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Workloads run.
    pub workloads: u64,
    /// Damaged disks opened.
    pub damages: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Of these, opened, with a record that was not served because it fails its checksum.
    pub unserved: u64,
    /// Of these, damages to a sidecar after which everything was found.
    pub mended: u64,
}

/// Runs so many workloads with so many damages each.
pub fn run(
    seed: u64,
    workloads: u64,
    damages: u64,
    mut progress: impl FnMut(&Tally),
) -> Result<Tally, Violation> {
    let mut tally = Tally::default();
    for number in 0..workloads {
        let violation = |(state, what)| Violation { seed, workload: number, state, what };
        damage(seed, number, damages, &mut tally).map_err(violation)?;
        tally.workloads += 1;
        progress(&tally);
    }
    Ok(tally)
}

fn damage(seed: u64, number: u64, damages: u64, tally: &mut Tally) -> Result<(), (String, String)> {
    let random = workload_random(seed, number);
    let mut workload = Workload::draw(&random);
    if let Some((_, pace)) = workload.plans.last_mut() {
        *pace = Pace::Durable;
    }
    let undamaged = |what| ("undamaged".to_string(), what);
    let seed = random.next();
    let (disk, model) = rest(&workload, seed).map_err(undamaged)?;
    // The same store in another history: equal in shape, other bytes.
    for (plan, _) in &mut workload.plans {
        plan.number += 1000;
    }
    let (other, _) = rest(&workload, seed).map_err(undamaged)?;
    let script = Script {
        options: workload.options.clone(),
        answered: model.len(),
        resends: (0, Pace::Next),
        plans: Vec::new(),
        settles: true,
        closes: false,
    };
    for index in 0..damages {
        let (damaged, name, what) = hurt(&disk, &other, &random);
        let sim = Sim::on(damaged, random.next());
        let life = Life::begin(&sim, model.clone(), script.clone());
        let ended = life.run(&sim, |_| ControlFlow::Continue(()));
        tally.damages += 1;
        match life.refused() {
            Some(_) => tally.refused += 1,
            None => match ended {
                Ok(()) => tally.mended += u64::from(name.ends_with(".side")),
                Err(error) if error.contains(&name) && error.contains("fails its checksum") => {
                    tally.unserved += 1;
                }
                Err(error) => return Err((format!("damage {index}, {what}"), error)),
            },
        }
    }
    Ok(())
}

/// Runs the workload and lets it come to rest.
fn rest(workload: &Workload, seed: u64) -> Result<(Disk, Model), String> {
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
    Ok((sim.disk().crash(|_| false), life.model()))
}

/// A copy with one damage, the file it is in, and what it is.
fn hurt(disk: &Disk, other: &Disk, random: &Random) -> (Disk, String, String) {
    let mut hurt = disk.clone();
    let mut names = disk.list(Path::new(FOLDER)).expect("the store's folder is there");
    names.retain(|name| name != LOCK_FILE);
    let name = &names[random.index(names.len())];
    let path = Path::new(FOLDER).join(name);
    if name.ends_with(".side")
        && random.chance(200)
        && let Ok(bytes) = other.bytes(&path)
    {
        hurt.put(&path, &bytes).expect("it is there");
        return (hurt, name.clone(), format!("{name} of another history"));
    }
    if random.chance(100) {
        hurt.lose(&path).expect("it is there");
        return (hurt, name.clone(), format!("{name} lost"));
    }
    let bytes = disk.bytes(&path).expect("it is there");
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let position = match written.is_empty() || random.chance(100) {
        true => random.index(bytes.len().max(1)),
        false => written[random.index(written.len())],
    };
    let bit = random.below(8) as u8;
    hurt.rot(&path, position as u64, bit).expect("it is there");
    (hurt, name.clone(), format!("bit {bit} of byte {position} of {name} flipped"))
}
