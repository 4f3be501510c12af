//! What a server writes: the line that says it is ready, and what it says about itself at the end.
//!
//! The lines looked for contain, in any other words, `longest write 1234 µs`, `longest heartbeat delay 567 µs` and `longest
//! wait for space 8 µs`. With several shards the largest counts.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// So many of the last lines are kept.
const LINES_MAX: usize = 200;

/// What a server said about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LastWords {
    /// Longest disk write, microseconds.
    pub longest_write_us: Option<u64>,
    /// Longest delay of a shard's heartbeat, microseconds: how long its loop did not run.
    pub longest_heartbeat_delay_us: Option<u64>,
    /// Longest that a frame waited for prepared space, microseconds.
    pub longest_space_wait_us: Option<u64>,
}

/// The lines of a server's output, as they come.
#[derive(Debug)]
pub struct Lines {
    incoming: Receiver<Line>,
    kept: VecDeque<String>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Line {
    text: String,
    is_ready: Option<Instant>,
}

impl Lines {
    /// Reads both outputs to their ends. A line that contains `ready` means that the server is.
    pub fn follow(
        out: Option<impl Read + Send + 'static>,
        err: Option<impl Read + Send + 'static>,
        ready: &'static str,
    ) -> Lines {
        let (sender, incoming) = mpsc::channel();
        let mut readers = Vec::new();
        readers.extend(out.map(|out| follow(out, ready, sender.clone())));
        readers.extend(err.map(|err| follow(err, ready, sender)));
        Lines { incoming, kept: VecDeque::new(), readers }
    }

    /// When the server was ready; `None` if its output ended before, or after `patience`.
    pub fn wait_until_ready(&mut self, patience: Duration) -> Option<Instant> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.incoming.recv_timeout(left).ok()?;
            let is_ready = line.is_ready;
            self.keep(line);
            if is_ready.is_some() {
                return is_ready;
            }
        }
    }

    /// The last lines, as one text.
    pub fn tail(&mut self) -> String {
        while let Ok(line) = self.incoming.try_recv() {
            self.keep(line);
        }
        self.kept.iter().map(|line| format!("    {line}\n")).collect()
    }

    /// What the server said about itself; reads its output to the end, so only when it has ended.
    pub fn last_words(&mut self) -> LastWords {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        self.tail();
        let largest = |what| self.kept.iter().filter_map(|line| microseconds_after(line, what)).max();
        LastWords {
            longest_write_us: largest("longest write"),
            longest_heartbeat_delay_us: largest("longest heartbeat delay"),
            longest_space_wait_us: largest("longest wait for space"),
        }
    }

    fn keep(&mut self, line: Line) {
        if self.kept.len() == LINES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(line.text);
    }
}

fn follow(output: impl Read + Send + 'static, ready: &'static str, sender: Sender<Line>) -> JoinHandle<()> {
    thread::spawn(move || {
        for text in BufReader::new(output).lines().map_while(Result::ok) {
            let is_ready = says(&text, ready).then(Instant::now);
            // Nobody listens to a server that is being dropped, but its pipe must not fill up.
            let _ = sender.send(Line { text, is_ready });
        }
    })
}

/// Whether a line contains these words, and not only as the end of a longer one ("already").
fn says(line: &str, words: &str) -> bool {
    line.match_indices(words).any(|(at, _)| !line[..at].ends_with(char::is_alphanumeric))
}

/// The first number after `what`, wherever it is in the line.
fn microseconds_after(line: &str, what: &str) -> Option<u64> {
    let (_, rest) = line.split_once(what)?;
    let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn lines(out: &'static str, err: &'static str) -> Lines {
        Lines::follow(Some(Cursor::new(out)), Some(Cursor::new(err)), "ready")
    }

    #[test]
    fn the_ready_line_is_found_in_either_output() {
        assert!(lines("starting\nready on 10911\n", "").wait_until_ready(Duration::from_secs(10)).is_some());
        assert!(lines("", "INFO ready\n").wait_until_ready(Duration::from_secs(10)).is_some());
        assert_eq!(lines("", "port 1 is already taken\n").wait_until_ready(Duration::from_secs(10)), None);
        let mut failed = lines("", "no such folder\n");
        assert_eq!(failed.wait_until_ready(Duration::from_secs(10)), None);
        assert_eq!(failed.tail(), "    no such folder\n");
    }

    #[test]
    fn the_largest_of_several_shards_counts() {
        let words = lines(
            "",
            "INFO shard 0: longest write 1234 µs, longest heartbeat delay 56 µs\n\
             INFO shard 1: longest write: 99 µs, longest wait for space 8 µs\n\
             longest heartbeat delay=7001µs\n",
        )
        .last_words();
        let [write, delay, wait] = [1234, 7001, 8].map(Some);
        let expected = LastWords {
            longest_write_us: write,
            longest_heartbeat_delay_us: delay,
            longest_space_wait_us: wait,
        };
        assert_eq!(words, expected);
        assert_eq!(lines("", "bye\n").last_words(), LastWords::default());
    }
}
