//! One shard's broker: what it knows, and the one door through which requests come.
//!
//! ```text
//! opened / closed / handle / grown / tick          what the shard loop tells it
//!        │
//!        ▼
//! [dispatch] ─▶ handler/* ─▶ topics, groups, parked pulls, the store
//!        │
//!        ▼
//! [`Outbox`]: frames, each with what it waits for  what the shard loop then sends
//! ```
//!
//! Rules only. A handler is a synchronous function from this state, a request and `now` to an
//! [`Outcome`]; the shard loop (`shard/`) waits and sends. Nothing here touches a socket, a file or
//! a clock. One per shard.
//!
//! Invariants
//!  1. Decisions are taken on the accepted state; what says so to the outside carries the ticket of the batch.
//!  2. A table here (topics, groups) is changed only after the store has accepted the batch that says so.
//!  3. A request that is not one-way gets exactly one reply, at once, when durable, when its pull ends, or when
//!     the records that it is about were looked at; a one-way request gets none, not even an error.
//!  4. A send allocates nothing here once the buffers have grown; a pull that finds something only the list of
//!     pieces that it found, and its filter if it brings one that names tags.
//!
//! Not here: telling name servers ([`registration`](crate::broker::registration)), waiting and sending (`shard/`), bytes
//! (`ringmq_wire`), durability (`ringmq_engine`).

pub mod access;
pub mod condition;
mod counters;
mod dispatch;
pub mod facts;
pub mod group;
mod handler;
pub mod identity;
pub mod limits;
pub mod outcome;
mod parked_pull;
pub mod planted;
pub mod registration;
mod reply;
mod retry;
mod session;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod topic;
pub mod waiting;

use std::net::SocketAddr;
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_engine::env::Env;
use ringmq_engine::state::QueueRef;
use ringmq_engine::store::{AppendError, Piece, ReadError, Ticket};
use ringmq_engine::{Batch, Store};
use ringmq_wire::name::AUTO_CREATE_TOPIC;
use ringmq_wire::{Head, HeadFormat};

use condition::Conditions;
use counters::Counters;
use facts::FactError;
use facts::group_config::{self, GroupConfig};
use facts::group_offset;
use facts::topic_config::{self, TopicConfig};
use group::Groups;
pub use identity::{Administration, Identity, Settings};
use limits::{IDLE_MAX, MEMBER_EXPIRY, SCAN_EVERY};
use outcome::{Inspection, Now, OutItem, Outbox, Outcome, Question, ReadFor};
use parked_pull::{ParkedPull, ParkedPulls};
use reply::{Refusal, Reply};
use session::Sessions;
use topic::Topics;
use waiting::WaitingMessages;

/// Why a broker cannot begin with the store it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerOpenError {
    /// What the store holds is not ours to read.
    #[error(transparent)]
    Fact(#[from] FactError),
    /// The system topics could not be written.
    #[error("writing the system topics: {0}")]
    Append(#[from] AppendError),
}

/// One shard's broker.
pub struct Broker<E: Env> {
    store: Store<E>,
    identity: Identity,
    settings: Settings,
    /// The properties that every message gets here, encoded.
    stamp: Box<[u8]>,
    opened_wall_ms: i64,
    topics: Topics,
    groups: Groups,
    conditions: Conditions,
    sessions: Sessions,
    parked: ParkedPulls,
    waiting: WaitingMessages,
    counters: Counters,
    scratch: Scratch,
    /// Groups whose members are to be told that others came or went; emptied after every event.
    changed_groups: Vec<Box<str>>,
    /// Correlation number of our next one-way request; nobody answers it.
    next_opaque: i32,
    /// When expiry is looked at next (monotonic).
    scan_due: Duration,
}

/// Memory that handlers reuse. Every user empties what it takes.
#[derive(Debug, Default)]
struct Scratch {
    batch: Batch,
    key: Vec<u8>,
    properties: Vec<u8>,
    /// Properties of a waiting record.
    waiting: Vec<u8>,
    text: String,
    pulls: Vec<ParkedPull>,
}

/// A request on its way through a handler.
#[derive(Debug, Clone, Copy)]
struct Call<'a> {
    conn: ConnId,
    peer: SocketAddr,
    format: HeadFormat,
    head: &'a Head<'a>,
    body: &'a [u8],
    now: Now,
}

impl<E: Env> Broker<E> {
    /// Reads topics and groups from the store, and puts the system topics there if they are missing.
    pub fn open(
        store: Store<E>,
        identity: Identity,
        settings: Settings,
        now: Now,
    ) -> Result<Broker<E>, BrokerOpenError> {
        let mut broker = Broker {
            stamp: identity::stamp(&identity, &settings),
            store,
            identity,
            settings,
            opened_wall_ms: now.wall_ms,
            topics: Topics::default(),
            groups: Groups::default(),
            conditions: Conditions::default(),
            sessions: Sessions::default(),
            parked: ParkedPulls::default(),
            waiting: WaitingMessages::new(now),
            counters: Counters::new(now),
            scratch: Scratch::default(),
            changed_groups: Vec::new(),
            next_opaque: 0,
            scan_due: now.monotonic + SCAN_EVERY,
        };
        broker.load()?;
        broker.make_system_topics()?;
        Ok(broker)
    }

