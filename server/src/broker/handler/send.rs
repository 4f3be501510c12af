//! Sends (10, 310, 320): one message or a batch of them becomes records of one queue, answered when durable.
//!
//! The checks, in Apache's order; the first that fails answers:
//!
//! | check | code |
//! | --- | --- |
//! | the topic's name cannot be | 29 |
//! | a topic of the system's own | 16 |
//! | the topic is unknown and is not created | 17 |
//! | the topic has no such queue | 29 |
//! | a retry topic: the group is unknown; consumed too often, or in order | 26; goes to the dead-letter topic |
//! | a half message | 16 |
//! | a timer that is no time, or beyond the horizon | 13 |
//! | body or properties over their bounds | 13 |
//! | the store does not take it | 14, 2 |
//!
//! A topic that a send creates is in the same batch as its first record: both are there after a crash, or none.
//!
//! Differences from Apache
//!  - `WAIT=false` is answered when durable too: there is no faster answer to give.
//!  - On retry topics, the number of times consumed is also read from the properties, where Go leaves it.
//!  - Half messages are refused as by a broker with `rejectTransactionMessage`.
//!  - A negative queue id takes the write queues in turn instead of by chance.
//!
//! Source: `broker/.../processor/SendMessageProcessor.java`, `AbstractSendMessageProcessor.java`.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::SocketAddr;

use ringmq_engine::Store;
use ringmq_engine::env::Env;
use ringmq_engine::state::QueueRef;
use ringmq_wire::id;
use ringmq_wire::name::{self, group_of_retry_topic};
use ringmq_wire::record::batch::Items;
use ringmq_wire::record::{Draft, properties, sys_flag, tag};
use ringmq_wire::request::recall::RecallHandle;
use ringmq_wire::request::send::{SendReply, SendRequest};

use crate::broker::facts::group_config::GroupConfig;
use crate::broker::facts::topic_config::{Perm, TopicConfig};
use crate::broker::facts::waiting::{Waiting, recalled_by};
use crate::broker::limits::{
    BODY_BYTES_MAX, MESSAGES_PER_BATCH_MAX, PROPERTIES_BYTES_MAX, QUEUES_PER_TOPIC_MAX,
};
use crate::broker::outcome::{Now, Outcome};
use crate::broker::reply::{Refusal, Reply};
use crate::broker::retry;
use crate::broker::topic::{self, Topics};
use crate::broker::waiting::{self, rule::Asked};
use crate::broker::{Broker, Call, Scratch, group};

/// SEND_MESSAGE, SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE. Whether it is a batch is said by a field, not by the
/// code: C++ sends batches as 310.
pub fn send<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let mut request = SendRequest::decode(call.head.code, &call.head.fields)?;
    name::check_topic(request.topic)?;
    if name::is_send_forbidden(request.topic) {
        return Err(Refusal::SendForbidden(request.topic.into()));
    }
    let mut target = find_target(broker, &request)?;
    if let Some(group) = group_of_retry_topic(request.topic) {
        if request.batch {
            return Err(Refusal::BatchToRetryTopic(group.into()));
        }
        request = with_times_consumed(request);
        redirect_retry(broker, &request, group, call.now, &mut target)?;
    }

    begin_batch(&mut broker.scratch, &target, call.now);
    let added = if request.batch {
        add_items(broker, call, &request, &target)?
    } else {
        add_single(broker, call, &request, &target)?
    };
    let Broker { store, scratch, topics, groups, counters, waiting, .. } = &mut *broker;
    let appended = store.append(&mut scratch.batch).inspect_err(|_| counters.totals.put_failed += 1)?;
    counters.totals.put += scratch.batch.places().count() as u64;
    counters.totals.put_bytes += call.body.len() as u64;
    if let Some(config) = target.new_topic.take() {
        topics.adopt(config);
    }
    if let Some(config) = target.new_group.take() {
        groups.adopt(config);
    }
    if let Some(began) = added.waiting {
        waiting.began(began, call.now);
    }
    write_reply(broker, &target, &added, reply);
    Ok(Outcome::ReplyWhenDurable(appended.ticket))
}

/// What a send added to the batch.
#[derive(Debug)]
struct Added<'a> {
    /// Which the broker made if the message had none; of a batch, its own.
    unique_key: Option<Cow<'a, str>>,
    /// The message waits.
    waiting: Option<Waiting>,
    /// A timer that can be recalled.
    recallable: bool,
}

/// Where a send goes, and what must be made for it.
struct Target<'a> {
    topic: Cow<'a, str>,
    queue_id: u32,
    new_topic: Option<TopicConfig>,
    new_group: Option<GroupConfig>,
}

