//! The name server's loop: the shard loop without a store.
//!
//! Turns the network, hands every complete frame to the name server's rules, sends the answers, and sleeps
//! until the network or the clock has something. Nothing it answers waits for a disk.
//!
//! One per process, on an executor of its own.

use std::ops::ControlFlow;
use std::rc::Rc;

use ringmq_conn::frames::greeting;
use ringmq_conn::{ConnId, Event, Network};
use ringmq_engine::env::{Env, Signal};
use ringmq_wire::HeadScratch;
use tracing::warn;

use super::clock::Clock;
use super::connections::Connections;
use super::stop::Stop;
use crate::broker::outcome::Now;
use crate::namesrv::{NameServer, Replies};

/// The name server on its network.
pub struct NameServerLoop<E: Env, N: Network> {
    env: E,
    network: N,
    rules: NameServer,
    stop: Stop,
    wake: Rc<Signal>,
    connections: Connections,
    replies: Replies,
    events: Vec<Event>,
    scratch: HeadScratch,
    clock: Rc<Clock>,
}

impl<E: Env, N: Network> NameServerLoop<E, N> {
    /// `wake` is the signal that the network's readiness and the clock fire.
    pub fn new(env: E, network: N, rules: NameServer, stop: Stop, wake: Rc<Signal>) -> Self {
        let clock = Clock::start(&env, &wake);
        NameServerLoop {
            env,
            network,
            rules,
            stop,
            wake,
            connections: Connections::default(),
            replies: Replies::default(),
            events: Vec::new(),
            scratch: HeadScratch::default(),
            clock,
        }
    }

    /// Runs until asked to stop.
    pub async fn run(mut self) {
        while !self.stop.is_raised() {
            self.work();
            if !self.network.arm() {
                self.network.kick();
            }
            self.wake.wait().await;
        }
        self.clock.end().await;
        self.network.stop_accepting();
        let open: Vec<ConnId> = self.connections.iter().collect();
        for conn in open {
            self.network.close(conn);
        }
        self.network.turn(&mut self.events);
    }

    fn work(&mut self) {
        let now = self.now();
        if self.clock.is_due(now.monotonic) {
            self.rules.tick(now, &mut self.replies);
            self.send();
        }
        self.connections.flush(&mut self.network);
        let mut events = std::mem::take(&mut self.events);
        self.network.turn(&mut events);
        for event in events.drain(..) {
            match event {
                Event::Opened { conn, peer, .. } => {
                    self.connections.opened(conn);
                    self.rules.opened(conn, peer, now);
                }
                Event::Data { conn, buffer } => self.received(conn, buffer, now),
                Event::HalfClosed { conn } => self.connections.half_closed(conn),
                Event::Drained { .. } => {}
                Event::Closed { conn, .. } => {
                    self.connections.closed(conn);
                    self.rules.closed(conn, now, &mut self.replies);
                }
            }
        }
        self.events = events;
        self.send();
        self.connections.flush(&mut self.network);
        self.clock.set(self.rules.next_due(), None);
    }

    fn received(&mut self, conn: ConnId, buffer: ringmq_conn::network::BufferRef, now: Now) {
        let bytes = self.network.bytes(buffer);
        let NameServerLoop { connections, rules, scratch, replies, .. } = self;
        let mut bad_head = None;
        let fed = connections.feed(conn, bytes, |frame| match scratch.decode(frame.format, frame.head) {
            Ok(head) => {
                rules.handle(conn, frame.format, &head, frame.body, now, replies);
                ControlFlow::Continue(())
            }
            Err(error) => {
                bad_head = Some(error.to_string());
                ControlFlow::Break(())
            }
        });
        if let Some(problem) = fed.err().map(|error| error.to_string()).or(bad_head) {
            let likely = greeting(bytes);
            warn!(?conn, "closing a connection that does not speak this protocol: {problem}; {likely}");
            self.network.close(conn);
        }
    }

    fn send(&mut self) {
        let Replies { bytes, items, close } = &mut self.replies;
        for item in items.drain(..) {
            self.connections.answer(item.conn, &bytes[item.start..item.start + item.len]);
        }
        bytes.clear();
        for conn in close.drain(..) {
            self.connections.flush_one(conn, &mut self.network);
            self.network.close(conn);
        }
    }

    fn now(&self) -> Now {
        Now { wall_ms: self.env.wall_ms(), monotonic: self.env.monotonic() }
    }
}
