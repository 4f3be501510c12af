//! What a server answered, or asks of us, as values that own their bytes.

use crate::error::Error;
use bytes::Bytes;
use ringmq_wire::code::response;
use ringmq_wire::{Fields, Head, HeadScratch, json};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// An answer. Its fields lie in the scratch that it was decoded into.
#[derive(Debug)]
pub(crate) struct Answer {
    pub from: Arc<str>,
    pub code: i32,
    pub remark: Option<String>,
    pub body: Bytes,
    pub head: HeadScratch,
}

impl Answer {
    pub fn fields(&self) -> Fields<'_> {
        self.head.fields()
    }

    /// The answer, if the server did what it was asked.
    pub fn success(self) -> Result<Answer, Error> {
        if self.code == response::SUCCESS { Ok(self) } else { Err(self.refusal()) }
    }

    /// What it says as an error.
    pub fn refusal(&self) -> Error {
        Error::Refused {
            address: self.from.to_string(),
            code: self.code,
            remark: self.remark.clone().unwrap_or_default(),
        }
    }

    /// Its body, read as JSON.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        json::read(&self.body).map_err(|error| self.malformed(error))
    }

    pub fn malformed(&self, what: impl ToString) -> Error {
        Error::Malformed { address: self.from.to_string(), what: what.to_string() }
    }
}

/// A request that a server sends to us, borrowed while it is looked at.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub body: &'a [u8],
    pub head: Head<'a>,
}

/// Who is told of servers' requests. Called on the connection's task: it decides at once, and what takes longer it
/// gives to somebody else.
pub(crate) trait Inbox: Send + Sync + 'static {
    /// Takes a request of the server at `from`, and says what to answer if an answer is wanted: a response code.
    fn asked(&self, from: &str, request: &Asked<'_>) -> i32;

    /// A connection to `address` was made.
    fn connected(&self, address: &str);
}
