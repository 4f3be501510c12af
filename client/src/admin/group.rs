//! Groups of consumers.

use super::offset::since_1970_ms;
use super::topic::{is_absent, time};
use super::{Admin, Boundary};
use crate::error::Error;
use crate::queue::Queue;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::json;
use ringmq_wire::name;
use ringmq_wire::request::admin::{ConsumeStats, ConsumeStatsRequest, ConsumerConnections};
use ringmq_wire::request::client::ResetOffset;
use ringmq_wire::request::group::{DeleteGroup, GroupDefinition, GroupTable};
use ringmq_wire::request::heartbeat::{GroupRequest, MessageModel};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// A group to be made.
#[derive(Debug, Clone)]
#[must_use = "a group is made by `Admin::create_group`"]
pub struct NewGroup {
    definition: GroupDefinition,
}

impl NewGroup {
    /// A group with RocketMQ's settings: 16 retries, one retry queue.
    pub fn new(name: impl Into<String>) -> NewGroup {
        NewGroup { definition: GroupDefinition { group_name: name.into(), ..GroupDefinition::default() } }
    }

    /// How often a message is tried again before it becomes a dead letter.
    pub fn retries(mut self, times: u16) -> NewGroup {
        self.definition.retry_max_times = i32::from(times);
        self
    }

    /// Whether its members may consume at all.
    pub fn enabled(mut self, enabled: bool) -> NewGroup {
        self.definition.consume_enable = enabled;
        self
    }
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// How often a message is tried again before it becomes a dead letter; `None` if the broker did not say.
    pub retries: Option<u32>,
    /// Whether every member gets every message.
    pub broadcast: bool,
    /// Who consumes now.
    pub members: Vec<MemberDescription>,
    /// What they subscribe to: expressions by topic.
    pub subscriptions: BTreeMap<String, String>,
    /// How far it is in each queue that it has an offset in.
    pub queues: Vec<GroupQueue>,
}

impl GroupDescription {
    /// Messages that are stored and not consumed, in all queues.
    pub fn lag(&self) -> i64 {
        self.queues.iter().map(GroupQueue::lag).sum()
    }
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberDescription {
    /// Its client id.
    pub client_id: String,
    /// Its address, as a broker sees it.
    pub address: String,
    /// Its language, as it says.
    pub language: String,
    /// RocketMQ's number of its version.
    pub version: i32,
}

/// How far a group is in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupQueue {
    /// The queue.
    pub queue: Queue,
    /// The offset it will consume next.
    pub offset: i64,
    /// The offset that the next message will have.
    pub end: i64,
    /// When the last message that it consumed was stored.
    pub last_consumed_stored_at: Option<SystemTime>,
}

impl GroupQueue {
    /// Messages that are stored and not consumed.
    pub fn lag(&self) -> i64 {
        (self.end - self.offset).max(0)
    }
}

/// Where to set a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetTo {
    /// The first message still there.
    First,
    /// Behind the last message.
    End,
    /// The first message stored at this time or later.
    Time(SystemTime),
    /// This offset, in every queue, or the nearest that the queue has.
    Offset(i64),
}

/// What a reset did to one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetReset {
    /// The queue.
    pub queue: Queue,
    /// The offset before; `None` if there was none.
    pub from: Option<i64>,
    /// The offset now.
    pub to: i64,
}

impl Admin {
    /// Makes a group on every broker, or changes the one that is there to be like this.
    pub async fn create_group(&self, group: &NewGroup) -> Result<(), Error> {
        name::check_group(&group.definition.group_name).map_err(Error::invalid)?;
        let body = json::write(&group.definition);
        for master in self.masters().await? {
            self.ask(&master.address, RequestCode::UpdateAndCreateGroup, &[], &body).await?;
        }
        Ok(())
    }

    /// The names of all groups that a broker knows, the system's own too ([`ringmq_wire::name::is_system_group`] tells them),
    /// sorted.
    pub async fn groups(&self) -> Result<Vec<String>, Error> {
        let mut groups = BTreeSet::new();
        for master in self.masters().await? {
            groups.extend(self.definitions(&master.address).await?.groups.into_keys());
        }
        Ok(groups.into_iter().collect())
    }

