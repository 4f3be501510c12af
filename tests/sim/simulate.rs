//! Many seeds of the whole-system simulation.
//!
//! `cargo run -p ringmq-tests --release --bin simulate -- --seeds 1000 --twice`
//!
//! | argument | |
//! | --- | --- |
//! | `--seeds N` | how many (100) |
//! | `--first S` | the first (1) |
//! | `--twice` | runs each twice and compares |
//!
//! Exit status 1 when a promise was broken or a seed was not what it was.

use std::process::ExitCode;
use std::time::Instant;

use ringmq_tests::progress::Progress;
use ringmq_tests::sim::{Report, run};

fn main() -> ExitCode {
    let (mut seeds, mut first, mut twice) = (100u64, 1u64, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|value| value.parse().ok());
        match (word.as_str(), &mut seeds, &mut first) {
            ("--twice", _, _) => twice = true,
            ("--seeds", place, _) | ("--first", _, place) => match number() {
                Some(value) => *place = value,
                None => return usage(&word),
            },
            _ => return usage(&word),
        }
    }
    let (began, mut failed) = (Instant::now(), 0);
    let mut progress = Progress::new("seeds", seeds);
    let mut total = Report::default();
    for seed in first..first + seeds {
        match run(seed).and_then(|report| Ok((report, if twice { run(seed)? } else { report }))) {
            Ok((report, again)) if report == again => add(&mut total, &report),
            Ok((report, again)) => {
                failed += 1;
                println!("seed {seed} is not what it was: {report:?}, {again:?}");
            }
            Err(failure) => {
                failed += 1;
                println!("{failure}");
            }
        }
        progress.show(seed + 1 - first, format_args!("{failed} failed"));
    }
    progress.end();
    print_table(&total, (first, seeds, twice), failed, began.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage(word: &str) -> ExitCode {
    eprintln!("simulate: {word} is not understood; see the head of this file");
    ExitCode::from(2)
}

fn add(total: &mut Report, report: &Report) {
    total.sent += report.sent;
    total.answered += report.answered;
    total.seen += report.seen;
    total.crashes += report.crashes;
    total.stops += report.stops;
    total.failures += report.failures;
    total.audits += report.audits;
    total.later += report.later;
    total.given_back += report.given_back;
}

fn print_table(total: &Report, (first, seeds, twice): (u64, u64, bool), failed: u64, seconds: f64) {
    println!("| {seeds} seeds from {first}{} | |", if twice { ", each twice" } else { "" });
    println!("| --- | ---: |");
    for (name, count) in [
        ("messages sent", total.sent),
        ("sends answered as stored", total.answered),
        ("records handed to consumers", total.seen),
        ("messages delivered later", total.later),
        ("messages taken back from consumers", total.given_back),
        ("crashes", total.crashes),
        ("orderly stops", total.stops),
        ("lives ended by a failing disk", total.failures),
        ("comparisons of the store with the history", total.audits),
        ("seeds that failed", failed),
    ] {
        println!("| {name} | {count} |");
    }
    println!("| seconds | {seconds:.0} |");
}
