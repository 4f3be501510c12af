//! Where the commands play: which servers, on which cores, in which folder.
//!
//! RingMQ is the server under test; Apache's broker takes its place in any command that is given the folder of its jars.
//!
//! The generator's thread keeps to one core and a server with one shard to another, so that neither takes the other's
//! time. A server with several shards may use all cores, the generator's too.

use super::shape::{Shape, Width};
use super::{CommandError, failed_to};
use crate::disk::{self, DiskSpeed};
use crate::load::generator::{self, Phase, Plan};
use crate::load::pace::Pace;
use crate::load::send::{Messages, Send};
use crate::load::windows::Windows;
use crate::load::{LoadError, Work, topic};
use crate::loopback;
use crate::os;
use crate::process::apache::Flush;
use crate::process::canary::Canaries;
use crate::process::usage::Usage;
use crate::process::{Launch, Server, apache, ringmq};
use crate::report::{Machine, Report, Round, Spent};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the disk's own speed is measured.
const DISK_TIME: Duration = Duration::from_secs(2);
/// How long each yardstick is measured.
const YARDSTICK_TIME: Duration = Duration::from_secs(2);
/// A topic that is not full by then stays as it is.
const FILL_MAX: Duration = Duration::from_secs(600);

/// Which servers, where.
#[derive(Debug, Clone, Args)]
pub struct Stage {
    /// The ringmq program.
    #[arg(long, default_value = "target/release/ringmq")]
    server: PathBuf,
    /// A setting of the server, as key=value; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Data goes into a new folder in this one, and is removed afterwards. Its disk is the one measured.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// Core of a server with one shard; default: the first that may be used.
    #[arg(long)]
    server_core: Option<usize>,
    /// Core of the load generator; default: the last that may be used.
    #[arg(long)]
    generator_core: Option<usize>,
    /// Measure Apache's broker instead, of the jars in this folder.
    #[arg(long, value_name = "FOLDER")]
    apache: Option<PathBuf>,
    /// When Apache's broker answers.
    #[arg(long, value_enum, default_value_t = Flush::Sync)]
    apache_flush: Flush,
}

/// A stage that is set up. Its folder is removed when it is dropped.
pub struct Set {
    stage: Stage,
    cores: Vec<usize>,
    folder: PathBuf,
    /// Topics and folders made so far, for their names.
    made: u32,
}

/// Bytes per second that nobody could pass.
#[derive(Debug, Clone, Copy)]
pub struct Yardsticks {
    /// Direct sequential reads.
    pub disk_bytes_per_second: f64,
    /// One TCP stream over loopback.
    pub stream_bytes_per_second: f64,
}

impl Yardsticks {
    /// What bounds a consumer that is served from the disk.
    pub fn slower(&self) -> f64 {
        self.disk_bytes_per_second.min(self.stream_bytes_per_second)
    }
}

