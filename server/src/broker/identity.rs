//! Who this broker is to the outside, and what its operator chose.
//!
//! Fixed for as long as the shard runs: there is no other place that a handler takes a setting from.
//! Source: `common/.../BrokerConfig.java`.

use std::net::SocketAddr;

use ringmq_wire::record::properties;

use super::waiting::rule::Waits;

/// Who this broker is. One per shard.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Name of the cluster (`brokerClusterName`).
    pub cluster: String,
    /// Name of this shard as a broker (`brokerName`).
    pub broker_name: String,
    /// Advertised address: in every record, in every message id, and registered with name servers. IPv4,
    /// because C++ clients read no other.
    pub store_host: SocketAddr,
    /// Region that producers are told (`regionId`).
    pub region: String,
    /// Our own version, for people: `RingMQ 0.1.0`.
    pub version: String,
    /// Different on every start; makes the unique keys that the broker gives unlike those before.
    pub nonce: u32,
}

/// Who may use the administration family of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Administration {
    /// Everyone who can connect, as Apache's broker without ACL.
    Anyone,
    /// Only connections from this machine.
    ThisMachine,
}

/// What the operator chose. One per shard.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A send to an unknown topic creates it after the pattern of its default topic (`autoCreateTopicEnable`).
    pub auto_create_topic: bool,
    /// A heartbeat or pull of an unknown group creates it (`autoCreateSubscriptionGroup`).
    pub auto_create_group: bool,
    /// Queues of `TBW102`, and so at most of an automatically created topic (`defaultTopicQueueNums`).
    pub default_topic_queues: u32,
    /// Consumers may subscribe by a condition on properties (`enablePropertyFilter`).
    pub property_filter: bool,
    /// Producers are told to trace (`traceOn`).
    pub trace_on: bool,
    /// Who may administer.
    pub administration: Administration,
    /// Delay levels and timers.
    pub waits: Waits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            auto_create_topic: true,
            auto_create_group: true,
            default_topic_queues: 8,
            property_filter: true,
            trace_on: true,
            administration: Administration::Anyone,
            waits: Waits::default(),
        }
    }
}

/// The properties that every message gets from the broker that stores it, encoded.
pub(super) fn stamp(identity: &Identity, settings: &Settings) -> Box<[u8]> {
    let mut stamp = Vec::new();
    properties::push(properties::MSG_REGION, &identity.region, &mut stamp);
    properties::push(properties::TRACE_ON, if settings.trace_on { "true" } else { "false" }, &mut stamp);
    properties::push(properties::CLUSTER, &identity.cluster, &mut stamp);
    stamp.into()
}
