//! What every network promises, asked of each: the same stories told on the ring, over loopback sockets,
//! and on its simulated twin.

mod anything;
mod bed;
mod ring_bed;
mod ring_edges;
mod sim_bed;

use bed::{Bed, Came, Owner, World, bounds, pattern};
use ringmq_conn::limits::Bounds;
use ringmq_conn::ring::RingConfig;
use ringmq_conn::{CloseReason, Network};
use std::time::Duration;

/// One test per story and network.
macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod on_the_ring {
            $(#[test] fn $story() { super::$story::<super::ring_bed::RingBed>(); })*
        }
        mod in_the_simulation {
            $(#[test] fn $story() {
                super::sim_bed::for_some_seeds(super::$story::<super::sim_bed::SimBed>);
            })*
        }
    };
}

stories![
    bytes_come_back_as_they_were_sent,
    answers_owed_at_a_half_close_are_sent_first,
    a_half_closed_connection_is_not_kept_for_ever,
    close_sends_what_is_queued_and_then_ends,
    the_last_answer_reaches_a_client_that_is_still_sending,
    close_with_nothing_queued_ends_at_the_next_turn,
    a_peer_that_resets_while_answers_fly_is_closed,
    calls_that_name_a_closed_connection_do_nothing,
    a_slot_is_reused_under_another_name,
    a_paused_connection_receives_nothing_until_resumed,
    a_connection_above_its_mark_is_not_read_until_drained,
    a_reader_that_takes_nothing_is_closed_in_time,
    a_reader_far_behind_is_closed_at_the_bound,
    slices_leave_in_order_behind_their_heads,
    large_bodies_pass_both_ways,
    ten_thousand_small_answers_keep_their_order,
    a_thousand_connections_come_and_go,
    a_connection_that_we_ask_for_opens,
    a_connection_to_nobody_fails,
    a_connection_closed_while_it_is_made_is_closed,
    no_more_connections_than_allowed,
    after_stop_accepting_nobody_new_comes_in,
    what_is_planned_refuses_sleep,
];

#[test]
fn anything_in_any_order_on_the_ring() {
    for seed in 0..30 {
        println!("seed {seed}");
        anything::anything(ring_bed::RingBed::new(bounds()), seed);
        let tiny = RingConfig {
            submissions: 2,
            completions: 4,
            recv_buffers: 4,
            recv_buffer_bytes: 512,
            bounds: Bounds { unsent_bytes_mark: 1000, ..bounds() },
        };
        anything::anything(ring_bed::RingBed::with(tiny), seed);
    }
}

#[test]
fn anything_in_any_order_in_the_simulation() {
    for seed in 0..50 {
        println!("seed {seed}");
        anything::anything(sim_bed::SimBed::under(seed), seed);
    }
}

fn world<B: Bed>(owner: Owner) -> World<B> {
    World::new(owner, bounds())
}

fn bytes_come_back_as_they_were_sent<B: Bed>() {
    let mut world = world::<B>(Owner::Echo);
    let (client, conn) = world.open();
    assert_eq!(world.net().connections(), 1);
    world.sides[client].unsent = b"hello".to_vec();
    world.until("an echo", |world| world.sides[client].received == b"hello");
    assert_eq!(world.received_from(conn), b"hello");
    assert_eq!(world.net().unsent(conn), 0);
    world.sides[client].close();
    world.until("closed", |world| world.reason(conn) == Some(CloseReason::Peer));
    assert_eq!(world.net().connections(), 0);
}

fn answers_owed_at_a_half_close_are_sent_first<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    world.queue(conn, b"before ");
    world.sides[client].half_close_when_sent = true;
    world.until("half-closed", |world| world.half_closed == [conn]);
    assert_eq!(world.reason(conn), None);
    // Larger than what sockets buffer, so that it cannot be gone already when the close is asked for.
    let owed = pattern(6 * 1024 * 1024);
    world.queue(conn, &owed);
    world.net().close(conn);
    world.until("the end", |world| world.sides[client].end.is_some());
    assert_eq!(world.sides[client].end, Some(Came::End));
    assert_eq!(world.sides[client].received, [b"before ", owed.as_slice()].concat());
    world.until("closed", |world| world.reason(conn) == Some(CloseReason::Peer));
}

