//! How far to read ahead of whoever reads the log one record after the other. Pure.
//!
//! A reader is known by its place alone: who wants bytes where somebody was about to go on is taken for that one. So
//! the consumers of several queues of one topic, whose records alternate in the log, are one reader, and so are two
//! groups side by side.
//!
//! ```text
//!            wanted      asked for, not wanted yet
//!   ─────────┬──────────┬─────────────────────────┬────────
//!          from       next                      asked            window = asked − next, at most
//! ```
//!
//! | the reader | is read ahead |
//! | --- | --- |
//! | new, or random: wants what nobody was about to want | nothing |
//! | goes on | a window that doubles each time half of it is used up, to [`Limits::window_max`]; refilled a read at a time |
//! | goes back, or lags behind another | nothing: what it wants was read for the other |
//! | one of many | the window's bound is divided among those that are reading |
//!
//! Invariants
//!  1. At most [`STREAMS_MAX`] readers are known; the one that was silent longest is forgotten first.
//!  2. What is read ahead never passes the limit given: beyond it the log may still change.
//!
//! Not here: what is in memory already, and the memory's bound (`extents`).

use crate::env::BLOCK_BYTES;
use crate::limits::{COLD_READ_BYTES_MAX, READ_GAP_BYTES_MAX, READ_WINDOW_BYTES_MAX};
use crate::planted::{self, Bug};

/// Readers known at a time.
const STREAMS_MAX: usize = 64;
/// A reader that others have overtaken so often is not reading.
const SILENT_AFTER: u64 = 256;
/// How far behind the foremost of a group of readers another may be and still be one of them.
const BEHIND_BYTES_MAX: u64 = 1 << 20;

/// Lengths that follow from the memory for cold bytes, so that a tiny one brings every edge near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// One read from the disk.
    pub read_bytes_max: u64,
    /// What is read ahead of one reader, when it is the only one.
    pub window_max: u64,
}

impl Limits {
    /// For so much memory.
    pub fn of(memory_bytes: usize) -> Limits {
        let (block, memory) = (BLOCK_BYTES as u64, memory_bytes as u64);
        let read_bytes_max = (memory / 32).clamp(block, COLD_READ_BYTES_MAX as u64);
        Limits {
            read_bytes_max: read_bytes_max - read_bytes_max % block,
            window_max: (memory / 4).min(READ_WINDOW_BYTES_MAX),
        }
    }
}

/// One per shard.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    limits: Limits,
    streams: Vec<Stream>,
    /// Counts what was wanted.
    now: u64,
}

/// One reader.
#[derive(Debug, Clone, Copy)]
struct Stream {
    next: u64,
    asked: u64,
    window: u64,
    /// The window doubles when it has read up to here.
    grows_at: u64,
    used_at: u64,
}

impl ReadAhead {
    /// Nobody reads yet.
    pub fn new(limits: Limits) -> ReadAhead {
        ReadAhead { limits, streams: Vec::new(), now: 0 }
    }

    /// Somebody wants `from..to`. Returns where reading ahead should end: `to`, or beyond, but not beyond `limit`.
    pub fn follow(&mut self, from: u64, to: u64, limit: u64) -> u64 {
        self.now += 1;
        let now = self.now;
        let Some(at) = self.find(from) else {
            self.remember(Stream { next: to, asked: to, window: 0, grows_at: to, used_at: now });
            return to;
        };
        let window_max = self.window_max();
        let Limits { read_bytes_max, .. } = self.limits;
        let stream = &mut self.streams[at];
        stream.used_at = now;
        if to <= stream.next {
            return to;
        }
        stream.next = to;
        stream.asked = stream.asked.max(to);
        if window_max < read_bytes_max {
            return to;
        }
        if to >= stream.grows_at {
            stream.window *= 2;
            stream.grows_at = to + stream.window.max(read_bytes_max) / 2;
        }
        stream.window = stream.window.clamp(read_bytes_max, window_max);
        if stream.asked - to + read_bytes_max > stream.window {
            return to;
        }
        // Reads that end where others would begin are neither split nor repeated.
        let end = to + stream.window;
        let end = end - end % read_bytes_max;
        let end = if planted::is(Bug::ReadAheadPastDurable) { end } else { end.min(limit) };
        if end <= stream.asked {
            return to;
        }
        stream.asked = end;
        end
    }

