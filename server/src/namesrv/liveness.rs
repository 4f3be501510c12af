//! Which brokers are alive: a lease per address, renewed by whatever the broker sends.
//!
//! ```text
//! register ──▶ held ──▶ silent for longer than its timeout ──▶ ended
//!              ▲  │
//!       renew ─┘  └──▶ its connection closes ──▶ ended at once
//! ```
//!
//! Invariants
//!  1. A lease belongs to the connection that registered last: the end of an older one changes nothing.
//!  2. Whoever takes a lease away also takes the address out of the route table.
//!
//! Source: `RouteInfoManager.java` (`brokerLiveTable`, `scanNotActiveBroker`, `onChannelDestroy`).

use std::collections::BTreeMap;
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::request::topic::DataVersion;

/// A broker's address in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Cluster name.
    pub cluster: String,
    /// `ip:port` as registered.
    pub address: String,
}

impl Member {
    /// Of text.
    pub fn new(cluster: &str, address: &str) -> Member {
        Member { cluster: cluster.to_owned(), address: address.to_owned() }
    }
}

/// What is remembered of one member while it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// When it was last heard of; monotonic.
    pub renewed: Duration,
    /// Silence that ends it.
    pub timeout: Duration,
    /// Of the topics it registered.
    pub version: DataVersion,
    /// Where it registered from.
    pub conn: ConnId,
    /// Where its slaves replicate from.
    pub ha_address: String,
}

/// All leases. One per name server.
#[derive(Debug, Default)]
pub struct Liveness {
    leases: BTreeMap<Member, Lease>,
}

impl Liveness {
    /// Grants or replaces a lease.
    pub fn grant(&mut self, member: Member, lease: Lease) {
        self.leases.insert(member, lease);
    }

    /// The lease of a member.
    pub fn lease(&self, member: &Member) -> Option<&Lease> {
        self.leases.get(member)
    }

    /// A member was heard of. Nothing if it holds no lease: it must register first.
    pub fn renew(&mut self, member: &Member, now: Duration) {
        if let Some(lease) = self.leases.get_mut(member) {
            lease.renewed = now;
        }
    }

    /// Takes a lease away.
    pub fn end(&mut self, member: &Member) -> Option<Lease> {
        self.leases.remove(member)
    }

    /// Members whose silence has lasted too long.
    pub fn silent(&self, now: Duration) -> Vec<Member> {
        let is_silent = |lease: &Lease| now.saturating_sub(lease.renewed) > lease.timeout;
        self.members_where(is_silent)
    }

    /// Members that registered over this connection.
    pub fn of_connection(&self, conn: ConnId) -> Vec<Member> {
        self.members_where(|lease| lease.conn == conn)
    }

    /// Members with a lease.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Nobody is alive.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    fn members_where(&self, holds: impl Fn(&Lease) -> bool) -> Vec<Member> {
        self.leases.iter().filter(|(_, lease)| holds(lease)).map(|(member, _)| member.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(renewed: u64, timeout: u64, slot: u32) -> Lease {
        Lease {
            renewed: Duration::from_secs(renewed),
            timeout: Duration::from_secs(timeout),
            version: DataVersion::default(),
            conn: ConnId { slot, generation: 1 },
            ha_address: String::new(),
        }
    }

    #[test]
    fn a_lease_ends_after_its_own_silence() {
        let mut liveness = Liveness::default();
        let (short, long) = (Member::new("c", "short"), Member::new("c", "long"));
        liveness.grant(short.clone(), lease(100, 10, 1));
        liveness.grant(long.clone(), lease(100, 120, 2));
        assert!(liveness.silent(Duration::from_secs(110)).is_empty());
        assert_eq!(liveness.silent(Duration::from_secs(111)), std::slice::from_ref(&short));
        liveness.renew(&short, Duration::from_secs(111));
        assert!(liveness.silent(Duration::from_secs(121)).is_empty());
        assert_eq!(liveness.silent(Duration::from_secs(221)), [long, short]);
    }

    #[test]
    fn a_lease_follows_the_connection_that_registered_last() {
        let mut liveness = Liveness::default();
        let member = Member::new("c", "a");
        liveness.grant(member.clone(), lease(0, 10, 1));
        liveness.grant(member.clone(), lease(1, 10, 2));
        assert!(liveness.of_connection(ConnId { slot: 1, generation: 1 }).is_empty());
        assert_eq!(liveness.of_connection(ConnId { slot: 2, generation: 1 }), [member]);
    }
}
