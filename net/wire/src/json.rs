//! JSON bodies, in fastjson's dialect. Not the hot path: bodies of admin calls, heartbeats, routes.
//!
//! Java's maps may have keys that are no strings. fastjson writes and reads them bare:
//!
//!     {0:"10.0.0.2:10911"}                                        a number
//!     {{"brokerName":"b","queueId":0,"topic":"T"}:5}              an object
//!
//! No standard parser reads that, so a body is first turned into standard JSON ([`standard`]): a bare number
//! is quoted, and an object becomes a string that holds its text. [`dialect`] turns the latter back, because Java
//! reads such maps in no other form. Numbers stay quoted in what we write: every client reads them so.
//!
//! Java, Go and C++ also disagree about values: [`tolerant`] reads numbers written as strings, enums written as
//! numbers, and null for anything.
//!
//! Invariants
//!  1. Nesting is bounded here ([`NESTING_MAX`]) and again in serde_json.
//!  2. `standard(dialect(x)) = x` for what serde_json writes without blanks.
//!
//! Source: `remoting/.../protocol/RemotingSerializable.java`, fastjson 1.2.83.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How deep a body may nest.
pub const NESTING_MAX: usize = 100;

/// A body that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, or not the JSON that is expected.
    #[error("body is not the JSON expected: {0}")]
    Json(String),
    /// Deeper than [`NESTING_MAX`].
    #[error("body nests deeper than {NESTING_MAX}")]
    TooDeep,
    /// A counted part of a body that is no JSON as a whole runs over its end, or holds no text.
    #[error("body ends inside, or holds no, {0}")]
    Malformed(&'static str),
}

/// Reads a body, which is an object. (serde would also take a list for a type whose fields all have defaults.)
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(BodyError::Json("an object is expected".to_owned()));
    }
    serde_json::from_slice(&standard(body)?).map_err(|error| BodyError::Json(error.to_string()))
}

/// Writes a body: compact, keys in the order of the type's fields, maps with object keys in the dialect.
pub fn write<T: Serialize>(body: &T) -> Vec<u8> {
    // Our own types have string keys and no failing serialisers, which are the only ways to fail in memory.
    let standard = serde_json::to_vec(body).expect("the bodies of this crate can be written");
    dialect(standard)
}

/// Turns the dialect into standard JSON. Borrows if there is nothing to turn. What is no JSON in either form is
/// left for the parser to refuse.
pub fn standard(body: &[u8]) -> Result<Cow<'_, [u8]>, BodyError> {
    let mut out: Vec<u8> = Vec::new();
    let mut copied = 0;
    // For each open container: whether it is an object.
    let mut open: Vec<bool> = Vec::new();
    let mut key_next = false;
    let mut at = 0;
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => {
                at = string_end(body, at);
                continue;
            }
            b'{' if key_next => {
                let end = object_end(body, at);
                out.extend_from_slice(&body[copied..at]);
                push_quoted(&body[at..end], &mut out);
                (at, copied, key_next) = (end, end, false);
                continue;
            }
            b'-' | b'0'..=b'9' if key_next => {
                let length = body[at..].iter().take_while(|byte| matches!(byte, b'-' | b'0'..=b'9')).count();
                out.extend_from_slice(&body[copied..at]);
                push_quoted(&body[at..at + length], &mut out);
                at += length;
                (copied, key_next) = (at, false);
                continue;
            }
            b'{' | b'[' => {
                if open.len() == NESTING_MAX {
                    return Err(BodyError::TooDeep);
                }
                open.push(*byte == b'{');
                key_next = *byte == b'{';
            }
            b'}' | b']' => {
                open.pop();
                key_next = false;
            }
            b',' => key_next = open.last() == Some(&true),
            b':' => key_next = false,
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(body));
    }
    out.extend_from_slice(&body[copied..]);
    Ok(Cow::Owned(out))
}

/// Turns string keys that hold an object's text into bare objects. `standard` is what serde_json writes: no blanks.
pub fn dialect(standard: Vec<u8>) -> Vec<u8> {
    const KEY: &[u8] = b"\"{\\\"";
    if !standard.windows(KEY.len()).any(|window| window == KEY) {
        return standard;
    }
    let mut out = Vec::with_capacity(standard.len());
    let mut copied = 0;
    let mut at = 0;
    while at < standard.len() {
        if standard[at] != b'"' {
            at += 1;
            continue;
        }
        let end = string_end(&standard, at);
        let is_key = standard.get(end) == Some(&b':');
        if is_key && standard[at..].starts_with(KEY) {
            out.extend_from_slice(&standard[copied..at]);
            let key: String = serde_json::from_slice(&standard[at..end]).unwrap_or_default();
            out.extend_from_slice(key.as_bytes());
            copied = end;
        }
        at = end;
    }
    out.extend_from_slice(&standard[copied..]);
    out
}

