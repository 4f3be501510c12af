//! An honest latency harness for RocketMQ brokers.
//!
//! ```text
//! command ── starts ──► process: a server on core 0, measured through /proc
//!    │
//!    ├── runs ──► load: one generator thread on core 1, checks every answer
//!    ├── runs ──► disk, loopback: what they do for anybody, at the same time of day
//!    ├── runs ──► responder: a server of known answers, which shows what the harness itself can do
//!    └── prints ► report: rates, latencies, silence, CPU per message, and which bars they clear
//! ```
//!
//! Honest means: every answer is checked while it is counted; at a fixed rate latency counts from the moment a request
//! was due; the generator says how late it was itself; the disk's own speed stands beside every durable rate; and
//! Apache's broker can take the server's place in any run.
//!
//! How to use it, what it does not measure, and which numbers were accepted: `README.md` beside this.

pub mod commands;
pub mod disk;
pub mod load;
pub mod loopback;
pub mod os;
pub mod process;
pub mod report;
pub mod responder;
