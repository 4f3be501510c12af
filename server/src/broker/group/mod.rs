//! Consumer groups of one shard: definitions, members, subscriptions, queue locks; and producer groups.
//!
//! A definition is a fact and outlives everything. Members and subscriptions are what connections said in
//! their latest heartbeats and are gone when the last member is; locks are memory only. How far a group has
//! consumed is in [`offsets`].
//!
//! Invariants
//!  1. A group has members only if it has a definition.
//!  2. Without members there are no subscriptions.
//!
//! Source: `broker/.../client/ConsumerManager.java`, `broker/.../subscription/SubscriptionGroupManager.java`.

pub mod membership;
pub mod offsets;
pub mod queue_lock;
pub mod subscription;

use std::collections::BTreeMap;
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_engine::Batch;

use super::facts::group_config::{self, GroupConfig};
use super::limits::{GROUPS_MAX, PRODUCER_GROUPS_MAX};
use super::reply::Refusal;
use membership::Members;
use queue_lock::QueueLocks;
use subscription::{Consumption, Subscriptions};

/// One consumer group.
#[derive(Debug)]
pub struct Group {
    /// Its definition.
    pub config: GroupConfig,
    /// Who consumes now.
    pub members: Members,
    /// What they said about how they consume; of the latest heartbeat.
    pub consumption: Consumption,
    /// What they subscribe to.
    pub subscriptions: Subscriptions,
    /// Which queues its members hold.
    pub locks: QueueLocks,
}

impl Group {
    fn new(config: GroupConfig) -> Group {
        Group {
            config,
            members: Members::default(),
            consumption: Consumption::default(),
            subscriptions: Subscriptions::default(),
            locks: QueueLocks::default(),
        }
    }

    /// Removes a member; says whether it was there and the others are to be told.
    pub fn leave(&mut self, conn: ConnId) -> bool {
        let left = self.members.remove(conn);
        if self.members.is_empty() {
            self.subscriptions = Subscriptions::default();
        }
        left && self.tells_changes()
    }

    /// Whether members are told when others come and go: those who broadcast share nothing.
    pub fn tells_changes(&self) -> bool {
        self.config.notify && !self.consumption.is_broadcasting()
    }
}

/// All groups of a shard. One per shard.
#[derive(Debug, Default)]
pub struct Groups {
    consumers: BTreeMap<Box<str>, Group>,
    producers: BTreeMap<Box<str>, Members>,
    /// Counts changes of definitions since the start.
    version: u64,
}

impl Groups {
    /// How often a definition has changed since the start.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The consumer group of that name.
    pub fn get(&self, group: &str) -> Option<&Group> {
        self.consumers.get(group)
    }

    /// The consumer group of that name.
    pub fn get_mut(&mut self, group: &str) -> Option<&mut Group> {
        self.consumers.get_mut(group)
    }

    /// All consumer groups, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.consumers.iter().map(|(name, group)| (&**name, group))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.consumers.len()
    }

    /// Whether one more fits.
    pub fn check_room(&self, group: &str) -> Result<(), Refusal> {
        if !self.consumers.contains_key(group) && self.consumers.len() >= GROUPS_MAX {
            return Err(Refusal::TooManyGroups);
        }
        Ok(())
    }

    /// Takes over a definition that the store has accepted.
    pub fn adopt(&mut self, config: GroupConfig) {
        self.version += 1;
        match self.consumers.get_mut(&config.name) {
            Some(group) => group.config = config,
            None => {
                self.consumers.insert(config.name.clone(), Group::new(config));
            }
        }
    }

    /// Drops a group whose deletion the store has accepted; gives it back, for its members.
    pub fn forget(&mut self, group: &str) -> Option<Group> {
        let forgotten = self.consumers.remove(group);
        self.version += u64::from(forgotten.is_some());
        forgotten
    }

    /// The producer group of that name, if it has a connection.
    pub fn producers(&self, group: &str) -> Option<&Members> {
        self.producers.get(group)
    }

    /// The producer group of that name, made if it is new.
    pub fn producers_mut(&mut self, group: &str) -> Result<&mut Members, Refusal> {
        if !self.producers.contains_key(group) {
            if self.producers.len() >= PRODUCER_GROUPS_MAX {
                return Err(Refusal::TooManyGroups);
            }
            self.producers.insert(group.into(), Members::default());
        }
        Ok(self.producers.get_mut(group).expect("it was there or has just been put there"))
    }

    /// All producer groups, by name.
    pub fn all_producers(&self) -> impl Iterator<Item = (&str, &Members)> {
        self.producers.iter().map(|(name, members)| (&**name, members))
    }

    /// Removes a producer, and its group if it was the last.
    pub fn producer_left(&mut self, group: &str, conn: ConnId) {
        if let Some(members) = self.producers.get_mut(group) {
            members.remove(conn);
            if members.is_empty() {
                self.producers.remove(group);
            }
        }
    }

    /// Connections of members and producers that have not been heard of since `horizon`.
    pub fn silent_since(&self, horizon: Duration) -> impl Iterator<Item = ConnId> {
        let consumers = self.consumers.values().map(|group| &group.members);
        consumers.chain(self.producers.values()).flat_map(move |members| members.silent_since(horizon))
    }

    /// Lets go of locks that nobody renews.
    pub fn expire_locks(&mut self, now: Duration) {
        for group in self.consumers.values_mut() {
            group.locks.expire(now);
        }
    }
}

/// Adds a definition to a batch. `key` is scratch.
pub fn put(batch: &mut Batch, key: &mut Vec<u8>, config: &GroupConfig) {
    group_config::key(key, &config.name);
    let split = key.len();
    config.encode(key);
    let (name, value) = key.split_at(split);
    batch.put(name, value);
}
