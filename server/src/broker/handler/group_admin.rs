//! Groups: define (200, 225), delete (207), look at (201, 352), who is there (203, 204, 328), and how far they are
//! (208, 43, 343, 345).
//!
//! Differences from Apache: attributes are refused instead of kept without effect.
//!
//! Source: `broker/.../processor/AdminBrokerProcessor.java`.

use std::collections::{BTreeMap, BTreeSet};

use ringmq_engine::env::Env;
use ringmq_engine::offset::QueueOffset;
use ringmq_wire::json;
use ringmq_wire::language;
use ringmq_wire::name;
use ringmq_wire::request::admin::{
    Connection, ConsumeStats, ConsumeStatsRequest, ConsumerConnections, ProducerConnections,
    ProducerGroupRequest, QueueProgress, TopicList,
};
use ringmq_wire::request::group::{
    CustomizedPolicy, DeleteGroup, ExponentialPolicy, GroupDefinition, GroupDefinitionRequest,
    GroupDefinitions, GroupTable, GroupTableReply, GroupTableRequest, RetryPolicy as SaidPolicy,
};
use ringmq_wire::request::heartbeat::GroupRequest;
use ringmq_wire::request::queue::QueueName;
use ringmq_wire::request::subscription::Subscription;
use ringmq_wire::request::topic::DataVersion;
use serde::Serialize;

use crate::broker::facts::group_config::{self, GroupConfig, RetryPolicy};
use crate::broker::facts::group_offset;
use crate::broker::group::membership::Member;
use crate::broker::group::{self, Group, offsets};
use crate::broker::limits::{
    DEFINITIONS_PER_LIST_MAX, QUEUES_PER_TOPIC_MAX, RETRY_WAITS_MAX, TIMER_HORIZON_MAX,
};
use crate::broker::outcome::Outcome;
use crate::broker::reply::{Refusal, Reply};
use crate::broker::table;
use crate::broker::{Broker, Call, Scratch};

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP
pub fn update<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request: GroupDefinition = json::read(call.body)?;
    let config = read_definition(&request)?;
    define(broker, vec![config], reply)
}

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST: all of them, or none.
pub fn update_list<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request: GroupDefinitions = json::read(call.body)?;
    if request.groups.len() > DEFINITIONS_PER_LIST_MAX {
        return Err(Refusal::TooManyDefinitions);
    }
    let configs: Result<Vec<_>, _> = request.groups.iter().map(read_definition).collect();
    define(broker, configs?, reply)
}

fn define<E: Env>(
    broker: &mut Broker<E>,
    configs: Vec<GroupConfig>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    for config in &configs {
        broker.groups.check_room(&config.name)?;
    }
    let Scratch { batch, key, .. } = &mut broker.scratch;
    batch.clear();
    configs.iter().for_each(|config| group::put(batch, key, config));
    let appended = broker.store.append(batch)?;
    configs.into_iter().for_each(|config| broker.groups.adopt(config));
    reply.done();
    Ok(Outcome::ReplyWhenDurable(appended.ticket))
}

/// DELETE_SUBSCRIPTIONGROUP. A group that is not there is deleted already; one whose members are still there
/// comes back with their next heartbeat, as in Apache.
pub fn delete<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = DeleteGroup::decode(&call.head.fields)?;
    let Broker { store, scratch, .. } = &mut *broker;
    let Scratch { batch, key, .. } = scratch;
    batch.clear();
    group_config::key(key, request.group);
    batch.delete(key);
    if request.clean_offset {
        offsets::visit(store, key, request.group, None, |key, _, _, _| batch.delete(key));
    }
    let appended = store.append(batch)?;
    if let Some(group) = broker.groups.forget(request.group) {
        for member in group.members.iter() {
            if let Some(session) = broker.sessions.get_mut(member.conn) {
                session.consumer_groups.retain(|name| **name != *request.group);
            }
        }
    }
    reply.done();
    Ok(Outcome::ReplyWhenDurable(appended.ticket))
}

