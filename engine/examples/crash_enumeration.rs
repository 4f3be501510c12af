//! The long crash enumeration, with a table at the end.
//!
//! `cargo run -p ringmq-engine --release --features planted-bugs --example crash_enumeration -- --states 1000000 --seed 1`
//!
//! | argument | |
//! | --- | --- |
//! | `--states N` | recovered disks, at least (1,000,000) |
//! | `--seed S` | decides everything (1) |
//! | `--workload W` | only this workload: how a violation is seen again |
//! | `--retaining yes` | logs whose segments retire and are used again |
//! | `--bug NAME` | plants a bug first, which must be caught |
//!
//! Exit status 1 when a promise was broken, or when a planted bug was not caught.

use std::process::ExitCode;
use std::time::Instant;

use ringmq_engine::planted::{Bug, plant};
use ringmq_engine::testing::crash::{Scope, Tally, run};

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("crash_enumeration: {error}");
            return ExitCode::from(2);
        }
    };
    plant(arguments.bug);
    let began = Instant::now();
    let mut shown = began;
    let outcome = run(&arguments.scope, |tally| {
        if shown.elapsed().as_secs() >= 5 {
            shown = Instant::now();
            let rate = tally.states as f64 / began.elapsed().as_secs_f64();
            eprintln!("{:>9} states in {} workloads, {rate:.0}/s", tally.states, tally.workloads);
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
        let mut arguments = Arguments { scope: Scope::long(1, 1_000_000), bug: None };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} {value} is not a number"));
            match word.as_str() {
                "--states" => arguments.scope.states = number()?,
                "--seed" => arguments.scope.seed = number()?,
                "--workload" => {
                    arguments.scope.first_workload = number()?;
                    arguments.scope.workloads_max = 1;
                }
                "--retaining" => arguments.scope.retains = value == "yes",
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
    println!("| seed {seed} | |");
    println!("| --- | ---: |");
    for (name, count) in [
        ("workloads", tally.workloads),
        ("points (moments at which a crash was put)", tally.points),
        ("points with all subsets of what was pending", tally.exhaustive),
        ("most units pending at a point", tally.units_max as u64),
        ("states (disks recovered and checked)", tally.states),
        ("first crashes that tore a write", tally.torn),
        ("recoveries that found less than was appended", tally.lost_some),
        ("recoveries that found more than was answered", tally.kept_more),
        ("recoveries over more than one segment", tally.rolled),
        ("recoveries after segments retired", tally.retired),
        ("crashes inside recovery", tally.in_recovery),
        ("crashes after a recovery", tally.after_recovery),
        ("violations", 0),
    ] {
        println!("| {name} | {count} |");
    }
    println!("| seconds | {seconds:.0} |");
}
