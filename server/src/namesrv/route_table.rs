//! What brokers have registered: topics, broker groups, clusters. Pure.
//!
//! ```text
//! places:  topic  → broker name → queues and permissions     ([`super::places`])
//! groups:  broker name → cluster, id → address           (id 0 is the master)
//! live:    (cluster, address) → lease
//! ```
//!
//! Invariants
//!  1. Every address of a group holds a lease, and every lease belongs to an address of exactly one group: a
//!     broker name belongs to one cluster and an address to one name, those of the last registration.
//!  2. A group has at least one address; the end of its last one removes it and its places.
//!
//! A topic that a broker no longer lists stays where it is: brokers also register single topics after a
//! change, so absence says nothing. Deleting a topic is a request of its own (216).
//!
//! Not here: which topics are on which brokers (`places`); acting masters (`supportActingMaster`) beyond taking write permission away; static topics.
//!
//! Source: `namesrv/.../routeinfo/RouteInfoManager.java`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::request::topic::DataVersion;

use super::limits::{BROKERS_MAX, NAME_BYTES_MAX, TOPIC_PLACES_MAX};
use super::liveness::{Lease, Liveness, Member};
use super::places::{Places, QueueSpec};

/// Bit of a permission: producers may send. (`PermName.PERM_WRITE`)
const PERM_WRITE: i32 = 2;
/// What a broker is given back when its write permission returns: read and write.
const PERM_READ_WRITE: i32 = 6;
/// Id of a master. (`MixAll.MASTER_ID`)
const MASTER_ID: i64 = 0;

/// All that brokers have said. One per name server.
#[derive(Debug, Default)]
pub struct RouteTable {
    places: Places,
    groups: BTreeMap<String, BrokerGroup>,
    live: Liveness,
}

/// A broker and its slaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerGroup {
    /// The cluster it belongs to.
    pub cluster: String,
    /// Id → `ip:port`.
    pub addresses: BTreeMap<i64, String>,
    /// Where it stands, if it said so.
    pub zone: Option<String>,
    /// Its lowest slave may act for the master.
    pub acting_master: bool,
}

impl BrokerGroup {
    fn holds(&self, cluster: &str, address: &str) -> bool {
        self.cluster == cluster && self.addresses.values().any(|held| held == address)
    }
}

/// A broker's registration.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'a> {
    /// Cluster name.
    pub cluster: &'a str,
    /// Broker name.
    pub broker: &'a str,
    /// `ip:port` that clients use.
    pub address: &'a str,
    /// 0 for a master.
    pub id: i64,
    /// Where slaves replicate from.
    pub ha_address: &'a str,
    /// Where it stands.
    pub zone: Option<&'a str>,
    /// `None` from brokers before 5.0.
    pub acting_master: Option<bool>,
    /// Silence that ends it.
    pub timeout: Duration,
    /// Of the topics.
    pub version: DataVersion,
    /// All topics, or the one that changed.
    pub topics: &'a [(String, QueueSpec)],
}

/// What a registered broker learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Its address.
    pub address: String,
    /// Where it is replicated from.
    pub ha_address: String,
}

/// Why a registration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// One topic from a broker that we do not know: a change, sent to a name server that has restarted since.
    #[error("register broker failed: {0} is not registered yet and sent a single topic")]
    SingleTopicFromStranger(String),
    /// See [`super::limits`].
    #[error("register broker failed: {what} exceeds {max}")]
    Bound {
        /// What there would be too much of.
        what: &'static str,
        /// The bound.
        max: usize,
    },
}

/// Where a topic is, for a client.
#[derive(Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// Broker name and queues, by name.
    pub places: Vec<(&'a str, QueueSpec)>,
    /// The groups of those names.
    pub groups: Vec<(&'a str, &'a BrokerGroup)>,
}

/// A client that wants only brokers of its zone. (`ZoneRouteRPCHook`)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone<'a>(pub &'a str);

