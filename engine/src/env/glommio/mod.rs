//! The real seam: one glommio executor on one pinned thread, Linux files below it.
//!
//! | of [`Env`] | is |
//! | --- | --- |
//! | tasks | three task queues: serve 1000 shares, read 200, background 50 |
//! | files | `O_DIRECT` through the executor's ring; buffered where the folder has no direct I/O ([`File::is_direct`]) |
//! | folders | `std::fs` on the executor's blocking threads |
//! | maps | `mmap`, shared and read-only |
//! | lock | `flock` on [`LOCK_FILE`] |
//!
//! Invariants
//!  1. Made on the executor that it serves, once per executor: its task queues live as long as that.
//!  2. No closure handed to a blocking thread panics: each returns a `Result`.
//!  3. Until [`GlommioEnv::end`], a watchdog keeps the executor from staying parked with runnable work.
//!
//! Not here: how many executors there are and where they are pinned (`ringmq-server`, `shard/runtime.rs`).

mod buffer;
mod file;
mod heartbeat;
mod watchdog;

use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::glommio::{Latency, Shares, TaskQueueHandle};

use super::random::Random;
use super::{DiskSpace, Env, LOCK_FILE, Map, Mapped, OpenHow, Signal, TaskClass};
pub use buffer::GlommioBuffer;
pub use file::GlommioFile;
pub use heartbeat::{BEAT_BUSY, BEAT_IDLE, Heartbeat};
pub use watchdog::Watchdog;

/// How long work of a class may wait for its turn; the executor's hint for choosing among queues.
const SERVE_LATENCY: Duration = Duration::from_millis(10);
/// What a step of spinning takes. An executor that spins for a little longer before it parks
/// (`spin_before_park`) spends the step looking at its rings; another one parks and is woken by a timer, which is
/// slower and costs more.
pub const SPIN_STEP: Duration = Duration::from_micros(5);

/// The world around one shard, for real. One per executor.
#[derive(Debug, Clone)]
pub struct GlommioEnv {
    shard: Rc<Shard>,
}

#[derive(Debug)]
struct Shard {
    serve: TaskQueueHandle,
    read: TaskQueueHandle,
    background: TaskQueueHandle,
    started: Instant,
    random: Random,
    watchdog: Arc<Watchdog>,
    heartbeat: Arc<Heartbeat>,
    heartbeat_ended: Rc<Signal>,
}

impl GlommioEnv {
    /// The seam of the executor that is running, watched from now on. For its first task: the heartbeat is in the
    /// task queue of its caller.
    pub fn start(watchdog: &Arc<Watchdog>) -> GlommioEnv {
        let executor = ::glommio::executor();
        let serve = Latency::Matters(SERVE_LATENCY);
        let shard = Shard {
            serve: executor.create_task_queue(Shares::Static(1000), serve, "serve"),
            read: executor.create_task_queue(Shares::Static(200), Latency::NotImportant, "read"),
            background: executor.create_task_queue(Shares::Static(50), Latency::NotImportant, "background"),
            started: Instant::now(),
            random: Random::new(seed()),
            watchdog: watchdog.clone(),
            heartbeat: watchdog.watch(),
            heartbeat_ended: Rc::default(),
        };
        let (heartbeat, ended) = (shard.heartbeat.clone(), shard.heartbeat_ended.clone());
        // Runs at once, and so is guarded before anything else can be preempted.
        ::glommio::spawn_local(async move {
            heartbeat.beat().await;
            ended.fire();
        })
        .detach();
        GlommioEnv { shard: Rc::new(shard) }
    }

    /// The heartbeat: its longest delay goes into reports.
    pub fn heartbeat(&self) -> Arc<Heartbeat> {
        self.shard.heartbeat.clone()
    }

    /// Ends the heartbeat; the last act before the executor returns, which would never drop a pending task.
    pub async fn end(&self) {
        self.shard.watchdog.forget(&self.shard.heartbeat);
        self.shard.heartbeat.end();
        self.shard.heartbeat_ended.wait().await;
    }
}

impl Env for GlommioEnv {
    type Buffer = GlommioBuffer;
    type File = GlommioFile;
    type FolderLock = std::fs::File;

    fn wall_ms(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.shard.started.elapsed()
    }

    fn random(&self) -> u64 {
        self.shard.random.next()
    }

    async fn sleep(&self, duration: Duration) {
        ::glommio::timer::sleep(duration).await;
    }

