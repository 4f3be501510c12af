//! Topics: define (17, 18), delete (215), look at (21, 351, 202, 305, 300).
//!
//! A list of definitions is one batch: all of them, or none. A deleted topic's queues keep their ends, so offsets
//! are never used twice: a topic of the same name goes on where the old one stopped.
//!
//! Differences from Apache: of the attributes only `message.type` is kept, and others are refused; a deletion takes
//! the offsets of all groups on that topic with it.
//!
//! Source: `broker/.../processor/AdminBrokerProcessor.java`.

use ringmq_engine::env::Env;
use ringmq_engine::offset::QueueOffset;
use ringmq_wire::json;
use ringmq_wire::name;
use ringmq_wire::request::admin::{GroupList, TopicList};
use ringmq_wire::request::queue::{QueueMap, QueueName};
use ringmq_wire::request::topic::{
    AttributeChange, CreateTopic, QueueStats, TopicDefinition, TopicDefinitions, TopicRequest, TopicStats,
    TopicTable, TopicTableReply, TopicTableRequest, attribute_changes,
};

use crate::broker::facts::group_offset;
use crate::broker::facts::topic_config::{self, MessageKind, Perm, TopicConfig};
use crate::broker::group::offsets;
use crate::broker::limits::{DEFINITIONS_PER_LIST_MAX, QUEUES_PER_TOPIC_MAX};
use crate::broker::outcome::Outcome;
use crate::broker::reply::{Refusal, Reply};
use crate::broker::{Broker, Call, Scratch, table, topic};

/// The one attribute of topics that is kept. (`TopicAttributes.TOPIC_MESSAGE_TYPE_ATTRIBUTE`)
const MESSAGE_TYPE: &str = "message.type";
/// `topicFilterType` of a topic whose messages have several tags.
const MULTI_TAG: &str = "MULTI_TAG";

/// UPDATE_AND_CREATE_TOPIC
pub fn update<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = CreateTopic::decode(&call.head.fields)?;
    let mut kind = broker.topics.get(request.topic).and_then(|topic| topic.config.kind);
    let changes = request.attributes.unwrap_or_default();
    let not_read = || Refusal::TopicAttribute(changes.into());
    for change in attribute_changes(changes).ok_or_else(not_read)? {
        kind = match change {
            AttributeChange::Set(name, value) => Some(message_kind(name, value)?),
            AttributeChange::Delete(MESSAGE_TYPE) => None,
            AttributeChange::Delete(name) => return Err(Refusal::TopicAttribute(name.into())),
        };
    }
    let config = TopicConfig {
        name: request.topic.into(),
        read_queues: queue_count(request.topic, request.read_queues)?,
        write_queues: queue_count(request.topic, request.write_queues)?,
        perm: perm(request.perm)?,
        sys_flag: request.topic_sys_flag.cast_unsigned(),
        ordered: request.order,
        multi_tag: request.filter_type == Some(MULTI_TAG),
        kind,
    };
    define(broker, vec![config], reply)
}

/// UPDATE_AND_CREATE_TOPIC_LIST
pub fn update_list<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request: TopicDefinitions = json::read(call.body)?;
    if request.topics.len() > DEFINITIONS_PER_LIST_MAX {
        return Err(Refusal::TooManyDefinitions);
    }
    let configs: Result<Vec<_>, _> = request.topics.iter().map(read_definition).collect();
    define(broker, configs?, reply)
}

fn define<E: Env>(
    broker: &mut Broker<E>,
    configs: Vec<TopicConfig>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    for config in &configs {
        name::check_topic(&config.name)?;
        if topic::is_system(&config.name, &broker.identity) {
            return Err(Refusal::SystemTopic((&*config.name).into()));
        }
        broker.topics.check_room(config)?;
    }
    let Scratch { batch, key, .. } = &mut broker.scratch;
    batch.clear();
    configs.iter().for_each(|config| topic::put(batch, key, config));
    let appended = broker.store.append(batch)?;
    configs.into_iter().for_each(|config| broker.topics.adopt(config));
    reply.done();
    Ok(Outcome::ReplyWhenDurable(appended.ticket))
}

/// DELETE_TOPIC_IN_BROKER. A topic that is not there is deleted already.
pub fn delete<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = TopicRequest::decode(&call.head.fields)?;
    if topic::is_system(request.topic, &broker.identity) {
        return Err(Refusal::SystemTopic(request.topic.into()));
    }
    if broker.topics.get(request.topic).is_none() {
        reply.done();
        return Ok(Outcome::Reply);
    }
    let Broker { store, scratch, topics, .. } = broker;
    let Scratch { batch, key, .. } = scratch;
    batch.clear();
    topic_config::key(key, request.topic);
    batch.delete(key);
    // The topic may have had more queues before.
    for queue_id in 0..QUEUES_PER_TOPIC_MAX {
        if let Some(queue) = store.find_queue(request.topic, queue_id.cast_signed()) {
            store.forget_queue(batch, queue);
        }
    }
    store.facts_with_prefix(&[group_offset::PREFIX], |key, _| {
        if group_offset::decode_key(key).is_ok_and(|(_, topic, _)| topic == request.topic) {
            batch.delete(key);
        }
    });
    let appended = store.append(batch)?;
    topics.forget(request.topic);
    reply.done();
    Ok(Outcome::ReplyWhenDurable(appended.ticket))
}

