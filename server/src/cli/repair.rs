//! `ringmq log repair`: a copy of a shard's folder that opens, with everything up to the first damage.
//!
//! Invariants
//!  1. The damaged folder is only read.
//!  2. The copy is a prefix of the log: frames after the damage cannot follow without it. They stay where they are.
//!
//! Sidecars are not copied: the next start makes them.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use ringmq_engine::folder::MARKER_FILE;
use ringmq_engine::log::segment;
use ringmq_engine::log::verify::{VerifyReport, verify};

/// What a copy has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Segments copied, the last perhaps in part.
    pub segments: usize,
    /// Where the first damage is; `None`: there was none.
    pub damaged_at: Option<(String, u64)>,
    /// Segments that are not in the copy.
    pub left_out: usize,
}

impl fmt::Display for Repaired {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repaired { segments, damaged_at, left_out } = self;
        match damaged_at {
            None => write!(formatter, "copied {segments} segments; nothing is damaged"),
            Some((file, position)) => write!(
                formatter,
                "copied {segments} segments up to position {position} of {file}; what lies after that there, and \
                 {left_out} more segments, are not in the copy"
            ),
        }
    }
}

/// Copies what is whole of the store in `folder`.
pub fn repair(folder: &Path, copy: &Path) -> io::Result<Repaired> {
    let report = verify(folder)?;
    if report.findings.iter().any(|finding| finding.file == MARKER_FILE) {
        return Err(io::Error::other(format!("without {MARKER_FILE} it is not known what the files are")));
    }
    let damaged_at = first_damage(&report);
    let mut bases = Vec::new();
    for entry in fs::read_dir(folder)? {
        bases.extend(entry?.file_name().to_str().and_then(segment::base_of));
    }
    bases.sort_unstable();
    fs::create_dir(copy)?;
    fs::copy(folder.join(MARKER_FILE), copy.join(MARKER_FILE))?;
    let mut repaired = Repaired { segments: 0, damaged_at: None, left_out: 0 };
    for base in bases {
        let name = segment::file_name(base);
        match damaged_at {
            Some((damaged, _)) if base > damaged => repaired.left_out += 1,
            Some((damaged, position)) if base == damaged => {
                copy_up_to(&folder.join(&name), &copy.join(&name), position)?;
                repaired.segments += 1;
            }
            _ => {
                fs::copy(folder.join(&name), copy.join(&name))?;
                repaired.segments += 1;
            }
        }
    }
    File::open(copy)?.sync_all()?;
    repaired.damaged_at = damaged_at.map(|(base, position)| (segment::file_name(base), position));
    Ok(repaired)
}

/// The segment and position of the first damage.
fn first_damage(report: &VerifyReport) -> Option<(u64, u64)> {
    let places =
        report.findings.iter().map(|finding| Some((segment::base_of(&finding.file)?, finding.position)));
    places.flatten().min()
}

/// Copies the front of a segment; the rest of the copy is zeros, as if it was never written.
fn copy_up_to(from: &Path, to: &Path, position: u64) -> io::Result<()> {
    let source = File::open(from)?;
    let len = source.metadata()?.len();
    let mut copied = File::create_new(to)?;
    io::copy(&mut source.take(position), &mut copied)?;
    copied.set_len(len)?;
    copied.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_engine::log::verify::Finding;

    #[test]
    fn the_first_damage_is_the_one_that_counts() {
        let finding = |file: &str, position| Finding { file: file.to_owned(), position, what: String::new() };
        let found =
            |findings: Vec<Finding>| first_damage(&VerifyReport { findings, ..VerifyReport::default() });
        let (first, second) = (segment::file_name(0), segment::file_name(65536));
        assert_eq!(found(vec![]), None);
        assert_eq!(
            found(vec![finding(&second, 4096), finding(&first, 8192), finding(&first, 4096)]),
            Some((0, 4096))
        );
        assert_eq!(
            found(vec![finding("00000000000000000000.side", 0), finding(&second, 0)]),
            Some((65536, 0))
        );
    }
}
