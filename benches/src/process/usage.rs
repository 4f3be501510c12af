//! What a process has used: CPU time, memory, context switches and writes, from `/proc`.

use crate::os;
use std::fs;
use std::io;
use std::time::Duration;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// User and system time of all its threads, the kernel's workers for it included as far as they are its threads.
    pub cpu: Duration,
    /// Resident memory that belongs to no file, bytes: mapped log files are the page cache's, not the process's.
    pub rss_anon_bytes: u64,
    /// All resident memory, bytes.
    pub rss_bytes: u64,
    /// Times that one of its threads stopped running, by its own will or not. Threads that have ended count no more.
    pub context_switches: u64,
    /// Bytes that it caused to be written to a disk; 0 if we may not know.
    pub written_bytes: u64,
}

impl Usage {
    /// Of one process.
    pub fn of(pid: u32) -> io::Result<Usage> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let usage = parse(&stat, &status, os::ticks_per_second()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid} is not readable"))
        })?;
        let context_switches = context_switches_of_threads(pid)?;
        let written_bytes = io_bytes(pid, "write_bytes:").unwrap_or_default();
        Ok(Usage { context_switches, written_bytes, ..usage })
    }

    /// Of this process.
    pub fn of_ourselves() -> io::Result<Usage> {
        Usage::of(std::process::id())
    }
}

/// Bytes that a process had to read from a disk.
pub fn read_bytes(pid: u32) -> io::Result<u64> {
    io_bytes(pid, "read_bytes:")
}

fn io_bytes(pid: u32, name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|bytes| bytes.trim().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/io is not readable")))
}

fn context_switches_of_threads(pid: u32) -> io::Result<u64> {
    let mut switches = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        switches += context_switches(&status);
    }
    Ok(switches)
}

fn context_switches(status: &str) -> u64 {
    let lines = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
    lines.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}

fn parse(stat: &str, status: &str, ticks_per_second: u64) -> Option<Usage> {
    // The second field is the command in parentheses and may contain anything, even parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(Usage {
        cpu: Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64),
        rss_anon_bytes: kib(status, "RssAnon:")? * 1024,
        rss_bytes: kib(status, "VmRSS:")? * 1024,
        ..Usage::default()
    })
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_found_whatever_the_command_is_called() {
        let stat = "77 (a ) b) S 1 77 77 0 -1 4194304 9 0 0 0 250 130 0 0 20 0 5 0 100 1 1";
        let status = "Name:\ta\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\nThreads:\t5\n";
        let usage = Usage {
            cpu: Duration::from_millis(3800),
            rss_anon_bytes: 1 << 20,
            rss_bytes: 2 << 20,
            ..Usage::default()
        };
        assert_eq!(parse(stat, status, 100), Some(usage));
        assert_eq!(parse("77", status, 100), None);
        assert_eq!(parse(stat, "Name:\ta\n", 100), None);
    }

    #[test]
    fn both_kinds_of_context_switches_count() {
        let status = "Name:\ta\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n";
        assert_eq!(context_switches(status), 695);
        assert_eq!(context_switches("Name:\ta\n"), 0);
    }

    #[test]
    fn our_own_usage_is_known() {
        assert!(Usage::of_ourselves().expect("Linux").rss_bytes > 0);
    }
}