/// GET_ALL_TOPIC_CONFIG: the whole table, or a page of it.
pub fn all<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = TopicTableRequest::decode(&call.head.fields)?;
    let page = table::page(broker.topics.configs(), request.sequence, request.topics_max);
    let table = TopicTable {
        data_version: table::data_version(broker.topics.version(), broker.opened_wall_ms),
        topics: page.map(|config| (String::from(&*config.name), definition(config))).collect(),
        ..TopicTable::default()
    };
    let header = TopicTableReply { topics: i32::try_from(broker.topics.count()).unwrap_or(i32::MAX) };
    let body = table::body(&table, table.topics.len(), "topicSeq and maxTopicNum")?;
    reply.fields_and_body(&header.fields(), &body);
    Ok(Outcome::Reply)
}

/// GET_TOPIC_CONFIG
pub fn config<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = TopicRequest::decode(&call.head.fields)?;
    let topic = broker.topics.get(request.topic);
    let topic = topic.ok_or_else(|| Refusal::TopicAbsent(request.topic.into()))?;
    reply.json(&definition(&topic.config));
    Ok(Outcome::Reply)
}

/// GET_TOPIC_STATS_INFO: one entry for every queue, also those without a record.
pub fn stats<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = TopicRequest::decode(&call.head.fields)?;
    let topic = broker.topics.get(request.topic);
    let topic = topic.ok_or_else(|| Refusal::TopicUnknown(request.topic.into()))?;
    let store = &broker.store;
    let queues = (0..topic.config.queues()).map(|queue_id| {
        let stats = topic.find_queue(store, queue_id).map_or_else(QueueStats::default, |queue| {
            let (begin, end) = store.bounds(queue);
            let last = end.0.checked_sub(1).filter(|last| *last >= begin.0);
            QueueStats {
                last_update_timestamp: last
                    .and_then(|last| store.store_time(queue, QueueOffset(last)))
                    .unwrap_or(0),
                max_offset: end.0.cast_signed(),
                min_offset: begin.0.cast_signed(),
            }
        });
        let name = QueueName {
            broker_name: broker.identity.broker_name.clone(),
            queue_id: queue_id.cast_signed(),
            topic: request.topic.into(),
        };
        (name, stats)
    });
    reply.json(&TopicStats { queues: QueueMap(queues.collect()), topic_put_tps: 0.0 });
    Ok(Outcome::Reply)
}

/// GET_SYSTEM_TOPIC_LIST_FROM_BROKER
pub fn system<E: Env>(
    broker: &mut Broker<E>,
    _call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let names = broker.topics.configs().map(|config| &*config.name);
    let topics = names.filter(|name| topic::is_system(name, &broker.identity)).map(String::from).collect();
    reply.json(&TopicList { broker_address: None, topics });
    Ok(Outcome::Reply)
}

/// QUERY_TOPIC_CONSUME_BY_WHO: groups that subscribe to the topic now, or have an offset on it.
pub fn groups<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = TopicRequest::decode(&call.head.fields)?;
    let key = &mut broker.scratch.key;
    let mut found = Vec::new();
    for (name, group) in broker.groups.iter() {
        let mut consumes = group.subscriptions.get(request.topic).is_some();
        offsets::visit(&broker.store, key, name, Some(request.topic), |_, _, _, _| consumes = true);
        if consumes {
            found.push(name.to_owned());
        }
    }
    reply.json(&GroupList { groups: found });
    Ok(Outcome::Reply)
}

/// A topic as tools see it.
fn definition(config: &TopicConfig) -> TopicDefinition {
    let kind = config.kind.map(|kind| (MESSAGE_TYPE.to_owned(), kind.name().to_owned()));
    TopicDefinition {
        attributes: kind.into_iter().collect(),
        order: config.ordered,
        perm: i32::from(config.perm.0),
        read_queues: config.read_queues.cast_signed(),
        filter_type: if config.multi_tag { MULTI_TAG } else { "SINGLE_TAG" }.to_owned(),
        topic_name: (&*config.name).into(),
        topic_sys_flag: config.sys_flag.cast_signed(),
        write_queues: config.write_queues.cast_signed(),
    }
}

/// A topic as a tool defines it; in lists, an attribute to set is written with a plus sign.
fn read_definition(said: &TopicDefinition) -> Result<TopicConfig, Refusal> {
    let mut kind = None;
    for (name, value) in &said.attributes {
        kind = Some(message_kind(name.strip_prefix('+').unwrap_or(name), value)?);
    }
    Ok(TopicConfig {
        name: said.topic_name.as_str().into(),
        read_queues: queue_count(&said.topic_name, said.read_queues)?,
        write_queues: queue_count(&said.topic_name, said.write_queues)?,
        perm: perm(said.perm)?,
        sys_flag: said.topic_sys_flag.cast_unsigned(),
        ordered: said.order,
        multi_tag: said.filter_type == MULTI_TAG,
        kind,
    })
}

fn message_kind(name: &str, value: &str) -> Result<MessageKind, Refusal> {
    let kind = (name == MESSAGE_TYPE).then(|| MessageKind::named(value)).flatten();
    kind.ok_or_else(|| Refusal::TopicAttribute(format!("{name}={value}")))
}

fn queue_count(topic: &str, queues: i32) -> Result<u32, Refusal> {
    let count = u32::try_from(queues).ok().filter(|count| (1..=QUEUES_PER_TOPIC_MAX).contains(count));
    count.ok_or_else(|| Refusal::QueueCount { topic: topic.into(), queues })
}

/// The bits are read, write, inherit, and a priority that nothing looks at.
fn perm(perm: i32) -> Result<Perm, Refusal> {
    u8::try_from(perm).ok().filter(|bits| *bits < 16).map(Perm).ok_or(Refusal::Perm(perm))
}
