//! Membership: HEART_BEAT (34), UNREGISTER_CLIENT (35), GET_CONSUMER_LIST_BY_GROUP (38) and
//! NOTIFY_CONSUMER_IDS_CHANGED (40, from the broker to members).
//!
//! A heartbeat's body is JSON, and no two clients write it alike: enums by name (Java, Go) or number (C++), longs as
//! numbers or strings, lists absent or null, unknown keys. All of that is read.
//!
//! Source: `HeartbeatData.java`, `ConsumerData.java`, `ProducerData.java`, `UnregisterClientRequestHeader.java`,
//! `GetConsumerListByGroupResponseBody.java`.

use serde::{Deserialize, Serialize};

use super::header;
use super::subscription::Subscription;
use crate::json::{named_enum, tolerant};

named_enum! {
    /// How a group takes records.
    ConsumeType {
        /// By pulling itself, lite pull included.
        Actively = 0 "CONSUME_ACTIVELY",
        /// By being handed records.
        #[default]
        Passively = 1 "CONSUME_PASSIVELY",
        /// By pop.
        Pop = 2 "CONSUME_POP",
    }
}

named_enum! {
    /// Who of a group gets a record.
    MessageModel {
        /// Every member.
        Broadcasting = 0 "BROADCASTING",
        /// One member.
        #[default]
        Clustering = 1 "CLUSTERING",
    }
}

named_enum! {
    /// Where a group starts that has no offset yet. Decided by clients; kept for administration.
    ConsumeFrom {
        /// At the end.
        #[default]
        LastOffset = 0 "CONSUME_FROM_LAST_OFFSET",
        /// Deprecated; like the end.
        LastOffsetAndMinWhenBootFirst = 1 "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Deprecated; like the start.
        MinOffset = 2 "CONSUME_FROM_MIN_OFFSET",
        /// Deprecated; like the end.
        MaxOffset = 3 "CONSUME_FROM_MAX_OFFSET",
        /// At the start.
        FirstOffset = 4 "CONSUME_FROM_FIRST_OFFSET",
        /// At a time.
        Timestamp = 5 "CONSUME_FROM_TIMESTAMP",
    }
}

/// What a client says about itself every 30 s.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Heartbeat {
    /// The client's id; an opaque string.
    #[serde(rename = "clientID", deserialize_with = "tolerant::nullable")]
    pub client_id: String,
    /// The consumer groups it is a member of.
    #[serde(rename = "consumerDataSet", deserialize_with = "tolerant::nullable")]
    pub consumers: Vec<ConsumerEntry>,
    /// Hash of all subscriptions (5.x with `useHeartbeatV2`); 0 otherwise.
    #[serde(rename = "heartbeatFingerprint", deserialize_with = "tolerant::number")]
    pub fingerprint: i32,
    /// The producer groups it is a member of.
    #[serde(rename = "producerDataSet", deserialize_with = "tolerant::nullable")]
    pub producers: Vec<ProducerEntry>,
    /// Subscriptions are left out: they are those of the fingerprint.
    #[serde(rename = "withoutSub", deserialize_with = "tolerant::nullable")]
    pub without_subscriptions: bool,
}

/// One consumer group of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerEntry {
    /// Where it starts without an offset.
    #[serde(rename = "consumeFromWhere")]
    pub consume_from: ConsumeFrom,
    /// How it takes records.
    pub consume_type: ConsumeType,
    /// The group.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub group_name: String,
    /// Who gets a record.
    pub message_model: MessageModel,
    /// What it wants, by topic.
    #[serde(rename = "subscriptionDataSet", deserialize_with = "tolerant::nullable")]
    pub subscriptions: Vec<Subscription>,
    /// The group belongs to a unit.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub unit_mode: bool,
}

/// One producer group of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerEntry {
    /// The group.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub group_name: String,
}

header! {
    /// What a broker that knows fingerprints adds to the answer of a heartbeat. Leaving it out is fine.
    HeartbeatReply {
        /// It does.
        supports_v2: bool = "IS_SUPPORT_HEART_BEAT_V2",
        /// Send the subscriptions in full.
        subscriptions_wanted: bool = "IS_SUB_CHANGE",
    }
}

header! {
    /// UNREGISTER_CLIENT (35). A group that is absent or empty is not given. Reply: code only.
    UnregisterRequest<'a> {
        /// The client's id.
        client_id: &'a str = "clientID",
        /// The producer group that it leaves.
        producer_group: Option<&'a str> = "producerGroup",
        /// The consumer group that it leaves.
        consumer_group: Option<&'a str> = "consumerGroup",
    }
}

