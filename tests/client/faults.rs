//! The fault run: a broker that is killed and started again under load, and a name server that is replaced by an empty one,
//! while producers and a consumer go on and know nothing of it.
//!
//! What must hold: every message whose send was `Ok` is delivered at least once; and the client holds no more memory at the
//! end than its bounds allow.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringmq_client::admin::NewTopic;
use ringmq_client::{Client, Filter, Message, Start};

use crate::compat::ringmq::{Node, NodeSettings};
use crate::compat::site::Folder;

const TOPIC: &str = "RustFaults";
const PRODUCERS: u64 = 8;
/// Sends between two faults.
const SENDS_PER_FAULT: u64 = 300;
/// Every so many kills of the broker the name server is replaced, too.
const KILLS_PER_NAME_SERVER: u32 = 3;
/// For a broker to come back, clients to notice, and members to find each other.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// Times the broker was killed.
    pub kills: u32,
    /// Times the name server was replaced.
    pub name_servers: u32,
    /// Sends that were `Ok`.
    pub stored: usize,
    /// Sends that were not.
    pub failed: u64,
    /// Messages delivered, those that came twice counted twice.
    pub delivered: u64,
    /// Sends that were `Ok` and were never delivered.
    pub missed: usize,
    /// Growth of this process's resident memory, bytes.
    pub grown: u64,
    /// How long it took.
    pub took: Duration,
}

/// Kills the broker so often.
pub fn run(kills: u32) -> Report {
    let folder = Folder::new("faults");
    let mut of_names = NodeSettings::new(&folder.path.join("names"), 1);
    of_names.more.push("server.roles=namesrv".into());
    let mut names = Node::start_name_server(of_names.clone());
    let mut of_broker = NodeSettings::new(&folder.path.join("broker"), 1);
    of_broker.more.push("server.roles=broker".into());
    of_broker.more.push(format!("server.namesrv={}", of_names.name_server()));
    let mut broker = Node::start_registering_with(of_broker.clone(), &of_names.name_server());

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let client = runtime.block_on(Client::connect(of_names.name_server())).expect("the name server answers");
    runtime.block_on(client.admin().create_topic(&NewTopic::new(TOPIC).queues(8))).expect("made");

    let load = Arc::new(Load::default());
    let consumer = client.consumer("rust-faults").subscribe(TOPIC, Filter::all()).from(Start::First);
    let seen = load.clone();
    let consuming = runtime.spawn(consumer.run(16, move |message| {
        let seen = seen.clone();
        async move {
            seen.delivered.fetch_add(1, Ordering::Relaxed);
            seen.seen.lock().expect("no panic").insert(message.text().parse()?);
            Ok(())
        }
    }));
    let producing: Vec<_> = (0..PRODUCERS)
        .map(|producer| runtime.spawn(produce(client.clone(), load.clone(), producer)))
        .collect();

    load.await_sends(SENDS_PER_FAULT);
    let (before, began) = (resident_bytes(), Instant::now());
    let mut name_servers = 0;
    for kill in 0..kills {
        if kill % KILLS_PER_NAME_SERVER == 0 {
            names.process.kill();
            names = Node::start_name_server(of_names.clone());
            name_servers += 1;
        }
        broker.process.kill();
        broker = Node::start_registering_with(of_broker.clone(), &of_names.name_server());
        load.await_sends(SENDS_PER_FAULT);
    }
    load.is_over.store(true, Ordering::Relaxed);
    for producer in producing {
        runtime.block_on(producer).expect("no producer panics");
    }
    let deadline = Instant::now() + PATIENCE;
    while load.missed() > 0 && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let grown = resident_bytes().saturating_sub(before);
    runtime.block_on(client.shutdown(Duration::from_secs(5)));
    runtime.block_on(consuming).expect("no panic").expect("it ended in order");
    // On a line of its own: a guard would live to the end of the value below.
    let stored = load.stored.lock().expect("no panic").len();
    Report {
        kills,
        name_servers,
        stored,
        failed: load.failed.load(Ordering::Relaxed),
        delivered: load.delivered.load(Ordering::Relaxed),
        missed: load.missed(),
        grown,
        took: began.elapsed(),
    }
}

/// What producers and the consumer remember.
#[derive(Default)]
struct Load {
    stored: Mutex<HashSet<u64>>,
    seen: Mutex<HashSet<u64>>,
    failed: AtomicU64,
    delivered: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    /// Waits until so many more sends were stored.
    fn await_sends(&self, more: u64) {
        let count = || self.stored.lock().expect("no panic").len() as u64;
        let (wanted, deadline) = (count() + more, Instant::now() + PATIENCE);
        while count() < wanted {
            assert!(Instant::now() < deadline, "{} of {wanted} sends within {PATIENCE:?}", count());
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn missed(&self) -> usize {
        let seen = self.seen.lock().expect("no panic");
        self.stored.lock().expect("no panic").iter().filter(|number| !seen.contains(number)).count()
    }
}

/// Sends numbers until it is over: those that leave this producer's own remainder.
async fn produce(client: Client, load: Arc<Load>, own: u64) {
    let producer = client.producer().timeout(Duration::from_secs(60)).build().expect("the name is legal");
    let mut number = own;
    while !load.is_over.load(Ordering::Relaxed) {
        match producer.send(Message::new(TOPIC, number.to_string())).await {
            Ok(_) => drop(load.stored.lock().expect("no panic").insert(number)),
            Err(error) => {
                println!("{number}: {error}");
                load.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        number += PRODUCERS;
    }
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux has it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
