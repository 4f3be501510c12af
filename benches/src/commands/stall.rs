//! `stall`: many short runs; none may hang.
//!
//! Each run has a server of its own, so that what it says at its end (longest disk write, longest delay of a heartbeat)
//! is about this run: a silence as long as a write is the disk's, one as long as a heartbeat's delay is the core's. A
//! silence longer than all of these together is nobody's, and misses a bar; so does a refused send, since a server that
//! refuses everything is never silent.

use super::CommandError;
use super::shape::{Shape, Width};
use super::stage::Stage;
use crate::load::LoadError;
use crate::report::{Bar, Report, Round};
use clap::Args;

/// Many short runs: none may hang.
#[derive(Debug, Args)]
pub struct Stall {
    #[command(flatten)]
    stage: Stage,
    #[command(flatten)]
    shape: Shape,
    /// Connections x requests in flight; may be repeated.
    #[arg(long, default_values = ["64x8", "1x1"])]
    width: Vec<Width>,
    /// Shards of the server.
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// Runs of each width.
    #[arg(long, default_value_t = 20)]
    runs: usize,
}

impl Stall {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report("stall");
        set.measure_machine(&mut report)?;
        let mut hung = 0;
        for _ in 0..self.runs {
            for width in &self.width {
                let server = set.start(self.shards)?;
                match set.send(&server, &self.shape, *width) {
                    Ok(mut round) => {
                        round.hear(server.stop());
                        report.rounds.push(round);
                    }
                    Err(CommandError::Load(error @ LoadError::Hung { .. })) => {
                        eprintln!("{width}: {error}");
                        eprintln!("{width}: at its end it said: {:?}", server.stop());
                        hung += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let unexplained = report.rounds.iter().filter(|round| !is_explained(round)).count();
        let refused: u64 = report.rounds.iter().map(|round| round.refused).sum();
        report.bars.push(Bar::at_most("runs that hang", 0.0, Some(f64::from(hung)), ""));
        report.bars.push(Bar::at_most("silences not explained", 0.0, Some(unexplained as f64), ""));
        report.bars.push(Bar::at_most("refused sends", 0.0, Some(refused as f64), ""));
        Ok(report)
    }
}

/// Whether the disk, the server's cores and the generator's own core account for the longest silence.
fn is_explained(round: &Round) -> bool {
    let us = |number: Option<u64>| number.unwrap_or(0) as f64;
    let delays = us(round.longest_heartbeat_delay_us).max(round.longest_core_delay_us);
    round.longest_silence_us <= us(round.longest_write_us) + delays + round.longest_oversleep_us
}
