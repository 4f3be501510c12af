//! A segment: one file of the log, and its name.
//!
//! Segment n covers the physical offsets `n·segment_bytes .. (n+1)·segment_bytes` and is named by the first of
//! them, in 20 digits: `00000000000268435456.log`. It has no header of its own: its first frame carries the chain.
//!
//! A segment that retired is renamed to `….spare`, and from there to the name of a later segment. What it holds is not
//! overwritten before: every frame says where in the log it belongs, and so is never taken for one of the later segment.

use std::path::{Path, PathBuf};

/// The name of the segment that begins at this physical offset.
pub fn file_name(base: u64) -> String {
    format!("{base:020}.log")
}

/// The name of a file that held the segment at this physical offset and may hold another.
pub fn spare_name(base: u64) -> String {
    format!("{base:020}.spare")
}

/// The base of the segment that a spare file held; `None` for another name.
pub fn spare_base_of(name: &str) -> Option<u64> {
    name.strip_suffix(".spare").and_then(|digits| base_of(&format!("{digits}.log")))
}

/// The physical offset at which the segment of that name begins; `None` for a name that is no segment's.
pub fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { digits.parse().ok() } else { None }
}

/// Where the segment is that begins at this physical offset.
pub fn path(folder: &Path, base: u64) -> PathBuf {
    folder.join(file_name(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_twenty_digits_and_nothing_else() {
        let rows: &[(&str, Option<u64>)] = &[
            ("00000000000000000000.log", Some(0)),
            ("00000000000268435456.log", Some(268_435_456)),
            ("18446744073709551615.log", Some(u64::MAX)),
            ("99999999999999999999.log", None),
            ("0000000000000000000.log", None),
            ("+0000000000000000000.log", None),
            ("00000000000000000000", None),
            ("00000000000000000000.log.old", None),
        ];
        for (name, base) in rows {
            assert_eq!(base_of(name), *base, "{name}");
        }
        assert_eq!(base_of(&file_name(4096)), Some(4096));
        assert_eq!((spare_base_of(&spare_name(4096)), base_of(&spare_name(4096))), (Some(4096), None));
    }
}
