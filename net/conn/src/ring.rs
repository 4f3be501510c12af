//! The network on io_uring: one ring, one thread, any number of connections.
//!
//!     turn ─► give receive buffers back ─┬─► end what is to end ─► receives, sends, accepts ─► enter ─┐
//!                                        └──── while the kernel has more work ◄─── completions ◄──────┘
//!
//! Invariants
//!  1. One multishot receive per connection at most, out of buffers that all connections share.
//!  2. One send in flight per connection; what is queued meanwhile goes with the next one.
//!  3. What the kernel was given stays in place until its completion: buffers, slices, message headers.
//!  4. A slot and its socket are freed when nothing of theirs is outstanding, and not before.
//!  5. A received buffer is given back whatever became of its connection.
//!
//! The ring belongs to the thread that made it. Its completions signal `ready_fd` only while armed.
//!
//! Parts: `queues` the ring itself, `buffers` shared receive buffers, `slots` and `connection` who is
//! connected, `outbound` what is being sent, `accepting` `receiving` `sending` `ending` `waiting` what
//! is done in a turn, `sockets` direct system calls. All `unsafe` of this crate is in them.
//!
//! Not here: when to turn and when to sleep (the shard loop), what the bytes mean.

mod accepting;
mod buffers;
mod connection;
mod ending;
mod error;
mod outbound;
mod queues;
mod receiving;
mod sending;
mod sockets;
mod user_data;
mod waiting;

pub use error::{ListenError, RingError};
pub use queues::QueueCounts;

use crate::limits;
use crate::limits::Bounds;
use crate::network::{BufferRef, CloseReason, ConnId, Event, Network, StableBytes};
use crate::slots::Slots;
use accepting::Listeners;
use buffers::Buffers;
use connection::Connection;
use queues::{Completion, Queues};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use user_data::{Kind, UserData};
use waiting::Clock;

/// How large a ring is. The defaults are those of [`limits`]; tests bring the edges near.
#[derive(Debug, Clone)]
pub struct RingConfig {
    /// A power of two.
    pub submissions: u32,
    /// A power of two, not below `submissions`.
    pub completions: u32,
    /// A power of two.
    pub recv_buffers: u16,
    /// See [`limits::RECV_BUFFER_BYTES`].
    pub recv_buffer_bytes: u32,
    /// How many connections, how far behind, for how long.
    pub bounds: Bounds,
}

impl Default for RingConfig {
    fn default() -> Self {
        RingConfig {
            submissions: limits::SUBMISSIONS,
            completions: limits::COMPLETIONS,
            recv_buffers: limits::RECV_BUFFERS,
            recv_buffer_bytes: limits::RECV_BUFFER_BYTES,
            bounds: Bounds::default(),
        }
    }
}

/// What has happened since the ring was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingCounts {
    /// Calls of `turn`.
    pub turns: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Accepted and closed at once, because the table was full or the ring had stopped accepting.
    pub refused: u64,
    /// Accepts that failed for want of descriptors or memory.
    pub accepts_failed: u64,
    /// Receives that ended because all buffers were out.
    pub buffers_exhausted: u64,
    /// Connections closed because their answers were not taken.
    pub slow_readers: u64,
}

/// The network of one shard. One per shard; never leaves its thread.
pub struct Ring<S: StableBytes> {
    queues: Queues,
    buffers: Buffers,
    connections: Slots<Connection<S>>,
    /// Connections that have not ended.
    open: usize,
    /// Operations of any kind whose last completion has not come.
    outstanding: usize,
    listeners: Listeners,
    to_receive: Vec<ConnId>,
    to_send: Vec<ConnId>,
    to_end: Vec<(ConnId, CloseReason)>,
    /// Unsent bytes of all connections that have not ended.
    unsent: usize,
    /// Connections whose peer has half-closed and that have not ended.
    half_closed: usize,
    /// Connections that are only read from until their peers close, too.
    lingering: usize,
    idle_outbounds: outbound::Idle<S>,
    clock: Clock,
    completions: Vec<Completion>,
    config: RingConfig,
    counts: RingCounts,
    /// The kernel accepts submissions of the making thread only.
    stays_on_its_thread: PhantomData<*mut ()>,
}