impl Target<'_> {
    /// Its queue in the store. Asked for when nothing but the store can refuse the send any more, because the
    /// store remembers every queue that it was asked for.
    fn queue<E: Env>(&self, topics: &mut Topics, store: &Store<E>) -> QueueRef {
        let known = topics.get_mut(&self.topic).and_then(|topic| topic.queue(store, self.queue_id));
        known.unwrap_or_else(|| store.queue(&self.topic, self.queue_id.cast_signed()))
    }
}

fn find_target<'a, E: Env>(broker: &Broker<E>, request: &SendRequest<'a>) -> Result<Target<'a>, Refusal> {
    let known = broker.topics.get(request.topic).map(|topic| &topic.config);
    let new_topic = if known.is_none() { Some(new_topic(broker, request)?) } else { None };
    let config = known.or(new_topic.as_ref()).expect("the topic is known or new");
    let queue_id = choose_queue(config, request.queue_id, broker.counters.totals.put)?;
    Ok(Target { topic: Cow::Borrowed(request.topic), queue_id, new_topic, new_group: None })
}

/// The queue asked for, or the next in turn.
fn choose_queue(config: &TopicConfig, queue_id: i32, turn: u64) -> Result<u32, Refusal> {
    let illegal = || Refusal::SendQueue { topic: (&*config.name).into(), queue_id, queues: config.queues() };
    match u32::try_from(queue_id) {
        Ok(queue_id) if queue_id < config.queues() => Ok(queue_id),
        Ok(_) => Err(illegal()),
        Err(_) => {
            let in_turn = turn.checked_rem(u64::from(config.write_queues)).ok_or_else(illegal)?;
            Ok(u32::try_from(in_turn).expect("a remainder is below its 32-bit divisor"))
        }
    }
}

/// What a topic that is not there is made like: a retry topic by rule, others after their default topic.
fn new_topic<E: Env>(broker: &Broker<E>, request: &SendRequest<'_>) -> Result<TopicConfig, Refusal> {
    let unknown = || Refusal::TopicUnknown(request.topic.into());
    let config = if request.topic.starts_with(name::RETRY_PREFIX) {
        TopicConfig::new(request.topic, 1, Perm::READ_WRITE)
    } else {
        let pattern = &broker.topics.get(request.default_topic).ok_or_else(unknown)?.config;
        if !pattern.perm.is_inherited() || !broker.settings.auto_create_topic {
            return Err(unknown());
        }
        let wanted = u32::try_from(request.default_topic_queues).unwrap_or(0);
        let queues = wanted.min(pattern.write_queues).clamp(1, QUEUES_PER_TOPIC_MAX);
        TopicConfig {
            multi_tag: pattern.multi_tag,
            sys_flag: u32::from(request.unit_mode),
            ..TopicConfig::new(request.topic, queues, pattern.perm.without_inherit())
        }
    };
    broker.topics.check_room(&config)?;
    Ok(config)
}

/// How often a message was consumed, and how often it may be: Java moves both from the properties to the header,
/// Go leaves them there and writes 0 into the header. Without this, a Go consumer that fails would get its message
/// back at once for ever.
fn with_times_consumed(request: SendRequest<'_>) -> SendRequest<'_> {
    let property = |name| properties::get(request.properties.as_bytes(), name)?.parse::<i32>().ok();
    SendRequest {
        reconsume_times: request.reconsume_times.max(property(properties::RECONSUME_TIME).unwrap_or(0)),
        reconsume_times_max: property(properties::MAX_RECONSUME_TIMES).or(request.reconsume_times_max),
        ..request
    }
}

/// A message to a retry topic that was consumed too often goes to the group's dead-letter topic instead; so
/// does every one of a group that consumes in order, which sends here only to give a message up.
fn redirect_retry<'a, E: Env>(
    broker: &Broker<E>,
    request: &SendRequest<'a>,
    group: &'a str,
    now: Now,
    target: &mut Target<'a>,
) -> Result<(), Refusal> {
    let orderly = broker.groups.get(group).is_some_and(|group| group.locks.any_held(now.monotonic));
    let config = retry::known_or_new(&broker.groups, broker.settings.auto_create_group, group)?;
    let times_max = request.reconsume_times_max.unwrap_or(config.retry_max);
    if let Cow::Owned(config) = config {
        target.new_group = Some(config);
    }
    if request.reconsume_times <= times_max && !orderly {
        return Ok(());
    }
    let (dead_letters, new_topic) = retry::dead_letters(&broker.topics, group)?;
    target.new_topic = new_topic;
    target.queue_id = 0;
    target.topic = Cow::Owned(dead_letters);
    Ok(())
}

