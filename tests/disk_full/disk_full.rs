//! A disk that is filled and freed under a node, in the long form. Needs root.
//!
//! `cargo run -p ringmq-tests --release --bin disk_full -- --cycles 200`
//!
//! Exit status 1 when something was lost, refused without a reason, or did not resume within two seconds.

use std::process::ExitCode;
use std::time::Instant;

use ringmq_tests::disk_full::run;
use ringmq_tests::power::file_system::{enter_own_mounts, missing};
use ringmq_tests::progress::Progress;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let cycles = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Some(200),
        ["--cycles", count] => count.parse().ok(),
        _ => None,
    };
    let Some(cycles) = cycles else {
        eprintln!("disk_full: the only argument is --cycles N");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let ready = missing().map_or(Ok(()), Err).and_then(|()| enter_own_mounts());
    let mut progress = Progress::new("cycles", cycles);
    let tally = ready.and_then(|()| {
        run(cycles, |tally| progress.show(tally.cycles, format_args!("{} answered", tally.answered)))
    });
    progress.end();
    let tally = match tally {
        Ok(tally) => tally,
        Err(what) => {
            println!("VIOLATION {what}");
            return ExitCode::FAILURE;
        }
    };
    let ms = |at: usize| tally.resumed_after.get(at).map_or(0, |after| after.as_millis() as u64);
    println!("| ext4 of 512 MiB, filled and freed | |");
    println!("| --- | ---: |");
    for (name, count) in [
        ("cycles", tally.cycles),
        ("sends answered as stored", tally.answered),
        ("sends refused while the disk was full", tally.refused),
        ("records read by the consumer", tally.read),
        ("answered and lost", tally.lost),
        ("group offsets stored while it was full", tally.offsets),
        ("reads that found records while it was full", tally.reads_while_full),
        ("records that had retired in the end", tally.retired_records),
        ("from freeing to the next answer, median, ms", ms(tally.resumed_after.len() / 2)),
        ("from freeing to the next answer, longest, ms", ms(tally.resumed_after.len().saturating_sub(1))),
        ("seconds", began.elapsed().as_secs()),
    ] {
        println!("| {name} | {count} |");
    }
    if tally.lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
