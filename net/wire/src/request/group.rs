//! Consumer groups' definitions: create or change (200, 225), delete (207), look at (201, 352).
//!
//! Source: `remoting/.../protocol/subscription/SubscriptionGroupConfig.java`, `SubscriptionGroupWrapper.java`,
//! `DeleteSubscriptionGroupRequestHeader.java`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::header;
use super::topic::DataVersion;
use crate::json::tolerant;

header! {
    /// DELETE_SUBSCRIPTIONGROUP (207). Reply: code only.
    DeleteGroup<'a> {
        /// The group.
        group: &'a str = "groupName",
        /// Its offsets, too.
        clean_offset: bool = "cleanOffset",
    }
}

header! {
    /// GET_SUBSCRIPTIONGROUP_CONFIG (352).
    GroupDefinitionRequest<'a> {
        /// The group.
        group: &'a str = "group",
    }
}

header! {
    /// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201). Old clients send no field and get the whole table at once.
    GroupTableRequest {
        /// Position to go on at.
        sequence: Option<i32> = "groupSeq",
        /// Most groups wanted.
        groups_max: Option<i32> = "maxGroupNum",
    }
}

header! {
    /// The header of the answer to 201.
    GroupTableReply {
        /// Groups there are, sent or not.
        groups: i32 = "totalGroupNum",
    }
}

/// A group's definition (RocketMQ: SubscriptionGroupConfig). The body of 200 and of 352's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupDefinition {
    /// Free attributes.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub attributes: BTreeMap<String, String>,
    /// The broker id that members should ask.
    #[serde(deserialize_with = "tolerant::number")]
    pub broker_id: i64,
    /// Broadcasting members may consume.
    pub consume_broadcast_enable: bool,
    /// Members may consume.
    pub consume_enable: bool,
    /// Members may start at the start.
    pub consume_from_min_enable: bool,
    /// Pop keeps the order.
    pub consume_message_orderly: bool,
    /// How long a member may take over a record.
    #[serde(deserialize_with = "tolerant::number")]
    pub consume_timeout_minute: i32,
    /// The group.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub group_name: String,
    /// How long a record waits between tries.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub group_retry_policy: RetryPolicy,
    /// 1: the group belongs to a unit.
    #[serde(deserialize_with = "tolerant::number")]
    pub group_sys_flag: i32,
    /// Members are told when the membership changes.
    pub notify_consumer_ids_changed_enable: bool,
    /// Tries before a record becomes a dead letter.
    #[serde(deserialize_with = "tolerant::number")]
    pub retry_max_times: i32,
    /// Queues of the retry topic.
    #[serde(rename = "retryQueueNums", deserialize_with = "tolerant::number")]
    pub retry_queues: i32,
    /// The broker id that slow members should ask.
    #[serde(deserialize_with = "tolerant::number")]
    pub which_broker_when_consume_slowly: i64,
}

/// What Java assumes for what a definition leaves out.
impl Default for GroupDefinition {
    fn default() -> Self {
        GroupDefinition {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: RetryPolicy::default(),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queues: 1,
            which_broker_when_consume_slowly: 1,
        }
    }
}

/// How long a record waits between tries (RocketMQ: GroupRetryPolicy). Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryPolicy {
    /// `CUSTOMIZED` or `EXPONENTIAL`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of `EXPONENTIAL`; absent: Java's defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponential_retry_policy: Option<ExponentialPolicy>,
    /// Of `CUSTOMIZED`; absent: Java's defaults, which are the delay levels' as Apache configures them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customized_retry_policy: Option<CustomizedPolicy>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            kind: "CUSTOMIZED".to_owned(),
            exponential_retry_policy: None,
            customized_retry_policy: None,
        }
    }
}

/// Each wait is a multiple of the one before (RocketMQ: ExponentialRetryPolicy).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExponentialPolicy {
    /// The first wait.
    #[serde(deserialize_with = "tolerant::number")]
    pub initial: i64,
    /// The longest.
    #[serde(deserialize_with = "tolerant::number")]
    pub max: i64,
    /// The factor.
    #[serde(deserialize_with = "tolerant::number")]
    pub multiplier: i64,
}

impl Default for ExponentialPolicy {
    fn default() -> Self {
        ExponentialPolicy { initial: 5_000, max: 7_200_000, multiplier: 2 }
    }
}

/// The waits, one by one (RocketMQ: CustomizedRetryPolicy). The first try after a failure takes the third of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomizedPolicy {
    /// Waits.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub next: Vec<i64>,
}

/// All groups of a broker: the body of 201's answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupTable {
    /// The state they are of.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub data_version: DataVersion,
    /// Topics that a group may not consume, as a bit set.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
    /// By name.
    #[serde(rename = "subscriptionGroupTable", deserialize_with = "tolerant::nullable")]
    pub groups: BTreeMap<String, GroupDefinition>,
}

/// The body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupDefinitions {
    /// The groups.
    #[serde(rename = "groupConfigList", deserialize_with = "tolerant::nullable")]
    pub groups: Vec<GroupDefinition>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn a_definition_is_written_as_fastjson_does_and_read_with_javas_defaults() {
        let written = r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#;
        let definition = GroupDefinition { group_name: "g".into(), ..GroupDefinition::default() };
        assert_eq!(String::from_utf8(json::write(&definition)).unwrap(), written);
        assert_eq!(json::read(written.as_bytes()), Ok(definition.clone()));
        let sparse =
            r#"{"groupName":"g","groupRetryPolicy":null,"attributes":null,"subscriptionDataSet":[]}"#;
        assert_eq!(json::read(sparse.as_bytes()), Ok(definition));
    }
}
