//! `ready`: from start to ready on an empty folder, and the size of the program.

use super::stage::Stage;
use super::{CommandError, failed_to};
use crate::report::{Bar, Report};
use clap::Args;
use std::fs;

/// Bar on an empty folder.
const SECONDS: f64 = 0.3;

/// From start to ready on an empty folder.
#[derive(Debug, Args)]
pub struct Ready {
    #[command(flatten)]
    stage: Stage,
    /// Shards of the server.
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// Starts; the median counts.
    #[arg(long, default_value_t = 9)]
    runs: usize,
}

impl Ready {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report("ready");
        let program = fs::metadata(self.stage.server()).map_err(failed_to("read the program"))?;
        report.fact("size of the program", program.len() as f64 / f64::from(1 << 20), "MiB");
        let mut seconds = Vec::new();
        for _ in 0..self.runs.max(1) {
            let server = set.start(self.shards)?;
            seconds.push(server.ready_after.as_secs_f64());
            server.stop();
        }
        seconds.sort_by(f64::total_cmp);
        report.fact("fastest start", seconds.first().copied().unwrap_or_default(), "s");
        report.fact("slowest start", seconds.last().copied().unwrap_or_default(), "s");
        let median = seconds.get(seconds.len() / 2).copied();
        report.bars.push(Bar::at_most("exec to ready, empty folder, median", SECONDS, median, "s"));
        Ok(report)
    }
}
