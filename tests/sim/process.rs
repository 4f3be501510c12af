//! One life of the simulated broker: the same store, broker and shard loop that serve, on a simulated disk and
//! network.
//!
//! Here stands in for `ringmq-server`'s `shard/runtime.rs`, step by step, but for threads and the ring.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_conn::limits::Bounds;
use ringmq_conn::sim::{SimNet, SimNetwork};
use ringmq_engine::Store;
use ringmq_engine::env::sim::{Disk, FaultMix, Sim, SimEnv};
use ringmq_engine::env::{Env, Signal, TaskClass};
use ringmq_engine::offset::QueueOffset;
use ringmq_engine::store::{Piece, ReadBudget, StoreOptions};
use ringmq_server::broker::outcome::Now;
use ringmq_server::broker::registration::Registration;
use ringmq_server::broker::waiting::rule::{DelayLevels, Waits};
use ringmq_server::broker::{Broker, Identity, Settings};
use ringmq_server::shard::record_slice::RecordSlice;
use ringmq_server::shard::shard_loop::{Ended, Shard};
use ringmq_server::shard::stop::Stop;
use ringmq_wire::name::{dead_letter_topic, retry_topic};
use ringmq_wire::record::{Records, properties};

use super::consumer::GROUP;
use super::producer::{QUEUES, TOPIC, number_of};

/// As by default (`server.spin`).
const SPIN: Duration = Duration::from_micros(200);

/// Where every simulated broker listens.
pub fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10911))
}

/// How a life ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was asked to stop, and has.
    Stopped,
    /// The log failed.
    Poisoned,
    /// It could not begin.
    NotStarted(String),
}

/// What the store holds.
#[derive(Debug, Default)]
pub struct Audit {
    /// Per queue of the topic, its first offset and the numbers of its messages.
    pub queues: Vec<(i64, Vec<u64>)>,
    /// Numbers of the messages that came again to the group, or were given up.
    pub given_back: Vec<u64>,
}

/// One life.
pub struct Process {
    pub sim: Sim,
    /// Global time at which it began.
    pub began: Duration,
    store: Rc<RefCell<Option<Store<SimEnv>>>>,
    end: Rc<RefCell<Option<End>>>,
    audit: Rc<RefCell<Option<Result<Audit, String>>>>,
    stop: Stop,
    wake: Rc<Signal>,
}

impl Process {
    /// Begins a life on a disk.
    pub fn begin(
        (disk, seed): (Disk, u64),
        began: Duration,
        net: &SimNet,
        options: StoreOptions,
        faults: FaultMix,
    ) -> Process {
        let sim = Sim::on(disk, seed);
        sim.jump_wall_clock(i64::try_from(began.as_millis()).expect("a simulation is short"));
        sim.faults().set_mix(faults);
        let process = Process {
            sim,
            began,
            store: Rc::default(),
            end: Rc::default(),
            audit: Rc::default(),
            stop: Stop::default(),
            wake: Rc::new(Signal::new()),
        };
        let (env, wake, stop) = (process.sim.env(), process.wake.clone(), process.stop.clone());
        let (net, store, end) = (net.clone(), process.store.clone(), process.end.clone());
        process.sim.env().spawn(TaskClass::Serve, async move {
            let ended = serve(env, net, options, stop, wake, &store).await;
            store.replace(None);
            end.replace(Some(ended));
        });
        process
    }

