//! The binary form of a header ("ROCKETMQ"), in both directions. (RocketMQ: `RocketMQSerializable`)
//!
//!     0      2   3       5         9        13        17        17+R        21+R
//!     ├──────┼───┼───────┼─────────┼─────────┼─────────┼─────────┼───────────┼──────────┐
//!     │ code │lan│version│ opaque  │  flag   │ R       │ remark  │ E         │ ext      │
//!     └──────┴───┴───────┴─────────┴─────────┴─────────┴─────────┴───────────┴──────────┘
//!      i16    u8  i16     i32       i32       i32       R bytes   i32         E bytes
//!
//!     ext = { i16 name length, name, i32 value length, value } …
//!
//! A route request for `TopicA`, as Java 5.3.3 sends it:
//!     0069 00 01df 00000000 00000000 00000000 00000011 0005 746f706963 00000006 546f70696341
//!
//! Invariants
//!  1. An empty value is an absent field, an empty remark no remark: Java reads both as null.
//!  2. Nothing is reserved by a length read from the input.
//!  3. A header that this form cannot carry ([`fits`]) is written as JSON instead; receivers decode
//!     whatever the frame's format byte declares, so nothing is lost.
//!
//! Source: `remoting/.../protocol/RocketMQSerializable.java`.

use crate::command::{Head, HeadScratch, OutHead, VERSION};
use crate::error::HeadError;
use crate::fields::{FIELDS_MAX, Fields, Span, Value};
use crate::head_json::push_decimal;
use crate::language;

/// Reads a header into the scratch and borrows it from there.
pub(crate) fn decode<'a>(scratch: &'a mut HeadScratch, input: &[u8]) -> Result<Head<'a>, HeadError> {
    let mut rest = input;
    let code = i16::from_be_bytes(take(&mut rest, "code")?);
    let [language] = take(&mut rest, "language")?;
    let version = i16::from_be_bytes(take(&mut rest, "version")?);
    let opaque = i32::from_be_bytes(take(&mut rest, "opaque")?);
    let flag = i32::from_be_bytes(take(&mut rest, "flag")?);
    let remark_bytes = i32::from_be_bytes(take(&mut rest, "remark length")?);
    let remark = text(&mut scratch.text, slice(&mut rest, remark_bytes, "remark")?, "remark")?;
    let ext_bytes = i32::from_be_bytes(take(&mut rest, "ext length")?);
    let mut ext = slice(&mut rest, ext_bytes, "ext")?;
    while !ext.is_empty() {
        field(scratch, &mut ext)?;
    }
    let text = scratch.text.as_str();
    Ok(Head {
        code: code.into(),
        language: language::from_number(language.into()),
        version: version.into(),
        opaque,
        flag,
        remark: Some(&text[remark.0 as usize..remark.1 as usize]).filter(|remark| !remark.is_empty()),
        fields: Fields { text, spans: &scratch.spans },
    })
}

/// One entry of ext.
fn field(scratch: &mut HeadScratch, ext: &mut &[u8]) -> Result<(), HeadError> {
    let name_bytes = i16::from_be_bytes(take(ext, "field name length")?);
    let name = slice(ext, name_bytes.into(), "field name")?;
    let value_bytes = i32::from_be_bytes(take(ext, "field value length")?);
    let value = slice(ext, value_bytes, "field value")?;
    if value.is_empty() {
        let known = scratch.text.as_bytes();
        scratch.spans.retain(|span| known[span.key.0 as usize..span.key.1 as usize] != *name);
        return Ok(());
    }
    if scratch.spans.len() == FIELDS_MAX {
        return Err(HeadError::TooManyFields { max: FIELDS_MAX });
    }
    let key = text(&mut scratch.text, name, "field name")?;
    let value = text(&mut scratch.text, value, "field value")?;
    scratch.spans.push(Span { key, value });
    Ok(())
}

fn take<const N: usize>(rest: &mut &[u8], what: &'static str) -> Result<[u8; N], HeadError> {
    let (bytes, tail) = rest.split_first_chunk::<N>().ok_or(HeadError::Truncated(what))?;
    *rest = tail;
    Ok(*bytes)
}

/// `length` is as declared; a negative or too large one is a header that ends early.
fn slice<'i>(rest: &mut &'i [u8], length: i32, what: &'static str) -> Result<&'i [u8], HeadError> {
    let length = usize::try_from(length).map_err(|_| HeadError::Truncated(what))?;
    let (bytes, tail) = rest.split_at_checked(length).ok_or(HeadError::Truncated(what))?;
    *rest = tail;
    Ok(bytes)
}

fn text(into: &mut String, bytes: &[u8], what: &'static str) -> Result<(u32, u32), HeadError> {
    let start = into.len() as u32;
    into.push_str(std::str::from_utf8(bytes).map_err(|_| HeadError::NotUtf8(what))?);
    Ok((start, into.len() as u32))
}

/// Whether this form can carry the header: the code and every name's length must fit 16 bits (the codes
/// of POP, from 200050 on, do not).
pub(crate) fn fits(head: &OutHead<'_>) -> bool {
    i16::try_from(head.code).is_ok() && head.fields.iter().all(|(name, _)| i16::try_from(name.len()).is_ok())
}

