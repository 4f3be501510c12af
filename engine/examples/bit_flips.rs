//! The long campaign of flipped bits and lost files, with a table at the end.
//!
//! `cargo run -p ringmq-engine --release --features planted-bugs --example bit_flips -- --flips 100000 --seed 1`
//!
//! | argument | |
//! | --- | --- |
//! | `--flips N` | flipped bits, at least (100,000) |
//! | `--seed S` | decides everything (1) |
//! | `--workload W` | only this workload: how a violation is seen again |
//! | `--bug NAME` | plants a bug first, which must be caught |
//!
//! Exit status 1 when a promise was broken, or when a planted bug was not caught.

use std::process::ExitCode;
use std::time::Instant;

use ringmq_engine::planted::{Bug, plant};
use ringmq_engine::testing::rot::{Scope, Tally, run};

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("bit_flips: {error}");
            return ExitCode::from(2);
        }
    };
    plant(arguments.bug);
    let began = Instant::now();
    let mut shown = began;
    let outcome = run(&arguments.scope, |tally| {
        if shown.elapsed().as_secs() >= 5 {
            shown = Instant::now();
            eprintln!("{:>9} flips in {} workloads", tally.flipped(), tally.workloads);
        }
    });
    match (outcome, arguments.bug) {
        (Ok(tally), None) => {
            print_table(&tally, arguments.scope.seed, began.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        (Ok(_), Some(bug)) => {
            println!("{bug:?} was not caught");
            ExitCode::FAILURE
        }
        (Err(violation), bug) => {
            println!("VIOLATION {violation}");
            println!("replay with: --seed {} --workload {}", violation.seed, violation.workload);
            if bug.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

struct Arguments {
    scope: Scope,
    bug: Option<Bug>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments { scope: Scope::flips(1, 100_000), bug: None };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} {value} is not a number"));
            match word.as_str() {
                "--flips" => arguments.scope.flips = number()?,
                "--seed" => arguments.scope.seed = number()?,
                "--workload" => {
                    arguments.scope.first_workload = number()?;
                    arguments.scope.workloads_max = 1;
                }
                "--bug" => {
                    let named = |bug: &Bug| format!("{bug:?}") == value;
                    let names = || format!("no bug is named {value}; there are {:?}", Bug::ALL);
                    arguments.bug = Some(Bug::ALL.into_iter().find(named).ok_or_else(names)?);
                }
                _ => return Err(format!("{word} is not known; see the head of this file")),
            }
        }
        Ok(arguments)
    }
}

fn print_table(tally: &Tally, seed: u64, seconds: f64) {
    println!("| seed {seed} | damages | refused | not read | harmless |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let Tally { flips, losses, foreign, .. } = tally;
    for (what, by_kind) in [("a bit flipped in", flips), ("lost:", losses), ("of another history:", foreign)]
    {
        for (kind, outcomes) in by_kind {
            let (refused, unread, harmless) = (outcomes.refused, outcomes.unread, outcomes.harmless);
            println!("| {what} `{kind}` | {} | {refused} | {unread} | {harmless} |", outcomes.count());
        }
    }
    println!();
    println!("| | |");
    println!("| --- | ---: |");
    for (name, count) in [
        ("workloads", tally.workloads),
        ("bits flipped", tally.flipped()),
        ("wrong bytes served, or anything missing without a word", 0),
        ("good data changed or deleted", 0),
    ] {
        println!("| {name} | {count} |");
    }
    println!("| seconds | {seconds:.0} |");
}