/// GET_ALL_SUBSCRIPTIONGROUP_CONFIG: the whole table, or a page of it.
pub fn all<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = GroupTableRequest::decode(&call.head.fields)?;
    let page = table::page(broker.groups.iter(), request.sequence, request.groups_max);
    let table = GroupTable {
        data_version: data_version(broker),
        groups: page.map(|(name, group)| (name.to_owned(), definition(&group.config))).collect(),
        ..GroupTable::default()
    };
    let header = GroupTableReply { groups: i32::try_from(broker.groups.count()).unwrap_or(i32::MAX) };
    let body = table::body(&table, table.groups.len(), "groupSeq and maxGroupNum")?;
    reply.fields_and_body(&header.fields(), &body);
    Ok(Outcome::Reply)
}

/// GET_SUBSCRIPTIONGROUP_CONFIG
pub fn config<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = GroupDefinitionRequest::decode(&call.head.fields)?;
    let group = broker.groups.get(request.group);
    let group = group.ok_or_else(|| Refusal::GroupUnknown(request.group.into()))?;
    reply.json(&definition(&group.config));
    Ok(Outcome::Reply)
}

/// GET_CONSUMER_CONNECTION_LIST
pub fn consumers<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = GroupRequest::decode(&call.head.fields)?;
    let group = online(broker, request.consumer_group);
    let group = group.ok_or_else(|| Refusal::ConsumersNotOnline(request.consumer_group.into()))?;
    let subscriptions = group.subscriptions.iter();
    reply.json(&ConsumerConnections {
        connections: group.members.iter().map(|member| connection(broker, member)).collect(),
        consume_from: group.consumption.from,
        consume_type: group.consumption.kind,
        message_model: group.consumption.model,
        subscriptions: subscriptions.map(|(topic, one)| (topic.to_owned(), one.said.clone())).collect(),
    });
    Ok(Outcome::Reply)
}

/// GET_PRODUCER_CONNECTION_LIST
pub fn producers<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = ProducerGroupRequest::decode(&call.head.fields)?;
    let members = broker.groups.producers(request.producer_group);
    let members = members.ok_or_else(|| Refusal::ProducersNotHere(request.producer_group.into()))?;
    let connections = members.iter().map(|member| connection(broker, member)).collect();
    reply.json(&ProducerConnections { connections });
    Ok(Outcome::Reply)
}

/// All producers, by group. (`ProducerTableInfo`)
#[derive(Debug, Serialize)]
struct ProducerTable<'a> {
    data: BTreeMap<&'a str, Vec<ProducerEntry<'a>>>,
}

/// One producer. (`ProducerInfo`)
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProducerEntry<'a> {
    client_id: &'a str,
    language: &'static str,
    last_update_timestamp: i64,
    #[serde(rename = "remoteIP")]
    remote_ip: String,
    version: i32,
}

/// GET_ALL_PRODUCER_INFO
pub fn all_producers<E: Env>(
    broker: &mut Broker<E>,
    _call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let groups = broker.groups.all_producers();
    let data = groups
        .map(|(name, members)| (name, members.iter().map(|member| producer_entry(broker, member)).collect()));
    let data = data.collect();
    reply.json(&ProducerTable { data });
    Ok(Outcome::Reply)
}

fn producer_entry<'a, E: Env>(broker: &Broker<E>, member: &'a Member) -> ProducerEntry<'a> {
    let session = broker.sessions.get(member.conn);
    ProducerEntry {
        client_id: &member.client_id,
        language: language::name(member.language),
        last_update_timestamp: member.heard_wall_ms,
        remote_ip: session.map_or_else(String::new, |session| session.peer.ip().to_string()),
        version: member.version,
    }
}

