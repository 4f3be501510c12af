//! Consumer groups: members join, leave and die; orderly reading; tags.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringmq_tests::compat::client::{ALL, Client, Kind};
use ringmq_tests::compat::site::Site;
use ringmq_tests::compat::wire;
use serde_json::{Value, json};

use crate::reading::{PATIENCE, keys, number, only, read_all, read_exactly, text};

/// Half of the 20 s of a client's own rebalance timer, so that only code 40 can be the reason; far above what it takes
/// (the test prints it: see there), because a starting JVM may want both cores.
const SHARED_ANEW: Duration = Duration::from_secs(10);

#[test]
fn queues_are_shared_anew_when_members_join_leave_and_die() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Shared", 4, 6);
        let mut group = Group::new(&site);
        for kind in [Kind::Java("4.9.8"), Kind::Java("5.3.3"), Kind::Go] {
            let joined = group.join(site.client(kind));
            group.await_shares(&format!("{} joined", kind.label()), joined);
            group.assert_each_reads_its_share(Vec::new());
        }
        let left = now_ms();
        // The first to leave says so: unregistering comes before a client waits for its own threads.
        let mut leaving = group.members.remove(0);
        leaving.client.stop("member");
        group.await_shares("one left", left);
        group.assert_each_reads_its_share(Vec::new());
        leaving.client.until("member", "done", PATIENCE);

        let mut dying = group.members.pop().expect("a member is left");
        let died = now_ms();
        dying.client.process().kill();
        group.await_shares("one died", died);
        let inherited = group.left_open_by(&dying, &site);
        group.assert_each_reads_its_share(inherited);
    }
}

/// The members of one group, and somebody who sends to their topic.
struct Group {
    sender: Client,
    rounds: u32,
    sent: Vec<Value>,
    queues: BTreeSet<String>,
    members: Vec<Member>,
}

struct Member {
    client: Client,
    /// What it computed last as its own, and when.
    share: BTreeSet<String>,
    since: i64,
    /// Its share when it last read a round.
    had: BTreeSet<String>,
}

impl Group {
    fn new(site: &Site) -> Group {
        let names = site.brokers().into_iter().map(|(name, _)| name);
        let queues = names.flat_map(|name| (0..4).map(move |queue| format!("{name}:{queue}"))).collect();
        Group {
            sender: site.client(Kind::Java("5.3.3")),
            rounds: 0,
            sent: Vec::new(),
            queues,
            members: Vec::new(),
        }
    }

    /// Adds a member; says when it had joined.
    fn join(&mut self, mut client: Client) -> i64 {
        client.order("member", json!({"do": "consume", "topic": "Shared", "group": "sharers"}));
        let mut member = Member { client, share: BTreeSet::new(), since: 0, had: BTreeSet::new() };
        let events = member.client.until("member", "started", PATIENCE);
        events.iter().for_each(|event| member.learn(event));
        let joined = number(events.last().expect("the awaited event"), "at");
        self.members.push(member);
        joined
    }

    /// Waits until every queue is in exactly one member's share, and every member has some.
    fn await_shares(&mut self, what: &str, changed: i64) {
        let deadline = Instant::now() + SHARED_ANEW;
        while !self.is_shared() {
            let shares: Vec<_> = self.members.iter().map(|member| &member.share).collect();
            assert!(Instant::now() < deadline, "{what}: not shared anew within {SHARED_ANEW:?}: {shares:?}");
            for member in &mut self.members {
                let moment = Instant::now() + Duration::from_millis(5);
                while let Some(event) = member.client.next("member", moment) {
                    member.learn(&event);
                }
            }
        }
        // A joining client of 5.x computes its first share a second after its start, by a pause of its own
        // (`RebalanceService.java`, `minInterval`); those that were there already do it at once.
        let (others, last) = self.members.split_at(self.members.len() - 1);
        let took = |members: &[Member]| members.iter().map(|member| (member.since - changed).max(0)).max();
        println!(
            "{what}: {:?} ms, the newest member {:?} ms",
            took(others).unwrap_or(0),
            took(last).unwrap_or(0)
        );
    }

