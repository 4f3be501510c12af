//! How full the disk is, and who may still write then. Pure.
//!
//! ```text
//!   used   0 % ────────── warn ────── refuse ─────── 100 %
//!          everybody      said once   facts only     facts, from space prepared before
//! ```
//!
//! Records that are carried forward go with the facts: without them nothing could retire, and a full disk would stay full.
//! But of the reserve they leave half to the facts.
//!
//! The share is `df`'s: what ordinary users cannot write is used. What the log has prepared for itself is used too.
//!
//! Not here: when the file system is asked (`log::appender`), the space kept prepared for facts (`log`).

use crate::env::DiskSpace;

/// At which shares of the disk what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceLimits {
    /// Percent used from which on it is said.
    pub warn_percent: u8,
    /// Percent used from which on records are refused. More than 100: never, until the disk has nothing left.
    pub refuse_percent: u8,
    /// Prepared bytes that only fact changes may fill once the disk has nothing left; at most half a segment.
    pub reserve_bytes: u64,
}

impl Default for SpaceLimits {
    fn default() -> SpaceLimits {
        SpaceLimits { warn_percent: 85, refuse_percent: 90, reserve_bytes: 4 << 20 }
    }
}

/// What somebody wants to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// Records, perhaps with facts.
    Records,
    /// Records carried forward, with the facts that point to them.
    Carried,
    /// Facts only.
    Facts,
}

impl SpaceLimits {
    /// What of the prepared space must be left when the disk has nothing more.
    pub(crate) fn reserve_from(&self, writes: Writes) -> u64 {
        match writes {
            Writes::Records => self.reserve_bytes,
            Writes::Carried => self.reserve_bytes / 2,
            Writes::Facts => 0,
        }
    }
}

/// What the disk's fullness asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum SpaceLevel {
    #[default]
    Roomy,
    Warned,
    Refused,
}

impl SpaceLevel {
    /// Whether that may be written while there is prepared space.
    pub fn admits(self, writes: Writes) -> bool {
        self != SpaceLevel::Refused || writes != Writes::Records
    }

    /// The level of a disk that has this space.
    pub fn of(space: DiskSpace, limits: &SpaceLimits) -> SpaceLevel {
        let reaches = |percent: u8| {
            let used = u128::from(space.total - space.available.min(space.total));
            used * 100 >= u128::from(percent) * u128::from(space.total)
        };
        if reaches(limits.refuse_percent) {
            SpaceLevel::Refused
        } else if reaches(limits.warn_percent) {
            SpaceLevel::Warned
        } else {
            SpaceLevel::Roomy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_share_of_the_disk_has_its_level() {
        let limits = SpaceLimits::default();
        #[rustfmt::skip]
        let rows = [
            (1000, 1000, SpaceLevel::Roomy),
            (1000,  151, SpaceLevel::Roomy),
            (1000,  150, SpaceLevel::Warned),
            (1000,  101, SpaceLevel::Warned),
            (1000,  100, SpaceLevel::Refused),
            (1000,    1, SpaceLevel::Refused),
            (1000,    0, SpaceLevel::Refused),
            (1000, 2000, SpaceLevel::Roomy),
            (u64::MAX, u64::MAX / 2, SpaceLevel::Roomy),
            (u64::MAX, 1, SpaceLevel::Refused),
        ];
        for (total, available, level) in rows {
            assert_eq!(
                SpaceLevel::of(DiskSpace { total, available }, &limits),
                level,
                "{available} of {total}"
            );
        }
    }

    #[test]
    fn the_less_space_there_is_the_fewer_may_write() {
        let limits = SpaceLimits { reserve_bytes: 4096, ..SpaceLimits::default() };
        #[rustfmt::skip]
        let rows = [
            (Writes::Records, SpaceLevel::Warned,  true,  4096),
            (Writes::Records, SpaceLevel::Refused, false, 4096),
            (Writes::Carried, SpaceLevel::Refused, true,  2048),
            (Writes::Facts,   SpaceLevel::Refused, true,  0),
        ];
        for (writes, level, admitted, reserve) in rows {
            assert_eq!(
                (level.admits(writes), limits.reserve_from(writes)),
                (admitted, reserve),
                "{writes:?} {level:?}"
            );
        }
    }

    #[test]
    fn a_share_that_is_never_reached_refuses_nobody() {
        let limits = SpaceLimits { warn_percent: 101, refuse_percent: 101, ..SpaceLimits::default() };
        assert_eq!(SpaceLevel::of(DiskSpace { total: 10, available: 0 }, &limits), SpaceLevel::Roomy);
    }
}