/// Writes characters beyond ASCII as escapes. They occur only inside strings.
pub fn ascii(json: Vec<u8>) -> Vec<u8> {
    if json.is_ascii() {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for character in String::from_utf8_lossy(&json).chars() {
        if character.is_ascii() {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out.into_bytes()
}

/// Position after the string whose opening quote is at `at`.
fn string_end(json: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

/// Position after the object whose opening brace is at `at`.
fn object_end(json: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                at = string_end(json, at);
                continue;
            }
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn push_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            // Blanks between the parts of a key; a string may not hold them raw.
            b'\n' | b'\r' | b'\t' => out.push(b' '),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

/// Readers for values that clients write in several ways; for `#[serde(deserialize_with = …)]`, always together
/// with `#[serde(default)]`.
pub mod tolerant {
    use serde::de::{Error, Unexpected, Visitor};
    use serde::{Deserialize, Deserializer};
    use std::fmt;
    use std::marker::PhantomData;

    /// Null is the default.
    pub fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
    }

    /// A whole number, maybe as a string; null and an empty string are the default.
    pub fn number<'de, D: Deserializer<'de>, T: TryFrom<i64> + Default>(from: D) -> Result<T, D::Error> {
        from.deserialize_any(NumberVisitor(PhantomData))
    }

    struct NumberVisitor<T>(PhantomData<T>);

    impl<T: TryFrom<i64> + Default> Visitor<'_> for NumberVisitor<T> {
        type Value = T;

        fn expecting(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
            into.write_str("a whole number, maybe as a string")
        }
        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            T::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            let signed =
                i64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))?;
            self.visit_i64(signed)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            match text.trim() {
                "" => Ok(T::default()),
                digits => {
                    let number =
                        digits.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
                    self.visit_i64(number)
                }
            }
        }
        fn visit_unit<E: Error>(self) -> Result<T, E> {
            Ok(T::default())
        }
    }

    /// An enum's name or number, as text: what [`named_enum`](crate::json) looks up.
    pub(crate) fn name_or_number<'de, D: Deserializer<'de>>(from: D) -> Result<NameOrNumber, D::Error> {
        from.deserialize_any(NameVisitor)
    }

    pub(crate) enum NameOrNumber {
        Name(String),
        Number(i64),
        Null,
    }

    struct NameVisitor;

    impl Visitor<'_> for NameVisitor {
        type Value = NameOrNumber;

        fn expecting(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
            into.write_str("an enum's name or number")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<NameOrNumber, E> {
            Ok(text.parse().map_or_else(|_| NameOrNumber::Name(text.to_owned()), NameOrNumber::Number))
        }
        fn visit_i64<E: Error>(self, number: i64) -> Result<NameOrNumber, E> {
            Ok(NameOrNumber::Number(number))
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<NameOrNumber, E> {
            Ok(NameOrNumber::Number(i64::try_from(number).unwrap_or(-1)))
        }
        fn visit_unit<E: Error>(self) -> Result<NameOrNumber, E> {
            Ok(NameOrNumber::Null)
        }
    }
}

/// Defines an enum that bodies carry by name (Java, Go) or by number (C++). What we do not know, and null, is the
/// default; it is written by name.
macro_rules! named_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// RocketMQ's name.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
            /// The value of a name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($name::$variant),)* _ => None }
            }
            /// The value of an ordinal.
            pub fn from_number(number: i64) -> Option<Self> {
                match number { $($number => Some($name::$variant),)* _ => None }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, into: S) -> Result<S::Ok, S::Error> {
                into.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                use $crate::json::tolerant::{NameOrNumber, name_or_number};
                Ok(match name_or_number(from)? {
                    NameOrNumber::Name(name) => $name::from_name(&name),
                    NameOrNumber::Number(number) => $name::from_number(number),
                    NameOrNumber::Null => None,
                }
                .unwrap_or_default())
            }
        }
    };
}
pub(crate) use named_enum;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn turned(body: &str) -> String {
        String::from_utf8(standard(body.as_bytes()).unwrap().into_owned()).unwrap()
    }

    #[test]
    fn bare_keys_become_strings() {
        for (body, expected) in [
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{0:"a", 1 : "b"}"#, r#"{"0":"a", "1" : "b"}"#),
            (r#"{-3:[0,{1:2}]}"#, r#"{"-3":[0,{"1":2}]}"#),
            (r#"{{"q":0,"t":"}\""}:5,{"q":1}:6}"#, r#"{"{\"q\":0,\"t\":\"}\\\"\"}":5,"{\"q\":1}":6}"#),
            (r#"["{0:1}",{"x":"1:{"}]"#, r#"["{0:1}",{"x":"1:{"}]"#),
            ("[0,1]", "[0,1]"),
        ] {
            assert_eq!(turned(body), expected);
        }
    }

    #[test]
    fn object_keys_are_written_bare_and_values_that_look_like_them_are_not() {
        let standard = r#"{"{\"q\":0}":5,"x":"{\"q\":0}","y":["{\"q\":1}"]}"#;
        let written = String::from_utf8(dialect(standard.as_bytes().to_vec())).unwrap();
        assert_eq!(written, r#"{{"q":0}:5,"x":"{\"q\":0}","y":["{\"q\":1}"]}"#);
        assert_eq!(turned(&written), standard);
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(standard("[".repeat(101).as_bytes()), Err(BodyError::TooDeep));
        assert!(read::<serde_json::Value>("[".repeat(99).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn standard_json_is_left_as_it_is(text in "[a-z0-9{}:,\\[\\]\"\\\\]{0,20}", number: i64) {
            let value = serde_json::json!({ "k": [text, number, null], "o": { "": true } }).to_string();
            prop_assert!(matches!(standard(value.as_bytes()), Ok(Cow::Borrowed(_))));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[{}:,\\[\\]\"\\\\0-9a-]{0,60}") {
            let _ = standard(text.as_bytes());
            let _ = dialect(text.into_bytes());
        }
    }
}
