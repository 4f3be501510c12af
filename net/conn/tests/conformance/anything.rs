//! Anything in any order: clients and owner act at random, and what every network promises holds throughout.

use crate::bed::{Bed, Came, Owner, World, bounds, pattern};
use ringmq_conn::{CloseReason, ConnId, Network};
use std::collections::{BTreeMap, BTreeSet};

const ACTIONS: usize = 400;
const CLIENTS_MAX: usize = 12;

/// SplitMix64, so that a failing seed fails again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((word ^ (word >> 31)) % end as u64) as usize
    }
}

/// Runs `bed` under `seed`.
pub fn anything<B: Bed>(bed: B, seed: u64) {
    let random = &mut Random(seed);
    let mut world = World::on(Owner::Echo, bed);
    // What each client has been told to send, and whether its story can still end well.
    let mut sent: BTreeMap<usize, (ConnId, Vec<u8>)> = BTreeMap::new();
    let mut broken: Vec<usize> = Vec::new();
    let mut last_sent: BTreeSet<usize> = BTreeSet::new();
    for _ in 0..ACTIONS {
        let alive: Vec<usize> =
            sent.keys().copied().filter(|client| world.sides[*client].client.is_some()).collect();
        if alive.is_empty() || (alive.len() < CLIENTS_MAX && random.below(8) == 0) {
            let (client, conn) = world.open();
            sent.insert(client, (conn, Vec::new()));
            continue;
        }
        let client = alive[random.below(alive.len())];
        let (conn, bytes) = sent.get_mut(&client).expect("alive are among those that sent");
        let conn = *conn;
        let side = &mut world.sides[client];
        match random.below(40) {
            0..16 if !last_sent.contains(&client) => {
                let longest = if random.below(10) == 0 { 300_000 } else { 2000 };
                let message = pattern(1 + random.below(longest));
                bytes.extend_from_slice(&message);
                side.unsent.extend_from_slice(&message);
            }
            16..20 => side.reading = !side.reading,
            20 if last_sent.insert(client) => side.half_close_when_sent = true,
            21 => {
                side.reset();
                broken.push(client);
            }
            22 => {
                side.close();
                broken.push(client);
            }
            23 => {
                world.net().close(conn);
                broken.push(client);
            }
            24..28 => world.net().pause(conn),
            28..33 => world.net().resume(conn),
            _ => world.step(),
        }
    }
    for (client, (conn, _)) in &sent {
        world.net().resume(*conn);
        world.sides[*client].reading = true;
        if last_sent.insert(*client) {
            world.sides[*client].half_close_when_sent = true;
        }
    }
    world.until("everybody has gone", |world| sent.values().all(|(conn, _)| world.reason(*conn).is_some()));
    world.until("every client knows", |world| {
        world.sides.iter().all(|side| side.client.is_none() || side.end.is_some())
    });
    assert_eq!(world.net().connections(), 0);
    for (client, (conn, bytes)) in &sent {
        let side = &world.sides[*client];
        assert!(bytes.starts_with(&side.received), "client {client} got back what it sent");
        assert!(bytes.starts_with(world.received_from(*conn)));
        if !broken.contains(client) {
            assert_eq!((side.end, world.reason(*conn)), (Some(Came::End), Some(CloseReason::Peer)));
            assert!(side.received == *bytes, "client {client} got everything back");
        }
    }
    let widest = sent.values().map(|(conn, _)| conn.slot as usize).max();
    assert!(widest <= Some(bounds().connections_max));
}
