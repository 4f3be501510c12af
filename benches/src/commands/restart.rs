//! `restart`: how soon a server that was killed serves again, with little and with much in its log, and what it reads for
//! that; how much memory and how many files it needs for many queues.
//!
//! ```text
//! start ─ make topics ─ fill to the first size ─ rest ─ [kill -9, forget what is cached, start] × runs ─ fill on …
//! ```
//!
//! A restart reads what follows the newest sidecar: so much of the active segment as is written. That part is the same at
//! every size here (`--active-percent`), because it has nothing to do with the size.

use super::stage::Stage;
use super::{CommandError, failed_to};
use crate::load::fill::Fill;
use crate::process::Server;
use crate::report::{Bar, Report};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Bars: to "ready" at the largest size, and its ratio to the smallest.
const SECONDS: f64 = 1.0;
const RATIO: f64 = 1.2;
/// Bar: memory of a server that has just restarted, and of each queue.
const RSS_BYTES: f64 = 64.0 * 1024.0 * 1024.0;
const BYTES_PER_QUEUE: f64 = 256.0;
/// Bar: files of a shard, per segment and besides.
const FILES_PER_SEGMENT: f64 = 2.0;
const FILES_BESIDES: f64 = 10.0;
const SEGMENT_BYTES: u64 = 256 << 20;
/// Long enough that segments are sealed and memory is given back.
const REST: Duration = Duration::from_secs(10);

/// How soon a killed server serves again.
#[derive(Debug, Args)]
pub struct Restart {
    #[command(flatten)]
    stage: Stage,
    /// Shards of the server.
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// Sizes of the log, all shards together, in MiB, ascending.
    #[arg(long, value_delimiter = ',', default_values_t = [1024, 20480])]
    mebibytes: Vec<u64>,
    /// Queues, all shards together, ten of each topic.
    #[arg(long, default_value_t = 100_000)]
    queues: u32,
    /// Length of each message's body.
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
    /// Messages per request.
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// How much of the active segment is written when the server is killed, in percent.
    #[arg(long, default_value_t = 50)]
    active_percent: u64,
    /// Kills and restarts at each size; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// What the restarts at one size were like.
struct Measured {
    seconds: f64,
    rss_bytes: u64,
    most_files: usize,
    segments: usize,
}

const QUEUES_PER_TOPIC: u32 = 10;

impl Restart {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report("restart");
        let folder = set.new_folder("restart");
        let mut server = set.start_ringmq_in(&folder, self.shards)?;
        let fill = Fill {
            topics: self.queues / QUEUES_PER_TOPIC / u32::from(self.shards),
            queues: QUEUES_PER_TOPIC,
            body_bytes: self.body_bytes,
            batch: self.batch,
        };
        eprintln!("making {} topics on each of {} shards …", fill.topics, self.shards);
        each(&server, |broker| fill.create_topics(broker))?;
        let mut measured = Vec::new();
        for size in &self.mebibytes {
            eprintln!("filling to {size} MiB …");
            let whole = (size << 20) / u64::from(self.shards) / SEGMENT_BYTES;
            let physical = whole * SEGMENT_BYTES + SEGMENT_BYTES * self.active_percent.min(99) / 100;
            let sent = each(&server, |broker| fill.run(broker, physical))?;
            report.fact(format!("{size} MiB: messages sent"), sent.iter().sum::<u64>() as f64, "");
            thread::sleep(REST);
            let filled = server.usage().map_err(failed_to("read /proc of the server"))?;
            report.fact(
                format!("{size} MiB: resident after filling, cache of the tail included"),
                mib(filled.rss_bytes),
                "MiB",
            );
            let (restarted, result) = self.restarts(&mut set, server, &folder, *size, &mut report)?;
            server = restarted;
            measured.push(result);
        }
        server.stop();
        if let (Some(first), Some(last)) = (measured.first(), measured.last()) {
            report.bars.push(Bar::at_most(
                "kill -9 to ready, largest size, median",
                SECONDS,
                Some(last.seconds),
                "s",
            ));
            let ratio = last.seconds / first.seconds;
            report.bars.push(Bar::at_most("ratio of that to the smallest size", RATIO, Some(ratio), ""));
            let allowed = RSS_BYTES + BYTES_PER_QUEUE * f64::from(self.queues);
            let resident = Some(mib(first.rss_bytes));
            report.bars.push(Bar::at_most(
                "resident after a restart, smallest size",
                allowed / f64::from(1 << 20),
                resident,
                "MiB",
            ));
            let files = FILES_PER_SEGMENT * last.segments as f64 + FILES_BESIDES;
            report.bars.push(Bar::at_most(
                "files of a shard, largest size",
                files,
                Some(last.most_files as f64),
                "",
            ));
        }
        Ok(report)
    }