    fn load(&mut self) -> Result<(), FactError> {
        let Broker { store, topics, groups, .. } = self;
        let mut problem = Ok(());
        let mut note =
            |found: Result<(), FactError>| problem = std::mem::replace(&mut problem, Ok(())).and(found);
        store.facts_with_prefix(&[topic_config::PREFIX], |key, value| {
            note(TopicConfig::decode(key, value).map(|config| topics.adopt(config)));
        });
        store.facts_with_prefix(&[group_config::PREFIX], |key, value| {
            note(GroupConfig::decode(key, value).map(|config| groups.adopt(config)));
        });
        store.facts_with_prefix(&[group_offset::PREFIX], |key, value| {
            note(group_offset::decode_key(key).and(group_offset::decode(key, value)).map(drop));
        });
        problem
    }

    /// All that are missing, in one batch. Those that are there keep what an operator made of them, except
    /// that `TBW102` follows the setting for automatic creation.
    fn make_system_topics(&mut self) -> Result<(), AppendError> {
        let mut missing = topic::system_topics(&self.identity, &self.settings);
        missing.retain(|config| match self.topics.get(&config.name) {
            None => true,
            Some(known) => &*config.name == AUTO_CREATE_TOPIC && known.config.perm != config.perm,
        });
        let Scratch { batch, key, .. } = &mut self.scratch;
        batch.clear();
        for config in &missing {
            topic::put(batch, key, config);
        }
        if !batch.is_empty() {
            self.store.append(batch)?;
        }
        for config in missing {
            self.topics.adopt(config);
        }
        Ok(())
    }

    /// A connection is there.
    pub fn opened(&mut self, conn: ConnId, peer: SocketAddr, now: Now) {
        self.sessions.open(conn, peer, now.monotonic);
    }

    /// A connection is gone: it leaves its groups, whose other members are told.
    pub fn closed(&mut self, conn: ConnId, _now: Now, out: &mut Outbox<E>) {
        self.parked.drop_conn(conn);
        let Some(session) = self.sessions.close(conn) else { return };
        for name in session.producer_groups {
            self.groups.producer_left(&name, conn);
        }
        for name in session.consumer_groups {
            if self.groups.get_mut(&name).is_some_and(|group| group.leave(conn)) {
                self.changed_groups.push(name);
            }
        }
        self.tell_changes(None, out);
    }

    /// Handles one request; what it leads to is in the outbox. Nothing from outside makes it panic.
    pub fn handle(
        &mut self,
        conn: ConnId,
        format: HeadFormat,
        head: &Head<'_>,
        body: &[u8],
        now: Now,
        out: &mut Outbox<E>,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.heard = now.monotonic;
        let peer = session.peer;
        if head.is_response() {
            // All requests of ours are one-way, so this answers nothing; clients that answer them anyway exist.
            return;
        }
        let call = Call { conn, peer, format, head, body, now };
        let start = out.bytes.len();
        let mut reply = Reply { format, opaque: head.opaque, out: &mut out.bytes };
        let outcome = match dispatch::dispatch(self, &call, &mut reply) {
            Ok(outcome) => outcome,
            Err(refusal) => {
                reply.out.truncate(start);
                reply.refuse(&refusal);
                Outcome::Reply
            }
        };
        let wait = match &outcome {
            Outcome::ReplyWhenDurable(ticket) => Some(*ticket),
            _ => None,
        };
        if head.is_one_way() {
            out.bytes.truncate(start);
            // There is no answer, but there is something to be done.
            if let Outcome::Inspect(pieces, question) = outcome {
                out.inspections.push(Inspection { conn, format, opaque: head.opaque, pieces, question });
            }
        } else {
            leave(out, (conn, format, head.opaque), start, outcome);
        }
        self.tell_changes(wait, out);
    }

    /// The records of an inspection were read, back to back in its pieces, or could not be.
    pub fn inspected(
        &mut self,
        inspection: Inspection<E>,
        read: Result<(), ReadError>,
        now: Now,
        out: &mut Outbox<E>,
    ) {
        let Inspection { conn, format, opaque, pieces, question } = inspection;
        let (start, one_way) = (out.bytes.len(), question.is_one_way());
        let mut reply = Reply { format, opaque, out: &mut out.bytes };
        let decided = match (read, question) {
            (Err(failure), _) => Err(Refusal::Read(failure)),
            (Ok(()), Question::HaveKey(look_up)) => {
                handler::query::inspected(self, look_up, &pieces, now, &mut reply)
            }
            (Ok(()), Question::GivenBack(given)) => {
                handler::send_back::give_back(self, &given, &Piece::gather(&pieces), now, &mut reply)
            }
            (Ok(()), Question::Fulfil(pull)) => Ok(handler::pull::inspected(self, pull, &pieces, &mut reply)),
        };
        let outcome = decided.unwrap_or_else(|refusal| {
            reply.out.truncate(start);
            reply.refuse(&refusal);
            Outcome::Reply
        });
        if one_way {
            return out.bytes.truncate(start);
        }
        leave(out, (conn, format, opaque), start, outcome);
    }

