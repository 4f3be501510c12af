//! SIGTERM and SIGINT: blocked in every thread, waited for by one.
//!
//! Blocked before any thread starts (threads inherit the mask), so that no system call of a shard is ever
//! interrupted by one.

use std::io;
use std::mem::MaybeUninit;

/// The signals that ask the process to stop.
#[derive(Debug, Clone, Copy)]
pub struct StopSignals {
    set: libc::sigset_t,
}

impl StopSignals {
    /// Blocks them in this thread and in those that it starts from now on.
    pub fn block() -> io::Result<StopSignals> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set it is given; the other two calls get an initialised set and
        // a null pointer where the previous mask is not wanted.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
            set.assume_init()
        };
        // SAFETY: as above.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } {
            0 => Ok(StopSignals { set }),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Waits for one, and says which.
    pub fn wait(&self) -> i32 {
        let mut signal = 0;
        loop {
            // SAFETY: the set is initialised, and `signal` outlives the call.
            if unsafe { libc::sigwait(&self.set, &mut signal) } == 0 {
                return signal;
            }
        }
    }

    /// Makes [`StopSignals::wait`] return, from any thread: how a shard that cannot go on stops the process.
    pub fn send() {
        // SAFETY: no memory is involved; the signal goes to this very process.
        unsafe {
            libc::kill(libc::getpid(), libc::SIGTERM);
        }
    }
}
