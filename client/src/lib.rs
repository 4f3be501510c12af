//! A Rust client for RingMQ and Apache RocketMQ.
//!
//! What is here is the seed of it: [`blocking::Connection`], one remoting connection that calls and waits. Benchmarks,
//! end-to-end tests and tools speak through it, and it speaks the protocol's own terms: request codes, header fields,
//! bodies. Producers, consumers, routes, retries and reconnects are not here.
//!
//! Invariants
//!  1. No runtime is needed, and none is forced on the caller.
//!  2. An answer is given only to the call whose opaque it carries.
//!
//! ```no_run
//! use ringmq_client::blocking::{Connection, Request};
//! use std::time::Duration;
//!
//! let patience = Duration::from_secs(3);
//! let mut name_server = Connection::connect("127.0.0.1:9876", patience)?;
//! let route = name_server.call(&Request::new(105).field("topic", "orders"), patience)?;
//! println!("code {}, {} bytes of route", route.code, route.body.len());
//! # Ok::<(), ringmq_client::CallError>(())
//! ```
#![forbid(unsafe_code)]

pub mod blocking;
mod error;

pub use error::CallError;
