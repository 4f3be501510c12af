//! What the conformance tests stand on: a network under test, its clients, and a world that drives both.
//!
//! Nothing sleeps: a step is one turn of the network and one look at every client; between steps the bed
//! waits until the network or a client has something to do (`poll(2)`, or the simulated clock).

use ringmq_conn::limits::Bounds;
use ringmq_conn::{CloseReason, ConnId, Event, Network};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The bounds that the tests bring near.
pub fn bounds() -> Bounds {
    Bounds {
        connections_max: 100,
        unsent_bytes_mark: 256 * 1024,
        unsent_bytes_max: 32 * 1024 * 1024,
        ..Bounds::default()
    }
}

/// A network under test.
pub trait Bed {
    type Net: Network<Slice = Box<[u8]>>;
    type Client: Client;

    fn new(bounds: Bounds) -> Self;
    fn net(&mut self) -> &mut Self::Net;
    /// A new listener on any free port.
    fn listen(&mut self) -> SocketAddr;
    /// An address at which nobody listens.
    fn nobody(&mut self) -> SocketAddr;
    fn connect(&mut self, to: SocketAddr) -> Self::Client;
    /// Returns when the armed network, or a client that is looked at, has something to do.
    fn wait(&mut self, clients: &[Side<Self::Client>]);
}

/// A client's end of a connection; never waits.
pub trait Client {
    /// Hands over as many bytes as go now; `None` if the other side takes no more, ever.
    fn send(&mut self, bytes: &[u8]) -> Option<usize>;
    /// Appends what has come.
    fn take(&mut self, into: &mut Vec<u8>) -> Came;
    fn half_close(&mut self);
    /// Ends the connection so that the other side sees an error. (Dropping ends it in good order.)
    fn reset(self);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    Bytes,
    Nothing,
    /// The network has closed, in good order.
    End,
    /// The network has reset, or nobody listened.
    Reset,
}

/// A client, what it still wants to send and what it has received.
pub struct Side<C> {
    pub client: Option<C>,
    pub unsent: Vec<u8>,
    pub received: Vec<u8>,
    pub end: Option<Came>,
    /// The other side did not take everything.
    pub send_failed: bool,
    pub reading: bool,
    pub half_close_when_sent: bool,
}

/// How the network's owner behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Answers every byte with itself; closes after a half-close.
    Echo,
    /// Does nothing by itself.
    Silent,
}

/// A network, its owner and its clients.
pub struct World<B: Bed> {
    pub bed: B,
    pub owner: Owner,
    pub sides: Vec<Side<B::Client>>,
    pub opened: Vec<ConnId>,
    pub received: BTreeMap<ConnId, Vec<u8>>,
    pub half_closed: Vec<ConnId>,
    pub drained: Vec<ConnId>,
    pub closed: Vec<(ConnId, CloseReason)>,
    pub address: SocketAddr,
    events: Vec<Event>,
}

impl<B: Bed> World<B> {
    pub fn new(owner: Owner, bounds: Bounds) -> World<B> {
        World::on(owner, B::new(bounds))
    }

    pub fn on(owner: Owner, mut bed: B) -> World<B> {
        let address = bed.listen();
        World {
            bed,
            owner,
            sides: Vec::new(),
            opened: Vec::new(),
            received: BTreeMap::new(),
            half_closed: Vec::new(),
            drained: Vec::new(),
            closed: Vec::new(),
            address,
            events: Vec::new(),
        }
    }

    pub fn net(&mut self) -> &mut B::Net {
        self.bed.net()
    }

    /// A new client, not yet accepted; returns its index in `sides`.
    pub fn client(&mut self) -> usize {
        let client = self.bed.connect(self.address);
        self.sides.push(Side {
            client: Some(client),
            unsent: Vec::new(),
            received: Vec::new(),
            end: None,
            send_failed: false,
            reading: true,
            half_close_when_sent: false,
        });
        self.sides.len() - 1
    }