    fn is_shared(&self) -> bool {
        let owned: usize = self.members.iter().map(|member| member.share.len()).sum();
        let all: BTreeSet<&String> = self.members.iter().flat_map(|member| &member.share).collect();
        let nobody_idle = self.members.iter().all(|member| !member.share.is_empty());
        nobody_idle && owned == self.queues.len() && all.len() == owned && all.into_iter().eq(&self.queues)
    }

    /// What a member that died had read, or not, without storing its offset: the next owner reads it again.
    fn left_open_by(&self, member: &Member, site: &Site) -> Vec<Value> {
        let committed = committed(site, "sharers", "Shared");
        let sent = self.sent.iter().filter(|sent| member.share.contains(&queue_of(sent)));
        sent.filter(|sent| number(sent, "queueOffset") >= committed[&queue_of(sent)]).cloned().collect()
    }

    /// Sends one message to each queue, each of which its owner must read, once, and what it inherited before. From a
    /// queue that it had not before, it may read again what was read: the member that gives a queue away stores its
    /// offset (one-way, 15) while the next one asks for it (14).
    ///
    /// Patient: a 5.x client that changes its share while its timer sends a heartbeat does not tell the broker its new
    /// subscription, and is refused (code 25) until its next heartbeat, after 30 s (`MQClientInstance.java`,
    /// `lockHeartbeat.tryLock`).
    fn assert_each_reads_its_share(&mut self, inherited: Vec<Value>) {
        self.rounds += 1;
        let prefix = format!("round{}", self.rounds);
        let count = self.queues.len();
        let order =
            json!({"do": "send", "topic": "Shared", "way": "selector", "count": count, "prefix": prefix});
        let sent = only(self.sender.carry_out(&prefix, order, PATIENCE), "sent");
        assert_eq!(sent.len(), count);
        for member in &mut self.members {
            let expected =
                inherited.iter().chain(&sent).filter(|sent| member.share.contains(&queue_of(sent)));
            let expected: Vec<Value> = expected.cloned().collect();
            let read = read_all(&mut member.client, "member", &keys(&expected));
            let (new, again): (Vec<Value>, Vec<Value>) =
                read.into_iter().partition(|message| keys(&expected).contains(&text(message, "keys")));
            let label = member.client.kind().label();
            assert_eq!(keys(&new), keys(&expected), "{label}");
            let (earlier, queues) = (keys(&self.sent), again.iter().map(queue_of).collect::<BTreeSet<_>>());
            assert!(queues.is_disjoint(&member.had), "{label} kept these queues: {again:?}");
            assert!(keys(&again).iter().all(|key| earlier.contains(key)), "{label}: {again:?}");
            member.had = member.share.clone();
        }
        self.sent.extend(sent);
    }
}

impl Member {
    fn learn(&mut self, event: &Value) {
        if event["event"] == "allotted" {
            let share: BTreeSet<String> =
                text(event, "queues").split_whitespace().map(str::to_string).collect();
            if share != self.share {
                (self.share, self.since) = (share, number(event, "at"));
            }
        }
    }
}

/// The queue of a message or of a send, as events of members name it.
fn queue_of(message: &Value) -> String {
    format!("{}:{}", text(message, "broker"), number(message, "queueId"))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    since.as_millis() as i64
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
            while read.iter().map(|reading: &Reading| &reading.key).collect::<BTreeSet<_>>().len() < expected
            {
                assert!(Instant::now() < deadline, "only {} of {expected}", read.len());
                for (index, member) in members.iter_mut().enumerate().take(round + 1) {
                    let moment = Instant::now() + Duration::from_millis(50);
                    while let Some(event) = member.next("member", moment) {
                        Reading::learn(&mut read, index, &event);
                    }
                }
            }
        }
        for (index, member) in members.iter_mut().enumerate() {
            for event in member.finish("member", PATIENCE) {
                Reading::learn(&mut read, index, &event);
            }
        }
        assert_one_reader_at_a_time(read);
    }
}

