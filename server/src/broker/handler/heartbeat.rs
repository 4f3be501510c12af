//! Heartbeats (34): a client says which groups it is in, and what it subscribes to.
//!
//! Everything is checked before anything changes, so a refused heartbeat leaves no trace. A group that is new is
//! created together with its retry topic, in one batch, and the answer waits for it: the client's first rebalance
//! and first pull rely on both. Then the members of a group that changed are told, the new one too.
//!
//! Differences from Apache: a heartbeat that breaks a bound is refused as a whole; the second form of heartbeats
//! (fingerprints) is not offered, so clients always send the first.
//!
//! Source: `broker/.../processor/ClientManageProcessor.java`, `broker/.../client/ConsumerManager.java`
//! (`registerConsumer`).

use ringmq_engine::env::Env;
use ringmq_engine::store::Ticket;
use ringmq_wire::json;
use ringmq_wire::name::{self, retry_topic};
use ringmq_wire::request::heartbeat::{ConsumerEntry, Heartbeat};

use crate::broker::facts::group_config::GroupConfig;
use crate::broker::facts::topic_config::{Perm, TopicConfig};
use crate::broker::group::membership::{Joined, Member};
use crate::broker::group::subscription::{Consumption, Subscribed};
use crate::broker::group::{self, Group};
use crate::broker::limits::{
    CLIENT_ID_BYTES_MAX, GROUPS_PER_SESSION_MAX, MEMBERS_PER_GROUP_MAX, PRODUCERS_PER_GROUP_MAX,
    SUBSCRIPTIONS_PER_GROUP_MAX,
};
use crate::broker::outcome::Outcome;
use crate::broker::reply::{Refusal, Reply};
use crate::broker::{Broker, Call, Scratch, topic};

/// HEART_BEAT
pub fn heartbeat<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let heartbeat: Heartbeat = json::read(call.body)?;
    check(broker, &heartbeat)?;
    let mut subscriptions = Vec::new();
    for consumer in &heartbeat.consumers {
        let read = consumer.subscriptions.iter().cloned();
        let read = read.map(|said| Subscribed::read(&mut broker.conditions, said));
        subscriptions.push(read.collect::<Result<Vec<_>, _>>()?);
    }
    let created = create_missing(broker, &heartbeat.consumers)?;

    let member = Member {
        conn: call.conn,
        client_id: heartbeat.client_id.as_str().into(),
        language: call.head.language,
        version: call.head.version,
        heard: call.now.monotonic,
        heard_wall_ms: call.now.wall_ms,
    };
    for producer in &heartbeat.producers {
        let producers = broker.groups.producers_mut(&producer.group_name)?;
        let joined = producers.join(member.clone(), PRODUCERS_PER_GROUP_MAX);
        remember(broker, call, &producer.group_name, joined, |session| &mut session.producer_groups)?;
    }
    for (consumer, subscriptions) in heartbeat.consumers.iter().zip(subscriptions) {
        let group = broker.groups.get_mut(&consumer.group_name).expect("it was there or has been created");
        let joined = group.members.join(member.clone(), MEMBERS_PER_GROUP_MAX);
        let changed = joined != Joined::Full && adopt(group, consumer, subscriptions, joined);
        remember(broker, call, &consumer.group_name, joined, |session| &mut session.consumer_groups)?;
        if changed {
            broker.changed_groups.push(consumer.group_name.as_str().into());
        }
    }
    reply.done();
    Ok(created.map_or(Outcome::Reply, Outcome::ReplyWhenDurable))
}

/// Nothing in it breaks a rule or a bound.
fn check<E: Env>(broker: &Broker<E>, heartbeat: &Heartbeat) -> Result<(), Refusal> {
    if heartbeat.client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err(Refusal::ClientIdTooLong(heartbeat.client_id.len()));
    }
    if heartbeat.consumers.len() + heartbeat.producers.len() > GROUPS_PER_SESSION_MAX {
        return Err(Refusal::TooManyGroupsOfSession);
    }
    for producer in &heartbeat.producers {
        name::check_group(&producer.group_name)?;
    }
    for consumer in &heartbeat.consumers {
        name::check_group(&consumer.group_name)?;
        if consumer.subscriptions.len() > SUBSCRIPTIONS_PER_GROUP_MAX {
            return Err(Refusal::TooManySubscriptions);
        }
        for subscription in &consumer.subscriptions {
            name::check_topic(&subscription.topic)?;
        }
        if broker.groups.get(&consumer.group_name).is_none() {
            if !broker.settings.auto_create_group {
                return Err(Refusal::GroupUnknown(consumer.group_name.clone()));
            }
            broker.groups.check_room(&consumer.group_name)?;
        }
    }
    Ok(())
}

/// Creates the groups, and the retry topics, that are not there; says what to wait for if there were any.
fn create_missing<E: Env>(
    broker: &mut Broker<E>,
    consumers: &[ConsumerEntry],
) -> Result<Option<Ticket>, Refusal> {
    let (mut new_groups, mut new_topics) = (Vec::new(), Vec::new());
    for consumer in consumers {
        let known = broker.groups.get(&consumer.group_name).map(|group| &group.config);
        let created = known.is_none().then(|| GroupConfig::new(&consumer.group_name));
        let retry_queues = known.or(created.as_ref()).map_or(0, |config| config.retry_queues);
        let retry_topic = retry_topic(&consumer.group_name);
        if retry_queues > 0 && broker.topics.get(&retry_topic).is_none() {
            let config = TopicConfig::new(&retry_topic, retry_queues, Perm::READ_WRITE);
            broker.topics.check_room(&config)?;
            new_topics.push(config);
        }
        new_groups.extend(created);
    }
    if new_groups.is_empty() && new_topics.is_empty() {
        return Ok(None);
    }
    let Scratch { batch, key, .. } = &mut broker.scratch;
    batch.clear();
    new_groups.iter().for_each(|config| group::put(batch, key, config));
    new_topics.iter().for_each(|config| topic::put(batch, key, config));
    let appended = broker.store.append(batch)?;
    new_groups.into_iter().for_each(|config| broker.groups.adopt(config));
    new_topics.into_iter().for_each(|config| broker.topics.adopt(config));
    Ok(Some(appended.ticket))
}

/// Takes over what a member says of its group; says whether the members are to be told.
fn adopt(
    group: &mut Group,
    consumer: &ConsumerEntry,
    subscriptions: Vec<Subscribed>,
    joined: Joined,
) -> bool {
    group.consumption = Consumption {
        kind: consumer.consume_type,
        model: consumer.message_model,
        from: consumer.consume_from,
    };
    let subscriptions_changed = group.subscriptions.replace(subscriptions);
    (subscriptions_changed || joined == Joined::New) && group.tells_changes()
}

/// Notes a group in the session, if its connection has just joined it.
fn remember<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    group: &str,
    joined: Joined,
    groups_of: impl Fn(&mut crate::broker::session::Session) -> &mut Vec<Box<str>>,
) -> Result<(), Refusal> {
    match joined {
        Joined::Known => {}
        Joined::Full => return Err(Refusal::TooManyMembers),
        Joined::New => {
            let session = broker.sessions.get_mut(call.conn).expect("the call came through this session");
            groups_of(session).push(group.into());
        }
    }
    Ok(())
}
