//! Which segments may go: by age, by bytes, by their share of the disk; never one that is still read or needed. Pure.
//!
//! ```text
//!   oldest │ … │ newest sealed │ active          only the oldest may go, then the next one
//!   └ expired? ─▶ recovery without it knows all? ─▶ nobody reads it? ─▶ facts point there? carried forward ─▶ retires
//! ```
//!
//! A segment expires as a whole, when its newest record has: so no record goes before its time, and some stay longer. A
//! topic has no age of its own.
//!
//! Whether a clock can be believed is decided here too: one that jumped by more than an hour expires nothing until it is
//! back, or until a restart, by which its operator says that it is right.
//!
//! Records that facts still point to live on at the log's end ([`crate::carrying`]). They do not count as bytes of the log:
//! where they alone are more than it may hold, it would else be copied for ever and never get smaller. So a log may be
//! larger by them. By age they are carried forward again and again, once in the time that records are kept.
//!
//! Not here: the loop (`retiring`), how a file leaves the log (`log::segment_set`).

use std::time::Duration;

use crate::env::DiskSpace;

/// The clock may differ by so much from what it was expected to say.
const CLOCK_JUMP_MAX: Duration = Duration::from_secs(3600);

/// How long records are kept. What is not set keeps them for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Since its newest record was stored.
    pub age: Option<Duration>,
    /// Of the log, from its oldest segment to its end.
    pub bytes_max: Option<u64>,
    /// The same, as a part of the disk: millionths, because several shards share a percent.
    pub disk_millionths_max: Option<u32>,
}

/// The oldest segment with those that go with it: what is left then begins with a whole base of facts, from which all
/// later sidecars can be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Oldest {
    /// Of the last of them.
    pub last_base: u64,
    /// When the newest record of them was stored, milliseconds since 1970.
    pub newest_ms: i64,
    /// Recovery without it knows all facts and queue ends.
    pub is_spare: bool,
    /// Somebody reads it.
    pub is_read: bool,
}

/// What is known when the rule is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// The wall clock, if it can be believed.
    pub now_ms: Option<i64>,
    /// Up to where the log is durable.
    pub log_end: u64,
    /// Bytes of the log after the oldest segments that are records carried forward, and what was written around them.
    pub carried_bytes: u64,
    pub disk: DiskSpace,
}

/// What is to become of the oldest segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its time has not come.
    Keep,
    /// It has, but somebody needs it still.
    Wait,
    /// It may go.
    Retire,
}

impl Retention {
    /// Decides about the oldest segment.
    pub(crate) fn decide(&self, oldest: &Oldest, at: &Circumstances) -> Verdict {
        let log_bytes = at.log_end.saturating_sub(oldest.last_base).saturating_sub(at.carried_bytes);
        let expired = self.age.zip(at.now_ms).is_some_and(|(age, now_ms)| {
            let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            now_ms.saturating_sub(oldest.newest_ms) > age_ms
        });
        let too_many = self.bytes_max.is_some_and(|max| log_bytes > max);
        let too_large = self.disk_millionths_max.is_some_and(|max| {
            u128::from(log_bytes) * 1_000_000 > u128::from(at.disk.total) * u128::from(max)
        });
        match expired || too_many || too_large {
            false => Verdict::Keep,
            true if oldest.is_spare && !oldest.is_read => Verdict::Retire,
            true => Verdict::Wait,
        }
    }
}

/// Watches whether the wall clock goes as fast as time does.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    /// What both clocks said when they last agreed.
    agreed: Option<(i64, Duration)>,
}

