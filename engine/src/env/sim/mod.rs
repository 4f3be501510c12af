//! The simulated seam: tasks, clock and disk of one process, decided by one seed.
//!
//! ```text
//!             ┌────────────── Sim: one life of one process ──────────────┐
//!   seed ───▶ │ tasks: a random ready one runs next                      │
//!             │ clock: virtual; moves only when nothing is ready         │ crash
//!             │ faults: which operation fails, and how                   │ ──────▶ Disk ──▶ the next Sim
//!   Disk ───▶ │ disk: flushed content, and pending writes beside it      │
//!             │ trace: a hash of every operation                         │
//!             └──────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariants
//!  1. The same seed, disk and program give the same trace ([`Sim::trace`]), operation by operation.
//!  2. Nothing here takes real time, starts a thread or touches a real file.
//!  3. A program that waits for something that cannot happen is told so ([`Stuck`]), not waited for.
//!  4. What is flushed survives a crash; everything else survives or not, sector by sector ([`Disk::crash`]).
//!
//! Not here: the network (`ringmq_conn::sim`), and what must hold after a crash (`engine/src/testing`).

mod clock;
mod content;
mod crash;
mod disk;
mod faults;
mod file;
mod tasks;
mod trace;

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::{BLOCK_BYTES, Buffer, DiskSpace, Env, LOCK_FILE, Mapped, OpenHow, Random, TaskClass};
use clock::{Clock, Sleep};
pub use content::SECTOR_BYTES;
pub use crash::Unit;
pub use disk::Disk;
pub use faults::{Fault, FaultMix, Faults};
pub use file::SimFile;
use tasks::{MAIN, Tasks};
pub use trace::{OpKind, Trace};

/// A program that is still busy after so much virtual time is taken for stuck.
pub const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Wall-clock time at which every simulation begins: 2024-01-01T00:00:00Z.
pub const WALL_START_MS: i64 = 1_704_067_200_000;

/// What a step of spinning takes.
const SPIN_STEP: Duration = Duration::from_micros(10);

/// One life of one simulated process. Dropping it drops its tasks.
#[derive(Debug)]
pub struct Sim {
    world: Rc<World>,
}

/// The simulated world as its process sees it. Cheap to clone.
#[derive(Clone)]
pub struct SimEnv {
    world: Rc<World>,
}

#[derive(Debug)]
struct World {
    tasks: Tasks,
    clock: Clock,
    disk: std::cell::RefCell<Disk>,
    locked: std::cell::RefCell<Vec<PathBuf>>,
    faults: Faults,
    trace: Trace,
    /// Which task runs next, how long an operation takes.
    chance: Random,
    /// What the program draws for itself.
    given: Random,
}

/// What one step of a simulation was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A task ran.
    Ran,
    /// Nothing was ready: the clock went on to the next timer.
    Waited,
    /// Nothing is ready and nothing is due, ever.
    Nothing,
}

/// The program waits for something that cannot happen, or does not come to an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stuck at {now:?} with {tasks} tasks waiting; the latest operations were:\n{latest}")]
pub struct Stuck {
    /// Virtual time.
    pub now: Duration,
    /// Tasks that have not ended.
    pub tasks: usize,
    /// The end of the trace, a line each.
    pub latest: String,
}

impl Sim {
    /// A process on an empty disk.
    pub fn new(seed: u64) -> Sim {
        Sim::on(Disk::new(), seed)
    }

    /// A process on a disk that an earlier one left.
    pub fn on(disk: Disk, seed: u64) -> Sim {
        let seeds = Random::new(seed);
        let world = World {
            tasks: Tasks::default(),
            clock: Clock::default(),
            disk: std::cell::RefCell::new(disk),
            locked: std::cell::RefCell::default(),
            faults: Faults::new(seeds.fork()),
            trace: Trace::default(),
            chance: seeds.fork(),
            given: seeds.fork(),
        };
        Sim { world: Rc::new(world) }
    }

    /// What the process is given.
    pub fn env(&self) -> SimEnv {
        SimEnv { world: self.world.clone() }
    }

