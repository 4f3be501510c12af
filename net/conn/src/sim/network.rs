//! The simulated network of one shard; what the ring does with the kernel, it does with the `world`.

use super::SimNet;
use super::link::{End, EndId, Holder};
use crate::limits::{Bounds, RECV_BUFFER_BYTES, RECV_BUFFERS};
use crate::network::{BufferRef, CloseReason, ConnId, Event, Network, StableBytes};
use crate::ring::ListenError;
use crate::send_backlog::SendBacklog;
use crate::slots::Slots;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Where ports for listeners that take any are counted from.
const FIRST_FREE_PORT: u16 = 40_000;

/// One shard's simulated network; see [`SimNet::network`]. Dropping it resets its connections.
pub struct SimNetwork<S: StableBytes> {
    net: SimNet,
    number: usize,
    bounds: Bounds,
    connections: Slots<Connection<S>>,
    by_end: BTreeMap<EndId, ConnId>,
    listeners: usize,
    stopped: bool,
    /// What was received in the latest turn.
    buffers: Vec<Vec<u8>>,
    to_hear: Vec<EndId>,
    to_send: Vec<ConnId>,
    to_end: Vec<(ConnId, CloseReason)>,
    unsent: usize,
    /// When it will next look at its clock.
    look_at: Option<Duration>,
    /// Ends that are only read from until their peers close too, or until then.
    lingering: BTreeMap<EndId, Duration>,
}

struct Connection<S> {
    end: EndId,
    peer: SocketAddr,
    stage: Stage,
    paused: bool,
    /// Paused, but the cancellation has not come through yet.
    still_receives: bool,
    over_mark: bool,
    peer_done: bool,
    to_send: bool,
    backlog: SendBacklog<S>,
    /// When the other side last took a byte, or there first was one.
    progress: Duration,
    half_closed: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Open,
    Closing,
}

impl<S: StableBytes> Connection<S> {
    fn new(end: EndId, peer: SocketAddr, stage: Stage) -> Connection<S> {
        Connection {
            end,
            peer,
            stage,
            paused: false,
            still_receives: false,
            over_mark: false,
            peer_done: false,
            to_send: false,
            backlog: SendBacklog::default(),
            progress: Duration::ZERO,
            half_closed: Duration::ZERO,
        }
    }

    fn wants_bytes(&self) -> bool {
        let held = (self.paused || self.over_mark) && !self.still_receives;
        self.stage == Stage::Open && !held && !self.peer_done
    }

    fn reason_to_close(&self) -> CloseReason {
        if self.peer_done { CloseReason::Peer } else { CloseReason::Local }
    }

    /// When it has been slow, or half-closed, for too long, and what it is then.
    fn deadline(&self, bounds: &Bounds) -> Option<(Duration, CloseReason)> {
        let slow = (self.progress + bounds.slow_reader_max, CloseReason::SlowReader);
        let half_closed = (self.half_closed + bounds.half_closed_max, CloseReason::Peer);
        match (!self.backlog.is_empty() && self.stage != Stage::Connecting, self.peer_done) {
            (true, true) => Some(if slow.0 <= half_closed.0 { slow } else { half_closed }),
            (true, false) => Some(slow),
            (false, true) => Some(half_closed),
            (false, false) => None,
        }
    }
}

impl<S: StableBytes> SimNetwork<S> {
    pub(super) fn new(net: SimNet, number: usize, bounds: Bounds) -> SimNetwork<S> {
        SimNetwork {
            net,
            number,
            bounds,
            connections: Slots::new(),
            by_end: BTreeMap::new(),
            listeners: 0,
            stopped: false,
            buffers: Vec::new(),
            to_hear: Vec::new(),
            to_send: Vec::new(),
            to_end: Vec::new(),
            unsent: 0,
            look_at: None,
            lingering: BTreeMap::new(),
        }
    }

    /// Listens on `address` (port 0: any) and returns where. Listeners are numbered in order, from 0.
    pub fn listen(&mut self, mut address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let (number, index) = (self.number, self.listeners);
        self.net.with(|world| {
            if address.port() == 0 {
                let taken = (FIRST_FREE_PORT..)
                    .take_while(|port| world.is_listening(SocketAddr::new(address.ip(), *port)))
                    .count();
                address.set_port(FIRST_FREE_PORT + taken as u16);
            }
            world.listen(address, number, index).then_some(address).ok_or(ListenError::InUse(address))
        })?;
        self.listeners += 1;
        Ok(address)
    }

