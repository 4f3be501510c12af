//! Where the commands play: which servers, on which cores, in which folder.
//!
//! RingMQ is the server under test; Apache's broker takes its place in any command that is given the folder of its jars.
//!
//! The generator's thread keeps to one core and a server with one shard to another, so that neither takes the other's
//! time. A server with several shards may use all cores, the generator's too.

use super::shape::{Shape, Width};
use super::{CommandError, failed_to};
use crate::disk::{self, DiskSpeed};
use crate::load::ceiling::{self, Ceiling};
use crate::load::fleet::{self, Member};
use crate::load::generator::{self, Phase, Plan};
use crate::load::ledger::Measured;
use crate::load::pace::Pace;
use crate::load::send::{Messages, Send};
use crate::load::warm_up::WarmUp;
use crate::load::windows::Windows;
use crate::load::{LoadError, Work, topic};
use crate::loopback;
use crate::os;
use crate::process::apache::Configuration;
use crate::process::canary::Canaries;
use crate::process::usage::Usage;
use crate::process::{Launch, Server, apache, ringmq};
use crate::report::live::Live;
use crate::report::{Machine, Report, Round, Spent};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the disk's own speed is measured.
const DISK_TIME: Duration = Duration::from_secs(2);
/// How long the generator's ceiling is measured.
const CEILING_TIME: Duration = Duration::from_secs(1);
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
    /// Generators of a load of sends, each a thread on a core of its own, from the last one downwards.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    generators: u16,
    /// Measure Apache's broker instead, of the jars in this folder.
    #[arg(long, value_name = "FOLDER")]
    apache: Option<PathBuf>,
    /// How Apache's broker is configured.
    #[arg(long, value_enum, default_value_t = Configuration::SyncTuned)]
    apache_configuration: Configuration,
}

