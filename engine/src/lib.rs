//! One shard's store: queues of records and an ordered map of facts, in one durable log.
//!
//! [`Store`] is the only public door. It knows no socket and no request code. [`env`] is the seam to
//! disk, clock, randomness and tasks: glommio for real, a seeded simulation for tests.

mod append;
pub mod batch;
mod carrying;
pub mod env;
mod flush_probe;
pub mod folder;
mod group_commit;
pub mod keys;
pub mod limits;
pub mod log;
pub mod offset;
mod opening;
pub mod planted;
pub mod pointing;
pub mod retention;
mod retiring;
pub mod salvage;
mod sealing;
pub mod sidecar;
pub mod space;
pub mod state;
pub mod store;
pub mod testing;

pub use batch::Batch;
pub use store::Store;
