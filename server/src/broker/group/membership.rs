//! Who is in a group: connections that said so in a heartbeat. Pure.
//!
//! A member is keyed by its connection; its client id may change on the same connection, and a client that
//! reconnects is there twice until the old connection is closed. What others see is the list of distinct
//! client ids, because every member computes its own assignment from it and all must get the same one.
//!
//! Source: `broker/.../client/ConsumerGroupInfo.java`, `broker/.../client/ClientChannelInfo.java`.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmq_conn::ConnId;

/// One client in a group, as known through one connection.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its connection.
    pub conn: ConnId,
    /// What it calls itself.
    pub client_id: Box<str>,
    /// Ordinal of its language.
    pub language: u8,
    /// Ordinal of its version.
    pub version: i32,
    /// Latest heartbeat (monotonic).
    pub heard: Duration,
    /// Latest heartbeat, for people.
    pub heard_wall_ms: i64,
}

/// Whether a heartbeat brought somebody new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// A connection that was not in the group.
    New,
    /// One that was.
    Known,
    /// There is no room for a new one.
    Full,
}

/// The members of one group, by connection.
#[derive(Debug, Default)]
pub struct Members {
    by_conn: BTreeMap<ConnId, Member>,
}

impl Members {
    /// Takes note of a heartbeat; a group of `members_max` takes no new member.
    pub fn join(&mut self, member: Member, members_max: usize) -> Joined {
        if let Some(known) = self.by_conn.get_mut(&member.conn) {
            *known = member;
            return Joined::Known;
        }
        if self.by_conn.len() >= members_max {
            return Joined::Full;
        }
        self.by_conn.insert(member.conn, member);
        Joined::New
    }

    /// Removes a connection; says whether it was a member.
    pub fn remove(&mut self, conn: ConnId) -> bool {
        self.by_conn.remove(&conn).is_some()
    }

    /// Everyone.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_conn.values()
    }

    /// Nobody.
    pub fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }

    /// The distinct client ids, sorted.
    pub fn client_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.iter().map(|member| &*member.client_id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Connections of those whose latest heartbeat is older than `horizon`.
    pub fn silent_since(&self, horizon: Duration) -> impl Iterator<Item = ConnId> {
        self.iter().filter(move |member| member.heard < horizon).map(|member| member.conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 5;

    fn member(slot: u32, client_id: &str, heard_s: u64) -> Member {
        Member {
            conn: ConnId { slot, generation: 0 },
            client_id: client_id.into(),
            language: 0,
            version: 0,
            heard: Duration::from_secs(heard_s),
            heard_wall_ms: 0,
        }
    }

    #[test]
    fn a_client_that_reconnects_is_listed_once() {
        let mut members = Members::default();
        assert_eq!(members.join(member(1, "b", 0), MAX), Joined::New);
        assert_eq!(members.join(member(2, "a", 0), MAX), Joined::New);
        assert_eq!(members.join(member(3, "b", 0), MAX), Joined::New);
        assert_eq!(members.join(member(3, "b", 1), MAX), Joined::Known);
        assert_eq!(members.client_ids(), ["a", "b"]);
        assert!(members.remove(ConnId { slot: 1, generation: 0 }));
        assert!(!members.remove(ConnId { slot: 1, generation: 0 }));
        assert_eq!(members.client_ids(), ["a", "b"]);
    }

    #[test]
    fn a_new_client_id_on_a_connection_replaces_the_old_one() {
        let mut members = Members::default();
        members.join(member(1, "old", 0), MAX);
        assert_eq!(members.join(member(1, "new", 1), MAX), Joined::Known);
        assert_eq!(members.client_ids(), ["new"]);
    }

    #[test]
    fn those_not_heard_of_are_found() {
        let mut members = Members::default();
        members.join(member(1, "a", 10), MAX);
        members.join(member(2, "b", 20), MAX);
        let silent: Vec<u32> = members.silent_since(Duration::from_secs(20)).map(|conn| conn.slot).collect();
        assert_eq!(silent, [1]);
    }

    #[test]
    fn a_full_group_takes_no_new_member_but_keeps_hearing_the_old() {
        let mut members = Members::default();
        for slot in 0..5 {
            assert_eq!(members.join(member(slot, "c", 0), MAX), Joined::New);
        }
        assert_eq!(members.join(member(u32::MAX, "c", 0), MAX), Joined::Full);
        assert_eq!(members.join(member(0, "c", 1), MAX), Joined::Known);
    }
}