/// GET_CONSUME_STATS: the group's progress in every queue of the topics asked for, or of all that it has
/// offsets or subscriptions for.
pub fn progress<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = ConsumeStatsRequest::decode(&call.head.fields)?;
    let group = request.consumer_group;
    let Broker { store, topics, groups, scratch, identity, .. } = &mut *broker;
    let key = &mut scratch.key;

    let mut wanted: BTreeSet<String> = BTreeSet::new();
    wanted.extend(request.topic.map(str::to_owned));
    wanted.extend(request.topics.iter().flat_map(|topics| topics.split(';')).map(str::to_owned));
    wanted.retain(|topic| !topic.is_empty());
    let online = groups.get(group).filter(|group| !group.members.is_empty());
    if wanted.is_empty() {
        offsets::visit(store, key, group, None, |_, topic, _, _| {
            wanted.insert(topic.to_owned());
        });
        wanted.extend(
            online.iter().flat_map(|group| group.subscriptions.iter()).map(|(topic, _)| topic.to_owned()),
        );
    }
    // What a group consumed once and does not subscribe to any more is not behind.
    wanted.retain(|topic| online.is_none_or(|group| group.subscriptions.get(topic).is_some()));

    let mut stats = ConsumeStats::default();
    for topic_name in &wanted {
        let Some(topic) = topics.get(topic_name) else { continue };
        for queue_id in 0..topic.config.read_queues {
            let offset = offsets::query(store, key, group, topic_name, queue_id).unwrap_or_default();
            let queue = topic.find_queue(store, queue_id);
            let last = offset.0.checked_sub(1).map(QueueOffset);
            let consumed = queue.zip(last).and_then(|(queue, last)| store.store_time(queue, last));
            let progress = QueueProgress {
                broker_offset: queue.map_or(0, |queue| store.bounds(queue).1.0.cast_signed()),
                consumer_offset: offset.0.cast_signed(),
                last_timestamp: consumed.unwrap_or(0),
                pull_offset: offset.0.cast_signed(),
            };
            let queue = QueueName {
                broker_name: identity.broker_name.clone(),
                queue_id: queue_id.cast_signed(),
                topic: topic_name.clone(),
            };
            stats.queues.0.push((queue, progress));
        }
    }
    reply.json(&stats);
    Ok(Outcome::Reply)
}

/// All group offsets: `topic@group` → queue id → offset. (`ConsumerOffsetSerializeWrapper`)
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupOffsetTable {
    data_version: DataVersion,
    offset_table: BTreeMap<String, BTreeMap<u32, u64>>,
}

/// GET_ALL_CONSUMER_OFFSET
pub fn all_offsets<E: Env>(
    broker: &mut Broker<E>,
    _call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let mut offset_table: BTreeMap<String, BTreeMap<u32, u64>> = BTreeMap::new();
    broker.store.facts_with_prefix(&[group_offset::PREFIX], |key, value| {
        let offset = group_offset::decode(key, value);
        if let (Ok((group, topic, queue_id)), Ok(offset)) = (group_offset::decode_key(key), offset) {
            offset_table.entry(format!("{topic}@{group}")).or_default().insert(queue_id, offset.0);
        }
    });
    reply.json(&GroupOffsetTable { data_version: data_version(broker), offset_table });
    Ok(Outcome::Reply)
}

/// QUERY_TOPICS_BY_CONSUMER
pub fn topics<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let group = call.head.fields.text("group")?;
    let mut topics = BTreeSet::new();
    offsets::visit(&broker.store, &mut broker.scratch.key, group, None, |_, topic, _, _| {
        topics.insert(topic.to_owned());
    });
    reply.json(&TopicList { broker_address: None, topics: topics.into_iter().collect() });
    Ok(Outcome::Reply)
}

/// What a group subscribes to on a topic. (`QuerySubscriptionResponseBody`)
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionOfGroup<'a> {
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_data: Option<&'a Subscription>,
    topic: &'a str,
}

/// QUERY_SUBSCRIPTION_BY_CONSUMER
pub fn subscription<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let (group, topic) = (call.head.fields.text("group")?, call.head.fields.text("topic")?);
    let subscribed = broker.groups.get(group).and_then(|group| group.subscriptions.get(topic));
    let subscription_data = subscribed.map(|subscribed| &subscribed.said);
    reply.json(&SubscriptionOfGroup { group, subscription_data, topic });
    Ok(Outcome::Reply)
}

fn online<'a, E: Env>(broker: &'a Broker<E>, group: &str) -> Option<&'a Group> {
    broker.groups.get(group).filter(|group| !group.members.is_empty())
}

fn data_version<E: Env>(broker: &Broker<E>) -> DataVersion {
    table::data_version(broker.groups.version(), broker.opened_wall_ms)
}

fn connection<E: Env>(broker: &Broker<E>, member: &Member) -> Connection {
    let session = broker.sessions.get(member.conn);
    Connection {
        client_address: session.map_or_else(String::new, |session| session.peer.to_string()),
        client_id: (&*member.client_id).into(),
        language: language::name(member.language).into(),
        version: member.version,
    }
}

