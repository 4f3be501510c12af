//! What a command found, for people and for programs.
//!
//! ```text
//! machine, yardsticks ── rounds (one row each) ── ratios ── facts ── bars
//!       │ text: tables and plots     │ JSON, version 2
//!       └ `--out`: JSON, one page, and each round's .hlog and .hgrm
//! ```
//!
//! Exit codes of every command: 0 all bars are cleared (or none applies), 2 a bar is missed, 1 there is no result.
//!
//! Not here: measuring.

mod bar;
mod files;
pub mod hdr;
pub mod live;
mod machine;
mod page;
mod plot;
pub mod ratio;
mod round;
mod table;

pub use bar::{Bar, Bound};
pub use machine::Machine;
pub use ratio::{Demand, Ratio};
pub use round::{Percentiles, Point, Round, ServerCost, Spent, Tick};

use crate::disk::DiskSpeed;
use crate::load::ceiling::Ceiling;
use clap::ValueEnum;
use serde::Serialize;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// How to print a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and plots.
    Text,
    /// One JSON object.
    Json,
}

/// Version of the JSON form; raised when a field changes its meaning.
const VERSION: u32 = 2;

/// Everything that one command found.
#[derive(Debug, Serialize)]
pub struct Report {
    version: u32,
    /// What was run.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// How fast the disk was meanwhile.
    pub disk: Option<DiskSpeed>,
    /// What the generator can do at most.
    pub ceiling: Option<Ceiling>,
    /// Measurements, in the order in which they were made.
    pub rounds: Vec<Round>,
    /// One server's numbers to another's.
    pub ratios: Vec<Ratio>,
    /// What a reader must know beside the numbers.
    pub notes: Vec<String>,
    /// Single numbers that are no rounds.
    pub facts: Vec<Fact>,
    /// What was demanded, and whether it holds.
    pub bars: Vec<Bar>,
}

/// A single number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// In what unit.
    pub unit: &'static str,
}

impl Report {
    /// An empty report of a command on this machine.
    pub fn new(command: String, machine: Machine) -> Report {
        let (rounds, ratios, notes, facts, bars) = Default::default();
        Report {
            version: VERSION,
            command,
            machine,
            disk: None,
            ceiling: None,
            rounds,
            ratios,
            notes,
            facts,
            bars,
        }
    }

    /// Adds a single number.
    pub fn fact(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.facts.push(Fact { name: name.into(), value, unit });
    }

    /// Adds what a reader must know.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Prints it and says how the command ends.
    pub fn print(&self, format: Format) -> ExitCode {
        match format {
            Format::Text => print!("{}", table::text(self)),
            Format::Json => match serde_json::to_string_pretty(self) {
                Ok(json) => println!("{json}"),
                Err(error) => {
                    eprintln!("cannot write the report: {error}");
                    return ExitCode::from(1);
                }
            },
        }
        let missed = self.ratios.iter().any(|ratio| ratio.is_cleared == Some(false));
        if self.bars.iter().all(Bar::is_cleared) && !missed { ExitCode::SUCCESS } else { ExitCode::from(2) }
    }

    /// Writes it into a folder that is made: the JSON, the page, and the distributions of each round.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        files::write(self, folder)
    }
}
