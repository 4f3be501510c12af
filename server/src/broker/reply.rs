//! From refusals to response codes and remarks, and replies into bytes. The only place that knows either.
//!
//! Remarks follow Apache's where users search for them, and otherwise name the thing and the remedy.
//!
//! Source: `remoting/.../protocol/ResponseCode.java`, the processors named at each family in `handler/`.

use ringmq_engine::store::{AppendError, ReadError};
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::command::{FLAG_ONE_WAY, FLAG_RESPONSE};
use ringmq_wire::json::{self, BodyError};
use ringmq_wire::name::NameError;
use ringmq_wire::record::DraftError;
use ringmq_wire::record::batch::BatchError;
use ringmq_wire::{FieldError, HeadFormat, OutHead, Value};
use serde::Serialize;

use super::group::subscription::ExpressionError;
use super::limits::{
    BODY_BYTES_MAX, CLIENT_ID_BYTES_MAX, DEFINITIONS_PER_LIST_MAX, GROUPS_MAX, GROUPS_PER_SESSION_MAX,
    MEMBERS_PER_GROUP_MAX, MESSAGES_PER_BATCH_MAX, PARKED_PER_QUEUE_MAX, PROPERTIES_BYTES_MAX,
    QUEUES_PER_LOCK_MAX, QUEUES_PER_TOPIC_MAX, SUBSCRIPTIONS_PER_GROUP_MAX, TOPICS_MAX,
};