impl<S: StableBytes> Ring<S> {
    /// Makes the ring on the calling thread, which is the only one that may use it.
    pub fn new(config: RingConfig) -> Result<Ring<S>, RingError> {
        let queues = Queues::new(config.submissions, config.completions)?;
        let buffers = Buffers::new(&queues, config.recv_buffers, config.recv_buffer_bytes)?;
        Ok(Ring {
            queues,
            buffers,
            connections: Slots::new(),
            open: 0,
            outstanding: 0,
            listeners: Listeners::new(),
            to_receive: Vec::new(),
            to_send: Vec::new(),
            to_end: Vec::new(),
            unsent: 0,
            half_closed: 0,
            lingering: 0,
            idle_outbounds: outbound::Idle::new(),
            clock: Clock::new(&config.bounds),
            completions: Vec::new(),
            config,
            counts: RingCounts::default(),
            stays_on_its_thread: PhantomData,
        })
    }

    /// Listens on `address` (port 0: any) and returns where. Listeners are numbered in order, from 0.
    pub fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        self.listeners.listen(address)
    }

    /// The non-blocking event counter that becomes readable when an armed ring has something to do, or
    /// was kicked. Whoever waits for it reads its eight bytes before the next `arm`.
    pub fn ready_fd(&self) -> BorrowedFd<'_> {
        self.queues.ready_fd()
    }

    /// Waits for the readiness of an armed ring, for at most `patience`, and takes it: for owners without
    /// a runtime to wait in. `false` if nothing came.
    pub fn wait_ready(&self, patience: Duration) -> bool {
        sockets::wait_for_signal(self.queues.ready_fd(), patience)
    }

    /// What has happened so far.
    pub fn counts(&self) -> RingCounts {
        self.counts
    }

    /// How often the ring was entered, and its rare paths were taken.
    pub fn queue_counts(&self) -> QueueCounts {
        self.queues.counts
    }

    /// Whose connection a completion belongs to, unless that has ended and been forgotten.
    fn connection_of(&mut self, tag: UserData) -> Option<(ConnId, &mut Connection<S>)> {
        let conn = self.connections.occupant(tag.slot).filter(|conn| tag.is_of(conn.generation))?;
        Some((conn, self.connections.get_mut(conn)?))
    }

    /// Gives the kernel an operation of `conn`.
    ///
    /// # Safety
    /// As for [`Queues::push`]: what it points to stays until its last completion.
    unsafe fn push(&mut self, kind: Kind, conn: ConnId, entry: io_uring::squeue::Entry) {
        self.connections.get_mut(conn).expect("operations are of connections that are there").outstanding +=
            1;
        self.outstanding += 1;
        // SAFETY: passed on to our caller.
        unsafe { self.queues.push(entry.user_data(UserData::of(kind, conn))) };
    }

    /// Gives the kernel an operation that is of no connection.
    ///
    /// # Safety
    /// As for [`Queues::push`].
    unsafe fn push_alone(&mut self, kind: Kind, slot: u32, entry: io_uring::squeue::Entry) {
        self.outstanding += 1;
        // SAFETY: passed on to our caller.
        unsafe { self.queues.push(entry.user_data(UserData::alone(kind, slot))) };
    }

    fn complete(&mut self, completion: Completion, events: &mut Vec<Event>) {
        if let Some(buffer) = completion.buffer() {
            self.buffers.lend(buffer);
        }
        if !completion.more() {
            self.outstanding -= 1;
        }
        let tag = UserData::read(completion.user_data).expect("completions carry what we submitted");
        match tag.kind {
            Kind::Accept => self.accepted(tag.slot, completion, events),
            Kind::Receive => self.received(tag, completion, events),
            Kind::Send => self.sent(tag, completion, events),
            Kind::Connect => self.connected(tag, completion, events),
            Kind::CancelOfConnection => self.cancelled(tag),
            Kind::Cancel => {}
            Kind::BackOff => self.listeners.back_off_is_over(),
            Kind::Tick => self.tick(),
        }
    }
}

impl<S: StableBytes> Network for Ring<S> {
    type Slice = S;

    fn turn(&mut self, events: &mut Vec<Event>) {
        self.counts.turns += 1;
        self.queues.silence();
        self.buffers.give_back();
        for _ in 0..limits::ROUNDS_PER_TURN_MAX {
            self.end_those_to_end(events);
            self.start_receives();
            self.start_sends();
            self.start_accepts();
            self.start_timers();
            if !self.queues.has_unsubmitted() && !self.queues.has_work() {
                break;
            }
            let mut completions = std::mem::take(&mut self.completions);
            self.queues.enter(&mut completions);
            for completion in completions.drain(..) {
                self.complete(completion, events);
            }
            self.completions = completions;
            if !self.queues.has_work() || self.buffers.half_are_lent() {
                break;
            }
        }
    }

