//! Campaigns that try to catch a store breaking its promises, on the simulated disk.
//!
//! | campaign | does | the store may |
//! | --- | --- | --- |
//! | [`crash`] | stops a workload at every write and every flush, and recovers from every disk that a crash could leave then | lose what was not answered, batch by batch from the end |
//! | [`io_fault`] | lets each single operation of a workload fail in each way, then crashes | refuse, or stop |
//! | [`rot`] | flips a bit anywhere in a quiet log | refuse to open, naming the place |
//! | [`cold`] | lets many readers go through a log that is on disk only | refuse a read that failed, naming the place |
//!
//! Each compares the store with a plain [`model`] under one seed. A campaign that fails prints what to run to see
//! the same failure again.
//!
//! Not here: the simulated disk itself ([`crate::env::sim`]), the whole system (`tests/sim`).

pub mod cold;
pub mod crash;
pub mod io_fault;
mod keyed;
pub mod life;
pub mod model;
pub mod rot;
pub mod workload;
