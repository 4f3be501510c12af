//! Opening a store: from a folder to a log that may be appended to. Every step that a start takes, in order.
//!
//! Invariants
//!  1. Nothing recovered is shown before it is certainly durable: what no frame calls durable is written again
//!     with the same bytes and flushed, because reading it back proves nothing (a failed flush may have left it
//!     in a cache only).
//!  2. The opening frame of a new epoch is durable before anything else is written.
//!
//! Not here: which frames follow (`log::recovery`), what the folder may hold (`folder`).

use std::path::Path;
use std::rc::Rc;

use crate::env::{Env, File, OpenHow, Signal};
use crate::flush_probe::{self, Choice};
use crate::folder::{self, Found, failed};
use crate::limits::{PREPARE_CHUNK_BYTES, READ_BYTES_MAX};
use crate::log::frame::{Frame, ItemKind, split_fact};
use crate::log::{Chain, Log, Recovered, SegmentSet, TailStart, replay, segment};
use crate::offset::QueueOffset;
use crate::planted::{self, Bug};
use crate::state::{Entry, State};
use crate::store::{FlushHow, OpenError, OpenReport, StoreOptions};

/// A store that is open, in parts.
pub(crate) struct Opened<E: Env> {
    pub log: Rc<Log<E>>,
    pub state: State,
    pub lock: E::FolderLock,
    pub store_timestamp_ms: i64,
    pub report: OpenReport,
}

/// Opens the folder.
pub(crate) async fn open<E: Env>(
    env: E,
    folder: &Path,
    options: &StoreOptions,
    progress: Rc<Signal>,
) -> Result<Opened<E>, OpenError> {
    let refused = |what| OpenError::Refused { folder: folder.display().to_string(), what };
    folder::check_segment_bytes(options.segment_bytes).map_err(refused)?;
    env.create_folder(folder).await.map_err(|error| failed("creating", folder, &error))?;
    let lock = folder::lock(&env, folder).await?;
    let found = folder::look(&env, folder).await?;
    let choice = flush_probe::choose(&env, folder, options.flush).await;
    let sync_writes = choice.flush == FlushHow::Dsync && !options.answer_before_flush;

    let (marker, files) = match found {
        Found::Store { segments } => (folder::read_marker(&env, folder).await?, segments),
        _ => {
            folder::sync_parents(&env, folder).await?;
            let marker = folder::begin(&env, folder, &found, options.segment_bytes).await?;
            let first = SegmentSet::new(env.clone(), folder.to_owned(), marker.segment_bytes, sync_writes, 0);
            first
                .prepare(PREPARE_CHUNK_BYTES)
                .await
                .map_err(|error| failed("preparing", &segment::path(folder, 0), &error))?;
            first.close().await;
            folder::finish(&env, folder).await?;
            (marker, 1)
        }
    };
    if marker.segment_bytes != options.segment_bytes {
        tracing::warn!(
            kept = marker.segment_bytes,
            configured = options.segment_bytes,
            "a store's segment length is fixed when it is made"
        );
    }

    let mut replayed = Replayed::default();
    let store_id = marker.store_id().expect("it was checked when the marker was read");
    let chain = Chain::new(store_id, marker.segment_bytes);
    let recovered = replay(&env, folder, files, chain, |frame| replayed.apply(frame)).await?;
    let Replayed { mut state, records } = replayed;
    let end = recovered.end;
    rewrite(&env, folder, &end).await?;
    env.sync_folder(folder).await.map_err(|error| failed("syncing", folder, &error))?;

    let active = end.position - end.position % end.segment_bytes;
    let segments = SegmentSet::new(env.clone(), folder.to_owned(), end.segment_bytes, sync_writes, active);
    let start = TailStart {
        store_id,
        segment_bytes: end.segment_bytes,
        epoch: if planted::is(Bug::EpochReused) { end.epoch } else { end.epoch + 1 },
        position: end.position,
        crc: end.crc,
        store_timestamp_ms: end.store_timestamp_ms,
    };
    let log = Rc::new(Log::new(env, segments, start, options, sync_writes, progress));
    log.open().await.map_err(|error| OpenError::Io {
        operation: "writing the opening frame to",
        file: folder.display().to_string(),
        error,
    })?;
    log.start();

    for queue in state.queues.iter_mut() {
        queue.visible_end = queue.end();
    }
    let report = report(&recovered, &choice, records, state.facts.len(), files);
    Ok(Opened { log, state, lock, store_timestamp_ms: end.store_timestamp_ms, report })
}

