//! What each request to a name server means.
//!
//! A handler reads the request, asks the tables and answers; it decides nothing that a table could decide.
//!
//! Source: `ClientRequestProcessor.java`, `DefaultRequestProcessor.java`.

use std::collections::BTreeSet;
use std::time::Duration;

use ringmq_wire::json;
use ringmq_wire::request::admin::{TextTable, TopicList};
use ringmq_wire::request::kv::{
    ClusterTopics, DeleteTopicRoute, KvKey, KvNamespace, KvValue, PutKv, WritePerm, WritePermAdded,
    WritePermWiped,
};
use ringmq_wire::request::registration::{
    BrokerHeartbeat, BrokerIdentity, DataVersionReply, MemberGroup, MemberGroupReply, MemberGroupRequest,
    RegisterBroker, RegisterReply,
};
use ringmq_wire::request::route::{ClusterTable, Route, RouteBroker, RouteQueues, RouteRequest};
use ringmq_wire::request::topic::{DataVersion, TopicRequest};
use tracing::info;

use super::dispatch::{NameServer, Refusal, Request};
use super::kv::ORDER_TOPICS;
use super::limits::{BROKER_TIMEOUT_MAX, SCAN_EVERY};
use super::liveness::Member;
use super::places::QueueSpec;
use super::register_body;
use super::replies::Answer;
use super::route_table::{BrokerGroup, Registration, Zone};

/// Bit of a topic's system flag: it is a unit topic. (`TopicSysFlag.java`)
const FLAG_UNIT: i32 = 1;
/// Bit of a topic's system flag: units subscribe to it.
const FLAG_UNIT_SUBSCRIPTION: i32 = 2;

type Answered = Result<Answer, Refusal>;

/// For clients.
impl NameServer {
    pub(super) fn route(&self, request: Request<'_>) -> Answered {
        let RouteRequest { topic, zone, zone_mode, .. } = RouteRequest::decode(&request.head.fields)?;
        let zone = zone.filter(|zone| zone_mode && !zone.is_empty()).map(Zone);
        let route = self.routes.route(topic, zone).ok_or_else(|| Refusal::NoRoute(topic.to_owned()))?;
        let order = if self.order_topics { self.kv.get(ORDER_TOPICS, topic) } else { None };
        let route = Route {
            brokers: route.groups.iter().map(|(broker, group)| route_broker(broker, group)).collect(),
            order_topic_conf: order.map(str::to_owned),
            queues: route.places.iter().map(|(broker, spec)| route_queues(broker, *spec)).collect(),
            ..Route::default()
        };
        Ok(Answer::body(route.write()))
    }
}

/// For brokers.
impl NameServer {
    pub(super) fn register_broker(&mut self, request: Request<'_>) -> Answered {
        let header = RegisterBroker::decode(&request.head.fields)?;
        let table = register_body::read(&header, request.body)?.topics;
        let topics: Vec<(String, QueueSpec)> = table
            .topics
            .into_iter()
            .map(|(topic, definition)| {
                let spec = QueueSpec {
                    read_queues: definition.read_queues,
                    write_queues: definition.write_queues,
                    perm: definition.perm,
                    topic_sys_flag: definition.topic_sys_flag,
                };
                (topic, spec)
            })
            .collect();
        let registration = Registration {
            cluster: header.cluster_name,
            broker: header.broker_name,
            address: header.broker_address,
            id: header.broker_id,
            ha_address: header.ha_server_address,
            zone: header.zone_name,
            acting_master: header.enable_acting_master,
            timeout: match header.heartbeat_timeout_ms {
                Some(millis @ 1..) => Duration::from_millis(millis.unsigned_abs()).min(BROKER_TIMEOUT_MAX),
                _ => self.broker_timeout,
            },
            version: table.data_version,
            topics: &topics,
        };
        let is_new = self.routes.version(&Member::new(registration.cluster, registration.address)).is_none();
        let master = self.routes.register(&registration, request.conn, request.now.monotonic)?;
        if is_new {
            let Registration { cluster, broker, address, id, .. } = registration;
            info!(cluster, broker, id, address, topics = topics.len(), "broker registered");
        }
        let reply = RegisterReply {
            ha_server_address: master.as_ref().map(|master| master.ha_address.as_str()),
            master_address: master.as_ref().map(|master| master.address.as_str()),
        };
        let body =
            self.kv.namespace(ORDER_TOPICS).map(|table| json::write(&TextTable { table: table.clone() }));
        Ok(Answer::body(body.unwrap_or_default()).with(&reply.fields()))
    }

