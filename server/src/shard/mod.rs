//! The loops, and how they are started and stopped.
//!
//! [`serve`] starts one pinned thread per shard and one for the name server, waits until every port
//! accepts, and returns when they have stopped. [`shard_loop`] and [`namesrv_loop`] drive the rules over their
//! network; they are generic over the seam, so the simulator runs them too. glommio is named only in
//! [`runtime`].
//!
//! No state is shared between threads: only the request to [`stop`], the watchdog's wake-ups, and reports by value.

pub mod clock;
pub mod connections;
pub mod held_answers;
mod memory;
pub mod namesrv_loop;
pub mod options;
mod port_owner;
pub mod record_slice;
pub mod runtime;
pub mod shard_loop;
pub mod signals;
pub mod spin;
pub mod stop;

pub use runtime::{LOCKED_BYTES_PER_EXECUTOR, Started, serve, try_executor};
