//! The name server: where every topic's queues live, as the brokers say, for whoever asks.
//!
//! Rules only, driven by the same kind of loop as a shard. A name server keeps nothing on disk and knows no
//! other name server: brokers register with each of them every 30 s, so a restarted one has learnt everything
//! again before clients, who keep the routes that they have, notice.
//!
//! [`dispatch`] is everything we answer, on one screen; `handler` answers; [`route_table`] holds what brokers
//! said, [`places`] which topics are on which of them; [`liveness`] forgets brokers that fell silent; [`kv`] is RocketMQ's small shared table; [`replies`] is
//! what leaves.
//!
//! Source: `namesrv/.../processor/ClientRequestProcessor.java`, `DefaultRequestProcessor.java`.

pub mod dispatch;
mod handler;
pub mod kv;
pub mod limits;
pub mod liveness;
pub mod places;
mod register_body;
pub mod replies;
pub mod route_table;
#[cfg(test)]
mod tests;

pub use dispatch::NameServer;
pub use replies::Replies;
