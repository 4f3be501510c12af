//! Which way of making writes durable is faster on this disk: measured at start, on a scratch file.
//!
//! `fdatasync` passes through a worker thread of the kernel; `O_DSYNC` does not, but without FUA the device
//! flushes all the same. Which wins depends on the disk, so nobody is asked to know.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::env::{BLOCK_BYTES, Env, File, OpenHow};
use crate::limits::{PROBE_FLUSHES_MAX, PROBE_TIME_MAX};
use crate::store::FlushHow;

/// The scratch file; removed again.
pub(crate) const PROBE_FILE: &str = "flush-probe";
const BLOCKS: usize = 16;

/// The way chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub flush: FlushHow,
    pub reason: String,
    pub median: Duration,
    pub direct_io: bool,
}

/// Chooses how to flush in this folder. Measures even what is configured; a probe that fails chooses `fdatasync`,
/// which is right everywhere.
pub(crate) async fn choose<E: Env>(env: &E, folder: &Path, wanted: FlushHow) -> Choice {
    let path = folder.join(PROBE_FILE);
    let probed = probe(env, &path, wanted).await;
    // It may never have been made; a later start allows for it.
    let _ = env.remove(&path).await;
    probed.unwrap_or_else(|error| Choice {
        flush: if wanted == FlushHow::Probe { FlushHow::Fdatasync } else { wanted },
        reason: format!("not measured: {error}"),
        median: Duration::ZERO,
        direct_io: true,
    })
}

async fn probe<E: Env>(env: &E, path: &Path, wanted: FlushHow) -> io::Result<Choice> {
    let _ = env.remove(path).await;
    let file = env.open(path, OpenHow { create_new: true, write: true, sync_writes: false }).await?;
    let direct_io = file.is_direct();
    file.write_at(Rc::new(env.buffer(BLOCKS * BLOCK_BYTES)), 0).await?;
    file.flush().await?;
    if wanted == FlushHow::Dsync {
        file.close().await?;
        let median = measure_dsync(env, path).await?;
        return Ok(Choice { flush: wanted, reason: "configured".into(), median, direct_io });
    }
    let fdatasync = measure(env, &file, true).await?;
    file.close().await?;
    if wanted == FlushHow::Fdatasync {
        return Ok(Choice { flush: wanted, reason: "configured".into(), median: fdatasync, direct_io });
    }
    let dsync = measure_dsync(env, path).await?;
    Ok(faster(fdatasync, dsync, direct_io))
}

async fn measure_dsync<E: Env>(env: &E, path: &Path) -> io::Result<Duration> {
    let file = env.open(path, OpenHow { create_new: false, write: true, sync_writes: true }).await?;
    let median = measure(env, &file, false).await?;
    file.close().await?;
    Ok(median)
}

/// The median time to make one block durable.
async fn measure<E: Env>(env: &E, file: &E::File, flush: bool) -> io::Result<Duration> {
    let block = Rc::new(env.buffer(BLOCK_BYTES));
    let begun = env.monotonic();
    let mut times = Vec::with_capacity(PROBE_FLUSHES_MAX);
    while times.is_empty() || (times.len() < PROBE_FLUSHES_MAX && env.monotonic() - begun < PROBE_TIME_MAX) {
        let before = env.monotonic();
        file.write_at(block.clone(), ((times.len() % BLOCKS) * BLOCK_BYTES) as u64).await?;
        if flush {
            file.flush().await?;
        }
        times.push(env.monotonic() - before);
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn faster(fdatasync: Duration, dsync: Duration, direct_io: bool) -> Choice {
    let reason = format!("fdatasync takes {} us, O_DSYNC {} us", fdatasync.as_micros(), dsync.as_micros());
    let (flush, median) =
        if dsync < fdatasync { (FlushHow::Dsync, dsync) } else { (FlushHow::Fdatasync, fdatasync) };
    Choice { flush, reason, median, direct_io }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faster_way_is_chosen_and_said() {
        let us = Duration::from_micros;
        for (fdatasync, dsync, flush) in
            [(168, 150, FlushHow::Dsync), (150, 168, FlushHow::Fdatasync), (150, 150, FlushHow::Fdatasync)]
        {
            let choice = faster(us(fdatasync), us(dsync), true);
            assert_eq!(choice.flush, flush);
            assert_eq!(choice.reason, format!("fdatasync takes {fdatasync} us, O_DSYNC {dsync} us"));
            assert_eq!(choice.median, us(fdatasync.min(dsync)));
        }
    }
}