fn a_half_closed_connection_is_not_kept_for_ever<B: Bed>() {
    let near = Bounds { half_closed_max: Duration::from_millis(20), ..bounds() };
    let mut world = World::<B>::new(Owner::Silent, near);
    let (client, conn) = world.open();
    world.sides[client].half_close_when_sent = true;
    world.until("closed", |world| world.reason(conn) == Some(CloseReason::Peer));
    assert_eq!(world.half_closed, [conn]);
}

fn close_sends_what_is_queued_and_then_ends<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    let answer = pattern(6 * 1024 * 1024);
    world.queue(conn, &answer);
    world.net().close(conn);
    world.queue(conn, b"too late");
    world.until("the end", |world| world.sides[client].end == Some(Came::End));
    assert!(world.sides[client].received == answer);
    world.until("closed", |world| world.reason(conn) == Some(CloseReason::Local));
}

fn the_last_answer_reaches_a_client_that_is_still_sending<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    world.net().pause(conn);
    world.settle();
    world.sides[client].unsent = pattern(8 * 1024 * 1024);
    world.step();
    world.queue(conn, b"last answer");
    world.net().close(conn);
    world.until("closed", |world| world.reason(conn) == Some(CloseReason::Local));
    world.until("the end", |world| world.sides[client].end.is_some());
    assert_eq!(world.sides[client].end, Some(Came::End), "what it sent did not make a reset of the close");
    assert_eq!(world.sides[client].received, b"last answer");
    world.until("everything sent", |world| world.sides[client].unsent.is_empty());
    assert!(!world.sides[client].send_failed);
}

fn close_with_nothing_queued_ends_at_the_next_turn<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    world.net().close(conn);
    world.net().close(conn);
    world.step();
    assert_eq!(world.reason(conn), Some(CloseReason::Local));
    world.until("the end", |world| world.sides[client].end == Some(Came::End));
}

fn a_peer_that_resets_while_answers_fly_is_closed<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    world.sides[client].reading = false;
    world.queue(conn, &pattern(16 * 1024 * 1024));
    world.settle();
    assert!(world.net().unsent(conn) > 0, "more than sockets buffer");
    world.sides[client].reset();
    world.until("closed", |world| world.reason(conn) == Some(CloseReason::Peer));
    assert_eq!((world.net().unsent(conn), world.net().connections()), (0, 0));
}

fn calls_that_name_a_closed_connection_do_nothing<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    world.sides[client].close();
    world.until("half-closed", |world| world.half_closed == [conn]);
    world.net().close(conn);
    world.until("closed", |world| world.reason(conn) == Some(CloseReason::Peer));
    world.queue(conn, b"bytes");
    let mut slices = vec![b"slice".to_vec().into_boxed_slice()];
    let net = world.net();
    net.queue_slices(conn, b"head", &mut slices);
    assert!(slices.is_empty());
    net.pause(conn);
    net.resume(conn);
    net.close(conn);
    assert_eq!(net.unsent(conn), 0);
    world.settle();
    assert_eq!(world.closed.len(), 1);
}

fn a_slot_is_reused_under_another_name<B: Bed>() {
    let mut world = world::<B>(Owner::Echo);
    let (client, first) = world.open();
    world.sides[client].close();
    world.until("closed", |world| world.reason(first).is_some());
    world.settle();
    let (client, second) = world.open();
    assert_eq!(first.slot, second.slot);
    assert_ne!(first.generation, second.generation);
    world.queue(first, b"for somebody who has gone");
    world.sides[client].unsent = b"hello".to_vec();
    world.until("an echo", |world| world.sides[client].received.len() >= 5);
    assert_eq!(world.sides[client].received, b"hello");
}

fn a_paused_connection_receives_nothing_until_resumed<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    world.net().pause(conn);
    world.settle();
    world.sides[client].unsent = b"while paused".to_vec();
    let (other, other_conn) = world.open();
    world.sides[other].unsent = b"meanwhile".to_vec();
    world.until("another's bytes", |world| world.received_from(other_conn) == b"meanwhile");
    assert_eq!(world.received_from(conn), b"");
    // Twice in one go, so that the cancellation is still under way when it is taken back.
    world.net().resume(conn);
    world.net().pause(conn);
    world.net().resume(conn);
    world.until("the bytes", |world| world.received_from(conn) == b"while paused");
    world.net().pause(conn);
    world.net().resume(conn);
    world.sides[client].unsent = b", and after".to_vec();
    world.until("the rest", |world| world.received_from(conn) == b"while paused, and after");
}

