//! Brokers and name servers: REGISTER_BROKER (103), UNREGISTER_BROKER (104), QUERY_DATA_VERSION (322),
//! GET_BROKER_MEMBER_GROUP (901), BROKER_HEARTBEAT (904).
//!
//! A registration's body is JSON, or, with `compressed`, this layout in a zlib stream:
//!
//!     ┌──────────────────────┬───────┬──────────────────────┬──────────────────────┬───────┬───────────────┐
//!     │ i32, DataVersion JSON│ i32 n │ n × (i32, topic text)│ i32, JSON list       │ i32 m │ m × (i32, JSON)│
//!     └──────────────────────┴───────┴──────────────────────┴──────────────────────┴───────┴───────────────┘
//!                                                             filter servers         static topics; absent before 5.0
//!
//!     topic text: name readQueueNums writeQueueNums perm topicFilterType [attributes JSON], separated by blanks
//!
//! Not here: unfolding the zlib stream, whose bound is the server's; what a registration changes (`namesrv`).
//!
//! Source: `RegisterBrokerRequestHeader.java`, `RegisterBrokerBody.java`, `TopicConfig.java` (`encode`, `decode`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::header;
use super::topic::{TopicDefinition, TopicTable};
use crate::json::{self, BodyError, tolerant};

header! {
    /// REGISTER_BROKER (103).
    RegisterBroker<'a> {
        /// The broker.
        broker_name: &'a str = "brokerName",
        /// The address that clients will use.
        broker_address: &'a str = "brokerAddr",
        /// Its cluster.
        cluster_name: &'a str = "clusterName",
        /// The address that its replicas use; may be empty.
        ha_server_address: &'a str = "haServerAddr",
        /// 0: master.
        broker_id: i64 = "brokerId",
        /// How long it may be silent.
        heartbeat_timeout_ms: Option<i64> = "heartbeatTimeoutMillis",
        /// Its lowest replica may stand in for a missing master; absent from brokers before 5.0.
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// The body is a zlib stream.
        compressed: bool = "compressed",
        /// [`crate::record::body_crc`] of the body as sent; 0: not to be checked.
        body_crc: i32 = "bodyCrc32" or 0,
        /// Its zone.
        zone_name: Option<&'a str> = "__ZONE_NAME",
    }
}

impl RegisterBroker<'_> {
    /// Whether the body is the one that was sent.
    pub fn body_is_intact(&self, body: &[u8]) -> bool {
        self.body_crc == 0 || self.body_crc == crate::record::body_crc(body)
    }
}

header! {
    /// The answer to 103. Both are told to replicas only.
    RegisterReply<'a> {
        /// The master's address for replicas.
        ha_server_address: Option<&'a str> = "haServerAddr",
        /// The master's address.
        master_address: Option<&'a str> = "masterAddr",
    }
}

header! {
    /// UNREGISTER_BROKER (104) and QUERY_DATA_VERSION (322, with a [`super::topic::DataVersion`] as body).
    BrokerIdentity<'a> {
        /// The broker.
        broker_name: &'a str = "brokerName",
        /// The address that it registered.
        broker_address: &'a str = "brokerAddr",
        /// Its cluster.
        cluster_name: &'a str = "clusterName",
        /// 0: master.
        broker_id: i64 = "brokerId",
    }
}

header! {
    /// The answer to 322.
    DataVersionReply {
        /// The name server knows another version, or none.
        changed: bool = "changed",
    }
}

header! {
    /// BROKER_HEARTBEAT (904). Reply: code only.
    BrokerHeartbeat<'a> {
        /// The broker's cluster.
        cluster_name: &'a str = "clusterName",
        /// The address that it registered.
        broker_address: &'a str = "brokerAddr",
        /// The broker.
        broker_name: &'a str = "brokerName",
        /// 0: master.
        broker_id: Option<i64> = "brokerId",
        /// How long it may be silent.
        heartbeat_timeout_ms: Option<i64> = "heartbeatTimeoutMills",
    }
}

header! {
    /// GET_BROKER_MEMBER_GROUP (901).
    MemberGroupRequest<'a> {
        /// The cluster.
        cluster_name: &'a str = "clusterName",
        /// The broker.
        broker_name: &'a str = "brokerName",
    }
}

/// The answer to 901.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberGroupReply {
    /// The group.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub broker_member_group: MemberGroup,
}

/// A broker and its replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberGroup {
    /// By broker id.
    #[serde(rename = "brokerAddrs", deserialize_with = "tolerant::nullable")]
    pub addresses: BTreeMap<i64, String>,
    /// The broker.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub broker_name: String,
    /// Its cluster.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub cluster: String,
}

/// A registration's body (RocketMQ: RegisterBrokerBody).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Registration {
    /// Legacy.
    #[serde(rename = "filterServerList", deserialize_with = "tolerant::nullable")]
    pub filter_servers: Vec<String>,
    /// The broker's topics.
    #[serde(rename = "topicConfigSerializeWrapper", deserialize_with = "tolerant::nullable")]
    pub topics: TopicTable,
}

impl Registration {
    /// Reads the JSON form. No body is a registration without topics.
    pub fn read(body: &[u8]) -> Result<Registration, BodyError> {
        if body.is_empty() { Ok(Registration::default()) } else { json::read(body) }
    }

