//! The network's simulated twin: the same interface, decided by one seed, on a clock that the test moves.
//!
//!     SimNet ─┬─ SimNetwork (one per shard) ─┐
//!             ├─ SimNetwork                  ├─ links: two pipes each, bytes in order, or a reset
//!             └─ SimPeer (any number) ───────┘
//!
//! A harness makes one [`SimNet`], networks and clients on it, and then repeats: run whoever is ready, ask
//! [`SimNet::next_due`], move its clock there with [`SimNet::advance`].
//!
//! Invariants
//!  1. The same seed and the same calls give the same events and the same [`SimNet::trace`].
//!  2. Bytes of one direction arrive in order and unchanged, or the connection ends: what TCP promises.
//!  3. Nothing crosses in no time: what one holder does, another sees after an `advance`.
//!  4. Pausing, marks, bounds and closing follow `network` as the ring does; one test suite holds both to it.
//!
//! Not here: the disk's and the scheduler's twins (`ringmq_engine::env::sim`).

mod faults;
mod link;
mod network;
mod peer;
mod random;
mod world;

pub use faults::Faults;
pub use network::SimNetwork;
pub use peer::{Came, SimPeer};

use crate::limits::Bounds;
use crate::network::StableBytes;
use link::Holder;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use world::World;

/// All connections of one simulation. Cheap to clone.
#[derive(Clone)]
pub struct SimNet {
    world: Rc<RefCell<World>>,
}

impl SimNet {
    /// A network in which `seed` decides everything that `faults` allow.
    pub fn new(seed: u64, faults: Faults) -> SimNet {
        SimNet { world: Rc::new(RefCell::new(World::new(seed, faults))) }
    }

    /// A shard's network. `on_ready` is called when it has something to do after it was armed, and when
    /// it is kicked; it wakes the shard and must not call back.
    pub fn network<S: StableBytes>(&self, bounds: Bounds, on_ready: Rc<dyn Fn()>) -> SimNetwork<S> {
        let number = self.with(|world| world.add_network(on_ready));
        SimNetwork::new(self.clone(), number, bounds)
    }

    /// A client that asks for a connection to `to`.
    pub fn connect(&self, to: SocketAddr) -> SimPeer {
        let (peer, end) = self.with(|world| {
            let peer = world.add_peer();
            (peer, world.connect(Holder::Peer(peer), to))
        });
        SimPeer::new(self.clone(), peer, end)
    }

    /// Lets everything happen that is due by `now`, in order, and tells whom it concerns.
    pub fn advance(&self, now: Duration) {
        self.with(|world| world.advance(now));
        let calls = self.with(World::take_calls);
        calls.iter().for_each(|call| call());
    }

    /// When something will next happen; `None` if nothing will until somebody does something.
    pub fn next_due(&self) -> Option<Duration> {
        self.with(|world| world.next_due())
    }

    /// The time to which it has been advanced.
    pub fn now(&self) -> Duration {
        self.with(|world| world.now)
    }

    /// From now on, other faults.
    pub fn set_faults(&self, faults: Faults) {
        self.with(|world| world.faults = faults);
    }

    /// A number that sums up everything that has happened, to compare two runs by.
    pub fn trace(&self) -> u64 {
        self.with(|world| world.trace())
    }

    /// Connections that at least one end still holds.
    pub fn links(&self) -> usize {
        self.with(|world| world.links())
    }

