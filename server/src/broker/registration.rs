//! Telling name servers about this broker: what to send to which of them, and when.
//!
//! ```text
//!           retry due               opened             answered
//! Waiting ────────────▶ Connecting ────────▶ Connected ◀────────┐
//!    ▲                       │                 │  │ on change: 103; every 30 s: 322
//!    └──── closed, silent ───┴─────────────────┘  └─▶ call in flight ─┘
//! ```
//!
//! Every change of a topic has a number, and a name server is told (103) what has changed since the number that it
//! knows: everything after a connection was made, later what is new. Name servers keep topics that a
//! registration does not name, so any part of them is a registration. Every 30 s it is asked (322) whether it still
//! knows that number, which also says that this broker lives. So what is sent grows with what changes, not with
//! what there is.
//!
//! A pure state machine: the loop tells what happened, and takes [`Action`]s until there are none. Each name
//! server has its own connection and its own state; they know nothing of each other. It registers the ordinary
//! way, also with a name server in the same process, and works alike with Apache's and ours.
//!
//! Invariants
//!  1. At most one call is in flight to a name server, so changes that come faster than answers are sent together.
//!  2. A name server that answers anything but "yes, that number" is told everything again.
//!  3. One registration names at most [`TOPICS_PER_CALL_MAX`] topics; the next follows its answer.
//!  4. After [`Registration::shutdown`] nothing is registered again; what was is taken back (104).
//!
//! Not used: the order-topic table in the answer, since clients get it in the route and no rule here looks at it.
//! Not told: that a topic was deleted; deleting it at the name server is a request of its own (216).
//!
//! Source: `broker/.../BrokerController.java` (`registerBrokerAll`, `registerIncrementBrokerData`),
//! `broker/.../out/BrokerOuterAPI.java`, `namesrv/.../RouteInfoManager.java` (`isBrokerTopicConfigChanged`).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::request::registration::{self, BrokerIdentity, RegisterBroker};
use ringmq_wire::request::topic::{DataVersion, TopicDefinition, TopicTable};
use ringmq_wire::{Head, HeadFormat, OutHead, Value, json};
use tracing::{info, warn};

use super::facts::topic_config::TopicConfig;
use super::identity::Identity;
use super::outcome::Now;
use super::topic::Topics;

/// Topics in one registration (`splitRegistrationSize`); some 200 bytes each.
const TOPICS_PER_CALL_MAX: usize = 800;
/// How often a name server hears of us when nothing changes (`registerNameServerPeriod`).
const REGISTER_EVERY: Duration = Duration::from_secs(30);
/// Longest wait for an answer or for a connection; then the connection is given up.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// First pause after a failure; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause: the period in which name servers expect us anyway.
const RETRY_MAX: Duration = REGISTER_EVERY;
/// A master, in RocketMQ's terms: this broker has no slaves.
const MASTER_ID: i64 = 0;

/// What the loop is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask for a connection, and say which it is ([`Registration::connecting`]).
    Connect(SocketAddr),
    /// Send a frame.
    Send(ConnId, Vec<u8>),
    /// Close a connection after what was sent.
    Close(ConnId),
}

/// One broker's registration with all its name servers. One per shard.
#[derive(Debug)]
pub struct Registration {
    cluster: String,
    broker: String,
    address: String,
    ha_address: String,
    /// When the broker started: with the number of a change, different from every earlier start's numbers.
    started_ms: i64,
    /// The latest change of a topic that was looked at.
    seen: u64,
    links: Vec<Link>,
    actions: VecDeque<Action>,
    next_opaque: i32,
    /// The latest that was heard; deadlines count from it.
    now: Duration,
    stopping: bool,
}

/// One name server.
#[derive(Debug)]
struct Link {
    peer: SocketAddr,
    state: State,
    /// Failures since the last answer.
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No connection; one is asked for at `until`.
    Waiting { until: Duration },
    /// Asked for; `conn` once the loop has said which.
    Connecting { conn: Option<ConnId>, since: Duration },
    /// There, and told of all changes up to `told`; something is to be said at `due`.
    Connected { conn: ConnId, due: Duration, told: u64, call: Option<Call>, registered: bool },
    /// Shut down.
    Ended,
}

/// A request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    opaque: i32,
    since: Duration,
    what: Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// To take over changes up to this one.
    Register(u64),
    /// Whether it knows them still.
    Version,
    Unregister,
}

impl Registration {
    /// Of a broker that started at `started_ms` and has told nobody yet.
    pub fn new(identity: &Identity, name_servers: Vec<SocketAddr>, started_ms: i64) -> Registration {
        let address = identity.store_host;
        // Slaves would replicate from the port after ours; the field is required, though nothing listens there.
        let ha_address = SocketAddr::new(address.ip(), address.port().wrapping_add(1));
        let link = |peer| Link { peer, state: State::Waiting { until: Duration::ZERO }, failures: 0 };
        Registration {
            cluster: identity.cluster.clone(),
            broker: identity.broker_name.clone(),
            address: address.to_string(),
            ha_address: ha_address.to_string(),
            started_ms,
            seen: 0,
            links: name_servers.into_iter().map(link).collect(),
            actions: VecDeque::new(),
            next_opaque: 0,
            now: Duration::ZERO,
            stopping: false,
        }
    }

