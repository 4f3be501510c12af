//! `merge`: the percentiles of several runs together, of generators on several cores or machines.
//!
//! Each has written its `.hlog` files (`--out`). Their histograms are summed; percentiles of percentiles mean nothing.

use super::{CommandError, failed_to};
use crate::report::{Machine, Percentiles, Report, hdr};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};

/// The percentiles of several interval logs together.
#[derive(Debug, Args)]
pub struct Merge {
    /// Interval logs, as `--out` writes them.
    #[arg(required = true)]
    logs: Vec<PathBuf>,
    /// Also write the distribution of all of them into this file.
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
}

impl Merge {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut all = hdr::read_log(&[]).map_err(failed_to("make a histogram"))?;
        for path in &self.logs {
            let bytes = fs::read(path).map_err(failed_to("read an interval log"))?;
            let log = hdr::read_log(&bytes).map_err(failed_to("read an interval log"))?;
            all.add(&log).map_err(|error| CommandError::Usage(error.to_string()))?;
        }
        if let Some(file) = &self.hgrm {
            fs::write(file, hdr::distribution(&all)).map_err(failed_to("write the distribution"))?;
        }
        let mut report = Report::new("merge".into(), Machine::here(Path::new(".")));
        let percentiles = Percentiles::of(&all);
        report.fact("latencies", all.len() as f64, "");
        for (name, us) in [
            ("p50", percentiles.p50_us),
            ("p90", percentiles.p90_us),
            ("p99", percentiles.p99_us),
            ("p99.9", percentiles.p999_us),
            ("max", percentiles.max_us),
        ] {
            report.fact(name, us, "µs");
        }
        Ok(report)
    }
}
