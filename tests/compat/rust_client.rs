//! The Rust client at Apache's broker: the scenarios that it passes at ours, and the README's program.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringmq_client::admin::NewTopic;
use ringmq_client::{Client as RustClient, Deliveries, Filter, Message, Start};
use ringmq_tests::client::hello::Hello;
use ringmq_tests::client::{administration, consuming, run, sending};
use ringmq_tests::compat::client::{Client, Kind};
use ringmq_tests::compat::site::Site;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::reading::{PATIENCE, text};

/// After a change every queue has one owner within this time.
const SHARED_ANEW: Duration = Duration::from_secs(2);
const TOPIC: &str = "MixedLanguages";
const GROUP: &str = "mixed-languages";
const QUEUES: usize = 8;

#[test]
fn every_scenario_holds_at_apaches_broker() {
    let site = Site::apache();
    let at = &site.name_server;
    Hello::build(at).run();
    run(at, sending::every_way);
    run(at, sending::to_a_new_topic);
    run(at, sending::many_at_once);
    run(at, administration::topics);
    run(at, administration::groups);
    run(at, administration::cluster_and_messages);
    run(at, consuming::handlers);
    run(at, consuming::filters_and_starts);
    run(at, consuming::not_acknowledged);
    run(at, consuming::orderly);
    run(at, consuming::members);
    run(at, consuming::broadcast);
    run(at, consuming::by_hand);
}

/// Members of Java, Go and Rust come and go; `RINGMQ_CLIENT_CHANGES=50` is the long form.
#[test]
fn groups_mix_languages_and_every_queue_has_one_owner() {
    let changes =
        std::env::var("RINGMQ_CLIENT_CHANGES").map_or(8, |changes| changes.parse().expect("a number"));
    let site = Site::ringmq(1);
    let mut group = Mixed::new(&site);
    let kinds = [None, Some(Kind::Java("4.9.8")), Some(Kind::Go)];
    let mut slowest = Duration::ZERO;
    for change in 0..changes {
        // First each kind joins; then by turns one leaves and another of its kind joins.
        let kind = if change < 3 { kinds[change] } else { kinds[(change / 2) % 3] };
        let what = if change < 3 || change % 2 == 0 {
            group.join(&site, kind);
            "joined"
        } else {
            group.leave(kind);
            "left"
        };
        let took = group.await_one_owner_each();
        println!("change {change}: {} {what}: {took:?}", kind.map_or("rust".into(), Kind::label));
        assert!(took <= SHARED_ANEW, "change {change}: {took:?}");
        slowest = slowest.max(took);
        group.send_one_to_each_queue();
    }
    group.await_all_read();
    println!("{changes} changes, slowest {slowest:?}; {} messages, none missed", group.sent.len());
}

/// The members of one group, in several languages, and who sends to it.
struct Mixed {
    runtime: Runtime,
    sender: RustClient,
    sent: BTreeSet<String>,
    read: BTreeSet<String>,
    rust: Vec<RustMember>,
    others: Vec<OtherMember>,
    /// Those that are still ending.
    leaving: Vec<Client>,
}

struct RustMember {
    client: RustClient,
    queues: Box<dyn Fn() -> BTreeSet<String>>,
    read: UnboundedReceiver<String>,
}

struct OtherMember {
    client: Client,
    share: BTreeSet<String>,
}

impl Mixed {
    fn new(site: &Site) -> Mixed {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let sender = runtime.block_on(RustClient::connect(&site.name_server)).expect("connected");
        let topic = NewTopic::new(TOPIC).queues(QUEUES as u32);
        runtime.block_on(sender.admin().create_topic(&topic)).expect("made");
        let (sent, read) = (BTreeSet::new(), BTreeSet::new());
        Mixed { runtime, sender, sent, read, rust: Vec::new(), others: Vec::new(), leaving: Vec::new() }
    }

    fn join(&mut self, site: &Site, kind: Option<Kind>) {
        match kind {
            None => {
                let client =
                    self.runtime.block_on(RustClient::connect(&site.name_server)).expect("connected");
                let consumer = client.consumer(GROUP).subscribe(TOPIC, Filter::all()).from(Start::First);
                let deliveries = self.runtime.block_on(consumer.stream()).expect("started");
                self.rust.push(RustMember::follow(&self.runtime, client, deliveries));
            }
            Some(kind) => {
                let mut client = site.client(kind);
                client.order("member", json!({"do": "consume", "topic": TOPIC, "group": GROUP}));
                let mut member = OtherMember { client, share: BTreeSet::new() };
                let events = member.client.until("member", "started", PATIENCE);
                events.iter().for_each(|event| member.learn(event, &mut self.read));
                self.others.push(member);
            }
        }
    }

