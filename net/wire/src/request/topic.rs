//! Topics: create or change (17, 18), delete (215), look at definitions (21, 351) and statistics (202).
//!
//! Source: `CreateTopicRequestHeader.java`, `common/.../TopicConfig.java`, `TopicConfigAndMappingSerializeWrapper.java`,
//! `TopicStatsTable.java`, `common/.../attribute/AttributeParser.java`, `DataVersion.java`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::header;
use super::queue::QueueMap;
use crate::json::tolerant;

header! {
    /// UPDATE_AND_CREATE_TOPIC (17). Reply: code only.
    CreateTopic<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The topic that Java's settings come from; means nothing here.
        default_topic: Option<&'a str> = "defaultTopic",
        /// Queues that consumers see.
        read_queues: i32 = "readQueueNums",
        /// Queues that producers see.
        write_queues: i32 = "writeQueueNums",
        /// 4 read, 2 write, 1 inherit.
        perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        filter_type: Option<&'a str> = "topicFilterType",
        /// 1: unit topic; 2: has unit subscriptions.
        topic_sys_flag: i32 = "topicSysFlag" or 0,
        /// An order topic.
        order: bool = "order",
        /// Changes of attributes, `+k=v,-k2`; see [`attribute_changes`].
        attributes: Option<&'a str> = "attributes",
        /// Recreate it whatever its state.
        force: bool = "force",
    }
}

header! {
    /// Requests that name a topic and no more: 202, 215, 300, 351.
    TopicRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
    }
}

header! {
    /// GET_ALL_TOPIC_CONFIG (21). Old clients send no field and get the whole table at once.
    TopicTableRequest {
        /// Position to go on at.
        sequence: Option<i32> = "topicSeq",
        /// Most topics wanted.
        topics_max: Option<i32> = "maxTopicNum",
    }
}

header! {
    /// The header of the answer to 21.
    TopicTableReply {
        /// Topics there are, sent or not.
        topics: i32 = "totalTopicNum",
    }
}

/// A change of one attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeChange<'a> {
    /// `+k=v`
    Set(&'a str, &'a str),
    /// `-k`
    Delete(&'a str),
}

/// Reads `+k=v,-k2`. `None` if it is not of that form.
pub fn attribute_changes(text: &str) -> Option<Vec<AttributeChange<'_>>> {
    let pieces = text.split(',').map(str::trim).filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            if let Some(name) = piece.strip_prefix('-') {
                return (!name.is_empty() && !name.contains('=')).then_some(AttributeChange::Delete(name));
            }
            let (name, value) = piece.strip_prefix('+')?.split_once('=')?;
            (!name.is_empty()).then_some(AttributeChange::Set(name, value))
        })
        .collect()
}

/// A topic's definition (RocketMQ: TopicConfig). The body of 351's answer, and an entry of 21's, 18's and 103's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicDefinition {
    /// Such as `message.type`.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub attributes: BTreeMap<String, String>,
    /// An order topic.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub order: bool,
    /// 4 read, 2 write, 1 inherit.
    #[serde(deserialize_with = "tolerant::number")]
    pub perm: i32,
    /// Queues that consumers see.
    #[serde(rename = "readQueueNums", deserialize_with = "tolerant::number")]
    pub read_queues: i32,
    /// `SINGLE_TAG` or `MULTI_TAG`.
    #[serde(rename = "topicFilterType", deserialize_with = "tolerant::nullable")]
    pub filter_type: String,
    /// The topic.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub topic_name: String,
    /// 1: unit topic; 2: has unit subscriptions.
    #[serde(deserialize_with = "tolerant::number")]
    pub topic_sys_flag: i32,
    /// Queues that producers see.
    #[serde(rename = "writeQueueNums", deserialize_with = "tolerant::number")]
    pub write_queues: i32,
}

/// What Java assumes for what a definition leaves out.
impl Default for TopicDefinition {
    fn default() -> Self {
        TopicDefinition {
            attributes: BTreeMap::new(),
            order: false,
            perm: 6,
            read_queues: 16,
            filter_type: "SINGLE_TAG".to_owned(),
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queues: 16,
        }
    }
}

/// Which state of a broker's definitions something speaks of. Later is not always larger: compare for equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Counts changes.
    #[serde(deserialize_with = "tolerant::number")]
    pub counter: i64,
    /// Rises when another broker becomes master.
    #[serde(deserialize_with = "tolerant::number")]
    pub state_version: i64,
    /// When it last changed, milliseconds since 1970.
    #[serde(deserialize_with = "tolerant::number")]
    pub timestamp: i64,
}

