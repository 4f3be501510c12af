//! The ring's rare paths, each brought near by a ring that is far too small.

use crate::bed::{Came, Owner, World, pattern};
use crate::ring_bed::RingBed;
use ringmq_conn::limits::Bounds;
use ringmq_conn::ring::{Ring, RingConfig};
use ringmq_conn::{ConnId, Network};
use std::time::Duration;

/// Opens `count` clients, and lets each have `bytes` echoed at the same time.
fn echo_everywhere(world: &mut World<RingBed>, count: usize, bytes: usize) {
    let clients: Vec<(usize, ConnId)> = (0..count).map(|_| world.open()).collect();
    let message = pattern(bytes);
    for (client, _) in &clients {
        world.sides[*client].unsent = message.clone();
    }
    world.until("echoes", |world| {
        clients.iter().all(|(client, _)| world.sides[*client].received.len() == bytes)
    });
    assert!(clients.iter().all(|(client, _)| world.sides[*client].received == message));
}

#[test]
fn a_full_submission_queue_loses_and_reorders_nothing() {
    let config = RingConfig { submissions: 2, ..RingConfig::default() };
    let mut world = World::on(Owner::Echo, RingBed::with(config));
    echo_everywhere(&mut world, 60, 40_000);
    assert!(world.net().queue_counts().submissions_full > 0);
}

#[test]
fn an_overflowing_completion_queue_loses_nothing() {
    let config = RingConfig { submissions: 2, completions: 2, ..RingConfig::default() };
    let mut world = World::on(Owner::Echo, RingBed::with(config));
    echo_everywhere(&mut world, 60, 40_000);
    let counts = world.net().queue_counts();
    assert!(counts.completions_overflowed > 0, "{counts:?}");
    let conns: Vec<ConnId> = world.opened.clone();
    world.sides.clear();
    world.until("closed", |world| conns.iter().all(|conn| world.reason(*conn).is_some()));
}

#[test]
fn receives_go_on_when_the_buffers_are_back() {
    let config = RingConfig { recv_buffers: 2, recv_buffer_bytes: 100, ..RingConfig::default() };
    let mut world = World::on(Owner::Echo, RingBed::with(config));
    echo_everywhere(&mut world, 20, 3000);
    assert!(world.net().counts().buffers_exhausted > 0);
}

#[test]
fn everything_too_small_at_once_still_works() {
    let config = RingConfig {
        submissions: 1,
        completions: 1,
        recv_buffers: 1,
        recv_buffer_bytes: 1000,
        bounds: Bounds { unsent_bytes_mark: 10, ..Bounds::default() },
    };
    let mut world = World::on(Owner::Echo, RingBed::with(config));
    echo_everywhere(&mut world, 10, 20_000);
    let address = world.address;
    let ours = world.net().connect(address);
    world.until("both ends", |world| world.opened.len() == 12);
    world.net().close(ours);
    world.net().stop_accepting();
    world.until("closed", |world| world.reason(ours).is_some());
}

#[test]
fn when_everyone_is_behind_only_those_above_their_mark_are_closed() {
    let mib = 1024 * 1024;
    let bounds = Bounds { unsent_bytes_mark: mib, unsent_bytes_total_max: 30 * mib, ..Bounds::default() };
    let mut world = World::on(Owner::Silent, RingBed::with(RingConfig { bounds, ..RingConfig::default() }));
    let greedy: Vec<ConnId> = (0..4).map(|_| world.open().1).collect();
    let (modest, modest_conn) = world.open();
    world.sides.iter_mut().for_each(|side| side.reading = false);
    for conn in &greedy {
        world.queue(*conn, &pattern(10 * mib));
    }
    world.queue(modest_conn, b"small");
    world.step();
    assert!(!world.closed.is_empty(), "the bytes of all are bounded");
    assert!(world.closed.iter().all(|(conn, _)| greedy.contains(conn)));
    world.sides[modest].reading = true;
    world.until("the answer", |world| world.sides[modest].received == b"small");
}

#[test]
fn a_ring_dropped_in_the_middle_of_everything_lets_go() {
    let mut world = World::on(Owner::Silent, RingBed::with(RingConfig::default()));
    let (client, conn) = world.open();
    world.sides[client].reading = false;
    world.queue(conn, &pattern(16 * 1024 * 1024));
    let (other, _) = world.open();
    let address = world.address;
    world.net().connect(address);
    world.settle();
    let World { bed, mut sides, .. } = world;
    drop(bed);
    // What had been handed to the kernel may still be read; then it is over.
    let mut end = |at: usize| {
        let stream = sides[at].client.as_mut().expect("a client");
        stream.set_nonblocking(false).expect("a socket can block");
        let mut received = Vec::new();
        while crate::bed::Client::take(stream, &mut received) == Came::Bytes {}
        received.len()
    };
    assert_eq!(end(other), 0);
    assert!(end(client) < 16 * 1024 * 1024);
    // The port is free again.
    let mut ring = Ring::<Box<[u8]>>::new(RingConfig::default()).expect("io_uring works here");
    ring.listen(address).expect("nobody has it");
}

#[test]
fn an_idle_ring_wakes_nobody() {
    let config = RingConfig {
        bounds: Bounds { slow_reader_max: Duration::from_millis(4), ..Bounds::default() },
        ..RingConfig::default()
    };
    let mut world = World::on(Owner::Echo, RingBed::with(config));
    echo_everywhere(&mut world, 3, 100);
    world.settle();
    // The tick that runs while something is unsent ends once.
    world.until("the last tick", |_| true);
    let enters = world.net().queue_counts().enters;
    for _ in 0..100 {
        assert!(world.net().arm());
        world.step();
    }
    assert!(world.net().queue_counts().enters - enters <= 1, "a turn with nothing to do costs nothing");
}
