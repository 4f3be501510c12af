//! The shard loop: turns the network, hands every complete frame to the broker, releases what became
//! durable, and sleeps until the network or the watermark has something.
//!
//! ```text
//! wake ─▶ release durable answers ─▶ wake parked pulls ─▶ turn the network ─▶ broker.handle each frame
//!   ▲                                                                              │
//!   └── sleep (network armed, nothing unsent) ◀── stop early if something was appended ◀┘
//! ```
//!
//! It decides nothing: what a request means is `broker`'s, what is durable is the store's. Generic over the
//! two halves of the seam, so the simulator runs this same loop.
//!
//! Invariants
//!  1. An answer that depends on a batch is handed to the network only after the batch is durable.
//!  2. After something was appended the loop yields, because the disk write is submitted only when the
//! ```text
//! runtime's reactor passes.
//! ```
//!  3. It never sleeps with unsent bytes or unread completions: `Network::arm` is the last word.
//!  4. While it spins (`spin`) it is not armed and looks for itself; every step ends, whatever comes.
//!
//! One per shard.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use ringmq_conn::frames::greeting;
use ringmq_conn::{CloseReason, ConnId, Event, Network};
use ringmq_engine::Store;
use ringmq_engine::env::{Env, Signal, TaskClass};
use ringmq_engine::store::{Piece, ReadError};
use ringmq_wire::code::response;
use ringmq_wire::command::FLAG_RESPONSE;
use ringmq_wire::{HeadFormat, HeadScratch, OutHead};
use tracing::{error, info, warn};

use super::clock::Clock;
use super::connections::Connections;
use super::held_answers::HeldAnswers;
use super::record_slice::RecordSlice;
use super::spin::Spin;
use super::stop::Stop;
use crate::broker::Broker;
use crate::broker::outcome::{Inspection, Now, OutItem, Outbox, Question, ReadFor, RecordRead};
use crate::broker::registration::{Action, Registration};

/// Network turns before the loop yields to the runtime.
const TURNS_MAX: usize = 4;
/// Cold reads under way at once; more wait their turn.
const COLD_READS_MAX: usize = 32;
/// Cold reads waiting; a pull beyond is answered "busy", and its client asks again.
const COLD_READS_WAITING_MAX: usize = 4096;
/// What such a pull is told.
const READS_BUSY: &str = "too many reads from disk are waiting, pull again";
/// How long an orderly stop may take before connections are cut.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Why a shard ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Asked to; everything accepted is durable and answered.
    Stopped,
    /// A write or flush failed; recovery decides at the next start.
    Poisoned(String),
}

/// One shard, ready to run.
pub struct Shard<E: Env, N: Network<Slice = RecordSlice<E>>> {
    env: E,
    network: N,
    store: Store<E>,
    broker: Broker<E>,
    registration: Registration,
    stop: Stop,
    wake: Rc<Signal>,
    connections: Connections,
    /// Connections that registration asked for.
    outgoing: Vec<ConnId>,
    held: HeldAnswers,
    outbox: Outbox<E>,
    events: Vec<Event>,
    scratch: HeadScratch,
    slices: Vec<RecordSlice<E>>,
    grown: Vec<ringmq_engine::state::QueueRef>,
    cold: ColdReads<E>,
    rule_reads: RuleReads,
    clock: Rc<Clock>,
    spin: Spin,
    draining_since: Option<Duration>,
}

/// Cold reads under way and waiting.
struct ColdReads<E: Env> {
    waiting: VecDeque<(ConnId, ColdRead<E>)>,
    running: usize,
    done: Rc<RefCell<Vec<DoneRead<E>>>>,
}

/// A read that has ended, for whom, and how.
type DoneRead<E> = (ConnId, ColdRead<E>, Result<(), ReadError>);

/// Such a read that has ended: what for, and the records' bytes.
type DoneRuleRead = (ReadFor, Result<Vec<u8>, ReadError>);

/// Reads that the broker's rules asked for. The broker bounds how many there are.
#[derive(Default)]
struct RuleReads {
    running: usize,
    done: Rc<RefCell<Vec<DoneRuleRead>>>,
}

