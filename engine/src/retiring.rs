//! Retiring: the loop that lets expired segments go, one after the other, the oldest first.
//!
//! ```text
//!   rule says so ─▶ queues begin after it ─▶ its file is renamed ─ sync ─▶ its sidecar is removed ─ sync ─▶ spare file
//! ```
//!
//! Invariants
//!  1. Each step is durable before the next: a crash leaves a log without a gap, and at most one sidecar too many, which
//!     the next start takes for what it is because the renamed file lies beside it.
//!  2. A step that fails is not retried: nothing retires until the next start, which looks at what is there.
//!  3. Bytes of a file change only after its old name is durably gone.
//!
//! Not here: which segment (`retention`), what becomes of its file (`log::segment_set`), what it held (`state`).

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::env::Env;
use crate::log::Log;
use crate::planted::{self, Bug};
use crate::retention::{Circumstances, ClockWatch, Oldest, Retention, Verdict};
use crate::sidecar;
use crate::state::State;

/// The loop's state.
pub(crate) struct Retiring<E: Env> {
    env: E,
    folder: PathBuf,
    retention: Retention,
    log: Rc<Log<E>>,
    state: Rc<RefCell<State>>,
    clock: ClockWatch,
}

impl<E: Env> Retiring<E> {
    /// Starts the loop; the log's end waits for it.
    pub fn start(env: E, folder: &Path, retention: Retention, log: Rc<Log<E>>, state: Rc<RefCell<State>>) {
        let clock = ClockWatch::default();
        let mut retiring =
            Retiring { env, folder: folder.to_owned(), retention, log: log.clone(), state, clock };
        log.spawn_background(async move { retiring.run().await });
    }

    async fn run(&mut self) {
        while !self.log.is_over() {
            match self.retire_one().await {
                Ok(true) => {}
                Ok(false) => self.log.may_retire().wait().await,
                Err(error) => {
                    let reason = "nothing retires any more until the next start";
                    tracing::error!(%error, reason, "a segment could not retire");
                    return;
                }
            }
        }
    }

    /// Whether a segment retired.
    async fn retire_one(&mut self) -> io::Result<bool> {
        let now_ms = self.clock.look(self.env.wall_ms(), self.env.monotonic());
        let segments = self.log.segments();
        let Some((base, oldest)) = self.oldest() else { return Ok(false) };
        let at = Circumstances { now_ms, log_end: self.log.durable(), disk: self.log.disk_space() };
        match self.retention.decide(&oldest, &at) {
            Verdict::Retire => {}
            Verdict::Keep | Verdict::Wait => return Ok(false),
        }
        tracing::info!(base, newest_ms = oldest.newest_ms, "a segment retires");
        let retired = self.state.borrow_mut().retire_oldest();
        assert!(retired.is_some_and(|sidecar| sidecar.base() == base), "the rule was asked about the oldest");
        if planted::is(Bug::SidecarRemovedFirst) {
            self.env.remove(&sidecar::path(&self.folder, base)).await?;
            self.env.sync_folder(&self.folder).await?;
        }
        segments.retire(base).await?;
        if !planted::is(Bug::SidecarRemovedFirst) {
            self.env.remove(&sidecar::path(&self.folder, base)).await?;
            self.env.sync_folder(&self.folder).await?;
        }
        segments.keep_spare(base, self.log.is_disk_low()).await?;
        Ok(true)
    }

    /// The oldest segment, and what the rule wants to know of it.
    fn oldest(&self) -> Option<(u64, Oldest)> {
        let state = self.state.borrow();
        let sidecars = state.sidecars();
        let base = sidecars.first()?.base();
        let after = || sidecars.iter().skip(1);
        let last =
            sidecars.first().into_iter().chain(after().take_while(|sidecar| !sidecar.has_base())).last()?;
        let is_read = self.log.segments().is_read(base) && !planted::is(Bug::RetiredWhileRead);
        let oldest = Oldest {
            last_base: last.base(),
            newest_ms: last.seal().store_timestamp_ms,
            is_spare: sidecars.can_spare_oldest(),
            is_read,
        };
        Some((base, oldest))
    }
}