fn a_connection_above_its_mark_is_not_read_until_drained<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    world.sides[client].reading = false;
    let answer = pattern(16 * 1024 * 1024);
    world.queue(conn, &answer);
    world.settle();
    assert!(world.net().unsent(conn) > bounds().unsent_bytes_mark);
    world.sides[client].unsent = b"more work".to_vec();
    let (_, other) = world.open();
    world.settle();
    assert_eq!(world.received_from(conn), b"");
    assert_eq!(world.drained, []);
    world.sides[client].reading = true;
    world.until("drained", |world| world.drained == [conn]);
    assert_eq!(world.net().unsent(conn), 0);
    world.until("read again", |world| world.received_from(conn) == b"more work");
    world.until("all of it", |world| world.sides[client].received.len() == answer.len());
    assert!(world.sides[client].received == answer);
    world.queue(other, b"small");
    world.settle();
    assert_eq!(world.drained, [conn], "only what was above its mark is told");
}

fn a_reader_that_takes_nothing_is_closed_in_time<B: Bed>() {
    let near = Bounds { slow_reader_max: Duration::from_millis(20), ..bounds() };
    let mut world = World::<B>::new(Owner::Silent, near);
    let (client, conn) = world.open();
    world.sides[client].reading = false;
    world.queue(conn, &pattern(16 * 1024 * 1024));
    world.until("closed", |world| world.reason(conn) == Some(CloseReason::SlowReader));
}

fn a_reader_far_behind_is_closed_at_the_bound<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    world.sides[client].reading = false;
    let answer = pattern(8 * 1024 * 1024);
    for _ in 0..10 {
        world.queue(conn, &answer);
    }
    assert!(world.net().unsent(conn) <= bounds().unsent_bytes_max + answer.len());
    world.step();
    assert_eq!(world.reason(conn), Some(CloseReason::SlowReader));
    assert_eq!(world.net().unsent(conn), 0);
    world.settle();
}

fn slices_leave_in_order_behind_their_heads<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    let mut expected = Vec::new();
    // More slices in one answer than one send takes, then many answers with few.
    for count in [2500].into_iter().chain([0, 1, 2, 33, 7].repeat(20)) {
        let head = format!("<{count}>");
        let mut slices: Vec<Box<[u8]>> = (0..count).map(|at| pattern(at % 300).into()).collect();
        expected.extend_from_slice(head.as_bytes());
        slices.iter().for_each(|slice| expected.extend_from_slice(slice));
        world.net().queue_slices(conn, head.as_bytes(), &mut slices);
        world.queue(conn, b"|");
        expected.push(b'|');
        if count == 33 {
            world.step();
        }
    }
    world.until("all of it", |world| world.sides[client].received.len() >= expected.len());
    assert!(world.sides[client].received == expected);
}

fn large_bodies_pass_both_ways<B: Bed>() {
    let mut world = world::<B>(Owner::Echo);
    let (client, conn) = world.open();
    let (other, _) = world.open();
    let body = pattern(12 * 1024 * 1024);
    world.sides[client].unsent = body.clone();
    world.sides[client].half_close_when_sent = true;
    world.sides[other].unsent = b"not held up".to_vec();
    world.until("all of it", |world| world.sides[client].end.is_some());
    assert!(world.sides[client].received == body);
    assert!(world.received_from(conn) == body);
    assert_eq!(world.sides[other].received, b"not held up");
}

fn ten_thousand_small_answers_keep_their_order<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (client, conn) = world.open();
    let mut expected = Vec::new();
    for at in 0..10_000 {
        let answer = format!("answer {at};");
        world.queue(conn, answer.as_bytes());
        expected.extend_from_slice(answer.as_bytes());
        if at % 1000 == 0 {
            world.step();
        }
    }
    world.until("all of it", |world| world.sides[client].received.len() >= expected.len());
    assert!(world.sides[client].received == expected);
}