/// All topics of a broker: the body of 21's answer, and part of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicTable {
    /// The state they are of.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub data_version: DataVersion,
    /// The same for static topics.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub mapping_data_version: DataVersion,
    /// By name.
    #[serde(rename = "topicConfigTable", deserialize_with = "tolerant::nullable")]
    pub topics: BTreeMap<String, TopicDefinition>,
    /// Static topics, which we have none of; written so that 5.x finds the maps it expects.
    #[serde(skip_deserializing)]
    pub topic_queue_mapping_detail_map: BTreeMap<String, ()>,
    /// As above.
    #[serde(skip_deserializing)]
    pub topic_queue_mapping_info_map: BTreeMap<String, ()>,
}

/// The body of UPDATE_AND_CREATE_TOPIC_LIST (18).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicDefinitions {
    /// The topics.
    #[serde(rename = "topicConfigList", deserialize_with = "tolerant::nullable")]
    pub topics: Vec<TopicDefinition>,
}

/// The body of GET_TOPIC_STATS_INFO's (202) answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStats {
    /// One entry for each of the topic's queues on this broker.
    #[serde(rename = "offsetTable", deserialize_with = "tolerant::nullable")]
    pub queues: QueueMap<QueueStats>,
    /// Messages per second.
    pub topic_put_tps: f64,
}

/// A queue's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueStats {
    /// Store time of the last record; 0 if there is none.
    #[serde(deserialize_with = "tolerant::number")]
    pub last_update_timestamp: i64,
    /// Queue offset that the next record will get.
    #[serde(deserialize_with = "tolerant::number")]
    pub max_offset: i64,
    /// First queue offset still there.
    #[serde(deserialize_with = "tolerant::number")]
    pub min_offset: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::request::queue::QueueName;
    use crate::request::testing::decoded;

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn a_topic_creation_of_java_is_read() {
        let ext = r#"{"topic":"T","defaultTopic":"TBW102","readQueueNums":"8","writeQueueNums":"8","perm":"6",
            "topicFilterType":"SINGLE_TAG","topicSysFlag":"0","order":"false","attributes":"+message.type=NORMAL","force":"false"}"#;
        decoded(ext, |fields| {
            let request = CreateTopic::decode(&fields).unwrap();
            assert_eq!((request.topic, request.read_queues, request.perm), ("T", 8, 6));
            let changes = attribute_changes(request.attributes.unwrap());
            assert_eq!(changes, Some(vec![AttributeChange::Set("message.type", "NORMAL")]));
        });
    }

    #[test]
    fn attribute_changes_set_and_delete() {
        use AttributeChange::{Delete, Set};
        for (text, expected) in [
            ("", Some(vec![])),
            ("+a=b,-c", Some(vec![Set("a", "b"), Delete("c")])),
            (" +a=b=c ", Some(vec![Set("a", "b=c")])),
            ("a=b", None),
            ("+a", None),
            ("-", None),
            ("-a=b", None),
            ("+=b", None),
        ] {
            assert_eq!(attribute_changes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_definition_is_written_as_fastjson_does_and_read_with_javas_defaults() {
        let definition = TopicDefinition {
            topic_name: "T".into(),
            read_queues: 8,
            write_queues: 8,
            ..TopicDefinition::default()
        };
        let written = r#"{"attributes":{},"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":8}"#;
        assert_eq!(text(json::write(&definition)), written);
        assert_eq!(json::read(written.as_bytes()), Ok(definition));
        let sparse: TopicDefinition = json::read(br#"{"topicName":"T","attributes":null}"#).unwrap();
        assert_eq!((sparse.perm, sparse.read_queues), (6, 16));
    }

    #[test]
    fn a_table_has_the_maps_that_5x_expects() {
        assert_eq!(
            text(json::write(&TopicTable::default())),
            r#"{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":0},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":0},"topicConfigTable":{},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{}}"#
        );
    }

    #[test]
    fn statistics_have_object_keys_and_doubles_with_a_fraction() {
        let queue = QueueName { broker_name: "b".into(), queue_id: 0, topic: "T".into() };
        let stats = TopicStats {
            queues: QueueMap(vec![(
                queue,
                QueueStats { last_update_timestamp: 1, max_offset: 9, min_offset: 0 },
            )]),
            topic_put_tps: 0.0,
        };
        let written = r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"lastUpdateTimestamp":1,"maxOffset":9,"minOffset":0}},"topicPutTps":0.0}"#;
        assert_eq!(text(json::write(&stats)), written);
        assert_eq!(json::read(written.as_bytes()), Ok(stats));
    }
}
