//! The same requests at Apache's broker and at ours: outcomes compared, row by row, in a printed table.
//!
//! Where ours differs on purpose, the row stands in [`DELIBERATE`] with its reason; a row there that does
//! not differ any more fails the test too.

use std::fmt::Write as _;

use ringmq_tests::compat::client::{ALL, Client, Kind};
use ringmq_tests::compat::site::Site;
use ringmq_tests::compat::wire;
use serde_json::{Value, json};

use crate::reading::{PATIENCE, text};

/// Where every client and server of this suite is.
const LOOPBACK: &str = "127.0.0.1:";

/// Rows that differ on purpose: how their names end, and why.
const DELIBERATE: &[(&str, &str)] = &[
    (
        ": too large",
        "theirs is an uncaught exception; ours has the code and text of a single message's refusal",
    ),
    (": unknown queue", "ours says what is wrong without printing an object of the broker's own language"),
    (": topic with a blank", SENT_FIELDS),
    (": topic of 128 bytes", SENT_FIELDS),
    ("send: system topic", SENT_FIELDS),
    (": no body", "theirs is an uncaught exception; an empty message is as good as any, and stored"),
    (": field missing", "theirs is an uncaught exception; ours names the field"),
    (": neither topic nor default topic", "ours also says what to do"),
    ("pull: unknown topic", "ours also says what to do"),
    ("pull: empty queue", PULL_FIELDS),
    ("pull: empty queue, beyond its end", PULL_FIELDS),
    ("pull: beyond the end", PULL_FIELDS),
    ("query by key: there is none", "how far the index is stands in answers that hold messages"),
    ("check: no condition", "theirs begins with the name of an exception's class"),
    ("query by key: no topic", "theirs is an uncaught exception; ours names the field"),
    (
        "heartbeat: nobody",
        "clients may not shorten their heartbeats to a fingerprint, so that none is misjudged",
    ),
];
const SENT_FIELDS: &str = "region and trace switch are read from accepted sends only";
const PULL_FIELDS: &str = "the system flags of group and topic are optional, and always 0";

