//! All links of one simulation, and the list of what is due when.
//!
//! Everything that crosses from one holder to another goes through the list, at least a microsecond ahead,
//! so that time decides the order and the seed decides the time.

use super::faults::Faults;
use super::link::{End, EndId, Holder, Link, Pipe, Segment};
use super::random::{Random, mix};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// The least time that anything takes.
const TICK: Duration = Duration::from_micros(1);

pub(super) struct World {
    pub now: Duration,
    pub random: Random,
    pub faults: Faults,
    pub networks: Vec<NetworkSide>,
    peers: Vec<Option<Rc<dyn Fn()>>>,
    links: BTreeMap<u64, Link>,
    links_made: u64,
    listeners: BTreeMap<SocketAddr, Listener>,
    /// In order of time, then of planning.
    due: BTreeMap<(Duration, u64), Due>,
    planned: u64,
    trace: u64,
    /// To be called when nobody borrows the world.
    to_call: Vec<Rc<dyn Fn()>>,
}

/// What the world knows of a network.
pub(super) struct NetworkSide {
    on_ready: Rc<dyn Fn()>,
    /// It sleeps, and wants to be told.
    pub armed: bool,
    /// Ends at which something has happened.
    pub news: BTreeSet<EndId>,
    /// Connections to be accepted: the listener's index among the network's, and our end.
    pub to_accept: VecDeque<(usize, EndId)>,
    /// It is to look at its clock.
    pub look: bool,
}

impl NetworkSide {
    pub(super) fn has_work(&self) -> bool {
        self.look || !self.news.is_empty() || !self.to_accept.is_empty()
    }
}

struct Listener {
    network: usize,
    index: usize,
}

