//! Many seeds of the simulation of internal moves: timers, delay levels, retries, dead letters, with crashes.
//!
//! `cargo run -p ringmq-tests --release --bin simulate_moves -- --seeds 100000`
//!
//! | argument | |
//! | --- | --- |
//! | `--seeds N` | how many (1000) |
//! | `--first S` | the first (1) |
//!
//! Exit status 1 when a message was lost, doubled or early.

use std::process::ExitCode;
use std::time::Instant;

use ringmq_tests::progress::Progress;
use ringmq_tests::sim::moves::{MovesReport, run_moves};

fn main() -> ExitCode {
    let (mut seeds, mut first) = (1_000_u64, 1_u64);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = words.next().and_then(|value| value.parse().ok());
        match (word.as_str(), number) {
            ("--seeds", Some(value)) => seeds = value,
            ("--first", Some(value)) => first = value,
            _ => {
                eprintln!("simulate_moves: {word} is not understood; see the head of this file");
                return ExitCode::from(2);
            }
        }
    }
    let (began, mut failed, mut total) = (Instant::now(), 0, MovesReport::default());
    let mut progress = Progress::new("seeds", seeds);
    for seed in first..first + seeds {
        match run_moves(seed) {
            Ok(report) => {
                total.later += report.later;
                total.given_back += report.given_back;
                total.came += report.came;
                total.crashes += report.crashes;
            }
            Err(failure) => {
                failed += 1;
                println!("{failure}");
            }
        }
        progress.show(seed + 1 - first, format_args!("{failed} failed"));
    }
    progress.end();
    println!("| {seeds} seeds from {first} | |\n| --- | ---: |");
    for (name, count) in [
        ("messages for later, accepted", total.later),
        ("messages given back, accepted", total.given_back),
        ("messages that came", total.came),
        ("crashes", total.crashes),
        ("seeds that failed", failed),
    ] {
        println!("| {name} | {count} |");
    }
    println!("| seconds | {:.0} |", began.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
