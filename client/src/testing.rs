//! A real broker for tests: RingMQ's own binary as a child process, on free ports of loopback, with a folder that goes
//! when the value goes.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ringmq_client::{Client, Message, testing::Broker};
//!
//! let broker = Broker::start()?;
//! let client = Client::connect(broker.url()).await?;
//! client.producer().build()?.send(Message::new("orders", "four boxes")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants
//!  1. The process ends with the value, and only processes started here are ended.
//!  2. It listens on 127.0.0.1 only.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// A broker is ready within this time, or never.
const PATIENCE: Duration = Duration::from_secs(30);
/// Somebody else may take a port between looking and listening.
const TRIES: u32 = 5;
/// Lines shown when it does not start.
const LINES_SHOWN: usize = 20;

/// A running broker with its name server. Killed, and its folder removed, when dropped.
#[derive(Debug)]
pub struct Broker {
    binary: PathBuf,
    settings: Vec<String>,
    folder: PathBuf,
    port: u16,
    name_server_port: u16,
    child: Option<Child>,
}

impl Broker {
    /// Starts a broker with one shard, and waits until it is ready. Blocks the thread meanwhile, a few tens of milliseconds.
    ///
    /// The binary is the one that the environment variable `RINGMQ_BINARY` names, or else the `ringmq` of the build
    /// that this program belongs to, or else that of `PATH`.
    pub fn start() -> io::Result<Broker> {
        Broker::start_with(binary()?, &[])
    }

    /// Starts this binary, with further settings such as `topics.auto_create=false`.
    pub fn start_with(binary: impl Into<PathBuf>, settings: &[&str]) -> io::Result<Broker> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = folder()?.join(format!("ringmq-{}-{number}", std::process::id()));
        let mut broker = Broker {
            binary: binary.into(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            folder,
            port: 0,
            name_server_port: 0,
            child: None,
        };
        let mut last = io::Error::other("not tried");
        for _ in 0..TRIES {
            // Both are held until both are known, so that they differ.
            let (one, other) = (any_port()?, any_port()?);
            (broker.port, broker.name_server_port) = (one.local_addr()?.port(), other.local_addr()?.port());
            drop((one, other));
            match broker.run() {
                Ok(()) => return Ok(broker),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// What [`crate::Client::connect`] takes.
    pub fn url(&self) -> String {
        format!("rocketmq://127.0.0.1:{}", self.name_server_port)
    }

    /// Its process, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills it at once, as a power cut of the process would. Its folder stays.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Kills it if it runs, and starts it again on its folder and its ports. Blocks the thread until it is ready.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        self.run()
    }

    fn run(&mut self) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--data").arg(&self.folder);
        command.args(["--port", &self.port.to_string()]);
        command.args(["--namesrv-port", &self.name_server_port.to_string()]);
        command.args(["--shards", "1", "--set", "server.vip=false", "--set", "log.segment_bytes=16MiB"]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.binary.display())))?;
        let outputs = (child.stdout.take(), child.stderr.take());
        self.child = Some(child);
        let ready = await_ready(outputs.0, outputs.1);
        if ready.is_err() {
            self.kill()?;
        }
        ready
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits for the line that begins with `ready`. What comes later is read and dropped, so that the pipe never fills.
fn await_ready(
    out: Option<impl Read + Send + 'static>,
    err: Option<impl Read + Send + 'static>,
) -> io::Result<()> {
    let (sender, lines) = mpsc::channel();
    let follow = |output: Box<dyn Read + Send>| {
        let sender = sender.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
    };
    if let Some(out) = out {
        follow(Box::new(out));
    }
    if let Some(err) = err {
        follow(Box::new(err));
    }
    drop(sender);
    let deadline = Instant::now() + PATIENCE;
    let mut seen: Vec<String> = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.trim_start().starts_with("ready") => return Ok(()),
            Ok(line) => seen.push(line),
            Err(how) => {
                let what = match how {
                    RecvTimeoutError::Disconnected => "ended before it was ready".to_owned(),
                    RecvTimeoutError::Timeout => format!("was not ready within {PATIENCE:?}"),
                };
                let tail = seen[seen.len().saturating_sub(LINES_SHOWN)..].join("\n");
                return Err(io::Error::other(format!("the broker {what}; it said:\n{tail}")));
            }
        }
    }
}

fn any_port() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// The folder of the build that this program belongs to: `target/<profile>`.
fn build_folder() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let is_inner = |folder: &&Path| folder.ends_with("deps") || folder.ends_with("examples");
    this.ancestors().skip(1).find(|folder| !is_inner(folder)).map(Path::to_path_buf)
}

fn binary() -> io::Result<PathBuf> {
    if let Some(binary) = std::env::var_os("RINGMQ_BINARY") {
        return Ok(binary.into());
    }
    let beside = build_folder().map(|folder| folder.join("ringmq"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("ringmq"));
    beside.into_iter().chain(in_path).find(|file| file.is_file()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "no ringmq binary: set RINGMQ_BINARY, or put it into PATH")
    })
}

/// Where folders of brokers are made: beside the build, because a folder for temporary files may be memory, which direct
/// I/O cannot write.
fn folder() -> io::Result<PathBuf> {
    let target = build_folder().and_then(|folder| folder.parent().map(Path::to_path_buf));
    let target = target.filter(|folder| folder.ends_with("target"));
    let folder = target.map_or_else(std::env::temp_dir, |target| target.join("test-folders"));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
