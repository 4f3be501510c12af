//! Retiring: the loop that lets expired segments go, one after the other, the oldest first.
//!
//! ```text
//!   rule says so ─▶ no fact points into it ─▶ queues begin after it ─▶ its file is renamed ─ sync ─▶ its sidecar is removed ─ sync ─▶ spare file
//! ```
//!
//! Invariants
//!  1. Each step is durable before the next: a crash leaves a log without a gap, and at most one sidecar too many, which
//!     the next start takes for what it is because the renamed file lies beside it.
//!  2. A step that fails is not retried: nothing retires until the next start, which looks at what is there.
//!  3. What was decided before a wait is decided again after it: between the last look and the first change nobody else runs.
//!  4. Bytes of a file change only after its old name is durably gone.
//!
//! Not here: which segment (`retention`), how records that facts point to outlive it (`carrying`), what becomes of its file (`log::segment_set`), what it held (`state`).

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::append::Appending;
use crate::carrying::{CarryError, Carrying};
use crate::env::Env;
use crate::limits::CARRY_RETRY_DELAY;
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
    carrying: Carrying<E>,
    /// A record that is to be carried forward could not be read: nothing is tried before.
    not_before: Duration,
}

impl<E: Env> Retiring<E> {
    /// Starts the loop; the log's end waits for it.
    pub fn start(
        env: E,
        folder: &Path,
        retention: Retention,
        log: Rc<Log<E>>,
        state: Rc<RefCell<State>>,
        appending: Rc<Appending<E>>,
    ) {
        let mut retiring = Retiring {
            env,
            folder: folder.to_owned(),
            retention,
            log: log.clone(),
            state: state.clone(),
            clock: ClockWatch::default(),
            carrying: Carrying::new(log.clone(), state, appending),
            not_before: Duration::ZERO,
        };
        log.spawn_background(async move { retiring.run().await });
    }

    async fn run(&mut self) {
        while !self.log.is_over() {
            match self.retire_one().await {
                Ok(true) => {}
                // Carrying forward may have waited for the signal that the log is over.
                Ok(false) if self.log.is_over() => return,
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
        let Some((base, newest_ms)) = self.expired() else { return Ok(false) };
        if !self.is_clear(base).await {
            return Ok(false);
        }
        let segments = self.log.segments();
        tracing::info!(base, newest_ms, "a segment retires");
        let retired = self.state.borrow_mut().retire_oldest();
        assert!(retired.is_some_and(|sidecar| sidecar.base() == base), "the rule was asked about the oldest");
        segments.retire(base).await?;
        self.env.remove(&sidecar::path(&self.folder, base)).await?;
        self.env.sync_folder(&self.folder).await?;
        segments.keep_spare(base, self.log.is_disk_low()).await?;
        Ok(true)
    }

    /// The oldest segment, if it may go now, and when its newest record was stored.
    fn expired(&mut self) -> Option<(u64, i64)> {
        let now_ms = self.clock.look(self.env.wall_ms(), self.env.monotonic());
        let (base, oldest) = self.oldest()?;
        self.carrying.forget_before(base);
        let at = Circumstances {
            now_ms,
            log_end: self.log.durable(),
            carried_bytes: self.carrying.bytes_from(oldest.last_base),
            disk: self.log.disk_space(),
        };
        match self.retention.decide(&oldest, &at) {
            Verdict::Retire => Some((base, oldest.newest_ms)),
            Verdict::Keep | Verdict::Wait => None,
        }
    }

    /// Carries forward what facts point to in the oldest segment. Whether it may go, by what is known after that.
    async fn is_clear(&mut self, base: u64) -> bool {
        if planted::is(Bug::CarryForgotten) {
            return true;
        }
        if self.env.monotonic() < self.not_before {
            return false;
        }
        let end = base + self.log.segments().segment_bytes();
        match self.carrying.clear(end).await {
            Ok(walk) => {
                self.carrying.is_clear(&walk) && self.expired().is_some_and(|(oldest, _)| oldest == base)
            }
            Err(CarryError::Over) => false,
            Err(error) => {
                self.not_yet(base, &error);
                false
            }
        }
    }

    /// Says why a segment stays, and sees to it that it is tried again.
    fn not_yet(&mut self, base: u64, error: &CarryError) {
        match error {
            // With the next look at the disk's space.
            CarryError::Refused(_) | CarryError::Over => tracing::debug!(base, %error),
            CarryError::Damaged(_) => {
                tracing::warn!(base, %error, "a segment's facts are not known yet, so it stays");
                self.log.rolled().fire();
            }
            CarryError::Unreadable { .. } => {
                tracing::error!(base, %error, "restore the segment from a copy; nothing retires until then");
                self.not_before = self.env.monotonic() + CARRY_RETRY_DELAY;
            }
        }
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
