//! A header's `extFields`: the parameters of a request or a reply, as text.
//!
//! On the wire all values are strings (JSON numbers and booleans are accepted and become their text;
//! null is absence). The order is irrelevant; of duplicate keys the last one wins.
//!
//! Source: `remoting/.../protocol/RemotingCommand.java` (`decodeCommandCustomHeader`).

use crate::error::FieldError;

/// Most fields that a header may carry; more are refused as an invalid header.
pub const FIELDS_MAX: usize = 128;

/// Where one field's key and value lie in the scratch text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    pub key: (u32, u32),
    pub value: (u32, u32),
}

/// The decoded `extFields` of one header, borrowed from a [`crate::HeadScratch`].
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    pub(crate) text: &'a str,
    pub(crate) spans: &'a [Span],
}

impl<'a> Fields<'a> {
    /// No fields at all.
    pub const EMPTY: Fields<'static> = Fields { text: "", spans: &[] };

    /// All fields, in the order received.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let text = self.text;
        self.spans.iter().map(move |span| {
            (
                &text[span.key.0 as usize..span.key.1 as usize],
                &text[span.value.0 as usize..span.value.1 as usize],
            )
        })
    }

    /// The value of `name`, if present. The last of duplicates wins.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let text = self.text;
        self.spans
            .iter()
            .rev()
            .find(|span| text.as_bytes()[span.key.0 as usize..span.key.1 as usize] == *name.as_bytes())
            .map(|span| &text[span.value.0 as usize..span.value.1 as usize])
    }

    /// The value of a required text field.
    pub fn text(&self, name: &'static str) -> Result<&'a str, FieldError> {
        self.get(name).ok_or(FieldError::Missing(name))
    }

    /// The value of a required decimal field.
    pub fn i32(&self, name: &'static str) -> Result<i32, FieldError> {
        parse(name, self.text(name)?, "a 32-bit number")
    }

    /// The value of a required decimal field.
    pub fn i64(&self, name: &'static str) -> Result<i64, FieldError> {
        parse(name, self.text(name)?, "a 64-bit number")
    }

    /// The value of an optional decimal field; absent or empty gives `default`.
    pub fn i32_or(&self, name: &'static str, default: i32) -> Result<i32, FieldError> {
        match self.get(name) {
            None | Some("") => Ok(default),
            Some(text) => parse(name, text, "a 32-bit number"),
        }
    }

    /// The value of an optional decimal field; absent or empty gives `default`.
    pub fn i64_or(&self, name: &'static str, default: i64) -> Result<i64, FieldError> {
        match self.get(name) {
            None | Some("") => Ok(default),
            Some(text) => parse(name, text, "a 64-bit number"),
        }
    }

    /// Case-insensitive "true"; anything else, and absence, is false.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }
}

pub(crate) fn parse<T: std::str::FromStr>(
    name: &'static str,
    text: &str,
    expected: &'static str,
) -> Result<T, FieldError> {
    text.parse().map_err(|_| FieldError::Malformed { name, expected, found: text.chars().take(40).collect() })
}

/// A value of a header field on its way out. Always written as a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text as it is.
    Text(&'a str),
    /// Decimal text.
    Int(i64),
    /// `true` or `false`.
    Bool(bool),
}

/// Fields on their way out, without allocating: what a request's or a reply's `fields()` gives.
/// Reads as a slice, which [`crate::OutHead::fields`] takes.
#[derive(Debug, Clone, Copy)]
pub struct FieldList<'a> {
    items: [(&'a str, Value<'a>); FieldList::LEN_MAX],
    len: usize,
}

impl<'a> FieldList<'a> {
    /// More fields than any typed request or reply has.
    pub const LEN_MAX: usize = 24;

    /// An empty list.
    #[inline]
    pub fn new() -> FieldList<'a> {
        FieldList { items: [("", Value::Bool(false)); FieldList::LEN_MAX], len: 0 }
    }

    /// Adds a field. A list that is full is a typed request with too many fields: a bug, not an input.
    pub fn push(&mut self, name: &'a str, value: impl Into<Value<'a>>) {
        assert!(self.len < FieldList::LEN_MAX, "a request has at most {} fields", FieldList::LEN_MAX);
        self.items[self.len] = (name, value.into());
        self.len += 1;
    }

    /// Adds a field if it has a value.
    pub fn push_some(&mut self, name: &'a str, value: Option<impl Into<Value<'a>>>) {
        if let Some(value) = value {
            self.push(name, value);
        }
    }
}

impl<'a> std::ops::Deref for FieldList<'a> {
    type Target = [(&'a str, Value<'a>)];

    fn deref(&self) -> &Self::Target {
        &self.items[..self.len]
    }
}

impl Default for FieldList<'_> {
    fn default() -> Self {
        FieldList::new()
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text)
    }
}
impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}
impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Value::Int(number.into())
    }
}
impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}
