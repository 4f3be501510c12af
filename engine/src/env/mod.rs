//! The seam: everything a store needs from the outside world.
//!
//! A loop is an `async fn` generic over one [`Env`]; it waits and calls, and decides nothing. Behind the
//! seam stand [`glommio`] for real and [`sim`] for tests: one seed there decides which task runs next,
//! how long everything takes, and what fails.
//!
//! The network is the other half of the seam: `ringmq_conn::Network`, synchronous, given to the shard
//! loop beside its `Env`.

pub mod glommio;
pub mod random;
pub mod signal;
pub mod sim;

use std::future::Future;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

pub use self::glommio::space_of;
pub use random::Random;
pub use signal::Signal;

/// Blocks of this size are what the log writes and never rewrites; direct I/O is aligned to it.
pub const BLOCK_BYTES: usize = 4096;

/// The file in a folder that [`Env::lock_folder`] holds; [`Env::list`] returns it like any other.
pub const LOCK_FILE: &str = "lock";

/// A whole file in memory, or as if it were: what is read of it is what the file had when it was mapped, if nobody writes to
/// it meanwhile.
pub type Mapped = Box<dyn Map>;

/// The bytes of a mapped file.
pub trait Map: AsRef<[u8]> {
    /// These will be read soon. Bytes that were not announced come from the disk a few at a time.
    fn will_need(&self, _at: usize, _len: usize) {}
}

impl Map for Vec<u8> {}

/// Who a task works for; decides its share of the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskClass {
    /// The shard loop and the appender.
    Serve,
    /// Cold reads.
    Read,
    /// Preparing segments, sealing, retention.
    Background,
}

/// Space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes used, and bytes available to this process.
    pub total: u64,
    /// Bytes available to this process.
    pub available: u64,
}

impl DiskSpace {
    /// Percent used, rounded down.
    pub fn used_percent(self) -> u8 {
        let used = self.total - self.available.min(self.total);
        u8::try_from(u128::from(used) * 100 / u128::from(self.total.max(1))).unwrap_or(100)
    }
}

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenHow {
    /// Create it; an error if it exists.
    pub create_new: bool,
    /// Open for writing too.
    pub write: bool,
    /// Every write is durable when it returns (`O_DSYNC`).
    pub sync_writes: bool,
}

/// The world around one shard. Cheap to clone. One per shard.
///
/// Paths are full paths. All I/O is aligned by the caller to [`BLOCK_BYTES`] in position and length.
pub trait Env: Clone + std::fmt::Debug + 'static {
    /// Memory fit for direct I/O.
    type Buffer: Buffer;
    /// An open file.
    type File: File<Buffer = Self::Buffer>;
    /// An exclusive hold on a folder; dropping it lets go.
    type FolderLock: 'static;

    /// Wall-clock milliseconds since 1970. May jump.
    fn wall_ms(&self) -> i64;
    /// Time since some moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// A random number.
    fn random(&self) -> u64;
    /// Returns after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
    /// A step of spinning: returns as soon as may be, after others had a chance to run and what has completed was
    /// noticed.
    fn spin_step(&self) -> impl Future<Output = ()>;
    /// Says whether this shard has work in hand, for a runtime that must be kept awake while it has.
    fn set_busy(&self, _busy: bool) {}
    /// Starts a task on this shard. Its owner learns of its end through state they share.
    fn spawn(&self, class: TaskClass, task: impl Future<Output = ()> + 'static);

    /// A zeroed buffer of `len` bytes, a multiple of [`BLOCK_BYTES`].
    fn buffer(&self, len: usize) -> Self::Buffer;
    /// A buffer whose bytes are whatever they are: for one who writes every byte that leaves it.
    fn buffer_to_fill(&self, len: usize) -> Self::Buffer;
    /// Opens a file.
    fn open(&self, path: &Path, how: OpenHow) -> impl Future<Output = io::Result<Self::File>>;
    /// Maps a file that is never written again. What is touched `soon` is in memory by then, if the system knows how:
    /// otherwise the shard that touches it waits for the disk, and cannot do anything else meanwhile.
    fn map(&self, path: &Path, soon: Vec<Range<u64>>) -> impl Future<Output = io::Result<Mapped>>;
    /// The names in a folder, sorted.
    fn list(&self, folder: &Path) -> impl Future<Output = io::Result<Vec<String>>>;
    /// Creates a folder and its parents; fine if it is there.
    fn create_folder(&self, folder: &Path) -> impl Future<Output = io::Result<()>>;
    /// Makes the folder's entries durable.
    fn sync_folder(&self, folder: &Path) -> impl Future<Output = io::Result<()>>;
    /// Renames a file within its folder, replacing.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Space of the file system that the folder is on.
    fn space(&self, folder: &Path) -> impl Future<Output = io::Result<DiskSpace>>;
    /// Holds the folder against other processes; `WouldBlock` if another has it.
    fn lock_folder(&self, folder: &Path) -> impl Future<Output = io::Result<Self::FolderLock>>;
}

/// Lets every other ready task run once.
pub async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await
}

/// Memory fit for direct I/O.
pub trait Buffer: Deref<Target = [u8]> + std::fmt::Debug + 'static {
    /// The bytes, to fill.
    fn as_mut(&mut self) -> &mut [u8];
    /// Forgets everything after `len` (a multiple of [`BLOCK_BYTES`]).
    fn truncate(&mut self, len: usize);
}

/// An open file. Closed explicitly; dropping one only logs.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait File: 'static {
    /// What it writes from and reads into.
    type Buffer: Buffer;

    /// Writes the whole buffer at `position`; a short write is an error.
    fn write_at(&self, buffer: Rc<Self::Buffer>, position: u64) -> impl Future<Output = io::Result<()>>;
    /// Reads up to `len` bytes at `position`; shorter only at the end of the file.
    fn read_at(&self, position: u64, len: usize) -> impl Future<Output = io::Result<Self::Buffer>>;
    /// Makes everything written durable (`fdatasync`).
    fn flush(&self) -> impl Future<Output = io::Result<()>>;
    /// Length in bytes.
    fn len(&self) -> impl Future<Output = io::Result<u64>>;
    /// Whether reads and writes bypass the page cache.
    fn is_direct(&self) -> bool;
    /// Closes it.
    fn close(self) -> impl Future<Output = io::Result<()>>;
}
