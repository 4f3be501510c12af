//! Opening a store: from a folder to a log that may be appended to. Every step that a start takes, in order.
//!
//! ```text
//!   sidecars that fit ──▶ (missing or bad ones made again) ──▶ queues and ends from the newest base on ──▶ replay what
//!   follows the newest ──▶ rewrite what is not certainly durable ──▶ opening frame ──▶ loops
//! ```
//!
//! Invariants
//!  1. Nothing recovered is shown before it is certainly durable: what no frame calls durable is written again
//!     with the same bytes and flushed, because reading it back proves nothing (a failed flush may have left it
//!     in a cache only).
//!  2. The opening frame of a new epoch is durable before anything else is written.
//!  3. A sidecar is used only if its segment still ends with the frame that it names; else it is made again.
//!
//! Not here: which frames follow (`log::recovery`), what the folder may hold (`folder`), how a sidecar is made (`sealing`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use crate::append::Appending;
use crate::env::{Env, File, OpenHow, Signal, yield_once};
use crate::flush_probe::{self, Choice};
use crate::folder::{self, Found, failed};
use crate::limits::{PREPARE_CHUNK_BYTES, READ_BYTES_MAX, SEALED_REPLAYED_MAX, SIDECAR_STEP_ROWS};
use crate::log::frame::{Frame, FrameKind, ItemKind, split_fact};
use crate::log::{
    Chain, Log, Recovered, Sealed, SegmentSet, TailStart, chain_before, is_sealed_by, replay, segment,
};
use crate::offset::QueueOffset;
use crate::planted::{self, Bug};
use crate::retiring::Retiring;
use crate::sealing::{NOTHING_BEFORE, SealError, Sealing, check_needed, make_again};
use crate::sidecar::{self, Damaged, Foundation, Identity, NO_SEGMENT, Seal, Sidecar, SidecarSet};
use crate::state::{Entry, State};
use crate::store::{FlushHow, OpenError, OpenReport, StoreOptions};

/// A store that is open, in parts.
pub(crate) struct Opened<E: Env> {
    pub log: Rc<Log<E>>,
    pub state: Rc<RefCell<State>>,
    pub sealing: Rc<Sealing<E>>,
    pub appending: Rc<Appending<E>>,
    pub lock: E::FolderLock,
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