    fn accept(&mut self, events: &mut Vec<Event>) {
        while let Some((listener, end)) = self.side(|side| side.to_accept.pop_front()) {
            if self.stopped || self.connections.len() >= self.bounds.connections_max {
                self.net.with(|world| world.close(end));
                continue;
            }
            // Clients have no address of their own; the link's number stands for it.
            let port = 1 + (end.link % 60_000) as u16;
            let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            let conn = self.insert(Connection::new(end, peer, Stage::Open));
            events.push(Event::Opened { conn, listener: Some(listener), peer });
            self.to_hear.push(end);
        }
    }

    fn insert(&mut self, connection: Connection<S>) -> ConnId {
        let end = connection.end;
        let conn = self.connections.insert(connection);
        self.by_end.insert(end, conn);
        conn
    }

    /// Looks at every end at which something has happened, in an order that the seed decides.
    fn hear(&mut self, events: &mut Vec<Event>) {
        let news = self.side(|side| std::mem::take(&mut side.news));
        let mut ends = std::mem::take(&mut self.to_hear);
        ends.extend(news);
        ends.sort_unstable();
        ends.dedup();
        let partial = self.net.with(|world| {
            world.random.shuffle(&mut ends);
            world.random.chance(world.faults.partial_turn_chance)
        });
        if partial {
            let later = self.net.with(|world| world.random.below(ends.len() + 1));
            self.to_hear = ends.split_off(ends.len() - later);
        }
        for end in ends {
            match self.by_end.get(&end).copied() {
                Some(conn) => self.hear_one(conn, end, events),
                None => self.linger(end),
            }
        }
    }

    fn hear_one(&mut self, conn: ConnId, end: EndId, events: &mut Vec<Event>) {
        if !self.is_connected(conn, end, events) {
            return;
        }
        self.plan_send(conn);
        self.receive(conn, end, events);
        let (arrived, over) = self
            .net
            .with(|world| (world.incoming(end).is_some_and(|pipe| pipe.has_arrived()), world.end_of(end)));
        let connection = self.connections.get_mut(conn).expect("by_end names who is there");
        let reads = connection.wants_bytes();
        connection.still_receives = false;
        match over {
            _ if reads && arrived => self.to_hear.push(end),
            Some(End::Fin) if reads => {
                connection.peer_done = true;
                connection.half_closed = self.net.now();
                events.push(Event::HalfClosed { conn });
            }
            // Who neither reads nor sends does not learn of a reset.
            Some(End::Reset) if reads || connection.peer_done || !connection.backlog.is_empty() => {
                self.finish(conn, CloseReason::Peer, events);
            }
            _ => {}
        }
    }

    /// Throws away what still comes for a closed connection, and lets go of it when its peer has closed.
    fn linger(&mut self, end: EndId) {
        if !self.lingering.contains_key(&end) {
            return;
        }
        let over = self.net.with(|world| {
            while world.read(end, usize::MAX).is_some() {}
            world.end_of(end)
        });
        if over.is_some() {
            self.stop_lingering(end);
        }
    }

    fn stop_lingering(&mut self, end: EndId) {
        self.lingering.remove(&end);
        self.net.with(|world| world.close(end));
    }

    /// Whether a connection that we asked for has been made, as far as it was still open.
    fn is_connected(&mut self, conn: ConnId, end: EndId, events: &mut Vec<Event>) -> bool {
        let connection = self.connections.get_mut(conn).expect("by_end names who is there");
        if connection.stage != Stage::Connecting {
            return true;
        }
        let (open, over) =
            self.net.with(|world| (world.incoming(end).is_some_and(|p| p.open), world.end_of(end)));
        if open {
            connection.stage = Stage::Open;
            connection.progress = self.net.now();
            events.push(Event::Opened { conn, listener: None, peer: connection.peer });
        } else if over.is_some() {
            self.finish(conn, CloseReason::ConnectFailed, events);
        }
        open
    }

    /// Takes what has arrived, as far as it is wanted and the turn's buffers go.
    fn receive(&mut self, conn: ConnId, end: EndId, events: &mut Vec<Event>) {
        let connection = self.connections.get(conn).expect("by_end names who is there");
        if !connection.wants_bytes() {
            return;
        }
        while self.buffers.len() < usize::from(RECV_BUFFERS) / 2 {
            let Some(bytes) = self.net.with(|world| world.read(end, RECV_BUFFER_BYTES as usize)) else {
                return;
            };
            let buffer = BufferRef { index: self.buffers.len() as u32, len: bytes.len() as u32 };
            self.buffers.push(bytes);
            events.push(Event::Data { conn, buffer });
        }
    }

