//! Sealing: the loop that gives every segment its sidecar once the segment is durable to its end.
//!
//! ```text
//!   log rolls ──▶ seal known ──▶ build, in steps ──▶ write under another name ──▶ flush ──▶ rename ──▶ map, check
//!                                                                                                       │
//!   what was learnt is dropped, in steps ◀── look-ups go to the sidecar ◀───────────────────────────────┘
//! ```
//!
//! Invariants
//!  1. Nothing is dropped from memory before the sidecar that holds it can be read.
//!  2. An append never waits for any of it: each step is short, and others run in between.
//!  3. A sidecar that cannot be written is no failure of the store: what it would hold stays in memory, and it is tried
//!     again. One that turns out to be damaged is made again from its segment.
//!
//! Where those before it have retired, the segment alone says where its records are; the facts and the ends of other
//! queues come from the base that the sidecar itself had, or are not needed because a newer one has a base. Neither can
//! be had if the only base there is was damaged: that file is not made again, because a start without those facts would
//! lose definitions, offsets and the ends of queues without a word.
//!
//! Not here: what is in a sidecar (`sidecar`), which are used at a start (`opening`).

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::env::{Buffer, Env, File, OpenHow, Signal, TaskClass, yield_once};
use crate::limits::{SIDECAR_CHUNK_BYTES, SIDECAR_RETRY_DELAY, SIDECAR_STEP_ROWS};
use crate::log::{Log, Sealed};
use crate::opening;
use crate::planted::{self, Bug};
use crate::sidecar::{
    self, Builder, Damaged, Foundation, Identity, Input, Seal, Sidecar, SidecarFault, SidecarSet,
};
use crate::state::State;
use crate::store::OpenError;

/// What may be asked of nobody but a copy: all facts that the retired segments held were in that one file.
pub(crate) const NOTHING_BEFORE: &str = "it is damaged or missing, what it was made of has retired, and no newer \
     sidecar has all facts. Nothing was changed; restore this file from a copy";

