//! A server under test: started in a fresh folder, on its own cores, and watched through `/proc`.
//!
//! ```text
//! start ── exec ──► "ready" line ──► connects ──► in use ⇄ paused ──► SIGTERM ──► last words
//!              ready_after
//! ```
//!
//! Invariants
//!  1. A server that was started is stopped, also when the run fails.
//!  2. Only processes that were started here are signalled.
//!
//! Not here: what is asked of it (`load`).

pub mod apache;
pub mod canary;
pub mod jars;
pub mod last_words;
pub mod ports;
pub mod ringmq;
pub mod usage;

use crate::os;
use last_words::{LastWords, Lines};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;
use usage::Usage;

/// A server may take so long until it says that it is ready.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// A server may take so long to stop after SIGTERM; then it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How to start a server.
#[derive(Debug)]
pub struct Launch {
    /// Which server it is, in reports.
    pub name: String,
    /// The whole command line.
    pub command: Command,
    /// Its data folder; removed when it has stopped.
    pub folder: PathBuf,
    /// Where its brokers will listen.
    pub brokers: Vec<SocketAddr>,
    /// Where its name server will listen, if it has one.
    pub name_server: Option<SocketAddr>,
    /// A line of its output that contains this means that it is ready.
    pub ready: &'static str,
    /// The cores it may use.
    pub cores: Vec<usize>,
}

/// Why a server is not there.
#[derive(Debug, Error)]
pub enum StartError {
    /// It could not be executed.
    #[error("cannot start {name}: {source}")]
    Exec {
        /// Which server.
        name: String,
        /// What came of it.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{name} ended before it was ready ({status}); its last lines:\n{lines}")]
    Ended {
        /// Which server.
        name: String,
        /// How it ended.
        status: String,
        /// What it said.
        lines: String,
    },
    /// It was not ready in time.
    #[error("{name} was not ready within {READY_PATIENCE:?}; its last lines:\n{lines}")]
    Late {
        /// Which server.
        name: String,
        /// What it said.
        lines: String,
    },
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Which server it is, in reports.
    pub name: String,
    /// Where its brokers listen.
    pub brokers: Vec<SocketAddr>,
    /// Where its name server listens, if it has one.
    pub name_server: Option<SocketAddr>,
    /// When it was executed.
    pub started: Instant,
    /// From there to its "ready" line.
    pub ready_after: Duration,
    /// The cores it may use.
    pub cores: Vec<usize>,
    child: Child,
    folder: PathBuf,
    lines: Lines,
}

impl Server {
    /// Starts a server, and waits until it is ready and accepts connections.
    pub fn start(mut launch: Launch) -> Result<Server, StartError> {
        let failed = |source| StartError::Exec { name: launch.name.clone(), source };
        fs::create_dir_all(&launch.folder).map_err(failed)?;
        launch.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A child inherits the cores of the thread that starts it.
        let ours = os::allowed_cores().map_err(failed)?;
        os::keep_to_cores(&launch.cores).map_err(failed)?;
        let started = Instant::now();
        let spawned = launch.command.spawn();
        os::keep_to_cores(&ours).map_err(failed)?;
        let mut child = spawned.map_err(failed)?;
        let lines = Lines::follow(child.stdout.take(), child.stderr.take(), launch.ready);
        let mut server = Server {
            name: launch.name,
            brokers: launch.brokers,
            name_server: launch.name_server,
            started,
            ready_after: Duration::ZERO,
            cores: launch.cores,
            child,
            folder: launch.folder,
            lines,
        };
        server.ready_after = server.wait_until_ready(started)?;
        Ok(server)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it has used so far.
    pub fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.pid())
    }

    /// Stops it from running, without ending it, so that another server can be measured undisturbed.
    pub fn pause(&self) -> io::Result<()> {
        os::signal(self.pid(), libc::SIGSTOP)
    }

    /// Lets a paused server run again.
    pub fn resume(&self) -> io::Result<()> {
        os::signal(self.pid(), libc::SIGCONT)
    }

    /// Bytes that it had to read from a disk so far.
    pub fn read_bytes(&self) -> io::Result<u64> {
        usage::read_bytes(self.pid())
    }

    /// Kills it with SIGKILL; its folder stays.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Ends it with SIGTERM, removes its folder, and returns what it said about itself at the end.
    pub fn stop(mut self) -> LastWords {
        self.end();
        self.lines.last_words()
    }

    fn wait_until_ready(&mut self, started: Instant) -> Result<Duration, StartError> {
        let name = self.name.clone();
        let Some(ready_at) = self.lines.wait_until_ready(READY_PATIENCE) else {
            let lines = self.lines.tail();
            return Err(match self.child.try_wait() {
                Ok(Some(status)) => StartError::Ended { name, status: status.to_string(), lines },
                _ => StartError::Late { name, lines },
            });
        };
        while !self.brokers.iter().all(|broker| TcpStream::connect(broker).is_ok()) {
            if started.elapsed() > READY_PATIENCE {
                return Err(StartError::Late { name, lines: self.lines.tail() });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(ready_at.saturating_duration_since(started))
    }

    fn end(&mut self) {
        let _ = self.resume();
        let _ = os::signal(self.pid(), libc::SIGTERM);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > STOP_PATIENCE {
                eprintln!("{} did not stop within {STOP_PATIENCE:?} and is killed", self.name);
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that was waited for is not signalled again: its id may be another's by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}