    /// What is to fail.
    pub fn faults(&self) -> &Faults {
        &self.world.faults
    }

    /// What has been done so far.
    pub fn trace(&self) -> &Trace {
        &self.world.trace
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        self.world.clock.now()
    }

    /// Moves the wall clock, as an operator or a time server would.
    pub fn jump_wall_clock(&self, by_ms: i64) {
        self.world.clock.jump(by_ms);
    }

    /// The disk as it is now, pending writes included. A snapshot: blocks are shared until changed.
    pub fn disk(&self) -> Disk {
        self.world.disk.borrow().clone()
    }

    /// Changes the disk behind the process's back: rot, capacity.
    pub fn change_disk<T>(&self, change: impl FnOnce(&mut Disk) -> T) -> T {
        change(&mut self.world.disk.borrow_mut())
    }

    /// Runs one ready task, or else moves the clock to the next timer.
    pub fn step(&self) -> Step {
        self.step_with(&mut |_| unreachable!("only `run_until` makes the main task ready"))
    }

    /// Runs until `main` returns. It may borrow from the caller; tasks it spawned go on later.
    pub fn run_until<T>(&self, main: impl Future<Output = T>) -> Result<T, Stuck> {
        let mut main = std::pin::pin!(main);
        let mut returned = None;
        let give_up = self.now() + PATIENCE;
        self.world.tasks.wake_main();
        loop {
            let step = self.step_with(&mut |context| {
                if let std::task::Poll::Ready(value) = main.as_mut().poll(context) {
                    returned = Some(value);
                }
            });
            if let Some(value) = returned {
                return Ok(value);
            }
            if step == Step::Nothing || self.now() > give_up {
                return Err(self.stuck());
            }
        }
    }

    /// Runs for so much virtual time.
    pub fn run_for(&self, duration: Duration) {
        let end = self.now() + duration;
        loop {
            let due = self.world.clock.next_due();
            if !self.world.tasks.any_ready() && due.is_none_or(|due| due > end) {
                self.world.clock.advance(end);
                return;
            }
            self.step();
        }
    }

    /// Runs one ready task, or else moves the clock to the next timer, but at most to `limit`: for a harness that
    /// has events of its own.
    pub fn step_until(&self, limit: Duration) -> Step {
        if self.world.tasks.any_ready() {
            return self.step();
        }
        let due = self.world.clock.next_due().map_or(limit, |due| due.min(limit));
        self.world.clock.advance(due);
        Step::Waited
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.world.tasks.len()
    }

    fn step_with(&self, poll_main: &mut dyn FnMut(&mut std::task::Context<'_>)) -> Step {
        let world = &self.world;
        if let Some(task) = world.tasks.take_ready(&world.chance) {
            if task == MAIN {
                world.tasks.poll_main(poll_main);
            } else {
                world.tasks.poll(task);
            }
            return Step::Ran;
        }
        match world.clock.next_due() {
            Some(due) => {
                world.clock.advance(due);
                Step::Waited
            }
            None => Step::Nothing,
        }
    }

    fn stuck(&self) -> Stuck {
        Stuck { now: self.now(), tasks: self.tasks(), latest: self.world.trace.latest() }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Tasks hold the world that holds them.
        self.world.tasks.clear();
    }
}

impl fmt::Debug for SimEnv {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SimEnv at {:?}", self.world.clock.now())
    }
}

impl Env for SimEnv {
    type Buffer = SimBuffer;
    type File = SimFile;
    type FolderLock = SimLock;

    fn wall_ms(&self) -> i64 {
        self.world.clock.wall_ms()
    }

    fn monotonic(&self) -> Duration {
        self.world.clock.now()
    }

    fn random(&self) -> u64 {
        self.world.given.next()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        Sleep::new(self.world.clone(), duration)
    }

    fn spin_step(&self) -> impl Future<Output = ()> {
        self.sleep(SPIN_STEP)
    }

    fn spawn(&self, _class: TaskClass, task: impl Future<Output = ()> + 'static) {
        self.world.tasks.spawn(Box::pin(task));
    }

