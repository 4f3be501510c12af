//! Giving a record back (36): a copy of it goes to the group's retry topic, where it waits, or to its dead-letter topic.
//!
//! The checks, in Apache's order; the first that fails answers:
//!
//! | check | code |
//! | --- | --- |
//! | the group is unknown | 26 |
//! | the group has no retry queues | 0, and nothing is stored |
//! | no record begins at that offset | 1 |
//! | the store does not take it | 14, 2 |
//!
//! The copy has the record's body, flags, tags, born time and host, and its properties with
//!
//! | property | value |
//! | --- | --- |
//! | `RETRY_TOPIC` | as it is, or the record's topic |
//! | `ORIGIN_MESSAGE_ID` | as it is, or the record's message id |
//! | `DELAY` | the level; 0 of a dead letter |
//! | `WAIT` | false |
//!
//! The record may have to be read from disk: then the call is put aside until it is there.
//!
//! Differences from Apache: retry queues are taken in turn instead of by chance; a retry topic grows to the number of queues that
//! its group asks for.
//!
//! Source: `broker/.../processor/AbstractSendMessageProcessor.java` (`consumerSendMsgBack`).

use ringmq_engine::env::Env;
use ringmq_engine::offset::PhysicalOffset;
use ringmq_engine::store::Piece;
use ringmq_wire::id;
use ringmq_wire::name::retry_topic;
use ringmq_wire::record::{Draft, Record, decode, properties, tag};
use ringmq_wire::request::send::SendBack;

use crate::broker::facts::topic_config::{Perm, TopicConfig};
use crate::broker::limits::{PROPERTIES_BYTES_MAX, QUEUES_PER_TOPIC_MAX};
use crate::broker::outcome::{Now, Outcome, Question};
use crate::broker::reply::{Refusal, Reply};
use crate::broker::retry::{self, Fate};
use crate::broker::waiting::rule::{Asked, Wait};
use crate::broker::{Broker, Call, Scratch, group, topic, waiting};

/// A call whose record is being read.
#[derive(Debug)]
pub struct GivenBack {
    /// Nobody waits for the answer.
    pub one_way: bool,
    group: Box<str>,
    delay_level: i32,
    unit_mode: bool,
    reconsume_times_max: Option<i32>,
}

/// CONSUMER_SEND_MSG_BACK
pub fn send_back<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = SendBack::decode(&call.head.fields)?;
    let known = retry::known_or_new(&broker.groups, broker.settings.auto_create_group, request.group)?;
    if known.retry_queues == 0 {
        reply.done();
        return Ok(Outcome::Reply);
    }
    let absent = || Refusal::NoRecordGivenBack(request.physical_offset);
    let physical = u64::try_from(request.physical_offset).map(PhysicalOffset).map_err(|_| absent())?;
    let given = GivenBack {
        one_way: call.head.is_one_way(),
        group: request.group.into(),
        delay_level: request.delay_level,
        unit_mode: request.unit_mode,
        reconsume_times_max: request.reconsume_times_max,
    };
    match broker.store.locate(physical).ok_or_else(absent)? {
        Piece::Hot(slice) => give_back(broker, &given, slice.bytes(), call.now, reply),
        piece => Ok(Outcome::Inspect(vec![piece], Question::GivenBack(given))),
    }
}