    pub(super) fn unregister_broker(&mut self, request: Request<'_>) -> Answered {
        let BrokerIdentity { broker_name, broker_address, cluster_name, .. } =
            BrokerIdentity::decode(&request.head.fields)?;
        self.routes.unregister(cluster_name, broker_name, broker_address);
        info!(cluster = cluster_name, broker = broker_name, address = broker_address, "broker unregistered");
        Ok(Answer::done())
    }

    /// A broker asks whether its topics are known, instead of sending them.
    pub(super) fn query_data_version(&mut self, request: Request<'_>) -> Answered {
        let broker = BrokerIdentity::decode(&request.head.fields)?;
        let theirs: DataVersion = json::read(request.body)?;
        let member = Member::new(broker.cluster_name, broker.broker_address);
        self.routes.renew(&member, request.now.monotonic);
        let ours = self.routes.version(&member);
        let reply = DataVersionReply { changed: ours != Some(theirs) };
        Ok(Answer::body(ours.map(|version| json::write(&version)).unwrap_or_default()).with(&reply.fields()))
    }

    pub(super) fn broker_heartbeat(&mut self, request: Request<'_>) -> Answered {
        let broker = BrokerHeartbeat::decode(&request.head.fields)?;
        self.routes.renew(&Member::new(broker.cluster_name, broker.broker_address), request.now.monotonic);
        Ok(Answer::done())
    }

    pub(super) fn broker_member_group(&self, request: Request<'_>) -> Answered {
        let MemberGroupRequest { cluster_name, broker_name } =
            MemberGroupRequest::decode(&request.head.fields)?;
        let group = self.routes.group(broker_name);
        Ok(Answer::body(json::write(&MemberGroupReply {
            broker_member_group: MemberGroup {
                addresses: group.map(|group| group.addresses.clone()).unwrap_or_default(),
                broker_name: broker_name.to_owned(),
                cluster: cluster_name.to_owned(),
            },
        })))
    }
}

/// For tools: brokers and topics.
impl NameServer {
    pub(super) fn clusters(&self) -> Answered {
        let brokers = self.routes.groups().map(|(name, group)| (name.to_owned(), route_broker(name, group)));
        let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
        let clusters =
            self.routes.clusters().into_iter().map(|(name, brokers)| (name.to_owned(), owned(brokers)));
        Ok(Answer::body(json::write(&ClusterTable {
            brokers: brokers.collect(),
            clusters: clusters.collect(),
        })))
    }

    pub(super) fn wipe_write_perm(&mut self, request: Request<'_>) -> Answered {
        let WritePerm { broker_name } = WritePerm::decode(&request.head.fields)?;
        let topics = count(self.routes.wipe_write_perm(broker_name));
        Ok(Answer::done().with(&WritePermWiped { topics }.fields()))
    }

    pub(super) fn add_write_perm(&mut self, request: Request<'_>) -> Answered {
        let WritePerm { broker_name } = WritePerm::decode(&request.head.fields)?;
        let topics = count(self.routes.add_write_perm(broker_name));
        Ok(Answer::done().with(&WritePermAdded { topics }.fields()))
    }

    pub(super) fn all_topics(&self) -> Answered {
        topic_list(None, self.routes.topics().map(|(topic, _)| topic))
    }

    pub(super) fn topics_of_cluster(&self, request: Request<'_>) -> Answered {
        let ClusterTopics { cluster } = ClusterTopics::decode(&request.head.fields)?;
        topic_list(None, self.routes.topics_of_cluster(cluster))
    }

    /// Names that clusters and brokers use as topics, and the address of some broker that has them.
    pub(super) fn system_topics(&self) -> Answered {
        let address = self.routes.groups().find_map(|(_, group)| group.addresses.values().next());
        let clusters = self.routes.clusters();
        let names = clusters.iter().flat_map(|(cluster, brokers)| std::iter::once(cluster).chain(brokers));
        topic_list(address.cloned(), names.copied())
    }

    pub(super) fn unit_topics(&self, belongs: impl Fn(bool, bool) -> bool) -> Answered {
        let belongs = |flag: i32| belongs(flag & FLAG_UNIT != 0, flag & FLAG_UNIT_SUBSCRIPTION != 0);
        topic_list(None, self.routes.topics().filter(|(_, flag)| belongs(*flag)).map(|(topic, _)| topic))
    }

