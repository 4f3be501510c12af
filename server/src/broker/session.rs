//! One client as known through one connection.
//!
//! A session begins with the connection and knows its peer; a heartbeat tells it which groups it is in. It
//! is the index from a connection to its groups, so that a closed connection leaves them all at once.
//!
//! Invariants
//!  1. A connection is in a group's members exactly if the group is in its session.
//!  2. A `ConnId` of an earlier life of a slot finds no session.
//!
//! Source: `broker/.../client/ClientChannelInfo.java`, `broker/.../client/ClientHousekeepingService.java`.

use std::net::SocketAddr;
use std::time::Duration;

use ringmq_conn::ConnId;

/// One client as known through one connection.
#[derive(Debug)]
pub struct Session {
    /// Which life of the slot this is.
    pub conn: ConnId,
    /// The other end; an IPv4 address in IPv6 clothes is shown as what it is.
    pub peer: SocketAddr,
    /// When it last sent something (monotonic).
    pub heard: Duration,
    /// Consumer groups it is a member of.
    pub consumer_groups: Vec<Box<str>>,
    /// Producer groups it is in.
    pub producer_groups: Vec<Box<str>>,
}

/// All sessions of a shard. One per shard.
#[derive(Debug, Default)]
pub struct Sessions {
    /// By slot of the network's table.
    slots: Vec<Option<Session>>,
}

impl Sessions {
    /// A connection is there.
    pub fn open(&mut self, conn: ConnId, peer: SocketAddr, now: Duration) {
        let slot = conn.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(Session {
            conn,
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            heard: now,
            consumer_groups: Vec::new(),
            producer_groups: Vec::new(),
        });
    }

    /// A connection is gone; gives back what was known of it.
    pub fn close(&mut self, conn: ConnId) -> Option<Session> {
        let slot = self.slots.get_mut(conn.slot as usize)?;
        slot.take_if(|session| session.conn == conn)
    }

    /// The session of a connection that is there.
    pub fn get(&self, conn: ConnId) -> Option<&Session> {
        self.slots.get(conn.slot as usize)?.as_ref().filter(|session| session.conn == conn)
    }

    /// The session of a connection that is there.
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.slots.get_mut(conn.slot as usize)?.as_mut().filter(|session| session.conn == conn)
    }

    /// Connections that sent nothing since `horizon`.
    pub fn silent_since(&self, horizon: Duration) -> impl Iterator<Item = ConnId> {
        let sessions = self.slots.iter().flatten();
        sessions.filter(move |session| session.heard < horizon).map(|session| session.conn)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_life_of_a_slot_finds_no_session() {
        let mut sessions = Sessions::default();
        let peer = "[::ffff:10.0.0.1]:5000".parse().unwrap();
        let (first, second) = (ConnId { slot: 3, generation: 0 }, ConnId { slot: 3, generation: 1 });
        sessions.open(first, peer, Duration::ZERO);
        assert_eq!(sessions.get(first).unwrap().peer, "10.0.0.1:5000".parse().unwrap());
        assert!(sessions.close(first).is_some());
        sessions.open(second, peer, Duration::ZERO);
        assert!(sessions.get(first).is_none());
        assert!(sessions.close(first).is_none());
        assert_eq!(sessions.len(), 1);
    }
}
