//! The broker and the name server: everything `ringmq serve` runs, as a library.
//!
//! [`broker`] decides about producers and consumers; [`namesrv`] knows where queues live; [`shard`]
//! is the loop that drives a broker over its network and its store; [`cli`] and [`config`] are the
//! front; [`start_error`] says why there is nothing to run, [`spelling`] what a wrong name may have meant.

pub mod broker;
pub mod cli;
pub mod config;
pub mod namesrv;
pub mod shard;
pub mod spelling;
pub mod start_error;