/// Why a request was not done. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header field is missing or malformed.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The body is not what the request needs.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A code that we do not answer. The leading blank is Apache's.
    #[error(" request type {0} not supported")]
    NotSupported(i32),
    /// The operator keeps administration to this machine.
    #[error("administration is allowed from this machine only; run the command there, or change the setting")]
    AdministrationElsewhere,

    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A topic of the system's own.
    #[error("Sending message to topic[{0}] is forbidden.")]
    SendForbidden(String),
    /// A topic of the system's own.
    #[error("The topic[{0}] is conflict with system topic.")]
    SystemTopic(String),
    /// No such topic, and it is not created.
    #[error(
        "topic[{0}] not exist, apply first please! Create it with `mqadmin updateTopic`, or allow automatic creation"
    )]
    TopicUnknown(String),
    /// No such topic, asked by a tool.
    #[error("No topic in this broker. topic: {0}")]
    TopicAbsent(String),
    /// No such queue, on a send.
    #[error("request queueId[{queue_id}] is illegal, topic[{topic}] has {queues} queues on this broker")]
    SendQueue { topic: String, queue_id: i32, queues: u32 },
    /// No such queue, on a pull or an offset.
    #[error("queueId[{queue_id}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{queues}]")]
    ReadQueue { topic: String, queue_id: i32, queues: u32 },
    /// The topic may not be read.
    #[error("the topic[{0}] pulling message is forbidden")]
    TopicNotReadable(String),
    /// An attribute that we do not keep.
    #[error("the topic attribute {0} is not supported; only message.type is")]
    TopicAttribute(String),
    /// A number of queues that cannot be.
    #[error("topic[{topic}] cannot have {queues} queues: give 1 to {QUEUES_PER_TOPIC_MAX}")]
    QueueCount { topic: String, queues: i32 },

    /// Bits that mean nothing.
    #[error("perm {0} is not valid: 4 read, 2 write, 1 inherit")]
    Perm(i32),
    /// Half messages.
    #[error(
        "the broker[{0}] sending transaction message is forbidden: this broker has no transactions, send an ordinary message"
    )]
    HalfMessage(String),
    /// A timer that is no number, or too far away.
    #[error(
        "timer message illegal, the delay time should not be bigger than the max delay {horizon_ms}ms; or if set del msg, the delay time should be bigger than the current time"
    )]
    Timer { horizon_ms: i64 },
    /// Over a record's bounds.
    #[error(
        "the message is illegal, maybe msg body or properties length not matched. msg body length limit {BODY_BYTES_MAX}B, msg properties length limit {PROPERTIES_BYTES_MAX}B, found {body} and {properties}"
    )]
    MessageTooLarge { body: usize, properties: usize },
    /// What the record codec does not take.
    #[error("the message is illegal: {0}")]
    Draft(#[from] DraftError),
    /// A body that is no batch.
    #[error("the batch is illegal: {0}")]
    Batch(#[from] BatchError),
    /// A batch with something that only single messages have.
    #[error("the batch is illegal: {0}")]
    BatchWith(&'static str),
    /// A batch to a retry topic.
    #[error("batch request does not support retry group {0}")]
    BatchToRetryTopic(String),
    /// Too many messages in a batch.
    #[error("the batch has more than {MESSAGES_PER_BATCH_MAX} messages; send it in parts")]
    BatchTooLong,
    /// No record begins where a consumer says that the one lies that it gives back.
    #[error("look message by offset failed, {0}")]
    NoRecordGivenBack(i64),
    /// A record that a request needs cannot be read.
    #[error("the record cannot be read: {0}")]
    Unreadable(String),
    /// A retry topic that may not be written.
    #[error("the topic[{0}] sending message is forbidden")]
    TopicNotWritable(String),
    /// The operator does not allow it.
    #[error("recall failed, operation is forbidden")]
    RecallForbidden,
    /// No such topic, asked by who recalls a timer.
    #[error("recall failed, the topic[{0}] not exist")]
    RecallTopicUnknown(String),
    /// A recall that names no timer of ours.
    #[error("{0}")]
    Recall(&'static str),

    /// No such group, and it is not created.
    #[error("subscription group [{0}] does not exist, create it with `mqadmin updateSubGroup`")]
    GroupUnknown(String),
    /// The group may not consume.
    #[error("subscription group no permission, {0}")]
    GroupMayNotConsume(String),
    /// The group may not broadcast.
    #[error("the consumer group[{0}] can not consume by broadcast way")]
    GroupMayNotBroadcast(String),
    /// Nobody of the group is here.
    #[error("the consumer's group info not exist, group: {0}")]
    GroupNotHere(String),
    /// The group does not subscribe to that topic.
    #[error("the consumer's subscription not exist, group: {group}, topic: {topic}")]
    NotSubscribed { group: String, topic: String },
    /// The pull was faster than the heartbeat that announces its subscription.
    #[error("the consumer's subscription not latest")]
    SubscriptionNotLatest,
    /// An expression that cannot be read.
    #[error("parse the consumer's subscription failed: {0}")]
    Expression(#[from] ExpressionError),
    /// An expression that cannot be read, asked before it is used.
    #[error("{0}")]
    CheckedExpression(ExpressionError),
    /// The operator does not want expressions over properties.
    #[error("The broker does not support consumer to filter message by {0}")]
    NoPropertyFilter(String),
    /// The group's heartbeats said a condition that is none.
    #[error("The broker's consumer filter data not exist!Your expression may be wrong!")]
    NoCondition,
    /// Nobody of the group is here, asked by a member.
    #[error("no consumer for this group, {0}")]
    NoMembers(String),
    /// Nobody of the group is here, asked by a tool.
    #[error("the consumer group[{0}] not online")]
    ConsumersNotOnline(String),
    /// No such producer group here.
    #[error("the producer group[{0}] not exist")]
    ProducersNotHere(String),
    /// A group definition with something that we do not do.
    #[error("the group's {0} is not supported")]
    GroupSetting(&'static str),

    /// No group offset, and the client is to begin where it likes.
    #[error("Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first")]
    NoGroupOffset,
    /// No group offset, and zero was not wanted.
    #[error("Not found, do not set to zero, maybe this group boot first")]
    NoGroupOffsetAndNoZero,
    /// No record begins there.
    #[error("can not find message by the offset, {0}")]
    NoRecord(i64),
    /// No record has the key.
    #[error("can not find message, maybe time range not correct")]
    NoMessage,
    /// A part of the log cannot be looked through by key now.
    #[error("the keys of a part of the log are damaged and are being made again; ask again in a moment")]
    KeysDamaged,
    /// Records that are needed could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Statistics that we do not keep.
    #[error("The stats <{name}> <{key}> not exist")]
    NoStatistics { name: String, key: String },

    /// A bound.
    #[error("the broker has {TOPICS_MAX} topics; delete one that is not used")]
    TooManyTopics,
    /// A bound: no client takes a longer frame.
    #[error("a table of {rows} rows is too long for one answer; ask for {pages}")]
    TableTooLong { rows: usize, pages: &'static str },
    /// A bound.
    #[error("topic[{topic}] cannot have {queues} queues: at most {QUEUES_PER_TOPIC_MAX}")]
    TooManyQueues { topic: String, queues: u32 },
    /// A bound.
    #[error("the broker has {GROUPS_MAX} groups; delete one that is not used")]
    TooManyGroups,
    /// A bound.
    #[error("the group has {MEMBERS_PER_GROUP_MAX} members; stop one, or use another group")]
    TooManyMembers,
    /// A bound.
    #[error("a group subscribes to at most {SUBSCRIPTIONS_PER_GROUP_MAX} topics; use another group")]
    TooManySubscriptions,
    /// A bound.
    #[error("one connection is in at most {GROUPS_PER_SESSION_MAX} groups; use another client instance")]
    TooManyGroupsOfSession,
    /// A bound.
    #[error(
        "the client id has {0} bytes, of at most {CLIENT_ID_BYTES_MAX}; give the client a shorter instance name"
    )]
    ClientIdTooLong(usize),
    /// A bound.
    #[error("one request locks at most {QUEUES_PER_LOCK_MAX} queues")]
    TooManyLocks,
    /// A bound.
    #[error("a list has at most {DEFINITIONS_PER_LIST_MAX} definitions; send it in parts")]
    TooManyDefinitions,
    /// A bound.
    #[error(
        "[OVERLOAD]{PARKED_PER_QUEUE_MAX} pulls wait at this queue; the group has too many members, or a client pulls without waiting"
    )]
    TooManyParked,

    /// The store did not take it.
    #[error("{}", append_remark(.0))]
    Append(#[from] AppendError),
}

/// What a sender is told when the store refused: nothing of it was stored. A full disk is told as Apache tells it, so that
/// who looks for those words finds them.
///
/// Source: `SendMessageProcessor.handlePutMessageResult` and `diskUtil`.
fn append_remark(error: &AppendError) -> String {
    match error {
        AppendError::Busy { .. } => {
            format!("[PC_SYNCHRONIZED]broker busy, start flow control for a while: {error}")
        }
        AppendError::TooLarge { .. } => format!("the message is illegal: {error}"),
        AppendError::TooManyFacts { .. } => format!(
            "{error}; delete topics or groups that are not used, or wait until delayed messages are delivered"
        ),
        AppendError::DiskNearlyFull { used_percent, .. } => {
            let ratio = f64::from(*used_percent) / 100.0;
            format!("service not available now. the broker's disk is full [CL: {ratio:5.2}]: {error}")
        }
        AppendError::DiskFull => {
            format!("service not available now. the broker's disk is full [CL:  1.00]: {error}")
        }
        AppendError::Poisoned(_) | AppendError::Closing => {
            format!("service not available now. {error}")
        }
    }
}

impl Refusal {
    /// The response code.
    pub fn code(&self) -> i32 {
        match self {
            Refusal::Field(_)
            | Refusal::Body(_)
            | Refusal::TopicAttribute(_)
            | Refusal::NoRecordGivenBack(_)
            | Refusal::Unreadable(_)
            | Refusal::NoPropertyFilter(_)
            | Refusal::NoMembers(_)
            | Refusal::ProducersNotHere(_)
            | Refusal::GroupSetting(_)
            | Refusal::NoRecord(_)
            | Refusal::Read(_)
            | Refusal::NoStatistics { .. }
            | Refusal::TooManyTopics
            | Refusal::TableTooLong { .. }
            | Refusal::TooManyQueues { .. }
            | Refusal::TooManyGroups
            | Refusal::TooManyMembers
            | Refusal::TooManySubscriptions
            | Refusal::TooManyGroupsOfSession
            | Refusal::ClientIdTooLong(_)
            | Refusal::TooManyLocks
            | Refusal::TooManyDefinitions => response::SYSTEM_ERROR,
            Refusal::TooManyParked | Refusal::KeysDamaged => response::SYSTEM_BUSY,
            Refusal::Recall(_) => response::ILLEGAL_OPERATION,
            Refusal::NotSupported(_) => response::REQUEST_CODE_NOT_SUPPORTED,
            Refusal::AdministrationElsewhere
            | Refusal::SendForbidden(_)
            | Refusal::TopicNotReadable(_)
            | Refusal::TopicNotWritable(_)
            | Refusal::RecallForbidden
            | Refusal::HalfMessage(_)
            | Refusal::GroupMayNotConsume(_)
            | Refusal::GroupMayNotBroadcast(_) => response::NO_PERMISSION,
            Refusal::Name(_)
            | Refusal::SystemTopic(_)
            | Refusal::SendQueue { .. }
            | Refusal::ReadQueue { .. }
            | Refusal::QueueCount { .. }
            | Refusal::Perm(_) => response::INVALID_PARAMETER,
            Refusal::TopicUnknown(_) | Refusal::TopicAbsent(_) | Refusal::RecallTopicUnknown(_) => {
                response::TOPIC_NOT_EXIST
            }
            Refusal::Timer { .. }
            | Refusal::MessageTooLarge { .. }
            | Refusal::Draft(_)
            | Refusal::Batch(_)
            | Refusal::BatchWith(_)
            | Refusal::BatchToRetryTopic(_)
            | Refusal::BatchTooLong => response::MESSAGE_ILLEGAL,
            Refusal::GroupUnknown(_) => response::SUBSCRIPTION_GROUP_NOT_EXIST,
            Refusal::GroupNotHere(_) | Refusal::NotSubscribed { .. } => response::SUBSCRIPTION_NOT_EXIST,
            Refusal::SubscriptionNotLatest => response::SUBSCRIPTION_NOT_LATEST,
            Refusal::Expression(_) | Refusal::CheckedExpression(_) => response::SUBSCRIPTION_PARSE_FAILED,
            Refusal::NoCondition => response::FILTER_DATA_NOT_EXIST,
            Refusal::ConsumersNotOnline(_) => response::CONSUMER_NOT_ONLINE,
            Refusal::NoGroupOffset | Refusal::NoGroupOffsetAndNoZero | Refusal::NoMessage => {
                response::QUERY_NOT_FOUND
            }
            Refusal::Append(error) => match error {
                AppendError::Busy { .. } => response::SYSTEM_BUSY,
                AppendError::TooLarge { .. } => response::MESSAGE_ILLEGAL,
                AppendError::TooManyFacts { .. } => response::SYSTEM_ERROR,
                AppendError::Poisoned(_)
                | AppendError::DiskFull
                | AppendError::DiskNearlyFull { .. }
                | AppendError::Closing => response::SERVICE_NOT_AVAILABLE,
            },
        }
    }

    /// The header field `forbiddenType` of a refused pull.
    fn forbidden_type(&self) -> Option<i32> {
        match self {
            Refusal::GroupMayNotConsume(_) => Some(2),
            Refusal::TopicNotReadable(_) => Some(3),
            Refusal::GroupMayNotBroadcast(_) => Some(4),
            _ => None,
        }
    }
}

/// The reply to one call, on its way into the bytes of the outbox.
#[derive(Debug)]
pub struct Reply<'a> {
    /// As the request was written.
    pub format: HeadFormat,
    /// Correlation number.
    pub opaque: i32,
    /// Where the frame goes.
    pub out: &'a mut Vec<u8>,
}

impl Reply<'_> {
    /// Success, with fields.
    pub fn fields(&mut self, fields: &[(&str, Value<'_>)]) {
        self.write(response::SUCCESS, None, fields, 0);
    }

    /// Success, with nothing to say.
    pub fn done(&mut self) {
        self.fields(&[]);
    }

    /// Success, with a JSON body.
    pub fn json(&mut self, body: &impl Serialize) {
        self.fields_and_body(&[], &json::write(body));
    }

    /// Success, with fields and a body.
    pub fn fields_and_body(&mut self, fields: &[(&str, Value<'_>)], body: &[u8]) {
        self.write(response::SUCCESS, None, fields, body.len());
        self.out.extend_from_slice(body);
    }

    /// Any header; the caller appends or sends `body_bytes` bytes behind it.
    pub fn write(
        &mut self,
        code: i32,
        remark: Option<&str>,
        fields: &[(&str, Value<'_>)],
        body_bytes: usize,
    ) {
        let head =
            OutHead { format: self.format, code, opaque: self.opaque, flag: FLAG_RESPONSE, remark, fields };
        head.encode(self.out, body_bytes);
    }

    /// A refusal, with the fields that producers read of every answer.
    pub fn refuse(&mut self, refusal: &Refusal) {
        let remark = refusal.to_string();
        match refusal.forbidden_type() {
            Some(forbidden) => {
                self.write(refusal.code(), Some(&remark), &[("forbiddenType", forbidden.into())], 0);
            }
            None => self.write(refusal.code(), Some(&remark), &[], 0),
        }
    }
}

/// A request of ours that wants no answer: "the members of your group have changed" (code 40).
pub fn members_changed(out: &mut Vec<u8>, opaque: i32, group: &str) {
    let head = OutHead {
        format: HeadFormat::Json,
        code: RequestCode::NotifyConsumerIdsChanged.number(),
        opaque,
        flag: FLAG_ONE_WAY,
        remark: None,
        fields: &[("consumerGroup", group.into())],
    };
    head.encode(out, 0);
}