    async fn spin_step(&self) {
        // The kernel's workers that finish a write may need this very core.
        std::thread::yield_now();
        ::glommio::timer::sleep(SPIN_STEP).await;
    }

    fn set_busy(&self, busy: bool) {
        self.shard.heartbeat.set_busy(busy);
    }

    fn spawn(&self, class: TaskClass, task: impl Future<Output = ()> + 'static) {
        let queue = match class {
            TaskClass::Serve => self.shard.serve,
            TaskClass::Read => self.shard.read,
            TaskClass::Background => self.shard.background,
        };
        ::glommio::spawn_local_into(task, queue).expect("the queue was made by this executor").detach();
    }

    fn buffer(&self, len: usize) -> GlommioBuffer {
        GlommioBuffer::zeroed(len)
    }

    fn buffer_to_fill(&self, len: usize) -> GlommioBuffer {
        GlommioBuffer::unfilled(len)
    }

    async fn open(&self, path: &Path, how: OpenHow) -> io::Result<GlommioFile> {
        GlommioFile::open(path, how).await
    }

    async fn map(&self, path: &Path, soon: Vec<Range<u64>>) -> io::Result<Mapped> {
        let map = on_path(path, move |path| {
            let file = std::fs::File::open(path)?;
            // SAFETY: a sidecar is written under another name, renamed when it is whole, and neither written nor cut
            // afterwards; replacing it by a rename leaves this mapping with the old file. Somebody else who cuts
            // files of a store that is in use, or a disk that fails under the mapping, ends the process by a signal.
            let map = unsafe { memmap2::Mmap::map(&file) }?;
            // Kernels may be set to read megabytes around every byte that is touched.
            map.advise(memmap2::Advice::Random)?;
            // Asked for at once, and then waited for: a kernel that does not know the latter has at least been asked.
            for advice in [memmap2::Advice::WillNeed, memmap2::Advice::PopulateRead] {
                for part in &soon {
                    let (start, end) = (part.start as usize, (part.end as usize).min(map.len()));
                    let _ = map.advise_range(advice, start, end.saturating_sub(start));
                }
            }
            Ok(MappedFile(map))
        });
        Ok(Box::new(map.await?))
    }

    async fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        on_path(folder, |folder| {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(folder)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names)
        })
        .await
    }

    async fn create_folder(&self, folder: &Path) -> io::Result<()> {
        on_path(folder, |folder| std::fs::create_dir_all(folder)).await
    }

    async fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        on_path(folder, |folder| std::fs::File::open(folder)?.sync_all()).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let to = to.to_path_buf();
        on_path(from, move |from| std::fs::rename(from, to)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        on_path(path, |path| std::fs::remove_file(path)).await
    }

    async fn space(&self, folder: &Path) -> io::Result<DiskSpace> {
        on_path(folder, space_of).await
    }

    async fn lock_folder(&self, folder: &Path) -> io::Result<std::fs::File> {
        on_path(&folder.join(LOCK_FILE), try_lock).await
    }
}

struct MappedFile(memmap2::Mmap);

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Map for MappedFile {
    fn will_need(&self, at: usize, len: usize) {
        // Advice that is not taken costs time only.
        let _ = self.0.advise_range(memmap2::Advice::WillNeed, at, len.min(self.0.len().saturating_sub(at)));
    }
}

/// The lock ends when the returned file is dropped, or with the process.
fn try_lock(path: &Path) -> io::Result<std::fs::File> {
    let file = std::fs::File::options().write(true).create(true).truncate(false).open(path)?;
    file.try_lock()?;
    Ok(file)
}

/// What `df` says.
pub fn space_of(folder: &Path) -> io::Result<DiskSpace> {
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes())?;
    let mut said = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero, and `said` is as large as the kernel's answer.
    if unsafe { libc::statvfs(path.as_ptr(), said.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a successful call has filled it in.
    let said = unsafe { said.assume_init() };
    let bytes = |blocks: u64| blocks.saturating_mul(said.f_frsize);
    let used = said.f_blocks.saturating_sub(said.f_bfree);
    Ok(DiskSpace { total: bytes(used.saturating_add(said.f_bavail)), available: bytes(said.f_bavail) })
}

/// Does something with a path on a blocking thread.
async fn on_path<T: Send + 'static>(
    path: &Path,
    act: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path: PathBuf = path.to_path_buf();
    ::glommio::executor().spawn_blocking(move || act(&path)).await
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library keys its hashers from the kernel's randomness, anew for each thread.
    std::hash::RandomState::new().build_hasher().finish()
}