    fn restarts(
        &self,
        set: &mut super::stage::Set,
        mut server: Server,
        folder: &Path,
        size: u64,
        report: &mut Report,
    ) -> Result<(Server, Measured), CommandError> {
        let mut seconds = Vec::new();
        let mut read = Vec::new();
        for _ in 0..self.runs.max(1) {
            server.kill().map_err(failed_to("kill the server"))?;
            for file in files(folder)?.into_iter().flatten() {
                crate::os::forget_cached(&file).map_err(failed_to("forget what is cached of a file"))?;
            }
            server = set.start_ringmq_in(folder, self.shards)?;
            read.push(server.read_bytes().map_err(failed_to("read /proc of the server"))?);
            seconds.push(server.ready_after.as_secs_f64());
        }
        thread::sleep(REST);
        let usage = server.usage().map_err(failed_to("read /proc of the server"))?;
        seconds.sort_by(f64::total_cmp);
        read.sort_unstable();
        let files = files(folder)?;
        let segments = |files: &Vec<PathBuf>| {
            files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "log")).count()
        };
        let median = seconds[seconds.len() / 2];
        report.fact(format!("{size} MiB: kill -9 to ready, median of {}", seconds.len()), median, "s");
        report.fact(format!("{size} MiB: slowest"), seconds[seconds.len() - 1], "s");
        report.fact(
            format!("{size} MiB: read from the disk until ready, median"),
            mib(read[read.len() / 2]),
            "MiB",
        );
        report.fact(format!("{size} MiB: resident after a restart"), mib(usage.rss_bytes), "MiB");
        report.fact(format!("{size} MiB: of that anonymous"), mib(usage.rss_anon_bytes), "MiB");
        let most_files = files.iter().map(Vec::len).max().unwrap_or_default();
        let segments = files.iter().map(segments).max().unwrap_or_default();
        report.fact(format!("{size} MiB: files of a shard"), most_files as f64, "");
        let measured = Measured { seconds: median, rss_bytes: usage.rss_bytes, most_files, segments };
        Ok((server, measured))
    }
}

/// Does something with every broker, at once.
fn each<T: Send>(
    server: &Server,
    act: impl Fn(std::net::SocketAddr) -> Result<T, crate::load::LoadError> + Sync,
) -> Result<Vec<T>, CommandError> {
    thread::scope(|scope| {
        let running: Vec<_> = server.brokers.iter().map(|broker| scope.spawn(|| act(*broker))).collect();
        let done = running.into_iter().map(|one| one.join().expect("it does not panic"));
        done.collect::<Result<_, _>>().map_err(CommandError::from)
    })
}

/// The files of each shard.
fn files(folder: &Path) -> Result<Vec<Vec<PathBuf>>, CommandError> {
    let list = |folder: &Path| -> Result<Vec<PathBuf>, CommandError> {
        let entries = fs::read_dir(folder).map_err(failed_to("list the data folder"))?;
        entries
            .map(|entry| entry.map(|entry| entry.path()).map_err(failed_to("list the data folder")))
            .collect()
    };
    list(folder)?.iter().filter(|path| path.is_dir()).map(|shard| list(shard)).collect()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
