//! Start-up and shutdown: one pinned executor per shard, one for the name server, and the thread that
//! waits for signals.
//!
//! ```text
//! main   block signals ─▶ name server accepts ─▶ shards accept ─▶ banner, ready ─▶ sigwait ─▶ stop ─▶ join
//! shard  executor ─▶ ring ─▶ open the store ─▶ broker ─▶ listen ─▶ report ─▶ shard loop ─▶ report
//! ```
//!
//! Beside the real `Env` this is the only place that names the runtime, so that it could be replaced.
//!
//! Invariants
//!  1. `ready` is printed after every port accepts, and before segments are prepared.
//!  2. Every thread that was started is joined, also when another one could not start.
//!  3. A shard that ends badly stops the whole process, which then says so with its exit code.
//!
//! Not here: what the loops do (`shard_loop`, `namesrv_loop`), what the settings mean (`config`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use glommio::io::PollableFd;
use glommio::{ExecutorJoinHandle, GlommioError, LocalExecutorBuilder, Placement};
use ringmq_conn::StableBytes;
use ringmq_conn::ring::{ListenError, Ring, RingError};
use ringmq_engine::Store;
use ringmq_engine::env::glommio::{GlommioEnv, SPIN_STEP, Watchdog};
use ringmq_engine::env::{Env, Signal, TaskClass};
use ringmq_engine::store::OpenReport;
use tracing::info;

use super::memory::keep_freed_memory;
use super::namesrv_loop::NameServerLoop;
use super::shard_loop::{Ended, Shard};
use super::signals::StopSignals;
use super::stop::Stop;
use super::{options, port_owner};
use crate::broker::Broker;
use crate::broker::outcome::Now;
use crate::broker::registration::Registration;
use crate::config::Settings;
use crate::namesrv::NameServer;
use crate::start_error::{Listener, StartError};

/// Memory that an executor registers for its own I/O.
const IO_MEMORY_BYTES: usize = 1 << 20;
/// How long an executor looks at its rings before it parks: long enough for a step of spinning, and nothing that
/// an idle process could feel.
const SPIN_BEFORE_PARK: Duration = SPIN_STEP.saturating_mul(2);
/// Locked memory that one executor and its rings take, for the error that says it is too little.
pub const LOCKED_BYTES_PER_EXECUTOR: u64 = 512 << 10;
/// Tries to listen on a port that no process is seen to use, and the time between two.
const LISTEN_ATTEMPTS: u32 = 20;
const LISTEN_RETRY_DELAY: Duration = Duration::from_millis(50);

/// What a thread says of itself. Crosses threads by value.
#[derive(Debug)]
enum Report {
    /// Its ports accept.
    Started(Started),
    /// It could not start, or ended badly.
    Failed(StartError),
    /// It has no executor; joining it says why.
    NotMade,
}

/// What listens, once it does.
#[derive(Debug, Clone)]
pub enum Started {
    /// The name server.
    Namesrv {
        /// Where it listens.
        address: SocketAddr,
    },
    /// A shard.
    Shard {
        /// Which.
        index: usize,
        /// Where it listens.
        address: SocketAddr,
        /// What recovery found and chose.
        report: OpenReport,
    },
}