    /// A group's members and its progress. `Refused` with code 26 if no broker knows it.
    pub async fn group(&self, group: &str) -> Result<GroupDescription, Error> {
        let mut described = GroupDescription {
            name: group.to_owned(),
            retries: None,
            broadcast: false,
            members: Vec::new(),
            subscriptions: BTreeMap::new(),
            queues: Vec::new(),
        };
        let mut absent = None;
        for master in self.masters().await? {
            let definition = self.definitions(&master.address).await?.groups.remove(group);
            if let Some(definition) = &definition {
                described.retries = Some(definition.retry_max_times.try_into().unwrap_or(0));
            }
            match self.connections(&master.address, group).await {
                Ok(connections) => add_connections(&mut described, connections),
                Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => {}
                Err(error) if error.code().is_some_and(is_absent) => absent = Some(error),
                Err(error) => return Err(error),
            }
            let fields = ConsumeStatsRequest { consumer_group: group, topic: None, topics: None }.fields();
            match self.ask(&master.address, RequestCode::GetConsumeStats, &fields, &[]).await {
                Ok(answer) => {
                    for (queue, progress) in answer.read::<ConsumeStats>()?.queues.0 {
                        described.queues.push(GroupQueue {
                            queue: Queue::new(queue.topic, queue.broker_name, queue.queue_id),
                            offset: progress.consumer_offset,
                            end: progress.broker_offset,
                            last_consumed_stored_at: time(progress.last_timestamp),
                        });
                    }
                }
                // Apache answers so for a group without members.
                Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => {}
                Err(error) if error.code().is_some_and(is_absent) => absent = Some(error),
                Err(error) => return Err(error),
            }
        }
        described.members.sort();
        described.members.dedup_by(|one, other| one.client_id == other.client_id);
        described.queues.sort_by(|one, other| one.queue.cmp(&other.queue));
        let is_nowhere =
            described.retries.is_none() && described.members.is_empty() && described.queues.is_empty();
        if is_nowhere {
            return Err(absent.unwrap_or_else(|| Error::Refused {
                address: "every broker".into(),
                code: response::SUBSCRIPTION_GROUP_NOT_EXIST,
                remark: format!("there is no group {group}"),
            }));
        }
        Ok(described)
    }

    /// Deletes a group and its offsets on every broker.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        let fields = DeleteGroup { group, clean_offset: true }.fields();
        for master in self.masters().await? {
            match self.ask(&master.address, RequestCode::DeleteGroup, &fields, &[]).await {
                Err(error) if !error.code().is_some_and(is_absent) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Sets a group to another place in a topic. Where members are consuming, the broker tells them; a broker that cannot
    /// refuses, and nothing is changed: stop the members first.
    pub async fn reset_offset(
        &self,
        group: &str,
        topic: &str,
        to: ResetTo,
    ) -> Result<Vec<OffsetReset>, Error> {
        self.core.doubt(topic);
        let route = self.core.route(topic, self.deadline()).await?;
        let Some(route) = route else { return Err(Error::NoRoute { topic: topic.to_owned() }) };
        let mut resets = Vec::new();
        for queue in &route.readable {
            let from = self.group_offset(group, queue).await?;
            let to = match to {
                ResetTo::First => self.offset(queue, Boundary::First).await?,
                ResetTo::End => self.offset(queue, Boundary::End).await?,
                ResetTo::Time(time) => self.offset(queue, Boundary::At(time)).await?,
                ResetTo::Offset(offset) => {
                    let first = self.offset(queue, Boundary::First).await?;
                    offset.clamp(first, self.offset(queue, Boundary::End).await?.max(first))
                }
            };
            resets.push(OffsetReset { queue: queue.clone(), from, to });
        }
        for (broker, address) in self.masters_of(topic).await? {
            let of_broker = resets.iter().filter(|reset| reset.queue.broker == broker);
            if self.has_members(&address, group).await? {
                for reset in of_broker {
                    self.reset_online(&address, group, reset, to).await?;
                }
            } else {
                for reset in of_broker {
                    self.set_group_offset(group, &reset.queue, reset.to).await?;
                }
            }
        }
        Ok(resets)
    }

    async fn reset_online(
        &self,
        address: &str,
        group: &str,
        reset: &OffsetReset,
        to: ResetTo,
    ) -> Result<(), Error> {
        let timestamp_ms = match to {
            ResetTo::First => 0,
            ResetTo::Time(time) => since_1970_ms(time),
            ResetTo::End | ResetTo::Offset(_) => -1,
        };
        let fields = ResetOffset {
            group,
            topic: reset.queue.topic(),
            timestamp_ms,
            force: true,
            queue_id: reset.queue.id(),
            offset: Some(reset.to),
        }
        .fields();
        self.ask(address, RequestCode::ResetOffset, &fields, &[]).await.map(drop)
    }

    async fn has_members(&self, address: &str, group: &str) -> Result<bool, Error> {
        match self.connections(address, group).await {
            Ok(connections) => Ok(!connections.connections.is_empty()),
            Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => Ok(false),
            Err(error) if error.code().is_some_and(is_absent) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn connections(&self, address: &str, group: &str) -> Result<ConsumerConnections, Error> {
        let fields = GroupRequest { consumer_group: group }.fields();
        self.ask(address, RequestCode::GetConsumerConnectionList, &fields, &[]).await?.read()
    }

    async fn definitions(&self, address: &str) -> Result<GroupTable, Error> {
        self.ask(address, RequestCode::GetAllGroupConfig, &[], &[]).await?.read()
    }
}

fn add_connections(described: &mut GroupDescription, connections: ConsumerConnections) {
    described.broadcast |= connections.message_model == MessageModel::Broadcasting;
    described.members.extend(connections.connections.into_iter().map(|connection| MemberDescription {
        client_id: connection.client_id,
        address: connection.client_address,
        language: connection.language,
        version: connection.version,
    }));
    let subscriptions = connections.subscriptions.into_iter();
    described
        .subscriptions
        .extend(subscriptions.map(|(topic, subscription)| (topic, subscription.expression)));
}
