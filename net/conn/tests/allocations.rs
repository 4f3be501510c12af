//! Under load nothing is allocated per message, and a turn enters the kernel about once.

use ringmq_conn::ring::{Ring, RingConfig};
use ringmq_conn::{ConnId, Event, Network};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: passed on to our caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: passed on to our caller.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: passed on to our caller.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const CLIENTS: usize = 16;
const PIPELINED: usize = 8;
const BYTES: usize = 256;
const ROUNDS: usize = 200;

/// A slice that costs no allocation.
struct Constant;

// SAFETY: a static never moves.
unsafe impl ringmq_conn::StableBytes for Constant {
    fn bytes(&self) -> &[u8] {
        &[7; BYTES - 16]
    }
}

/// One round: every client sends its messages, each is answered by a head and a slice or by bytes.
struct Load {
    ring: Ring<Constant>,
    clients: Vec<TcpStream>,
    events: Vec<Event>,
    answer: Vec<u8>,
    slices: Vec<Constant>,
    input: Vec<u8>,
}

impl Load {
    fn new() -> Load {
        let mut ring = Ring::new(RingConfig::default()).expect("io_uring works here");
        let address = ring.listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let clients =
            (0..CLIENTS).map(|_| TcpStream::connect(address).expect("the backlog has room")).collect();
        let mut events = Vec::new();
        while ring.connections() < CLIENTS {
            ring.turn(&mut events);
        }
        let input = vec![0; PIPELINED * BYTES];
        Load { ring, clients, events, answer: Vec::new(), slices: Vec::new(), input }
    }

    fn round(&mut self, sliced: bool) {
        for client in &mut self.clients {
            client.write_all(&self.input).expect("the socket has room");
        }
        let mut received = 0;
        while received < CLIENTS * self.input.len() || !self.ring.arm() {
            self.events.clear();
            self.ring.turn(&mut self.events);
            for at in 0..self.events.len() {
                let Event::Data { conn, buffer } = self.events[at] else { continue };
                received += self.ring.bytes(buffer).len();
                for _ in 0..self.ring.bytes(buffer).len() / BYTES {
                    self.answer(conn, sliced);
                }
            }
        }
        for client in &mut self.clients {
            client.read_exact(&mut self.input).expect("every message is answered");
        }
    }

    fn answer(&mut self, conn: ConnId, sliced: bool) {
        if sliced {
            self.slices.push(Constant);
            self.ring.queue_slices(conn, &[1; 16], &mut self.slices);
        } else {
            self.answer.resize(BYTES, 2);
            self.ring.queue(conn, &mut self.answer);
        }
    }
}

#[test]
fn a_busy_ring_allocates_nothing_per_message_and_enters_about_once_a_turn() {
    let mut load = Load::new();
    for sliced in [false, true] {
        // What is kept for reuse comes to be.
        for _ in 0..100 {
            load.round(sliced);
        }
        let (allocations, enters, turns) =
            (ALLOCATIONS.get(), load.ring.queue_counts().enters, load.ring.counts().turns);
        for _ in 0..ROUNDS {
            load.round(sliced);
        }
        // When the machine stalls us, a list may yet see its longest turn; that is not per message.
        let allocations = ALLOCATIONS.get() - allocations;
        assert!(allocations <= ROUNDS as u64 / 10, "sliced: {sliced}; {allocations} allocations");
        let (enters, turns) = (load.ring.queue_counts().enters - enters, load.ring.counts().turns - turns);
        println!(
            "sliced: {sliced}; {enters} enters in {turns} turns for {} messages",
            ROUNDS * CLIENTS * PIPELINED
        );
        assert!(enters <= turns + turns / 2, "{enters} enters in {turns} turns");
    }
}
