//! The request to stop: with reports and the watchdog's wake-ups, all that crosses between threads.
//!
//! `main` raises it on SIGTERM or SIGINT, or when a shard's log is poisoned; every loop looks at it when it
//! wakes, and its bell (an eventfd) wakes it.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Crosses threads by clone.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    raised: Arc<AtomicBool>,
    bells: Arc<Mutex<Vec<File>>>,
}

impl Stop {
    /// Lets `bell`, a loop's eventfd, be rung when stopping is asked for.
    pub fn add_bell(&self, bell: BorrowedFd<'_>) -> std::io::Result<()> {
        let bell = File::from(bell.as_fd().try_clone_to_owned()?);
        self.bells.lock().expect("no holder of this lock panics").push(bell);
        if self.is_raised() {
            self.raise();
        }
        Ok(())
    }

    /// Asks every loop to stop. Asking again does nothing new.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        for bell in self.bells.lock().expect("no holder of this lock panics").iter_mut() {
            // A full eventfd is already ringing; a closed one has no loop behind it.
            let _ = bell.write(&1u64.to_ne_bytes());
        }
    }

    /// Whether stopping has been asked for.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }
}
