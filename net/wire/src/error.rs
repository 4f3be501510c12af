//! Why bytes were refused. One small enum per operation.

use thiserror::Error;

/// A wire frame that can never become valid; the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The declared length passes [`crate::frame::FRAME_BYTES_MAX`].
    #[error("frame of {declared} bytes exceeds {max}")]
    TooLarge {
        /// Whole frame, its length word included.
        declared: u64,
        /// The limit.
        max: u64,
    },
    /// The header is longer than the frame, or the frame is shorter than its own header word.
    #[error("frame of {frame} bytes cannot hold a header of {head} bytes")]
    HeadLongerThanFrame {
        /// The frame's length word.
        frame: u32,
        /// The header's declared length.
        head: u32,
    },
    /// Neither JSON (0) nor ROCKETMQ (1).
    #[error("unknown header format {0}")]
    UnknownFormat(u8),
}

/// A frame's header that cannot be read; the connection is closed, because no opaque is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeadError {
    /// Not the JSON that a header is.
    #[error("header is not valid JSON at byte {at}: {what}")]
    Json {
        /// Position in the header.
        at: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// A length in it runs over its end.
    #[error("binary header ends inside {0}")]
    Truncated(&'static str),
    /// Text that is none.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// More than [`crate::fields::FIELDS_MAX`].
    #[error("more than {max} header fields")]
    TooManyFields {
        /// The limit.
        max: usize,
    },
}

/// A header field that a request needs is missing or malformed. Becomes response code 1.
///
/// The texts follow `RemotingCommand.decodeCommandCustomHeader`, since users search for them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldError {
    /// Absent or null.
    #[error("the custom field <{0}> is null")]
    Missing(&'static str),
    /// There, and not what it should be.
    #[error("the field <{name}> is not {expected}: {found}")]
    Malformed {
        /// The field.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
        /// The beginning of what is there.
        found: String,
    },
}
