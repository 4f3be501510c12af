//! The stored record: exactly the bytes a pull returns. (`MessageExtEncoder`, `MessageDecoder`)
//!
//! To be drawn here field by field by whoever fills this in.
//!
//! Doors that others already build on:

use std::net::SocketAddr;

pub mod batch;
pub mod properties;
pub mod tag;

/// Where the fields that only the store knows lie, from the record's start (IPv4 and IPv6 born host).
pub const QUEUE_OFFSET_AT: usize = 20;
/// Physical offset, i64.
pub const PHYSICAL_OFFSET_AT: usize = 28;

/// Everything a record is made of, before the store gives it its place.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    pub topic: &'a str,
    pub queue_id: i32,
    pub flag: i32,
    pub sys_flag: i32,
    pub born_timestamp_ms: i64,
    pub born_host: SocketAddr,
    pub store_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
    pub body: &'a [u8],
    /// Encoded properties.
    pub properties: &'a [u8],
}

impl Draft<'_> {
    /// Appends the record with queue offset, physical offset and store timestamp still zero.
    /// The caller has checked the limits (`DraftError` otherwise).
    pub fn encode(&self, _out: &mut Vec<u8>) -> Result<(), DraftError> {
        todo!()
    }
}

/// Why a draft is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    #[error("topic of {0} bytes exceeds 255")]
    TopicTooLong(usize),
    #[error("properties of {0} bytes exceed 32767")]
    PropertiesTooLong(usize),
    #[error("body of {0} bytes does not fit a record")]
    BodyTooLong(usize),
}

/// Writes the place and time that the store gave a record into its encoded bytes.
pub fn place(_record: &mut [u8], _queue_offset: i64, _physical_offset: i64, _store_timestamp_ms: i64) {
    todo!()
}

/// A decoded record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub bytes: &'a [u8],
    pub topic: &'a str,
    pub queue_id: i32,
    pub flag: i32,
    pub queue_offset: i64,
    pub physical_offset: i64,
    pub sys_flag: i32,
    pub born_timestamp_ms: i64,
    pub born_host: SocketAddr,
    pub store_timestamp_ms: i64,
    pub store_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
    pub body_crc: i32,
    pub body: &'a [u8],
    pub properties: &'a [u8],
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record ends early: {have} bytes of {need}")]
    Incomplete { have: usize, need: usize },
    #[error("{0}")]
    Invalid(&'static str),
}

/// Reads the record at the start of `bytes`.
pub fn decode(_bytes: &[u8]) -> Result<Record<'_>, RecordError> {
    todo!()
}
