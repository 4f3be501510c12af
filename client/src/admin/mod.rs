//! Administration: what an operator does, against RingMQ and Apache RocketMQ alike.
//!
//! | file | what |
//! |---|---|
//! | `topic` | create, list, describe, alter, delete |
//! | `group` | list, describe, create, delete, reset offsets |
//! | `offset` | one queue's bounds, a group's place in it |
//! | `cluster` | brokers, and what they say of themselves |
//! | `lookup` | single messages, by key or id |
//!
//! Every call has 10 s unless [`Admin::timeout`] says otherwise. None is repeated after an answer; a call that meets several
//! brokers stops at the first that refuses, and can be made again: all of them may be repeated without harm.

mod cluster;
mod group;
mod lookup;
mod offset;
mod topic;

pub use cluster::{BrokerDescription, ClusterDescription};
pub use group::{GroupDescription, GroupQueue, MemberDescription, NewGroup, OffsetReset, ResetTo};
pub use lookup::KeyQuery;
pub use offset::Boundary;
pub use topic::{NewTopic, Permission, QueueState, TopicChange, TopicDescription, TopicOnBroker};

use crate::core::Core;
use crate::edge::answer::Answer;
use crate::edge::connection::Request;
use crate::error::Error;
use ringmq_wire::Value;
use ringmq_wire::code::RequestCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Administration of a cluster. Cheap to clone.
///
/// ```no_run
/// # async fn example(client: ringmq_client::Client) -> Result<(), ringmq_client::Error> {
/// use ringmq_client::admin::NewTopic;
///
/// let admin = client.admin();
/// admin.create_topic(&NewTopic::new("orders").queues(8)).await?;
/// for queue in admin.topic("orders").await?.queues {
///     println!("{}: {} to {}", queue.queue, queue.first, queue.end);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    core: Arc<Core>,
    timeout: Duration,
}

/// A broker that takes writes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Master {
    cluster: String,
    name: Arc<str>,
    address: String,
}

impl Admin {
    pub(crate) fn new(core: Arc<Core>) -> Admin {
        Admin { core, timeout: TIMEOUT }
    }

    /// How long each call may take; 10 s unless said.
    pub fn timeout(mut self, timeout: Duration) -> Admin {
        self.timeout = timeout;
        self
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Asks one broker, and takes nothing but success for an answer.
    async fn ask(
        &self,
        address: &str,
        code: RequestCode,
        fields: &[(&str, Value<'_>)],
        body: &[u8],
    ) -> Result<Answer, Error> {
        self.ask_anyway(address, code, fields, body).await?.success()
    }

    /// Asks one broker; the answer may be a refusal.
    async fn ask_anyway(
        &self,
        address: &str,
        code: RequestCode,
        fields: &[(&str, Value<'_>)],
        body: &[u8],
    ) -> Result<Answer, Error> {
        self.core.ask(address, &Request { code: code.number(), fields, body }, self.deadline()).await
    }

    /// All masters, sorted by name.
    async fn masters(&self) -> Result<Vec<Master>, Error> {
        let table = self.core.names.clusters(&self.core.connections, self.deadline()).await?;
        let masters = table.brokers.into_iter().filter_map(|(name, broker)| {
            let address = broker.addresses.get(&0)?.clone();
            Some(Master { cluster: broker.cluster, name: name.into(), address })
        });
        let masters: Vec<_> = masters.collect();
        if masters.is_empty() {
            return Err(Error::Invalid("the name server knows no broker that takes writes".into()));
        }
        Ok(masters)
    }

    /// The masters that have this topic, with the topic's route.
    async fn masters_of(&self, topic: &str) -> Result<Vec<(Arc<str>, String)>, Error> {
        let route = self.core.names.route(&self.core.connections, topic, self.deadline()).await?;
        let Some(route) = route else { return Err(Error::NoRoute { topic: topic.to_owned() }) };
        let masters = route
            .brokers
            .into_iter()
            .filter_map(|broker| Some((broker.broker_name.into(), broker.addresses.get(&0)?.clone())));
        let mut masters: Vec<(Arc<str>, String)> = masters.collect();
        masters.sort();
        Ok(masters)
    }
}
