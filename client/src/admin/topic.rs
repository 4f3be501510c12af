//! Topics.

use super::{Admin, Master};
use crate::error::Error;
use crate::queue::Queue;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::name;
use ringmq_wire::request::admin::GroupList;
use ringmq_wire::request::admin::TopicList;
use ringmq_wire::request::kv::DeleteTopicRoute;
use ringmq_wire::request::topic::{CreateTopic, TopicDefinition, TopicRequest, TopicStats};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const QUEUES: u32 = 8;

/// Who may use a topic's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permission {
    /// Producers and consumers.
    #[default]
    ReadWrite,
    /// Consumers only: nothing new comes in.
    Read,
    /// Producers only.
    Write,
}

impl Permission {
    fn number(self) -> i32 {
        match self {
            Permission::ReadWrite => 6,
            Permission::Read => 4,
            Permission::Write => 2,
        }
    }
}

/// A topic to be made.
#[derive(Debug, Clone)]
#[must_use = "a topic is made by `Admin::create_topic`"]
pub struct NewTopic {
    name: String,
    queues: Queues,
    permission: Permission,
    cluster: Option<String>,
    brokers: Option<Vec<String>>,
    ordered: bool,
    attributes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy)]
enum Queues {
    Together(u32),
    PerBroker(u32),
}

impl NewTopic {
    /// A topic of 8 queues, spread over all brokers, that may be read and written.
    pub fn new(name: impl Into<String>) -> NewTopic {
        NewTopic {
            name: name.into(),
            queues: Queues::Together(QUEUES),
            permission: Permission::default(),
            cluster: None,
            brokers: None,
            ordered: false,
            attributes: BTreeMap::new(),
        }
    }

    /// So many queues, over all brokers together, as evenly as can be. One queue is one broker's, and global order.
    pub fn queues(mut self, queues: u32) -> NewTopic {
        self.queues = Queues::Together(queues);
        self
    }

    /// So many queues on each broker, as `mqadmin updateTopic -w` means it.
    pub fn queues_per_broker(mut self, queues: u32) -> NewTopic {
        self.queues = Queues::PerBroker(queues);
        self
    }

    /// Only on brokers of this cluster.
    pub fn cluster(mut self, cluster: impl Into<String>) -> NewTopic {
        self.cluster = Some(cluster.into());
        self
    }

    /// Only on these brokers, by name.
    pub fn brokers<B: Into<String>>(mut self, brokers: impl IntoIterator<Item = B>) -> NewTopic {
        self.brokers = Some(brokers.into_iter().map(Into::into).collect());
        self
    }

    /// Who may use it.
    pub fn permission(mut self, permission: Permission) -> NewTopic {
        self.permission = permission;
        self
    }

    /// An order topic: RocketMQ's mark; its producers use fixed queues.
    pub fn ordered(mut self) -> NewTopic {
        self.ordered = true;
        self
    }

    /// An attribute, such as `message.type` = `FIFO`. Brokers refuse what they do not know.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> NewTopic {
        self.attributes.insert(name.into(), value.into());
        self
    }
}

/// What to change of a topic; what is not named stays.
#[derive(Debug, Clone, Default)]
#[must_use = "a topic is changed by `Admin::alter_topic`"]
pub struct TopicChange {
    queues_per_broker: Option<u32>,
    permission: Option<Permission>,
}

impl TopicChange {
    /// Changes nothing yet.
    pub fn new() -> TopicChange {
        TopicChange::default()
    }

    /// So many queues on each broker that has the topic.
    pub fn queues_per_broker(mut self, queues: u32) -> TopicChange {
        self.queues_per_broker = Some(queues);
        self
    }

    /// Who may use it.
    pub fn permission(mut self, permission: Permission) -> TopicChange {
        self.permission = Some(permission);
        self
    }
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// What each broker that has it says of it.
    pub brokers: Vec<TopicOnBroker>,
    /// Its queues.
    pub queues: Vec<QueueState>,
}

