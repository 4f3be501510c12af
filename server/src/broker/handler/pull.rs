//! Pulls (11, 361): records of one queue from an offset on, now or when there are some.
//!
//! | situation | remark | next offset | code |
//! | --- | --- | --- | --- |
//! | the queue never had a record | NO_MESSAGE_IN_QUEUE | 0 | 19 if 0 was asked for, else 21 |
//! | before the beginning | OFFSET_TOO_SMALL | the beginning | 21 |
//! | at the end | OFFSET_OVERFLOW_ONE | the same | 19, parked if that was asked for |
//! | beyond the end | OFFSET_OVERFLOW_BADLY | the end | 21 |
//! | a record matches | FOUND | after the last entry examined | 0 |
//! | none matches | NO_MATCHED_MESSAGE | after the last entry examined | 20 |
//!
//! A condition on properties is evaluated on the records themselves: at once if they are in memory, else when the loop has read
//! them. One pull looks at [`PULL_BYTES_MAX`] of them, and answers with 20 if none of these matches.
//!
//! A parked pull is run again when its queue has grown, and answered if something matches. If nothing does it
//! stays, and remembers what was examined; at its deadline that becomes a 20 that moves the client on.
//!
//! Differences from Apache: 32 records and 256 KiB also for records that must be read from disk (there 8 and
//! 64 KiB), since such a read is one large read here; deadlines are exact instead of up to 5 s late.
//!
//! Source: `broker/.../processor/PullMessageProcessor.java`, `store/.../DefaultMessageStore.java` (`getMessage`).

use std::cmp::Ordering;
use std::rc::Rc;
use std::time::Duration;

use ringmq_engine::Store;
use ringmq_engine::env::Env;
use ringmq_engine::offset::QueueOffset;
use ringmq_engine::state::QueueRef;
use ringmq_engine::store::{AppendError, Piece, ReadBudget, Reading};
use ringmq_wire::code::response;
use ringmq_wire::name;
use ringmq_wire::record::Records;
use ringmq_wire::request::pull::{
    FLAG_STORE_OFFSET, FLAG_SUBSCRIPTION, FLAG_SUSPEND, PullReply, PullRequest,
};
use ringmq_wire::request::subscription::EXPRESSION_SQL92;

use crate::broker::condition::Condition;
use crate::broker::facts::group_config::GroupConfig;
use crate::broker::group;
use crate::broker::group::subscription::{self, Filter};
use crate::broker::limits::{
    CONDITION_COST_MAX, PARK_MAX, PULL_BYTES_MAX, PULL_ENTRIES_MAX, PULL_RECORDS_MAX,
};
use crate::broker::outcome::{Outbox, Outcome, Question};
use crate::broker::parked_pull::ParkedPull;
use crate::broker::reply::{Refusal, Reply};
use crate::broker::{Broker, Call, Scratch, leave};

/// PULL_MESSAGE and LITE_PULL_MESSAGE, which differ in nothing but their number.
pub fn pull<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = PullRequest::decode(&call.head.fields)?;
    check_group(broker, request.consumer_group)?;
    let (queue, queue_id) = check_queue(broker, request.topic, request.queue_id)?;
    let filter = wanted(broker, &request)?;
    if request.has(FLAG_STORE_OFFSET) {
        let committed = super::offset::commit(
            broker,
            request.consumer_group,
            request.topic,
            queue_id,
            request.commit_offset,
        );
        match committed {
            // The offset comes again with the next pull; consumers go on while nothing can be written, and what they are
            // shown was durable before the log was poisoned.
            Err(Refusal::Append(
                AppendError::DiskFull
                | AppendError::DiskNearlyFull { .. }
                | AppendError::Busy { .. }
                | AppendError::Poisoned(_)
                | AppendError::Closing,
            )) => {}
            committed => committed?,
        }
    }

    let records_max = usize::try_from(request.records_max).unwrap_or(0).clamp(1, PULL_RECORDS_MAX);
    let wait = Duration::from_millis(u64::try_from(request.suspend_timeout_ms).unwrap_or(0)).min(PARK_MAX);
    let may_park = request.has(FLAG_SUSPEND) && !wait.is_zero() && !call.head.is_one_way();
    match run(&broker.store, queue, request.queue_offset, &filter, records_max) {
        Run::Nothing(nothing) if nothing.code == response::PULL_NOT_FOUND && may_park => {
            let parked = ParkedPull {
                conn: call.conn,
                format: call.format,
                opaque: call.head.opaque,
                queue,
                from: nothing.next,
                examined_to: nothing.next,
                filter,
                records_max,
                deadline: call.now.monotonic + wait,
            };
            broker.parked.park(parked).map_err(|_| Refusal::TooManyParked)?;
            Ok(Outcome::Silent)
        }
        found => Ok(answer(broker, queue, found, reply)),
    }
}

