//! The simulated network under test, with clients beside it.

use crate::bed::{Bed, Came, Client, Side, bounds};
use ringmq_conn::limits::Bounds;
use ringmq_conn::sim::{self, Faults, SimNet, SimNetwork, SimPeer};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub struct SimBed {
    net: SimNet,
    network: SimNetwork<Box<[u8]>>,
    called: Rc<Cell<bool>>,
}

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// Tells a story several times, each under another seed.
pub fn for_some_seeds(story: fn()) {
    for seed in 0..5 {
        SEED.set(seed);
        // Shown if the story fails.
        println!("seed {seed}");
        story();
    }
}

impl SimBed {
    /// Faults of `seed`, short of cuts and refusals: every story can still end well.
    pub fn under(seed: u64) -> SimBed {
        let faults = Faults { cut_chance: 0, refuse_chance: 0, ..Faults::mix(seed) };
        let faults = Faults {
            segment_bytes_max: faults.segment_bytes_max.max(1000),
            window_bytes: faults.window_bytes.max(4000),
            stall_max: faults.stall_max.min(Duration::from_secs(1)),
            ..faults
        };
        SimBed::on(SimNet::new(seed, faults), bounds())
    }

    fn on(net: SimNet, bounds: Bounds) -> SimBed {
        let called = Rc::new(Cell::new(false));
        let call = called.clone();
        let network = net.network(bounds, Rc::new(move || call.set(true)));
        SimBed { net, network, called }
    }
}

impl Bed for SimBed {
    type Net = SimNetwork<Box<[u8]>>;
    type Client = SimPeer;

    fn new(bounds: Bounds) -> Self {
        let faults = Faults { partial_turn_chance: 300, ..Faults::none() };
        SimBed::on(SimNet::new(SEED.get(), faults), bounds)
    }

    fn net(&mut self) -> &mut Self::Net {
        &mut self.network
    }

    fn listen(&mut self) -> SocketAddr {
        self.network.listen("127.0.0.1:0".parse().expect("an address")).expect("a free port")
    }

    fn nobody(&mut self) -> SocketAddr {
        "127.0.0.1:9".parse().expect("an address")
    }

    fn connect(&mut self, to: SocketAddr) -> SimPeer {
        self.net.connect(to)
    }

    fn wait(&mut self, _: &[Side<SimPeer>]) {
        if self.called.replace(false) {
            return;
        }
        let due = self.net.next_due().expect("nothing will ever happen");
        self.net.advance(due);
        self.called.set(false);
    }
}

impl Client for SimPeer {
    fn send(&mut self, bytes: &[u8]) -> Option<usize> {
        Some(SimPeer::send(self, bytes))
    }

    fn take(&mut self, into: &mut Vec<u8>) -> Came {
        match SimPeer::take(self, into) {
            sim::Came::Bytes => Came::Bytes,
            sim::Came::Nothing => Came::Nothing,
            sim::Came::End => Came::End,
            sim::Came::Reset => Came::Reset,
        }
    }

    fn half_close(&mut self) {
        SimPeer::half_close(self);
    }

    fn reset(self) {
        SimPeer::reset(self);
    }
}
