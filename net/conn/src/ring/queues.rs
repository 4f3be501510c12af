//! The ring's two queues and its readiness signal: submissions in, completions out.
//!
//! Invariants
//!  1. Nothing pushed is lost or reordered: what does not fit is held here until it does.
//!  2. No completion is lost: those that the kernel set aside are fetched by entering again.
//!  3. While silenced, completions do not signal; `listen_for_work` closes the race with what came meanwhile.
//!
//! Everything runs on the thread that made the ring (`SINGLE_ISSUER`), and the kernel does its part of the
//! work only when entered (`DEFER_TASKRUN`), so that a busy shard is never interrupted by its sockets.
//!
//! Source of truth: io_uring_setup(2), io_uring_enter(2).

use super::error::RingError;
use super::sockets;
use io_uring::{IoUring, cqueue, squeue};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

const ENTER_GETEVENTS: u32 = 1;

/// Entries that may follow one another because the kernel had set completions aside.
const ENTRIES_FOR_OVERFLOW_MAX: u32 = 64;

pub(super) struct Queues {
    uring: IoUring,
    ready: OwnedFd,
    /// Did not fit into the submission queue.
    held: VecDeque<squeue::Entry>,
    silenced: bool,
    pub counts: QueueCounts,
}

/// How often the rare paths were taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// System calls that entered the ring.
    pub enters: u64,
    /// The submission queue was full.
    pub submissions_full: u64,
    /// The kernel had set completions aside because the completion queue was full.
    pub completions_overflowed: u64,
}

/// One completion, copied out of the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completion {
    pub user_data: u64,
    /// A count, a descriptor, or a negated error number.
    pub result: i32,
    flags: u32,
}

impl Completion {
    /// A multishot operation goes on after this.
    pub(super) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The receive buffer that this hands over.
    pub(super) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

impl Queues {
    pub(super) fn new(submissions: u32, completions: u32) -> Result<Queues, RingError> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(completions)
            .build(submissions)
            .map_err(|source| RingError::read("make an io_uring", source, &sockets::system()))?;
        let ready = sockets::event_fd()
            .map_err(|source| RingError::Os { action: "make the readiness signal", source })?;
        uring
            .submitter()
            .register_eventfd(ready.as_raw_fd())
            .map_err(|source| RingError::read("register the readiness signal", source, &sockets::system()))?;
        let mut queues =
            Queues { uring, ready, held: VecDeque::new(), silenced: false, counts: QueueCounts::default() };
        queues.silence();
        Ok(queues)
    }

    /// # Safety
    /// `address` is that of a page-aligned ring of `count` entries which stays mapped until the queues are
    /// dropped or `unregister_buffers` has succeeded.
    pub(super) unsafe fn register_buffers(&self, address: u64, count: u16, group: u16) -> io::Result<()> {
        // SAFETY: passed on to our caller.
        unsafe { self.uring.submitter().register_buf_ring_with_flags(address, count, group, 0) }
    }

    pub(super) fn unregister_buffers(&self, group: u16) -> io::Result<()> {
        self.uring.submitter().unregister_buf_ring(group)
    }

    /// Puts an operation behind all earlier ones; the kernel sees it at the next `enter`.
    ///
    /// # Safety
    /// What `entry` points to stays valid and in place until the operation's last completion was reaped.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        if self.held.is_empty() {
            // SAFETY: passed on to our caller.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return;
            }
            self.counts.submissions_full += 1;
            self.submit();
        }
        self.held.push_back(entry);
        self.refill();
    }

    /// Moves held operations into the submission queue, as far as they fit.
    fn refill(&mut self) {
        let mut submission = self.uring.submission();
        while let Some(entry) = self.held.front() {
            // SAFETY: `push` was called for it under the same promise.
            if unsafe { submission.push(entry) }.is_err() {
                return;
            }
            self.held.pop_front();
        }
    }

    /// Something was pushed that the kernel has not seen.
    pub(super) fn has_unsubmitted(&mut self) -> bool {
        !self.held.is_empty() || !self.uring.submission().is_empty()
    }

    /// Submits everything, lets the kernel do its deferred work and appends all completions.
    pub(super) fn enter(&mut self, completions: &mut Vec<Completion>) {
        self.refill();
        self.enter_once(ENTER_GETEVENTS);
        self.reap(completions);
        for _ in 0..ENTRIES_FOR_OVERFLOW_MAX {
            if !self.uring.submission().cq_overflow() {
                break;
            }
            self.counts.completions_overflowed += 1;
            self.enter_once(ENTER_GETEVENTS);
            self.reap(completions);
        }
        while !self.held.is_empty() {
            let held = self.held.len();
            self.submit();
            self.refill();
            if self.held.len() == held {
                break; // The kernel takes nothing now; the next turn tries again.
            }
        }
    }

    /// Waits for at least one completion, or for as long as `patience`; for the end of a ring only.
    pub(super) fn enter_and_wait(&mut self, completions: &mut Vec<Completion>, patience: Duration) {
        self.refill();
        let time = io_uring::types::Timespec::from(patience);
        let args = io_uring::types::SubmitArgs::new().timespec(&time);
        // Failures (time is over, interrupted) show as completions that did not come.
        let _ = self.uring.submitter().submit_with_args(1, &args);
        self.reap(completions);
    }

    /// Submits without letting completions be posted: makes room in the submission queue.
    fn submit(&mut self) {
        self.enter_once(0);
    }

    fn enter_once(&mut self, flags: u32) {
        self.counts.enters += 1;
        let unsubmitted = self.uring.submission().len() as u32;
        // SAFETY: no argument is passed, and the flags are valid for every ring.
        let result = unsafe { self.uring.submitter().enter::<libc::sigset_t>(unsubmitted, 0, flags, None) };
        if let Err(error) = result {
            match error.raw_os_error() {
                // Interrupted; short of memory; completions set aside. All pass, and the next turn tries
                // again: what was not taken is still in the queue.
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY) => {}
                _ => panic!("io_uring_enter: {error}"),
            }
        }
    }

    fn reap(&mut self, completions: &mut Vec<Completion>) {
        completions.extend(self.uring.completion().map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    /// The kernel has work that it does when entered, or completions are already there.
    pub(super) fn has_work(&mut self) -> bool {
        let submission = self.uring.submission();
        let waiting = submission.taskrun() || submission.cq_overflow();
        drop(submission);
        waiting || !self.uring.completion().is_empty()
    }

    /// Completions no longer signal. Our own sends would otherwise wake the shard that is awake.
    pub(super) fn silence(&mut self) {
        if !self.silenced {
            self.uring.completion().disable_eventfd();
            self.silenced = true;
        }
    }

    /// Completions signal again. `false`, and silent as before, if something is there already.
    pub(super) fn listen_for_work(&mut self) -> bool {
        self.uring.completion().enable_eventfd();
        self.silenced = false;
        // The kernel sets TASKRUN and then reads whether to signal; we allow the signal and then read
        // TASKRUN. With a full barrier on both sides, one of us sees the other.
        fence(Ordering::SeqCst);
        if self.has_work() {
            self.silence();
            return false;
        }
        true
    }

    /// The descriptor that becomes readable when there is work, or after `kick`.
    pub(super) fn ready_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    pub(super) fn kick(&self) {
        sockets::signal(&self.ready);
    }
}
