//! Why bytes were refused. One small enum per operation.

use thiserror::Error;

/// A wire frame that can never become valid; the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The declared length passes [`crate::frame::FRAME_BYTES_MAX`].
    #[error("frame of {declared} bytes exceeds {max}")]
    TooLarge { declared: u64, max: u64 },
    /// The header is longer than the frame, or the frame is shorter than its own header word.
    #[error("frame of {frame} bytes cannot hold a header of {head} bytes")]
    HeadLongerThanFrame { frame: u32, head: u32 },
    /// Neither JSON (0) nor ROCKETMQ (1).
    #[error("unknown header format {0}")]
    UnknownFormat(u8),
}

/// A frame's header that cannot be read; the connection is closed, because no opaque is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeadError {
    #[error("header is not valid JSON at byte {at}: {what}")]
    Json { at: usize, what: &'static str },
    #[error("binary header ends inside {0}")]
    Truncated(&'static str),
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    #[error("more than {max} header fields")]
    TooManyFields { max: usize },
}

/// A header field that a request needs is missing or malformed. Becomes response code 1.
///
/// The texts follow `RemotingCommand.decodeCommandCustomHeader`, since users search for them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldError {
    #[error("the custom field <{0}> is null")]
    Missing(&'static str),
    #[error("the field <{name}> is not {expected}: {found}")]
    Malformed { name: &'static str, expected: &'static str, found: String },
}