    /// Notes that `conn` is to send, if it has something.
    fn plan_send(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let connected = connection.stage != Stage::Connecting;
        if connected && !connection.to_send && !connection.backlog.is_empty() {
            connection.to_send = true;
            self.to_send.push(conn);
        }
    }

    fn send(&mut self, events: &mut Vec<Event>) {
        for conn in std::mem::take(&mut self.to_send) {
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            connection.to_send = false;
            if connection.backlog.is_empty() {
                continue;
            }
            let end = connection.end;
            let room = self.net.with(|world| world.room(end));
            if room == 0 {
                continue; // The world tells when there is some.
            }
            if !connection.backlog.is_flying() {
                connection.backlog.take_off();
            }
            let bytes: Vec<u8> = connection.backlog.flight().flatten().copied().take(room).collect();
            connection.backlog.land(bytes.len());
            connection.progress = self.net.now();
            self.unsent -= bytes.len();
            self.net.with(|world| world.send(end, &bytes));
            self.sent(conn, events);
        }
    }

    /// Goes on after a send: with what is left, or with what waited for everything to be sent.
    fn sent(&mut self, conn: ConnId, events: &mut Vec<Event>) {
        let connection = self.connections.get_mut(conn).expect("it has just sent");
        if !connection.backlog.is_empty() {
            return self.plan_send(conn);
        }
        if connection.stage == Stage::Closing {
            let reason = connection.reason_to_close();
            return self.finish(conn, reason, events);
        }
        if std::mem::take(&mut connection.over_mark) {
            self.to_hear.push(connection.end);
            events.push(Event::Drained { conn });
        }
    }

    /// Ends whoever has been slow for too long, and plans the next look.
    fn mind_the_clock(&mut self, events: &mut Vec<Event>) {
        let now = self.net.now();
        let bounds = self.bounds;
        let deadlines = self.connections.iter().filter_map(|(conn, connection)| {
            connection.deadline(&bounds).map(|(at, reason)| (at, reason, conn))
        });
        let (over, later): (Vec<_>, Vec<_>) = deadlines.partition(|(at, _, _)| *at <= now);
        for (_, reason, conn) in over {
            self.finish(conn, reason, events);
        }
        let lingered: Vec<EndId> =
            self.lingering.iter().filter(|(_, until)| **until <= now).map(|(end, _)| *end).collect();
        lingered.into_iter().for_each(|end| self.stop_lingering(end));
        let next = later.iter().map(|(at, _, _)| *at).chain(self.lingering.values().copied()).min();
        if let Some(at) = next.filter(|at| self.look_at.is_none_or(|planned| planned <= now || *at < planned))
        {
            self.look_at = Some(at);
            self.net.with(|world| world.plan_look(self.number, at));
        }
    }

    /// Where to queue for `conn`, unless it is closing or gone.
    fn backlog_for(&mut self, conn: ConnId) -> Option<&mut SendBacklog<S>> {
        let connection = self.connections.get_mut(conn).filter(|c| c.stage != Stage::Closing)?;
        if connection.backlog.is_empty() {
            connection.progress = self.net.now();
        }
        Some(&mut connection.backlog)
    }

    /// `count` more bytes wait on `conn`: plans the send and keeps the bounds.
    fn queued(&mut self, conn: ConnId, count: usize) {
        self.unsent += count;
        let connection = self.connections.get_mut(conn).expect("bytes were queued on it");
        let unsent = connection.backlog.unsent();
        let over_mark = unsent > self.bounds.unsent_bytes_mark;
        let over_total = over_mark && self.unsent > self.bounds.unsent_bytes_total_max;
        if unsent > self.bounds.unsent_bytes_max || over_total {
            return self.give_up(conn, CloseReason::SlowReader);
        }
        connection.over_mark |= over_mark;
        self.plan_send(conn);
    }

