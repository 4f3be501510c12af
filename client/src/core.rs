//! What all handles of one client share: connections, routes, and who it says it is.
//!
//! Invariants
//!  1. A route that cannot be asked for again is used on: losing every name server stops nobody who knows the way.
//!  2. A burst of callers that miss one route asks once.
//!  3. Every broker that a known route names hears of every producer and consumer each 30 s.

use crate::client::Options;
use crate::edge::answer::{Answer, Asked, Inbox};
use crate::edge::connection::Request;
use crate::edge::connections::{Connections, Dial, lock};
use crate::edge::name_servers::NameServers;
use crate::error::Error;
use crate::limits::{HEARTBEAT_EVERY, TOPICS_KNOWN_MAX};
use crate::queue::Queue;
use crate::rules::avoidance::Avoidance;
use crate::rules::random::Random;
use crate::rules::route::TopicRoute;
use crate::rules::unique_key::UniqueKeys;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::json;
use ringmq_wire::name::AUTO_CREATE_TOPIC;
use ringmq_wire::request::client::ResetOffsets;
use ringmq_wire::request::heartbeat::{ConsumerEntry, Heartbeat, ProducerEntry, UnregisterRequest};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// One request behind the scenes may take so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// A route that was in doubt is not asked for again within so long.
const ROUTE_FRESH_FOR: Duration = Duration::from_secs(1);
/// Queues per broker of a topic that its first message creates. (RocketMQ: `defaultTopicQueueNums`)
pub(crate) const NEW_TOPIC_QUEUES: i32 = 4;

/// See the module.
pub(crate) struct Core {
    pub id: String,
    pub connections: Connections,
    pub names: NameServers,
    pub avoidance: Mutex<Avoidance>,
    pub turn: AtomicUsize,
    routes: Mutex<HashMap<String, Known>>,
    /// Held while a route is asked for.
    asking: tokio::sync::Mutex<()>,
    keys: Mutex<UniqueKeys>,
    random: Mutex<Random>,
    producers: Mutex<BTreeMap<String, usize>>,
    members: Mutex<BTreeMap<String, Arc<dyn Member>>>,
    stopping: AtomicBool,
    stopped: AtomicBool,
    /// Wakes the housekeeper early.
    pub housekeeping: Arc<Notify>,
    epoch: Instant,
}

