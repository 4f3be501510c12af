//! The commands: each starts servers, loads them, and prints one report.
//!
//! | command | question |
//! | --- | --- |
//! | `produce` | how many durable sends a second, at what latency and cost |
//! | `consume` | how fast one consumer gets what was just written |
//! | `end-to-end` | how long a message is on its whole way to a consumer that waits for it |
//! | `find-max` | the highest rate at which a percentile of the latency stays within a limit |
//! | `pull` | how many records a second out of memory |
//! | `catch-up` | how fast a consumer that is behind is served from the disk |
//! | `mixed` | what such a consumer costs the producers |
//! | `connections` | what nothing costs, what 15,000 connections that do nothing cost, and clients that come and go |
//! | `stall` | whether any of many short runs hangs, and how long the longest silence is |
//! | `roll` | what going on to the next segment adds to a send |
//! | `restart` | how soon a killed server with a full log serves again, what it reads, memory and files of many queues |
//! | `topics` | what 100,000 queues cost: to make, and at each send |
//! | `ready` | how soon an empty folder serves, and how large the program is |
//! | `compare` | the ratios of two servers, rounds taken in turn |
//! | `selftest` | whether the harness reports what is known beforehand |
//! | `apache` | the ratios to Apache's broker in four configurations, and the bars between them |
//! | `merge` | the percentiles of several runs together |
//! | `micro` | nanoseconds of single steps: headers, records |
//!
//! `ringmq bench` shows the same commands ([`Bench`] is part of its command line).

mod apache;
mod catch_up;
mod compare;
mod connections;
mod consume;
mod contest;
mod contestant;
mod end_to_end;
mod find_max;
mod merge;
mod micro;
mod mixed;
mod produce;
mod pull;
mod ready;
mod restart;
mod roll;
mod selftest;
mod shape;
mod stage;
mod stall;
mod topics;
mod workload;

use crate::load::LoadError;
use crate::process::StartError;
use crate::report::{Format, Report};
use clap::{Args, Subcommand};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use thiserror::Error;

/// `bench …`: a command, and how to print what it finds.
#[derive(Debug, Args)]
pub struct Bench {
    /// How to print the report.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also write it into this folder: JSON, one page, and the distributions of each round.
    #[arg(long, global = true, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Durable sends per second, their latency, and what each costs the server.
    #[command(alias = "send")]
    Produce(produce::Produce),
    /// Records per second pulled out of the server's memory.
    Pull(pull::Pull),
    /// How fast one consumer gets what was just written.
    Consume(consume::Consume),
    /// How long a message is on its whole way to a consumer that waits for it.
    EndToEnd(end_to_end::EndToEnd),
    /// The highest rate at which a percentile of the latency stays within a limit.
    FindMax(find_max::FindMax),
    /// How fast a consumer that is behind is served from the disk.
    CatchUp(catch_up::CatchUp),
    /// What a consumer that is behind costs the producers.
    Mixed(mixed::Mixed),
    /// What idle connections cost, and those that come and go.
    #[command(alias = "idle")]
    Connections(connections::Connections),
    /// Many short runs: none may hang.
    Stall(stall::Stall),
    /// From start to ready on an empty folder.
    Ready(ready::Ready),
    /// What going on to the next segment adds to a send.
    Roll(roll::Roll),
    /// From `kill -9` to ready, with much in the log.
    Restart(restart::Restart),
    /// What many topics cost: to make, and at each send.
    #[command(alias = "names")]
    Topics(topics::Topics),
    /// RingMQ beside Apache's broker in four configurations.
    Apache(apache::Apache),
    /// Two servers under the same loads, in turn.
    Compare(compare::Compare),
    /// Whether the harness reports what is known beforehand.
    Selftest(selftest::Selftest),
    /// The percentiles of several interval logs together.
    Merge(merge::Merge),
    /// Nanoseconds of single steps.
    Micro(micro::Micro),
}

/// Why a command has no report.
#[derive(Debug, Error)]
pub enum CommandError {
    /// A server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A run has no result.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The operating system failed.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What came of it.
        source: io::Error,
    },
    /// The command line asks for what does not go together.
    #[error("{0}")]
    Usage(String),
}

/// Gives an [`io::Error`] the words of what was tried.
pub(crate) fn failed_to(operation: &'static str) -> impl Fn(io::Error) -> CommandError {
    move |source| CommandError::Io { operation, source }
}

impl Bench {
    /// Runs the command and prints its report on stdout, progress and errors on stderr.
    pub fn run(&self) -> ExitCode {
        let report: Result<Report, CommandError> = match &self.command {
            Command::Produce(produce) => produce.run(),
            Command::Pull(pull) => pull.run(),
            Command::Consume(consume) => consume.run(),
            Command::EndToEnd(end_to_end) => end_to_end.run(),
            Command::FindMax(find_max) => find_max.run(),
            Command::CatchUp(catch_up) => catch_up.run(),
            Command::Mixed(mixed) => mixed.run(),
            Command::Connections(connections) => connections.run(),
            Command::Stall(stall) => stall.run(),
            Command::Ready(ready) => ready.run(),
            Command::Roll(roll) => roll.run(),
            Command::Restart(restart) => restart.run(),
            Command::Topics(topics) => topics.run(),
            Command::Apache(apache) => apache.run(),
            Command::Compare(compare) => compare.run(),
            Command::Selftest(selftest) => selftest.run(),
            Command::Merge(merge) => merge.run(),
            Command::Micro(micro) => micro.run(),
        };
        match report {
            Ok(report) => self.tell(&report),
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(1)
            }
        }
    }

    fn tell(&self, report: &Report) -> ExitCode {
        if let Some(folder) = &self.out
            && let Err(error) = report.write(folder)
        {
            eprintln!("error: cannot write the report into {}: {error}", folder.display());
            return ExitCode::from(1);
        }
        report.print(self.format)
    }
}