    /// Queues have records that consumers may see now: pulls that wait there run again.
    pub fn grown(&mut self, queues: &[QueueRef], _now: Now, out: &mut Outbox<E>) {
        let mut woken = std::mem::take(&mut self.scratch.pulls);
        for queue in queues {
            self.parked.take_at(*queue, &mut woken);
            for pull in woken.drain(..) {
                handler::pull::woken(self, pull, out);
            }
        }
        self.scratch.pulls = woken;
    }

    /// The clock has moved: answers what has waited long enough, and lets go of what is not heard of any more.
    pub fn tick(&mut self, now: Now, out: &mut Outbox<E>) {
        let mut expired = std::mem::take(&mut self.scratch.pulls);
        self.parked.take_expired(now.monotonic, &mut expired);
        for pull in expired.drain(..) {
            handler::pull::expired(self, pull, out);
        }
        self.scratch.pulls = expired;
        if self.waiting.next_due().is_some_and(|due| due <= now.monotonic) {
            self.move_waiting(now, out);
        }
        if now.monotonic >= self.scan_due {
            self.scan_due = now.monotonic + SCAN_EVERY;
            self.scan(now, out);
        }
    }

    /// Records that were asked for by [`Outbox::reads`]: their bytes, one behind the other.
    pub fn read_done(
        &mut self,
        what: ReadFor,
        read: Result<Vec<u8>, ReadError>,
        now: Now,
        out: &mut Outbox<E>,
    ) {
        match what {
            ReadFor::Waiting(messages) => self.waiting_read(messages, read, now, out),
        }
    }

    fn scan(&mut self, now: Now, out: &mut Outbox<E>) {
        self.groups.expire_locks(now.monotonic);
        self.counters.sample(now);
        let first = out.close.len();
        if let Some(horizon) = now.monotonic.checked_sub(IDLE_MAX) {
            out.close.extend(self.sessions.silent_since(horizon));
        }
        if let Some(horizon) = now.monotonic.checked_sub(MEMBER_EXPIRY) {
            out.close.extend(self.groups.silent_since(horizon));
        }
        out.close[first..].sort_unstable();
        out.close.dedup();
    }

    /// When [`Broker::tick`] has something to do next (monotonic).
    pub fn next_due(&self) -> Option<Duration> {
        let scan = self.scan_due;
        Some(self.parked.next_deadline().map_or(scan, |deadline| deadline.min(scan)))
    }

    /// When [`Broker::tick`] has something to do that is to happen at its time, within a few milliseconds (monotonic).
    pub fn next_move(&self) -> Option<Duration> {
        self.waiting.next_due()
    }

    /// The topics, for registration.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Tells all members of the groups that changed, the new ones too: some clients begin only then.
    fn tell_changes(&mut self, wait: Option<Ticket>, out: &mut Outbox<E>) {
        for name in self.changed_groups.drain(..) {
            let Some(group) = self.groups.get(&name) else { continue };
            let start = out.bytes.len();
            let opaque = self.next_opaque;
            self.next_opaque = opaque.wrapping_add(1);
            reply::members_changed(&mut out.bytes, opaque, &name);
            let len = out.bytes.len() - start;
            for member in group.members.iter() {
                out.items.push(OutItem { conn: member.conn, start, len, wait, pieces: Vec::new(), opaque });
            }
        }
    }
}

/// Puts a reply whose bytes begin at `start` into the outbox, as its outcome says.
fn leave<E: Env>(
    out: &mut Outbox<E>,
    (conn, format, opaque): (ConnId, HeadFormat, i32),
    start: usize,
    outcome: Outcome<E>,
) {
    let len = out.bytes.len() - start;
    let (wait, pieces) = match outcome {
        Outcome::Reply => (None, Vec::new()),
        Outcome::ReplyWhenDurable(ticket) => (Some(ticket), Vec::new()),
        Outcome::Deliver(pieces) => (None, pieces),
        Outcome::Inspect(pieces, question) => {
            out.bytes.truncate(start);
            out.inspections.push(Inspection { conn, format, opaque, pieces, question });
            return;
        }
        Outcome::Silent => {
            out.bytes.truncate(start);
            return;
        }
        Outcome::Close => {
            out.bytes.truncate(start);
            out.close.push(conn);
            return;
        }
    };
    out.items.push(OutItem { conn, start, len, wait, pieces, opaque });
}
