//! Routes: GET_ROUTEINFO_BY_TOPIC (105) and GET_BROKER_CLUSTER_INFO (106).
//!
//!     {"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.2:10911"},"brokerName":"broker-a","cluster":"DefaultCluster",
//!      "enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,
//!      "readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}
//!
//! Invariants
//!  1. What is written is compact and its map keys are quoted: Go takes `brokerAddrs` apart by splitting its text.
//!  2. Non-ASCII characters are written as escapes, as a name server's standard form has them.
//!  3. What is read may have bare number keys, as name servers write them for clients before 4.9.4.
//!
//! Source: `TopicRouteData.java`, `QueueData.java`, `BrokerData.java`, `ClusterInfo.java`,
//! `GetRouteInfoRequestHeader.java`, `namesrv/.../route/ZoneRouteRPCHook.java`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::header;
use crate::json::{self, tolerant};

header! {
    /// GET_ROUTEINFO_BY_TOPIC (105).
    RouteRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The client reads quoted map keys; others do as well.
        standard_json: bool = "acceptStandardJsonOnly",
        /// The client's zone.
        zone: Option<&'a str> = "__ZONE_NAME",
        /// Only brokers of that zone are wanted.
        zone_mode: bool = "__ZONE_MODE",
    }
}

/// Where a topic's queues are (RocketMQ: TopicRouteData).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Route {
    /// The brokers that `queues` names.
    #[serde(rename = "brokerDatas", deserialize_with = "tolerant::nullable")]
    pub brokers: Vec<RouteBroker>,
    /// Legacy; always empty.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// `broker:queues;broker:queues` for an order topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    /// One entry for each broker that has the topic.
    #[serde(rename = "queueDatas", deserialize_with = "tolerant::nullable")]
    pub queues: Vec<RouteQueues>,
}

impl Route {
    /// Writes the body that every client reads.
    pub fn write(&self) -> Vec<u8> {
        json::ascii(json::write(self))
    }
}

/// The queues of a topic on one broker (RocketMQ: QueueData).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteQueues {
    /// The broker.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub broker_name: String,
    /// 4 read, 2 write, 1 inherit.
    #[serde(deserialize_with = "tolerant::number")]
    pub perm: i32,
    /// Queues that consumers see.
    #[serde(rename = "readQueueNums", deserialize_with = "tolerant::number")]
    pub read_queues: i32,
    /// 1: unit topic; 2: has unit subscriptions. Go and old brokers spell it `topicSynFlag`.
    #[serde(alias = "topicSynFlag", deserialize_with = "tolerant::number")]
    pub topic_sys_flag: i32,
    /// Queues that producers see.
    #[serde(rename = "writeQueueNums", deserialize_with = "tolerant::number")]
    pub write_queues: i32,
}

/// A broker and its replicas (RocketMQ: BrokerData).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteBroker {
    /// By broker id; 0 is the master, without which nobody can send.
    #[serde(rename = "brokerAddrs", deserialize_with = "tolerant::nullable")]
    pub addresses: BTreeMap<i64, String>,
    /// The broker.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub broker_name: String,
    /// Its cluster.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub cluster: String,
    /// Its lowest replica stands in for a missing master.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub enable_acting_master: bool,
    /// Its zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// All brokers (RocketMQ: ClusterInfo): the answer to 106.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterTable {
    /// By broker name.
    #[serde(rename = "brokerAddrTable", deserialize_with = "tolerant::nullable")]
    pub brokers: BTreeMap<String, RouteBroker>,
    /// Broker names by cluster.
    #[serde(rename = "clusterAddrTable", deserialize_with = "tolerant::nullable")]
    pub clusters: BTreeMap<String, Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.2:10911","1":"10.0.0.3:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#;

    fn example() -> Route {
        Route {
            brokers: vec![RouteBroker {
                addresses: BTreeMap::from([(0, "10.0.0.2:10911".into()), (1, "10.0.0.3:10911".into())]),
                broker_name: "broker-a".into(),
                cluster: "DefaultCluster".into(),
                ..RouteBroker::default()
            }],
            queues: vec![RouteQueues {
                broker_name: "broker-a".into(),
                perm: 6,
                read_queues: 4,
                topic_sys_flag: 0,
                write_queues: 4,
            }],
            ..Route::default()
        }
    }

    #[test]
    fn rule_07_a_route_is_compact_with_quoted_keys_and_a_flat_address_map() {
        assert_eq!(String::from_utf8(example().write()).unwrap(), EXAMPLE);
        assert_eq!(json::read(EXAMPLE.as_bytes()), Ok(example()));
    }

    #[test]
    fn rule_08_the_master_of_a_broker_is_written_under_id_0_first() {
        let written = String::from_utf8(example().write()).unwrap();
        assert!(written.contains(r#""brokerAddrs":{"0":"10.0.0.2:10911","#));
    }

    #[test]
    fn routes_of_old_name_servers_have_bare_keys_and_old_spellings() {
        let old =
            EXAMPLE.replace("\"0\":", "0:").replace("\"1\":", "1:").replace("topicSysFlag", "topicSynFlag");
        assert_eq!(json::read(old.as_bytes()), Ok(example()));
        let null = r#"{"orderTopicConf":null,"queueDatas":null,"brokerDatas":null,"topicQueueMappingByBroker":null}"#;
        assert_eq!(json::read(null.as_bytes()), Ok(Route::default()));
    }

    #[test]
    fn characters_beyond_ascii_are_written_as_escapes() {
        let mut route = example();
        route.brokers[0].cluster = "中😀".into();
        let written = route.write();
        assert!(written.is_ascii());
        assert!(String::from_utf8(written.clone()).unwrap().contains(r#""cluster":"\u4e2d\ud83d\ude00""#));
        assert_eq!(json::read(&written), Ok(route));
    }

    #[test]
    fn a_cluster_table_is_written_and_read() {
        let body = r#"{"brokerAddrTable":{"broker-a":{"brokerAddrs":{"0":"10.0.0.2:10911"},"brokerName":"broker-a","cluster":"C","enableActingMaster":false}},"clusterAddrTable":{"C":["broker-a"]}}"#;
        let table: ClusterTable = json::read(body.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(json::write(&table)).unwrap(), body);
        assert_eq!(json::read(body.replace("\"0\":", "0:").as_bytes()), Ok(table));
    }
}