impl RouteTable {
    /// Takes a registration. A slave learns its master.
    pub fn register(
        &mut self,
        registration: &Registration<'_>,
        conn: ConnId,
        now: Duration,
    ) -> Result<Option<Master>, RegisterError> {
        let Registration { cluster, broker, address, id, .. } = *registration;
        self.check_bounds(registration)?;
        let member = Member::new(cluster, address);
        if self.groups.get(broker).is_some_and(|group| group.cluster != cluster) {
            self.forget_group(broker);
        }
        let is_renamed = self.groups.get(broker).is_none_or(|group| !group.holds(cluster, address));
        if is_renamed && self.live.lease(&member).is_some() {
            self.unregister_member(&member);
        }

        let before = self.groups.get(broker).map(|group| &group.addresses);
        let holder = before.and_then(|addresses| addresses.get(&id)).filter(|holder| *holder != address);
        let lease = holder.and_then(|holder| self.live.lease(&Member::new(cluster, holder)));
        if lease.is_some_and(|lease| lease.version.state_version > registration.version.state_version) {
            // A newer master holds this id: the older one is answered, but no longer believed.
            self.unregister(cluster, broker, address);
            return Ok(None);
        }
        // What an address was before (a slave that became master) does not count as known.
        let known = before.is_some_and(|addresses| addresses.contains_key(&id));
        if !known && registration.topics.len() == 1 {
            return Err(RegisterError::SingleTopicFromStranger(broker.to_owned()));
        }
        if let Some(replaced) = holder.cloned() {
            self.live.end(&Member::new(cluster, &replaced));
        }

        let group = self.groups.entry(broker.to_owned()).or_insert_with(|| BrokerGroup {
            cluster: cluster.to_owned(),
            addresses: BTreeMap::new(),
            zone: None,
            acting_master: false,
        });
        group.zone = registration.zone.map(str::to_owned);
        group.acting_master = registration.acting_master.unwrap_or(false);
        group.addresses.retain(|other, held| held != address || *other == id);
        group.addresses.insert(id, address.to_owned());

        let is_lowest = group.addresses.first_key_value().is_some_and(|(lowest, _)| *lowest == id);
        let acts = id != MASTER_ID && registration.acting_master.is_some() && is_lowest;
        if id == MASTER_ID || acts {
            let read_only = acts && group.acting_master;
            let unchanged =
                known && self.live.lease(&member).is_some_and(|lease| lease.version == registration.version);
            for (topic, spec) in registration.topics {
                if !unchanged || !self.places.has(topic, broker) {
                    let perm = if read_only { spec.perm & !PERM_WRITE } else { spec.perm };
                    self.places.put(topic, broker, QueueSpec { perm, ..*spec });
                }
            }
        }

        let lease = Lease {
            renewed: now,
            timeout: registration.timeout,
            version: registration.version,
            conn,
            ha_address: registration.ha_address.to_owned(),
        };
        self.live.grant(member, lease);
        Ok(if id == MASTER_ID { None } else { self.master(broker) })
    }

    /// Takes an address out, and what depended on it. Nothing if it is not there.
    pub fn unregister(&mut self, cluster: &str, broker: &str, address: &str) {
        let Some(group) = self.groups.get_mut(broker).filter(|group| group.holds(cluster, address)) else {
            return;
        };
        self.live.end(&Member::new(cluster, address));
        group.addresses.retain(|_, held| held != address);
        if group.addresses.is_empty() {
            self.forget_group(broker);
        } else if group.acting_master && !group.addresses.contains_key(&MASTER_ID) {
            // Without its master the group may be read but not written.
            self.wipe_write_perm(broker);
        }
    }

    /// Takes out the brokers that registered over a connection; their names.
    pub fn connection_closed(&mut self, conn: ConnId) -> Vec<Member> {
        let gone = self.live.of_connection(conn);
        gone.iter().for_each(|member| self.unregister_member(member));
        gone
    }

    /// Takes out brokers that have been silent for too long; their names.
    pub fn expire(&mut self, now: Duration) -> Vec<Member> {
        let gone = self.live.silent(now);
        gone.iter().for_each(|member| self.unregister_member(member));
        gone
    }

    /// A broker was heard of.
    pub fn renew(&mut self, member: &Member, now: Duration) {
        self.live.renew(member, now);
    }

    /// The version of the topics that a broker registered.
    pub fn version(&self, member: &Member) -> Option<DataVersion> {
        self.live.lease(member).map(|lease| lease.version)
    }

    /// Where a topic is; `None` if no broker that is alive has it.
    pub fn route(&self, topic: &str, zone: Option<Zone<'_>>) -> Option<Route<'_>> {
        let in_zone = |group: &BrokerGroup| match zone {
            None => true,
            // Without a master a broker is only read, and may be read from anywhere.
            Some(Zone(zone)) => {
                !group.addresses.contains_key(&MASTER_ID)
                    || group.zone.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(zone))
            }
        };
        let places = self.places.of_topic(topic)?;
        let groups: Vec<(&str, &BrokerGroup)> = places
            .keys()
            .filter_map(|broker| self.groups.get_key_value(broker))
            .map(|(broker, group)| (broker.as_str(), group))
            .collect();
        if groups.is_empty() {
            return None;
        }
        let groups: Vec<_> = groups.into_iter().filter(|(_, group)| in_zone(group)).collect();
        let is_elsewhere = |broker: &str| self.groups.get(broker).is_some_and(|group| !in_zone(group));
        let places = places
            .iter()
            .filter(|(broker, _)| !is_elsewhere(broker))
            .map(|(broker, spec)| (broker.as_str(), *spec))
            .collect();
        Some(Route { places, groups })
    }