    pub(super) fn delete_topic(&mut self, request: Request<'_>) -> Answered {
        let DeleteTopicRoute { topic, cluster } = DeleteTopicRoute::decode(&request.head.fields)?;
        self.routes.delete_topic(topic, cluster.filter(|cluster| !cluster.is_empty()));
        Ok(Answer::done())
    }

    pub(super) fn register_topic(&mut self, request: Request<'_>) -> Answered {
        let TopicRequest { topic } = TopicRequest::decode(&request.head.fields)?;
        let route: Route = json::read(request.body)?;
        let places: Vec<(String, QueueSpec)> = route
            .queues
            .into_iter()
            .map(|RouteQueues { broker_name, perm, read_queues, topic_sys_flag, write_queues }| {
                (broker_name, QueueSpec { read_queues, write_queues, perm, topic_sys_flag })
            })
            .collect();
        self.routes.place_topic(topic, &places)?;
        Ok(Answer::done())
    }
}

/// For tools: the KV table and settings.
impl NameServer {
    pub(super) fn put_kv(&mut self, request: Request<'_>) -> Answered {
        let PutKv { namespace, key, value } = PutKv::decode(&request.head.fields)?;
        self.kv.put(namespace, key, value)?;
        Ok(Answer::done())
    }

    pub(super) fn kv(&self, request: Request<'_>) -> Answered {
        let KvKey { namespace, key } = KvKey::decode(&request.head.fields)?;
        match self.kv.get(namespace, key) {
            Some(value) => Ok(Answer::done().with(&KvValue { value }.fields())),
            None => Err(Refusal::NoEntry { namespace: namespace.to_owned(), key: key.to_owned() }),
        }
    }

    pub(super) fn delete_kv(&mut self, request: Request<'_>) -> Answered {
        let KvKey { namespace, key } = KvKey::decode(&request.head.fields)?;
        self.kv.delete(namespace, key);
        Ok(Answer::done())
    }

    pub(super) fn kv_namespace(&self, request: Request<'_>) -> Answered {
        let KvNamespace { namespace } = KvNamespace::decode(&request.head.fields)?;
        match self.kv.namespace(namespace) {
            Some(table) => Ok(Answer::body(json::write(&TextTable { table: table.clone() }))),
            None => Err(Refusal::NoNamespace(namespace.to_owned())),
        }
    }

    /// As Java properties, with RocketMQ's names.
    pub(super) fn settings(&self) -> Answered {
        let text = format!(
            "deleteTopicWithBrokerRegistration=false\nenableAllTopicList=true\nenableTopicList=true\nlistenPort={}\n\
             orderMessageEnable={}\nreturnOrderTopicConfigToBroker=true\nscanNotActiveBrokerInterval={}\n\
             supportActingMaster=false\n",
            self.port,
            self.order_topics,
            SCAN_EVERY.as_millis(),
        );
        Ok(Answer::body(text.into_bytes()))
    }

    /// Of the settings, all or nothing: one that cannot be changed refuses the rest too.
    pub(super) fn update_settings(&mut self, request: Request<'_>) -> Answered {
        let text = String::from_utf8_lossy(request.body);
        let mut order_topics = self.order_topics;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some(("orderMessageEnable", value)) => order_topics = value.eq_ignore_ascii_case("true"),
                other => {
                    let key = other.map_or(line, |(key, _)| key);
                    return Err(Refusal::FixedSetting(key.chars().take(100).collect()));
                }
            }
        }
        self.order_topics = order_topics;
        Ok(Answer::done())
    }
}

fn route_broker(broker: &str, group: &BrokerGroup) -> RouteBroker {
    RouteBroker {
        addresses: group.addresses.clone(),
        broker_name: broker.to_owned(),
        cluster: group.cluster.clone(),
        enable_acting_master: group.acting_master,
        zone_name: group.zone.clone(),
    }
}

fn route_queues(broker: &str, spec: QueueSpec) -> RouteQueues {
    RouteQueues {
        broker_name: broker.to_owned(),
        perm: spec.perm,
        read_queues: spec.read_queues,
        topic_sys_flag: spec.topic_sys_flag,
        write_queues: spec.write_queues,
    }
}

fn topic_list<'a>(address: Option<String>, topics: impl Iterator<Item = &'a str>) -> Answered {
    let list = TopicList { broker_address: address, topics: topics.map(str::to_owned).collect() };
    Ok(Answer::body(json::write(&list)))
}

fn count(topics: usize) -> i32 {
    i32::try_from(topics).unwrap_or(i32::MAX)
}
