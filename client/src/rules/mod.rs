//! What the client decides. No sockets, no clock, no tasks, no randomness: time and chance are arguments, so every rule is
//! a table of tests. `edge` does what these say.

pub(crate) mod address;
pub(crate) mod allocation;
pub(crate) mod avoidance;
pub(crate) mod backoff;
pub(crate) mod calls;
pub(crate) mod md5;
pub(crate) mod progress;
pub(crate) mod queue_choice;
pub(crate) mod random;
pub(crate) mod route;
pub(crate) mod unique_key;
