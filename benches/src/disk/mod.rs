//! What the disk does for anybody: the yardstick that durable rates are measured with.
//!
//! A disk's speed changes with the hour on shared machines, so it is measured in the same run as the server. The pattern
//! is the smallest durable write: 4 KiB into blocks that were written before, past the page cache, then `fdatasync`,
//! one after another. `fio`, where it is installed, does the same and should agree.
//!
//! Reads: whole segments one after the other, past the page cache, 512 KiB each with four in flight.
//!
//! Not here: larger writes and several in flight, which is how a server beats this rate.

use crate::os::{self, AlignedBytes, BLOCK_BYTES};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Blocks of the file that is overwritten again and again.
const FILE_BLOCKS: usize = 4096;

/// How fast the disk makes 4 KiB durable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DiskSpeed {
    /// Writes with flush per second, measured here.
    pub per_second: f64,
    /// Median, microseconds.
    pub p50_us: f64,
    /// 99th percentile, microseconds.
    pub p99_us: f64,
    /// The same by `fio`, if it is installed.
    pub fio_per_second: Option<f64>,
}

impl DiskSpeed {
    /// The rate that bars refer to: fio's, or ours without it.
    pub fn yardstick(&self) -> f64 {
        self.fio_per_second.unwrap_or(self.per_second)
    }
}

/// Measures in `folder` for about `time` (each way), and leaves nothing behind.
pub fn measure(folder: &Path, time: Duration) -> io::Result<DiskSpeed> {
    let path = folder.join("disk-speed");
    let measured = measure_file(&path, time);
    let fio_per_second = fio(&path, time);
    fs::remove_file(&path)?;
    Ok(DiskSpeed { fio_per_second, ..measured? })
}

/// Measures with a file of that name, which stays behind, and without `fio`.
pub fn measure_file(path: &Path, time: Duration) -> io::Result<DiskSpeed> {
    let file = os::open_direct(path, true)?;
    // Blocks never written before cost a journal commit each; a log that prepares its segments does not pay it.
    let all = AlignedBytes::blocks(FILE_BLOCKS);
    file.write_all_at(&all, 0)?;
    file.sync_all()?;

    let mut block = AlignedBytes::blocks(1);
    let mut latency = Histogram::<u64>::new(3).expect("three digits are allowed");
    let started = Instant::now();
    let mut writes = 0_u64;
    while started.elapsed() < time {
        let before = started.elapsed();
        block[..8].copy_from_slice(&writes.to_le_bytes());
        file.write_all_at(&block, writes % FILE_BLOCKS as u64 * BLOCK_BYTES as u64)?;
        file.sync_data()?;
        let took = started.elapsed().saturating_sub(before);
        latency.record(took.as_nanos() as u64).expect("no upper bound");
        writes += 1;
    }
    let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    Ok(DiskSpeed {
        per_second: writes as f64 / started.elapsed().as_secs_f64(),
        p50_us: us(0.5),
        p99_us: us(0.99),
        fio_per_second: None,
    })
}

/// The same with `fio` on the same file; `None` if it is not installed or fails.
fn fio(path: &Path, time: Duration) -> Option<f64> {
    let output = Command::new("fio")
        .args([
            "--name=disk-speed",
            "--rw=write",
            "--bs=4k",
            "--ioengine=psync",
            "--direct=1",
            "--fdatasync=1",
        ])
        .args(["--overwrite=1", "--time_based", "--output-format=json"])
        .arg(format!("--size={}", FILE_BLOCKS * BLOCK_BYTES))
        .arg(format!("--runtime={}", time.as_secs().max(1)))
        .arg(format!("--filename={}", path.display()))
        .output()
        .ok()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    report["jobs"][0]["write"]["iops"].as_f64().filter(|iops| *iops > 0.0)
}

/// The segments of a shard's folder that nobody writes to any more: all but the last two.
pub fn sealed_segments(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            segments.push(path);
        }
    }
    segments.sort();
    segments.truncate(segments.len().saturating_sub(2));
    Ok(segments)
}

/// Bytes per second of `fio` reading these files once, one after the other. All of them: a disk whose host has a cache is
/// faster where it was read before.
pub fn sequential_read(files: &[PathBuf]) -> io::Result<f64> {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let output = Command::new("fio")
        .args(["--name=sequential-read", "--rw=read", "--bs=512k", "--ioengine=io_uring", "--iodepth=4"])
        .args(["--direct=1", "--readonly", "--file_service_type=sequential", "--output-format=json"])
        .arg(format!("--filename={}", names.join(":")))
        .output()?;
    let report: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    let rate = report.and_then(|report| report["jobs"][0]["read"]["bw_bytes"].as_f64());
    rate.filter(|rate| *rate > 0.0).ok_or_else(|| {
        io::Error::other(format!("fio says: {}", String::from_utf8_lossy(&output.stderr).trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_counts_durable_writes_and_leaves_no_file() {
        let folder = std::env::current_dir().expect("known").join(format!("disk-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("writable");
        let speed =
            measure_file(&folder.join("disk-speed"), Duration::from_millis(1)).expect("direct files work");
        assert!(speed.per_second > 0.0 && speed.p50_us > 0.0 && speed.p99_us >= speed.p50_us, "{speed:?}");
        assert_eq!(speed.yardstick(), speed.per_second);
        fs::remove_dir_all(&folder).expect("ours");
    }
}