/// Why there is no sidecar. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Damaged(#[from] Damaged),
    #[error("what was written is not what is read: {0}")]
    Fault(#[from] SidecarFault),
    #[error("{0}")]
    Replay(#[from] OpenError),
    #[error("{file}: {NOTHING_BEFORE}")]
    NothingBefore { file: String },
    #[error("the store is closing")]
    Closing,
}

impl SealError {
    /// Of the sidecar of the segment at `base`.
    pub fn nothing_before(folder: &Path, base: u64) -> SealError {
        SealError::NothingBefore { file: sidecar::path(folder, base).display().to_string() }
    }
}

impl From<Sealed> for Seal {
    fn from(sealed: Sealed) -> Seal {
        let Sealed { position, epoch, crc, store_timestamp_ms } = sealed;
        Seal { position, epoch, crc, store_timestamp_ms }
    }
}

/// The loop and what it works on. One per shard.
pub(crate) struct Sealing<E: Env> {
    env: E,
    folder: PathBuf,
    identity: Identity,
    log: Rc<Log<E>>,
    state: Rc<RefCell<State>>,
    stop: Cell<bool>,
    ended: Cell<bool>,
    failed: Cell<bool>,
    /// Nothing is left to do, or the loop has ended.
    settled: Signal,
}

impl<E: Env> Sealing<E> {
    /// Starts the loop.
    pub fn start(
        env: E,
        folder: &Path,
        identity: Identity,
        log: Rc<Log<E>>,
        state: Rc<RefCell<State>>,
    ) -> Rc<Sealing<E>> {
        let sealing = Rc::new(Sealing {
            env: env.clone(),
            folder: folder.to_owned(),
            identity,
            log,
            state,
            stop: Cell::new(false),
            ended: Cell::new(false),
            failed: Cell::new(false),
            settled: Signal::new(),
        });
        let running = sealing.clone();
        env.spawn(TaskClass::Background, async move {
            running.run().await;
            running.ended.set(true);
            running.settled.fire();
        });
        sealing
    }

    /// Looks whether there is something to do.
    pub fn wake(&self) {
        self.log.rolled().fire();
    }

    /// Returns when every sealed segment has its sidecar, or the last attempt failed. For tests and tools.
    pub async fn settle(&self) {
        self.wake();
        while self.has_work() && !self.failed.get() && !self.ended.get() {
            self.settled.wait().await;
        }
    }

    /// Ends the loop. A sidecar that is being made is given up: the next start makes it.
    pub async fn close(&self) {
        self.stop.set(true);
        self.wake();
        while !self.ended.get() {
            self.settled.wait().await;
        }
    }

    fn has_work(&self) -> bool {
        self.learn_seals();
        let state = self.state.borrow();
        state.sealed().is_some() || state.damaged().is_some()
    }

    fn learn_seals(&self) {
        for seal in self.log.take_seals() {
            self.state.borrow_mut().apply_seal(seal.into());
        }
    }

    async fn run(&self) {
        while !self.stop.get() && self.log.poisoned().is_none() {
            self.learn_seals();
            while self.state.borrow_mut().drop_some(SIDECAR_STEP_ROWS) {
                yield_once().await;
            }
            let damaged = self.state.borrow().damaged();
            let sealed = self.state.borrow().sealed().map(|(learnt, _)| learnt.base);
            let done = match (damaged, sealed) {
                (Some(base), _) => self.mend(base).await,
                (None, Some(base)) => self.seal(base).await,
                (None, None) => {
                    self.settled.fire();
                    self.log.rolled().wait().await;
                    continue;
                }
            };
            self.failed.set(false);
            match done {
                // One before it is damaged, and is known to be now: that one comes next.
                Ok(()) | Err(SealError::Closing | SealError::Damaged(_)) => {}
                Err(error) => {
                    self.failed.set(true);
                    tracing::warn!(%error, "a sidecar is not there yet and is tried again");
                    self.settled.fire();
                    self.retry_later();
                    self.log.rolled().wait().await;
                }
            }
        }
    }

    fn retry_later(&self) {
        let (env, log) = (self.env.clone(), self.log.clone());
        self.env.spawn(TaskClass::Background, async move {
            env.sleep(SIDECAR_RETRY_DELAY).await;
            log.rolled().fire();
        });
    }

    async fn seal(&self, base: u64) -> Result<(), SealError> {
        let (env, folder, identity) = (&self.env, &self.folder, self.identity);
        let (from, goes_on) = (Foundation::Previous, || self.goes_on());
        let sidecar = write_sidecar(env, folder, identity, &self.state, base, from, goes_on).await?;
        self.state.borrow_mut().add_sidecar(sidecar);
        self.log.may_retire().fire();
        Ok(())
    }

    /// Makes a damaged sidecar again.
    async fn mend(&self, base: u64) -> Result<(), SealError> {
        let set = self.state.borrow().sidecars().clone();
        tracing::warn!(base, "a sidecar is damaged and is made again from its segment");
        let (env, folder, identity) = (&self.env, &self.folder, self.identity);
        let newest_base = set.last().map(|last| last.base_at());
        let goes_on = || self.goes_on();
        let sidecar = make_again(env, folder, identity, &set, base, newest_base, goes_on).await?;
        self.state.borrow_mut().replace_sidecar(sidecar);
        Ok(())
    }

    fn goes_on(&self) -> bool {
        !self.stop.get() && self.log.poisoned().is_none()
    }
}

/// Makes a sidecar again, of a segment that follows those of `set` or is one of them. `newest_base`: the last segment whose
/// sidecar has a base.
pub(crate) async fn make_again<E: Env>(
    env: &E,
    folder: &Path,
    identity: Identity,
    set: &SidecarSet,
    base: u64,
    newest_base: Option<u64>,
    goes_on: impl Fn() -> bool,
) -> Result<Rc<Sidecar>, SealError> {
    let before = set.before(base);
    let follows = before.last().map_or(0, |last| last.end()) == base;
    let foundation = if follows && before.is_complete() {
        Foundation::Previous
    } else if let Some(own) = set.at(base).filter(|own| own.has_base())
        && check_needed(own).await.is_ok()
    {
        Foundation::Own(own.clone())
    } else if newest_base.is_some_and(|newest| newest > base) {
        Foundation::Newer
    } else {
        return Err(SealError::nothing_before(folder, base));
    };
    let state = opening::learn(env, folder, identity, before, base, foundation.clone()).await?;
    write_sidecar(env, folder, identity, &RefCell::new(state), base, foundation, goes_on).await
}

/// Makes the sidecar of the segment at `base`, which is the oldest that `state` has learnt and has no sidecar of.
async fn write_sidecar<E: Env>(
    env: &E,
    folder: &Path,
    identity: Identity,
    state: &RefCell<State>,
    base: u64,
    foundation: Foundation,
    goes_on: impl Fn() -> bool,
) -> Result<Rc<Sidecar>, SealError> {
    let unfinished = sidecar::unfinished_path(folder, base);
    let builder = {
        let state = state.borrow();
        let (learnt, seal) = state.sealed().expect("the segment is sealed and has no sidecar");
        assert_eq!(learnt.base, base, "segments get their sidecars in order");
        Builder::new(identity, seal, learnt, state.sidecars()).on(foundation)
    };
    let needed = match write_unfinished(env, &unfinished, builder, state, base, goes_on).await {
        Ok(needed) => needed,
        Err(error) => {
            // It is in the way of nobody but the next attempt, which removes it, too.
            let _ = env.remove(&unfinished).await;
            return Err(error);
        }
    };
    let path = sidecar::path(folder, base);
    env.rename(&unfinished, &path).await?;
    env.sync_folder(folder).await?;
    let sidecar = Sidecar::decode(env.map(&path, needed).await?)?;
    check_needed(&sidecar).await?;
    Ok(Rc::new(sidecar))
}

/// Reads, in steps, what a state without its learnt part cannot do without.
pub(crate) async fn check_needed(sidecar: &Sidecar) -> Result<(), Damaged> {
    let mut from = 0;
    while let Some(next) = sidecar.check_some(from, SIDECAR_CHUNK_BYTES as u64)? {
        from = next;
        yield_once().await;
    }
    Ok(())
}

/// Returns which parts of it [`check_needed`] will read.
async fn write_unfinished<E: Env>(
    env: &E,
    path: &Path,
    mut builder: Builder,
    state: &RefCell<State>,
    base: u64,
    goes_on: impl Fn() -> bool,
) -> Result<Vec<Range<u64>>, SealError> {
    let how = OpenHow { create_new: true, write: true, sync_writes: false };
    let file = match env.open(path, how).await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            env.remove(path).await?;
            env.open(path, how).await?
        }
        opened => opened?,
    };
    let mut position = 0;
    let mut done = false;
    while !done {
        if !goes_on() {
            return Err(SealError::Closing);
        }
        done = {
            let state = state.borrow();
            let learnt = state.learnt(base).expect("nothing is dropped before its sidecar is there");
            builder.step(Input { learnt, queues: &state.queues })?
        };
        match builder.take(SIDECAR_CHUNK_BYTES) {
            Some(bytes) => {
                let mut buffer = env.buffer(bytes.len());
                buffer.as_mut().copy_from_slice(&bytes);
                file.write_at(Rc::new(buffer), position).await?;
                position += bytes.len() as u64;
            }
            None => yield_once().await,
        }
    }
    if !planted::is(Bug::SidecarRenamedUnsynced) {
        file.flush().await?;
    }
    file.close().await?;
    Ok(builder.needed())
}
