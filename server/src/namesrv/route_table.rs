//! What brokers have registered: topics, broker groups, clusters. Pure.
//!
//! ```text
//! places:  topic  → broker name → queues and permissions
//! groups:  broker name → cluster, id → address           (id 0 is the master)
//! live:    (cluster, address) → lease
//! ```
//!
//! Invariants
//!  1. Every address of a group holds a lease, and every lease belongs to an address of exactly one group: a
//!     broker name belongs to one cluster and an address to one name, those of the last registration.
//!  2. A group has at least one address; the end of its last one removes it and its places.
//!  3. A topic has at least one place.
//!
//! A topic that a broker no longer lists stays where it is: brokers also register single topics after a
//! change, so absence says nothing. Deleting a topic is a request of its own (216).
//!
//! Not here: acting masters (`supportActingMaster`) beyond taking write permission away; static topics.
//!
//! Source: `namesrv/.../routeinfo/RouteInfoManager.java`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::request::topic::DataVersion;

use super::limits::{BROKERS_MAX, NAME_BYTES_MAX, TOPIC_PLACES_MAX};
use super::liveness::{Lease, Liveness, Member};

/// Bit of a permission: producers may send. (`PermName.PERM_WRITE`)
const PERM_WRITE: i32 = 2;
/// What a broker is given back when its write permission returns: read and write.
const PERM_READ_WRITE: i32 = 6;
/// Id of a master. (`MixAll.MASTER_ID`)
const MASTER_ID: i64 = 0;