struct ColdRead<E: Env> {
    opaque: i32,
    pieces: Vec<Piece<E>>,
    then: Then,
}

/// What is done with records that were read.
enum Then {
    /// They are sent behind this header.
    Deliver(Vec<u8>),
    /// A rule looks at them, and answers in this format.
    Inspect(HeadFormat, Question),
}

impl<E: Env> ColdRead<E> {
    fn of(inspection: Inspection<E>) -> Self {
        let Inspection { format, opaque, pieces, question, .. } = inspection;
        ColdRead { opaque, pieces, then: Then::Inspect(format, question) }
    }
}

impl<E: Env, N: Network<Slice = RecordSlice<E>>> Shard<E, N> {
    /// `wake` is the signal that the network's readiness, the store's progress and the clock fire.
    pub fn new(
        env: E,
        network: N,
        store: Store<E>,
        broker: Broker<E>,
        registration: Registration,
        stop: Stop,
        wake: Rc<Signal>,
    ) -> Self {
        let clock = Clock::start(&env, &wake);
        Shard {
            env,
            network,
            store,
            broker,
            registration,
            stop,
            wake,
            connections: Connections::default(),
            outgoing: Vec::new(),
            held: HeldAnswers::default(),
            outbox: Outbox::default(),
            events: Vec::new(),
            scratch: HeadScratch::default(),
            slices: Vec::new(),
            grown: Vec::new(),
            cold: ColdReads { waiting: VecDeque::new(), running: 0, done: Rc::default() },
            rule_reads: RuleReads::default(),
            clock,
            spin: Spin::new(Duration::ZERO),
            draining_since: None,
        }
    }

    /// Lets it spin through waits for the disk and for sends that are not longer than `longest`.
    pub fn spinning(mut self, longest: Duration) -> Self {
        self.spin = Spin::new(longest);
        self
    }

    /// Runs until asked to stop, or until the log is poisoned.
    pub async fn run(mut self) -> Ended {
        loop {
            let moved = self.work();
            if let Some(reason) = self.store.poisoned() {
                return self.poisoned(reason).await;
            }
            if self.stop.is_raised() && self.drained() {
                return self.finish().await;
            }
            if self.spin.look_again(self.env.monotonic(), moved, self.held.len()) {
                // The network is not armed: the next turn looks by itself, without the cost of a wake-up.
                self.env.set_busy(true);
                self.wake.cut_short(self.env.spin_step()).await;
                continue;
            }
            self.set_clock();
            let asleep = self.network.arm();
            self.env.set_busy(!asleep || !self.held.is_empty());
            if !asleep {
                // The reactor must pass once before the next turn, or the disk would starve.
                self.network.kick();
            }
            self.wake.wait().await;
        }
    }

    /// Everything that can be done now without waiting. Says whether sends were accepted or answered.
    fn work(&mut self) -> bool {
        let before = (self.store.log_bounds().1, self.held.len());
        for _ in 0..TURNS_MAX {
            let now = self.now();
            self.release(now);
            self.tick(now);
            let appended_before = self.store.log_bounds().1;
            let quiet = self.turn(now);
            if quiet || self.store.log_bounds().1 != appended_before {
                break;
            }
        }
        (self.store.log_bounds().1, self.held.len()) != before
    }

    /// Sends what waited for the watermark, wakes pulls, and takes up finished cold reads.
    fn release(&mut self, now: Now) {
        let connections = &mut self.connections;
        self.held.release(self.store.durable(), |conn, answer| {
            connections.answer(conn, answer);
            connections.settle(conn);
        });
        self.grown.clear();
        self.store.take_grown(&mut self.grown);
        if !self.grown.is_empty() {
            self.broker.grown(&self.grown, now, &mut self.outbox);
        }
        self.take_cold(now);
        self.take_rule_reads(now);
        self.send_outbox();
    }