    /// The reader who was about to read at `from`: the nearest.
    fn find(&self, from: u64) -> Option<usize> {
        let near = |stream: &Stream| {
            from + BEHIND_BYTES_MAX >= stream.next && from <= stream.asked + READ_GAP_BYTES_MAX
        };
        let candidates = self.streams.iter().enumerate().filter(|(_, stream)| near(stream));
        candidates.min_by_key(|(_, stream)| stream.next.abs_diff(from)).map(|(at, _)| at)
    }

    fn remember(&mut self, stream: Stream) {
        if self.streams.len() < STREAMS_MAX {
            self.streams.push(stream);
        } else if let Some(oldest) = self.streams.iter_mut().min_by_key(|stream| stream.used_at) {
            *oldest = stream;
        }
    }

    /// The bound of one reader's window: readers that go on share the memory.
    fn window_max(&self) -> u64 {
        let reading = |stream: &&Stream| stream.window > 0 && stream.used_at + SILENT_AFTER > self.now;
        let readers = self.streams.iter().filter(reading).count().max(1) as u64;
        self.limits.window_max.min(2 * self.limits.window_max / readers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1 << 20;
    const END: u64 = 1 << 40;

    fn rule() -> ReadAhead {
        ReadAhead::new(Limits::of(32 << 20))
    }

    #[test]
    fn lengths_follow_from_the_memory() {
        #[rustfmt::skip]
        let rows = [
            // memory, one read, window
            (32 << 20,  512 * KIB, 8 * MIB),
            (16 << 20,  512 * KIB, 4 * MIB),
            ( 4 << 20,  128 * KIB, MIB),
            (64 << 10,    4 * KIB,  16 * KIB),
            (1,           4 * KIB,         0),
            (usize::MAX, 512 * KIB, 8 * MIB),
        ];
        for (memory, read_bytes_max, window_max) in rows {
            assert_eq!(Limits::of(memory), Limits { read_bytes_max, window_max }, "{memory} bytes");
        }
    }

    #[test]
    fn who_goes_on_is_read_ahead_in_doubling_windows() {
        let mut rule = rule();
        let mut ends = Vec::new();
        for pull in 0..1024 {
            let from = 100 * MIB + pull * 32 * KIB;
            let to = from + 32 * KIB;
            let end = rule.follow(from, to, END);
            if end > to {
                ends.push(((to - 100 * MIB) / KIB, (end - 100 * MIB) / KIB));
            }
        }
        #[rustfmt::skip]
        let first = [
            // having read KiB, it is read ahead to KiB
            ( 64,   512),
            (320,  1024),
            (512,  1536),
            (832,  2560),
            (1024, 3072),
        ];
        assert_eq!(ends[..5], first);
        let window = ends.iter().map(|(to, end)| end - to).max();
        assert_eq!(window, Some(8192));
        assert!(ends.len() <= 80, "one read at a time, of 512 KiB: {}", ends.len());
    }

    #[test]
    fn who_jumps_is_not_read_ahead() {
        let mut rule = rule();
        for pull in 0..1000 {
            let from = (pull * 7919 % 1000) * 16 * MIB;
            assert_eq!(rule.follow(from, from + 4 * KIB, END), from + 4 * KIB, "pull {pull}");
        }
    }

    #[test]
    fn queues_that_alternate_in_the_log_are_one_reader() {
        let mut rule = rule();
        let mut asked = 0;
        let mut reads = 0;
        for round in 0..64 {
            for queue in 0..8 {
                // 32 records of a queue, each followed by those of seven other queues.
                let from = round * 256 * KIB + queue * KIB;
                let to = from + 249 * KIB;
                let end = rule.follow(from, to, END);
                if end > to {
                    assert!(end > asked, "nothing is asked for twice");
                    asked = end;
                    reads += 1;
                }
            }
        }
        assert_eq!(rule.streams.len(), 1);
        assert!(asked >= 64 * 256 * KIB && reads <= 48, "{reads} reads to {asked}");
    }

    #[test]
    fn nothing_is_read_ahead_beyond_the_limit() {
        let mut rule = rule();
        let limit = 700 * KIB;
        let mut last = 0;
        for pull in 0..20 {
            let (from, to) = (pull * 32 * KIB, (pull + 1) * 32 * KIB);
            last = last.max(rule.follow(from, to, limit));
        }
        assert_eq!(last, limit);
    }

    #[test]
    fn many_readers_share_the_window_and_the_silent_do_not_count() {
        let mut rule = rule();
        let mut longest = 0;
        for pull in 0..400 {
            for reader in 0..16 {
                let from = reader * 1024 * MIB + pull * 32 * KIB;
                let to = from + 32 * KIB;
                let end = rule.follow(from, to, END);
                if pull > 100 {
                    longest = longest.max(end - to);
                }
            }
        }
        assert!(longest <= 2 * 8 * MIB / 16, "{longest}");
        for pull in 400..1400 {
            let from = pull * 32 * KIB;
            longest = longest.max(rule.follow(from, from + 32 * KIB, END) - from - 32 * KIB);
        }
        assert!(longest > 6 * MIB, "the others fell silent: {longest}");
    }

    #[test]
    fn a_reader_is_known_by_its_place() {
        let mut rule = rule();
        rule.follow(99 * MIB, 100 * MIB, END);
        let end = rule.follow(100 * MIB, 101 * MIB, END);
        assert_eq!(end, 101 * MIB + 512 * KIB);
        // Another one, nearer to some of the places.
        rule.follow(102 * MIB - 1, 102 * MIB, END);
        #[rustfmt::skip]
        let rows = [
            (100 * MIB - 1,             None),
            (100 * MIB,                 Some(0)),
            (101 * MIB,                 Some(0)),
            (101 * MIB + 512 * KIB - 1, Some(0)),
            (101 * MIB + 512 * KIB + 1, Some(1)),
            (102 * MIB,                 Some(1)),
            (102 * MIB + 64 * KIB,      Some(1)),
            (102 * MIB + 64 * KIB + 1,  None),
        ];
        for (from, reader) in rows {
            assert_eq!(rule.find(from), reader, "{from}");
        }
    }

    #[test]
    fn who_goes_back_or_lags_is_read_nothing_and_the_foremost_goes_on() {
        let mut rule = rule();
        rule.follow(0, 100 * KIB, END);
        assert_eq!(rule.follow(100 * KIB, 200 * KIB, END), 512 * KIB);
        for (from, to) in [(0, 100 * KIB), (100 * KIB, 200 * KIB), (50 * KIB, 60 * KIB)] {
            assert_eq!(rule.follow(from, to, END), to);
        }
        // What is left of the window has no room for a whole read; then it has doubled.
        assert_eq!(rule.follow(200 * KIB, 400 * KIB, END), 400 * KIB);
        assert_eq!(rule.follow(400 * KIB, 500 * KIB, END), 1024 * KIB);
    }

    #[test]
    fn memory_for_less_than_one_read_reads_nothing_ahead() {
        for (memory, ahead) in [(16 << 10, true), (15 << 10, false)] {
            let mut rule = ReadAhead::new(Limits::of(memory));
            let ends = (0..20).map(|pull| (pull * KIB, (pull + 1) * KIB));
            let any = ends.fold(false, |any, (from, to)| any | (rule.follow(from, to, END) > to));
            assert_eq!(any, ahead, "{memory} bytes");
        }
    }

    #[test]
    fn the_reader_that_was_silent_longest_is_forgotten() {
        let mut rule = rule();
        for reader in 0..STREAMS_MAX as u64 + 1 {
            rule.follow(reader * 16 * MIB, reader * 16 * MIB + KIB, END);
        }
        assert_eq!(rule.streams.len(), STREAMS_MAX);
        assert_eq!((rule.find(0), rule.find(16 * MIB).is_some()), (None, true));
    }
}
