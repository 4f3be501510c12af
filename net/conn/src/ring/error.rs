//! Why a ring could not be made, or an address not be listened on; each says what its reader can do.

use crate::limits;
use std::io;
use std::net::SocketAddr;
use thiserror::Error;

/// A ring that could not be made.
#[derive(Debug, Error)]
pub enum RingError {
    /// `kernel.io_uring_disabled` is 1 (privileged users only) or 2 (nobody).
    #[error("io_uring is disabled by kernel.io_uring_disabled={0}; set it to 0 with sysctl")]
    DisabledBySysctl(u8),
    /// Container runtimes forbid io_uring in their default seccomp profiles.
    #[error(
        "io_uring is forbidden to this process, usually by a container's seccomp profile; allow \
             io_uring_setup, io_uring_enter and io_uring_register there"
    )]
    Forbidden,
    /// `RLIMIT_MEMLOCK` is charged for ring memory by some kernels.
    #[error(
        "not enough lockable memory for io_uring (limit {limit_bytes} bytes); raise it with \
             ulimit -l or LimitMEMLOCK="
    )]
    MemlockTooSmall {
        /// The soft limit.
        limit_bytes: u64,
    },
    /// Something that the ring needs is unknown to this kernel.
    #[error("kernel {release} is too old for this use of io_uring; 6.1 or later is needed")]
    KernelTooOld {
        /// As `uname -r` prints it.
        release: String,
    },
    /// Anything else.
    #[error("{action}: {source}")]
    Os {
        /// What was tried.
        action: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl RingError {
    /// Reads the error of an io_uring system call, together with what the system says of itself.
    pub(super) fn read(action: &'static str, source: io::Error, system: &System) -> RingError {
        match (source.raw_os_error(), system.io_uring_disabled) {
            (Some(libc::EPERM | libc::EACCES), Some(level @ 1..)) => RingError::DisabledBySysctl(level),
            (Some(libc::EPERM | libc::EACCES), _) => RingError::Forbidden,
            // Some seccomp profiles answer "no such system call" so that programs fall back.
            (Some(libc::ENOSYS), _) if system.is_new_enough() => RingError::Forbidden,
            (Some(libc::ENOSYS | libc::EINVAL), _) if !system.is_new_enough() => {
                RingError::KernelTooOld { release: system.release.clone() }
            }
            (Some(libc::ENOMEM), _) => RingError::MemlockTooSmall { limit_bytes: system.memlock_bytes },
            _ => RingError::Os { action, source },
        }
    }
}

/// What decides between the reasons for one error number.
#[derive(Debug, Clone)]
pub(super) struct System {
    /// `/proc/sys/kernel/io_uring_disabled`, which kernels before 6.6 do not have.
    pub io_uring_disabled: Option<u8>,
    /// As `uname -r` prints it.
    pub release: String,
    /// The soft `RLIMIT_MEMLOCK`.
    pub memlock_bytes: u64,
}

impl System {
    /// `DEFER_TASKRUN` came with 6.1. An unreadable release counts as new: the error number then decides.
    fn is_new_enough(&self) -> bool {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 1),
            _ => true,
        }
    }
}

/// An address that could not be listened on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another process, or another listener of this one, has it.
    #[error("{0} is in use by another process; stop it or choose another port")]
    InUse(SocketAddr),
    /// No interface of this machine has the address.
    #[error("{0} is not an address of this machine")]
    NotOurs(SocketAddr),
    /// Ports below 1024 need a privilege.
    #[error("not permitted to listen on {0}; ports below 1024 need CAP_NET_BIND_SERVICE")]
    NotPermitted(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address} (backlog {}): {source}", limits::LISTEN_BACKLOG)]
    Os {
        /// Where.
        address: SocketAddr,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl ListenError {
    pub(super) fn read(address: SocketAddr, source: io::Error) -> ListenError {
        match source.raw_os_error() {
            Some(libc::EADDRINUSE) => ListenError::InUse(address),
            Some(libc::EADDRNOTAVAIL) => ListenError::NotOurs(address),
            Some(libc::EACCES | libc::EPERM) => ListenError::NotPermitted(address),
            _ => ListenError::Os { address, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(errno: i32, disabled: Option<u8>, release: &str, expected: &str) {
        let system =
            System { io_uring_disabled: disabled, release: release.to_string(), memlock_bytes: 65_536 };
        let error = RingError::read("make a ring", io::Error::from_raw_os_error(errno), &system);
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn each_refusal_of_the_kernel_names_its_remedy() {
        check(libc::EPERM, Some(2), "6.8.0", "kernel.io_uring_disabled=2");
        check(libc::EPERM, Some(1), "6.8.0", "kernel.io_uring_disabled=1");
        check(libc::EPERM, Some(0), "6.8.0", "seccomp");
        check(libc::EPERM, None, "6.1.0-13-amd64", "seccomp");
        check(libc::ENOSYS, Some(0), "6.8.0-rc1", "seccomp");
        check(libc::ENOSYS, None, "4.19.0", "kernel 4.19.0 is too old");
        check(libc::EINVAL, None, "5.15.0-91-generic", "kernel 5.15.0-91-generic is too old");
        check(libc::EINVAL, Some(0), "6.8.0", "make a ring: Invalid argument");
        check(libc::ENOMEM, Some(0), "6.8.0", "limit 65536 bytes");
        check(libc::EMFILE, Some(0), "6.8.0", "make a ring: Too many open files");
    }
}
