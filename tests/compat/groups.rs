//! Consumer groups: members join, leave and die; orderly reading; tags.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringmq_tests::compat::client::{ALL, Client, Kind};
use ringmq_tests::compat::site::Site;
use serde_json::json;

use crate::reading::{PATIENCE, keys, number, only, read_at_least, read_exactly, text};

/// Below the 20 s of a client's own rebalance timer, so that only code 40 can be the reason; far above what it takes,
/// because a starting JVM may want both cores.
const REBALANCE: Duration = Duration::from_secs(16);

#[test]
fn queues_are_shared_anew_when_members_join_leave_and_die() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Shared", 4, 6);
        let mut sender = Probe::new(&site);
        let mut members: Vec<Client> =
            [Kind::Java("4.9.8"), Kind::Java("5.3.3"), Kind::Go].map(|kind| site.client(kind)).into();
        for count in 1..=3 {
            let order = json!({"do": "consume", "topic": "Shared", "group": "sharers"});
            members[count - 1].order("member", order);
            members[count - 1].until("member", "started", PATIENCE);
            // The first member may still be looking for its first queues.
            let patience = if count == 1 { PATIENCE } else { REBALANCE };
            sender.await_shares(&mut members[..count], patience);
        }
        members[0].finish("member", PATIENCE);
        sender.await_shares(&mut members[1..], REBALANCE);
        members[2].process().kill();
        sender.await_shares(&mut members[1..2], REBALANCE);
    }
}

/// Sends one message to each queue and looks who gets it.
struct Probe {
    sender: Client,
    rounds: u32,
    queues: usize,
}

impl Probe {
    fn new(site: &Site) -> Probe {
        Probe { sender: site.client(Kind::Java("5.3.3")), rounds: 0, queues: 4 * site.brokers().len() }
    }

    /// Repeats rounds until every member reads some queue, and every message is read exactly once.
    fn await_shares(&mut self, members: &mut [Client], patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let readers = self.round(members);
            let distinct: BTreeSet<usize> = readers.values().copied().collect();
            if distinct.len() == members.len() && readers.len() == self.queues {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} members, {} queues: not shared among all within {patience:?}: {readers:?}",
                members.len(),
                self.queues
            );
        }
    }

    /// One message to each queue; which member read which, by key. While queues move, a message may come
    /// late: what does not come within a second is missing from the answer.
    fn round(&mut self, members: &mut [Client]) -> BTreeMap<String, usize> {
        self.rounds += 1;
        let prefix = format!("round{}", self.rounds);
        let order = json!({"do": "send", "topic": "Shared", "way": "selector", "count": self.queues, "prefix": prefix});
        let sent = only(self.sender.carry_out(&prefix, order, PATIENCE), "sent");
        assert_eq!(sent.len(), self.queues);
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut readers = BTreeMap::new();
        while readers.len() < self.queues && Instant::now() < deadline {
            for (index, member) in members.iter_mut().enumerate() {
                let moment = Instant::now() + Duration::from_millis(20);
                while let Some(event) = member.next("member", moment) {
                    if text(&event, "keys").starts_with(&format!("{prefix}-")) {
                        readers.insert(text(&event, "keys").to_string(), index);
                    }
                }
            }
        }
        readers
    }
}

#[test]
fn a_queue_is_never_read_by_two_orderly_members() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Orderly", 4, 6);
        let mut members: Vec<Client> =
            [Kind::Java("5.5.0"), Kind::Java("4.9.8")].map(|kind| site.client(kind)).into();
        let order = json!({"do": "consume", "topic": "Orderly", "group": "orderly", "orderly": true});
        members[0].order("member", order.clone());
        members[0].until("member", "started", PATIENCE);
        let mut sender = site.client(Kind::Java("5.3.3"));
        let mut read = Vec::new();
        for (round, count) in [(0, 40), (1, 200)] {
            // The second member joins while messages flow, so that locks change hands under load.
            let prefix = format!("round{round}");
            let send = json!({"do": "send", "topic": "Orderly", "way": "selector", "count": count, "prefix": prefix});
            sender.order(&prefix, send);
            if round == 1 {
                members[1].order("member", order.clone());
            }
            sender.until(&prefix, "done", PATIENCE);
            let deadline = Instant::now() + PATIENCE;
            let expected = if round == 0 { 40 } else { 240 };
            while read.len() < expected {
                assert!(Instant::now() < deadline, "only {} of {expected}", read.len());
                for (index, member) in members.iter_mut().enumerate().take(round + 1) {
                    let moment = Instant::now() + Duration::from_millis(50);
                    while let Some(event) = member.next("member", moment) {
                        if event["event"] == "message" {
                            read.push((number(&event, "at"), index, event));
                        }
                    }
                }
            }
        }
        assert_offsets_never_go_back(read.iter().map(|(at, _, event)| (*at, event)).collect());
        for member in &mut members {
            member.finish("member", PATIENCE);
        }
    }
}

