//! Bytes to and from many connections, as one synchronous interface.
//!
//! [`network`] is the interface and what it promises; [`ring`] is io_uring behind it (all of this
//! crate's `unsafe` lives there); [`sim`] is its simulated twin. [`frames`] turns received bytes into
//! complete wire frames; [`send_backlog`] holds answers that wait.
//!
//! Not here: what a frame means (`ringmq-wire`), who answers it (`ringmq-server`).

pub mod frames;
pub mod limits;
pub mod network;
pub mod ring;
pub mod send_backlog;
pub mod sim;
mod slots;

pub use network::{CloseReason, ConnId, Event, Network, StableBytes};