/// The queue of a parked pull has grown: answers it, or parks it again.
pub fn woken<E: Env>(broker: &mut Broker<E>, mut pull: ParkedPull, out: &mut Outbox<E>) {
    let found = run_parked(broker, &pull);
    if let Run::Nothing(nothing) = &found {
        let (_, end) = broker.store.bounds(pull.queue);
        if nothing.next == end && nothing.code != response::PULL_OFFSET_MOVED {
            pull.examined_to = nothing.next;
            // It was just taken from there, so there is room for it.
            let _ = broker.parked.park(pull);
            return;
        }
    }
    answer_parked(broker, &pull, found, out);
}

/// The deadline of a parked pull has passed: answers it with whatever there is.
pub fn expired<E: Env>(broker: &mut Broker<E>, pull: ParkedPull, out: &mut Outbox<E>) {
    let found = run_parked(broker, &pull);
    answer_parked(broker, &pull, found, out);
}

fn run_parked<E: Env>(broker: &Broker<E>, pull: &ParkedPull) -> Run<E> {
    let from = i64::try_from(pull.examined_to.0).unwrap_or(i64::MAX);
    match run(&broker.store, pull.queue, from, &pull.filter, pull.records_max) {
        // What was examined before and did not match counts: the client moves on.
        Run::Nothing(nothing) if nothing.code == response::PULL_NOT_FOUND && pull.examined_to > pull.from => {
            Run::Nothing(Nothing::NO_MATCH.to(nothing.next))
        }
        found => found,
    }
}

fn answer_parked<E: Env>(broker: &mut Broker<E>, pull: &ParkedPull, found: Run<E>, out: &mut Outbox<E>) {
    let start = out.bytes.len();
    let mut reply = Reply { format: pull.format, opaque: pull.opaque, out: &mut out.bytes };
    let outcome = answer(broker, pull.queue, found, &mut reply);
    leave(out, (pull.conn, pull.format, pull.opaque), start, outcome);
}

/// The records of a pull with a condition were read from disk.
pub fn inspected<E: Env>(
    broker: &mut Broker<E>,
    pull: ConditionalPull,
    pieces: &[Piece<E>],
    reply: &mut Reply<'_>,
) -> Outcome<E> {
    let bytes = Piece::gather(pieces);
    let found = pick(&pull.condition, [&*bytes], pull.records_max, pull.next);
    answer(broker, pull.queue, found, reply)
}

/// A pull whose records must be looked at, and are on disk.
#[derive(Debug)]
pub struct ConditionalPull {
    queue: QueueRef,
    condition: Rc<Condition>,
    records_max: usize,
    /// After the last of them.
    next: QueueOffset,
}

/// What one run over a queue gave.
enum Run<E: Env> {
    Found(Reading<E>),
    /// These records fulfil the condition.
    Picked(Picked),
    /// These records must be looked at.
    Unseen(Vec<Piece<E>>, ConditionalPull),
    Nothing(Nothing),
}

/// Records out of several, as the body of an answer.
struct Picked {
    body: Vec<u8>,
    records: usize,
    next: QueueOffset,
}

/// Why a run gave nothing, and where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Nothing {
    code: i32,
    status: &'static str,
    next: QueueOffset,
}

