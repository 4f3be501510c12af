//! Which way of making writes durable is faster on this disk: measured at start, on a scratch file.
//!
//! `fdatasync` passes through a worker thread of the kernel; `O_DSYNC` does not, but without FUA the device
//! flushes all the same. Which wins depends on the disk, so nobody is asked to know. The probe sees one write
//! at a time; under load several are in flight, and then the worker costs a tenth of a shard's throughput: so
//! `O_DSYNC` is taken unless it is clearly slower.

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
    let dsync_file = env.open(path, OpenHow { create_new: false, write: true, sync_writes: true }).await?;
    let (mut fdatasync, mut dsync) =
        (Vec::with_capacity(PROBE_FLUSHES_MAX), Vec::with_capacity(PROBE_FLUSHES_MAX));
    let begun = env.monotonic();
    // By turns, so that a disturbance of the machine hits both.
    while fdatasync.is_empty()
        || (fdatasync.len() < PROBE_FLUSHES_MAX && env.monotonic() - begun < PROBE_TIME_MAX)
    {
        let position = ((fdatasync.len() % BLOCKS) * BLOCK_BYTES) as u64;
        fdatasync.push(measure(env, &file, position, true).await?);
        dsync.push(measure(env, &dsync_file, position, false).await?);
    }
    file.close().await?;
    dsync_file.close().await?;
    let (fdatasync, dsync) = (median(fdatasync), median(dsync));
    let configured = |median| Choice { flush: wanted, reason: "configured".into(), median, direct_io };
    Ok(match wanted {
        FlushHow::Fdatasync => configured(fdatasync),
        FlushHow::Dsync => configured(dsync),
        FlushHow::Probe => faster(fdatasync, dsync, direct_io),
    })
}

/// How long it takes to make one block durable.
async fn measure<E: Env>(env: &E, file: &E::File, position: u64, flush: bool) -> io::Result<Duration> {
    let before = env.monotonic();
    file.write_at(Rc::new(env.buffer(BLOCK_BYTES)), position).await?;
    if flush {
        file.flush().await?;
    }
    Ok(env.monotonic() - before)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn faster(fdatasync: Duration, dsync: Duration, direct_io: bool) -> Choice {
    let reason = format!("fdatasync takes {} us, O_DSYNC {} us", fdatasync.as_micros(), dsync.as_micros());
    let clearly_slower = dsync > fdatasync + fdatasync / 4;
    let (flush, median) =
        if clearly_slower { (FlushHow::Fdatasync, fdatasync) } else { (FlushHow::Dsync, dsync) };
    Choice { flush, reason, median, direct_io }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o_dsync_is_chosen_unless_it_is_clearly_slower_and_both_times_are_said() {
        let us = Duration::from_micros;
        for (fdatasync, dsync, flush) in
            [(168, 150, FlushHow::Dsync), (160, 200, FlushHow::Dsync), (160, 201, FlushHow::Fdatasync)]
        {
            let choice = faster(us(fdatasync), us(dsync), true);
            assert_eq!(choice.flush, flush);
            assert_eq!(choice.reason, format!("fdatasync takes {fdatasync} us, O_DSYNC {dsync} us"));
            assert_eq!(choice.median, us(if flush == FlushHow::Dsync { dsync } else { fdatasync }));
        }
    }
}
