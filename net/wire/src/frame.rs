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
    Incomplete {
        /// Bytes from the input's start.
        need: usize,
    },
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A route request in the binary form, as Java 5.3.3 sends it.
    const ROUTE: &[u8] = b"\0\0\0\x2a\x01\0\0\x26\0\x69\0\x01\xdf\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x11\0\x05topic\0\0\0\x06TopicA";

    #[test]
    fn a_frame_is_cut_out_of_what_follows_it() {
        let input = [ROUTE, b"next"].concat();
        let Ok(Decoded::Frame(frame, taken)) = decode(&input) else { panic!("a whole frame is there") };
        assert_eq!((frame.format, frame.head, frame.body), (HeadFormat::Binary, &ROUTE[8..], &b""[..]));
        assert_eq!(taken, ROUTE.len());
    }

    #[test]
    fn every_truncation_is_incomplete_and_says_how_much_is_needed() {
        for length in 0..ROUTE.len() {
            let Ok(Decoded::Incomplete { need }) = decode(&ROUTE[..length]) else { panic!("{length}") };
            assert!(need > length && need <= ROUTE.len(), "{length} {need}");
        }
    }

    #[test]
    fn frames_that_can_never_be_valid_are_refused_as_early_as_they_show() {
        let max = FRAME_BYTES_MAX as u64;
        let table: &[(&[u8], FrameError)] = &[
            (&[0x00, 0xFF, 0xFF, 0xFD], FrameError::TooLarge { declared: max + 1, max }),
            (&[0xFF; 4], FrameError::TooLarge { declared: (1 << 32) + 3, max }),
            (&[0, 0, 0, 3], FrameError::HeadLongerThanFrame { frame: 3, head: 4 }),
            (&[0, 0, 0, 4, 0, 0, 0, 1], FrameError::HeadLongerThanFrame { frame: 4, head: 1 }),
            (&[0, 0, 0, 4, 2, 0, 0, 0], FrameError::UnknownFormat(2)),
        ];
        for (input, error) in table {
            assert_eq!(decode(input), Err(error.clone()), "{input:?}");
        }
        assert!(matches!(decode(&[0x00, 0xFF, 0xFF, 0xFC]), Ok(Decoded::Incomplete { .. })));
    }
}
