//! What a ring takes from its process: descriptors and memory. In a process of its own, and one test at a
//! time, because limits and counts are the process's.

use ringmq_conn::limits::Bounds;
use ringmq_conn::ring::{Ring, RingConfig};
use ringmq_conn::{Event, Network};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn ring() -> (Ring<Box<[u8]>>, SocketAddr) {
    let mut ring = Ring::new(RingConfig::default()).expect("io_uring works here");
    let address = ring.listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    (ring, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the backlog has room");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket has a timeout");
    stream
}

/// Turns, echoing, until `done`; waits when there is nothing to do.
fn drive(ring: &mut Ring<Box<[u8]>>, mut done: impl FnMut(&Ring<Box<[u8]>>, &[Event]) -> bool) {
    let mut seen = Vec::new();
    for _ in 0..100_000 {
        let mut events = Vec::new();
        ring.turn(&mut events);
        for event in &events {
            match *event {
                Event::Data { conn, buffer } => {
                    let mut bytes = ring.bytes(buffer).to_vec();
                    ring.queue(conn, &mut bytes);
                }
                Event::HalfClosed { conn } => ring.close(conn),
                Event::Opened { .. } | Event::Drained { .. } | Event::Closed { .. } => {}
            }
        }
        seen.extend(events);
        if done(ring, &seen) {
            return;
        }
        if ring.arm() {
            assert!(ring.wait_ready(Duration::from_secs(10)), "nothing happens: {:?}", ring.counts());
        }
    }
    panic!("never done");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc is mounted").count()
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("proc is mounted");
    let pages = statm.split(' ').nth(1).and_then(|word| word.parse::<usize>().ok());
    pages.expect("the second word is a number") * 4096
}

/// Sets the highest descriptor that may be opened, exclusive, and returns what it was.
fn limit_descriptors(to: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable, then readable.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, to);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        before
    }
}

#[test]
fn a_thousand_connections_leave_no_descriptor_behind() {
    let _alone = alone();
    let before = descriptors();
    let (mut ring, address) = ring();
    let with_ring = descriptors();
    let mut closed = 0;
    for _ in 0..50 {
        let mut clients: Vec<TcpStream> = (0..20).map(|_| connect(address)).collect();
        clients.iter_mut().for_each(|client| client.write_all(b"ping").expect("the socket has room"));
        let mut half_closed = Vec::new();
        drive(&mut ring, |ring, _| ring.connections() == 20);
        for (at, client) in clients.drain(..).enumerate() {
            if at % 2 == 0 {
                // Unread answers make the kernel reset the connection.
                drop(client);
            } else {
                client.shutdown(std::net::Shutdown::Write).expect("it is open");
                half_closed.push(client);
            }
        }
        drive(&mut ring, |ring, _| ring.connections() == 0);
        for client in &mut half_closed {
            let mut echo = Vec::new();
            client.read_to_end(&mut echo).expect("the answer, and a close in good order");
            assert_eq!(echo, b"ping");
        }
        closed += 20;
    }
    assert_eq!((closed, ring.counts().accepted), (1000, 1000));
    // Slots that are still counted down go in the next turns.
    drive(&mut ring, |_, _| descriptors() <= with_ring);
    drop(ring);
    assert_eq!(descriptors(), before);
}

#[test]
fn a_client_that_never_closes_does_not_keep_a_descriptor() {
    let _alone = alone();
    let bounds = Bounds { linger_max: Duration::from_millis(8), ..Bounds::default() };
    let mut ring =
        Ring::<Box<[u8]>>::new(RingConfig { bounds, ..RingConfig::default() }).expect("io_uring works");
    let address = ring.listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let client = connect(address);
    let before = descriptors();
    let mut events = Vec::new();
    while ring.connections() < 1 {
        ring.turn(&mut events);
    }
    let [Event::Opened { conn, .. }] = events[..] else { panic!("{events:?}") };
    ring.close(conn);
    drive(&mut ring, |ring, _| ring.connections() == 0);
    assert_eq!(descriptors(), before + 1);
    drive(&mut ring, |_, _| descriptors() == before);
    drop(client);
}

#[test]
fn without_descriptors_clients_are_refused_and_accepting_does_not_spin() {
    let _alone = alone();
    let (mut ring, address) = ring();
    let mut clients: Vec<TcpStream> = (0..3).map(|_| connect(address)).collect();
    let lowest_free = File::open("/dev/null").expect("a descriptor").as_raw_fd() as u64;
    let before = limit_descriptors(lowest_free);
    drive(&mut ring, |ring, _| ring.counts().accepts_failed >= 3);
    let (counts, queues) = (ring.counts(), ring.queue_counts());
    // The kernel reads the limit when an accept is started, which is after the pause.
    limit_descriptors(before);
    assert_eq!(counts.accepted, 0);
    assert!(queues.enters < 100, "one accept per pause: {queues:?}");
    for client in &mut clients {
        assert!(!matches!(client.read(&mut [0; 8]), Ok(1..)), "the client sees that it is refused");
    }
    let mut late = connect(address);
    late.write_all(b"served").expect("the socket has room");
    drive(&mut ring, |_, events| events.iter().any(|event| matches!(event, Event::Data { .. })));
}

#[test]
fn an_idle_ring_holds_little_memory() {
    let _alone = alone();
    let before = resident_bytes();
    let (mut ring, address) = ring();
    let client = connect(address);
    drive(&mut ring, |ring, _| ring.connections() == 1);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 2 * 1024 * 1024, "receive buffers are not touched before they are used: {grown}");
    drop(client);
}

#[test]
fn a_ring_that_cannot_be_made_says_why() {
    let _alone = alone();
    let lowest_free = File::open("/dev/null").expect("a descriptor").as_raw_fd() as u64;
    let before = limit_descriptors(lowest_free);
    let refused = Ring::<Box<[u8]>>::new(RingConfig::default()).map(|_| ());
    limit_descriptors(before);
    let message = refused.expect_err("no descriptor is to be had").to_string();
    assert!(message.contains("Too many open files"), "{message}");
}