    fn leave(&mut self, kind: Option<Kind>) {
        match kind {
            None => {
                let member = self.rust.remove(0);
                self.runtime.block_on(member.client.shutdown(Duration::from_secs(3)));
                self.learn();
                let mut member = member;
                while let Ok(key) = member.read.try_recv() {
                    self.read.insert(key);
                }
            }
            Some(kind) => {
                let place = self.others.iter().position(|member| member.client.kind() == kind);
                let mut member = self.others.remove(place.expect("one of the kind is a member"));
                member.client.stop("member");
                self.leaving.push(member.client);
            }
        }
    }

    /// How long it takes until the members' shares are all queues, each once.
    fn await_one_owner_each(&mut self) -> Duration {
        let began = Instant::now();
        loop {
            self.learn();
            let mut owners = BTreeMap::<String, u32>::new();
            let of_rust = self.rust.iter().flat_map(|member| (member.queues)());
            let of_others = self.others.iter().flat_map(|member| member.share.iter().cloned());
            of_rust.chain(of_others).for_each(|queue| *owners.entry(queue).or_default() += 1);
            let nobody_idle = self.rust.iter().all(|member| !(member.queues)().is_empty())
                && self.others.iter().all(|member| !member.share.is_empty());
            if owners.len() == QUEUES && owners.values().all(|owners| *owners == 1) && nobody_idle {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{owners:?}");
        }
    }

    fn send_one_to_each_queue(&mut self) {
        let producer = self.sender.producer().build().expect("the name is legal");
        for queue in self.runtime.block_on(producer.queues(TOPIC)).expect("it has queues") {
            let key = format!("m{}", self.sent.len());
            let message = Message::builder(TOPIC).key(&key).body(key.clone());
            self.runtime.block_on(producer.send_to(&queue, message)).expect("sent");
            self.sent.insert(key);
        }
    }

    fn await_all_read(&mut self) {
        let began = Instant::now();
        while !self.sent.is_subset(&self.read) {
            self.learn();
            let missing: Vec<_> = self.sent.difference(&self.read).collect();
            assert!(began.elapsed() < PATIENCE, "never read: {missing:?}");
        }
    }

    /// Hears what members report.
    fn learn(&mut self) {
        for member in &mut self.others {
            let moment = Instant::now() + Duration::from_millis(2);
            while let Some(event) = member.client.next("member", moment) {
                member.learn(&event, &mut self.read);
            }
        }
        for client in &mut self.leaving {
            let moment = Instant::now() + Duration::from_millis(1);
            while let Some(event) = client.next("member", moment) {
                note_read(&event, &mut self.read);
            }
        }
        for member in &mut self.rust {
            while let Ok(key) = member.read.try_recv() {
                self.read.insert(key);
            }
        }
    }
}

impl RustMember {
    /// Acknowledges what comes, and remembers the owner's queues.
    fn follow(runtime: &Runtime, client: RustClient, mut deliveries: Deliveries) -> RustMember {
        let (sender, read) = unbounded_channel();
        let shared = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
        let mine = shared.clone();
        runtime.spawn(async move {
            loop {
                let next = tokio::time::timeout(Duration::from_millis(2), deliveries.next()).await;
                let queues = deliveries.queues().into_iter().filter(|queue| queue.topic() == TOPIC);
                *mine.lock().expect("no panic") =
                    queues.map(|queue| format!("{}:{}", queue.broker(), queue.id())).collect();
                match next {
                    Err(_nothing_yet) => {}
                    Ok(None) => return,
                    Ok(Some(delivery)) => {
                        delivery.keys().for_each(|key| drop(sender.send(key.to_owned())));
                        delivery.ack();
                    }
                }
            }
        });
        let queues = Box::new(move || shared.lock().expect("no panic").clone());
        RustMember { client, queues, read }
    }
}

impl OtherMember {
    fn learn(&mut self, event: &Value, read: &mut BTreeSet<String>) {
        note_read(event, read);
        if event["event"] == "allotted" {
            self.share = text(event, "queues").split_whitespace().map(str::to_owned).collect();
        }
    }
}

fn note_read(event: &Value, read: &mut BTreeSet<String>) {
    if event["event"] == "message" {
        read.insert(text(event, "keys").to_owned());
    }
}
