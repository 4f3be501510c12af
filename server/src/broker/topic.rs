//! The topics of one shard: definitions, and where their queues are in the store.
//!
//! Derived from the facts; a change is put into a batch first and adopted here once the store has accepted
//! it, so this table never says what the log does not.
//!
//! Invariants
//!  1. A topic is here exactly if its fact is in the accepted state of the store.
//!  2. Every definition has the number of its last change; numbers count from 1 since the start and only grow.
//!
//! Not here: who may change topics (`handler/topic_admin`, `handler/send`), telling name servers (`registration`).
//!
//! Source: `broker/.../topic/TopicConfigManager.java`.

use std::collections::BTreeMap;
use std::ops::Bound;

use ringmq_engine::Batch;
use ringmq_engine::Store;
use ringmq_engine::env::Env;
use ringmq_engine::state::QueueRef;
use ringmq_wire::name::{
    self, AUTO_CREATE_TOPIC, BENCHMARK_TOPIC, HALF_OP_TOPIC, HALF_TOPIC, OFFSET_MOVED_TOPIC, SCHEDULE_TOPIC,
    SELF_TEST_TOPIC, TIMER_TOPIC, TRACE_TOPIC,
};

use super::facts::topic_config::{self, Perm, TopicConfig};
use super::identity::{Identity, Settings};
use super::limits::{QUEUES_PER_TOPIC_MAX, TOPICS_MAX};
use super::reply::Refusal;

/// One topic.
#[derive(Debug)]
pub struct Topic {
    /// Its definition.
    pub config: TopicConfig,
    /// The number of its last change.
    changed: u64,
    /// Its queues in the store, filled in when first used: a topic of 1,024 queues costs nothing until then.
    queues: Vec<Option<QueueRef>>,
}

impl Topic {
    fn new(config: TopicConfig, changed: u64) -> Topic {
        let queues = vec![None; config.queues() as usize];
        Topic { config, changed, queues }
    }

    /// The queue of that id; `None` if there is no such queue.
    pub fn queue<E: Env>(&mut self, store: &Store<E>, queue_id: u32) -> Option<QueueRef> {
        let slot = self.queues.get_mut(queue_id as usize)?;
        Some(*slot.get_or_insert_with(|| store.queue(&self.config.name, queue_id.cast_signed())))
    }

    /// The queue of that id if the log knows it: nothing is remembered for the asking.
    pub fn find_queue<E: Env>(&self, store: &Store<E>, queue_id: u32) -> Option<QueueRef> {
        let slot = self.queues.get(queue_id as usize)?;
        slot.or_else(|| store.find_queue(&self.config.name, queue_id.cast_signed()))
    }
}

/// All topics of a shard. One per shard.
#[derive(Debug, Default)]
pub struct Topics {
    table: BTreeMap<Box<str>, Topic>,
    /// By the number of their last change.
    changes: BTreeMap<u64, Box<str>>,
    /// The latest number.
    version: u64,
}

impl Topics {
    /// The number of the latest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What has changed after the change of that number, each topic as it is now, with the number of its last
    /// change, in their order. What was deleted is not in it.
    pub fn changed_since(&self, change: u64) -> impl Iterator<Item = (u64, &TopicConfig)> {
        let later = self.changes.range((Bound::Excluded(change), Bound::Unbounded));
        later.filter_map(|(number, topic)| Some((*number, &self.table.get(topic)?.config)))
    }

    /// The topic of that name.
    pub fn get(&self, topic: &str) -> Option<&Topic> {
        self.table.get(topic)
    }

    /// The topic of that name, to resolve its queues.
    pub fn get_mut(&mut self, topic: &str) -> Option<&mut Topic> {
        self.table.get_mut(topic)
    }

    /// All definitions, by name.
    pub fn configs(&self) -> impl Iterator<Item = &TopicConfig> {
        self.table.values().map(|topic| &topic.config)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// Whether one more fits, with so many queues.
    pub fn check_room(&self, config: &TopicConfig) -> Result<(), Refusal> {
        if !self.table.contains_key(&config.name) && self.table.len() >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics);
        }
        if config.queues() > QUEUES_PER_TOPIC_MAX {
            return Err(Refusal::TooManyQueues { topic: (&*config.name).into(), queues: config.queues() });
        }
        Ok(())
    }

    /// Takes over a definition that the store has accepted.
    pub fn adopt(&mut self, config: TopicConfig) {
        self.version += 1;
        self.changes.insert(self.version, config.name.clone());
        match self.table.get_mut(&config.name) {
            Some(topic) => {
                self.changes.remove(&topic.changed);
                topic.changed = self.version;
                topic.queues.resize(config.queues() as usize, None);
                topic.config = config;
            }
            None => {
                self.table.insert(config.name.clone(), Topic::new(config, self.version));
            }
        }
    }

    /// Drops a topic whose deletion the store has accepted.
    pub fn forget(&mut self, topic: &str) {
        if let Some(topic) = self.table.remove(topic) {
            self.changes.remove(&topic.changed);
        }
    }
}

/// Adds a definition to a batch. `key` is scratch.
pub fn put(batch: &mut Batch, key: &mut Vec<u8>, config: &TopicConfig) {
    topic_config::key(key, &config.name);
    let split = key.len();
    config.encode(key);
    let (name, value) = key.split_at(split);
    batch.put(name, value);
}

/// The system topics of a broker: those that make sense without the features that others belong to.
///
/// `TBW102` is a pattern only while topics may be created automatically: without its inherit bit nothing
/// inherits from it, which is what Apache does.
pub fn system_topics(identity: &Identity, settings: &Settings) -> Vec<TopicConfig> {
    let pattern = if settings.auto_create_topic { Perm::READ_WRITE_INHERIT } else { Perm::READ_WRITE };
    let levels = u32::try_from(settings.waits.levels.count()).expect("DELAY_LEVELS_MAX is small");
    vec![
        TopicConfig::new(AUTO_CREATE_TOPIC, settings.default_topic_queues, pattern),
        TopicConfig::new(&identity.cluster, 16, Perm::READ_WRITE_INHERIT),
        TopicConfig::new(&identity.broker_name, 1, Perm::READ_WRITE_INHERIT),
        TopicConfig::new(SELF_TEST_TOPIC, 1, Perm::READ_WRITE),
        TopicConfig::new(BENCHMARK_TOPIC, 1_024, Perm::READ_WRITE),
        TopicConfig::new(OFFSET_MOVED_TOPIC, 1, Perm::READ_WRITE),
        TopicConfig::new(SCHEDULE_TOPIC, levels, Perm::READ_WRITE),
        TopicConfig::new(TIMER_TOPIC, 1, Perm::READ_WRITE),
        TopicConfig::new(TRACE_TOPIC, 1, Perm::READ_WRITE),
        TopicConfig::new(&format!("{}_REPLY_TOPIC", identity.cluster), 1, Perm::READ_WRITE),
        TopicConfig::new(HALF_TOPIC, 1, Perm::READ_WRITE),
        TopicConfig::new(HALF_OP_TOPIC, 1, Perm::READ_WRITE),
    ]
}

/// Whether nobody may define or delete it: the system's own names, and those of this broker.
pub fn is_system(topic: &str, identity: &Identity) -> bool {
    name::is_system_topic(topic)
        || topic == identity.cluster
        || topic == identity.broker_name
        || topic.strip_suffix("_REPLY_TOPIC").is_some_and(|cluster| cluster == identity.cluster)
}
