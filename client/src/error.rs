//! What can go wrong, by what the caller can do about it.
//!
//! Three questions decide: is it worth another try ([`Error::is_retryable`])? May it have taken effect all the same
//! ([`Error::outcome_unknown`])? And what did the server say ([`Error::code`])? Every variant answers all three.
//!
//! | variant | retryable | outcome unknown |
//! |---|---|---|
//! | `Invalid`, `Stopped` | no | no |
//! | `NoRoute`, `Connect`, `Full` | yes | no |
//! | `Lost`, `TimedOut` | yes | if the request had left |
//! | `Refused` | by its code | no |
//! | `NotDurable` | yes | yes |
//! | `Malformed` | no | yes |
//!
//! Retrying a send whose outcome is unknown may store the message twice; see [`crate::Producer`].

use ringmq_wire::code::response;
use ringmq_wire::{FrameError, HeadError};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// What came of a call that did not succeed.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum Error {
    /// It was refused here, before anything was sent: a name, a size, a setting.
    #[error("{0}")]
    Invalid(String),
    /// No name server knows where this is.
    #[error(
        "no name server knows a route of {topic}; create the topic, or let brokers create it by its first message"
    )]
    NoRoute {
        /// The topic.
        topic: String,
    },
    /// No connection could be made.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// With whom.
        address: String,
        /// What came of it.
        source: Arc<io::Error>,
    },
    /// As much is on its way as this client may hold in memory, and nothing of it was answered in time.
    #[error("{bytes} bytes did not fit what may be on its way within {after:?}")]
    Full {
        /// What was to be sent.
        bytes: usize,
        /// How long it waited for room.
        after: Duration,
    },
    /// The connection ended before the answer came.
    #[error("lost the connection to {address}: {reason}")]
    Lost {
        /// With whom.
        address: String,
        /// Why it ended.
        reason: String,
        /// Whether any byte of the request had left.
        sent: bool,
    },
    /// No answer came in time.
    #[error("no answer from {address} within {after:?}")]
    TimedOut {
        /// From whom.
        address: String,
        /// How long it waited.
        after: Duration,
        /// Whether any byte of the request had left.
        sent: bool,
    },
    /// The server refused.
    #[error("{address} refused with {code} ({name}): {remark}", name = response::name(*code))]
    Refused {
        /// Who.
        address: String,
        /// Its response code (`ResponseCode`).
        code: i32,
        /// What it said.
        remark: String,
    },
    /// The broker has the message, and could not promise that it outlives a crash: its flush took too long, or a
    /// replica did not answer (codes 10, 11 and 12). RingMQ never answers so.
    #[error("{address} has the message, but not yet as safely as configured: {name}", name = response::name(*code))]
    NotDurable {
        /// Who.
        address: String,
        /// 10, 11 or 12.
        code: i32,
    },
    /// What the server sent cannot be read.
    #[error("{address} sent what cannot be read: {what}")]
    Malformed {
        /// Who.
        address: String,
        /// What is wrong with it.
        what: String,
    },
    /// The client was shut down.
    #[error("the client was shut down")]
    Stopped,
}

impl Error {
    /// Whether the same call may succeed when it is made again. Producers and consumers have done so already, as
    /// often and as long as they were told to.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Invalid(_) | Error::Stopped | Error::Malformed { .. } => false,
            Error::NoRoute { .. }
            | Error::Connect { .. }
            | Error::Full { .. }
            | Error::Lost { .. }
            | Error::TimedOut { .. }
            | Error::NotDurable { .. } => true,
            Error::Refused { code, .. } => is_passing(*code),
        }
    }

    /// Whether the call may have taken effect. `false` is a promise that it has not.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Error::Lost { sent, .. } | Error::TimedOut { sent, .. } => *sent,
            Error::NotDurable { .. } | Error::Malformed { .. } => true,
            Error::Invalid(_)
            | Error::NoRoute { .. }
            | Error::Connect { .. }
            | Error::Full { .. }
            | Error::Refused { .. }
            | Error::Stopped => false,
        }
    }

    /// The server's response code (`ResponseCode`), if it answered.
    pub fn code(&self) -> Option<i32> {
        match self {
            Error::Refused { code, .. } | Error::NotDurable { code, .. } => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn invalid(what: impl std::fmt::Display) -> Error {
        Error::Invalid(what.to_string())
    }
}

/// Codes that say "not now" or "not here" rather than "never".
/// Source: `DefaultMQProducer.retryResponseCodes`, and what clients do on GO_AWAY and flow control.
fn is_passing(code: i32) -> bool {
    matches!(
        code,
        response::SYSTEM_ERROR
            | response::SYSTEM_BUSY
            | response::SERVICE_NOT_AVAILABLE
            | response::TOPIC_NOT_EXIST
            | response::NO_PERMISSION
            | response::NO_BUYER_ID
            | response::NOT_IN_CURRENT_UNIT
            | response::SUBSCRIPTION_NOT_EXIST
            | response::SUBSCRIPTION_NOT_LATEST
            | response::FLOW_CONTROL
            | response::NOT_LEADER_FOR_QUEUE
            | response::GO_AWAY
    )
}

/// Why a call of a [`crate::blocking::Connection`] got no answer. An answer with a failing code is an answer, not an error.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_whether_to_try_again_and_whether_it_may_have_happened() {
        let address = || "b:1".to_owned();
        let after = Duration::from_secs(1);
        let refused = |code| Error::Refused { address: address(), code, remark: "no".into() };
        let lost = |sent| Error::Lost { address: address(), reason: "gone".into(), sent };
        let late = |sent| Error::TimedOut { address: address(), after, sent };
        let source = Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        for (error, retryable, unknown, code) in [
            (Error::invalid("x"), false, false, None),
            (Error::Stopped, false, false, None),
            (Error::NoRoute { topic: "T".into() }, true, false, None),
            (Error::Connect { address: address(), source }, true, false, None),
            (Error::Full { bytes: 1, after }, true, false, None),
            (lost(false), true, false, None),
            (lost(true), true, true, None),
            (late(false), true, false, None),
            (late(true), true, true, None),
            (refused(response::SYSTEM_BUSY), true, false, Some(2)),
            (refused(response::TOPIC_NOT_EXIST), true, false, Some(17)),
            (refused(response::MESSAGE_ILLEGAL), false, false, Some(13)),
            (refused(response::INVALID_PARAMETER), false, false, Some(29)),
            (Error::NotDurable { address: address(), code: 10 }, true, true, Some(10)),
            (Error::Malformed { address: address(), what: "x".into() }, false, true, None),
        ] {
            assert_eq!((error.is_retryable(), error.outcome_unknown()), (retryable, unknown), "{error}");
            assert_eq!(error.code(), code, "{error}");
        }
    }
}