/// A group as tools see it.
fn definition(config: &GroupConfig) -> GroupDefinition {
    GroupDefinition {
        attributes: BTreeMap::new(),
        broker_id: config.broker_id.cast_signed(),
        consume_broadcast_enable: config.broadcast,
        consume_enable: config.consume,
        consume_from_min_enable: config.from_min,
        consume_message_orderly: config.orderly,
        consume_timeout_minute: config.consume_timeout_minutes.cast_signed(),
        group_name: (&*config.name).into(),
        group_retry_policy: say_policy(&config.retry_policy),
        group_sys_flag: config.sys_flag.cast_signed(),
        notify_consumer_ids_changed_enable: config.notify,
        retry_max_times: config.retry_max,
        retry_queues: config.retry_queues.cast_signed(),
        which_broker_when_consume_slowly: config.broker_id_when_slow.cast_signed(),
    }
}

/// A group as a tool defines it.
fn read_definition(said: &GroupDefinition) -> Result<GroupConfig, Refusal> {
    name::check_group(&said.group_name)?;
    if !said.attributes.is_empty() {
        return Err(Refusal::GroupSetting("attributes"));
    }
    let retry_queues = u32::try_from(said.retry_queues).ok().filter(|queues| *queues <= QUEUES_PER_TOPIC_MAX);
    Ok(GroupConfig {
        name: said.group_name.as_str().into(),
        consume: said.consume_enable,
        from_min: said.consume_from_min_enable,
        broadcast: said.consume_broadcast_enable,
        orderly: said.consume_message_orderly,
        notify: said.notify_consumer_ids_changed_enable,
        retry_queues: retry_queues.ok_or(Refusal::GroupSetting("number of retry queues"))?,
        retry_max: said.retry_max_times,
        retry_policy: read_policy(&said.group_retry_policy).ok_or(Refusal::GroupSetting("retry policy"))?,
        consume_timeout_minutes: said.consume_timeout_minute.cast_unsigned(),
        sys_flag: said.group_sys_flag.cast_unsigned(),
        broker_id: said.broker_id.cast_unsigned(),
        broker_id_when_slow: said.which_broker_when_consume_slowly.cast_unsigned(),
    })
}

/// A policy, if its times and their number are within their bounds.
fn read_policy(said: &SaidPolicy) -> Option<RetryPolicy> {
    let time =
        |ms: &i64| u64::try_from(*ms).ok().filter(|ms| u128::from(*ms) <= TIMER_HORIZON_MAX.as_millis());
    match said.kind.as_str() {
        "EXPONENTIAL" => {
            let said = said.exponential_retry_policy.clone().unwrap_or_default();
            let (initial_ms, max_ms) = (time(&said.initial)?, time(&said.max)?);
            let multiplier = u64::try_from(said.multiplier).ok().filter(|multiplier| *multiplier > 0)?;
            Some(RetryPolicy::Exponential { initial_ms, max_ms, multiplier })
        }
        "CUSTOMIZED" => match said.customized_retry_policy.as_ref().map(|said| &said.next[..]) {
            None | Some([]) => Some(RetryPolicy::Levels),
            Some(next) if next.len() <= RETRY_WAITS_MAX => {
                next.iter().map(time).collect::<Option<Vec<u64>>>().map(RetryPolicy::Customized)
            }
            Some(_) => None,
        },
        _ => None,
    }
}

fn say_policy(policy: &RetryPolicy) -> SaidPolicy {
    let number = |number: u64| number.cast_signed();
    match policy {
        RetryPolicy::Levels => SaidPolicy::default(),
        RetryPolicy::Exponential { initial_ms, max_ms, multiplier } => SaidPolicy {
            kind: "EXPONENTIAL".to_owned(),
            exponential_retry_policy: Some(ExponentialPolicy {
                initial: number(*initial_ms),
                max: number(*max_ms),
                multiplier: number(*multiplier),
            }),
            customized_retry_policy: None,
        },
        RetryPolicy::Customized(waits_ms) => SaidPolicy {
            customized_retry_policy: Some(CustomizedPolicy {
                next: waits_ms.iter().copied().map(number).collect(),
            }),
            ..SaidPolicy::default()
        },
    }
}