    /// All groups, by broker name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &BrokerGroup)> {
        self.groups.iter().map(|(broker, group)| (broker.as_str(), group))
    }

    /// The group of a broker name.
    pub fn group(&self, broker: &str) -> Option<&BrokerGroup> {
        self.groups.get(broker)
    }

    /// Clusters and the broker names in each.
    pub fn clusters(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut clusters: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (broker, group) in &self.groups {
            clusters.entry(&group.cluster).or_default().insert(broker);
        }
        clusters
    }

    /// All topics, with the system flag of their first place.
    pub fn topics(&self) -> impl Iterator<Item = (&str, i32)> {
        self.places.iter().map(|(topic, places)| {
            (topic, places.first_key_value().map_or(0, |(_, spec)| spec.topic_sys_flag))
        })
    }

    /// Topics that some broker of a cluster has.
    pub fn topics_of_cluster(&self, cluster: &str) -> impl Iterator<Item = &str> {
        let inside =
            move |broker: &String| self.groups.get(broker).is_some_and(|group| group.cluster == cluster);
        self.places.iter().filter(move |(_, places)| places.keys().any(inside)).map(|(topic, _)| topic)
    }

    /// Forgets a topic, everywhere or in one cluster. Brokers that still have it bring it back when they change.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let groups = &self.groups;
        self.places.retain_of_topic(topic, |broker| match cluster {
            Some(cluster) => groups.get(broker).is_none_or(|group| group.cluster != cluster),
            None => false,
        });
    }

    /// Places a topic on brokers that are registered; names that are not are passed over.
    pub fn place_topic(&mut self, topic: &str, places: &[(String, QueueSpec)]) -> Result<(), RegisterError> {
        self.check_room(places.len())?;
        check_name(topic)?;
        for (broker, spec) in places {
            if self.groups.contains_key(broker) {
                self.places.put(topic, broker, *spec);
            }
        }
        Ok(())
    }

    /// Takes the write permission of a broker away from all its topics; how many topics it has.
    pub fn wipe_write_perm(&mut self, broker: &str) -> usize {
        self.places.change_perm(broker, |perm| perm & !PERM_WRITE)
    }

    /// Gives it back; how many topics it has.
    pub fn add_write_perm(&mut self, broker: &str) -> usize {
        self.places.change_perm(broker, |_| PERM_READ_WRITE)
    }

    fn forget_group(&mut self, broker: &str) {
        let Some(group) = self.groups.remove(broker) else { return };
        for address in group.addresses.values() {
            self.live.end(&Member::new(&group.cluster, address));
        }
        self.places.forget_broker(broker);
    }

    fn unregister_member(&mut self, member: &Member) {
        let holder = self.groups.iter().find(|(_, group)| group.holds(&member.cluster, &member.address));
        let broker = holder.map(|(broker, _)| broker.clone()).expect("every lease belongs to a group");
        self.unregister(&member.cluster, &broker, &member.address);
    }

    fn master(&self, broker: &str) -> Option<Master> {
        let group = self.groups.get(broker)?;
        let address = group.addresses.get(&MASTER_ID)?;
        let lease = self.live.lease(&Member::new(&group.cluster, address))?;
        Some(Master { address: address.clone(), ha_address: lease.ha_address.clone() })
    }

    fn check_bounds(&self, registration: &Registration<'_>) -> Result<(), RegisterError> {
        let Registration { cluster, broker, address, ha_address, zone, topics, .. } = *registration;
        for name in [cluster, broker, address, ha_address, zone.unwrap_or_default()] {
            check_name(name)?;
        }
        topics.iter().try_for_each(|(topic, _)| check_name(topic))?;
        if self.live.lease(&Member::new(cluster, address)).is_none() && self.live.len() >= BROKERS_MAX {
            return Err(RegisterError::Bound { what: "the number of brokers", max: BROKERS_MAX });
        }
        self.check_room(topics.iter().filter(|(topic, _)| !self.places.has(topic, broker)).count())
    }

    fn check_room(&self, more: usize) -> Result<(), RegisterError> {
        if self.places.count() + more > TOPIC_PLACES_MAX {
            return Err(RegisterError::Bound {
                what: "the number of topics on brokers",
                max: TOPIC_PLACES_MAX,
            });
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), RegisterError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(RegisterError::Bound { what: "the length of a name", max: NAME_BYTES_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
