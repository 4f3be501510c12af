//! A remoting command: the header of a frame, decoded and encoded.
//!
//! Decoding copies the header's text once into a [`HeadScratch`] that its owner reuses, so a shard
//! decodes without allocating; the [`Head`] borrows from it. Encoding appends to the caller's buffer.
//!
//! Not here: what the fields of a request mean (`request/`).
//! Source: `remoting/.../protocol/RemotingCommand.java`, `RocketMQSerializable.java`.

use crate::error::HeadError;
use crate::fields::{Fields, Span, Value};

/// How a header is written: the `serializeType` of `RemotingCommand`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeadFormat {
    /// A JSON object.
    Json,
    /// RocketMQ's binary form.
    Binary,
}

impl HeadFormat {
    /// The format a frame's type byte names.
    pub fn from_byte(byte: u8) -> Option<HeadFormat> {
        match byte {
            0 => Some(HeadFormat::Json),
            1 => Some(HeadFormat::Binary),
            _ => None,
        }
    }
    /// The frame's type byte.
    pub fn byte(self) -> u8 {
        match self {
            HeadFormat::Json => 0,
            HeadFormat::Binary => 1,
        }
    }
}

/// Bit 0 of `flag`: this command is a response.
pub const FLAG_RESPONSE: i32 = 1;
/// Bit 1 of `flag`: the sender wants no answer.
pub const FLAG_ONE_WAY: i32 = 2;
/// The version we claim: RocketMQ 5.3.3 (`MQVersion`), which opens every gate of every client.
pub const VERSION: i32 = 479;

/// A decoded header.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Request code, or response code.
    pub code: i32,
    /// Sender's language as its ordinal (`LanguageCode`); unknown is 7 (OTHER).
    pub language: u8,
    /// Sender's version ordinal (`MQVersion`).
    pub version: i32,
    /// Correlation number of the call; may be negative.
    pub opaque: i32,
    /// [`FLAG_RESPONSE`] and [`FLAG_ONE_WAY`].
    pub flag: i32,
    /// Text, on failures.
    pub remark: Option<&'a str>,
    /// The parameters.
    pub fields: Fields<'a>,
}

impl Head<'_> {
    /// Whether this answers a call of ours.
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }
    /// Whether the sender must not be answered.
    pub fn is_one_way(&self) -> bool {
        self.flag & FLAG_ONE_WAY != 0
    }
}

/// Reused memory for decoding headers. One per shard.
#[derive(Debug, Default)]
pub struct HeadScratch {
    pub(crate) text: String,
    pub(crate) spans: Vec<Span>,
}

impl HeadScratch {
    /// Decodes a frame's header. The result lives until the next call.
    pub fn decode(&mut self, format: HeadFormat, head: &[u8]) -> Result<Head<'_>, HeadError> {
        self.text.clear();
        self.spans.clear();
        match format {
            HeadFormat::Json => crate::head_json::decode(self, head),
            HeadFormat::Binary => crate::head_binary::decode(self, head),
        }
    }
}

/// A header on its way out.
#[derive(Debug, Clone, Copy)]
pub struct OutHead<'a> {
    /// How to write it: the request's own format, for an answer.
    pub format: HeadFormat,
    /// Request code, or response code.
    pub code: i32,
    /// The call's correlation number.
    pub opaque: i32,
    /// [`FLAG_RESPONSE`], [`FLAG_ONE_WAY`].
    pub flag: i32,
    /// Text, on failures.
    pub remark: Option<&'a str>,
    /// The parameters; always written, even when empty.
    pub fields: &'a [(&'a str, Value<'a>)],
}

impl OutHead<'_> {
    /// Appends the frame's first 8 bytes and this header to `out`, for a body of `body_bytes` that the
    /// caller appends or sends after it.
    ///
    /// A header that the binary form cannot carry (a code beyond 16 bits) is written as JSON: receivers
    /// decode what the frame's format byte declares.
    pub fn encode(&self, out: &mut Vec<u8>, body_bytes: usize) {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        let format = match self.format {
            HeadFormat::Binary if !crate::head_binary::fits(self) => HeadFormat::Json,
            asked => asked,
        };
        match format {
            HeadFormat::Json => crate::head_json::encode(self, out),
            HeadFormat::Binary => crate::head_binary::encode(self, out),
        }
        let head_bytes = out.len() - start - 8;
        let length = (4 + head_bytes + body_bytes) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        let word = (u32::from(format.byte()) << 24) | head_bytes as u32;
        out[start + 4..start + 8].copy_from_slice(&word.to_be_bytes());
    }
}
