//! A file system of its own, in a file or on a device that is a file: made, mounted, cut off, unmounted.
//!
//! Truth: `ioctl_xfs_goingdown(2)`; `EXT4_IOC_SHUTDOWN` of Linux is the same number with the same flags.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::compat::wire::await_that;

/// What the kernel calls `FS_IOC_SHUTDOWN` and `XFS_IOC_GOINGDOWN`: `_IOR('X', 125, u32)`.
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// A process that died a moment ago still holds its files through its ring.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(60);

/// Which file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `mkfs.ext4`.
    Ext4,
    /// `mkfs.xfs`.
    Xfs,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Ext4, Kind::Xfs];

    /// What `mount` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The smallest that it is content with, and large enough for a campaign.
    pub fn bytes(self) -> u64 {
        match self {
            Kind::Ext4 => 256 << 20,
            Kind::Xfs => 320 << 20,
        }
    }

    /// Makes one in a file. Everything is laid out now: nothing is initialised later, when it is being watched.
    pub fn make(self, file: &Path) -> Result<(), String> {
        let mut make = Command::new(format!("mkfs.{}", self.name()));
        match self {
            Kind::Ext4 => {
                make.args(["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]);
            }
            Kind::Xfs => {
                make.args(["-q", "-f", "-K"]);
            }
        }
        said(make.arg(file))
    }
}

/// How the file system is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// At once: what its journal had not written is lost.
    NoLogFlush,
    /// Its journal is written first.
    LogFlush,
    /// All of its data is written first.
    Sync,
}

impl Cut {
    /// All ways.
    pub const ALL: [Cut; 3] = [Cut::NoLogFlush, Cut::LogFlush, Cut::Sync];

    fn flag(self) -> u32 {
        match self {
            Cut::Sync => 0,
            Cut::LogFlush => 1,
            Cut::NoLogFlush => 2,
        }
    }
}

/// Why a campaign cannot run here, if it cannot.
pub fn missing() -> Option<String> {
    // SAFETY: it has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Some("power cuts mount file systems, which needs root".into());
    }
    let lacks = |tool: &&str| Command::new(tool).arg("-V").output().is_err();
    let tool = ["mkfs.ext4", "mkfs.xfs"].into_iter().find(lacks);
    tool.map(|tool| format!("{tool} is not here; install e2fsprogs and xfsprogs"))
}

/// Lets what this thread and its children mount from now on be seen by nobody else, and end with them.
pub fn enter_own_mounts() -> Result<(), String> {
    // SAFETY: it takes no pointer.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(format!("unshare: {}", io::Error::last_os_error()));
    }
    said(Command::new("mount").args(["--make-rprivate", "/"]))
}

/// A mounted file system. Unmounted when dropped.
pub struct Mounted {
    folder: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    /// Mounts what is in `file` through a loop device, which ends with the mount.
    pub fn new(kind: Kind, file: &Path, folder: &Path) -> Result<Mounted, String> {
        std::fs::create_dir_all(folder).map_err(|error| format!("creating {}: {error}", folder.display()))?;
        said(Command::new("mount").args(["-t", kind.name(), "-o", "loop"]).arg(file).arg(folder))?;
        Ok(Mounted { folder: folder.to_path_buf(), is_mounted: true })
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Cuts it off from its device: from now on everything fails.
    pub fn cut(&self, how: Cut) -> Result<(), String> {
        let root = File::open(&self.folder).map_err(|error| format!("opening the root: {error}"))?;
        let flag = how.flag();
        // SAFETY: the call reads one number through the pointer, which outlives it.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const flag) };
        if done != 0 { Err(format!("FS_IOC_SHUTDOWN: {}", io::Error::last_os_error())) } else { Ok(()) }
    }

    /// Unmounts it.
    pub fn unmount(mut self) {
        self.is_mounted = false;
        await_that("an unmounted file system", UNMOUNT_PATIENCE, || {
            said(Command::new("umount").arg(&self.folder)).ok()
        });
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mounted {
            // A campaign has failed already; the name space's end unmounts what is still in use.
            let _ = said(Command::new("umount").arg("--lazy").arg(&self.folder));
        }
    }
}

/// A sparse file of so many bytes.
pub fn empty_file(file: &Path, bytes: u64) -> Result<(), String> {
    let made = File::create(file).and_then(|file| file.set_len(bytes));
    made.map_err(|error| format!("creating {}: {error}", file.display()))
}

/// Runs a command; what it said is the error.
fn said(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}