    /// Ends `conn` at the next turn, whatever is queued.
    fn give_up(&mut self, conn: ConnId, reason: CloseReason) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.stage = Stage::Closing;
            self.to_end.push((conn, reason));
        }
    }

    fn finish(&mut self, conn: ConnId, reason: CloseReason, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.remove(conn) else { return };
        let end = connection.end;
        self.unsent -= connection.backlog.unsent();
        self.by_end.remove(&end);
        match reason {
            CloseReason::Local if connection.stage != Stage::Connecting => {
                self.net.with(|world| world.half_close(end));
                self.lingering.insert(end, self.net.now() + self.bounds.linger_max);
                self.to_hear.push(end);
            }
            CloseReason::Local | CloseReason::Peer => self.net.with(|world| world.close(end)),
            CloseReason::SlowReader | CloseReason::ConnectFailed | CloseReason::Os(_) => {
                self.net.with(|world| world.reset(end));
            }
        }
        events.push(Event::Closed { conn, reason });
    }

    fn side<R>(&self, act: impl FnOnce(&mut super::world::NetworkSide) -> R) -> R {
        self.net.with(|world| act(&mut world.networks[self.number]))
    }

    fn trace(&self, events: &[Event]) {
        self.net.with(|world| {
            for event in events {
                let (kind, conn, more) = match *event {
                    Event::Opened { conn, .. } => (16, conn, 0),
                    Event::Data { conn, buffer } => (17, conn, u64::from(buffer.len)),
                    Event::HalfClosed { conn } => (18, conn, 0),
                    Event::Drained { conn } => (19, conn, 0),
                    Event::Closed { conn, .. } => (20, conn, 0),
                };
                let (slot, generation) = (u64::from(conn.slot), u64::from(conn.generation));
                world.trace_words(&[kind, self.number as u64, slot, generation, more]);
            }
        });
    }
}

impl<S: StableBytes> Network for SimNetwork<S> {
    type Slice = S;

    fn turn(&mut self, events: &mut Vec<Event>) {
        let first = events.len();
        self.buffers.clear();
        self.side(|side| {
            side.armed = false;
            side.look = false;
        });
        for (conn, reason) in std::mem::take(&mut self.to_end) {
            self.finish(conn, reason, events);
        }
        self.send(events);
        self.accept(events);
        self.hear(events);
        self.mind_the_clock(events);
        self.trace(&events[first..]);
    }

    fn bytes(&self, buffer: BufferRef) -> &[u8] {
        let bytes = &self.buffers[buffer.index as usize];
        assert_eq!(bytes.len(), buffer.len as usize, "a buffer is of the latest turn");
        bytes
    }

    fn queue(&mut self, conn: ConnId, bytes: &mut Vec<u8>) {
        let count = bytes.len();
        if let Some(backlog) = self.backlog_for(conn) {
            backlog.queue(bytes);
            self.queued(conn, count);
        }
        bytes.clear();
    }

    fn queue_slices(&mut self, conn: ConnId, head: &[u8], slices: &mut Vec<S>) {
        if let Some(backlog) = self.backlog_for(conn) {
            let before = backlog.unsent();
            backlog.queue_slices(head, slices);
            let count = backlog.unsent() - before;
            self.queued(conn, count);
        }
        slices.clear();
    }

    fn unsent(&self, conn: ConnId) -> usize {
        self.connections.get(conn).map_or(0, |connection| connection.backlog.unsent())
    }

    fn connect(&mut self, peer: SocketAddr) -> ConnId {
        let end = self.net.with(|world| world.connect(Holder::Network(self.number), peer));
        self.insert(Connection::new(end, peer, Stage::Connecting))
    }

    fn pause(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn).filter(|connection| !connection.paused) {
            connection.paused = true;
            // What is on its way when the receive is cancelled may still come, or not.
            connection.still_receives = self.net.with(|world| world.random.chance(500));
            self.to_hear.push(connection.end);
        }
    }

    fn resume(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.paused = false;
            connection.still_receives = false;
            self.to_hear.push(connection.end);
        }
    }

    fn close(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        match connection.stage {
            Stage::Closing => {}
            Stage::Open if !connection.backlog.is_empty() => connection.stage = Stage::Closing,
            Stage::Open | Stage::Connecting => {
                let reason = connection.reason_to_close();
                self.give_up(conn, reason);
            }
        }
    }

    fn stop_accepting(&mut self) {
        self.stopped = true;
        self.net.with(|world| world.stop_listening(self.number));
    }

    fn arm(&mut self) -> bool {
        let planned = !(self.to_hear.is_empty() && self.to_send.is_empty() && self.to_end.is_empty());
        let armed = !planned && !self.side(|side| side.has_work());
        self.side(|side| side.armed = armed);
        armed
    }

    fn kick(&self) {
        let on_ready = self.net.with(|world| world.on_ready_of(self.number));
        on_ready();
    }

    fn connections(&self) -> usize {
        self.connections.len()
    }
}

impl<S: StableBytes> Drop for SimNetwork<S> {
    fn drop(&mut self) {
        self.net.with(|world| {
            world.stop_listening(self.number);
            self.by_end.keys().chain(self.lingering.keys()).for_each(|end| world.reset(*end));
        });
    }
}
