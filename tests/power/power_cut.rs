//! Power cuts of a file system under a node, in the long form. Needs root.
//!
//! `cargo run -p ringmq-tests --release --bin power_cut -- --fs ext4 --count 200`
//!
//! | argument | |
//! | --- | --- |
//! | `--fs ext4` or `xfs` | the file system (ext4) |
//! | `--by shutdown` | cut at random moments with `FS_IOC_SHUTDOWN` (the default) |
//! | `--by replay` | a recorded device, put back to every flush and to a moment after each |
//! | `--count N` | cuts, or flushes under load that are recorded (200) |
//! | `--seed S` | decides the moments, as far as threads let it (1) |
//!
//! What is lost ends the run and stands in the place of the table: exit status 1.

use std::process::ExitCode;
use std::time::Instant;

use ringmq_tests::power::file_system::{Kind, enter_own_mounts, missing};
use ringmq_tests::power::replay::{Answers, Scope};
use ringmq_tests::power::{cuts, replay};
use ringmq_tests::progress::Progress;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("power_cut: {error}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let ready = missing().map_or(Ok(()), Err).and_then(|()| enter_own_mounts());
    let rows = ready.and_then(|()| if arguments.replays { replayed(&arguments) } else { cut(&arguments) });
    match rows {
        Ok(rows) => {
            println!("| {} on {}, seed {} | |", arguments.name(), arguments.kind.name(), arguments.seed);
            println!("| --- | ---: |");
            rows.iter().for_each(|(name, count)| println!("| {name} | {count} |"));
            println!("| seconds | {:.0} |", began.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(what) => {
            println!("VIOLATION seed {}: {what}", arguments.seed);
            ExitCode::FAILURE
        }
    }
}

type Rows = Vec<(&'static str, u64)>;

fn cut(arguments: &Arguments) -> Result<Rows, String> {
    let mut progress = Progress::new("cuts", arguments.count);
    let tally = cuts::run(arguments.kind, arguments.count, arguments.seed, |tally| {
        progress.show(tally.cuts, format_args!("{} answered", tally.answered));
    });
    progress.end();
    let tally = tally?;
    Ok(vec![
        ("file systems", tally.file_systems),
        ("cuts", tally.cuts),
        ("cuts that lost what the journal had not written", tally.by_how[0]),
        ("cuts after the journal was written", tally.by_how[1]),
        ("cuts after everything was written", tally.by_how[2]),
        ("cuts while the node started", tally.starting),
        ("nodes under load that ended by themselves", tally.ended),
        ("sends answered as stored", tally.answered),
        ("records found after the last cut", tally.found),
    ])
}

fn replayed(arguments: &Arguments) -> Result<Rows, String> {
    let &Arguments { kind, count: flushes, seed, .. } = arguments;
    let scope = Scope { kind, answers: Answers::AfterFlush, flushes, starting_stride: 1, seed };
    let mut progress = Progress::new("flushes", flushes);
    let tally = replay::run(&scope, |tally| {
        progress.show(tally.flushes, format_args!("{} states", tally.states));
    });
    progress.end();
    let tally = tally?;
    Ok(vec![
        ("writes recorded", tally.writes),
        ("flushes recorded", tally.flushes),
        ("devices put back, mounted and compared", tally.states),
        ("of these, with a part of what was not flushed", tally.torn),
        ("sends answered as stored", tally.answered),
        ("answered sends looked for and found, over all devices", tally.found),
    ])
}

struct Arguments {
    kind: Kind,
    replays: bool,
    count: u64,
    seed: u64,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments { kind: Kind::Ext4, replays: false, count: 200, seed: 1 };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} {value} is not a number"));
            match (word.as_str(), value.as_str()) {
                ("--fs", name) => arguments.kind = Kind::named(name).ok_or(format!("{name} is not known"))?,
                ("--by", "shutdown") => arguments.replays = false,
                ("--by", "replay") => arguments.replays = true,
                ("--count", _) => arguments.count = number()?,
                ("--seed", _) => arguments.seed = number()?,
                _ => return Err(format!("{word} {value} is not known; see the head of this file")),
            }
        }
        Ok(arguments)
    }

    fn name(&self) -> &'static str {
        if self.replays { "replay of a recorded device" } else { "FS_IOC_SHUTDOWN" }
    }
}