    /// Global time.
    pub fn now(&self) -> Duration {
        self.began + self.sim.now()
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<End> {
        self.end.borrow().clone()
    }

    /// Whether its store is open.
    pub fn is_open(&self) -> bool {
        self.store.borrow().is_some()
    }

    /// Physical offset up to which the log is durable.
    pub fn durable_end(&self) -> Option<u64> {
        self.store.borrow().as_ref().map(|store| store.durable().0)
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&self) {
        self.stop.raise();
        self.wake.fire();
    }

    /// Begins to read everything that consumers may see.
    pub fn begin_audit(&self) {
        let store = self.store.borrow().clone().expect("audits are of open stores");
        let audit = self.audit.clone();
        self.sim.env().spawn(TaskClass::Read, async move {
            audit.replace(Some(read_all(&store).await));
        });
    }

    /// What the audit found, once.
    pub fn take_audit(&self) -> Option<Result<Audit, String>> {
        self.audit.borrow_mut().take()
    }
}

async fn serve(
    env: SimEnv,
    net: SimNet,
    options: StoreOptions,
    stop: Stop,
    wake: Rc<Signal>,
    open: &RefCell<Option<Store<SimEnv>>>,
) -> End {
    let ready = wake.clone();
    let on_ready = Rc::new(move || ready.fire());
    let mut network: SimNetwork<RecordSlice<SimEnv>> = net.network(Bounds::default(), on_ready);
    let not_started = |what: &str, error: String| End::NotStarted(format!("{what}: {error}"));
    if let Err(error) = network.listen(address()) {
        return not_started("listen", error.to_string());
    }
    let opened = Store::open(env.clone(), Path::new("/data/shard-0"), options, wake.clone()).await;
    let (store, _) = match opened {
        Ok(opened) => opened,
        Err(error) => return not_started("open the store", error.to_string()),
    };
    let identity = Identity {
        cluster: "simulation".to_owned(),
        broker_name: "simulation-0".to_owned(),
        store_host: address(),
        region: "DefaultRegion".to_owned(),
        version: "simulated".to_owned(),
        nonce: env.random() as u32,
    };
    let levels = DelayLevels::parse("1s 2s 5s").expect("they are well-formed");
    let waits = Waits { levels, ..Waits::default() };
    let settings = Settings { default_topic_queues: QUEUES as u32, waits, ..Settings::default() };
    let now = Now { wall_ms: env.wall_ms(), monotonic: env.monotonic() };
    let registration = Registration::new(&identity, Vec::new(), now.wall_ms);
    let broker = match Broker::open(store.clone(), identity, settings, now) {
        Ok(broker) => broker,
        Err(error) => return not_started("open the broker", error.to_string()),
    };
    open.replace(Some(store.clone()));
    let shard = Shard::new(env, network, store, broker, registration, stop, wake);
    match shard.spinning(SPIN).run().await {
        Ended::Stopped => End::Stopped,
        Ended::Poisoned(_) => End::Poisoned,
    }
}

async fn read_all(store: &Store<SimEnv>) -> Result<Audit, String> {
    let mut audit = Audit::default();
    for queue_id in 0..QUEUES {
        audit.queues.push(read_queue(store, TOPIC, queue_id).await?);
    }
    for topic in [retry_topic(GROUP), dead_letter_topic(GROUP)] {
        audit.given_back.extend(read_queue(store, &topic, 0).await?.1);
    }
    Ok(audit)
}

async fn read_queue(store: &Store<SimEnv>, topic: &str, queue_id: i32) -> Result<(i64, Vec<u64>), String> {
    let Some(queue) = store.find_queue(topic, queue_id) else { return Ok((0, Vec::new())) };
    let (first, end) = store.bounds(queue);
    let budget = ReadBudget { records_max: 100, bytes_max: 1 << 20, entries_max: 100 };
    let mut numbers = Vec::new();
    let mut next = first;
    while next < end {
        let mut reading = store.read(queue, next, budget, |_| true);
        store.fetch(&mut reading.pieces).await.map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        for piece in &reading.pieces {
            let Piece::Hot(slice) = piece else { return Err("a fetched piece is still cold".into()) };
            bytes.extend_from_slice(slice.bytes());
        }
        for record in Records::new(&bytes) {
            let record = record.map_err(|error| format!("a stored record: {error}"))?;
            let number = number_of(record.body).ok_or("a stored body is not whole")?;
            if QueueOffset(record.queue_offset as u64) != next {
                return Err(format!("offset {} stands where {next:?} should", record.queue_offset));
            }
            if let Some(out) = properties::get(record.properties, properties::TIMER_OUT_MS)
                && out.parse::<i64>().is_ok_and(|out| record.store_timestamp_ms <= out)
            {
                return Err(format!("message {number} was delivered before its time"));
            }
            numbers.push(number);
            next = QueueOffset(next.0 + 1);
        }
    }
    Ok((first.0 as i64, numbers))
}
