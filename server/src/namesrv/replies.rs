//! What a name server wants to send, collected during a turn of its loop.

use ringmq_conn::ConnId;
use ringmq_wire::code::response;
use ringmq_wire::command::FLAG_RESPONSE;
use ringmq_wire::{HeadFormat, OutHead, Value};

/// Encoded frames, in order. One per name server; emptied and reused by the loop.
#[derive(Debug, Default)]
pub struct Replies {
    /// Frames back to back; items point into it.
    pub bytes: Vec<u8>,
    /// In the order in which they were decided.
    pub items: Vec<Reply>,
    /// Connections to close after their items.
    pub close: Vec<ConnId>,
}

/// One frame for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Whom it is for.
    pub conn: ConnId,
    /// Where it begins in [`Replies::bytes`].
    pub start: usize,
    /// Bytes.
    pub len: usize,
}

/// What a handler answers, not yet encoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    code: i32,
    remark: Option<String>,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// Done, with nothing to tell.
    pub fn done() -> Answer {
        Answer { code: response::SUCCESS, ..Answer::default() }
    }

    /// Not done.
    pub fn failed(code: i32, remark: String) -> Answer {
        Answer { code, remark: Some(remark), ..Answer::default() }
    }

    /// Done, with a body.
    pub fn body(body: Vec<u8>) -> Answer {
        Answer { body, ..Answer::done() }
    }

    /// With header fields.
    pub fn with(mut self, fields: &[(&str, Value<'_>)]) -> Answer {
        let text = |value: &Value<'_>| match value {
            Value::Text(text) => (*text).to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
        };
        self.fields.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), text(value))));
        self
    }
}

impl Replies {
    /// Encodes an answer for a connection.
    pub(super) fn push(&mut self, conn: ConnId, format: HeadFormat, opaque: i32, answer: &Answer) {
        let fields: Vec<(&str, Value<'_>)> =
            answer.fields.iter().map(|(name, value)| (name.as_str(), Value::Text(value))).collect();
        let head = OutHead {
            format,
            code: answer.code,
            opaque,
            flag: FLAG_RESPONSE,
            remark: answer.remark.as_deref(),
            fields: &fields,
        };
        let start = self.bytes.len();
        head.encode(&mut self.bytes, answer.body.len());
        self.bytes.extend_from_slice(&answer.body);
        self.items.push(Reply { conn, start, len: self.bytes.len() - start });
    }

    /// The frame of one item.
    pub fn frame(&self, item: Reply) -> &[u8] {
        &self.bytes[item.start..item.start + item.len]
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.close.clear();
    }
}
