//! The whole system under one seed: clients, network, shard loop, broker, store and disk, with faults in all.
//!
//! ```text
//!   seed ─▶ [`Plan`]: who sends and pulls, what fails, when the process dies
//!             │
//!   clients ══ SimNet ══ shard loop ── broker ── store ── simulated disk      one [`Process`], again and again
//!      │        cuts, stalls, delays                       errors, stalls, torn writes at a crash
//!      └──▶ [`History`]: what was sent, answered and seen ◀── every restart is compared with it
//! ```
//!
//! What holds after every step
//!  1. A send that was answered is there, with its bytes, at its offset: also after every crash.
//!  2. What a consumer has seen is durable, was sent by somebody, and never changes.
//!  3. Per queue, offsets are dense and in the order in which they were given.
//!  4. A message that was answered or seen is found by its key, where it is, and nothing else is.
//!  5. On a calm network and disk, a pull is answered by its deadline.
//!  6. A message for later comes once it is due, never before, and once; one that a consumer gives back comes again, or is given
//!     up, as often as that was accepted: also across crashes.
//!  7. The shard never spins, and never waits for what cannot happen.
//!
//! The same seed twice gives the same hash of everything that happened. A failure prints its seed:
//! `cargo run -p ringmq-tests --release --bin simulate -- --first SEED --seeds 1` shows it again.

mod asker;
mod call;
mod consumer;
mod history;
pub mod moves;
mod plan;
mod process;
mod producer;
mod world;

pub use plan::Plan;
pub use world::{Failure, Report, run};
