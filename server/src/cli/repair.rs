//! `ringmq log repair`: a copy of a shard's folder that opens, with everything that is whole.
//!
//! ```text
//!   verify ──▶ copy ──▶ put whole frames in the place of damaged ones ──▶ verify the copy ──▶ whole: done
//!                                                                                 └▶ not: cut it at the first damage
//! ```
//!
//! Invariants
//!  1. The damaged folder is only read.
//!  2. The copy is whole: all but what lay in damaged frames, or else everything before the first of them.
//!
//! Sidecars are copied as they are: the next start makes again what is damaged of them. Not here: what comes in the place
//! of a damaged frame (`ringmq_engine::salvage`).

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use ringmq_engine::env::BLOCK_BYTES;
use ringmq_engine::folder::{MARKER_FILE, Marker};
use ringmq_engine::log::segment;
use ringmq_engine::log::verify::VerifyReport;
use ringmq_engine::salvage::{Replaced, Salvage, Segment};
use ringmq_engine::sidecar;

use super::log_files::{names, verify_log};
use super::progress::Files;

/// What a copy has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Segments copied, the last perhaps in part.
    pub segments: usize,
    /// Damaged frames that were replaced, each with its segment's file.
    pub replaced: Vec<(String, Replaced)>,
    /// Where the copy was cut, and why it had to be.
    pub cut: Option<Cut>,
}

/// A copy that ends at the first damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The damaged file.
    pub file: String,
    /// Where in it.
    pub position: u64,
    /// Segments that are not in the copy.
    pub left_out: usize,
    /// Why what follows could not be kept.
    pub why: String,
}

impl fmt::Display for Repaired {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repaired { segments, replaced, cut } = self;
        write!(formatter, "copied {segments} segments")?;
        if let Some(Cut { file, position, left_out, why }) = cut {
            return write!(
                formatter,
                " up to position {position} of {file}; what lies after that there, and {left_out} more segments, are \
                 not in the copy: {why}"
            );
        }
        if replaced.is_empty() {
            return write!(formatter, "; no segment is damaged");
        }
        for (file, Replaced { position, kept, lost, unknown }) in replaced {
            write!(
                formatter,
                "\n  {file} at {position}: {lost} records lost, {kept} others of the frame kept, {unknown} parts \
                 unknown"
            )?;
        }
        write!(formatter, "\nIn the place of each lost record is a message whose body says so.")?;
        if replaced.iter().any(|(_, replaced)| replaced.unknown > 0) {
            write!(
                formatter,
                "\nUnknown parts were definitions or offsets, which now have the values from before, or the last records of \
                 a queue, whose offsets are then given to others."
            )?;
        }
        Ok(())
    }
}

/// Copies what is whole of the store in `folder`.
pub fn repair(folder: &Path, copy: &Path) -> io::Result<Repaired> {
    let report = verify_log(folder)?;
    if report.findings.iter().any(|finding| finding.file == MARKER_FILE) {
        return Err(io::Error::other(format!("without {MARKER_FILE} it is not known what the files are")));
    }
    let bases = copy_files(folder, copy)?;
    let mut repaired = Repaired { segments: bases.len(), ..Repaired::default() };
    if let Some((damaged, position)) = first_damage(&report) {
        let why = match replace(copy, &bases, report.end)? {
            Ok(replaced) => {
                repaired.replaced = replaced;
                verify_log(copy)?.findings.first().map(|finding| finding.what.clone())
            }
            Err(why) => Some(why),
        };
        if let Some(why) = why {
            let left_out = bases.iter().filter(|base| **base > damaged).count();
            cut(folder, copy, &bases, (damaged, position))?;
            let file = segment::file_name(damaged);
            repaired = Repaired { segments: bases.len() - left_out, ..Repaired::default() };
            repaired.cut = Some(Cut { file, position, left_out, why });
        }
    }
    File::open(copy)?.sync_all()?;
    Ok(repaired)
}

/// Copies the marker, the segments and their sidecars. Returns the segments, in order.
fn copy_files(folder: &Path, copy: &Path) -> io::Result<Vec<u64>> {
    fs::create_dir(copy)?;
    let mut bases = Vec::new();
    let mut names = names(folder)?;
    names.retain(|name| {
        name == MARKER_FILE || segment::base_of(name).is_some() || sidecar::base_of(name).is_some()
    });
    let files = Files::new("copying", names.len());
    for name in names {
        files.next(&name);
        bases.extend(segment::base_of(&name));
        fs::copy(folder.join(&name), copy.join(&name))?;
        File::open(copy.join(&name))?.sync_all()?;
    }
    Ok(bases)
}

type Mended = Result<Vec<(String, Replaced)>, String>;

/// Replaces the damaged frames of a copy; the inner error says why that cannot be.
fn replace(copy: &Path, bases: &[u64], log_end: u64) -> io::Result<Mended> {
    let marker = match Marker::decode(&fs::read(copy.join(MARKER_FILE))?) {
        Ok(marker) => marker,
        Err(what) => return Ok(Err(what)),
    };
    let mut salvage = Salvage::new(&marker, bases.first().copied().unwrap_or(0), log_end);
    let mut all = Vec::new();
    for (number, base) in bases.iter().enumerate().take_while(|(_, base)| **base < log_end) {
        let follows = number.checked_sub(1).is_none_or(|last| bases[last] + marker.segment_bytes == *base);
        if !follows {
            return Ok(Err("a segment is missing".into()));
        }
        let name = segment::file_name(*base);
        let mut bytes = fs::read(copy.join(&name))?;
        let sidecar = fs::read(copy.join(sidecar::file_name(*base))).ok();
        let next = first_block(&copy.join(segment::file_name(base + marker.segment_bytes)));
        let later = |base: u64| fs::read(copy.join(segment::file_name(base))).ok();
        match salvage.segment(Segment { bytes: &mut bytes, sidecar, next: &next, later: &later }) {
            Ok(replaced) if replaced.is_empty() => {}
            Ok(replaced) => {
                let mut file = OpenOptions::new().write(true).open(copy.join(&name))?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                all.extend(replaced.into_iter().map(|replaced| (name.clone(), replaced)));
            }
            Err(why) => return Ok(Err(format!("{name}: {why}"))),
        }
    }
    Ok(Ok(all))
}

/// Nothing where there is no file.
fn first_block(path: &Path) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let read = File::open(path).and_then(|file| file.take(BLOCK_BYTES as u64).read_to_end(&mut block));
    if read.is_ok() { block } else { Vec::new() }
}

/// Takes away what lies after the first damage, and what was replaced before it.
fn cut(folder: &Path, copy: &Path, bases: &[u64], (damaged, position): (u64, u64)) -> io::Result<()> {
    for base in bases.iter().filter(|base| **base >= damaged) {
        fs::remove_file(copy.join(segment::file_name(*base)))?;
        match fs::remove_file(copy.join(sidecar::file_name(*base))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let name = segment::file_name(damaged);
    if bases.contains(&damaged) {
        copy_up_to(&folder.join(&name), &copy.join(&name), position)?;
    }
    Ok(())
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