/// Starts everything that the settings ask for, calls `ready` once every port accepts, and returns when it
/// has stopped.
pub fn serve(settings: Settings, ready: impl FnOnce(&Settings, &[Started])) -> Result<(), StartError> {
    let signals = StopSignals::block().map_err(|error| runtime_error("block signals", &error))?;
    glommio::early_init();
    let watchdog = Watchdog::start().map_err(|error| runtime_error("start the watchdog", &error))?;
    keep_freed_memory();
    let stop = Stop::default();
    let (reports, inbox) = channel();
    let mut threads = Vec::new();
    let outcome = start_all(&settings, &watchdog, &stop, (&reports, &inbox), &mut threads);
    drop(reports);
    let outcome = outcome.map(|mut started| {
        started.sort_by_key(|one| match one {
            Started::Namesrv { .. } => 0,
            Started::Shard { index, .. } => index + 1,
        });
        ready(&settings, &started);
        let signal = signals.wait();
        info!(signal, "stopping");
    });
    stop.raise();
    let mut not_made = None;
    for thread in threads {
        if let Err(error) = thread.join() {
            not_made.get_or_insert(executor_error(error));
        }
    }
    if let Some(error) = not_made {
        return Err(error);
    }
    outcome?;
    match inbox.try_iter().find_map(|report| match report {
        Report::Failed(error) => Some(error),
        Report::Started(_) | Report::NotMade => None,
    }) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Makes an executor and a ring as a shard does, and lets both go: whether this machine allows it.
pub fn try_executor(settings: &Settings) -> Result<(), StartError> {
    glommio::early_init();
    let settings = settings.clone();
    let thread = LocalExecutorBuilder::new(Placement::Unbound)
        .name("check")
        .io_memory(IO_MEMORY_BYTES)
        .spawn(move || async move { ring::<Box<[u8]>>(&settings).map(drop) })
        .map_err(executor_error)?;
    thread.join().map_err(executor_error)?
}

type Thread = ExecutorJoinHandle<()>;

/// The name server first: a shard would register with whoever else has its port, and wait for answers when it stops.
fn start_all(
    settings: &Settings,
    watchdog: &Arc<Watchdog>,
    stop: &Stop,
    (reports, inbox): (&Sender<Report>, &Receiver<Report>),
    threads: &mut Vec<Thread>,
) -> Result<Vec<Started>, StartError> {
    let mut started = Vec::new();
    if settings.server.roles.namesrv {
        let (settings, stop, reports) = (settings.clone(), stop.clone(), reports.clone());
        let watchdog = watchdog.clone();
        threads.push(start_executor("namesrv", Placement::Unbound, reports, move |reports| {
            run_namesrv(settings, watchdog, stop, reports)
        })?);
        await_started(inbox, threads.len(), &mut started)?;
    }
    start_shards(settings, watchdog, stop, reports, threads)?;
    await_started(inbox, threads.len(), &mut started)?;
    Ok(started)
}

fn start_shards(
    settings: &Settings,
    watchdog: &Arc<Watchdog>,
    stop: &Stop,
    reports: &Sender<Report>,
    threads: &mut Vec<Thread>,
) -> Result<(), StartError> {
    if settings.server.roles.broker {
        let name_servers = resolve(&settings.name_servers())?;
        let advertised = advertised_address(settings)?;
        let cores = allowed_cores();
        for index in 0..settings.shards() {
            let placement = match cores.get(index % cores.len().max(1)) {
                Some(core) => Placement::Fixed(*core),
                None => Placement::Unbound,
            };
            let (settings, stop, reports) = (settings.clone(), stop.clone(), reports.clone());
            let (watchdog, name_servers) = (watchdog.clone(), name_servers.clone());
            threads.push(start_executor(&format!("shard-{index}"), placement, reports, move |reports| {
                run_shard(index, settings, watchdog, advertised, name_servers, stop, reports)
            })?);
        }
    }
    Ok(())
}

/// A thread with an executor that runs one loop; its failure becomes a report.
fn start_executor<F>(
    name: &str,
    placement: Placement,
    reports: Sender<Report>,
    body: impl FnOnce(Sender<Report>) -> F + Send + 'static,
) -> Result<Thread, StartError>
where
    F: Future<Output = Result<(), StartError>> + 'static,
{
    let unmade = Unmade(Some(reports));
    LocalExecutorBuilder::new(placement)
        .name(name)
        .io_memory(IO_MEMORY_BYTES)
        .spin_before_park(SPIN_BEFORE_PARK)
        .spawn(move || async move {
            let reports = unmade.made();
            if let Err(error) = body(reports.clone()).await {
                // Nobody listens only when the process is on its way out already.
                let _ = reports.send(Report::Failed(error));
                StopSignals::send();
            }
        })
        .map_err(executor_error)
}

/// Why there is no executor.
fn executor_error(error: GlommioError<()>) -> StartError {
    StartError::io_uring(&std::io::Error::from(error), LOCKED_BYTES_PER_EXECUTOR)
}

/// Tells, if it is dropped before its executor runs, that there is none: the runtime makes executors on their
/// threads, and keeps what went wrong for the one who joins.
struct Unmade(Option<Sender<Report>>);

impl Unmade {
    fn made(mut self) -> Sender<Report> {
        self.0.take().expect("an executor is made once")
    }
}

impl Drop for Unmade {
    fn drop(&mut self) {
        if let Some(reports) = self.0.take() {
            // Nobody listens only when the process is on its way out already.
            let _ = reports.send(Report::NotMade);
        }
    }
}

/// Waits until so many threads have said that they serve.
fn await_started(
    inbox: &Receiver<Report>,
    threads: usize,
    started: &mut Vec<Started>,
) -> Result<(), StartError> {
    while started.len() < threads {
        match inbox.recv() {
            Ok(Report::Started(one)) => started.push(one),
            Ok(Report::Failed(error)) => return Err(error),
            Ok(Report::NotMade) | Err(_) => {
                return Err(StartError::Runtime {
                    what: "start".to_owned(),
                    error: "a thread ended before it served".to_owned(),
                });
            }
        }
    }
    Ok(())
}

async fn run_namesrv(
    settings: Settings,
    watchdog: Arc<Watchdog>,
    stop: Stop,
    reports: Sender<Report>,
) -> Result<(), StartError> {
    let env = GlommioEnv::start(&watchdog);
    let wake = Rc::new(Signal::new());
    let mut network = ring::<Box<[u8]>>(&settings)?;
    let host = listen_host(&settings)?;
    let address =
        listen(&env, &mut network, SocketAddr::new(host, settings.server.namesrv_port), Listener::Namesrv)
            .await?;
    follow(&env, &network, &wake, &stop)?;
    let rules = NameServer::new(&settings);
    let _ = reports.send(Report::Started(Started::Namesrv { address }));
    NameServerLoop::new(env.clone(), network, rules, stop, wake).run().await;
    env.end().await;
    Ok(())
}

async fn run_shard(
    index: usize,
    settings: Settings,
    watchdog: Arc<Watchdog>,
    advertised: IpAddr,
    name_servers: Vec<SocketAddr>,
    stop: Stop,
    reports: Sender<Report>,
) -> Result<(), StartError> {
    let env = GlommioEnv::start(&watchdog);
    let wake = Rc::new(Signal::new());
    let mut network = ring(&settings)?;
    let host = listen_host(&settings)?;
    let port = settings.shard_port(index);
    let address = listen(&env, &mut network, SocketAddr::new(host, port), Listener::Shard(index)).await?;
    if settings.server.vip && port > 2 {
        listen(&env, &mut network, SocketAddr::new(host, port - 2), Listener::ShardVip(index)).await?;
    }
    follow(&env, &network, &wake, &stop)?;
    let folder = settings.shard_folder(index);
    let options = options::store(&settings);
    let (store, report) = Store::open(env.clone(), &folder, options, wake.clone()).await?;
    let store_host = SocketAddr::new(advertised, address.port());
    let identity = options::identity(&settings, index, store_host, env.random() as u32);
    let now = Now { wall_ms: env.wall_ms(), monotonic: env.monotonic() };
    let registration = Registration::new(&identity, name_servers, now.wall_ms);
    let broker =
        Broker::open(store.clone(), identity, options::broker(&settings, index), now).map_err(|error| {
            StartError::Runtime {
                what: format!("start the broker of shard {index}"),
                error: error.to_string(),
            }
        })?;
    let _ = reports.send(Report::Started(Started::Shard { index, address, report }));
    let shard = Shard::new(env.clone(), network, store.clone(), broker, registration, stop, wake);
    let ended = shard.spinning(settings.server.spin).run().await;
    let heartbeat = env.heartbeat();
    info!(shard = index, "longest write {} us", store.longest_write().as_micros());
    info!(shard = index, "longest wait for space {} us", store.longest_space_wait().as_micros());
    info!(shard = index, "longest heartbeat delay {} us", heartbeat.longest_delay().as_micros());
    env.end().await;
    match ended {
        Ended::Stopped => Ok(()),
        Ended::Poisoned(error) => Err(StartError::ShardStopped { shard: index, error }),
    }
}

/// The ring of this thread.
fn ring<S: StableBytes>(settings: &Settings) -> Result<Ring<S>, StartError> {
    Ring::new(options::ring(settings)).map_err(|error| match error {
        RingError::DisabledBySysctl(level) => {
            StartError::IoUringRefused { error: error.to_string(), disabled: Some(level.into()) }
        }
        RingError::Forbidden => StartError::IoUringRefused { error: error.to_string(), disabled: None },
        RingError::MemlockTooSmall { limit_bytes } => {
            StartError::MemlockTooSmall { limit: limit_bytes, needed: LOCKED_BYTES_PER_EXECUTOR }
        }
        RingError::KernelTooOld { release } => StartError::NotLinux { system: format!("Linux {release}") },
        RingError::Os { action, source } => runtime_error(action, &source),
    })
}

/// Listens. A process that was killed a moment ago may still hold the port, because the kernel takes its
/// rings apart after its end: that is waited for. One that runs is not.
async fn listen<S: StableBytes>(
    env: &GlommioEnv,
    network: &mut Ring<S>,
    address: SocketAddr,
    what: Listener,
) -> Result<SocketAddr, StartError> {
    for attempt in 1.. {
        match network.listen(address) {
            Ok(address) => return Ok(address),
            Err(ListenError::InUse(_)) => {
                let owner = port_owner::find(address);
                if owner.is_some() || attempt == LISTEN_ATTEMPTS {
                    return Err(StartError::PortInUse { what, address, owner });
                }
                env.sleep(LISTEN_RETRY_DELAY).await;
            }
            Err(other) => return Err(StartError::Listen { what, address, error: other.to_string() }),
        }
    }
    unreachable!("the last attempt returns")
}

/// Lets the ring's readiness, and the request to stop, wake the loop.
fn follow<S: StableBytes>(
    env: &GlommioEnv,
    network: &Ring<S>,
    wake: &Rc<Signal>,
    stop: &Stop,
) -> Result<(), StartError> {
    let ready = network.ready_fd();
    stop.add_bell(ready.as_fd()).map_err(|error| runtime_error("share the eventfd", &error))?;
    let ready =
        ready.as_fd().try_clone_to_owned().map_err(|error| runtime_error("share the eventfd", &error))?;
    let ready = PollableFd::new(std::fs::File::from(ready))
        .map_err(|error| runtime_error("watch the eventfd", &std::io::Error::from(error)))?;
    let wake = wake.clone();
    env.spawn(TaskClass::Serve, async move {
        while ready.readable().await.is_ok() {
            let mut counter = [0; 8];
            // An empty counter is a spurious wake-up: looking once more costs a turn and nothing else.
            let _ = std::io::Read::read(&mut ready.get_ref(), &mut counter);
            wake.fire();
        }
    });
    Ok(())
}

fn listen_host(settings: &Settings) -> Result<IpAddr, StartError> {
    settings.server.host.parse().map_err(|_| StartError::Runtime {
        what: format!("listen on {}", settings.server.host),
        error: "not an IP address".to_owned(),
    })
}

/// The address that goes into records and routes; IPv4 is preferred, since old C++ clients read nothing else.
fn advertised_address(settings: &Settings) -> Result<IpAddr, StartError> {
    let host = settings.advertise();
    let found: Vec<IpAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => (host, 0u16)
            .to_socket_addrs()
            .map_err(|error| runtime_error(&format!("resolve the advertised host {host}"), &error))?
            .map(|address| address.ip())
            .collect(),
    };
    Ok(found
        .iter()
        .find(|address| address.is_ipv4())
        .or(found.first())
        .copied()
        .unwrap_or(Ipv4Addr::LOCALHOST.into()))
}

fn resolve(name_servers: &[String]) -> Result<Vec<SocketAddr>, StartError> {
    name_servers
        .iter()
        .map(|text| {
            let found = text
                .to_socket_addrs()
                .map_err(|error| runtime_error(&format!("resolve the name server {text}"), &error))?;
            found.into_iter().next().ok_or_else(|| StartError::Runtime {
                what: format!("resolve the name server {text}"),
                error: "no address".to_owned(),
            })
        })
        .collect()
}

/// The cores that this process may run on.
fn allowed_cores() -> Vec<usize> {
    let mut cores = Vec::new();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    for part in list.trim().split(',').filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(from), Ok(to)) = (from.parse::<usize>(), to.parse::<usize>()) {
            cores.extend(from..=to);
        }
    }
    cores
}

fn runtime_error(what: &str, error: &std::io::Error) -> StartError {
    StartError::Runtime { what: what.to_owned(), error: error.to_string() }
}