/// The record is there.
pub fn give_back<E: Env>(
    broker: &mut Broker<E>,
    given: &GivenBack,
    record: &[u8],
    now: Now,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let record = decode(record).map_err(|error| Refusal::Unreadable(error.to_string()))?;
    let Broker { store, scratch, topics, groups, settings, counters, identity, .. } = &mut *broker;
    let group = retry::known_or_new(groups, settings.auto_create_group, &given.group)?;
    let times_max = given.reconsume_times_max.unwrap_or(group.retry_max);
    let fate = retry::fate(given.delay_level, record.reconsume_times, times_max, &group.retry_policy);
    let (target, queue_id, new_topic) = match fate {
        Fate::DeadLetter => {
            let (target, new_topic) = retry::dead_letters(topics, &given.group)?;
            (target, 0, new_topic)
        }
        Fate::AtLevel(_) | Fate::After(_) => {
            let queues = group.retry_queues.clamp(1, QUEUES_PER_TOPIC_MAX);
            let in_turn = counters.totals.put % u64::from(queues);
            let target = retry_topic(&given.group);
            let known = topics.get(&target).map(|topic| &topic.config);
            if known.is_some_and(|config| !config.perm.is_writable()) {
                return Err(Refusal::TopicNotWritable(target));
            }
            let new_topic = with_queues(known, &target, queues, given.unit_mode);
            if let Some(config) = &new_topic {
                topics.check_room(config)?;
            }
            (target, i32::try_from(in_turn).expect("queues are few"), new_topic)
        }
    };

    let Scratch { batch, key, properties, waiting: waiting_properties, text, .. } = scratch;
    batch.clear();
    batch.wall_ms = Some(now.wall_ms);
    let new_group = matches!(group, std::borrow::Cow::Owned(_)).then(|| group.clone().into_owned());
    new_topic.iter().for_each(|config| topic::put(batch, key, config));
    new_group.iter().for_each(|config| group::put(batch, key, config));
    edit_properties(&record, fate, text, properties);
    if properties.len() > PROPERTIES_BYTES_MAX {
        return Err(Refusal::MessageTooLarge { body: record.body.len(), properties: properties.len() });
    }
    let copy = Draft {
        topic: &target,
        queue_id,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born_timestamp_ms: record.born_timestamp_ms,
        born_host: record.born_host,
        store_host: identity.store_host,
        reconsume_times: record.reconsume_times.saturating_add(1),
        prepared_transaction_offset: 0,
        body: record.body,
        properties,
    };
    let now_ms = store.stamp(now.wall_ms);
    let wait = match fate {
        Fate::After(ms) => Some(Wait { due_ms: now_ms.saturating_add(ms), level: 0 }),
        Fate::AtLevel(level) => {
            let asked = Asked { level: Some(level), ..Asked::default() };
            settings.waits.decide(&asked, now_ms).expect("levels have no horizon")
        }
        Fate::DeadLetter => None,
    };
    let began = match wait {
        Some(wait) => Some(waiting::put(store, batch, waiting_properties, wait, &copy, &[])?),
        None => {
            let tag_hash = properties::get(copy.properties, properties::TAGS).map_or(0, tag::hash_code);
            batch.record(store.queue(&target, queue_id), tag_hash, &copy)?;
            None
        }
    };
    let appended = store.append(batch).inspect_err(|_| counters.totals.put_failed += 1)?;
    counters.totals.put += 1;
    counters.totals.put_bytes += record.body.len() as u64;
    new_topic.into_iter().for_each(|config| topics.adopt(config));
    new_group.into_iter().for_each(|config| groups.adopt(config));
    if let Some(began) = began {
        broker.waiting.began(began, now);
    }
    reply.done();
    Ok(Outcome::ReplyWhenDurable(appended.ticket))
}

/// A retry topic as it has to be made, if it is not there, or has fewer queues than its group wants.
fn with_queues(
    known: Option<&TopicConfig>,
    topic: &str,
    queues: u32,
    unit_mode: bool,
) -> Option<TopicConfig> {
    match known {
        Some(known) if known.read_queues >= queues && known.write_queues >= queues => None,
        Some(known) => Some(TopicConfig {
            read_queues: known.read_queues.max(queues),
            write_queues: known.write_queues.max(queues),
            ..known.clone()
        }),
        None => {
            // The topic of those who subscribe in a unit. (`TopicSysFlag`)
            let sys_flag = if unit_mode { 2 } else { 0 };
            Some(TopicConfig { sys_flag, ..TopicConfig::new(topic, queues, Perm::READ_WRITE) })
        }
    }
}

/// Writes the properties of the copy; `text` is scratch.
fn edit_properties(record: &Record<'_>, fate: Fate, text: &mut String, out: &mut Vec<u8>) {
    out.clear();
    properties::copy_without(record.properties, &[properties::DELAY, properties::WAIT], out);
    if record.property(properties::RETRY_TOPIC).is_none() {
        properties::push(properties::RETRY_TOPIC, record.topic, out);
    }
    if record.property(properties::ORIGIN_MESSAGE_ID).is_none() {
        text.clear();
        id::push(record.store_host, record.physical_offset, text);
        properties::push(properties::ORIGIN_MESSAGE_ID, text, out);
    }
    match fate {
        Fate::AtLevel(level) => properties::push_number(properties::DELAY, i64::from(level), out),
        Fate::DeadLetter => properties::push_number(properties::DELAY, 0, out),
        Fate::After(_) => {}
    }
    properties::push(properties::WAIT, "false", out);
}