impl ClockWatch {
    /// The wall clock's time, if it can be believed.
    pub fn look(&mut self, wall_ms: i64, monotonic: Duration) -> Option<i64> {
        let Some((agreed_ms, agreed_at)) = self.agreed else {
            self.agreed = Some((wall_ms, monotonic));
            return Some(wall_ms);
        };
        let passed_ms = i64::try_from(monotonic.saturating_sub(agreed_at).as_millis()).unwrap_or(i64::MAX);
        let jump_ms = wall_ms.abs_diff(agreed_ms.saturating_add(passed_ms));
        if u128::from(jump_ms) > CLOCK_JUMP_MAX.as_millis() {
            return None;
        }
        self.agreed = Some((wall_ms, monotonic));
        Some(wall_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const DISK: DiskSpace = DiskSpace { total: 1_000_000, available: 0 };

    #[test]
    fn a_segment_goes_when_it_has_expired_and_nobody_needs_it() {
        let oldest = Oldest { last_base: 1000, newest_ms: 10 * HOUR_MS, is_spare: true, is_read: false };
        let at = Circumstances { now_ms: Some(82 * HOUR_MS), log_end: 5000, carried_bytes: 0, disk: DISK };
        let none = Retention::default();
        let aged = |hours: u64| Retention { age: Some(Duration::from_secs(3600 * hours)), ..none };
        let sized = |bytes| Retention { bytes_max: Some(bytes), ..none };
        let shared = |millionths| Retention { disk_millionths_max: Some(millionths), ..none };
        use Verdict::{Keep, Retire, Wait};
        #[rustfmt::skip]
        let rows: &[(&str, Retention, Oldest, Circumstances, Verdict)] = &[
            ("nothing is set",         none,         oldest, at, Keep),
            ("just young enough",      aged(72),     oldest, at, Keep),
            ("a millisecond too old",  aged(72),     oldest, Circumstances { now_ms: Some(82 * HOUR_MS + 1), ..at }, Retire),
            ("no believable clock",    aged(1),      oldest, Circumstances { now_ms: None, ..at }, Keep),
            ("a clock before it",      aged(1),      oldest, Circumstances { now_ms: Some(0), ..at }, Keep),
            ("just few enough bytes",  sized(4000),  oldest, at, Keep),
            ("a byte too many",        sized(3999),  oldest, at, Retire),
            ("bytes need no clock",    sized(3999),  oldest, Circumstances { now_ms: None, ..at }, Retire),
            ("carried do not count",   sized(3999),  oldest, Circumstances { carried_bytes: 1, ..at }, Keep),
            ("but all the others",     sized(3998),  oldest, Circumstances { carried_bytes: 1, ..at }, Retire),
            ("none but carried ones",  sized(0),     oldest, Circumstances { carried_bytes: 4001, ..at }, Keep),
            ("carried for an age",     aged(1),      oldest, Circumstances { carried_bytes: 4000, ..at }, Retire),
            ("just its share",         shared(4000), oldest, at, Keep),
            ("more than its share",    shared(3999), oldest, at, Retire),
            ("one reason is enough",   Retention { bytes_max: Some(1 << 40), ..aged(1) }, oldest, at, Retire),
            ("needed for recovery",    aged(1),      Oldest { is_spare: false, ..oldest }, at, Wait),
            ("being read",             aged(1),      Oldest { is_read: true, ..oldest }, at, Wait),
            ("read, not expired",      aged(72),     Oldest { is_read: true, ..oldest }, at, Keep),
        ];
        for (what, retention, oldest, at, verdict) in rows {
            assert_eq!(retention.decide(oldest, at), *verdict, "{what}");
        }
    }

    #[test]
    fn a_clock_that_jumped_is_not_believed_until_it_is_back() {
        let mut watch = ClockWatch::default();
        let hours = |n: u64| Duration::from_secs(3600 * n);
        #[rustfmt::skip]
        let rows = [
            (100 * HOUR_MS,                hours(0), true),
            (101 * HOUR_MS,                hours(1), true),
            (102 * HOUR_MS + HOUR_MS,      hours(2), true),
            (103 * HOUR_MS + HOUR_MS,      hours(3), true),
            (204 * HOUR_MS,                hours(4), false),
            (205 * HOUR_MS,                hours(5), false),
            (107 * HOUR_MS,                hours(6), true),
            (106 * HOUR_MS,                hours(7), false),
            (109 * HOUR_MS,                hours(8), true),
        ];
        for (wall_ms, monotonic, believed) in rows {
            assert_eq!(watch.look(wall_ms, monotonic).is_some(), believed, "{wall_ms} at {monotonic:?}");
        }
    }
}