    /// What to do next, if anything.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Registration::tick`] has something to do next; monotonic.
    pub fn next_due(&self) -> Option<Duration> {
        let due = |link: &Link| match link.state {
            State::Waiting { until } => Some(until),
            State::Connecting { since, .. } => Some(since + ANSWER_MAX),
            State::Connected { call: Some(call), .. } => Some(call.since + ANSWER_MAX),
            State::Connected { due, .. } => Some(due),
            State::Ended => None,
        };
        self.links.iter().filter_map(due).min()
    }

    /// The connection that was asked for is this one.
    pub fn connecting(&mut self, peer: SocketAddr, conn: ConnId) {
        let asked = self
            .links
            .iter_mut()
            .find(|link| link.peer == peer && matches!(link.state, State::Connecting { conn: None, .. }));
        match asked {
            Some(Link { state: State::Connecting { conn: slot, .. }, .. }) => *slot = Some(conn),
            // Given up between the action and its execution.
            _ => self.actions.push_back(Action::Close(conn)),
        }
    }

    /// A connection that was asked for is there: register at once.
    pub fn connected(&mut self, conn: ConnId, topics: &Topics, now: Now) {
        self.now = now.monotonic;
        let Some(index) = self.link_of(conn) else { return };
        self.links[index].state =
            State::Connected { conn, due: self.now, told: 0, call: None, registered: false };
        self.work(topics);
    }

    /// A connection ended, or could not be made.
    pub fn closed(&mut self, conn: ConnId, now: Now) {
        self.now = now.monotonic;
        if let Some(index) = self.link_of(conn) {
            let peer = self.links[index].peer;
            if !self.stopping {
                warn!(broker = self.broker, name_server = %peer, "no connection to the name server; trying again");
            }
            self.fail(index);
        }
    }

    /// A name server said something.
    pub fn answered(&mut self, conn: ConnId, head: &Head<'_>, topics: &Topics, now: Now) {
        self.now = now.monotonic;
        let Some(index) = self.link_of(conn) else { return };
        let link = &mut self.links[index];
        let State::Connected { due, told, call: call @ Some(_), registered, .. } = &mut link.state else {
            return;
        };
        let answered = call.filter(|call| head.is_response() && call.opaque == head.opaque);
        let Some(Call { what, .. }) = answered else { return };
        *call = None;
        match what {
            Asked::Unregister => {
                link.state = State::Ended;
                self.actions.push_back(Action::Close(conn));
                return;
            }
            Asked::Register(up_to) if head.code == response::SUCCESS => {
                if !*registered {
                    info!(broker = self.broker, name_server = %link.peer, "registered");
                }
                *registered = true;
                *told = up_to;
                link.failures = 0;
                if topics.changed_since(up_to).next().is_some() {
                    *due = self.now;
                }
            }
            Asked::Register(_) => {
                let remark = head.remark.unwrap_or_default();
                warn!(broker = self.broker, name_server = %link.peer, code = head.code, remark, "registration refused");
                link.failures += 1;
                *told = 0;
                *due = self.now + pause(link.failures);
            }
            Asked::Version => {
                let is_known = head.code == response::SUCCESS && head.fields.get("changed") == Some("false");
                if !is_known {
                    *told = 0;
                    *due = self.now;
                }
            }
        }
        self.work(topics);
    }

    /// Looks whether topics have changed: then every name server is told at once.
    pub fn look(&mut self, topics: &Topics, now: Now) {
        if topics.version() == self.seen {
            return;
        }
        self.seen = topics.version();
        self.now = now.monotonic;
        for link in &mut self.links {
            if let State::Connected { due, .. } = &mut link.state {
                *due = self.now;
            }
        }
        self.work(topics);
    }

    /// The clock.
    pub fn tick(&mut self, topics: &Topics, now: Now) {
        self.now = now.monotonic;
        for index in 0..self.links.len() {
            let (conn, since) = match self.links[index].state {
                State::Connecting { conn, since } => (conn, since),
                State::Connected { conn, call: Some(call), .. } => (Some(conn), call.since),
                _ => continue,
            };
            if self.now >= since + ANSWER_MAX {
                warn!(broker = self.broker, name_server = %self.links[index].peer, "the name server does not answer");
                self.actions.extend(conn.map(Action::Close));
                self.fail(index);
            }
        }
        self.work(topics);
    }

    /// Takes back what was registered; [`Registration::is_shut_down`] tells when that is done.
    pub fn shutdown(&mut self, topics: &Topics, now: Now) {
        self.now = now.monotonic;
        self.stopping = true;
        self.work(topics);
    }

    /// Whether every name server has been told, or cannot be.
    pub fn is_shut_down(&self) -> bool {
        self.links.iter().all(|link| link.state == State::Ended)
    }