    /// Hands `now` to whatever is due.
    fn tick(&mut self, now: Now) {
        if self.clock.is_due(now.monotonic) {
            self.broker.tick(now, &mut self.outbox);
            self.send_outbox();
            if self.stop.is_raised() {
                self.begin_drain(now);
            }
            self.registration.tick(self.broker.topics(), now);
        } else if self.stop.is_raised() {
            self.begin_drain(now);
        }
        self.registration.look(self.broker.topics(), now);
        self.act(now);
        self.set_clock();
    }

    /// Tells the clock when something is due next. While draining, every step: waiting has an end.
    fn set_clock(&self) {
        let due = [self.broker.next_due(), self.registration.next_due()].into_iter().flatten().min();
        let due = if self.stop.is_raised() { Some(self.env.monotonic()) } else { due };
        self.clock.set(due, self.broker.next_move());
    }

    /// One network turn. Says whether nothing happened.
    fn turn(&mut self, now: Now) -> bool {
        let sent = self.connections.flush(&mut self.network);
        let mut events = std::mem::take(&mut self.events);
        self.network.turn(&mut events);
        let quiet = events.is_empty() && !sent;
        for event in events.drain(..) {
            match event {
                Event::Opened { conn, listener, peer } => {
                    self.connections.opened(conn);
                    if listener.is_some() {
                        self.broker.opened(conn, peer, now);
                    } else {
                        self.registration.connected(conn, self.broker.topics(), now);
                    }
                }
                Event::Data { conn, buffer } => self.received(conn, buffer, now),
                Event::HalfClosed { conn } => self.connections.half_closed(conn),
                Event::Drained { .. } => {}
                Event::Closed { conn, reason } => self.closed(conn, reason, now),
            }
        }
        self.events = events;
        self.send_outbox();
        self.act(now);
        self.connections.flush(&mut self.network);
        quiet
    }

