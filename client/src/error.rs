//! Why a call got no answer.

use ringmq_wire::{FrameError, HeadError};
use std::io;
use std::time::Duration;
use thiserror::Error;

/// Why a call got no answer. An answer with a failing code is an answer, not an error.
#[derive(Debug, Error)]
pub enum CallError {
    /// The operating system failed; the connection is of no more use.
    #[error("{operation} {peer}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With whom.
        peer: String,
        /// What came of it.
        source: io::Error,
    },
    /// Nothing came in time. The call may still have taken effect; its late answer will be dropped, and the
    /// connection goes on.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The peer closed the connection while an answer was awaited.
    #[error("{0} closed the connection")]
    Closed(String),
    /// What came is no frame; the connection is of no more use.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame came whose header cannot be read; the connection is of no more use.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// This many calls await their answers already; wait for one of them first.
    #[error("{0} calls await their answers")]
    TooManyInFlight(usize),
    /// The opaque is of no call that awaits an answer: it was waited for already, or it timed out.
    #[error("no call {0} awaits an answer")]
    NotInFlight(i32),
    /// An earlier failure left a frame half sent or half read.
    #[error("the connection to {0} failed before")]
    Broken(String),
}