fn a_thousand_connections_come_and_go<B: Bed>() {
    let mut world = world::<B>(Owner::Echo);
    for round in 0..100 {
        let conns: Vec<_> = (0..10).map(|_| world.open()).collect();
        for (client, _) in &conns {
            world.sides[*client].unsent = b"ping".to_vec();
        }
        // Some have their answer and some do not when they go.
        world.until("an echo", |world| world.sides[conns[round % 10].0].received == b"ping");
        for (at, (client, _)) in conns.iter().enumerate() {
            if at % 2 == 0 { world.sides[*client].reset() } else { world.sides[*client].close() }
        }
        world.until("closed", |world| conns.iter().all(|(_, conn)| world.reason(*conn).is_some()));
        world.sides.clear();
    }
    assert_eq!((world.opened.len(), world.closed.len(), world.net().connections()), (1000, 1000, 0));
    let widest = world.opened.iter().map(|conn| conn.slot).max();
    assert!(widest < Some(20), "slots are reused: {widest:?}");
}

fn a_connection_that_we_ask_for_opens<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let address = world.address;
    let ours = world.net().connect(address);
    world.queue(ours, b"said before it was open");
    world.until("both ends", |world| world.opened.len() == 2);
    let theirs = *world.opened.iter().find(|conn| **conn != ours).expect("two ends");
    world.until("the bytes", |world| world.received_from(theirs) == b"said before it was open");
    world.queue(theirs, b"answer");
    world.until("the answer", |world| world.received_from(ours) == b"answer");
    world.net().close(theirs);
    world.until("half-closed", |world| world.half_closed.contains(&ours));
    world.net().close(ours);
    world.until("closed", |world| world.closed.len() == 2);
    assert_eq!(world.reason(ours), Some(CloseReason::Peer));
}

fn a_connection_to_nobody_fails<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let nobody = world.bed.nobody();
    let conn = world.net().connect(nobody);
    world.queue(conn, b"never sent");
    world.until("failed", |world| world.reason(conn) == Some(CloseReason::ConnectFailed));
    assert_eq!(world.opened, []);
    assert_eq!(world.net().connections(), 0);
}

fn a_connection_closed_while_it_is_made_is_closed<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let address = world.address;
    let conn = world.net().connect(address);
    world.net().close(conn);
    world.until("closed", |world| world.reason(conn) == Some(CloseReason::Local));
    world.settle();
}

fn no_more_connections_than_allowed<B: Bed>() {
    let near = Bounds { connections_max: 2, ..bounds() };
    let mut world = World::<B>::new(Owner::Echo, near);
    let (first, _) = world.open();
    world.open();
    let refused = world.client();
    world.until("refused", |world| world.sides[refused].end.is_some());
    assert_eq!(world.opened.len(), 2);
    world.sides[first].close();
    world.until("closed", |world| world.closed.len() == 1);
    world.settle();
    world.open();
}

fn after_stop_accepting_nobody_new_comes_in<B: Bed>() {
    let mut world = world::<B>(Owner::Echo);
    let (client, _) = world.open();
    let waiting = world.client();
    world.net().stop_accepting();
    world.sides[client].unsent = b"still served".to_vec();
    world.until("an echo", |world| world.sides[client].received == b"still served");
    world.until("refused", |world| world.sides[waiting].end.is_some());
    assert_eq!(world.opened.len(), 1);
    let address = world.address;
    let late = world.net().connect(address);
    world.until("refused", |world| world.reason(late) == Some(CloseReason::ConnectFailed));
}

fn what_is_planned_refuses_sleep<B: Bed>() {
    let mut world = world::<B>(Owner::Silent);
    let (_, conn) = world.open();
    world.settle();
    assert!(world.net().arm(), "nothing is planned");
    world.queue(conn, b"bytes");
    assert!(!world.net().arm(), "something is queued");
    world.settle();
    world.net().close(conn);
    assert!(!world.net().arm(), "something is to end");
    world.settle();
    world.net().kick();
    assert!(world.net().arm());
    let sides = std::mem::take(&mut world.sides);
    world.bed.wait(&sides);
}