    fn bytes(&self, buffer: BufferRef) -> &[u8] {
        self.buffers.bytes(buffer)
    }

    fn queue(&mut self, conn: ConnId, bytes: &mut Vec<u8>) {
        let count = bytes.len();
        if let Some(outbound) = self.outbound_for(conn) {
            outbound.backlog.queue(bytes);
            self.queued(conn, count);
        }
        bytes.clear();
    }

    fn queue_slices(&mut self, conn: ConnId, head: &[u8], slices: &mut Vec<S>) {
        if let Some(outbound) = self.outbound_for(conn) {
            let before = outbound.backlog.unsent();
            outbound.backlog.queue_slices(head, slices);
            let count = outbound.backlog.unsent() - before;
            self.queued(conn, count);
        }
        slices.clear();
    }

    fn unsent(&self, conn: ConnId) -> usize {
        let outbound =
            self.connections.get(conn).filter(|c| !c.has_ended()).and_then(|c| c.outbound.as_ref());
        outbound.map_or(0, |outbound| outbound.backlog.unsent())
    }

    fn connect(&mut self, peer: SocketAddr) -> ConnId {
        self.start_connect(peer)
    }

    fn pause(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.paused = true;
            self.stop_receive(conn);
        }
    }

    fn resume(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.paused = false;
            self.plan_receive(conn);
        }
    }

    fn close(&mut self, conn: ConnId) {
        self.begin_close(conn);
    }

    fn stop_accepting(&mut self) {
        self.stop_accepts();
    }

    fn arm(&mut self) -> bool {
        let planned = !(self.to_receive.is_empty() && self.to_send.is_empty() && self.to_end.is_empty());
        let to_start = planned || self.listeners.any_to_start() || self.wants_timer();
        if to_start || self.queues.has_unsubmitted() {
            return false;
        }
        self.queues.listen_for_work()
    }

    fn kick(&self) {
        self.queues.kick();
    }

    fn connections(&self) -> usize {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::fd::AsRawFd;

    #[test]
    fn an_idle_connection_holds_a_slot_and_nothing_else() {
        let mut ring = Ring::<Box<[u8]>>::new(RingConfig::default()).expect("io_uring works here");
        let address = ring.listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let mut client = TcpStream::connect(address).expect("the backlog has room");
        client.write_all(&[7; 100_000]).expect("the socket has room");
        let mut events = Vec::new();
        let mut echoed = 0;
        while echoed < 100_000 || !ring.arm() {
            ring.turn(&mut events);
            for event in events.drain(..) {
                if let Event::Data { conn, buffer } = event {
                    let mut bytes = ring.bytes(buffer).to_vec();
                    echoed += bytes.len();
                    ring.queue(conn, &mut bytes);
                }
            }
        }
        client.read_exact(&mut [0; 100_000]).expect("the echo");
        ring.turn(&mut events);
        let (_, connection) = ring.connections.iter().next().expect("one connection");
        assert!(connection.outbound.is_none(), "no send buffer");
        assert_eq!(ring.buffers.lent(), 0, "no receive buffer");
        let slot = Slots::<Connection<Box<[u8]>>>::SLOT_BYTES;
        let frames = size_of::<crate::frames::Frames>() + limits::TAIL_KEPT_BYTES_MAX;
        assert!(slot + frames <= limits::IDLE_CONNECTION_BYTES_MAX, "{slot} + {frames}");
    }

    #[test]
    fn answers_are_not_delayed() {
        let mut ring = Ring::<Box<[u8]>>::new(RingConfig::default()).expect("io_uring works here");
        let address = ring.listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        ring.connect(address);
        while ring.open < 2 {
            ring.turn(&mut Vec::new());
        }
        for (_, connection) in ring.connections.iter() {
            let socket = connection.socket.as_ref().expect("both ends are open").as_raw_fd();
            let (mut on, mut len): (libc::c_int, _) = (0, size_of::<libc::c_int>() as libc::socklen_t);
            // SAFETY: `on` is writable, and `len` is its size.
            let result = unsafe {
                libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, (&raw mut on).cast(), &mut len)
            };
            assert_eq!((result, on), (0, 1));
        }
    }
}
