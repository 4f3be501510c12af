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

/// What a scratch keeps of its memory between headers; one that had to grow beyond lets go of it.
const SCRATCH_BYTES_KEPT: usize = 256 * 1024;

/// Reused memory for decoding headers. One per shard. A header grows it to at most twice its own size.
#[derive(Debug, Default)]
pub struct HeadScratch {
    pub(crate) text: String,
    pub(crate) spans: Vec<Span>,
}

impl HeadScratch {
    /// Decodes a frame's header. The result lives until the next call.
    pub fn decode(&mut self, format: HeadFormat, head: &[u8]) -> Result<Head<'_>, HeadError> {
        self.text.clear();
        self.text.shrink_to(SCRATCH_BYTES_KEPT);
        self.spans.clear();
        match format {
            HeadFormat::Json => crate::head_json::decode(self, head),
            HeadFormat::Binary => crate::head_binary::decode(self, head),
        }
    }

    /// The fields of the header decoded last; none before the first. For whoever keeps a header longer than its
    /// frame: the scratch is all that its fields need.
    pub fn fields(&self) -> Fields<'_> {
        Fields { text: &self.text, spans: &self.spans }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{self, Decoded};
    use crate::language;

    const ANSWER: OutHead<'static> = OutHead {
        format: HeadFormat::Json,
        code: 0,
        opaque: -7,
        flag: FLAG_RESPONSE,
        remark: None,
        fields: &[],
    };

    /// Writes a header behind other bytes and hands it, read again, to `check`.
    fn back(head: &OutHead<'_>, check: impl FnOnce(HeadFormat, Head<'_>)) {
        let mut out = vec![1, 2, 3];
        head.encode(&mut out, 0);
        let Ok(Decoded::Frame(frame, _)) = frame::decode(&out[3..]) else { panic!("a whole frame is there") };
        check(frame.format, HeadScratch::default().decode(frame.format, frame.head).unwrap());
    }

    #[test]
    fn rule_04_an_answer_has_the_format_asked_for() {
        for format in [HeadFormat::Json, HeadFormat::Binary] {
            back(&OutHead { format, ..ANSWER }, |written, _| assert_eq!(written, format));
        }
    }

    #[test]
    fn rule_05_an_answer_has_the_response_bit_and_the_calls_opaque() {
        for format in [HeadFormat::Json, HeadFormat::Binary] {
            back(&OutHead { format, ..ANSWER }, |_, head| {
                assert!(head.is_response() && !head.is_one_way());
                assert_eq!(head.opaque, -7);
            });
        }
    }

    #[test]
    fn rule_06_our_version_opens_every_gate_and_our_language_is_known_to_all() {
        for format in [HeadFormat::Json, HeadFormat::Binary] {
            back(&OutHead { format, ..ANSWER }, |_, head| {
                assert_eq!((head.version, head.language), (479, language::JAVA));
                assert!(i16::try_from(head.version).is_ok());
            });
        }
    }

    #[test]
    fn rule_20_one_way_is_what_the_bit_says() {
        for (flag, one_way) in [(0, false), (FLAG_ONE_WAY, true), (FLAG_ONE_WAY | FLAG_RESPONSE, true)] {
            back(&OutHead { flag, ..ANSWER }, |_, head| assert_eq!(head.is_one_way(), one_way));
        }
    }

    #[test]
    fn a_scratch_keeps_the_fields_of_its_last_header() {
        let mut scratch = HeadScratch::default();
        assert_eq!(scratch.fields().iter().count(), 0);
        scratch.decode(HeadFormat::Json, br#"{"extFields":{"a":"1"},"remark":"r"}"#).unwrap();
        assert_eq!(scratch.fields().iter().collect::<Vec<_>>(), [("a", "1")]);
        scratch.decode(HeadFormat::Json, b"{}").unwrap();
        assert_eq!(scratch.fields().iter().count(), 0);
    }

    #[test]
    fn a_scratch_lets_go_of_what_a_huge_header_made_it_grow_to() {
        let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(4 * SCRATCH_BYTES_KEPT));
        let mut scratch = HeadScratch::default();
        scratch.decode(HeadFormat::Json, huge.as_bytes()).unwrap();
        scratch.decode(HeadFormat::Json, b"{}").unwrap();
        assert!(scratch.text.capacity() <= SCRATCH_BYTES_KEPT);
    }
}
