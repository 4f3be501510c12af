//! Writing a JSON header: appended to the caller's buffer, numbers formatted on the stack.

use crate::command::{OutHead, VERSION};
use crate::fields::Value;
use crate::language;

/// Writes a header. Keys are in the order in which Java writes them.
pub(crate) fn encode(head: &OutHead<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"code\":");
    push_decimal(head.code.into(), out);
    out.extend_from_slice(b",\"extFields\":{");
    for (index, (name, value)) in head.fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(name, out);
        out.push(b':');
        match value {
            Value::Text(text) => push_string(text, out),
            Value::Int(number) => {
                out.push(b'"');
                push_decimal(*number, out);
                out.push(b'"');
            }
            Value::Bool(true) => out.extend_from_slice(b"\"true\""),
            Value::Bool(false) => out.extend_from_slice(b"\"false\""),
        }
    }
    out.extend_from_slice(b"},\"flag\":");
    push_decimal(head.flag.into(), out);
    out.extend_from_slice(b",\"language\":\"");
    out.extend_from_slice(language::name(language::OURS).as_bytes());
    out.extend_from_slice(b"\",\"opaque\":");
    push_decimal(head.opaque.into(), out);
    if let Some(remark) = head.remark {
        out.extend_from_slice(b",\"remark\":");
        push_string(remark, out);
    }
    out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    push_decimal(VERSION.into(), out);
    out.push(b'}');
}

/// A JSON string with its quotes. Control characters leave as escapes: property strings are full of them.
fn push_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    // Without an early exit this is a few vector instructions, and most strings need no escape.
    if bytes.iter().fold(false, |found, byte| found | needs_escape(*byte)) {
        push_escaped(bytes, out);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn push_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut run_start = 0;
    for (at, byte) in bytes.iter().enumerate().filter(|(_, byte)| needs_escape(**byte)) {
        out.extend_from_slice(&bytes[run_start..at]);
        run_start = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[run_start..]);
}

/// Decimal text, formatted on the stack.
pub(crate) fn push_decimal(number: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}