header! {
    /// GET_CONSUMER_LIST_BY_GROUP (38), NOTIFY_CONSUMER_IDS_CHANGED (40) and GET_CONSUMER_CONNECTION_LIST (203).
    GroupRequest<'a> {
        /// The group.
        consumer_group: &'a str = "consumerGroup",
    }
}

/// The answer to 38. A group without members is code 1, because a client that does not find itself lets go of all
/// its queues.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MembersReply {
    /// Ids of the group's clients, in any order.
    #[serde(rename = "consumerIdList", deserialize_with = "tolerant::nullable")]
    pub client_ids: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::request::testing::decoded;

    const JAVA: &str = r#"{"clientID":"10.0.0.9@26634#2642011375737","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"CG","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[2598919,2598920],"expressionType":"TAG","subString":"TagA || TagB","subVersion":1795360511454,"tagsSet":["TagA","TagB"],"topic":"TopicB"},{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*","subVersion":1795360511450,"tagsSet":[],"topic":"%RETRY%CG"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"CLIENT_INNER_PRODUCER"}],"withoutSub":false}"#;
    const GO: &str = r#"{"clientID":"10.0.0.9@29791","producerDataSet":[],"consumerDataSet":[{"groupName":"CG","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","subscriptionDataSet":[{"classFilterMode":false,"topic":"TopicB","subString":"TagA || TagB","tagsSet":["TagA","TagB"],"codeSet":["2598919","2598920"],"subVersion":1795360722044487370,"expressionType":"TAG"}],"unitMode":false}]}"#;
    const CPP: &str = "{\"clientID\":\"10.0.0.9@1407#DEFAULT\",\"consumerDataSet\":[{\"consumeFromWhere\":0,\"consumeType\":1,\"groupName\":\"CG\",\"messageModel\":1,\"subscriptionDataSet\":[{\"codeSet\":[0,0],\"subString\":\"TagA || TagB\",\"subVersion\":\"1795361064215\",\"tagsSet\":[\"TagA\",\"TagB\"],\"topic\":\"TopicB\"}]}]}\n";

    #[test]
    fn heartbeats_of_all_clients_mean_the_same() {
        for body in [JAVA, GO, CPP] {
            let heartbeat: Heartbeat = json::read(body.as_bytes()).unwrap();
            let [consumer] = heartbeat.consumers.as_slice() else { panic!("one consumer: {body}") };
            assert_eq!(consumer.group_name, "CG");
            assert_eq!(consumer.consume_from, ConsumeFrom::LastOffset);
            assert_eq!(consumer.consume_type, ConsumeType::Passively);
            assert_eq!(consumer.message_model, MessageModel::Clustering);
            let subscription = &consumer.subscriptions[0];
            assert_eq!(
                (subscription.topic.as_str(), subscription.expression.as_str()),
                ("TopicB", "TagA || TagB")
            );
            assert_eq!(subscription.selection().unwrap().hashes(), [2598919, 2598920]);
        }
        let java: Heartbeat = json::read(JAVA.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(json::write(&java)).unwrap(), JAVA);
    }

    #[test]
    fn anything_may_be_absent_null_or_unknown() {
        for body in [
            r#"{"clientID":"c"}"#,
            r#"{"clientID":"c","consumerDataSet":null,"producerDataSet":null,"heartbeatFingerprint":null,"withoutSub":null}"#,
            r#"{"clientID":"c","x":{"y":[1]}}"#,
        ] {
            let expected = Heartbeat { client_id: "c".into(), ..Heartbeat::default() };
            assert_eq!(json::read(body.as_bytes()), Ok(expected), "{body}");
        }
        let body = r#"{"clientID":"c","consumerDataSet":[{"groupName":"g","consumeType":null,"messageModel":"0","consumeFromWhere":"?",
            "subscriptionDataSet":[{"topic":"T","subString":null,"subVersion":null,"tagsSet":null,"filterClassSource":"x"}]}]}"#;
        let heartbeat: Heartbeat = json::read(body.as_bytes()).unwrap();
        assert_eq!(heartbeat.consumers[0].message_model, MessageModel::Broadcasting);
        assert_eq!(heartbeat.consumers[0].consume_type, ConsumeType::Passively);
        assert!(heartbeat.consumers[0].subscriptions[0].selection().unwrap().is_everything());
    }

    #[test]
    fn bodies_that_are_none_are_refused() {
        for body in ["", "[]", "{", r#"{"consumerDataSet":{}}"#, r#"{"heartbeatFingerprint":"x"}"#] {
            assert!(json::read::<Heartbeat>(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_group_left_empty_by_cpp_is_not_given() {
        decoded(r#"{"clientID":"c","producerGroup":"PG","consumerGroup":""}"#, |fields| {
            let request = UnregisterRequest::decode(&fields).unwrap();
            assert_eq!((request.producer_group, request.consumer_group), (Some("PG"), None));
        });
    }
}
