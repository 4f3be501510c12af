//! A thread that sleeps on a core and notes how late it wakes: how long that core let nobody run.
//!
//! On a shared machine a core may stand still for a second, for a neighbour's sake or the hypervisor's. A server's silence
//! that is not longer than its core's is not the server's. The canary costs its core a few wake-ups per second.

use crate::os;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Length of each sleep.
const NAP: Duration = Duration::from_millis(5);

/// Canaries on some cores. They end when this is dropped.
#[derive(Debug)]
pub struct Canaries {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Duration>>,
}

impl Canaries {
    /// One on each of the cores. A core on which none may run has none.
    pub fn on(cores: &[usize]) -> Canaries {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |core: usize| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || match os::keep_to_cores(&[core]) {
                Ok(()) => watch(&stop),
                Err(_) => Duration::ZERO,
            })
        };
        Canaries { threads: cores.iter().copied().map(start).collect(), stop }
    }

    /// Ends them, and returns by how much the latest woke too late.
    pub fn longest_delay(mut self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let delays = self.threads.drain(..).filter_map(|thread| thread.join().ok());
        delays.max().unwrap_or_default()
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn watch(stop: &AtomicBool) -> Duration {
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let before = Instant::now();
        thread::sleep(NAP);
        longest = longest.max(before.elapsed().saturating_sub(NAP));
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_end_when_asked_and_when_forgotten() {
        let cores = os::allowed_cores().expect("known");
        let canaries = Canaries::on(&cores);
        let stop = Arc::clone(&canaries.stop);
        assert!(canaries.longest_delay() < Duration::from_secs(60));
        assert!(stop.load(Ordering::Relaxed));
        let forgotten = Canaries::on(&[]);
        let stop = Arc::clone(&forgotten.stop);
        drop(forgotten);
        assert!(stop.load(Ordering::Relaxed));
    }
}