impl Nothing {
    const NO_MATCH: Nothing = Nothing::new(response::PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE");
    const AT_END: Nothing = Nothing::new(response::PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE");
    const BEYOND_END: Nothing = Nothing::new(response::PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY");
    const BEFORE_BEGIN: Nothing = Nothing::new(response::PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL");
    const EMPTY: Nothing = Nothing::new(response::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE");
    const EMPTY_MOVED: Nothing = Nothing::new(response::PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE");

    const fn new(code: i32, status: &'static str) -> Nothing {
        Nothing { code, status, next: QueueOffset(0) }
    }

    fn to(self, next: QueueOffset) -> Nothing {
        Nothing { next, ..self }
    }
}

fn run<E: Env>(store: &Store<E>, queue: QueueRef, from: i64, filter: &Filter, records_max: usize) -> Run<E> {
    let (begin, end) = store.bounds(queue);
    if end == QueueOffset(0) {
        return Run::Nothing(if from == 0 { Nothing::EMPTY } else { Nothing::EMPTY_MOVED });
    }
    let from = match u64::try_from(from).map(QueueOffset) {
        Ok(from) if from >= begin => from,
        _ => return Run::Nothing(Nothing::BEFORE_BEGIN.to(begin)),
    };
    match from.cmp(&end) {
        Ordering::Greater => return Run::Nothing(Nothing::BEYOND_END.to(end)),
        Ordering::Equal => return Run::Nothing(Nothing::AT_END.to(end)),
        Ordering::Less => {}
    }
    let mut budget = ReadBudget { records_max, bytes_max: PULL_BYTES_MAX, entries_max: PULL_ENTRIES_MAX };
    if let Filter::Condition(condition) = filter {
        budget.records_max = PULL_ENTRIES_MAX;
        let Reading { pieces, next_offset: next, .. } = store.read(queue, from, budget, |_| true);
        let hot: Option<Vec<&[u8]>> = pieces.iter().map(Piece::hot).collect();
        return match hot {
            Some(runs) => pick(condition, runs, records_max, next),
            None => Run::Unseen(
                pieces,
                ConditionalPull { queue, condition: condition.clone(), records_max, next },
            ),
        };
    }
    let reading = store.read(queue, from, budget, |tag_hash| filter.admits(tag_hash));
    if reading.records > 0 {
        Run::Found(reading)
    } else {
        Run::Nothing(Nothing::NO_MATCH.to(reading.next_offset))
    }
}

/// Picks those records that fulfil a condition, as far as its cost allows; the last of them ends before `end`.
fn pick<'a, E: Env>(
    condition: &Condition,
    runs: impl IntoIterator<Item = &'a [u8]>,
    records_max: usize,
    end: QueueOffset,
) -> Run<E> {
    let mut picked = Picked { body: Vec::new(), records: 0, next: end };
    let mut cost = 0;
    // What was stored decodes: it was checked when it was accepted, and when it was read.
    for record in runs.into_iter().flat_map(Records::new).map_while(Result::ok) {
        if condition.admits(record.properties) {
            picked.body.extend_from_slice(record.bytes);
            picked.records += 1;
        }
        cost += condition.cost(record.properties);
        if picked.records == records_max || cost >= CONDITION_COST_MAX {
            picked.next = QueueOffset(record.queue_offset.cast_unsigned() + 1);
            break;
        }
    }
    if picked.records > 0 { Run::Picked(picked) } else { Run::Nothing(Nothing::NO_MATCH.to(picked.next)) }
}

/// Writes the answer to a run.
fn answer<E: Env>(
    broker: &mut Broker<E>,
    queue: QueueRef,
    found: Run<E>,
    reply: &mut Reply<'_>,
) -> Outcome<E> {
    let (begin, end) = broker.store.bounds(queue);
    let mut head = |code, status, next, body_bytes| {
        let [next, begin, end] =
            [next, begin, end].map(|offset: QueueOffset| i64::try_from(offset.0).unwrap_or(i64::MAX));
        let offsets =
            PullReply { suggested_broker_id: 0, next_offset: next, min_offset: begin, max_offset: end };
        reply.write(code, Some(status), &offsets.fields(), body_bytes);
    };
    let totals = &mut broker.counters.totals;
    let (records, outcome) = match found {
        Run::Found(reading) => {
            head(response::SUCCESS, "FOUND", reading.next_offset, reading.bytes);
            (reading.records, Outcome::Deliver(reading.pieces))
        }
        Run::Picked(picked) => {
            head(response::SUCCESS, "FOUND", picked.next, picked.body.len());
            reply.out.extend_from_slice(&picked.body);
            (picked.records, Outcome::Reply)
        }
        Run::Nothing(nothing) => {
            head(nothing.code, nothing.status, nothing.next, 0);
            totals.pulls_missed += 1;
            return Outcome::Reply;
        }
        Run::Unseen(pieces, pull) => return Outcome::Inspect(pieces, Question::Fulfil(pull)),
    };
    totals.pulls_found += 1;
    totals.got += records as u64;
    outcome
}

/// The group may consume; it is created if it is new and that is allowed.
fn check_group<E: Env>(broker: &mut Broker<E>, group: &str) -> Result<(), Refusal> {
    if let Some(known) = broker.groups.get(group) {
        return if known.config.consume { Ok(()) } else { Err(Refusal::GroupMayNotConsume(group.into())) };
    }
    if !broker.settings.auto_create_group || name::check_group(group).is_err() {
        return Err(Refusal::GroupUnknown(group.into()));
    }
    broker.groups.check_room(group)?;
    let config = GroupConfig::new(group);
    let Scratch { batch, key, .. } = &mut broker.scratch;
    batch.clear();
    group::put(batch, key, &config);
    // The answer does not depend on it: a group lost in a crash is created again by the next pull.
    batch.lazy = true;
    broker.store.append(batch)?;
    broker.groups.adopt(config);
    Ok(())
}

/// The queue is there and may be read.
fn check_queue<E: Env>(
    broker: &mut Broker<E>,
    topic: &str,
    queue_id: i32,
) -> Result<(QueueRef, u32), Refusal> {
    let Broker { store, topics, .. } = broker;
    let found = topics.get_mut(topic).ok_or_else(|| Refusal::TopicUnknown(topic.into()))?;
    if !found.config.perm.is_readable() {
        return Err(Refusal::TopicNotReadable(topic.into()));
    }
    let queues = found.config.read_queues;
    let no_queue = || Refusal::ReadQueue { topic: topic.into(), queue_id, queues };
    let queue_id = u32::try_from(queue_id).ok().filter(|id| *id < queues).ok_or_else(no_queue)?;
    let queue = found.queue(store, queue_id).ok_or_else(no_queue)?;
    Ok((queue, queue_id))
}

/// What the pull wants: as the request says, or as the group's heartbeats said.
fn wanted<E: Env>(broker: &mut Broker<E>, request: &PullRequest<'_>) -> Result<Filter, Refusal> {
    let filter = if request.has(FLAG_SUBSCRIPTION) {
        let text = request.subscription.unwrap_or_default();
        subscription::parse(&mut broker.conditions, request.expression_type, text)?
    } else {
        subscribed(broker, request)?
    };
    if matches!(filter, Filter::Condition(_)) && !broker.settings.property_filter {
        return Err(Refusal::NoPropertyFilter(EXPRESSION_SQL92.to_owned()));
    }
    Ok(filter)
}

fn subscribed<E: Env>(broker: &Broker<E>, request: &PullRequest<'_>) -> Result<Filter, Refusal> {
    let group = broker.groups.get(request.consumer_group).filter(|group| !group.members.is_empty());
    let group = group.ok_or_else(|| Refusal::GroupNotHere(request.consumer_group.into()))?;
    if group.consumption.is_broadcasting() && !group.config.broadcast {
        return Err(Refusal::GroupMayNotBroadcast(request.consumer_group.into()));
    }
    let subscription = group.subscriptions.get(request.topic).ok_or_else(|| Refusal::NotSubscribed {
        group: request.consumer_group.into(),
        topic: request.topic.into(),
    })?;
    // A pull that overtakes the heartbeat announcing its new subscription must not be filtered by the old one.
    if subscription.said.version < request.subscription_version {
        return Err(Refusal::SubscriptionNotLatest);
    }
    subscription.filter.clone().ok_or(Refusal::NoCondition)
}