/// Writes a header that [`fits`].
pub(crate) fn encode(head: &OutHead<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&(head.code as i16).to_be_bytes());
    out.push(language::OURS);
    out.extend_from_slice(&(VERSION as i16).to_be_bytes());
    out.extend_from_slice(&head.opaque.to_be_bytes());
    out.extend_from_slice(&head.flag.to_be_bytes());
    let remark = head.remark.unwrap_or("");
    out.extend_from_slice(&(remark.len() as u32).to_be_bytes());
    out.extend_from_slice(remark.as_bytes());
    counted(out, |out| {
        for (name, value) in head.fields {
            if *value == Value::Text("") {
                continue;
            }
            out.extend_from_slice(&(name.len() as u16).to_be_bytes());
            out.extend_from_slice(name.as_bytes());
            counted(out, |out| match value {
                Value::Text(text) => out.extend_from_slice(text.as_bytes()),
                Value::Int(number) => push_decimal(*number, out),
                Value::Bool(true) => out.extend_from_slice(b"true"),
                Value::Bool(false) => out.extend_from_slice(b"false"),
            });
        }
    });
}

/// Writes what `fill` appends behind its length.
fn counted(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::HeadFormat;
    use crate::frame::{self, Decoded};
    use proptest::prelude::*;

    /// The worked example of this file's header.
    const ROUTE: &[u8] = b"\0\x69\0\x01\xdf\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x11\0\x05topic\0\0\0\x06TopicA";

    fn written(head: &OutHead<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        head.encode(&mut out, 0);
        out
    }

    fn out<'a>(code: i32, remark: Option<&'a str>, fields: &'a [(&'a str, Value<'a>)]) -> OutHead<'a> {
        OutHead { format: HeadFormat::Binary, code, opaque: 0, flag: 0, remark, fields }
    }

    #[test]
    fn the_worked_example_is_written_and_read() {
        assert_eq!(written(&out(105, None, &[("topic", "TopicA".into())]))[8..], *ROUTE);
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(HeadFormat::Binary, ROUTE).unwrap();
        assert_eq!((head.code, head.language, head.version, head.opaque, head.flag), (105, 0, 479, 0, 0));
        assert_eq!((head.remark, head.fields.iter().collect::<Vec<_>>()), (None, vec![("topic", "TopicA")]));
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = &written(&out(1, Some("remark"), &[("a", "b".into()), ("n", 7.into())]))[8..];
        for length in 0..whole.len() {
            let mut scratch = HeadScratch::default();
            assert!(scratch.decode(HeadFormat::Binary, &whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn lengths_that_run_over_the_header_are_refused() {
        for (at, bytes) in
            [(13, [0xFF; 4]), (13, [0, 0, 1, 0]), (17, [0xFF; 4]), (17, [0, 0, 0, 0x12]), (17, [0, 0, 0, 5])]
        {
            let mut damaged = ROUTE.to_vec();
            damaged[at..at + 4].copy_from_slice(&bytes);
            let mut scratch = HeadScratch::default();
            assert!(scratch.decode(HeadFormat::Binary, &damaged).is_err(), "{at} {bytes:?}");
        }
    }

    #[test]
    fn empty_values_are_absent_in_both_directions() {
        let written = written(&out(0, Some(""), &[("a", "".into()), ("b", "c".into())]));
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(HeadFormat::Binary, &written[8..]).unwrap();
        assert_eq!((head.remark, head.fields.iter().collect::<Vec<_>>()), (None, vec![("b", "c")]));
        let twice = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0f\0\x01a\0\0\0\x01x\0\x01a\0\0\0\0";
        assert_eq!(scratch.decode(HeadFormat::Binary, twice).unwrap().fields.get("a"), None);
    }

    #[test]
    fn a_code_beyond_16_bits_is_written_as_json() {
        for (code, format) in [(32767, HeadFormat::Binary), (200050, HeadFormat::Json)] {
            let written = written(&out(code, None, &[]));
            let Ok(Decoded::Frame(frame, _)) = frame::decode(&written) else {
                panic!("a whole frame is there")
            };
            assert_eq!(frame.format, format);
            assert_eq!(HeadScratch::default().decode(frame.format, frame.head).unwrap().code, code);
        }
    }

    proptest! {
        #[test]
        fn any_header_comes_back_as_it_was(
            code: i16, opaque: i32, flag: i32,
            remark in proptest::option::of(".{1,40}"),
            pairs in proptest::collection::vec((".{1,12}", ".{1,40}"), 0..20),
        ) {
            let fields: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str().into())).collect();
            let code = i32::from(code);
            let head = OutHead { format: HeadFormat::Binary, code, opaque, flag, remark: remark.as_deref(), fields: &fields };
            let bytes = written(&head);
            let mut scratch = HeadScratch::default();
            let back = scratch.decode(HeadFormat::Binary, &bytes[8..]).unwrap();
            prop_assert_eq!((back.code, back.opaque, back.flag, back.version), (code, opaque, flag, VERSION));
            prop_assert_eq!(back.remark, remark.as_deref());
            let back: Vec<_> = back.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(back, pairs);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = HeadScratch::default().decode(HeadFormat::Binary, &bytes);
        }
    }
}
