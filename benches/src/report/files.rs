//! A report as files in one folder.
//!
//! ```text
//! report.json   report.html   1-ringmq-send-64x8-1024-B.hlog   1-ringmq-send-64x8-1024-B.hgrm   2-…
//! ```

use super::{Report, Round, hdr, page};
use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Writes all of them.
pub(super) fn write(report: &Report, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("report.json"), serde_json::to_vec_pretty(report)?)?;
    fs::write(folder.join("report.html"), page::html(report)?)?;
    for (number, round) in (1..).zip(&report.rounds) {
        let name = name(number, round);
        let what = format!("{}, {}", round.server, round.load);
        let log = hdr::log(&round.ticks, &what, SystemTime::now())?;
        fs::write(folder.join(format!("{name}.hlog")), log)?;
        fs::write(folder.join(format!("{name}.hgrm")), hdr::distribution(&round.histogram))?;
    }
    Ok(())
}

fn name(number: usize, round: &Round) -> String {
    let words = format!("{number}-{}-{}", round.server, round.load);
    let parts = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}
