//! What the long campaigns have in common: their arguments, how far they are, and how they end.
//!
//! | argument | |
//! | --- | --- |
//! | `--<what is counted> N` | so many, at least |
//! | `--seed S` | decides everything (1) |
//! | `--workload W` | only this workload: how a violation is seen again |
//! | `--retaining yes` | where it is offered: logs whose segments retire and are used again |
//! | `--bug NAME` | plants a bug first, which must be caught |
//!
//! A violation ends the run and is printed in the place of the table, with what shows it again. So a table has no row
//! of violations: that there is a table says that there were none.
//!
//! Exit status 1 when a promise was broken, or when a planted bug was not caught; 2 for arguments that say nothing.
//!
//! Not here: what is done (`ringmq_engine::testing`), what is in the tables (each example).

mod progress;

use std::process::ExitCode;
use std::time::Instant;

use ringmq_engine::planted::{Bug, plant};
use ringmq_engine::testing::crash::Violation;

pub use progress::Progress;

/// What a campaign says of itself.
pub struct Campaign {
    /// The name of the example.
    pub name: &'static str,
    /// What is counted, as the argument names it.
    pub unit: &'static str,
    /// So many, if nothing else is said.
    pub count: u64,
    /// Offers `--retaining`.
    pub may_retain: bool,
}

/// What it was told.
pub struct Arguments {
    pub count: u64,
    pub seed: u64,
    pub retains: bool,
    only: Option<u64>,
    bug: Option<Bug>,
}

impl Campaign {
    /// Parses, runs with a bar, prints; a table's last row is the time it took.
    pub fn main<T>(
        &self,
        run: impl FnOnce(&Arguments, &mut Progress) -> Result<T, Violation>,
        print: impl FnOnce(&Arguments, &T),
    ) -> ExitCode {
        let arguments = match self.parse(std::env::args().skip(1)) {
            Ok(arguments) => arguments,
            Err(error) => {
                eprintln!("{}: {error}", self.name);
                return ExitCode::from(2);
            }
        };
        plant(arguments.bug);
        let began = Instant::now();
        let mut progress = Progress::new(self.unit, arguments.count);
        let outcome = run(&arguments, &mut progress);
        progress.end();
        match (outcome, arguments.bug) {
            (Ok(tally), None) => {
                print(&arguments, &tally);
                println!("| seconds | {:.0} |", began.elapsed().as_secs_f64());
                ExitCode::SUCCESS
            }
            (Ok(_), Some(bug)) => {
                println!("{bug:?} was not caught");
                ExitCode::FAILURE
            }
            (Err(violation), bug) => {
                println!("VIOLATION {violation}");
                let Violation { seed, workload, .. } = &violation;
                let retaining = if arguments.retains { " --retaining yes" } else { "" };
                println!("replay with: --seed {seed} --workload {workload}{retaining}");
                if bug.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
        }
    }

    fn parse(&self, mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments { count: self.count, seed: 1, retains: false, only: None, bug: None };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} {value} is not a number"));
            match word.strip_prefix("--") {
                Some(unit) if unit == self.unit => arguments.count = number()?,
                Some("seed") => arguments.seed = number()?,
                Some("workload") => arguments.only = Some(number()?),
                Some("retaining") if self.may_retain => arguments.retains = value == "yes",
                Some("bug") => arguments.bug = Some(bug_named(&value)?),
                _ => return Err(format!("{word} is not known; see the head of this example's file")),
            }
        }
        Ok(arguments)
    }
}

impl Arguments {
    /// The number of the first workload.
    pub fn first_workload(&self) -> u64 {
        self.only.unwrap_or(0)
    }

    /// How many workloads, at most.
    pub fn workloads_max(&self) -> u64 {
        if self.only.is_some() { 1 } else { u64::MAX }
    }
}

/// The rows of a table of two columns.
pub fn print_rows(rows: &[(&str, u64)]) {
    rows.iter().for_each(|(name, count)| println!("| {name} | {count} |"));
}

fn bug_named(name: &str) -> Result<Bug, String> {
    let named = |bug: &Bug| format!("{bug:?}") == name;
    let names = || format!("no bug is named {name}; there are {:?}", Bug::ALL);
    Bug::ALL.into_iter().find(named).ok_or_else(names)
}
