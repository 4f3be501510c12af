//! The load generator: one thread that keeps many connections busy and checks what comes back.
//!
//! ```text
//! plan ──► generator ──► work: the next request ──► frame from a template ──► socket
//!              ▲                                                                │
//!              └── latency, silence ◄── work: is the answer right? ◄── frame ───┘
//! ```
//!
//! Invariants
//!  1. An answer is counted only after it was checked; a wrong one ends the run.
//!  2. At a fixed rate, latency counts from the moment a request was due, not from when it could be sent: a stalled
//!     server delays its own measurements no less than its clients (no coordinated omission).
//!  3. The generator sleeps while nothing is ready, and says how late it was itself.
//!
//! Not here: starting servers (`process`), what a good result is (`report::bar`).

pub mod ceiling;
pub mod churn;
pub mod density;
pub mod fill;
pub mod fleet;
pub mod generator;
pub mod idle;
pub mod ledger;
pub mod pace;
pub mod pull;
pub mod send;
pub(crate) mod socket;
pub mod tail;
pub mod template;
pub mod timeline;
pub mod topic;
pub mod warm_up;
pub mod windows;

use ringmq_wire::{FrameError, Head, HeadError};
use std::io;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use thiserror::Error;

/// One place for a request in flight: place `slot` of connection `connection`, which leads to target `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// Counts through all lanes of a run.
    pub index: usize,
    /// Which of the plan's targets the lane's connection leads to.
    pub target: usize,
}

/// Moments that several generators of this process compare are counted from here.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds from this process's epoch to a moment.
pub fn since_epoch_ns(moment: Instant) -> u64 {
    moment.saturating_duration_since(*EPOCH).as_nanos() as u64
}

/// When a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Time of day, milliseconds.
    pub wall_ms: u64,
    /// When it was due, nanoseconds since this process's epoch.
    pub due_ns: u64,
}

/// What a lane asks, and what a right answer is.
pub trait Work {
    /// Appends the lane's next request to `out`, to be correlated by `opaque`; `false` if the lane has nothing more to
    /// ask.
    fn request(&mut self, lane: Lane, opaque: i32, moment: Moment, out: &mut Vec<u8>) -> bool;

    /// Checks the answer to the lane's last request. Gives the number of messages it stands for.
    fn answer(&mut self, lane: Lane, head: &Head<'_>, body: &[u8]) -> Result<u64, Wrong>;

    /// Whether an answer with this code is one to check; with any other the request was refused.
    fn accepts(&self, code: i32) -> bool {
        code == 0
    }

    /// Whether the last answer is the first one after something turned in the server: what splits
    /// [`windows::Windows`].
    fn turned(&self) -> bool {
        false
    }
}

/// An answer that no right server gives.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("wrong answer: {0}")]
pub struct Wrong(pub String);

/// Why a run has no result.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The operating system failed.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What came of it.
        source: io::Error,
    },
    /// The server closed a connection in use.
    #[error("the server closed a connection in use")]
    Closed,
    /// An answer is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// An answer's header cannot be read.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// An answer is not what a right server gives.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// A call that prepares the run was not answered.
    #[error(transparent)]
    Call(#[from] ringmq_client::CallError),
    /// A call that prepares the run was refused.
    #[error("request {request} was refused with code {code}: {remark}")]
    Refused {
        /// Request code.
        request: i32,
        /// Response code.
        code: i32,
        /// What the server said.
        remark: String,
    },
    /// Requests were in flight and nothing at all was answered for so long: the server hangs.
    #[error("the server hangs: {in_flight} requests in flight, no answer for {silence:?}")]
    Hung {
        /// Requests in flight.
        in_flight: usize,
        /// Since the last answer.
        silence: Duration,
    },
}
