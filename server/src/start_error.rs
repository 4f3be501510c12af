//! Why `ringmq serve` did not start, and what to do about it.
//!
//! Each error names the thing that failed with its values; [`StartError::remedy`] says what to type. How they
//! are printed is in `cli/errors.rs`.

use std::net::SocketAddr;
use std::path::PathBuf;

use ringmq_engine::store::OpenError;

use crate::config::load::ConfigError;
use crate::config::value::ByteSize;

/// Why the process does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// This is not Linux, or one that is too old.
    #[error("ringmq needs Linux 6.1 or newer with io_uring; this is {system}")]
    NotLinux {
        /// What the system calls itself.
        system: String,
    },
    /// `io_uring_setup` was refused.
    #[error("the kernel refuses io_uring: {error}")]
    IoUringRefused {
        /// What the kernel said.
        error: String,
        /// The sysctl `kernel.io_uring_disabled`, if there is one; 0 leaves a seccomp filter as the reason.
        disabled: Option<u32>,
    },
    /// Rings and buffers do not fit into the locked-memory limit.
    #[error("locked memory is limited to {}, and {} are needed", ByteSize(*limit), ByteSize(*needed))]
    MemlockTooSmall {
        /// `RLIMIT_MEMLOCK`, bytes.
        limit: u64,
        /// Bytes.
        needed: u64,
    },
    /// Somebody else listens there.
    #[error("{what} cannot listen on {address}: the port is in use{}", by(*.owner))]
    PortInUse {
        /// Who wanted it.
        what: Listener,
        /// Where.
        address: SocketAddr,
        /// The process that has it, if that can be told.
        owner: Option<u32>,
    },
    /// Listening failed for another reason.
    #[error("{what} cannot listen on {address}: {error}")]
    Listen {
        /// Who wanted it.
        what: Listener,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: String,
    },
    /// Another process has the data folder.
    #[error("{} is in use by another process", .folder.display())]
    FolderLocked {
        /// The data folder.
        folder: PathBuf,
    },
    /// The data folder cannot be used.
    #[error("{operation} {}: {error}", .path.display())]
    Folder {
        /// `create`, `open`, `write`.
        operation: String,
        /// What it was done to.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
    /// The disk has no room for the log.
    #[error("the disk of {} is full: {error}", .folder.display())]
    DiskFull {
        /// The data folder.
        folder: PathBuf,
        /// What the system said.
        error: String,
    },
    /// Acknowledged bytes are damaged.
    #[error("{file} is damaged at byte {position}: {what}")]
    Corrupt {
        /// Which file.
        file: String,
        /// Position in the file, bytes.
        position: u64,
        /// What is wrong there.
        what: String,
    },
    /// Threads or executors could not be made.
    #[error("{what}: {error}")]
    Runtime {
        /// What was tried.
        what: String,
        /// What the system said.
        error: String,
    },
    /// It served, and a shard ended badly: its log is poisoned, for instance.
    #[error("shard {shard} stopped: {error}")]
    ShardStopped {
        /// Which.
        shard: usize,
        /// Why.
        error: String,
    },
}

fn by(owner: Option<u32>) -> String {
    owner.map_or(String::new(), |process| format!(" by process {process}"))
}

/// Who listens on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The name server.
    Namesrv,
    /// A shard.
    Shard(usize),
    /// A shard's second port, its own minus two.
    ShardVip(usize),
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listener::Namesrv => f.write_str("the name server"),
            Listener::Shard(shard) => write!(f, "shard {shard}"),
            Listener::ShardVip(shard) => write!(f, "shard {shard} (VIP channel)"),
        }
    }
}

impl StartError {
    /// The error of a failed `io_uring_setup`, or of an executor that needs a ring and `needed` bytes of locked
    /// memory. Executors tell a small limit in text only, so the limit itself is looked at.
    pub fn io_uring(error: &std::io::Error, needed: u64) -> StartError {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        StartError::of_ring(
            error,
            needed,
            memlock_limit(),
            disabled.and_then(|text| text.trim().parse().ok()),
        )
    }