/// All that brokers have said. One per name server.
#[derive(Debug, Default)]
pub struct RouteTable {
    places: BTreeMap<String, BTreeMap<String, QueueSpec>>,
    places_count: usize,
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

/// A topic's queues on one broker. (`QueueData.java`)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueSpec {
    /// Queues that consumers are told of.
    pub read_queues: i32,
    /// Queues that producers are told of.
    pub write_queues: i32,
    /// What the route says may be done, as bits.
    pub perm: i32,
    /// Unit bits.
    pub topic_sys_flag: i32,
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
                let has_place = self.places.get(topic).is_some_and(|places| places.contains_key(broker));
                if !unchanged || !has_place {
                    let perm = if read_only { spec.perm & !PERM_WRITE } else { spec.perm };
                    self.place(topic, broker, QueueSpec { perm, ..*spec });
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
            self.change_perm(broker, |perm| perm & !PERM_WRITE);
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
        let places = self.places.get(topic)?;
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
            (topic.as_str(), places.first_key_value().map_or(0, |(_, spec)| spec.topic_sys_flag))
        })
    }

    /// Topics that some broker of a cluster has.
    pub fn topics_of_cluster(&self, cluster: &str) -> impl Iterator<Item = &str> {
        let inside =
            move |broker: &String| self.groups.get(broker).is_some_and(|group| group.cluster == cluster);
        self.places
            .iter()
            .filter(move |(_, places)| places.keys().any(inside))
            .map(|(topic, _)| topic.as_str())
    }

    /// Forgets a topic, everywhere or in one cluster. Brokers that still have it bring it back when they change.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(places) = self.places.get_mut(topic) else { return };
        let groups = &self.groups;
        let before = places.len();
        places.retain(|broker, _| match cluster {
            Some(cluster) => groups.get(broker).is_none_or(|group| group.cluster != cluster),
            None => false,
        });
        self.places_count -= before - places.len();
        if places.is_empty() {
            self.places.remove(topic);
        }
    }

    /// Places a topic on brokers that are registered; names that are not are passed over.
    pub fn place_topic(&mut self, topic: &str, places: &[(String, QueueSpec)]) -> Result<(), RegisterError> {
        self.check_room(places.len())?;
        check_name(topic)?;
        for (broker, spec) in places {
            if self.groups.contains_key(broker) {
                self.place(topic, broker, *spec);
            }
        }
        Ok(())
    }

    /// Takes the write permission of a broker away from all its topics; how many topics it has.
    pub fn wipe_write_perm(&mut self, broker: &str) -> usize {
        self.change_perm(broker, |perm| perm & !PERM_WRITE)
    }

    /// Gives it back; how many topics it has.
    pub fn add_write_perm(&mut self, broker: &str) -> usize {
        self.change_perm(broker, |_| PERM_READ_WRITE)
    }

    fn change_perm(&mut self, broker: &str, change: impl Fn(i32) -> i32) -> usize {
        let specs = self.places.values_mut().filter_map(|places| places.get_mut(broker));
        specs.map(|spec| spec.perm = change(spec.perm)).count()
    }

    fn place(&mut self, topic: &str, broker: &str, spec: QueueSpec) {
        let places = match self.places.get_mut(topic) {
            Some(places) => places,
            None => self.places.entry(topic.to_owned()).or_default(),
        };
        let is_new = places.insert(broker.to_owned(), spec).is_none();
        self.places_count += usize::from(is_new);
    }

    fn forget_group(&mut self, broker: &str) {
        let Some(group) = self.groups.remove(broker) else { return };
        for address in group.addresses.values() {
            self.live.end(&Member::new(&group.cluster, address));
        }
        let mut count = 0;
        self.places.retain(|_, places| {
            places.remove(broker);
            count += places.len();
            !places.is_empty()
        });
        self.places_count = count;
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
        let has = |topic: &str| self.places.get(topic).is_some_and(|places| places.contains_key(broker));
        self.check_room(topics.iter().filter(|(topic, _)| !has(topic)).count())
    }

    fn check_room(&self, more: usize) -> Result<(), RegisterError> {
        if self.places_count + more > TOPIC_PLACES_MAX {
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
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn conn(slot: u32) -> ConnId {
        ConnId { slot, generation: 0 }
    }

    fn topics(names: &[&str]) -> Vec<(String, QueueSpec)> {
        let spec = QueueSpec { read_queues: 4, write_queues: 4, perm: 6, topic_sys_flag: 0 };
        names.iter().map(|name| ((*name).to_owned(), spec)).collect()
    }

    /// A registration of `broker` under `id`, from `address`, whose topics have the version `counter`.
    fn from<'a>(
        broker: &'a str,
        id: i64,
        address: &'a str,
        counter: i64,
        topics: &'a [(String, QueueSpec)],
    ) -> Registration<'a> {
        Registration {
            cluster: "c",
            broker,
            address,
            id,
            ha_address: "ha",
            zone: None,
            acting_master: None,
            timeout: Duration::from_secs(120),
            version: DataVersion { counter, ..DataVersion::default() },
            topics,
        }
    }

    impl RouteTable {
        fn taken(&mut self, registration: Registration<'_>, slot: u32) -> Option<Master> {
            let master = self.register(&registration, conn(slot), NOW).expect("taken");
            self.check_invariants();
            master
        }

        fn check_invariants(&self) {
            let addresses: usize = self.groups.values().map(|group| group.addresses.len()).sum();
            assert_eq!(addresses, self.live.len());
            for group in self.groups.values() {
                assert!(!group.addresses.is_empty());
                for address in group.addresses.values() {
                    assert!(self.live.lease(&Member::new(&group.cluster, address)).is_some());
                }
            }
            assert!(self.places.values().all(|places| !places.is_empty()));
            assert_eq!(self.places.values().map(BTreeMap::len).sum::<usize>(), self.places_count);
        }

        /// Addresses and permission of a topic on its only broker: `0=a 1=b perm 6`.
        fn shown(&self, topic: &str) -> String {
            let Some(route) = self.route(topic, None) else { return "nowhere".to_owned() };
            let addresses = route.groups.iter().flat_map(|(_, group)| &group.addresses);
            let addresses: Vec<String> = addresses.map(|(id, address)| format!("{id}={address}")).collect();
            let perms: Vec<String> = route.places.iter().map(|(_, spec)| spec.perm.to_string()).collect();
            format!("{} perm {}", addresses.join(" "), perms.join(" "))
        }
    }

    #[test]
    fn a_topic_is_where_brokers_say() {
        let mut table = RouteTable::default();
        table.taken(from("a", 0, "a:1", 1, &topics(&["T", "U"])), 1);
        table.taken(from("b", 0, "b:1", 1, &topics(&["T", "V"])), 2);
        let route = table.route("T", None).unwrap();
        assert_eq!(route.places.iter().map(|(broker, _)| *broker).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(route.groups.len(), 2);
        assert_eq!(table.route("U", None).unwrap().groups.len(), 1);
        assert_eq!(table.route("W", None), None);
    }

    #[test]
    fn topics_change_only_with_the_version() {
        let mut table = RouteTable::default();
        let mut known = topics(&["T", "U"]);
        table.taken(from("a", 0, "a:1", 1, &known), 1);
        known[0].1.perm = 4;
        table.taken(from("a", 0, "a:1", 1, &known), 1);
        assert_eq!(table.shown("T"), "0=a:1 perm 6");
        table.taken(from("a", 0, "a:1", 2, &known), 1);
        assert_eq!(table.shown("T"), "0=a:1 perm 4");
        // A place that is missing is filled even so: somebody may have deleted the topic here.
        table.delete_topic("T", None);
        table.taken(from("a", 0, "a:1", 2, &known), 1);
        assert_eq!(table.shown("T"), "0=a:1 perm 4");
    }

    #[test]
    fn a_single_topic_needs_a_known_broker() {
        let mut table = RouteTable::default();
        let refused = table.register(&from("a", 0, "a:1", 1, &topics(&["T"])), conn(1), NOW);
        assert_eq!(refused, Err(RegisterError::SingleTopicFromStranger("a".to_owned())));
        table.check_invariants();
        table.taken(from("a", 0, "a:1", 1, &topics(&["T", "U"])), 1);
        table.taken(from("a", 0, "a:1", 2, &topics(&["V"])), 1);
        assert_eq!(table.shown("V"), "0=a:1 perm 6");
        assert_eq!(table.shown("T"), "0=a:1 perm 6", "a topic that is not listed stays");
    }

    #[test]
    fn a_slave_learns_its_master_and_may_become_one() {
        let mut table = RouteTable::default();
        let known = topics(&["T", "U"]);
        table.taken(from("a", 0, "m:1", 1, &known), 1);
        let master = table.taken(from("a", 1, "s:1", 1, &topics(&[])), 2);
        assert_eq!(master, Some(Master { address: "m:1".to_owned(), ha_address: "ha".to_owned() }));
        assert_eq!(table.shown("T"), "0=m:1 1=s:1 perm 6");
        table.connection_closed(conn(1));
        assert_eq!(table.shown("T"), "1=s:1 perm 6");
        table.taken(from("a", 0, "s:1", 2, &known), 2);
        assert_eq!(table.shown("T"), "0=s:1 perm 6");
    }

    #[test]
    fn an_older_master_is_not_believed() {
        let mut table = RouteTable::default();
        let known = topics(&["T", "U"]);
        let newer = DataVersion { state_version: 2, ..DataVersion::default() };
        table.taken(Registration { version: newer, ..from("a", 0, "new:1", 0, &known) }, 1);
        table.taken(from("a", 0, "old:1", 9, &known), 2);
        assert_eq!(table.shown("T"), "0=new:1 perm 6");
        let newest = DataVersion { state_version: 3, ..DataVersion::default() };
        table.taken(Registration { version: newest, ..from("a", 0, "old:1", 0, &known) }, 2);
        assert_eq!(table.shown("T"), "0=old:1 perm 6");
    }

    #[test]
    fn the_last_address_takes_the_topics_with_it() {
        let mut table = RouteTable::default();
        table.taken(from("a", 0, "a:1", 1, &topics(&["T", "U"])), 1);
        table.taken(from("b", 0, "b:1", 1, &topics(&["T", "V"])), 2);
        table.unregister("c", "a", "somewhere else");
        table.unregister("another cluster", "a", "a:1");
        assert_eq!(table.shown("U"), "0=a:1 perm 6");
        table.unregister("c", "a", "a:1");
        table.check_invariants();
        assert_eq!(table.shown("U"), "nowhere");
        assert_eq!(table.shown("T"), "0=b:1 perm 6");
    }

    #[test]
    fn a_silent_broker_goes_and_a_heard_one_stays() {
        let mut table = RouteTable::default();
        table.taken(from("a", 0, "a:1", 1, &topics(&["T", "U"])), 1);
        table.taken(from("b", 0, "b:1", 1, &topics(&["V", "W"])), 2);
        table.renew(&Member::new("c", "b:1"), NOW + Duration::from_secs(60));
        assert_eq!(table.expire(NOW + Duration::from_secs(120)), []);
        assert_eq!(table.expire(NOW + Duration::from_secs(121)), [Member::new("c", "a:1")]);
        table.check_invariants();
        assert_eq!((table.shown("T").as_str(), table.shown("V").as_str()), ("nowhere", "0=b:1 perm 6"));
    }

    #[test]
    fn the_lowest_slave_that_may_act_is_read_only() {
        let mut table = RouteTable::default();
        let known = topics(&["T", "U"]);
        let acting = |registration| Registration { acting_master: Some(true), ..registration };
        table.taken(acting(from("a", 0, "m:1", 1, &known)), 1);
        table.taken(acting(from("a", 1, "s:1", 1, &known)), 2);
        assert_eq!(table.shown("T"), "0=m:1 1=s:1 perm 6");
        table.connection_closed(conn(1));
        assert_eq!(table.shown("T"), "1=s:1 perm 4");
        table.taken(acting(from("a", 1, "s:1", 2, &known)), 2);
        assert_eq!(table.shown("T"), "1=s:1 perm 4");
        table.taken(acting(from("a", 0, "m:1", 3, &known)), 3);
        assert_eq!(table.shown("T"), "0=m:1 1=s:1 perm 6");
    }

    #[test]
    fn a_broker_name_moves_to_another_cluster_whole() {
        let mut table = RouteTable::default();
        table.taken(from("a", 0, "a:1", 1, &topics(&["T", "U"])), 1);
        table.taken(from("a", 1, "a:2", 1, &topics(&[])), 2);
        table.taken(Registration { cluster: "d", ..from("a", 0, "a:1", 1, &topics(&["V", "W"])) }, 1);
        assert_eq!((table.shown("T").as_str(), table.shown("V").as_str()), ("nowhere", "0=a:1 perm 6"));
        assert_eq!(table.clusters().into_keys().collect::<Vec<_>>(), ["d"]);
    }

    #[test]
    fn an_address_under_another_name_is_no_longer_under_the_first() {
        let mut table = RouteTable::default();
        table.taken(from("a", 0, "a:1", 1, &topics(&["T", "U"])), 1);
        table.taken(from("b", 0, "a:1", 1, &topics(&["V", "W"])), 2);
        assert_eq!((table.shown("T").as_str(), table.shown("V").as_str()), ("nowhere", "0=a:1 perm 6"));
    }

    #[test]
    fn a_zone_sees_its_own_brokers_and_those_without_master() {
        let mut table = RouteTable::default();
        let known = topics(&["T", "U"]);
        table.taken(Registration { zone: Some("east"), ..from("a", 0, "a:1", 1, &known) }, 1);
        table.taken(from("b", 0, "b:1", 1, &known), 2);
        table.taken(from("d", 0, "d:1", 1, &known), 3);
        table.taken(from("d", 1, "d:2", 1, &known), 4);
        table.connection_closed(conn(3));
        let seen = |zone| {
            let route = table.route("T", Some(Zone(zone))).unwrap();
            assert!(route.places.iter().map(|(broker, _)| broker).eq(route.groups.iter().map(|(b, _)| b)));
            route.places.iter().map(|(broker, _)| *broker).collect::<Vec<_>>()
        };
        assert_eq!(seen("EAST"), ["a", "d"]);
        assert_eq!(seen("west"), ["d"]);
    }

    #[test]
    fn write_permission_is_wiped_and_given_back() {
        let mut table = RouteTable::default();
        table.taken(from("a", 0, "a:1", 1, &topics(&["T", "U"])), 1);
        assert_eq!(table.wipe_write_perm("a"), 2);
        assert_eq!(table.shown("T"), "0=a:1 perm 4");
        assert_eq!(table.wipe_write_perm("nobody"), 0);
        assert_eq!(table.add_write_perm("a"), 2);
        assert_eq!(table.shown("T"), "0=a:1 perm 6");
    }

    #[test]
    fn topics_are_deleted_in_a_cluster_and_placed_by_hand() {
        let mut table = RouteTable::default();
        table.taken(from("a", 0, "a:1", 1, &topics(&["T", "U"])), 1);
        table.taken(Registration { cluster: "d", ..from("b", 0, "b:1", 1, &topics(&["T", "V"])) }, 2);
        assert_eq!(table.topics_of_cluster("c").collect::<Vec<_>>(), ["T", "U"]);
        table.delete_topic("T", Some("c"));
        assert_eq!(table.shown("T"), "0=b:1 perm 6");
        table.place_topic("T", &topics(&["a", "nobody"])).unwrap();
        table.check_invariants();
        assert_eq!(table.shown("T"), "0=a:1 0=b:1 perm 6 6");
        assert_eq!(table.topics().map(|(topic, _)| topic).collect::<Vec<_>>(), ["T", "U", "V"]);
    }

    #[test]
    fn names_that_are_too_long_are_refused_whole() {
        let mut table = RouteTable::default();
        let known = topics(&["T", &"x".repeat(NAME_BYTES_MAX + 1)]);
        let refused = table.register(&from("a", 0, "a:1", 1, &known), conn(1), NOW);
        let bound = RegisterError::Bound { what: "the length of a name", max: NAME_BYTES_MAX };
        assert_eq!(refused, Err(bound));
        assert_eq!(table.shown("T"), "nowhere");
        table.check_invariants();
    }

    /// Three brokers that register under any name, cluster and id, from any connection, and go in every way.
    #[test]
    fn invariants_hold_whatever_brokers_do() {
        for seed in 1..=200_u64 {
            println!("seed {seed}");
            let mut state = seed;
            let mut pick = |among: u64| {
                // Xorshift: the same numbers for the same seed.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % among
            };
            let mut table = RouteTable::default();
            let all = topics(&["T", "U", "V"]);
            for step in 0..100 {
                let broker = ["a", "b"][pick(2) as usize];
                let cluster = ["c", "d"][usize::from(pick(8) == 0)];
                let address = ["a:1", "b:1", "b:2"][pick(3) as usize];
                let now = NOW + Duration::from_secs(step * 10);
                match pick(8) {
                    0 => table.unregister(cluster, broker, address),
                    1 => drop(table.connection_closed(conn(pick(3) as u32))),
                    2 => drop(table.expire(now)),
                    3 => table.delete_topic("T", Some(cluster)),
                    _ => {
                        let from =
                            from(broker, pick(3) as i64, address, pick(3) as i64, &all[pick(3) as usize..]);
                        let version = DataVersion { state_version: pick(2) as i64, ..from.version };
                        let acting_master = [None, Some(false), Some(true)][pick(3) as usize];
                        let registration = Registration { cluster, version, acting_master, ..from };
                        // A single topic from a stranger is refused, and must change nothing that counts.
                        let _ = table.register(&registration, conn(pick(3) as u32), now);
                    }
                }
                table.check_invariants();
            }
        }
    }
}