/// One message in the hands of one member's listener.
#[derive(Debug)]
struct Reading {
    member: usize,
    key: String,
    queue: String,
    offset: i64,
    from: i64,
    /// Absent: the member was stopped meanwhile.
    until: Option<i64>,
}

impl Reading {
    fn learn(read: &mut Vec<Reading>, member: usize, event: &Value) {
        let (key, at) = (text(event, "keys").to_string(), event["at"].as_i64());
        if event["event"] == "message" {
            let (queue, offset) = (queue_of(event), number(event, "queueOffset"));
            read.push(Reading { member, key, queue, offset, from: at.expect("a time"), until: None });
        } else if event["event"] == "returned" {
            let mut own = read.iter_mut().rev().filter(|reading| reading.member == member);
            own.find(|reading| reading.key == key).expect("it was read before").until = at;
        }
    }
}

/// Checks that no queue is in the hands of two at a time, by the readers' clock, which is one clock because all run here;
/// and that offsets only grow. At most the last message before a queue changes hands comes again: a client that
/// loses a queue while it has a message of it in hand does not store that message's offset
/// (`ConsumeMessageOrderlyService.java`, `processConsumeResult`: `!isDropped()`).
fn assert_one_reader_at_a_time(mut read: Vec<Reading>) {
    read.sort_by_key(|reading| (reading.from, reading.offset, reading.until));
    let mut last: BTreeMap<&str, &Reading> = BTreeMap::new();
    for reading in &read {
        let Some(before) = last.insert(&reading.queue, reading) else { continue };
        if before.member == reading.member {
            assert!(before.offset < reading.offset, "one member went back: {before:?}, then {reading:?}");
        } else {
            assert!(
                before.offset <= reading.offset,
                "more came again than the last: {before:?}, {reading:?}"
            );
            assert!(
                before.until.is_some_and(|until| until <= reading.from),
                "two at a time: {before:?}, {reading:?}"
            );
        }
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
        // What each reader's group must read: in the second round also what it had not committed.
        let mut expected: Vec<BTreeSet<String>> = vec![BTreeSet::new(); readers.len()];
        let mut sent = Vec::new();
        for round in ["before", "after"] {
            let order =
                json!({"do": "send", "topic": "Back", "way": "selector", "count": 20, "prefix": round});
            let now_sent = only(sender.carry_out(round, order, PATIENCE), "sent");
            for expected in &mut expected {
                expected.extend(keys(&now_sent).into_iter().map(str::to_string));
            }
            sent.extend(now_sent);
            for reader in &mut readers {
                let group = format!("back-{}", reader.kind().word());
                reader.order(round, json!({"do": "consume", "topic": "Back", "group": group}));
            }
            for (reader, expected) in readers.iter_mut().zip(&mut expected) {
                let messages = read_exactly(reader, round, expected.len());
                assert!(keys(&messages).into_iter().eq(expected.iter()), "{}", reader.kind().label());
                reader.finish(round, PATIENCE);
                let committed = committed(&site, &format!("back-{}", reader.kind().word()), "Back");
                assert!(committed.values().any(|offset| *offset > 0), "{}: nothing", reader.kind().label());
                expected.clear();
                let open =
                    sent.iter().filter(|sent| number(sent, "queueOffset") >= committed[&queue_of(sent)]);
                expected.extend(open.map(|sent| text(sent, "keys").to_string()));
            }
        }
    }
}

/// Where the group goes on in each of the topic's four queues of every broker. A client that is stopped while its
/// listener has a message in hand leaves that message, and what is behind it, uncommitted.
fn committed(site: &Site, group: &str, topic: &str) -> BTreeMap<String, i64> {
    let mut committed = BTreeMap::new();
    for (name, address) in site.brokers() {
        for queue in 0..4 {
            let fields = json!({"consumerGroup": group, "topic": topic, "queueId": queue.to_string()});
            let answer = wire::ask(&address, 14, fields, b"").expect("the broker answers");
            let offset =
                answer.head["extFields"]["offset"].as_str().map(|offset| offset.parse().expect("a number"));
            committed.insert(format!("{name}:{queue}"), offset.unwrap_or(0));
        }
    }
    committed
}