/// Who is told how a run goes.
type Tell<'a> = &'a mut dyn FnMut(Phase);

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

    /// What the generator can do at most, on its core; the responder is on the server's.
    pub fn measure_ceiling(&self) -> Result<Ceiling, CommandError> {
        eprintln!("measuring the generator …");
        self.keep_to_generator_core()?;
        Ok(ceiling::measure(self.server_core(), CEILING_TIME)?)
    }

    /// Puts what the disk and the generator do by themselves beside the results.
    pub fn measure_machine(&self, report: &mut Report) -> Result<(), CommandError> {
        report.disk = Some(self.measure_disk()?);
        report.ceiling = Some(self.measure_ceiling()?);
        Ok(())
    }

    /// Starts the server under test in a fresh folder. Apache's broker is always one.
    pub fn start(&mut self, shards: u16) -> Result<Server, CommandError> {
        match &self.stage.apache {
            Some(jars) => self.start_apache(&jars.clone(), self.stage.apache_configuration),
            None => self.start_ringmq(shards),
        }
    }

    /// The program under test.
    pub fn program(&self) -> &Path {
        &self.stage.server
    }

    /// The folder of Apache's jars, if it was named.
    pub fn jars(&self) -> Option<&Path> {
        self.stage.apache.as_deref()
    }

    /// Waits until what others have written is on the disk, so that the next server does not pay for it.
    pub fn write_back(&self) -> Result<(), CommandError> {
        os::write_back(&self.folder).map_err(failed_to("wait for the disk"))
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
        let program = self.stage.server.clone();
        self.start_program(&program, &[], folder.to_owned(), shards)
    }

    /// Starts that RingMQ in a fresh folder, with further settings.
    pub fn start_other(&mut self, program: &Path, settings: &[String]) -> Result<Server, CommandError> {
        let folder = self.fresh("ringmq");
        self.start_program(program, settings, folder, 1)
    }

    fn start_program(
        &self,
        program: &Path,
        settings: &[String],
        folder: PathBuf,
        shards: u16,
    ) -> Result<Server, CommandError> {
        let cores = if shards == 1 { vec![self.server_core()] } else { self.cores.clone() };
        let settings = [&self.stage.settings, settings].concat();
        let launch = ringmq::launch(program, folder, shards, cores, &settings);
        self.launch(launch.map_err(failed_to("find free ports"))?)
    }

    /// Starts Apache's broker, of the jars in that folder, in a fresh folder.
    pub fn start_apache(
        &mut self,
        jars: &Path,
        configuration: Configuration,
    ) -> Result<Server, CommandError> {
        let folder = self.fresh("apache");
        let launch = apache::launch(jars, folder, configuration, vec![self.server_core()]);
        self.launch(launch.map_err(failed_to("prepare Apache's broker"))?)
    }

    /// Sends to a fresh topic, and checks that the offsets were dense.
    pub fn send(&mut self, server: &Server, shape: &Shape, width: Width) -> Result<Round, CommandError> {
        if self.stage.generators > 1 {
            return self.send_by_fleet(server, shape, width);
        }
        let messages = shape.messages(self.topic());
        topic::create(&server.brokers, &messages.topic, messages.queues)?;
        let mut ends = vec![vec![0; messages.all_queues()]; server.brokers.len()];
        let load = format!("send {}", shape.name(width));
        self.send_on(server, &load, &shape.plan(width, server.brokers.clone()), &messages, &mut ends)
    }

    /// The same by several generators, each to a topic of its own.
    fn send_by_fleet(&mut self, server: &Server, shape: &Shape, width: Width) -> Result<Round, CommandError> {
        let count = usize::from(self.stage.generators);
        let share = Width { connections: (width.connections / count).max(1), ..width };
        let rate = shape.rate.map(|rate| rate / count as f64);
        let part = Shape { rate, warm_up_most: shape.warm_up, ..shape.clone() };
        let last = self.stage.generator_core.or(self.cores.last().copied()).unwrap_or_default();
        let mut fleet = Vec::new();
        for index in 0..count {
            let messages = part.messages(self.topic());
            topic::create(&server.brokers, &messages.topic, messages.queues)?;
            let plan = part.plan(share, server.brokers.clone());
            let ends = vec![vec![0; messages.all_queues()]; server.brokers.len()];
            let work = Send::new(&messages, &ends, plan.lanes());
            fleet.push(Member { plan, work, core: last.saturating_sub(index) });
        }
        let load = format!("send {} by {count} generators", shape.name(width));
        let round = self.observe(server, &load, &mut |tell| fleet::run(&mut fleet, tell))?;
        for member in &fleet {
            member.work.finish().map_err(LoadError::Wrong)?;
        }
        Ok(round)
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
        let mut windows = None;
        let round = self.observe(server, load, &mut |tell| {
            let mut measured = generator::run(plan, work, tell)?;
            windows = measured.windows.take();
            Ok(measured)
        })?;
        Ok((round, windows))
    }

    /// One round of whatever `run` does, which tells when it begins and ends to measure.
    pub fn observe(
        &self,
        server: &Server,
        load: &str,
        run: &mut dyn FnMut(Tell<'_>) -> Result<Measured, LoadError>,
    ) -> Result<Round, CommandError> {
        let mut live = Live::begin(format!("{}: {load}", server.name));
        let look = || (Usage::of_ourselves().unwrap_or_default(), server.usage().unwrap_or_default());
        let mut before = look();
        let mut after = before;
        let canaries = Canaries::on(&server.cores);
        let measured = run(&mut |phase| match phase {
            Phase::Measure => before = look(),
            Phase::Drain => after = look(),
            Phase::Going { messages } => live.note(messages),
        })?;
        for (code, count) in &measured.refused {
            eprintln!("{count} requests were refused with code {code}; `ringmq explain {code}` says why");
        }
        let ours = Spent::between(before.0, after.0).cpu;
        let theirs = Some(Spent::between(before.1, after.1));
        let mut round = Round::new(&server.name, load, measured, ours, theirs);
        round.longest_core_delay_us = canaries.longest_delay().as_nanos() as f64 / 1e3;
        Ok(round)
    }

    /// A topic name not used before.
    pub fn topic(&mut self) -> String {
        self.made += 1;
        format!("bench-{}", self.made)
    }

    fn launch(&self, launch: Launch) -> Result<Server, CommandError> {
        eprintln!("starting {} …", launch.name);
        let server = Server::start(launch)?;
        self.keep_to_generator_core()?;
        Ok(server)
    }

    /// Keeps the calling thread to the generator's core.
    pub fn keep_to_generator_core(&self) -> Result<(), CommandError> {
        let core = self.stage.generator_core.or(self.cores.last().copied()).unwrap_or_default();
        os::keep_to_cores(&[core]).map_err(failed_to("keep the generator to its core"))
    }

    /// The core of a server with one shard.
    pub fn server_core(&self) -> usize {
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
        warm_up: WarmUp::NONE,
        measure: FILL_MAX,
        patience: Duration::from_secs(10),
        windows: None,
        stop: None,
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