    fn of_ring(error: &std::io::Error, needed: u64, limit: u64, disabled: Option<u32>) -> StartError {
        match error.raw_os_error() {
            Some(libc::ENOSYS) => StartError::NotLinux { system: system() },
            Some(libc::EPERM | libc::EACCES) => {
                StartError::IoUringRefused { error: error.to_string(), disabled }
            }
            _ if limit < needed => StartError::MemlockTooSmall { limit, needed },
            _ => StartError::Runtime { what: "set up io_uring".to_owned(), error: error.to_string() },
        }
    }

    /// The name that `ringmq explain` knows it by.
    pub fn name(&self) -> &'static str {
        match self {
            StartError::Config(_) => "settings",
            StartError::NotLinux { .. } => "kernel-too-old",
            StartError::IoUringRefused { .. } => "io-uring-refused",
            StartError::MemlockTooSmall { .. } => "memlock-too-small",
            StartError::PortInUse { .. } => "port-in-use",
            StartError::Listen { .. } => "cannot-listen",
            StartError::FolderLocked { .. } => "folder-locked",
            StartError::Folder { .. } => "folder-unusable",
            StartError::DiskFull { .. } => "disk-full",
            StartError::Corrupt { .. } => "log-damaged",
            StartError::Runtime { .. } => "runtime",
            StartError::ShardStopped { .. } => "shard-stopped",
        }
    }

    /// What to do, in one or two sentences; empty when the error says it itself.
    pub fn remedy(&self) -> String {
        match self {
            StartError::Config(_) => String::new(),
            StartError::NotLinux { .. } => {
                "Run it on a newer kernel, or in a Linux virtual machine.".to_owned()
            }
            StartError::IoUringRefused { disabled: Some(level @ 1..), .. } => format!(
                "kernel.io_uring_disabled is {level}. Allow it with `sysctl -w kernel.io_uring_disabled=0`, \
                 and in /etc/sysctl.d to keep it."
            ),
            StartError::IoUringRefused { .. } => {
                "No sysctl forbids it, so a seccomp filter does: in a container, \
                 run with `--security-opt seccomp=unconfined` or a profile that allows io_uring_setup, \
                 io_uring_enter and io_uring_register."
                    .to_owned()
            }
            StartError::MemlockTooSmall { .. } => {
                "Raise it: `ulimit -l unlimited`, `LimitMEMLOCK=infinity` in the \
                 systemd unit, or `--ulimit memlock=-1` for a container."
                    .to_owned()
            }
            StartError::PortInUse { what: Listener::Namesrv, address, .. } => format!(
                "Stop the other process (`ss -ltnp 'sport = :{}'` names it), or choose another `--namesrv-port`.",
                address.port()
            ),
            StartError::PortInUse { address, .. } => format!(
                "Stop the other process (`ss -ltnp 'sport = :{}'` names it), or choose another `--port`.",
                address.port()
            ),
            StartError::Listen { error, .. }
                if error.contains("assign") || error.contains("not an address") =>
            {
                "That address is not one of this machine; `--host 0.0.0.0 --insecure` listens on all of them."
                    .to_owned()
            }
            StartError::Listen { error, .. } if error.contains("denied") || error.contains("permitted") => {
                "Ports below 1024 need a privilege; choose a higher one with `--port` or `--namesrv-port`."
                    .to_owned()
            }
            StartError::Listen { .. } => "Check `--host` and `--port`.".to_owned(),
            StartError::FolderLocked { .. } => {
                "Stop the other ringmq, or give this one a folder of its own with `--data DIR`.".to_owned()
            }
            StartError::Folder { .. } => {
                "Check that the folder exists and is writable, or choose another with `--data DIR`."
                    .to_owned()
            }
            StartError::DiskFull { .. } => {
                "Free some space there, or choose another folder with `--data DIR`; \
                 `log.segment_bytes` makes files smaller."
                    .to_owned()
            }
            StartError::Corrupt { .. } => {
                "Nothing was changed. Keep a copy of the folder; `ringmq log verify DIR` \
                 lists what is damaged, `ringmq log dump FILE` shows it."
                    .to_owned()
            }
            StartError::Runtime { .. } => String::new(),
            StartError::ShardStopped { .. } => {
                "Senders without an answer do not know; start again, and recovery decides.".to_owned()
            }
        }
    }
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> StartError {
        match error {
            OpenError::Locked { folder } => StartError::FolderLocked { folder: folder.into() },
            OpenError::Corrupt { file, position, what } => StartError::Corrupt { file, position, what },
            OpenError::Io { file, error, .. } if error.contains("No space left") => {
                StartError::DiskFull { folder: file.into(), error }
            }
            OpenError::Io { operation, file, error } => {
                StartError::Folder { operation: operation.to_owned(), path: file.into(), error }
            }
            OpenError::Refused { folder, what } => {
                StartError::Folder { operation: "open".to_owned(), path: folder.into(), error: what }
            }
        }
    }
}