/// A topic's settings on one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOnBroker {
    /// The broker's name.
    pub broker: String,
    /// Its address.
    pub address: String,
    /// Queues that producers see.
    pub write_queues: u32,
    /// Queues that consumers see.
    pub read_queues: u32,
    /// 4 read, 2 write, 1 inherit, added up.
    pub permission: i32,
    /// RocketMQ's mark of an order topic.
    pub ordered: bool,
    /// Such as `message.type`.
    pub attributes: BTreeMap<String, String>,
}

/// How far a queue reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState {
    /// The queue.
    pub queue: Queue,
    /// The first offset still there.
    pub first: i64,
    /// The offset that the next message will have.
    pub end: i64,
    /// When the last message was stored; `None` if there is none.
    pub last_stored_at: Option<SystemTime>,
}

impl Admin {
    /// Makes a topic, or changes the one that is there to be like this. Returns when every broker has it and the name
    /// server tells of it.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<(), Error> {
        name::check_topic(&topic.name).map_err(Error::invalid)?;
        let masters = chosen(self.masters().await?, topic)?;
        for (master, queues) in spread(&masters, topic.queues, &topic.name)? {
            let attributes: Vec<_> =
                topic.attributes.iter().map(|(name, value)| format!("+{name}={value}")).collect();
            let attributes = attributes.join(",");
            let fields = CreateTopic {
                topic: &topic.name,
                default_topic: Some(name::AUTO_CREATE_TOPIC),
                read_queues: queues,
                write_queues: queues,
                perm: topic.permission.number(),
                filter_type: Some("SINGLE_TAG"),
                topic_sys_flag: 0,
                order: topic.ordered,
                attributes: Some(attributes.as_str()).filter(|text| !text.is_empty()),
                force: false,
            }
            .fields();
            self.ask(&master.address, RequestCode::UpdateAndCreateTopic, &fields, &[]).await?;
        }
        self.await_route(&topic.name).await
    }

    /// The names of all topics that the name server knows, the system's own too ([`ringmq_wire::name::is_system_topic`]
    /// tells them), sorted.
    pub async fn topics(&self) -> Result<Vec<String>, Error> {
        let request = crate::edge::connection::Request {
            code: RequestCode::GetAllTopicList.number(),
            fields: &[],
            body: &[],
        };
        let answer = self.core.names.ask(&self.core.connections, &request, self.deadline()).await?;
        let mut topics = answer.success()?.read::<TopicList>()?.topics;
        topics.sort();
        topics.dedup();
        Ok(topics)
    }

    /// A topic's settings and queues.
    pub async fn topic(&self, topic: &str) -> Result<TopicDescription, Error> {
        let mut described =
            TopicDescription { name: topic.to_owned(), brokers: Vec::new(), queues: Vec::new() };
        for (broker, address) in self.masters_of(topic).await? {
            let definition = self.definition(&address, topic).await?;
            described.brokers.push(TopicOnBroker {
                broker: broker.to_string(),
                address: address.clone(),
                write_queues: count(definition.write_queues),
                read_queues: count(definition.read_queues),
                permission: definition.perm,
                ordered: definition.order,
                attributes: definition.attributes,
            });
            let fields = TopicRequest { topic }.fields();
            let answer = self.ask(&address, RequestCode::GetTopicStats, &fields, &[]).await?;
            for (queue, stats) in answer.read::<TopicStats>()?.queues.0 {
                described.queues.push(QueueState {
                    queue: Queue::new(topic, broker.clone(), queue.queue_id),
                    first: stats.min_offset,
                    end: stats.max_offset,
                    last_stored_at: time(stats.last_update_timestamp),
                });
            }
        }
        described.queues.sort_by(|one, other| one.queue.cmp(&other.queue));
        Ok(described)
    }

    /// Changes a topic on every broker that has it.
    pub async fn alter_topic(&self, topic: &str, change: &TopicChange) -> Result<(), Error> {
        for (_, address) in self.masters_of(topic).await? {
            let now = self.definition(&address, topic).await?;
            let queues = |now: i32| change.queues_per_broker.map_or(Ok(now), as_count);
            let fields = CreateTopic {
                topic,
                default_topic: Some(name::AUTO_CREATE_TOPIC),
                read_queues: queues(now.read_queues)?,
                write_queues: queues(now.write_queues)?,
                perm: change.permission.map_or(now.perm, Permission::number),
                filter_type: Some(&now.filter_type),
                topic_sys_flag: now.topic_sys_flag,
                order: now.order,
                attributes: None,
                force: false,
            }
            .fields();
            self.ask(&address, RequestCode::UpdateAndCreateTopic, &fields, &[]).await?;
        }
        self.core.doubt(topic);
        Ok(())
    }

    /// Deletes a topic with all its messages, on every broker, and from every name server.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        let masters = self.masters_of(topic).await?;
        let fields = TopicRequest { topic }.fields();
        for (_, address) in masters {
            self.ask(&address, RequestCode::DeleteTopicInBroker, &fields, &[]).await?;
        }
        let fields = DeleteTopicRoute { topic, cluster: None }.fields();
        for address in self.core.names.addresses() {
            self.ask(address, RequestCode::DeleteTopicInNameServer, &fields, &[]).await?;
        }
        self.core.doubt(topic);
        Ok(())
    }

    /// The groups that consume a topic, sorted.
    pub async fn groups_of_topic(&self, topic: &str) -> Result<Vec<String>, Error> {
        let fields = TopicRequest { topic }.fields();
        let mut groups = Vec::new();
        for (_, address) in self.masters_of(topic).await? {
            let answer = self.ask(&address, RequestCode::QueryTopicConsumeByWho, &fields, &[]).await?;
            groups.extend(answer.read::<GroupList>()?.groups);
        }
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    async fn definition(&self, address: &str, topic: &str) -> Result<TopicDefinition, Error> {
        let fields = TopicRequest { topic }.fields();
        self.ask(address, RequestCode::GetTopicConfig, &fields, &[]).await?.read()
    }

    /// Waits until the name server tells of a topic: brokers tell it on change, but not before they answer.
    async fn await_route(&self, topic: &str) -> Result<(), Error> {
        let deadline = self.deadline();
        let mut backoff =
            crate::rules::backoff::Backoff::new(Duration::from_millis(10), Duration::from_millis(200));
        loop {
            match self.core.names.route(&self.core.connections, topic, deadline).await {
                Ok(Some(_)) => {
                    self.core.doubt(topic);
                    return Ok(());
                }
                Err(error) if !error.is_retryable() => return Err(error),
                _ => {}
            }
            let wait = backoff.failed(&mut self.core.random());
            if tokio::time::Instant::now() + wait >= deadline {
                return Err(Error::NoRoute { topic: topic.to_owned() });
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// The masters that a topic may be made on.
fn chosen(masters: Vec<Master>, topic: &NewTopic) -> Result<Vec<Master>, Error> {
    if let Some(wanted) = &topic.brokers {
        let known = |name: &&String| masters.iter().any(|master| *master.name == ***name);
        if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
            let names: Vec<_> = masters.iter().map(|master| master.name.as_ref()).collect();
            return Err(Error::Invalid(format!(
                "there is no broker {unknown}; there are {}",
                names.join(", ")
            )));
        }
    }
    let is_wanted = |master: &Master| {
        topic.cluster.as_ref().is_none_or(|cluster| *cluster == master.cluster)
            && topic.brokers.as_ref().is_none_or(|names| names.iter().any(|name| **name == *master.name))
    };
    let wanted: Vec<_> = masters.into_iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        let cluster = topic.cluster.as_deref().unwrap_or_default();
        return Err(Error::Invalid(format!("cluster {cluster} has no broker that takes writes")));
    }
    Ok(wanted)
}

/// How many queues each master gets; none of those that get none.
fn spread<'m>(masters: &'m [Master], queues: Queues, topic: &str) -> Result<Vec<(&'m Master, i32)>, Error> {
    let (each, left, start) = match queues {
        Queues::PerBroker(each) => (each, 0, 0),
        Queues::Together(all) => {
            let brokers = masters.len() as u32;
            // Small topics do not all begin with the same broker.
            let start = ringmq_wire::record::tag::hash_code(topic).unsigned_abs() % brokers;
            (all / brokers, all % brokers, start as usize)
        }
    };
    let turned = masters[start..].iter().chain(&masters[..start]).enumerate();
    let counts = turned.map(|(index, master)| (master, each + u32::from((index as u32) < left)));
    let counts: Result<Vec<_>, Error> = counts
        .filter(|(_, count)| *count > 0)
        .map(|(master, count)| Ok((master, as_count(count)?)))
        .collect();
    match counts {
        Ok(counts) if counts.is_empty() => Err(Error::Invalid("a topic has at least one queue".into())),
        counts => counts,
    }
}

fn as_count(queues: u32) -> Result<i32, Error> {
    i32::try_from(queues)
        .ok()
        .filter(|queues| *queues > 0)
        .ok_or_else(|| Error::Invalid(format!("a topic cannot have {queues} queues")))
}

fn count(queues: i32) -> u32 {
    queues.try_into().unwrap_or(0)
}

/// A time of the protocol's; 0 is none.
pub(super) fn time(since_1970_ms: i64) -> Option<SystemTime> {
    let ms = u64::try_from(since_1970_ms).ok().filter(|ms| *ms > 0)?;
    Some(UNIX_EPOCH + Duration::from_millis(ms))
}

/// Whether an answer says that a topic or group is not there.
pub(super) fn is_absent(code: i32) -> bool {
    matches!(code, response::TOPIC_NOT_EXIST | response::SUBSCRIPTION_GROUP_NOT_EXIST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn masters(names: &[&str]) -> Vec<Master> {
        let master = |name: &&str| Master {
            cluster: if name.starts_with('x') { "other".into() } else { "main".into() },
            name: Arc::from(*name),
            address: format!("{name}:1"),
        };
        names.iter().map(master).collect()
    }

    fn spread_over(brokers: &[&str], queues: Queues) -> String {
        let masters = masters(brokers);
        // "T".hashCode() = 84, a multiple of 1 to 4: the first broker begins.
        let mut spread: Vec<_> = spread(&masters, queues, "T").unwrap();
        spread.sort_by(|one, other| one.0.name.cmp(&other.0.name));
        spread.iter().map(|(master, count)| format!("{}={count}", master.name)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn queues_are_spread_evenly_and_few_queues_over_few_brokers() {
        for (brokers, queues, expected) in [
            (&["a"][..], Queues::Together(8), "a=8"),
            (&["a", "b"], Queues::Together(8), "a=4 b=4"),
            (&["a", "b", "c"], Queues::Together(8), "a=3 b=3 c=2"),
            (&["a", "b", "c"], Queues::Together(1), "a=1"),
            (&["a", "b"], Queues::PerBroker(8), "a=8 b=8"),
        ] {
            assert_eq!(spread_over(brokers, queues), expected, "{queues:?}");
        }
        for queues in [Queues::Together(0), Queues::PerBroker(0), Queues::PerBroker(u32::MAX)] {
            assert!(spread(&masters(&["a"]), queues, "T").is_err(), "{queues:?}");
        }
    }

    #[test]
    fn a_topic_is_made_where_it_is_wanted() {
        let at = |topic: NewTopic| {
            let chosen = chosen(masters(&["a", "b", "x"]), &topic);
            chosen.map(|masters| masters.iter().map(|master| master.name.to_string()).collect::<String>())
        };
        assert_eq!(at(NewTopic::new("T")).unwrap(), "abx");
        assert_eq!(at(NewTopic::new("T").cluster("main")).unwrap(), "ab");
        assert_eq!(at(NewTopic::new("T").brokers(["b"])).unwrap(), "b");
        assert_eq!(
            at(NewTopic::new("T").brokers(["c"])).unwrap_err().to_string(),
            "there is no broker c; there are a, b, x"
        );
        assert_eq!(
            at(NewTopic::new("T").cluster("none")).unwrap_err().to_string(),
            "cluster none has no broker that takes writes"
        );
    }
}