    /// Reads the unfolded bytes of the compressed form.
    pub fn read_packed(mut unfolded: &[u8]) -> Result<Registration, BodyError> {
        let rest = &mut unfolded;
        let mut topics = TopicTable {
            data_version: json::read(take_counted(rest, "data version")?)?,
            ..TopicTable::default()
        };
        for _ in 0..take_number(rest, "topic count")? {
            let topic = take_counted(rest, "topic")?;
            let topic = std::str::from_utf8(topic).ok().and_then(topic_of_text);
            let topic = topic.ok_or(BodyError::Malformed("topic"))?;
            topics.topics.insert(topic.topic_name.clone(), topic);
        }
        let filter_servers = serde_json::from_slice(take_counted(rest, "filter servers")?)
            .map_err(|error| BodyError::Json(error.to_string()))?;
        // Static topics may follow; we have none and do not look at those of others.
        Ok(Registration { filter_servers, topics })
    }
}

/// `name read write perm filterType [attributes]`
fn topic_of_text(text: &str) -> Option<TopicDefinition> {
    let mut words = text.splitn(6, ' ');
    let mut topic = TopicDefinition {
        topic_name: words.next().filter(|name| !name.is_empty())?.to_owned(),
        read_queues: words.next()?.parse().ok()?,
        write_queues: words.next()?.parse().ok()?,
        perm: words.next()?.parse().ok()?,
        filter_type: words.next()?.to_owned(),
        ..TopicDefinition::default()
    };
    if let Some(attributes) = words.next().map(str::trim).filter(|text| !text.is_empty()) {
        topic.attributes = json::read(attributes.as_bytes()).ok()?;
    }
    Some(topic)
}

/// A count or a length; a negative one is malformed. Nothing is reserved by it.
fn take_number(rest: &mut &[u8], what: &'static str) -> Result<usize, BodyError> {
    let (number, tail) = rest.split_first_chunk::<4>().ok_or(BodyError::Malformed(what))?;
    *rest = tail;
    usize::try_from(i32::from_be_bytes(*number)).map_err(|_| BodyError::Malformed(what))
}

fn take_counted<'a>(rest: &mut &'a [u8], what: &'static str) -> Result<&'a [u8], BodyError> {
    let length = take_number(rest, what)?;
    let (bytes, tail) = rest.split_at_checked(length).ok_or(BodyError::Malformed(what))?;
    *rest = tail;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::testing::decoded;

    const JSON: &str = r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":1700000000000},"topicConfigTable":{"TopicA":{"attributes":{"k":"v"},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"TopicA","topicSysFlag":0,"writeQueueNums":4}}}}"#;

    fn packed(topics: &[&str]) -> Vec<u8> {
        let counted = |text: &str| [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
        let mut out = counted(r#"{"counter":1,"stateVersion":0,"timestamp":1700000000000}"#);
        out.extend_from_slice(&(topics.len() as u32).to_be_bytes());
        out.extend(topics.iter().flat_map(|topic| counted(topic)));
        out.extend(counted("[]"));
        out
    }

    #[test]
    fn a_registration_header_of_5x_is_read() {
        let ext = r#"{"brokerName":"broker-a","brokerAddr":"10.0.0.2:10911","clusterName":"C","haServerAddr":"","brokerId":"0",
            "heartbeatTimeoutMillis":"120000","enableActingMaster":"false","compressed":"false","bodyCrc32":"907060870"}"#;
        decoded(ext, |fields| {
            let request = RegisterBroker::decode(&fields).unwrap();
            assert_eq!((request.broker_id, request.enable_acting_master), (0, Some(false)));
            assert_eq!((request.heartbeat_timeout_ms, request.zone_name), (Some(120_000), None));
            assert!(request.body_is_intact(b"hello") && !request.body_is_intact(b"hullo"));
            assert!(RegisterBroker { body_crc: 0, ..request }.body_is_intact(b"anything"));
        });
    }

    #[test]
    fn both_forms_of_a_body_mean_the_same() {
        let expected = Registration::read(JSON.as_bytes()).unwrap();
        assert_eq!(expected.topics.data_version.counter, 1);
        assert_eq!(expected.topics.topics["TopicA"].read_queues, 4);
        let mut body = packed(&[r#"TopicA 4 4 6 SINGLE_TAG {"k":"v"}"#]);
        assert_eq!(Registration::read_packed(&body).unwrap(), expected);
        body.extend_from_slice(&[0; 4]);
        assert_eq!(Registration::read_packed(&body).unwrap(), expected);
        assert_eq!(Registration::read(b""), Ok(Registration::default()));
    }

    #[test]
    fn topics_of_old_brokers_have_five_words() {
        let read = Registration::read_packed(&packed(&["A 1 2 6 SINGLE_TAG", "B 3 4 4 MULTI_TAG "])).unwrap();
        assert_eq!(read.topics.topics["A"].write_queues, 2);
        assert_eq!(read.topics.topics["B"].filter_type, "MULTI_TAG");
    }

    #[test]
    fn every_truncation_and_every_bad_topic_is_refused() {
        let whole = packed(&["A 1 2 6 SINGLE_TAG"]);
        for length in 0..whole.len() {
            assert!(Registration::read_packed(&whole[..length]).is_err(), "{length}");
        }
        for topic in ["", "A", "A x 2 6 SINGLE_TAG", "A 1 2 6", " 1 2 6 SINGLE_TAG", "A 1 2 6 SINGLE_TAG ["] {
            assert_eq!(
                Registration::read_packed(&packed(&[topic])),
                Err(BodyError::Malformed("topic")),
                "{topic}"
            );
        }
        let mut negative = whole.clone();
        negative[0] = 0x80;
        assert_eq!(Registration::read_packed(&negative), Err(BodyError::Malformed("data version")));
    }
}