#[test]
fn requests_have_the_same_outcome_here_and_at_apaches() {
    let apache = outcomes(&Site::apache());
    // At Apache's, this asks whether the rows are the same twice.
    let ours = outcomes(&Site::all()[0]());
    assert_eq!(apache.len(), ours.len(), "the same rows at both");
    let mut table = String::new();
    let mut wrong = Vec::new();
    for ((name, expected), (_, found)) in apache.iter().zip(&ours) {
        let reason = DELIBERATE.iter().find(|(end, _)| name.ends_with(end)).map(|(_, reason)| *reason);
        let mark = match (expected == found, reason) {
            (true, None) => "same",
            (false, Some(_)) => "on purpose",
            (true, Some(_)) | (false, None) => {
                wrong.push(name.as_str());
                "WRONG"
            }
        };
        writeln!(table, "{mark:<10} {name}\n{:11}apache: {expected}", "")
            .expect("a string can be written to");
        if expected != found {
            writeln!(table, "{:11}ours:   {found}", "").expect("a string can be written to");
        }
        if let Some(reason) = reason {
            writeln!(table, "{:11}why:    {reason}", "").expect("a string can be written to");
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{} rows are not as expected: {wrong:#?}\n{table}", wrong.len());
}

/// Every row's name and outcome at one site.
fn outcomes(site: &Site) -> Vec<(String, String)> {
    site.create_topic("ReadOnly", 4, 4);
    site.create_topic("Asked", 4, 6);
    let mut rows = Vec::new();
    for kind in ALL {
        let mut client = site.client(kind);
        for (what, order) in orders(kind) {
            let events = client.carry_out(&what, order, PATIENCE);
            rows.push((format!("{}: {what}", kind.label()), sent_outcome(site, &events)));
        }
    }
    for release in ["4.9.8", "5.3.3", "5.5.0"] {
        let mut client = site.client(Kind::Java(release));
        for (what, outcome) in java_questions(&mut client) {
            rows.push((format!("java-{release}: {what}"), normal(site, &outcome)));
        }
    }
    let (_, broker) = site.brokers().remove(0);
    for (what, code, fields, body) in requests() {
        rows.push((what.to_string(), asked(site, &broker, code, fields, body)));
    }
    rows
}

/// What each client is told to send. A topic of its own for each, so that offsets compare.
fn orders(kind: Kind) -> Vec<(String, Value)> {
    let topic = format!("Sent_{}", kind.word());
    let mut orders = vec![
        ("first", json!({"way": "sync", "count": 1, "tag": "TagA"})),
        ("async", json!({"way": "async", "count": 1})),
        ("one-way", json!({"way": "oneway", "count": 1})),
        ("selector", json!({"way": "selector", "count": 4})),
        ("compressed", json!({"count": 1, "bytes": 6000})),
        ("utf-8", json!({"count": 1, "prefix": "消息-ключ", "property": "значение 值"})),
        ("read-only topic", json!({"count": 1, "topic": "ReadOnly"})),
        ("bad topic name", json!({"count": 1, "topic": "bad topic!"})),
    ];
    if kind != Kind::Python {
        orders.push(("batch", json!({"way": "batch", "count": 3})));
    }
    if let Kind::Java(_) = kind {
        orders.push(("4 MiB", json!({"count": 1, "bytes": 4 << 20})));
        // Compressed it would pass, so it is sent as a batch, which is not.
        let too_large = json!({"way": "batch", "count": 2, "bytes": 3 << 20, "client_bytes_max": 16 << 20});
        orders.push(("too large", too_large));
        orders.push(("unknown queue", json!({"count": 1, "queue": 99})));
    }
    let complete = |(what, mut order): (&str, Value)| {
        order["do"] = "send".into();
        if order["topic"].is_null() {
            order["topic"] = topic.clone().into();
        }
        (what.to_string(), order)
    };
    orders.into_iter().map(complete).collect()
}

fn sent_outcome(site: &Site, events: &[Value]) -> String {
    let mut outcomes: Vec<String> = events.iter().map(|event| one_sent(site, event)).collect();
    outcomes.dedup();
    outcomes.join(", ")
}

fn one_sent(site: &Site, event: &Value) -> String {
    if event["event"] == "failed" {
        let code = &event["code"];
        return normal(site, &format!("refused: {code} {}", text(event, "remark")));
    }
    // The queue is the client's free choice; that it begins at 0 in each is not.
    let ids = [text(event, "msgId"), text(event, "offsetMsgId")].map(str::len);
    format!(
        "{} region={} trace={} id lengths={ids:?}",
        text(event, "status"),
        text(event, "region"),
        text(event, "trace")
    )
}

/// Questions through the Java clients' pull consumer.
fn java_questions(client: &mut Client) -> Vec<(String, String)> {
    let mut outcomes = Vec::new();
    let rows = [
        ("pull from an empty queue", json!({"do": "pull", "topic": "Asked", "queue": 1, "offset": 0})),
        ("pull beyond the end", json!({"do": "pull", "topic": "Asked", "queue": 1, "offset": 100})),
        ("bounds of empty queues", json!({"do": "offsets", "topic": "Asked"})),
    ];
    for (what, order) in rows {
        let mut events: Vec<String> = client.carry_out(what, order, PATIENCE).iter().map(told).collect();
        events.sort();
        outcomes.push((what.to_string(), events.join(", ")));
    }
    outcomes
}

/// An event without the order's id.
fn told(event: &Value) -> String {
    let mut event = event.clone();
    event.as_object_mut().expect("an event is an object").remove("id");
    event.to_string()
}

type Request = (&'static str, i32, Value, &'static [u8]);

/// Single requests; each has an answer that is worth comparing.
fn requests() -> Vec<Request> {
    let send = |topic: &str, queue: &str| {
        json!({"a": "g", "b": topic, "c": "TBW102", "d": "4", "e": queue, "f": "0", "g": "1700000000000", "h": "0",
            "i": "", "j": "0", "k": "false", "m": "false"})
    };
    let pull = |topic: &str, queue: &str, offset: &str| {
        json!({"consumerGroup": "nobody", "topic": topic, "queueId": queue, "queueOffset": offset, "maxMsgNums": "32",
            "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*",
            "subVersion": "0", "expressionType": "TAG"})
    };
    let queue = |topic: &str, queue: &str| json!({"topic": topic, "queueId": queue});
    let group = |group: &str| json!({"consumerGroup": group, "topic": "Asked", "queueId": "0"});
    let mut commit = group("nobody");
    commit["commitOffset"] = "5".into();
    let mut search = queue("Asked", "0");
    search["timestamp"] = "0".into();
    let topic = |topic: &str, queues: &str| {
        json!({"topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues,
            "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false"})
    };
    let query = |key: &str| json!({"topic": "Asked", "key": key, "maxNum": "9", "beginTimestamp": "0", "endTimestamp": i64::MAX.to_string()});
    let mut without_topic = send("x", "0");
    without_topic.as_object_mut().expect("an object").remove("b");
    let mut unknown_default = send("NoSuchTopic", "0");
    unknown_default["c"] = "NoSuchDefault".into();
    vec![
        ("send", 310, send("Asked", "0"), b"x"),
        ("send: topic with a blank", 310, send("bad topic", "0"), b"x"),
        ("send: topic of 128 bytes", 310, send(&"t".repeat(128), "0"), b"x"),
        ("send: system topic", 310, send("SCHEDULE_TOPIC_XXXX", "0"), b"x"),
        ("send: unknown queue", 310, send("Asked", "99"), b"x"),
        ("send: read-only topic", 310, send("ReadOnly", "0"), b"x"),
        ("send: no body", 310, send("Asked", "0"), b""),
        ("send: field missing", 310, without_topic, b"x"),
        ("send: neither topic nor default topic", 310, unknown_default, b"x"),
        ("unknown request code", 9999, json!({}), b""),
        ("pull: unknown topic", 11, pull("NoSuchTopic", "0", "0"), b""),
        ("pull: unknown queue", 11, pull("Asked", "99", "0"), b""),
        ("pull: empty queue", 11, pull("Asked", "3", "0"), b""),
        ("pull: empty queue, beyond its end", 11, pull("Asked", "3", "7"), b""),
        ("pull: beyond the end", 11, pull("Asked", "0", "1000"), b""),
        ("query offset: unknown group", 14, group("nobody"), b""),
        ("commit offset", 15, commit, b""),
        ("search offset", 29, search, b""),
        ("max offset", 30, queue("Asked", "0"), b""),
        ("max offset: empty queue", 30, queue("Asked", "3"), b""),
        ("max offset: unknown topic", 30, queue("NoSuchTopic", "0"), b""),
        ("min offset", 31, queue("Asked", "0"), b""),
        ("min offset: unknown topic", 31, queue("NoSuchTopic", "0"), b""),
        ("members: unknown group", 38, json!({"consumerGroup": "nobody"}), b""),
        ("unregister: unknown client", 35, json!({"clientID": "x", "consumerGroup": "nobody"}), b""),
        (
            "heartbeat: nobody",
            34,
            json!({}),
            br#"{"clientID":"x","producerDataSet":[],"consumerDataSet":[]}"#,
        ),
        ("lock queues", 41, json!({}), br#"{"clientId":"x","consumerGroup":"nobody","mqSet":[]}"#),
        ("unlock queues", 42, json!({}), br#"{"clientId":"x","consumerGroup":"nobody","mqSet":[]}"#),
        ("create topic: bad name", 17, topic("bad topic", "4"), b""),
        ("create topic: system topic", 17, topic("SCHEDULE_TOPIC_XXXX", "4"), b""),
        (
            "check: a condition",
            46,
            json!({}),
            br#"{"clientId":"c","group":"g","subscriptionData":{"topic":"T","expressionType":"SQL92","subString":"a > 1"}}"#,
        ),
        (
            "check: no condition",
            46,
            json!({}),
            br#"{"clientId":"c","group":"g","subscriptionData":{"topic":"T","expressionType":"SQL92","subString":"a > 'x'"}}"#,
        ),
        ("query by key: there is none", 12, query("NoSuchKey"), b""),
        ("query by key: no topic", 12, json!({"key": "k"}), b""),
        ("view message: bad offset", 33, json!({"offset": "123456789"}), b""),
    ]
}

fn asked(site: &Site, broker: &str, code: i32, fields: Value, body: &[u8]) -> String {
    match wire::ask(broker, code, fields, body) {
        Ok(answer) => {
            let fields = answer.head["extFields"].as_object();
            let mut names: Vec<&str> = fields.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            normal(site, &format!("{} {:?} {}", answer.code(), names, answer.remark()))
        }
        Err(error) => format!("no answer: {error}"),
    }
}

/// An outcome without what must differ: addresses, the broker's name, links to a manual and times.
fn normal(site: &Site, outcome: &str) -> String {
    let mut outcome = outcome.to_string();
    for (name, address) in site.brokers() {
        outcome = outcome.replace(&address, "<address>").replace(&name, "<broker>");
    }
    outcome = outcome.replace(&site.name_server, "<name server>");
    // Whatever address is left is the asking side's, with a port of the moment.
    while let Some(start) = outcome.find(LOOPBACK) {
        let digits = outcome[start + LOOPBACK.len()..].bytes().take_while(u8::is_ascii_digit).count();
        outcome.replace_range(start..start + LOOPBACK.len() + digits, "<client>");
    }
    let end =
        ["For more information", "See https", "See http"].iter().filter_map(|mark| outcome.find(mark)).min();
    outcome.truncate(end.unwrap_or(outcome.len()));
    outcome.trim().to_string()
}
