//! Several generators at once, each a thread on a core of its own, and what they found together.
//!
//! Each has its own connections, its own topic, and its share of the rate. They begin to measure at the same time, because
//! the length of their warm-up is fixed.

use super::generator::{self, Phase, Plan};
use super::ledger::Measured;
use super::send::Send;
use super::{LoadError, Wrong};
use crate::os;
use std::thread;

/// One generator: what it does, and on which core.
pub struct Member {
    /// How it goes.
    pub plan: Plan,
    /// What it sends.
    pub work: Send,
    /// Where it runs.
    pub core: usize,
}

/// Runs all of them; the first on the calling thread, whose phases are told.
pub fn run(fleet: &mut [Member], tell: &mut dyn FnMut(Phase)) -> Result<Measured, LoadError> {
    let Some((first, others)) = fleet.split_first_mut() else {
        return Err(Wrong("a fleet without a generator".into()).into());
    };
    thread::scope(|scope| {
        let start = |member| scope.spawn(move || run_on_its_core(member));
        let threads: Vec<_> = others.iter_mut().map(start).collect();
        let first = generator::run(&first.plan, &mut first.work, tell);
        let others: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let mut all = first?;
        for other in others {
            all.merge(&other.map_err(|_| Wrong("a generator panicked".into()))??);
        }
        Ok(all)
    })
}

fn run_on_its_core(member: &mut Member) -> Result<Measured, LoadError> {
    let keeping = |source| LoadError::Io { operation: "keep a generator to its core", source };
    os::keep_to_cores(&[member.core]).map_err(keeping)?;
    generator::run(&member.plan, &mut member.work, &mut |_| {})
}