    fn received(&mut self, conn: ConnId, buffer: ringmq_conn::network::BufferRef, now: Now) {
        let bytes = self.network.bytes(buffer);
        let outgoing = self.outgoing.contains(&conn);
        let Shard { connections, broker, registration, scratch, outbox, .. } = self;
        let mut bad_head = None;
        let fed = connections.feed(conn, bytes, |frame| {
            match scratch.decode(frame.format, frame.head) {
                Ok(head) if outgoing => registration.answered(conn, &head, broker.topics(), now),
                Ok(head) => broker.handle(conn, frame.format, &head, frame.body, now, outbox),
                Err(error) => {
                    bad_head = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        let problem = match (fed, bad_head) {
            (Ok(()), None) => return,
            (Err(error), _) => error.to_string(),
            (Ok(()), Some(error)) => error.to_string(),
        };
        warn!(
            ?conn,
            "closing a connection that does not speak this protocol: {problem}; {}",
            greeting(bytes)
        );
        self.network.close(conn);
    }

    fn closed(&mut self, conn: ConnId, reason: CloseReason, now: Now) {
        self.connections.closed(conn);
        if let Some(at) = self.outgoing.iter().position(|outgoing| *outgoing == conn) {
            self.outgoing.swap_remove(at);
            self.registration.closed(conn, now);
            return;
        }
        if let CloseReason::SlowReader | CloseReason::Os(_) = reason {
            info!(?conn, ?reason, "connection closed");
        }
        self.broker.closed(conn, now, &mut self.outbox);
    }

    /// Routes everything that the broker wants to say.
    fn send_outbox(&mut self) {
        let Outbox { bytes, items, inspections, close, .. } = &mut self.outbox;
        for item in items.drain(..) {
            let OutItem { conn, start, len, wait, pieces, opaque } = item;
            let head = &bytes[start..start + len];
            match wait {
                Some(ticket) if ticket > self.store.durable() => {
                    self.held.hold(ticket, conn, opaque, head);
                    self.connections.owe(conn);
                }
                _ if pieces.is_empty() => self.connections.answer(conn, head),
                _ if pieces.iter().all(|piece| matches!(piece, Piece::Hot(_))) => {
                    deliver(&mut self.connections, &mut self.network, &mut self.slices, conn, (head, pieces));
                }
                _ => {
                    if self.cold.waiting.len() < COLD_READS_WAITING_MAX {
                        self.connections.owe(conn);
                        let then = Then::Deliver(head.to_vec());
                        self.cold.waiting.push_back((conn, ColdRead { opaque, pieces, then }));
                    } else {
                        let busy = refusal(head.get(4).copied(), opaque, response::SYSTEM_BUSY, READS_BUSY);
                        self.connections.answer(conn, &busy);
                    }
                }
            }
        }
        bytes.clear();
        for inspection in inspections.drain(..) {
            let conn = inspection.conn;
            if self.cold.waiting.len() < COLD_READS_WAITING_MAX {
                self.connections.owe(conn);
                self.cold.waiting.push_back((conn, ColdRead::of(inspection)));
            } else {
                let Inspection { format, opaque, .. } = inspection;
                let busy = refusal(Some(format.byte()), opaque, response::SYSTEM_BUSY, READS_BUSY);
                self.connections.answer(conn, &busy);
            }
        }
        for conn in close.drain(..) {
            self.connections.flush_one(conn, &mut self.network);
            self.network.close(conn);
        }
        self.start_cold();
        self.start_rule_reads();
    }

    fn start_rule_reads(&mut self) {
        for RecordRead { what, mut pieces } in self.outbox.reads.drain(..) {
            self.rule_reads.running += 1;
            let (store, done, wake) = (self.store.clone(), self.rule_reads.done.clone(), self.wake.clone());
            self.env.spawn(TaskClass::Read, async move {
                let read = store.fetch(&mut pieces).await.map(|()| Piece::gather(&pieces).into_owned());
                done.borrow_mut().push((what, read));
                wake.fire();
            });
        }
    }

    fn take_rule_reads(&mut self, now: Now) {
        let done = std::mem::take(&mut *self.rule_reads.done.borrow_mut());
        for (what, read) in done {
            self.rule_reads.running -= 1;
            self.broker.read_done(what, read, now, &mut self.outbox);
        }
    }

    fn start_cold(&mut self) {
        while self.cold.running < COLD_READS_MAX
            && let Some((conn, mut read)) = self.cold.waiting.pop_front()
        {
            if !self.connections.is_open(conn) {
                continue;
            }
            self.cold.running += 1;
            let (store, done, wake) = (self.store.clone(), self.cold.done.clone(), self.wake.clone());
            self.env.spawn(TaskClass::Read, async move {
                let result = store.fetch(&mut read.pieces).await;
                done.borrow_mut().push((conn, read, result));
                wake.fire();
            });
        }
    }

    fn take_cold(&mut self, now: Now) {
        if self.cold.running == 0 {
            return;
        }
        let done = std::mem::take(&mut *self.cold.done.borrow_mut());
        for (conn, ColdRead { opaque, pieces, then }, result) in done {
            self.cold.running -= 1;
            match (then, result) {
                (Then::Inspect(format, question), result) => {
                    self.inspected(Inspection { conn, format, opaque, pieces, question }, result, now);
                }
                (Then::Deliver(head), Ok(())) => {
                    deliver(
                        &mut self.connections,
                        &mut self.network,
                        &mut self.slices,
                        conn,
                        (&head, pieces),
                    );
                }
                (Then::Deliver(head), Err(failure)) => {
                    error!("a pull could not be served: {failure}");
                    let remark = failure.to_string();
                    let answer = refusal(head.get(4).copied(), opaque, response::SYSTEM_ERROR, &remark);
                    self.connections.answer(conn, &answer);
                }
            }
            self.connections.settle(conn);
        }
        self.start_cold();
    }

    /// Gives a rule what it wanted to see. If it wants to see more, that comes first: what it has found so far is in memory.
    fn inspected(&mut self, inspection: Inspection<E>, read: Result<(), ReadError>, now: Now) {
        self.broker.inspected(inspection, read, now, &mut self.outbox);
        for inspection in self.outbox.inspections.drain(..) {
            self.connections.owe(inspection.conn);
            self.cold.waiting.push_front((inspection.conn, ColdRead::of(inspection)));
        }
    }

    /// Does what registration decided.
    fn act(&mut self, _now: Now) {
        while let Some(action) = self.registration.next_action() {
            match action {
                Action::Connect(peer) => {
                    let conn = self.network.connect(peer);
                    self.outgoing.push(conn);
                    self.registration.connecting(peer, conn);
                }
                Action::Send(conn, bytes) => self.connections.answer(conn, &bytes),
                Action::Close(conn) => self.network.close(conn),
            }
        }
    }

    fn begin_drain(&mut self, now: Now) {
        if self.draining_since.is_none() {
            self.draining_since = Some(now.monotonic);
            self.network.stop_accepting();
            self.registration.shutdown(self.broker.topics(), now);
            self.act(now);
            for conn in self.connections.iter().filter(|conn| !self.outgoing.contains(conn)) {
                self.network.pause(conn);
            }
        }
    }

    /// Whether everything accepted has been answered and sent, or waiting for it has lasted long enough.
    fn drained(&self) -> bool {
        let Some(since) = self.draining_since else { return false };
        let quiet = self.held.is_empty()
            && self.cold.running == 0
            && self.rule_reads.running == 0
            && self.registration.is_shut_down()
            && self.connections.iter().all(|conn| self.network.unsent(conn) == 0);
        quiet || self.env.monotonic() > since + DRAIN_MAX
    }

    async fn finish(mut self) -> Ended {
        self.clock.end().await;
        let closed = self.store.close().await;
        let ended = match closed {
            Ok(()) => Ended::Stopped,
            Err(failure) => Ended::Poisoned(failure.to_string()),
        };
        self.close_all();
        ended
    }

    /// Every waiting sender learns that its outcome is unknown; nothing is retried.
    async fn poisoned(mut self, reason: String) -> Ended {
        self.clock.end().await;
        error!("the log is poisoned, the process stops and recovery decides: {reason}");
        let remark = format!("outcome unknown: the log failed: {reason}");
        let connections = &mut self.connections;
        self.held.fail(|conn, opaque, answer| {
            connections
                .answer(conn, &refusal(answer.get(4).copied(), opaque, response::SYSTEM_ERROR, &remark));
        });
        self.connections.flush(&mut self.network);
        self.close_all();
        Ended::Poisoned(reason)
    }

    fn close_all(&mut self) {
        let open: Vec<ConnId> = self.connections.iter().collect();
        for conn in open {
            self.network.close(conn);
        }
        // A few turns hand the last bytes and the closes to the kernel; the network's drop waits for the rest.
        for _ in 0..TURNS_MAX {
            let mut events = std::mem::take(&mut self.events);
            events.clear();
            self.network.turn(&mut events);
            self.events = events;
        }
    }

    fn now(&self) -> Now {
        Now { wall_ms: self.env.wall_ms(), monotonic: self.env.monotonic() }
    }
}

/// Hands a header and its records to the network, behind what the connection was already to be told.
fn deliver<E: Env, N: Network<Slice = RecordSlice<E>>>(
    connections: &mut Connections,
    network: &mut N,
    slices: &mut Vec<RecordSlice<E>>,
    conn: ConnId,
    (head, pieces): (&[u8], Vec<Piece<E>>),
) {
    slices.clear();
    for piece in pieces {
        match piece {
            Piece::Hot(slice) => slices.push(RecordSlice(slice)),
            Piece::Cold { .. } => unreachable!("a fetched reading is hot throughout"),
        }
    }
    connections.flush_one(conn, network);
    network.queue_slices(conn, head, slices);
}

/// An answer that replaces one that cannot be given, in the format that the given type byte names.
fn refusal(format: Option<u8>, opaque: i32, code: i32, remark: &str) -> Vec<u8> {
    let format = format.and_then(HeadFormat::from_byte).unwrap_or(HeadFormat::Json);
    let head = OutHead { format, code, opaque, flag: FLAG_RESPONSE, remark: Some(remark), fields: &[] };
    let mut answer = Vec::new();
    head.encode(&mut answer, 0);
    answer
}