    /// A new client that has been accepted: its index, and its connection.
    pub fn open(&mut self) -> (usize, ConnId) {
        let before = self.opened.len();
        let client = self.client();
        self.until("a client is accepted", |world| world.opened.len() > before);
        (client, *self.opened.last().expect("it was accepted"))
    }

    pub fn queue(&mut self, conn: ConnId, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        self.net().queue(conn, &mut bytes);
        assert!(bytes.is_empty(), "the contents are taken");
    }

    pub fn received_from(&self, conn: ConnId) -> &[u8] {
        self.received.get(&conn).map_or(&[], Vec::as_slice)
    }

    pub fn reason(&self, conn: ConnId) -> Option<CloseReason> {
        self.closed.iter().find(|(closed, _)| *closed == conn).map(|(_, reason)| *reason)
    }

    /// Steps until `done`, waiting whenever nothing is to do.
    pub fn until(&mut self, what: &str, done: impl Fn(&World<B>) -> bool) {
        for _ in 0..200_000 {
            self.step();
            if done(self) {
                return;
            }
            if self.net().arm() {
                self.bed.wait(&self.sides);
            }
        }
        panic!("never: {what}");
    }

    /// Steps until the network has nothing more to do by itself, without waiting for anybody.
    pub fn settle(&mut self) {
        for _ in 0..200_000 {
            self.step();
            if self.net().arm() {
                return;
            }
        }
        panic!("never settles");
    }

    /// One turn, its events recorded and answered, and one look at every client.
    pub fn step(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        self.bed.net().turn(&mut events);
        for event in events.drain(..) {
            self.handle(event);
        }
        self.events = events;
        for side in &mut self.sides {
            side.look();
        }
    }

    fn handle(&mut self, event: Event) {
        let name = match event {
            Event::Opened { conn, .. }
            | Event::Data { conn, .. }
            | Event::HalfClosed { conn }
            | Event::Drained { conn }
            | Event::Closed { conn, .. } => conn,
        };
        assert_eq!(self.reason(name), None, "nothing is heard of a closed connection: {event:?}");
        match event {
            Event::Opened { conn, .. } => {
                assert!(!self.opened.contains(&conn), "a name is used once");
                self.opened.push(conn);
            }
            Event::Data { conn, buffer } => {
                assert!(self.opened.contains(&conn) && !self.half_closed.contains(&conn));
                let mut bytes = self.bed.net().bytes(buffer).to_vec();
                self.received.entry(conn).or_default().extend_from_slice(&bytes);
                if self.owner == Owner::Echo {
                    self.bed.net().queue(conn, &mut bytes);
                }
            }
            Event::HalfClosed { conn } => {
                self.half_closed.push(conn);
                if self.owner == Owner::Echo {
                    self.bed.net().close(conn);
                }
            }
            Event::Drained { conn } => self.drained.push(conn),
            Event::Closed { conn, reason } => self.closed.push((conn, reason)),
        }
    }
}

impl<C: Client> Side<C> {
    fn look(&mut self) {
        let Some(client) = &mut self.client else { return };
        if !self.unsent.is_empty() {
            match client.send(&self.unsent) {
                Some(sent) => drop(self.unsent.drain(..sent)),
                None => {
                    self.send_failed = true;
                    self.unsent.clear();
                }
            }
        }
        if self.unsent.is_empty() && self.half_close_when_sent {
            self.half_close_when_sent = false;
            client.half_close();
        }
        while self.reading && self.end.is_none() {
            match client.take(&mut self.received) {
                Came::Bytes => {}
                Came::Nothing => break,
                end => self.end = Some(end),
            }
        }
    }

    /// Closes in good order.
    pub fn close(&mut self) {
        self.client = None;
    }

    pub fn reset(&mut self) {
        self.client.take().expect("a client is reset once").reset();
    }
}

/// Bytes that show where they are from.
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at.wrapping_mul(31) ^ (at >> 8).wrapping_mul(7)) as u8).collect()
}