/// Begins the batch with what must be made for its records.
fn begin_batch(scratch: &mut Scratch, target: &Target<'_>, now: Now) {
    let Scratch { batch, key, .. } = scratch;
    batch.clear();
    batch.wall_ms = Some(now.wall_ms);
    if let Some(config) = &target.new_topic {
        topic::put(batch, key, config);
    }
    if let Some(config) = &target.new_group {
        group::put(batch, key, config);
    }
}

/// Adds one message, its properties edited, as a waiting record if it is for later.
fn add_single<'a, E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    request: &SendRequest<'a>,
    target: &Target<'_>,
) -> Result<Added<'a>, Refusal> {
    let retried = group_of_retry_topic(request.topic).is_some();
    let given_up = target.topic.starts_with(name::DEAD_LETTER_PREFIX) && retried;
    let noticed = edit_properties(request.properties, given_up, &mut broker.scratch.properties);
    let transaction = request.sys_flag & sys_flag::TRANSACTION_MASK;
    if matches!(transaction, sys_flag::TRANSACTION_PREPARED | sys_flag::TRANSACTION_ROLLBACK) || noticed.half
    {
        return Err(Refusal::HalfMessage(broker.identity.broker_name.clone()));
    }
    let now_ms = broker.store.stamp(call.now.wall_ms);
    let waits = &broker.settings.waits;
    let beyond = |_| Refusal::Timer { horizon_ms: waits.horizon_ms };
    let wait = waits.decide(&noticed.asked, now_ms).map_err(beyond)?;

    let unique_key = match noticed.unique_key {
        Some(given) => Cow::Borrowed(given),
        None => Cow::Owned(unique_key(broker, call.now)),
    };
    let Broker { identity, stamp, scratch, topics, store, .. } = broker;
    let edited = &mut scratch.properties;
    edited.extend_from_slice(stamp);
    if let Cow::Owned(made) = &unique_key {
        properties::push(properties::UNIQUE_KEY, made, edited);
    }
    if call.body.len() > BODY_BYTES_MAX || edited.len() > PROPERTIES_BYTES_MAX {
        return Err(Refusal::MessageTooLarge { body: call.body.len(), properties: edited.len() });
    }
    let draft = Draft {
        flag: request.flag,
        body: call.body,
        properties: edited,
        ..draft(request, target, call.peer, identity.store_host)
    };
    let Some(wait) = wait else {
        let queue = target.queue(topics, store);
        scratch.batch.record(queue, noticed.tag.map_or(0, tag::hash_code), &draft)?;
        return Ok(Added { unique_key: Some(unique_key), waiting: None, recallable: false });
    };
    let recallable = wait.level == 0 && !retried;
    let recalled_by = recalled_by(&target.topic, &unique_key);
    let recalled_by = if recallable { &recalled_by[..] } else { &[] };
    let Scratch { batch, waiting: waiting_properties, .. } = scratch;
    let waiting = waiting::put(store, batch, waiting_properties, wait, &draft, recalled_by)?;
    Ok(Added { unique_key: Some(unique_key), waiting: Some(waiting), recallable })
}

/// Adds every message of a batch body, each with its own flag, body and properties as they are; the
/// properties of the request are not stored, and nothing is added: Go's items have none at all. Gives the unique key of
/// the whole batch, if it has one.
fn add_items<'a, E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    request: &SendRequest<'a>,
    target: &Target<'_>,
) -> Result<Added<'a>, Refusal> {
    if request.sys_flag & sys_flag::TRANSACTION_MASK != 0 {
        return Err(Refusal::BatchWith("a batch has no transaction flag"));
    }
    let noticed = edit_properties(request.properties, false, &mut broker.scratch.properties);
    if noticed.asked.property().is_some() {
        return Err(Refusal::BatchWith("a batch is not delivered later"));
    }
    if request.topic.len() > name::TOPIC_BYTES_MAX || call.body.len() > BODY_BYTES_MAX {
        return Err(Refusal::MessageTooLarge { body: call.body.len(), properties: request.properties.len() });
    }
    let mut count = 0;
    for item in Items::new(call.body) {
        item?;
        count += 1;
    }
    match count {
        0 => return Err(Refusal::BatchWith("a batch has at least one message")),
        1..=MESSAGES_PER_BATCH_MAX => {}
        _ => return Err(Refusal::BatchTooLong),
    }
    let Broker { identity, scratch, topics, store, .. } = broker;
    let queue = target.queue(topics, store);
    let common = draft(request, target, call.peer, identity.store_host);
    for item in Items::new(call.body).flatten() {
        let draft = Draft { flag: item.flag, body: item.body, properties: item.properties, ..common };
        scratch.batch.record(queue, tag_hash(item.properties), &draft)?;
    }
    Ok(Added { unique_key: noticed.unique_key.map(Cow::Borrowed), waiting: None, recallable: false })
}

