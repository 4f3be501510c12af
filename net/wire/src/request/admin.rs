//! What tools ask: tables of text (28), connections (203, 204), progress of groups (208), lists of names (206, 224,
//! 300, 304, 305, 343).
//!
//! Source: `KVTable.java`, `ConsumerConnection.java`, `ProducerConnection.java`, `Connection.java`,
//! `ConsumeStats.java`, `TopicList.java`, `GroupList.java`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::header;
use super::heartbeat::{ConsumeFrom, ConsumeType, MessageModel};
use super::queue::QueueMap;
use super::subscription::Subscription;
use crate::json::tolerant;

/// A table of text: the answers to GET_BROKER_RUNTIME_INFO (28) and GET_KVLIST_BY_NAMESPACE (219), and the
/// order topics in a registration's answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TextTable {
    /// The entries.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub table: BTreeMap<String, String>,
}

/// One client's connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// Its address and port.
    #[serde(rename = "clientAddr")]
    pub client_address: String,
    /// The client's id.
    pub client_id: String,
    /// Its language ([`crate::language`]).
    pub language: String,
    /// Its version ordinal.
    pub version: i32,
}

/// The answer to GET_CONSUMER_CONNECTION_LIST (203).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnections {
    /// The members.
    #[serde(rename = "connectionSet", deserialize_with = "tolerant::nullable")]
    pub connections: Vec<Connection>,
    /// Where the group starts without an offset.
    #[serde(rename = "consumeFromWhere")]
    pub consume_from: ConsumeFrom,
    /// How it takes records.
    pub consume_type: ConsumeType,
    /// Who gets a record.
    pub message_model: MessageModel,
    /// What it wants, by topic.
    #[serde(rename = "subscriptionTable", deserialize_with = "tolerant::nullable")]
    pub subscriptions: BTreeMap<String, Subscription>,
}

/// The answer to GET_PRODUCER_CONNECTION_LIST (204).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnections {
    /// The members.
    #[serde(rename = "connectionSet", deserialize_with = "tolerant::nullable")]
    pub connections: Vec<Connection>,
}

header! {
    /// GET_PRODUCER_CONNECTION_LIST (204).
    ProducerGroupRequest<'a> {
        /// The group.
        producer_group: &'a str = "producerGroup",
    }
}

header! {
    /// GET_CONSUME_STATS (208).
    ConsumeStatsRequest<'a> {
        /// The group.
        consumer_group: &'a str = "consumerGroup",
        /// One topic; absent: all that the group has offsets or subscriptions for.
        topic: Option<&'a str> = "topic",
        /// Several, separated by `;`.
        topics: Option<&'a str> = "topicList",
    }
}

/// The answer to 208.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    /// Records per second.
    pub consume_tps: f64,
    /// By queue.
    #[serde(rename = "offsetTable", deserialize_with = "tolerant::nullable")]
    pub queues: QueueMap<QueueProgress>,
}

/// How far a group is in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueProgress {
    /// The queue's end.
    #[serde(deserialize_with = "tolerant::number")]
    pub broker_offset: i64,
    /// The group's offset; 0 if it has none.
    #[serde(deserialize_with = "tolerant::number")]
    pub consumer_offset: i64,
    /// Store time of the last record consumed; 0 if there is none.
    #[serde(deserialize_with = "tolerant::number")]
    pub last_timestamp: i64,
    /// How far records were taken.
    #[serde(deserialize_with = "tolerant::number")]
    pub pull_offset: i64,
}

/// Names of topics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    /// 304 names a broker.
    #[serde(rename = "brokerAddr", skip_serializing_if = "Option::is_none")]
    pub broker_address: Option<String>,
    /// The topics.
    #[serde(rename = "topicList", deserialize_with = "tolerant::nullable")]
    pub topics: Vec<String>,
}

/// Names of groups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupList {
    /// The groups.
    #[serde(rename = "groupList", deserialize_with = "tolerant::nullable")]
    pub groups: Vec<String>,
}

header! {
    /// The header of GET_BROKER_CONFIG's (26) answer; its body is lines `name=value`.
    BrokerSettingsReply<'a> {
        /// The state they are of, as JSON.
        version: &'a str = "version",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::request::queue::QueueName;

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn bodies_are_written_as_fastjson_does() {
        let connection = Connection {
            client_address: "1.2.3.4:5".into(),
            client_id: "c".into(),
            language: "JAVA".into(),
            version: 479,
        };
        let consumers =
            ConsumerConnections { connections: vec![connection], ..ConsumerConnections::default() };
        assert_eq!(
            text(json::write(&consumers)),
            r#"{"connectionSet":[{"clientAddr":"1.2.3.4:5","clientId":"c","language":"JAVA","version":479}],"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","subscriptionTable":{}}"#
        );
        let queue = QueueName { broker_name: "b".into(), queue_id: 1, topic: "T".into() };
        let progress =
            QueueProgress { broker_offset: 9, consumer_offset: 5, last_timestamp: 7, pull_offset: 5 };
        let stats = ConsumeStats { consume_tps: 0.0, queues: QueueMap(vec![(queue, progress)]) };
        let written = r#"{"consumeTps":0.0,"offsetTable":{{"brokerName":"b","queueId":1,"topic":"T"}:{"brokerOffset":9,"consumerOffset":5,"lastTimestamp":7,"pullOffset":5}}}"#;
        assert_eq!(text(json::write(&stats)), written);
        assert_eq!(json::read(written.as_bytes()), Ok(stats));
        assert_eq!(text(json::write(&TopicList::default())), r#"{"topicList":[]}"#);
        let table = TextTable { table: BTreeMap::from([("k".into(), "v".into())]) };
        assert_eq!(text(json::write(&table)), r#"{"table":{"k":"v"}}"#);
    }
}
