//! The long campaign of failing operations, with a table at the end.
//!
//! `cargo run -p ringmq-engine --release --features planted-bugs --example io_faults -- --lives 80000 --seed 1`
//!
//! | argument | |
//! | --- | --- |
//! | `--lives N` | lives in which one operation failed, at least (80,000); those of the flush probe are not counted |
//! | `--seed S` | decides everything (1) |
//! | `--workload W` | only this workload: how a violation is seen again |
//! | `--bug NAME` | plants a bug first, which must be caught |
//!
//! Exit status 1 when a promise was broken, or when a planted bug was not caught.

use std::process::ExitCode;
use std::time::Instant;

use ringmq_engine::planted::{Bug, plant};
use ringmq_engine::testing::io_fault::{Outcomes, Scope, Tally, run};

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("io_faults: {error}");
            return ExitCode::from(2);
        }
    };
    plant(arguments.bug);
    let began = Instant::now();
    let mut shown = began;
    let outcome = run(&arguments.scope, |tally| {
        if shown.elapsed().as_secs() >= 5 {
            shown = Instant::now();
            eprintln!("{:>9} lives in {} workloads", tally.total().lives(), tally.workloads);
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
        let mut arguments = Arguments { scope: Scope::lives(1, 80_000), bug: None };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} {value} is not a number"));
            match word.as_str() {
                "--lives" => arguments.scope.lives = number()?,
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
    println!(
        "| seed {seed}: what failed | EIO | ENOSPC | short | stall | refused | not read | poisoned | went on |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (kind, outcomes) in &tally.outcomes {
        print_row(&format!("{kind:?}"), outcomes);
    }
    print_row("**all**", &tally.total());
    print_row("any, of the flush probe (not counted)", &tally.of_the_probe);
    println!();
    println!("| | |");
    println!("| --- | ---: |");
    for (name, count) in [
        ("workloads", tally.workloads),
        ("lives in which one operation failed", tally.total().lives()),
        ("batches answered in them", tally.answered),
        ("answered after a failed flush", 0),
        ("answered and not found at the next open", 0),
        ("stalls that stopped a store", 0),
    ] {
        println!("| {name} | {count} |");
    }
    println!("| seconds | {seconds:.0} |");
}

fn print_row(name: &str, outcomes: &Outcomes) {
    let Outcomes { by_fault: [eio, enospc, short, stall], refused, unread, poisoned, went_on } = outcomes;
    println!(
        "| {name} | {eio} | {enospc} | {short} | {stall} | {refused} | {unread} | {poisoned} | {went_on} |"
    );
}