impl Stage {
    /// Makes the folder and keeps the calling thread to its core.
    pub fn set(&self) -> Result<Set, CommandError> {
        os::raise_open_files().map_err(failed_to("raise the limit of open files"))?;
        let cores = os::allowed_cores().map_err(failed_to("find the cores that may be used"))?;
        let folder = self.folder.join(format!("ringmq-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(failed_to("make the data folder"))?;
        let folder = folder.canonicalize().map_err(failed_to("find the data folder"))?;
        Ok(Set { stage: self.clone(), cores, folder, made: 0 })
    }

    /// The same stage, its servers with one more setting.
    pub fn with(&self, setting: String) -> Stage {
        let mut stage = self.clone();
        stage.settings.push(setting);
        stage
    }

    /// The ringmq program.
    pub fn server(&self) -> &Path {
        &self.server
    }
}

impl Set {
    /// An empty report of this command.
    pub fn report(&self, command: &str) -> Report {
        Report::new(command.to_owned(), Machine::here(&self.folder))
    }

    /// What the disk does by itself.
    pub fn measure_disk(&self) -> Result<DiskSpeed, CommandError> {
        eprintln!("measuring the disk …");
        disk::measure(&self.folder, DISK_TIME).map_err(failed_to("measure the disk"))
    }

    /// Starts the server under test in a fresh folder. Apache's broker is always one.
    pub fn start(&mut self, shards: u16) -> Result<Server, CommandError> {
        if self.stage.apache.is_some() { self.start_apache() } else { self.start_ringmq(shards) }
    }

    /// The path of a folder that is not there yet.
    pub fn new_folder(&mut self, name: &str) -> PathBuf {
        self.fresh(name)
    }

    /// Starts RingMQ in a fresh folder.
    pub fn start_ringmq(&mut self, shards: u16) -> Result<Server, CommandError> {
        let folder = self.fresh("ringmq");
        self.start_ringmq_in(&folder, shards)
    }

    /// Starts RingMQ in that folder, whatever is in it.
    pub fn start_ringmq_in(&mut self, folder: &Path, shards: u16) -> Result<Server, CommandError> {
        let folder = folder.to_owned();
        let cores = if shards == 1 { vec![self.server_core()] } else { self.cores.clone() };
        let launch = ringmq::launch(&self.stage.server, folder, shards, cores, &self.stage.settings);
        self.launch(launch.map_err(failed_to("find free ports"))?)
    }

    /// Starts Apache's broker in a fresh folder.
    pub fn start_apache(&mut self) -> Result<Server, CommandError> {
        let without = || CommandError::Usage("--apache FOLDER must name the folder of its jars".into());
        let jars = self.stage.apache.clone().ok_or_else(without)?;
        let folder = self.fresh("apache");
        let launch = apache::launch(&jars, folder, self.stage.apache_flush, vec![self.server_core()]);
        self.launch(launch.map_err(failed_to("prepare Apache's broker"))?)
    }

    /// Sends to a fresh topic, and checks that the offsets were dense.
    pub fn send(&mut self, server: &Server, shape: &Shape, width: Width) -> Result<Round, CommandError> {
        let messages = shape.messages(self.topic());
        topic::create(&server.brokers, &messages.topic, messages.queues)?;
        let mut ends = vec![vec![0; messages.all_queues()]; server.brokers.len()];
        let load = format!("send {}", shape.name(width));
        self.send_on(server, &load, &shape.plan(width, server.brokers.clone()), &messages, &mut ends)
    }

    /// Sends to topics that are there and end at `ends[target][queue]`, checks that the offsets were dense, and moves the
    /// ends.
    pub fn send_on(
        &self,
        server: &Server,
        load: &str,
        plan: &Plan,
        messages: &Messages,
        ends: &mut Vec<Vec<u64>>,
    ) -> Result<Round, CommandError> {
        let mut work = Send::new(messages, ends, plan.lanes());
        let round = self.measure(server, load, plan, &mut work)?;
        *ends = work.finish().map_err(LoadError::Wrong)?;
        Ok(round)
    }

    /// What the disk and loopback do by themselves with what this server has written: both on the cores that serve it.
    pub fn measure_yardsticks(&self, server: &Server) -> Result<Yardsticks, CommandError> {
        let sealed = disk::sealed_segments(&server.folder().join("shard-0"));
        let sealed = sealed.map_err(failed_to("find the segments"))?;
        let read = disk::sequential_read(&sealed).map_err(failed_to("read the segments"))?;
        let sender = self.server_core();
        let stream = loopback::one_stream(sender, YARDSTICK_TIME).map_err(failed_to("measure loopback"))?;
        Ok(Yardsticks { disk_bytes_per_second: read, stream_bytes_per_second: stream })
    }

    /// One round of any work.
    pub fn measure(
        &self,
        server: &Server,
        load: &str,
        plan: &Plan,
        work: &mut impl Work,
    ) -> Result<Round, CommandError> {
        self.measure_windows(server, load, plan, work).map(|(round, _)| round)
    }

    /// One round of any work, and its latencies by windows if the plan asks for them.
    pub fn measure_windows(
        &self,
        server: &Server,
        load: &str,
        plan: &Plan,
        work: &mut impl Work,
    ) -> Result<(Round, Option<Windows>), CommandError> {
        eprintln!("{}: {load} …", server.name);
        let look = || (Usage::of_ourselves().unwrap_or_default(), server.usage().unwrap_or_default());
        let mut before = look();
        let mut after = before;
        let canaries = Canaries::on(&server.cores);
        let mut measured = generator::run(plan, work, &mut |phase| match phase {
            Phase::Measure => before = look(),
            Phase::Drain => after = look(),
        })?;
        let windows = measured.windows.take();
        let ours = Spent::between(before.0, after.0).cpu;
        let theirs = Some(Spent::between(before.1, after.1));
        let mut round = Round::new(&server.name, load, measured, ours, theirs);
        round.longest_core_delay_us = canaries.longest_delay().as_nanos() as f64 / 1e3;
        Ok((round, windows))
    }

    /// A topic name not used before.
    pub fn topic(&mut self) -> String {
        self.made += 1;
        format!("bench-{}", self.made)
    }

    fn launch(&self, launch: Launch) -> Result<Server, CommandError> {
        eprintln!("starting {} …", launch.name);
        let server = Server::start(launch)?;
        let core = self.stage.generator_core.or(self.cores.last().copied()).unwrap_or_default();
        os::keep_to_cores(&[core]).map_err(failed_to("keep the generator to its core"))?;
        Ok(server)
    }

    fn server_core(&self) -> usize {
        self.stage.server_core.or(self.cores.first().copied()).unwrap_or_default()
    }

    fn fresh(&mut self, name: &str) -> PathBuf {
        self.made += 1;
        self.folder.join(format!("{name}-{}", self.made))
    }
}

/// Fills a fresh topic with `count` messages, as fast as the server takes them, and returns the ends of its queues.
pub fn fill(server: &Server, messages: &Messages, count: u64) -> Result<Vec<Vec<u64>>, CommandError> {
    eprintln!("filling {} with {count} messages …", messages.topic);
    topic::create(&server.brokers, &messages.topic, messages.queues)?;
    let messages = Messages { requests: Some(count / messages.batch.max(1) as u64), ..messages.clone() };
    let plan = Plan {
        targets: server.brokers.clone(),
        connections: 16.max(server.brokers.len()),
        in_flight: 8,
        pace: Pace::Closed,
        warm_up: Duration::ZERO,
        measure: FILL_MAX,
        patience: Duration::from_secs(10),
        windows: None,
    };
    let ends = vec![vec![0; usize::from(messages.queues)]; server.brokers.len()];
    let mut send = Send::new(&messages, &ends, plan.lanes());
    generator::run(&plan, &mut send, &mut |_| {})?;
    send.finish().map_err(|wrong| LoadError::Wrong(wrong).into())
}

impl Drop for Set {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