/// `RLIMIT_MEMLOCK`, bytes; no limit is the largest number.
fn memlock_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes one rlimit to the pointer, which is valid for it.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    if result == 0 { limit.rlim_cur } else { u64::MAX }
}

fn system() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_conn::ring::ListenError;
    use std::io::Error;

    #[test]
    fn a_used_port_is_named_with_the_flag_that_changes_it() {
        let address: SocketAddr = "127.0.0.1:10911".parse().unwrap();
        let shard = |owner| StartError::PortInUse { what: Listener::Shard(0), address, owner };
        let said = "shard 0 cannot listen on 127.0.0.1:10911: the port is in use";
        assert_eq!(shard(None).to_string(), said);
        assert_eq!(shard(Some(4711)).to_string(), format!("{said} by process 4711"));
        assert!(shard(None).remedy().contains("`--port`"));
        let namesrv = StartError::PortInUse { what: Listener::Namesrv, address, owner: None };
        assert!(namesrv.remedy().contains("`--namesrv-port`"));
    }

    #[test]
    fn a_foreign_address_and_a_low_port_are_told_apart() {
        let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let remedy = |error: ListenError| {
            StartError::Listen { what: Listener::Namesrv, address, error: error.to_string() }.remedy()
        };
        assert!(remedy(ListenError::NotOurs(address)).contains("not one of this machine"));
        assert!(remedy(ListenError::NotPermitted(address)).contains("Ports below 1024"));
    }

    #[test]
    fn a_sysctl_and_a_seccomp_filter_are_told_apart() {
        let refused = |disabled| StartError::IoUringRefused { error: "EPERM".to_owned(), disabled };
        assert!(refused(Some(2)).remedy().starts_with("kernel.io_uring_disabled is 2."));
        assert!(refused(Some(0)).remedy().contains("seccomp"));
        assert!(refused(None).remedy().contains("seccomp"));
    }

    #[test]
    fn locked_memory_is_named_only_when_it_is_too_small() {
        let no_memory = Error::from_raw_os_error(libc::ENOMEM);
        let small = StartError::of_ring(&no_memory, 512, 16, None);
        assert_eq!(small, StartError::MemlockTooSmall { limit: 16, needed: 512 });
        assert!(matches!(StartError::of_ring(&no_memory, 512, 512, None), StartError::Runtime { .. }));
        let refused = Error::from_raw_os_error(libc::EPERM);
        assert!(matches!(StartError::of_ring(&refused, 512, 16, None), StartError::IoUringRefused { .. }));
    }

    #[test]
    fn a_full_disk_is_not_just_an_error_of_the_folder() {
        let open = OpenError::Io {
            operation: "write",
            file: "/d/x".to_owned(),
            error: Error::from_raw_os_error(libc::ENOSPC).to_string(),
        };
        assert!(matches!(StartError::from(open), StartError::DiskFull { .. }));
    }
}