/// What happens at a time.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// A connection is asked for.
    Asked(EndId, SocketAddr),
    /// The first segment that `EndId` has sent arrives.
    Arrives(EndId),
    /// `EndId` may send again.
    Room(EndId),
    /// A network is to look at its clock.
    Look(usize),
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> World {
        World {
            now: Duration::ZERO,
            random: Random::new(seed),
            faults,
            networks: Vec::new(),
            peers: Vec::new(),
            links: BTreeMap::new(),
            links_made: 0,
            listeners: BTreeMap::new(),
            due: BTreeMap::new(),
            planned: 0,
            trace: 0,
            to_call: Vec::new(),
        }
    }

    pub(super) fn add_network(&mut self, on_ready: Rc<dyn Fn()>) -> usize {
        let (news, to_accept) = (BTreeSet::new(), VecDeque::new());
        self.networks.push(NetworkSide { on_ready, armed: false, news, to_accept, look: false });
        self.networks.len() - 1
    }

    pub(super) fn add_peer(&mut self) -> usize {
        self.peers.push(None);
        self.peers.len() - 1
    }

    pub(super) fn on_ready_of_peer(&mut self, peer: usize, call: Rc<dyn Fn()>) {
        self.peers[peer] = Some(call);
    }

    /// `false` if somebody listens there.
    pub(super) fn listen(&mut self, address: SocketAddr, network: usize, index: usize) -> bool {
        if self.listeners.contains_key(&address) {
            return false;
        }
        self.listeners.insert(address, Listener { network, index });
        true
    }

    pub(super) fn is_listening(&self, address: SocketAddr) -> bool {
        self.listeners.contains_key(&address)
    }

    /// The network's listeners go, and who waits to be accepted is reset.
    pub(super) fn stop_listening(&mut self, network: usize) {
        self.listeners.retain(|_, listener| listener.network != network);
        for (_, end) in std::mem::take(&mut self.networks[network].to_accept) {
            self.reset(end);
        }
    }

    /// Asks for a connection; returns the asking end.
    pub(super) fn connect(&mut self, holder: Holder, to: SocketAddr) -> EndId {
        let end = EndId { link: self.links_made, side: 0 };
        self.links_made += 1;
        let link = Link {
            holders: [holder, Holder::Nobody],
            pipes: [Pipe::default(), Pipe::default()],
            stalled: false,
        };
        self.links.insert(end.link, link);
        let due = self.now + TICK + self.random.duration(self.faults.delay_max);
        self.plan(due, Due::Asked(end, to));
        end
    }

    /// What `end` receives from.
    pub(super) fn incoming(&mut self, end: EndId) -> Option<&mut Pipe> {
        self.links.get_mut(&end.link).map(|link| &mut link.pipes[1 - end.side])
    }

    /// Bytes that `end` can send now; when there are none, it will be told.
    pub(super) fn room(&mut self, end: EndId) -> usize {
        let window = self.faults.window_bytes;
        let Some(link) = self.links.get_mut(&end.link) else { return 0 };
        let room = link.pipes[end.side].room(window);
        link.pipes[end.side].sender_waits = room == 0;
        room
    }

    /// Sends `bytes`, for which there is room, in segments.
    pub(super) fn send(&mut self, end: EndId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let longest = self.faults.segment_bytes_max.clamp(1, bytes.len());
            let (segment, rest) = bytes.split_at(1 + self.random.below(longest));
            bytes = rest;
            self.launch(end, Segment::Bytes(segment.to_vec()));
            if self.random.chance(self.faults.cut_chance) {
                self.cut(end);
                return;
            }
        }
    }

    /// `end` sends no more.
    pub(super) fn half_close(&mut self, end: EndId) {
        let Some(link) = self.links.get_mut(&end.link) else { return };
        if !std::mem::replace(&mut link.pipes[end.side].ended, true) {
            self.launch(end, Segment::Fin);
        }
    }

    /// `end` is given up in good order: by a reset if it has not read everything, as TCP does.
    pub(super) fn close(&mut self, end: EndId) {
        let unread = self.incoming(end).is_some_and(|pipe| pipe.has_arrived());
        self.half_close(end);
        if unread {
            self.launch(end, Segment::Reset);
        }
        self.let_go(end);
    }

    /// `end` is given up by a reset.
    pub(super) fn reset(&mut self, end: EndId) {
        self.launch(end, Segment::Reset);
        self.let_go(end);
    }

    /// Both ends will see a reset.
    pub(super) fn cut(&mut self, end: EndId) {
        for end in [end, end.other()] {
            if let Some(link) = self.links.get_mut(&end.link) {
                link.pipes[end.side].ended = true;
            }
            self.launch(end, Segment::Reset);
        }
    }

    /// Nothing arrives in either direction until it is let go on.
    pub(super) fn stall(&mut self, end: EndId, stalled: bool) {
        let Some(link) = self.links.get_mut(&end.link) else { return };
        if std::mem::replace(&mut link.stalled, stalled) && !stalled {
            for side in 0..2 {
                let waiting = self.links[&end.link].pipes[side].flying.len();
                for _ in 0..waiting {
                    self.plan(self.now + TICK, Due::Arrives(EndId { link: end.link, side }));
                }
            }
        }
    }

    fn let_go(&mut self, end: EndId) {
        let Some(link) = self.links.get_mut(&end.link) else { return };
        link.holders[end.side] = Holder::Nobody;
        self.forget_if_quiet(end.link);
    }

    fn forget_if_quiet(&mut self, link: u64) {
        let Some(held) = self.links.get(&link) else { return };
        if held.holders == [Holder::Nobody; 2] {
            self.links.remove(&link);
        }
    }

    fn launch(&mut self, from: EndId, segment: Segment) {
        let mut travel = TICK + self.random.duration(self.faults.delay_max);
        if self.random.chance(self.faults.stall_chance) {
            travel += self.random.duration(self.faults.stall_max);
        }
        let now = self.now;
        let Some(link) = self.links.get_mut(&from.link) else { return };
        let pipe = &mut link.pipes[from.side];
        pipe.send(segment);
        pipe.last_due = pipe.last_due.max(now + travel);
        let due = pipe.last_due;
        self.plan(due, Due::Arrives(from));
    }

    /// Reads at most `max` bytes that have arrived at `end`.
    pub(super) fn read(&mut self, end: EndId, max: usize) -> Option<Vec<u8>> {
        let pipe = self.incoming(end)?;
        let bytes = pipe.read(max)?;
        if std::mem::take(&mut pipe.sender_waits) {
            let due = self.now + TICK + self.random.duration(self.faults.delay_max);
            self.plan(due, Due::Room(end.other()));
        }
        Some(bytes)
    }

    /// `network` is to look at its clock at `at`.
    pub(super) fn plan_look(&mut self, network: usize, at: Duration) {
        self.plan(at.max(self.now + TICK), Due::Look(network));
    }

    fn plan(&mut self, at: Duration, due: Due) {
        self.due.insert((at, self.planned), due);
        self.planned += 1;
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Lets everything happen that is due by `now`.
    pub(super) fn advance(&mut self, now: Duration) {
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            self.now = self.now.max(entry.key().0);
            let due = entry.remove();
            self.happen(due);
        }
        self.now = self.now.max(now);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Asked(end, to) => self.asked(end, to),
            Due::Arrives(from) => self.arrives(from),
            Due::Room(end) => self.news(end),
            Due::Look(network) => {
                self.networks[network].look = true;
                self.wake(network);
            }
        }
    }

    fn asked(&mut self, end: EndId, to: SocketAddr) {
        let refused = self.random.chance(self.faults.refuse_chance);
        let accepting = self.listeners.get(&to).filter(|_| !refused).map(|l| (l.network, l.index));
        self.trace_words(&[1, end.link, u64::from(accepting.is_some())]);
        let Some(link) = self.links.get_mut(&end.link) else { return };
        let Some((network, index)) = accepting else {
            return self.launch(end.other(), Segment::Reset);
        };
        link.holders[1] = Holder::Network(network);
        link.pipes[0].open = true;
        self.launch(end.other(), Segment::Open);
        self.networks[network].to_accept.push_back((index, end.other()));
        self.wake(network);
    }

    fn arrives(&mut self, from: EndId) {
        let to = from.other();
        let Some(link) = self.links.get_mut(&from.link).filter(|link| !link.stalled) else { return };
        let Some(segment) = link.pipes[from.side].arrive() else { return };
        let unheld = link.holders[to.side] == Holder::Nobody;
        let (kind, bytes) = match &segment {
            Segment::Open => (2, &[][..]),
            Segment::Bytes(bytes) => (3, bytes.as_slice()),
            Segment::Fin => (4, &[][..]),
            Segment::Reset => (5, &[][..]),
        };
        self.trace_words(&[kind, from.link, from.side as u64, hash(bytes)]);
        if unheld && matches!(segment, Segment::Bytes(_)) {
            // Bytes for an end that has been closed are answered by a reset.
            self.launch(to, Segment::Reset);
        }
        self.news(to);
    }

    /// Something has happened at `end`.
    fn news(&mut self, end: EndId) {
        match self.links.get(&end.link).map(|link| link.holders[end.side]) {
            Some(Holder::Network(network)) => {
                self.networks[network].news.insert(end);
                self.wake(network);
            }
            Some(Holder::Peer(peer)) => self.to_call.extend(self.peers[peer].clone()),
            Some(Holder::Nobody) | None => {}
        }
    }

    fn wake(&mut self, network: usize) {
        let side = &mut self.networks[network];
        if std::mem::take(&mut side.armed) {
            self.to_call.push(side.on_ready.clone());
        }
    }

    pub(super) fn on_ready_of(&self, network: usize) -> Rc<dyn Fn()> {
        self.networks[network].on_ready.clone()
    }

    /// Whom to call; only while the world is not borrowed.
    pub(super) fn take_calls(&mut self) -> Vec<Rc<dyn Fn()>> {
        std::mem::take(&mut self.to_call)
    }

    /// How `end` learnt that nothing more comes.
    pub(super) fn end_of(&mut self, end: EndId) -> Option<End> {
        // An end whose link is gone has been reset from here.
        self.incoming(end).map_or(Some(End::Reset), |pipe| pipe.end)
    }

    /// Links that somebody still holds.
    pub(super) fn links(&self) -> usize {
        self.links.len()
    }

    pub(super) fn trace_words(&mut self, words: &[u64]) {
        let at = self.now.as_nanos() as u64;
        self.trace = words.iter().fold(mix(self.trace ^ at), |trace, word| mix(trace.rotate_left(17) ^ word));
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace
    }
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(hash.rotate_left(17) ^ u64::from_le_bytes(word))
    })
}