    fn buffer(&self, len: usize) -> SimBuffer {
        assert!(len.is_multiple_of(BLOCK_BYTES), "a buffer of {len} bytes is not whole blocks");
        SimBuffer { bytes: vec![0; len] }
    }

    fn buffer_to_fill(&self, len: usize) -> SimBuffer {
        // Not zero, so that a byte that nobody wrote shows.
        SimBuffer { bytes: vec![0xe7; len] }
    }

    async fn open(&self, path: &Path, how: OpenHow) -> io::Result<SimFile> {
        SimFile::open(self, path, how).await
    }

    async fn map(&self, path: &Path, _soon: Vec<Range<u64>>) -> io::Result<Mapped> {
        let fault = self.operate(OpKind::Map, path, 0, 0).await;
        Fault::refuse(fault)?;
        Ok(Box::new(self.world.disk.borrow().bytes(path)?))
    }

    async fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let fault = self.operate(OpKind::List, folder, 0, 0).await;
        Fault::refuse(fault)?;
        self.world.disk.borrow().list(folder)
    }

    async fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let fault = self.operate(OpKind::CreateFolder, folder, 0, 0).await;
        self.change_entries(fault, |disk| disk.create_folder(folder))
    }

    async fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let fault = self.operate(OpKind::SyncFolder, folder, 0, 0).await;
        Fault::refuse(fault)?;
        self.world.disk.borrow_mut().sync_folder(folder)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let fault = self.operate(OpKind::Rename, from, 0, 0).await;
        self.change_entries(fault, |disk| disk.rename(from, to))
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let fault = self.operate(OpKind::Remove, path, 0, 0).await;
        self.change_entries(fault, |disk| disk.remove(path))
    }

    async fn space(&self, folder: &Path) -> io::Result<DiskSpace> {
        let fault = self.operate(OpKind::Space, folder, 0, 0).await;
        Fault::refuse(fault)?;
        Ok(self.world.disk.borrow().space())
    }

    async fn lock_folder(&self, folder: &Path) -> io::Result<SimLock> {
        let fault = self.operate(OpKind::Lock, folder, 0, 0).await;
        Fault::refuse(fault)?;
        self.world.disk.borrow_mut().touch(&folder.join(LOCK_FILE))?;
        let mut locked = self.world.locked.borrow_mut();
        if locked.iter().any(|held| held == folder) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        locked.push(folder.to_path_buf());
        Ok(SimLock { world: Rc::downgrade(&self.world), folder: folder.to_path_buf() })
    }
}

impl SimEnv {
    /// Enters an operation in the trace, lets its time pass, and says what is to go wrong with it.
    async fn operate(&self, kind: OpKind, path: &Path, position: u64, len: usize) -> Option<Fault> {
        let world = &self.world;
        let index = world.trace.enter(kind, path, position, len, world.clock.now());
        let fault = world.faults.draw(index, kind, path);
        let mut latency = kind.latency(&world.chance);
        if let Some(Fault::Stall(stall)) = fault {
            latency += stall;
        }
        self.sleep(latency).await;
        fault
    }

    /// A failed change of a folder may have happened all the same.
    fn change_entries(
        &self,
        fault: Option<Fault>,
        change: impl FnOnce(&mut Disk) -> io::Result<()>,
    ) -> io::Result<()> {
        let refused = Fault::refuse(fault);
        if refused.is_ok() || self.world.chance.chance(500) {
            let changed = change(&mut self.world.disk.borrow_mut());
            refused.and(changed)
        } else {
            refused
        }
    }
}

/// An exclusive hold on a simulated folder.
#[derive(Debug)]
pub struct SimLock {
    world: Weak<World>,
    folder: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Some(world) = self.world.upgrade() {
            world.locked.borrow_mut().retain(|held| *held != self.folder);
        }
    }
}

/// Ordinary memory.
#[derive(Debug, Clone)]
pub struct SimBuffer {
    bytes: Vec<u8>,
}

impl Deref for SimBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Buffer for SimBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }
}
