//! A wire frame: what one message of the remoting protocol looks like on a connection.
//!
//!     0       4       8           8+H            4+L
//!     ├───────┼─┬─────┼───────────┼───────────────┤
//!     │   L   │T│  H  │  header   │     body      │
//!     └───────┴─┴─────┴───────────┴───────────────┘
//!
//! L: bytes that follow it. T: header format (0 JSON, 1 ROCKETMQ binary). H: 24-bit header length.
//!
//! Source: `remoting/.../protocol/RemotingCommand.java`, `remoting/.../netty/NettyDecoder.java`.

use crate::command::HeadFormat;
use crate::error::FrameError;

/// Longest whole frame, its length word included (`com.rocketmq.remoting.frameMaxLength`).
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One complete frame, borrowed from the bytes received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// How the header is written.
    pub format: HeadFormat,
    /// The header's bytes; see [`crate::HeadScratch::decode`].
    pub head: &'a [u8],
    /// The body; empty and absent are the same.
    pub body: &'a [u8],
}

/// What the first bytes of a connection's input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole frame, and how many bytes of the input it took.
    Frame(Frame<'a>, usize),
    /// Not yet whole: at least so many bytes in total are needed before trying again.
    Incomplete { need: usize },
}

/// Reads the frame at the start of `input`. Errors are found as early as the bytes show them.
pub fn decode(input: &[u8]) -> Result<Decoded<'_>, FrameError> {
    let Some(length) = input.first_chunk::<4>().map(|word| u32::from_be_bytes(*word)) else {
        return Ok(Decoded::Incomplete { need: 4 });
    };
    let whole = u64::from(length) + 4;
    if whole > FRAME_BYTES_MAX as u64 {
        return Err(FrameError::TooLarge { declared: whole, max: FRAME_BYTES_MAX as u64 });
    }
    let whole = whole as usize;
    if length < 4 {
        return Err(FrameError::HeadLongerThanFrame { frame: length, head: 4 });
    }
    let Some(word) = input.get(4..8) else {
        return Ok(Decoded::Incomplete { need: whole.max(8) });
    };
    let head_bytes = u32::from_be_bytes([0, word[1], word[2], word[3]]);
    let format = HeadFormat::from_byte(word[0]).ok_or(FrameError::UnknownFormat(word[0]))?;
    if head_bytes > length - 4 {
        return Err(FrameError::HeadLongerThanFrame { frame: length, head: head_bytes });
    }
    let Some(rest) = input.get(8..whole) else {
        return Ok(Decoded::Incomplete { need: whole });
    };
    let (head, body) = rest.split_at(head_bytes as usize);
    Ok(Decoded::Frame(Frame { format, head, body }, whole))
}