    let (mut first_base, mut spares) = (0, Vec::new());
    let (marker, files) = match found {
        Found::Store { first, segments, spares: found, left_sidecars } => {
            finish_retiring(&env, folder, &left_sidecars).await?;
            (first_base, spares) = (first, found);
            (folder::read_marker(&env, folder).await?, segments)
        }
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

    let store_id = marker.store_id().expect("it was checked when the marker was read");
    let identity = Identity { store_id, segment_bytes: marker.segment_bytes };
    let start = Start { env: &env, folder, identity, first_base, segments: files };
    let (sidecars, sidecars_made) = start.sidecars().await?;
    let sidecars_used = sidecars.iter().count();
    let state = start.state_over(sidecars).await.map_err(|error| start.refuse(error))?;
    let mut replayed = Replayed { state, foundation: Foundation::Previous };
    let chain = start.chain(&replayed.state);
    let recovered = replay(&env, folder, files, chain, None, |frame| replayed.apply(frame)).await?;
    let mut state = replayed.state;
    let end = recovered.end;
    rewrite(&env, folder, &end).await?;
    env.sync_folder(folder).await.map_err(|error| failed("syncing", folder, &error))?;

    let active = end.position - end.position % end.segment_bytes;
    let segments = SegmentSet::new(env.clone(), folder.to_owned(), end.segment_bytes, sync_writes, active);
    segments
        .take_spares(spares)
        .await
        .map_err(|error| failed("removing a spare file from", folder, &error))?;
    let tail = TailStart {
        store_id,
        segment_bytes: end.segment_bytes,
        epoch: if planted::is(Bug::EpochReused) { end.epoch } else { end.epoch + 1 },
        position: end.position,
        crc: end.crc,
        store_timestamp_ms: end.store_timestamp_ms,
    };
    let log = Rc::new(Log::new(env.clone(), segments, tail, options, sync_writes, progress));
    log.open().await.map_err(|error| OpenError::Io {
        operation: "writing the opening frame to",
        file: folder.display().to_string(),
        error,
    })?;
    log.start();

    for queue in state.queues.iter_mut() {
        queue.visible_end = queue.end();
    }
    let report = OpenReport {
        sidecars: sidecars_used,
        sidecars_made,
        ..report(&recovered, &choice, state.records(), state.live_facts(), files)
    };
    let state = Rc::new(RefCell::new(state));
    let appending = Rc::new(Appending::new(env.clone(), log.clone(), state.clone(), end.store_timestamp_ms));
    let sealing = Sealing::start(env.clone(), folder, identity, log.clone(), state.clone());
    Retiring::start(env, folder, options.retention, log.clone(), state.clone(), appending.clone());
    sealing.wake();
    Ok(Opened { log, state, sealing, appending, lock, report })
}

fn report(recovered: &Recovered, choice: &Choice, records: u64, facts: u64, segments: u64) -> OpenReport {
    OpenReport {
        records,
        facts,
        segments: usize::try_from(segments).unwrap_or(usize::MAX),
        sidecars: 0,
        sidecars_made: 0,
        replayed_bytes: recovered.read_bytes,
        torn_bytes: recovered.torn_bytes,
        flush: choice.flush,
        flush_reason: choice.reason.clone(),
        flush_median_us: u64::try_from(choice.median.as_micros()).unwrap_or(u64::MAX),
        direct_io: choice.direct_io,
    }
}

/// The state at the end of the sealed segment at `base`, with what was learnt from it: what its sidecar is made of.
/// `before`: the sidecars before it, on which it is founded if they are all there.
///
/// If not, what is learnt is right for whoever reads the records: a queue's first one says its offset. What of facts and of
/// other queues is right then, the foundation says.
pub(crate) async fn learn<E: Env>(
    env: &E,
    folder: &Path,
    identity: Identity,
    before: SidecarSet,
    base: u64,
    foundation: Foundation,
) -> Result<State, SealError> {
    let end = base + identity.segment_bytes;
    let start = Start { env, folder, identity, first_base: base, segments: end / identity.segment_bytes + 1 };
    let mut replayed = Replayed { state: start.state_over(before).await?, foundation };
    let mut chain = start.chain(&replayed.state);
    let begins = chain.position != base;
    if begins {
        chain = chain_before(env, folder, &chain, base).await?;
    }
    let recovered =
        replay(env, folder, start.segments, chain, Some(end), |frame| replayed.apply(frame)).await?;
    // Nothing says what the first frame of the log must follow, but the next segment says how this one ends.
    if recovered.end.position != end
        || (begins && chain_before(env, folder, &chain, end).await?.crc != recovered.end.crc)
    {
        return Err(SealError::Replay(start.corrupt(recovered.end.position)));
    }
    Ok(replayed.state)
}

/// What is known of a store before anything of it is believed.
struct Start<'a, E: Env> {
    env: &'a E,
    folder: &'a Path,
    identity: Identity,
    /// Where the oldest segment begins.
    first_base: u64,
    /// Number of the newest segment, plus one.
    segments: u64,
}