/// A consumer as its client knows it.
pub(crate) trait Member: Send + Sync + 'static {
    /// What heartbeats say of it; nothing if brokers should not know it.
    fn entry(&self) -> Option<ConsumerEntry>;
    /// Members came or went, or a topic's queues did.
    fn changed(&self);
    /// An operator sets it to other offsets.
    fn reset(self: Arc<Self>, offsets: Vec<(Queue, i64)>);
    /// Ends it in order.
    fn stop(self: Arc<Self>, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

#[derive(Clone)]
struct Known {
    route: Arc<TopicRoute>,
    asked: Instant,
    /// Somebody failed with it.
    in_doubt: bool,
    /// The topic does not exist yet; this is where its first message goes.
    is_provisional: bool,
}

impl Core {
    pub fn start(options: Options, dial: Arc<dyn Dial>) -> Result<Arc<Core>, Error> {
        // The one place where chance comes in.
        let mut random = Random::new(RandomState::new().hash_one(std::process::id()));
        let addresses = crate::rules::address::parse(&options.name_servers)?;
        let id = options.client_id.clone().unwrap_or_else(|| {
            format!("{}@{}#{:012x}", options.host, std::process::id(), random.next() & 0xFFFF_FFFF_FFFF)
        });
        let keys = UniqueKeys::new(options.host.octets(), std::process::id(), random.next() as u32);
        let names = NameServers::new(addresses, random.below(1 << 16) as usize);
        let turn = AtomicUsize::new(random.below(1 << 16) as usize);
        let core = Arc::new_cyclic(|core: &Weak<Core>| {
            let inbox = Arc::new(CoreInbox(core.clone()));
            let of_connections = Random::new(random.next());
            Core {
                id,
                connections: Connections::new(dial, inbox, options.bytes_in_flight_max, of_connections),
                names,
                avoidance: Mutex::default(),
                turn,
                routes: Mutex::default(),
                asking: tokio::sync::Mutex::default(),
                keys: Mutex::new(keys),
                random: Mutex::new(random),
                producers: Mutex::default(),
                members: Mutex::default(),
                stopping: AtomicBool::new(false),
                stopped: AtomicBool::new(false),
                housekeeping: Arc::default(),
                epoch: Instant::now(),
            }
        });
        tokio::spawn(keep_house(Arc::downgrade(&core), core.housekeeping.clone()));
        Ok(core)
    }

    /// Time since the client began, for rules.
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub fn random(&self) -> std::sync::MutexGuard<'_, Random> {
        lock(&self.random)
    }

    /// Appends the next message id to `out`.
    pub fn push_unique_key(&self, now_ms: u64, out: &mut String) {
        lock(&self.keys).push_next(now_ms, out);
    }

    /// Asks the broker at `address`.
    pub async fn ask(
        &self,
        address: &str,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        if self.is_stopped() {
            return Err(Error::Stopped);
        }
        self.connections.ask(address, request, deadline).await
    }

    /// Where an existing topic is; `None` if no name server knows it.
    pub async fn route(&self, topic: &str, deadline: Instant) -> Result<Option<Arc<TopicRoute>>, Error> {
        if let Some(route) = self.usable(topic).filter(|known| !known.is_provisional) {
            return Ok(Some(route.route));
        }
        let _one_at_a_time = self.asking.lock().await;
        if let Some(known) = self.usable(topic).filter(|known| !known.is_provisional) {
            return Ok(Some(known.route));
        }
        self.ask_route(topic, deadline).await
    }

    /// Where to send messages of a topic, which may not exist yet.
    pub async fn route_to_send(&self, topic: &str, deadline: Instant) -> Result<Arc<TopicRoute>, Error> {
        if let Some(known) = self.usable(topic) {
            return Ok(known.route);
        }
        let _one_at_a_time = self.asking.lock().await;
        if let Some(known) = self.usable(topic) {
            return Ok(known.route);
        }
        if let Some(route) = self.ask_route(topic, deadline).await? {
            return Ok(route);
        }
        let Some(default) = self.names.route(&self.connections, AUTO_CREATE_TOPIC, deadline).await? else {
            return Err(Error::NoRoute { topic: topic.to_owned() });
        };
        let route = Arc::new(TopicRoute::of_new_topic(topic, &default, NEW_TOPIC_QUEUES));
        self.keep_route(topic, route.clone(), true);
        Ok(route)
    }

    /// A call with this route failed: it is asked for again before it is used again.
    pub fn doubt(&self, topic: &str) {
        if let Some(known) = lock(&self.routes).get_mut(topic) {
            known.in_doubt = true;
        }
    }

    fn usable(&self, topic: &str) -> Option<Known> {
        let routes = lock(&self.routes);
        let known = routes.get(topic)?;
        let is_old = (known.in_doubt || known.is_provisional) && known.asked.elapsed() >= ROUTE_FRESH_FOR;
        (!is_old).then(|| known.clone())
    }

    /// Asks for a route. What was known stays in use if nobody answers.
    async fn ask_route(&self, topic: &str, deadline: Instant) -> Result<Option<Arc<TopicRoute>>, Error> {
        match self.names.route(&self.connections, topic, deadline).await {
            Ok(Some(answered)) => {
                let route = Arc::new(TopicRoute::new(topic, &answered));
                self.keep_route(topic, route.clone(), false);
                Ok(Some(route))
            }
            Ok(None) => {
                lock(&self.routes).remove(topic);
                Ok(None)
            }
            Err(error) => {
                let mut routes = lock(&self.routes);
                let Some(known) = routes.get_mut(topic).filter(|known| !known.is_provisional) else {
                    return Err(error);
                };
                known.asked = Instant::now();
                Ok(Some(known.route.clone()))
            }
        }
    }

    fn keep_route(&self, topic: &str, route: Arc<TopicRoute>, is_provisional: bool) {
        let mut routes = lock(&self.routes);
        if routes.len() >= TOPICS_KNOWN_MAX && !routes.contains_key(topic) {
            let oldest = routes.iter().min_by_key(|(_, known)| known.asked).map(|(topic, _)| topic.clone());
            oldest.and_then(|oldest| routes.remove(&oldest));
        }
        let known = Known { route, asked: Instant::now(), in_doubt: false, is_provisional };
        let before = routes.insert(topic.to_owned(), known.clone());
        drop(routes);
        if before.is_none_or(|before| before.route != known.route) {
            lock(&self.members).values().for_each(|member| member.changed());
        }
    }

    /// Every topic whose route is known, and the masters that those routes name.
    fn known(&self) -> (Vec<String>, BTreeSet<String>) {
        let routes = lock(&self.routes);
        let masters = routes.values().flat_map(|known| {
            known.route.brokers.keys().filter_map(|broker| known.route.master(broker).map(str::to_owned))
        });
        (routes.keys().cloned().collect(), masters.collect())
    }

    async fn refresh_routes(&self) {
        let (topics, _) = self.known();
        for topic in topics {
            let _one_at_a_time = self.asking.lock().await;
            if let Err(error) = self.ask_route(&topic, Instant::now() + PATIENCE).await {
                tracing::warn!(topic, %error, "route not refreshed");
            }
        }
        let masters = self.known().1;
        let is_name_server = |address: &str| self.names.addresses().iter().any(|name| name == address);
        self.connections.keep_only(|address| masters.contains(address) || is_name_server(address));
    }

    pub fn add_producer(&self, group: &str) {
        *lock(&self.producers).entry(group.to_owned()).or_default() += 1;
        self.housekeeping.notify_one();
    }

    pub fn remove_producer(&self, group: &str) {
        let mut producers = lock(&self.producers);
        if let Some(count) = producers.get_mut(group) {
            *count -= 1;
            if *count == 0 {
                producers.remove(group);
            }
        }
    }

    /// Makes a consumer known. `false` if this client has one of that group already.
    pub fn add_member(&self, group: &str, member: Arc<dyn Member>) -> bool {
        let mut members = lock(&self.members);
        let is_new = !members.contains_key(group);
        if is_new {
            members.insert(group.to_owned(), member);
        }
        is_new
    }

    /// Takes a consumer out, and tells the brokers.
    pub async fn remove_member(&self, group: &str, deadline: Instant) {
        if lock(&self.members).remove(group).is_some() {
            self.unregister(None, Some(group), deadline).await;
        }
    }

    /// Tells every known broker who is here, and waits until they have heard it or the deadline has come.
    pub async fn heartbeat(&self, deadline: Instant) {
        let producers: Vec<_> = lock(&self.producers).keys().cloned().collect();
        let consumers: Vec<_> = lock(&self.members).values().filter_map(|member| member.entry()).collect();
        if producers.is_empty() && consumers.is_empty() {
            return;
        }
        let body = json::write(&Heartbeat {
            client_id: self.id.clone(),
            consumers,
            producers: producers.into_iter().map(|group_name| ProducerEntry { group_name }).collect(),
            ..Heartbeat::default()
        });
        let request = Request { code: RequestCode::HeartBeat.number(), fields: &[], body: &body };
        self.tell_all(&request, deadline).await;
    }

    async fn unregister(
        &self,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
        deadline: Instant,
    ) {
        let fields = UnregisterRequest { client_id: &self.id, producer_group, consumer_group }.fields();
        let request = Request { code: RequestCode::UnregisterClient.number(), fields: &fields, body: &[] };
        self.tell_all(&request, deadline).await;
    }

    /// Sends a request to every known master, to all at once.
    async fn tell_all(&self, request: &Request<'_>, deadline: Instant) {
        let mut calls = Vec::new();
        for address in self.known().1 {
            match self.connections.begin(&address, request, deadline).await {
                Ok(call) => calls.push(call),
                Err(error) => tracing::debug!(address, %error, "broker not told"),
            }
        }
        for call in calls {
            match call.await {
                Ok(answer) if answer.code == response::SUCCESS => {}
                Ok(answer) => tracing::warn!(error = %answer.refusal(), "broker did not accept"),
                Err(error) => tracing::debug!(%error, "broker did not answer"),
            }
        }
    }

    /// Ends everything. Whoever waits learns that the client was shut down.
    pub async fn stop(&self, deadline: Instant) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        let members: Vec<_> = lock(&self.members).values().cloned().collect();
        for member in members {
            member.stop(deadline).await;
        }
        let producers: Vec<_> = lock(&self.producers).keys().cloned().collect();
        for group in producers {
            self.unregister(Some(&group), None, deadline).await;
        }
        self.stopped.store(true, Ordering::Release);
        self.connections.close("the client was shut down");
        self.housekeeping.notify_one();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.connections.close("the client was dropped");
        self.housekeeping.notify_one();
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Asks for all routes again and sends heartbeats, each 30 s; heartbeats also when asked to. Does not keep the client
/// alive.
async fn keep_house(core: Weak<Core>, wake: Arc<Notify>) {
    let mut refresh_at = Instant::now() + HEARTBEAT_EVERY;
    loop {
        let _ = timeout_at(refresh_at, wake.notified()).await;
        let Some(core) = core.upgrade().filter(|core| !core.is_stopped()) else { return };
        if Instant::now() >= refresh_at {
            refresh_at = Instant::now() + HEARTBEAT_EVERY;
            core.refresh_routes().await;
        }
        core.heartbeat(Instant::now() + PATIENCE).await;
    }
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

struct CoreInbox(Weak<Core>);

impl Inbox for CoreInbox {
    fn asked(&self, from: &str, request: &Asked<'_>) -> i32 {
        let Some(core) = self.0.upgrade() else { return response::SYSTEM_ERROR };
        let member = |name| {
            let group = request.head.fields.get(name).unwrap_or_default();
            lock(&core.members).get(group).cloned()
        };
        match RequestCode::from_number(request.head.code) {
            Some(RequestCode::NotifyConsumerIdsChanged) => {
                if let Some(member) = member("consumerGroup") {
                    member.changed();
                }
                response::SUCCESS
            }
            Some(RequestCode::ResetConsumerClientOffset) => {
                let (Some(member), Ok(offsets)) = (member("group"), json::read::<ResetOffsets>(request.body))
                else {
                    return response::SYSTEM_ERROR;
                };
                let offsets = offsets.offset_table.0.into_iter();
                let offsets = offsets.map(|(queue, offset)| {
                    (Queue::new(queue.topic, queue.broker_name, queue.queue_id), offset)
                });
                member.reset(offsets.collect());
                response::SUCCESS
            }
            _ => {
                tracing::debug!(from, code = request.head.code, "a server asks what is not answered");
                response::REQUEST_CODE_NOT_SUPPORTED
            }
        }
    }

    fn connected(&self, _address: &str) {
        // A broker knows its members by their connections: they say at once that they are here.
        if let Some(core) = self.0.upgrade() {
            core.housekeeping.notify_one();
        }
    }
}
