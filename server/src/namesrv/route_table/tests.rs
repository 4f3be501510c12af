//! What brokers say, and what clients then see.

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
        self.places.check_invariants();
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