fn report(recovered: &Recovered, choice: &Choice, records: u64, facts: usize, segments: u64) -> OpenReport {
    OpenReport {
        records,
        facts: facts as u64,
        segments: usize::try_from(segments).unwrap_or(usize::MAX),
        torn_bytes: recovered.torn_bytes,
        flush: choice.flush,
        flush_reason: choice.reason.clone(),
        flush_median_us: u64::try_from(choice.median.as_micros()).unwrap_or(u64::MAX),
        direct_io: choice.direct_io,
    }
}

/// What the log gave so far.
#[derive(Default)]
struct Replayed {
    state: State,
    records: u64,
}

impl Replayed {
    /// Applies a frame. What is wrong with it is damage: its checksums were right.
    fn apply(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        for (item, physical, bytes) in frame.items() {
            if planted::is(Bug::HalfBatchApplied) && crc32fast::hash(bytes) != item.crc {
                break;
            }
            match item.kind {
                ItemKind::Record => {
                    self.record(physical, bytes, item.tag_hash, item.crc)?;
                    self.records += 1;
                }
                ItemKind::FactPut => {
                    let (key, value) = split_fact(bytes).ok_or("a fact without a key")?;
                    self.state.apply_put(key, value);
                }
                ItemKind::FactDelete if planted::is(Bug::FactDeletesLost) => {}
                ItemKind::FactDelete => self.state.apply_delete(bytes),
            }
        }
        Ok(())
    }

    fn record(&mut self, physical: u64, bytes: &[u8], tag_hash: i32, crc: u32) -> Result<(), String> {
        let record =
            ringmq_wire::record::decode(bytes).map_err(|error| format!("a record that is none: {error}"))?;
        let queue = self.state.queues.find_or_add(record.topic, record.queue_id);
        let (topic, queue_id, end) = (record.topic, record.queue_id, self.state.queues.at(queue).end());
        if planted::is(Bug::QueueEndForgotten) && end > QueueOffset(0) {
            return Ok(());
        }
        let placed = (u64::try_from(record.queue_offset), u64::try_from(record.physical_offset));
        if placed != (Ok(end.0), Ok(physical)) {
            return Err(format!(
                "a record of {topic}/{queue_id} at {physical} says it is at {}, number {} of its queue and not {}",
                record.physical_offset, record.queue_offset, end.0
            ));
        }
        let size = u32::try_from(bytes.len()).map_err(|error| error.to_string())?;
        self.state.apply_record(queue, Entry { physical, size, tag_hash, crc }, record.store_timestamp_ms);
        Ok(())
    }
}

/// Writes again, with the same bytes, and flushes what no frame calls durable.
async fn rewrite<E: Env>(env: &E, folder: &Path, end: &Chain) -> Result<(), OpenError> {
    let mut position = end.durable.min(end.position);
    while position < end.position {
        let base = position - position % end.segment_bytes;
        let to = end.position.min(base + end.segment_bytes);
        let path = segment::path(folder, base);
        let rewritten = async {
            let file =
                env.open(&path, OpenHow { create_new: false, write: true, sync_writes: false }).await?;
            while position < to {
                let len = usize::try_from(to - position).unwrap_or(usize::MAX).min(READ_BYTES_MAX);
                let bytes = Rc::new(file.read_at(position - base, len).await?);
                if bytes.is_empty() {
                    // After its seal a segment may have nothing.
                    position = to;
                    break;
                }
                let read = bytes.len() as u64;
                file.write_at(bytes, position - base).await?;
                position += read;
            }
            file.flush().await?;
            file.close().await
        };
        rewritten.await.map_err(|error| failed("rewriting the tail of", &path, &error))?;
    }
    Ok(())
}