/// What all records of a send share.
fn draft<'a>(
    request: &SendRequest<'_>,
    target: &'a Target<'_>,
    born_host: SocketAddr,
    store_host: SocketAddr,
) -> Draft<'a> {
    Draft {
        topic: &target.topic,
        queue_id: target.queue_id.cast_signed(),
        flag: 0,
        sys_flag: request.sys_flag,
        born_timestamp_ms: request.born_timestamp_ms,
        born_host,
        store_host,
        reconsume_times: request.reconsume_times,
        prepared_transaction_offset: 0,
        body: &[],
        properties: &[],
    }
}

/// The hash that a queue's entry keeps of a record's tag; 0 without one.
fn tag_hash(encoded: &[u8]) -> i32 {
    properties::get(encoded, properties::TAGS).map_or(0, tag::hash_code)
}

/// What a broker looks for in a message's properties. Of duplicates the last counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Noticed<'a> {
    unique_key: Option<&'a str>,
    tag: Option<&'a str>,
    half: bool,
    /// When it is to be delivered.
    asked: Asked<'a>,
}

/// Looks at a message's properties once, and puts into `edited` those that are stored as they are. Not stored are
/// those that the broker writes itself, transient ones, POP_CK, which would be taken for a live receipt, and the
/// delay of a message that was given up.
fn edit_properties<'a>(given: &'a str, given_up: bool, edited: &mut Vec<u8>) -> Noticed<'a> {
    edited.clear();
    let mut noticed = Noticed::default();
    for (pair, name, value) in properties::pairs_of(given) {
        match name {
            properties::POP_CK | properties::MSG_REGION | properties::TRACE_ON | properties::CLUSTER => {
                continue;
            }
            properties::DELAY if given_up => continue,
            properties::UNIQUE_KEY => noticed.unique_key = Some(value),
            properties::TAGS => noticed.tag = Some(value),
            properties::TRANSACTION_PREPARED => noticed.half = value.eq_ignore_ascii_case("true"),
            _ if name.starts_with(properties::TRANSIENT_PREFIX) => continue,
            _ => noticed.asked.note(name, value),
        }
        edited.extend_from_slice(pair.as_bytes());
        edited.push(properties::PAIR_END);
    }
    if given_up {
        properties::push_number(properties::DELAY, -1, edited);
    }
    noticed
}

/// A unique key for a message without one, in the form that clients give theirs: 32 hexadecimal digits of
/// host, something unlike other processes, time and a count. (`MessageClientIDSetter`)
fn unique_key<E: Env>(broker: &Broker<E>, now: Now) -> String {
    let mut key = String::new();
    let host = match broker.identity.store_host.ip() {
        std::net::IpAddr::V4(ip) => ip.to_bits(),
        std::net::IpAddr::V6(_) => 0,
    };
    // The low halves are wanted: time and count only have to differ from their neighbours.
    let time = now.wall_ms as u32;
    let count = broker.counters.totals.put;
    write!(key, "{host:08X}{:08X}{time:08X}{:08X}", broker.identity.nonce, count as u32)
        .expect("writing to a string never fails");
    key
}

fn write_reply<E: Env>(
    broker: &mut Broker<E>,
    target: &Target<'_>,
    added: &Added<'_>,
    reply: &mut Reply<'_>,
) {
    let unique_key = added.unique_key.as_deref();
    let recall_handle = match (added.waiting, unique_key) {
        (Some(waiting), Some(unique_key)) if added.recallable => Some(
            RecallHandle {
                topic: &target.topic,
                broker_name: &broker.identity.broker_name,
                due_ms: waiting.due_ms,
                unique_key,
            }
            .encode(),
        ),
        _ => None,
    };
    let Broker { identity, settings, scratch, .. } = broker;
    let Scratch { batch, text, .. } = scratch;
    text.clear();
    let mut first_offset = None;
    for place in batch.places() {
        if first_offset.is_some() {
            text.push(',');
        }
        first_offset.get_or_insert(place.queue_offset);
        id::push(identity.store_host, place.physical_offset.0.cast_signed(), text);
    }
    let answer = SendReply {
        message_id: text,
        queue_id: target.queue_id.cast_signed(),
        queue_offset: first_offset.unwrap_or_default().0.cast_signed(),
        transaction_id: unique_key,
        batch_unique_key: None,
        recall_handle: recall_handle.as_deref(),
        region: Some(&identity.region),
        trace_on: Some(settings.trace_on),
    };
    reply.fields(&answer.fields());
}
