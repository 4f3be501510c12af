//! The bytes and the vocabulary of RocketMQ's remoting protocol.
//!
//! Pure: no I/O, no clock, no async, no `unsafe`. Bytes go in and typed values come out, or the
//! other way round. Everything in the workspace may use this crate; it uses nobody.
//!
//! Invariants
//!  1. No input from outside makes a function here panic.
//!  2. No allocation is sized by a length that the input declares; only by bytes that are there.
//!  3. Decoding tells *incomplete* (wait), *invalid* (close) and *too large* (refuse) apart.
//!
//! Source of truth: RocketMQ 5.3.3, the Java classes named at each fact.
#![forbid(unsafe_code)]

pub mod code;
pub mod command;
pub mod error;
pub mod fields;
pub mod frame;
mod head_binary;
mod head_json;
pub mod id;
pub mod json;
pub mod language;
pub mod name;
pub mod record;
pub mod request;

pub use command::{Head, HeadFormat, HeadScratch, OutHead};
pub use error::{FieldError, FrameError, HeadError};
pub use fields::{FieldList, Fields, Value};