/// Checks that each queue was read in the order of its offsets, whoever read it; by the readers' clock,
/// which is one clock because all run here.
fn assert_offsets_never_go_back(mut read: Vec<(i64, &serde_json::Value)>) {
    read.sort_by_key(|(at, event)| (*at, number(event, "queueOffset")));
    let mut last = BTreeMap::new();
    for (at, event) in read {
        let queue = (text(event, "broker"), number(event, "queueId"));
        let offset = number(event, "queueOffset");
        let before = last.insert(queue, offset);
        assert!(before.is_none_or(|before| before < offset), "{queue:?}: {offset} after {before:?} at {at}");
    }
}

#[test]
fn a_subscription_to_tags_gets_only_them() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Tagged", 4, 6);
        let mut sender = site.client(Kind::Java("5.3.3"));
        let mut expected = Vec::new();
        for tag in [Some("TagA"), Some("TagB"), Some("TagC"), None] {
            let prefix = tag.unwrap_or("untagged");
            let order = json!({"do": "send", "topic": "Tagged", "way": "selector", "count": 8, "prefix": prefix, "tag": tag});
            let sent = only(sender.carry_out(prefix, order, PATIENCE), "sent");
            if matches!(tag, Some("TagA" | "TagB")) {
                expected.extend(keys(&sent).into_iter().map(str::to_string));
            }
        }
        expected.sort_unstable();
        let mut readers: Vec<Client> = ALL.into_iter().map(|kind| site.client(kind)).collect();
        for reader in &mut readers {
            let group = format!("tags-{}", reader.kind().word());
            let order = json!({"do": "consume", "topic": "Tagged", "group": group, "tags": "TagA || TagB"});
            reader.order("tags", order);
        }
        for reader in &mut readers {
            let messages = read_exactly(reader, "tags", expected.len());
            assert_eq!(keys(&messages), expected, "{}", reader.kind().label());
            reader.finish("tags", PATIENCE);
        }
    }
}

#[test]
fn a_group_goes_on_where_it_was_when_it_comes_back() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Back", 4, 6);
        let mut sender = site.client(Kind::Java("5.3.3"));
        let mut readers: Vec<Client> = ALL.into_iter().map(|kind| site.client(kind)).collect();
        for round in ["before", "after"] {
            let order =
                json!({"do": "send", "topic": "Back", "way": "selector", "count": 20, "prefix": round});
            sender.carry_out(round, order, PATIENCE);
            for reader in &mut readers {
                let group = format!("back-{}", reader.kind().word());
                reader.order(round, json!({"do": "consume", "topic": "Back", "group": group}));
            }
            for reader in &mut readers {
                let (mut fresh, mut repeated) = (0, 0);
                while fresh < 20 {
                    let message = read_at_least(reader, round, 1).remove(0);
                    let is_fresh = text(&message, "keys").starts_with(round);
                    *(if is_fresh { &mut fresh } else { &mut repeated }) += 1;
                }
                // A listener that had reported a message and not returned when its client was shut down holds back
                // the offset of its queue, and so what others had finished behind it. Never everything: a group
                // that has lost its offsets begins again.
                assert!(repeated < 20, "{}: all {repeated} came again", reader.kind().label());
                reader.finish(round, PATIENCE);
            }
        }
    }
}
