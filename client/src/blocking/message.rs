//! What goes out and what comes back, as owned values: requests, answers, and requests of the server's own.

use ringmq_wire::{Head, HeadFormat};
use std::fmt::Display;

/// A request: a code, header fields, a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(crate) code: i32,
    pub(crate) format: HeadFormat,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A request of this code (`RequestCode`), with a JSON header, without fields or body.
    pub fn new(code: i32) -> Request {
        Request { code, format: HeadFormat::Json, fields: Vec::new(), body: Vec::new() }
    }

    /// Adds a header field. Names are the wire's own, such as `queueId`.
    pub fn field(mut self, name: &str, value: impl Display) -> Request {
        self.fields.push((name.to_owned(), value.to_string()));
        self
    }

    /// Gives it a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// Writes the header in this format instead of JSON.
    pub fn format(mut self, format: HeadFormat) -> Request {
        self.format = format;
        self
    }
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Response code (`ResponseCode`); 0 is success.
    pub code: i32,
    /// How the header was written.
    pub format: HeadFormat,
    /// The server's version ordinal (`MQVersion`).
    pub version: i32,
    /// Text, mostly on failures.
    pub remark: Option<String>,
    /// Header fields, in the order received.
    pub fields: Vec<(String, String)>,
    /// The body; empty if there was none.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header field. The last of duplicates wins.
    pub fn field(&self, name: &str) -> Option<&str> {
        value_of(&self.fields, name)
    }

    /// The value of a header field that is a decimal number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.field(name)?.parse().ok()
    }

    pub(crate) fn new(head: &Head<'_>, format: HeadFormat, body: &[u8]) -> Answer {
        Answer {
            code: head.code,
            format,
            version: head.version,
            remark: head.remark.map(str::to_owned),
            fields: owned(head),
            body: body.to_vec(),
        }
    }
}

/// A request that the server sent to us, such as 40 (the members of a group changed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRequest {
    /// Request code (`RequestCode`).
    pub code: i32,
    /// The server's correlation number, for an answer.
    pub opaque: i32,
    /// Whether the server wants no answer.
    pub one_way: bool,
    /// Header fields, in the order received.
    pub fields: Vec<(String, String)>,
    /// The body; empty if there was none.
    pub body: Vec<u8>,
}

impl ServerRequest {
    /// The value of a header field. The last of duplicates wins.
    pub fn field(&self, name: &str) -> Option<&str> {
        value_of(&self.fields, name)
    }

    pub(crate) fn new(head: &Head<'_>, body: &[u8]) -> ServerRequest {
        ServerRequest {
            code: head.code,
            opaque: head.opaque,
            one_way: head.is_one_way(),
            fields: owned(head),
            body: body.to_vec(),
        }
    }
}

fn owned(head: &Head<'_>) -> Vec<(String, String)> {
    head.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn value_of<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
