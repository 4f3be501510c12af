//! Calls about one client: CHECK_CLIENT_CONFIG (46), and those that a broker makes to it or relays to it (220, 222,
//! 307, 309).
//!
//! Source: `CheckClientRequestBody.java`, `ResetOffsetRequestHeader.java`, `ResetOffsetBody.java`,
//! `GetConsumerRunningInfoRequestHeader.java`, `ConsumeMessageDirectlyResultRequestHeader.java`.

use serde::{Deserialize, Serialize};

use super::header;
use super::queue::QueueMap;
use super::subscription::Subscription;
use crate::json::tolerant;

/// The body of CHECK_CLIENT_CONFIG (46): is this subscription acceptable? Reply: code only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClient {
    /// The client's id.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub client_id: String,
    /// The group.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub group: String,
    /// The namespace that the names are wrapped in; empty if none.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub namespace: String,
    /// The subscription.
    #[serde(rename = "subscriptionData", deserialize_with = "tolerant::nullable")]
    pub subscription: Subscription,
}

header! {
    /// INVOKE_BROKER_TO_RESET_OFFSET (222), from a tool; and RESET_CONSUMER_CLIENT_OFFSET (220), to a member.
    ResetOffset<'a> {
        /// The group.
        group: &'a str = "group",
        /// The topic.
        topic: &'a str = "topic",
        /// Store time to go back to; negative: the end.
        timestamp_ms: i64 = "timestamp",
        /// Also forward.
        force: bool = "isForce",
        /// One queue; negative: all.
        queue_id: i32 = "queueId" or -1,
        /// That queue's new offset; absent or negative: by time.
        offset: Option<i64> = "offset",
    }
}

/// New offsets by queue: the body of 220, and of 222's answer. C++ clients need a list instead; see
/// [`ResetOffsetsList`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsets {
    /// The offsets.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub offset_table: QueueMap<i64>,
}

/// The same as [`ResetOffsets`] for C++ clients.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetsList {
    /// The offsets.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub offset_table: Vec<QueueAndOffset>,
}

/// A queue and an offset in one object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueAndOffset {
    /// The broker that has the queue.
    pub broker_name: String,
    /// The new offset.
    pub offset: i64,
    /// Its number in the topic on that broker.
    pub queue_id: i32,
    /// The topic.
    pub topic: String,
}

impl From<&ResetOffsets> for ResetOffsetsList {
    fn from(offsets: &ResetOffsets) -> Self {
        let list = offsets.offset_table.0.iter().map(|(queue, offset)| QueueAndOffset {
            broker_name: queue.broker_name.clone(),
            offset: *offset,
            queue_id: queue.queue_id,
            topic: queue.topic.clone(),
        });
        ResetOffsetsList { offset_table: list.collect() }
    }
}

header! {
    /// GET_CONSUMER_RUNNING_INFO (307) and CONSUME_MESSAGE_DIRECTLY (309): relayed to the member named.
    MemberCall<'a> {
        /// The group.
        consumer_group: &'a str = "consumerGroup",
        /// The member's client id.
        client_id: Option<&'a str> = "clientId",
        /// 307: with its threads' stacks.
        with_stacks: bool = "jstackEnable",
        /// 309: the message, as a server's message id.
        message_id: Option<&'a str> = "msgId",
        /// 309: the topic.
        topic: Option<&'a str> = "topic",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::request::queue::QueueName;

    #[test]
    fn a_check_of_an_sql_subscription_is_read() {
        let body = r#"{"clientId":"c","group":"g","namespace":null,"subscriptionData":{"classFilterMode":false,"codeSet":[],"expressionType":"SQL92","subString":"a > 5","subVersion":1,"tagsSet":[],"topic":"T"}}"#;
        let check: CheckClient = json::read(body.as_bytes()).unwrap();
        assert!(!check.subscription.is_tag());
        assert_eq!((check.group.as_str(), check.subscription.expression.as_str()), ("g", "a > 5"));
    }

    #[test]
    fn new_offsets_have_object_keys_for_java_and_are_a_list_for_cpp() {
        let queue = QueueName { broker_name: "b".into(), queue_id: 0, topic: "T".into() };
        let offsets = ResetOffsets { offset_table: QueueMap(vec![(queue, 5)]) };
        assert_eq!(
            String::from_utf8(json::write(&offsets)).unwrap(),
            r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:5}}"#
        );
        assert_eq!(
            String::from_utf8(json::write(&ResetOffsetsList::from(&offsets))).unwrap(),
            r#"{"offsetTable":[{"brokerName":"b","offset":5,"queueId":0,"topic":"T"}]}"#
        );
    }
}