    /// Does what is due on every link.
    fn work(&mut self, topics: &Topics) {
        for index in 0..self.links.len() {
            match self.links[index].state {
                State::Ended => {}
                // A call in flight delays everything else, the end too: it says whether we are registered.
                State::Connected { call: Some(_), .. } => {}
                State::Connected { conn, registered: true, .. } if self.stopping => {
                    self.unregister(index, conn)
                }
                State::Connected { conn, .. } | State::Connecting { conn: Some(conn), .. }
                    if self.stopping =>
                {
                    self.links[index].state = State::Ended;
                    self.actions.push_back(Action::Close(conn));
                }
                State::Waiting { .. } | State::Connecting { .. } if self.stopping => {
                    self.links[index].state = State::Ended;
                }
                State::Connected { conn, due, told, .. } if due <= self.now => {
                    self.speak(index, conn, told, topics)
                }
                State::Waiting { until } if until <= self.now => {
                    self.links[index].state = State::Connecting { conn: None, since: self.now };
                    self.actions.push_back(Action::Connect(self.links[index].peer));
                }
                State::Waiting { .. } | State::Connecting { .. } | State::Connected { .. } => {}
            }
        }
    }

    /// Tells what is new, or asks whether what was told is still known.
    fn speak(&mut self, index: usize, conn: ConnId, told: u64, topics: &Topics) {
        let new: Vec<(u64, &TopicConfig)> = topics.changed_since(told).take(TOPICS_PER_CALL_MAX).collect();
        let Some((up_to, _)) = new.last() else {
            let body = json::write(&self.data_version(told));
            let fields = self.identity().fields();
            let frame = request(RequestCode::QueryDataVersion, self.next_opaque, &fields, &body);
            return self.call(index, conn, frame, Asked::Version);
        };
        let body = json::write(&registration::Registration {
            filter_servers: Vec::new(),
            topics: TopicTable {
                data_version: self.data_version(*up_to),
                topics: new.iter().map(|(_, topic)| (topic.name.to_string(), definition(topic))).collect(),
                ..TopicTable::default()
            },
        });
        let header = RegisterBroker {
            broker_name: &self.broker,
            broker_address: &self.address,
            cluster_name: &self.cluster,
            ha_server_address: &self.ha_address,
            broker_id: MASTER_ID,
            heartbeat_timeout_ms: None,
            enable_acting_master: Some(false),
            compressed: false,
            body_crc: ringmq_wire::record::body_crc(&body),
            zone_name: None,
        };
        let frame = request(RequestCode::RegisterBroker, self.next_opaque, &header.fields(), &body);
        self.call(index, conn, frame, Asked::Register(*up_to));
    }

    fn unregister(&mut self, index: usize, conn: ConnId) {
        let fields = self.identity().fields();
        let frame = request(RequestCode::UnregisterBroker, self.next_opaque, &fields, &[]);
        self.call(index, conn, frame, Asked::Unregister);
    }

    fn identity(&self) -> BrokerIdentity<'_> {
        BrokerIdentity {
            broker_name: &self.broker,
            broker_address: &self.address,
            cluster_name: &self.cluster,
            broker_id: MASTER_ID,
        }
    }

    fn data_version(&self, change: u64) -> DataVersion {
        let counter = i64::try_from(change).unwrap_or(i64::MAX);
        DataVersion { counter, state_version: 0, timestamp: self.started_ms }
    }

    fn call(&mut self, index: usize, on: ConnId, frame: Vec<u8>, what: Asked) {
        let State::Connected { due, call, .. } = &mut self.links[index].state else { return };
        *call = Some(Call { opaque: self.next_opaque, since: self.now, what });
        *due = self.now + REGISTER_EVERY;
        self.next_opaque = self.next_opaque.wrapping_add(1);
        self.actions.push_back(Action::Send(on, frame));
    }

    fn fail(&mut self, index: usize) {
        let link = &mut self.links[index];
        link.failures += 1;
        link.state = match self.stopping {
            true => State::Ended,
            false => State::Waiting { until: self.now + pause(link.failures) },
        };
    }

    fn link_of(&self, conn: ConnId) -> Option<usize> {
        self.links.iter().position(|link| match link.state {
            State::Connecting { conn: Some(own), .. } | State::Connected { conn: own, .. } => own == conn,
            _ => false,
        })
    }
}

fn pause(failures: u32) -> Duration {
    RETRY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(RETRY_MAX)
}

fn request(code: RequestCode, opaque: i32, fields: &[(&str, Value<'_>)], body: &[u8]) -> Vec<u8> {
    let head =
        OutHead { format: HeadFormat::Json, code: code.number(), opaque, flag: 0, remark: None, fields };
    let mut frame = Vec::with_capacity(512 + body.len());
    head.encode(&mut frame, body.len());
    frame.extend_from_slice(body);
    frame
}

fn definition(topic: &TopicConfig) -> TopicDefinition {
    let number = |queues: u32| i32::try_from(queues).unwrap_or(i32::MAX);
    TopicDefinition {
        order: topic.ordered,
        perm: i32::from(topic.perm.0),
        read_queues: number(topic.read_queues),
        topic_name: topic.name.to_string(),
        topic_sys_flag: topic.sys_flag.cast_signed(),
        write_queues: number(topic.write_queues),
        ..TopicDefinition::default()
    }
}

#[cfg(test)]
mod tests;