    fn with<R>(&self, act: impl FnOnce(&mut World) -> R) -> R {
        act(&mut self.world.borrow_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{CloseReason, Event, Network};

    /// An echo server and clients under a mix of faults, until nothing more happens.
    fn run(seed: u64) -> (u64, usize) {
        let net = SimNet::new(seed, Faults::mix(seed));
        let mut server: SimNetwork<Box<[u8]>> = net.network(Bounds::default(), Rc::new(|| ()));
        let address = server.listen("127.0.0.1:10911".parse().expect("an address")).expect("free");
        let mut peers: Vec<_> = (0..8).map(|_| Some((net.connect(address), 0, Vec::new()))).collect();
        let message: Vec<u8> = (0..200).collect();
        let mut events = Vec::new();
        let mut echoed = 0;
        for _ in 0..20_000 {
            while !server.arm() {
                server.turn(&mut events);
                for event in events.drain(..) {
                    match event {
                        Event::Data { conn, buffer } => {
                            let mut bytes = server.bytes(buffer).to_vec();
                            server.queue(conn, &mut bytes);
                        }
                        Event::HalfClosed { conn } => server.close(conn),
                        Event::Opened { .. } | Event::Drained { .. } | Event::Closed { .. } => {}
                    }
                }
            }
            for place in &mut peers {
                let Some((peer, sent, received)) = place else { continue };
                *sent += peer.send(&message[*sent..]);
                match peer.take(received) {
                    Came::Reset | Came::End => *place = None,
                    Came::Bytes | Came::Nothing => {
                        assert!(message.starts_with(received), "bytes arrive in order and unchanged");
                        if received.len() == message.len() {
                            echoed += 1;
                            *place = None;
                        }
                    }
                }
            }
            let Some(due) = net.next_due() else { break };
            net.advance(due);
        }
        assert_eq!(net.next_due(), None, "the run comes to an end");
        assert_eq!((server.connections(), net.links()), (0, 0), "nothing leaks");
        (net.trace(), echoed)
    }

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        let mut echoed = 0;
        for seed in 0..300 {
            let first = run(seed);
            assert_eq!(first, run(seed), "seed {seed}");
            echoed += first.1;
        }
        assert!(echoed > 300, "most mixes let most clients through: {echoed}");
        assert_ne!(run(1).0, run(2).0);
    }

    #[test]
    fn a_stalled_connection_holds_up_nobody_else() {
        let net = SimNet::new(1, Faults::none());
        let mut server: SimNetwork<Box<[u8]>> = net.network(Bounds::default(), Rc::new(|| ()));
        let address = server.listen("127.0.0.1:0".parse().expect("an address")).expect("free");
        let (mut stalled, mut other) = (net.connect(address), net.connect(address));
        let mut received = Vec::new();
        let run = |server: &mut SimNetwork<Box<[u8]>>, received: &mut Vec<u8>| {
            let mut events = Vec::new();
            for _ in 0..100 {
                server.turn(&mut events);
                for event in events.drain(..) {
                    if let Event::Data { buffer, .. } = event {
                        received.extend_from_slice(server.bytes(buffer));
                    }
                }
                net.next_due().into_iter().for_each(|due| net.advance(due));
            }
        };
        run(&mut server, &mut received);
        stalled.stall(true);
        assert_eq!((stalled.send(b"late"), other.send(b"early ")), (4, 6));
        run(&mut server, &mut received);
        assert_eq!(received, b"early ");
        stalled.stall(false);
        run(&mut server, &mut received);
        assert_eq!(received, b"early late");
    }

    #[test]
    fn both_ends_see_a_cut() {
        let net = SimNet::new(1, Faults::none());
        let mut server: SimNetwork<Box<[u8]>> = net.network(Bounds::default(), Rc::new(|| ()));
        let address = server.listen("127.0.0.1:0".parse().expect("an address")).expect("free");
        let mut peer = net.connect(address);
        net.advance(Duration::from_secs(1));
        let mut events = Vec::new();
        server.turn(&mut events);
        net.advance(Duration::from_secs(2));
        peer.cut();
        net.advance(Duration::from_secs(3));
        server.turn(&mut events);
        assert!(matches!(
            events[..],
            [Event::Opened { .. }, Event::Closed { reason: CloseReason::Peer, .. }]
        ));
        assert_eq!(peer.take(&mut Vec::new()), Came::Reset);
    }

    #[test]
    fn an_armed_network_is_called_once() {
        let net = SimNet::new(1, Faults::none());
        let calls = Rc::new(std::cell::Cell::new(0));
        let counted = calls.clone();
        let on_ready = Rc::new(move || counted.set(counted.get() + 1));
        let mut server: SimNetwork<Box<[u8]>> = net.network(Bounds::default(), on_ready);
        let address = server.listen("127.0.0.1:0".parse().expect("an address")).expect("free");
        let _peers: Vec<_> = (0..3).map(|_| net.connect(address)).collect();
        net.advance(Duration::from_secs(1));
        assert_eq!(calls.get(), 0, "it has not been armed");
        assert!(!server.arm(), "there is something to do");
        server.turn(&mut Vec::new());
        server.turn(&mut Vec::new());
        assert!(server.arm());
        let _late: Vec<_> = (0..3).map(|_| net.connect(address)).collect();
        net.advance(Duration::from_secs(2));
        assert_eq!(calls.get(), 1);
        server.kick();
        assert_eq!(calls.get(), 2);
    }
}
