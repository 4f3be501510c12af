//! Listeners, connections accepted on them, and connections that we ask for.
//!
//! When descriptors or memory run out, accepting fails at once for as long as the cause lasts. So after
//! such a failure the waiting client is refused through a spare descriptor, and accepting pauses.

use super::connection::{Connection, Stage};
use super::error::ListenError;
use super::queues::Completion;
use super::user_data::{Kind, UserData};
use super::{Ring, sockets};
use crate::network::{CloseReason, ConnId, Event, StableBytes};
use io_uring::{opcode, types};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

pub(super) struct Listeners {
    listeners: Vec<Listener>,
    /// Closed to refuse a client when no other descriptor is to be had.
    spare: Option<OwnedFd>,
    /// A pause after a failure is planned or under way.
    back_off: BackOff,
    stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BackOff {
    None,
    Wanted,
    UnderWay,
}

struct Listener {
    /// Absent once accepting has stopped.
    socket: Option<OwnedFd>,
    accepting: bool,
}

impl Listeners {
    pub(super) fn new() -> Listeners {
        Listeners {
            listeners: Vec::new(),
            spare: sockets::spare().ok(),
            back_off: BackOff::None,
            stopped: false,
        }
    }

    pub(super) fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let socket = sockets::listen(address)?;
        let local = sockets::local_address(socket.as_raw_fd())
            .map_err(|source| ListenError::Os { address, source })?;
        self.listeners.push(Listener { socket: Some(socket), accepting: false });
        Ok(local)
    }

    pub(super) fn any_to_start(&self) -> bool {
        self.back_off == BackOff::None && self.listeners.iter().any(Listener::is_to_start)
    }

    pub(super) fn back_off_is_over(&mut self) {
        self.back_off = BackOff::None;
    }

    pub(super) fn wants_back_off(&self) -> bool {
        self.back_off == BackOff::Wanted
    }

    /// Whether a pause is wanted, and notes that it is under way.
    pub(super) fn take_back_off(&mut self) -> bool {
        let wanted = self.wants_back_off();
        if wanted {
            self.back_off = BackOff::UnderWay;
        }
        wanted
    }

    /// Refuses the client that waits at `listener`, with the spare descriptor, and pauses.
    fn out_of_descriptors(&mut self, listener: u32) {
        if self.back_off == BackOff::None {
            self.back_off = BackOff::Wanted;
        }
        self.spare = None;
        if let Some(socket) = self.listeners.get(listener as usize).and_then(|l| l.socket.as_ref()) {
            sockets::refuse_one(socket);
        }
        self.spare = sockets::spare().ok();
    }
}

impl Listener {
    fn is_to_start(&self) -> bool {
        self.socket.is_some() && !self.accepting
    }
}

impl<S: StableBytes> Ring<S> {
    pub(super) fn start_accepts(&mut self) {
        if self.listeners.back_off != BackOff::None {
            return;
        }
        for at in 0..self.listeners.listeners.len() {
            let listener = &mut self.listeners.listeners[at];
            let Some(socket) = listener.socket.as_ref().filter(|_| !listener.accepting) else { continue };
            let entry =
                opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
            listener.accepting = true;
            // SAFETY: an accept without an address points to nothing.
            unsafe { self.push_alone(Kind::Accept, at as u32, entry) };
        }
    }

    pub(super) fn accepted(&mut self, listener: u32, completion: Completion, events: &mut Vec<Event>) {
        if !completion.more() {
            let place = &mut self.listeners.listeners[listener as usize];
            place.accepting = false;
            if self.listeners.stopped {
                place.socket = None;
            }
        }
        match completion.result {
            descriptor @ 0.. => {
                let socket = sockets::owned(descriptor).expect("not negative");
                self.open_accepted(listener, socket, events);
            }
            error => match -error {
                libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                    self.counts.accepts_failed += 1;
                    self.listeners.out_of_descriptors(listener);
                }
                // The client was gone before it was accepted, or we stopped.
                libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::ECANCELED => {}
                other => {
                    tracing::warn!(error = %std::io::Error::from_raw_os_error(other), "accept failed");
                    self.counts.accepts_failed += 1;
                    self.listeners.out_of_descriptors(listener);
                }
            },
        }
    }

    fn open_accepted(&mut self, listener: u32, socket: OwnedFd, events: &mut Vec<Event>) {
        if self.listeners.stopped || self.connections.len() >= self.config.bounds.connections_max {
            self.counts.refused += 1;
            return;
        }
        // A client that has gone already has no address any more.
        let Ok(peer) = sockets::peer_address(socket.as_raw_fd()) else { return };
        self.counts.accepted += 1;
        self.open += 1;
        let conn = self.connections.insert(Connection::new(Some(socket), peer, Stage::Open));
        events.push(Event::Opened { conn, listener: Some(listener as usize), peer });
        self.plan_receive(conn);
    }

    /// Cancels the accepts; each listener is closed when its accept has ended.
    pub(super) fn stop_accepts(&mut self) {
        self.listeners.stopped = true;
        for at in 0..self.listeners.listeners.len() {
            let listener = &mut self.listeners.listeners[at];
            if !listener.accepting {
                listener.socket = None;
                continue;
            }
            let entry = opcode::AsyncCancel::new(UserData::alone(Kind::Accept, at as u32)).build();
            // SAFETY: a cancellation points to nothing.
            unsafe { self.push_alone(Kind::Cancel, 0, entry) };
        }
    }

    pub(super) fn start_connect(&mut self, peer: SocketAddr) -> ConnId {
        self.open += 1;
        let Ok(socket) = sockets::for_connecting_to(peer) else {
            let conn = self.connections.insert(Connection::new(None, peer, Stage::Closing));
            self.to_end.push((conn, CloseReason::ConnectFailed));
            return conn;
        };
        let address = Box::new(sockets::KernelAddress::of(peer));
        let entry =
            opcode::Connect::new(types::Fd(socket.as_raw_fd()), address.as_ptr(), address.len()).build();
        let mut connection = Connection::new(Some(socket), peer, Stage::Connecting);
        connection.connecting_to = Some(address);
        let conn = self.connections.insert(connection);
        // SAFETY: the address is boxed, and kept by the connection until this operation has completed.
        unsafe { self.push(Kind::Connect, conn, entry) };
        conn
    }

    pub(super) fn connected(&mut self, tag: UserData, completion: Completion, events: &mut Vec<Event>) {
        let Some((conn, connection)) = self.connection_of(tag) else { return };
        connection.outstanding -= 1;
        connection.connecting_to = None;
        if connection.has_ended() {
            self.forget_if_quiet(conn);
            return;
        }
        if completion.result < 0 {
            self.finish(conn, CloseReason::ConnectFailed, events);
            return;
        }
        connection.stage = Stage::Open;
        let peer = connection.peer;
        events.push(Event::Opened { conn, listener: None, peer });
        self.plan_receive(conn);
        self.plan_send(conn);
    }
}
