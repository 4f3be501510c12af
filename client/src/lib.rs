//! A Rust client for RingMQ and Apache RocketMQ.
//!
//! ```no_run
#![doc = include_str!("../examples/hello.rs")]
//! ```
//!
//! More in `examples/`: orders (serde, order per customer, retries), logs (batches, a stream), notifications (broadcast), testing
//! (a broker as a child process).
//!
//! # What to expect
//!
//! - **`Ok` means stored.** RingMQ answers a send when it is on disk. Where a broker is configured to be less careful and says
//!   so, the send is an error ([`Error::NotDurable`]).
//! - **At least once.** A message is delivered until it is acknowledged; a handler that fails or panics loses nothing. See
//!   [`consumer`].
//! - **Errors say what to do.** Whether another try may help ([`Error::is_retryable`]), and whether the call may have happened
//!   all the same ([`Error::outcome_unknown`]). Producers have tried again already, with jittered pauses, until a deadline.
//! - **Nothing grows without a bound.** Bytes under way, bytes not consumed, calls per connection, routes: see [`limits`].
//! - **Nothing to do about a broken connection.** Connections are made again, routes asked for again, the next name server
//!   asked; members of a group divide its queues as Java's do, so groups may mix languages.
//! - **Dropping a future is defined**, and said at each.
//!
//! # Inside
//!
//! ```text
//!   Producer   Consumer   Admin        what you hold
//!       │         │         │
//!       ▼         ▼         ▼
//!             core                     routes, who we are, heartbeats
//!           │        │
//!           ▼        ▼
//!         rules    edge                decide · wait
//! ```
//!
//! **`rules`** know no socket, no clock and no chance: which queue is next, which queues are whose, what may be committed, which
//! broker to leave alone, how long to pause, which answer belongs to which call. They are tables of tests. **`edge`** is all that knows tokio: one task per connection, which
//! takes what many callers queued and writes it at once, matches answers to calls by their numbers, ends calls at their
//! deadlines, and answers what the server asks. **`core`** is what all handles of a client share.
//!
//! The protocol's bytes are `ringmq-wire`'s alone. There is no `unsafe` and no C. [`blocking`] is a connection for programs
//! without a runtime that speak in request codes: tools, tests, load generators.
//!
//! Invariants
//!  1. An answer is given only to the call whose number it carries.
//!  2. A call that failed without [`Error::outcome_unknown`] has had no effect, and will have none.
//!  3. No lock is held while anything is waited for.
//!
//! # Features
//!
//! | feature | what | on |
//! |---|---|---|
//! | `zlib` | compressed bodies as every client reads them | yes |
//! | `lz4`, `zstd` | forms that Java 5 and newer read | no |
#![forbid(unsafe_code)]

pub mod admin;
pub mod blocking;
mod client;
mod compression;
pub mod consumer;
mod core;
mod edge;
mod error;
pub mod limits;
mod message;
mod producer;
mod queue;
mod rules;
mod stored_message;
pub mod testing;

pub use client::{Client, ClientBuilder};
pub use compression::Compression;
pub use consumer::{Allocation, Deliveries, Delivery, Filter, Start};
pub use error::{CallError, Error};
pub use message::{Message, MessageBuilder};
pub use producer::{Producer, ProducerBuilder, Receipt};
pub use queue::Queue;
pub use stored_message::StoredMessage;