impl<E: Env> Start<'_, E> {
    /// The sidecars of all segments but the newest few, and how many of them had to be made.
    async fn sidecars(&self) -> Result<(SidecarSet, usize), OpenError> {
        let mut candidates = self.candidates().await?;
        let segment_bytes = self.identity.segment_bytes;
        let newest_base = self.newest_base(&candidates).await?;
        let mut set = SidecarSet::default();
        let mut made = 0;
        let first = self.first_base / segment_bytes;
        for base in (first..self.segments.saturating_sub(1)).map(|number| number * segment_bytes) {
            if let Some(sidecar) = candidates.remove(&base)
                && self.fits(&set, &sidecar, newest_base).await?
            {
                set.push(Rc::new(sidecar));
                continue;
            }
            let newer = candidates.keys().any(|other| *other > base);
            let behind = self.segments - 1 - base / segment_bytes > SEALED_REPLAYED_MAX;
            if !newer && !behind {
                break;
            }
            let making = async {
                if !newer {
                    self.make_durable(base).await?;
                }
                self.make(&mut set, base, newest_base).await
            };
            match making.await {
                Ok(sidecar) => set.push(sidecar),
                // The log ends here, whatever the files after it are.
                Err(SealError::Replay(OpenError::Corrupt { .. })) if !newer => break,
                Err(error) => return Err(self.refuse(error)),
            }
            made += 1;
        }
        if self.first_base > 0 && (set.first().is_none() || !set.is_complete()) {
            return Err(self.refuse(SealError::nothing_before(self.folder, self.first_base)));
        }
        loop {
            match self.check(&set).await {
                Ok(()) => return Ok((set, made)),
                Err(damaged) => {
                    let mended = self.mend(&mut set, damaged.base, newest_base).await;
                    mended.map_err(|error| self.refuse(error))?;
                    made += 1;
                }
            }
        }
    }

    /// The sidecars in the folder that are whole as far as their footers say. What was not finished is removed.
    async fn candidates(&self) -> Result<BTreeMap<u64, Sidecar>, OpenError> {
        let (env, folder) = (self.env, self.folder);
        let names = env.list(folder).await.map_err(|error| failed("listing", folder, &error))?;
        let mut candidates = BTreeMap::new();
        for name in names {
            let path = folder.join(&name);
            if sidecar::is_unfinished(&name) {
                env.remove(&path).await.map_err(|error| failed("removing", &path, &error))?;
            }
            let Some(base) = sidecar::base_of(&name) else { continue };
            let decoded = match env.map(&path, Vec::new()).await {
                Ok(bytes) => Sidecar::decode(bytes).map_err(|fault| fault.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match decoded {
                Ok(sidecar) if sidecar.base() == base => {
                    candidates.insert(base, sidecar);
                }
                Ok(_) => tracing::warn!(file = name, "a sidecar of another segment is not used"),
                Err(error) => tracing::warn!(file = name, error, "a sidecar is not used"),
            }
        }
        Ok(candidates)
    }

    /// The last segment whose sidecar has a base. Asked for where segments have retired only: else none is needed.
    async fn newest_base(&self, candidates: &BTreeMap<u64, Sidecar>) -> Result<Option<u64>, OpenError> {
        for sidecar in candidates.values().rev().filter(|sidecar| self.first_base > 0 && sidecar.has_base()) {
            if self.fits(&SidecarSet::default(), sidecar, None).await? {
                return Ok(Some(sidecar.base()));
            }
        }
        Ok(None)
    }

    /// Whether a sidecar may follow those of `set`, and is of the segment that is there.
    async fn fits(
        &self,
        set: &SidecarSet,
        sidecar: &Sidecar,
        newest_base: Option<u64>,
    ) -> Result<bool, OpenError> {
        let Identity { store_id, segment_bytes } = self.identity;
        // Of those that retired, bases are missed only if no newer one is there: that is seen in the end.
        let has_base = sidecar.has_base()
            || sidecar.base_at() < self.first_base
            || newest_base.is_some_and(|newest| newest > sidecar.base())
            || set.at(sidecar.base_at()).is_some_and(|base| base.has_base());
        if (sidecar.store_id(), sidecar.segment_bytes()) != (store_id, segment_bytes) || !has_base {
            return Ok(false);
        }
        if planted::is(Bug::SidecarSealIgnored) {
            return Ok(true);
        }
        let Seal { position, epoch, crc, store_timestamp_ms } = sidecar.seal();
        let seal = Sealed { position, epoch, crc, store_timestamp_ms };
        is_sealed_by(self.env, self.folder, &Chain::new(store_id, segment_bytes), seal).await
    }

    /// Checks what a state over these sidecars is made of.
    async fn check(&self, set: &SidecarSet) -> Result<(), Damaged> {
        for sidecar in set.since_base() {
            check_needed(sidecar).await?;
        }
        Ok(())
    }

    /// Makes certain that the segment at `base` is durable as far as its frames go: whoever finds its sidecar believes so.
    async fn make_durable(&self, base: u64) -> Result<(), OpenError> {
        let Start { env, folder, identity, .. } = *self;
        let mut chain = Chain::new(identity.store_id, identity.segment_bytes);
        if base > 0 {
            chain = chain_before(env, folder, &chain, base).await?;
        }
        let end = Some(base + identity.segment_bytes);
        let recovered = replay(env, folder, self.segments, chain, end, |_| Ok(())).await?;
        rewrite(env, folder, &recovered.end).await
    }

    /// Makes a sidecar from its segment and those before it; damaged ones among these first.
    async fn make(
        &self,
        set: &mut SidecarSet,
        base: u64,
        newest_base: Option<u64>,
    ) -> Result<Rc<Sidecar>, SealError> {
        loop {
            match self.make_once(set, base, newest_base).await {
                Err(SealError::Damaged(damaged)) if damaged.base < base => {
                    self.mend(set, damaged.base, newest_base).await?
                }
                made => return made,
            }
        }
    }

    /// Makes a sidecar of the set again. Those before it that are damaged come first; each is before the last one.
    async fn mend(&self, set: &mut SidecarSet, base: u64, newest_base: Option<u64>) -> Result<(), SealError> {
        let mut todo = vec![base];
        while let Some(&base) = todo.last() {
            match self.make_once(set, base, newest_base).await {
                Ok(sidecar) => {
                    set.replace(sidecar);
                    todo.pop();
                }
                Err(SealError::Damaged(damaged)) if damaged.base < base => todo.push(damaged.base),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn make_once(
        &self,
        set: &SidecarSet,
        base: u64,
        newest_base: Option<u64>,
    ) -> Result<Rc<Sidecar>, SealError> {
        tracing::warn!(base, "a segment's sidecar is missing or bad and is made from the segment");
        make_again(self.env, self.folder, self.identity, set, base, newest_base, || true).await
    }

    /// The state at the end of the last sidecar's segment.
    async fn state_over(&self, sidecars: SidecarSet) -> Result<State, SealError> {
        self.check(&sidecars).await?;
        let mut state = State::over(sidecars, self.identity.segment_bytes);
        state.begin_at(self.first_base);
        let mut after = None;
        loop {
            after = state.load_some(after.as_deref(), SIDECAR_STEP_ROWS)?;
            if after.is_none() {
                break;
            }
            yield_once().await;
        }
        state.load_minimums();
        Ok(state)
    }

    /// What the first frame after the sidecars must follow.
    fn chain(&self, state: &State) -> Chain {
        let Identity { store_id, segment_bytes } = self.identity;
        let new = Chain::new(store_id, segment_bytes);
        match state.sidecars().last() {
            None => new,
            Some(last) => Chain {
                position: last.end(),
                epoch: last.seal().epoch,
                crc: last.seal().crc,
                // A sidecar is made of what is durable only.
                durable: last.end(),
                store_timestamp_ms: last.seal().store_timestamp_ms,
                ..new
            },
        }
    }

    fn corrupt(&self, physical: u64) -> OpenError {
        let base = physical - physical % self.identity.segment_bytes;
        OpenError::Corrupt {
            file: segment::path(self.folder, base).display().to_string(),
            position: physical - base,
            what: "no frame follows here, but a later segment was sealed. Nothing was changed; restore this file from \
                   a copy, or move the folder away"
                .to_owned(),
        }
    }

    fn refuse(&self, error: SealError) -> OpenError {
        match error {
            SealError::Replay(error) => error,
            SealError::NothingBefore { file } => {
                OpenError::Corrupt { file, position: 0, what: NOTHING_BEFORE.to_owned() }
            }
            error => OpenError::Io {
                operation: "making a sidecar in",
                file: self.folder.display().to_string(),
                error: error.to_string(),
            },
        }
    }
}

/// Removes the sidecars of segments that have retired: the last step of that, which was not taken.
async fn finish_retiring<E: Env>(env: &E, folder: &Path, bases: &[u64]) -> Result<(), OpenError> {
    for base in bases {
        let path = sidecar::path(folder, *base);
        env.remove(&path).await.map_err(|error| failed("removing", &path, &error))?;
    }
    if !bases.is_empty() {
        env.sync_folder(folder).await.map_err(|error| failed("syncing", folder, &error))?;
    }
    Ok(())
}

/// What the log gave so far.
struct Replayed {
    state: State,
    foundation: Foundation,
}

impl Replayed {
    /// Applies a frame. What is wrong with it is damage: its checksums were right.
    fn apply(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        for (item, physical, bytes) in frame.items() {
            if planted::is(Bug::HalfBatchApplied) && crc32fast::hash(bytes) != item.crc {
                break;
            }
            match item.kind {
                ItemKind::Record => self.record(physical, bytes, item.tag_hash, item.crc)?,
                ItemKind::FactPut => {
                    let (key, value) = split_fact(bytes).ok_or("a fact without a key")?;
                    self.state.apply_fact(physical, key, Some(value));
                }
                ItemKind::FactDelete if planted::is(Bug::FactDeletesLost) => {}
                ItemKind::FactDelete => self.state.apply_fact(physical, bytes, None),
            }
        }
        let header = frame.header;
        if header.kind == FrameKind::Seal {
            self.state.apply_seal(Seal {
                position: header.position,
                epoch: header.epoch,
                crc: header.crc,
                store_timestamp_ms: header.store_timestamp_ms,
            });
        }
        Ok(())
    }

    fn record(&mut self, physical: u64, bytes: &[u8], tag_hash: i32, crc: u32) -> Result<(), String> {
        let record =
            ringmq_wire::record::decode(bytes).map_err(|error| format!("a record that is none: {error}"))?;
        let queue = self.state.queues.find_or_add(record.topic, record.queue_id);
        let known = self.state.queues.at_mut(queue);
        if !matches!(self.foundation, Foundation::Previous)
            && known.last_segment == NO_SEGMENT
            && let Ok(first) = u64::try_from(record.queue_offset)
        {
            known.begin_at(first, NO_SEGMENT);
        }
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
        let entry = Entry { physical, size, tag_hash, crc };
        let properties = if planted::is(Bug::KeysNotReplayed) { &[] } else { record.properties };
        self.state.apply_record(queue, entry, record.store_timestamp_ms, properties);
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
