//! The commands: each starts servers, loads them, and prints one report.
//!
//! | command | question |
//! | --- | --- |
//! | `send` | how many durable sends a second, at what latency and cost |
//! | `pull` | how many records a second out of memory |
//! | `catch-up` | how fast a consumer that is behind is served from the disk |
//! | `mixed` | what such a consumer costs the producers |
//! | `idle` | what nothing costs, and what 15,000 connections that do nothing cost |
//! | `stall` | whether any of many short runs hangs, and how long the longest silence is |
//! | `roll` | what going on to the next segment adds to a send |
//! | `restart` | how soon a killed server with a full log serves again, what it reads, memory and files of many queues |
//! | `names` | what 100,000 queues cost: to make, and at each send |
//! | `ready` | how soon an empty folder serves, and how large the program is |
//! | `compare` | the ratio to Apache's broker, rounds taken in turn |
//! | `micro` | nanoseconds of single steps: headers, records |
//!
//! `ringmq bench` shows the same commands ([`Bench`] is part of its command line).

mod catch_up;
mod compare;
mod idle;
mod micro;
mod mixed;
mod names;
mod pull;
mod ready;
mod restart;
mod roll;
mod send;
mod shape;
mod stage;
mod stall;

use crate::load::LoadError;
use crate::process::StartError;
use crate::report::{Format, Report};
use clap::{Args, Subcommand};
use std::io;
use std::process::ExitCode;
use thiserror::Error;

/// `bench …`: a command, and how to print what it finds.
#[derive(Debug, Args)]
pub struct Bench {
    /// How to print the report.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Durable sends per second, their latency, and what each costs the server.
    Send(send::Send),
    /// Records per second pulled out of the server's memory.
    Pull(pull::Pull),
    /// How fast a consumer that is behind is served from the disk.
    CatchUp(catch_up::CatchUp),
    /// What a consumer that is behind costs the producers.
    Mixed(mixed::Mixed),
    /// What an idle server costs, alone and with many idle connections.
    Idle(idle::Idle),
    /// Many short runs: none may hang.
    Stall(stall::Stall),
    /// From start to ready on an empty folder.
    Ready(ready::Ready),
    /// What going on to the next segment adds to a send.
    Roll(roll::Roll),
    /// From `kill -9` to ready, with much in the log.
    Restart(restart::Restart),
    /// What many topics cost: to make, and at each send.
    Names(names::Names),
    /// Sends to RingMQ and to Apache's broker in turn.
    Compare(compare::Compare),
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
            Command::Send(send) => send.run(),
            Command::Pull(pull) => pull.run(),
            Command::CatchUp(catch_up) => catch_up.run(),
            Command::Mixed(mixed) => mixed.run(),
            Command::Idle(idle) => idle.run(),
            Command::Stall(stall) => stall.run(),
            Command::Ready(ready) => ready.run(),
            Command::Roll(roll) => roll.run(),
            Command::Restart(restart) => restart.run(),
            Command::Names(names) => names.run(),
            Command::Compare(compare) => compare.run(),
            Command::Micro(micro) => micro.run(),
        };
        match report {
            Ok(report) => report.print(self.format),
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(1)
            }
        }
    }
}
