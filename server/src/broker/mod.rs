//! One shard's broker: what it knows, and the one door through which requests come.
//!
//! Rules only. A handler is a synchronous function from this state, a request and `now` to an
//! [`Outcome`](outcome::Outcome); the shard loop (`shard/`) waits and sends. Nothing here touches a socket, a file or
//! a clock. One per shard.

pub mod outcome;
