//! Messages for later, given back and given up: what a consumer sees of each record, here and at Apache's broker, compared field by
//! field; and the unmodified clients' own delays and retries.

use std::fmt::Write as _;

use ringmq_tests::compat::site::Site;
use ringmq_tests::compat::wire;
use ringmq_wire::record::{Records, properties};
use serde_json::{Value, json};

use crate::reading::PATIENCE;

/// Rows that differ on purpose, and why.
const DELIBERATE: &[(&str, &str)] = &[
    ("beyond the horizon: answer", "region and trace switch are read from accepted sends only"),
    ("no time: answer", "region and trace switch are read from accepted sends only"),
];

#[test]
fn records_that_waited_look_here_as_they_look_at_apaches() {
    let apache = looks(&Site::apache());
    let ours = looks(&Site::all()[0]());
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for ((name, expected), (_, found)) in apache.iter().zip(&ours) {
        let reason = DELIBERATE.iter().find(|(row, _)| row == name).map(|(_, reason)| *reason);
        let mark = match (expected == found, reason) {
            (true, None) => "same",
            (false, Some(_)) => "on purpose",
            _ => {
                wrong.push(name.as_str());
                "WRONG"
            }
        };
        let _ = writeln!(table, "{mark:<10} {name}\n{:11}apache: {expected}", "");
        if expected != found {
            let _ = writeln!(table, "{:11}ours:   {found}\n{:11}why:    {}", "", "", reason.unwrap_or("?"));
        }
    }
    println!("{table}");
    assert!(apache.len() == ours.len() && wrong.is_empty(), "{wrong:?} are not as expected\n{table}");
}

/// Every row's name and what was seen, at one site.
fn looks(site: &Site) -> Vec<(String, String)> {
    site.create_topic("Later", 2, 6);
    let bench = Bench { broker: site.brokers().remove(0).1, name: site.brokers().remove(0).0 };
    let mut rows = Vec::new();
    let mut offset = 0;
    for (name, properties) in [
        ("ordinary", "K=v TAGS=A"),
        ("level 1", "K=v TAGS=A DELAY=1"),
        ("level 0", "DELAY=0"),
        ("level 1 and a timer", "DELAY=1 TIMER_DELAY_SEC=2"),
        ("timer in seconds", "TIMER_DELAY_SEC=2"),
        ("timer in milliseconds", "TIMER_DELAY_MS=1500"),
        ("timer in the past", "TIMER_DELIVER_MS=1700000000000"),
        ("names of the broker's own", "DELAY=1 REAL_TOPIC=X REAL_QID=7 WAIT=true"),
    ] {
        let answer = bench.send("Later", properties, 0);
        rows.push((format!("{name}: answer"), answer));
        rows.push((format!("{name}: record"), bench.record("Later", 1, offset).1));
        offset += 1;
    }
    for (name, properties) in [
        ("beyond the horizon", "TIMER_DELAY_SEC=259201"),
        ("no time", "TIMER_DELIVER_MS=soon"),
        ("no level", "TIMER_DELAY_MS="),
    ] {
        rows.push((format!("{name}: answer"), bench.send("Later", properties, 0)));
    }

    // Given back: at a level, of its own retry; then given up.
    let (first, _) = bench.record("Later", 1, 0);
    rows.push(("given back: answer".into(), bench.give_back(first, 1, 16)));
    let (again, look) = bench.record("%RETRY%Givers", 0, 0);
    rows.push(("given back: record".into(), look));
    rows.push(("given back again: answer".into(), bench.give_back(again, 1, 16)));
    let (third, look) = bench.record("%RETRY%Givers", 0, 1);
    rows.push(("given back again: record".into(), look));
    rows.push(("given up by the level: answer".into(), bench.give_back(third, -1, 16)));
    rows.push(("given up by the level: record".into(), bench.record("%DLQ%Givers", 0, 0).1));
    rows.push(("given up in time: answer".into(), bench.give_back(third, 0, 2)));
    rows.push(("given up in time: record".into(), bench.record("%DLQ%Givers", 0, 1).1));
    let (timed, _) = bench.record("Later", 1, 4);
    rows.push(("a timer given back: answer".into(), bench.give_back(timed, 1, 16)));
    rows.push(("a timer given back: record".into(), bench.record("%RETRY%Givers", 0, 2).1));
    rows.push(("a timer given up: answer".into(), bench.give_back(timed, -1, 16)));
    rows.push(("a timer given up: record".into(), bench.record("%DLQ%Givers", 0, 2).1));
    rows.push(("no such record: answer".into(), bench.give_back(1, 0, 16)));

    // Sent by the consumer itself, as clients do when giving back fails.
    let own = "DELAY=1 RETRY_TOPIC=Later ORIGIN_MESSAGE_ID=0 K=v";
    rows.push(("own retry: answer".into(), bench.send("%RETRY%Givers", own, 3)));
    rows.push(("own retry: record".into(), bench.record("%RETRY%Givers", 0, 3).1));
    rows.push(("own retry, given up: answer".into(), bench.send("%RETRY%Givers", own, 17)));
    rows.push(("own retry, given up: record".into(), bench.record("%DLQ%Givers", 0, 3).1));
    rows
}

/// One broker, spoken to in single requests.
struct Bench {
    broker: String,
    name: String,
}

impl Bench {
    /// Sends one message with properties as `A=b C=d`.
    fn send(&self, topic: &str, properties: &str, times: i32) -> String {
        let properties: String =
            properties.split(' ').map(|pair| pair.replace('=', "\u{1}") + "\u{2}").collect::<String>()
                + "UNIQ_KEY\u{1}unique\u{2}";
        let fields = json!({"a": "g", "b": topic, "c": "TBW102", "d": "4", "e": if topic == "Later" { "1" } else { "0" }, "f": "0",
            "g": "1700000000000", "h": "3", "i": properties, "j": times.to_string(), "k": "false", "l": "16", "m": "false"});
        self.ask(310, fields, b"body")
    }

    fn give_back(&self, offset: i64, level: i32, times_max: i32) -> String {
        let fields = json!({"offset": offset.to_string(), "group": "Givers", "delayLevel": level.to_string(),
            "originMsgId": "unique", "originTopic": "Later", "unitMode": "false", "maxReconsumeTimes": times_max.to_string()});
        self.ask(36, fields, b"")
    }

    fn ask(&self, code: i32, fields: Value, body: &[u8]) -> String {
        let answer = wire::ask(&self.broker, code, fields, body).expect("an answer");
        let fields = answer.head["extFields"].as_object();
        let mut fields: Vec<String> = fields
            .into_iter()
            .flatten()
            .map(|(name, value)| match name.as_str() {
                "queueId" | "transactionId" => format!("{name}={}", value.as_str().unwrap_or_default()),
                _ => name.clone(),
            })
            .collect();
        fields.sort();
        format!("{} {fields:?} {}", answer.code(), answer.remark())
    }

    /// Waits for a record; its physical offset, and everything of it that does not depend on the moment.
    fn record(&self, topic: &str, queue_id: i32, offset: i64) -> (i64, String) {
        let fields = json!({"consumerGroup": "lookers", "topic": topic, "queueId": queue_id.to_string(), "queueOffset": offset.to_string(),
            "maxMsgNums": "1", "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*",
            "subVersion": "0", "expressionType": "TAG"});
        let body = wire::await_that(&format!("record {offset} of {topic}"), PATIENCE, || {
            let answer = wire::ask(&self.broker, 11, fields.clone(), b"").ok()?;
            (answer.code() == 0).then_some(answer.body)
        });
        let record = Records::new(&body).next().expect("one record").expect("a whole record");
        let mut properties: Vec<String> = properties::iter(record.properties)
            .map(|(name, value)| match name {
                "TIMER_OUT_MS" | "TIMER_ENQUEUE_MS" | "TIMER_DEQUEUE_MS" => {
                    format!("{name}=<{} digits>", value.len())
                }
                "ORIGIN_MESSAGE_ID" => format!("{name}=<{} digits>", value.len()),
                _ => format!("{name}={value}"),
            })
            .collect();
        properties.sort();
        let place = format!("{}/{}/{}", record.topic, record.queue_id, record.queue_offset);
        let look = format!(
            "{place} flag={} sysFlag={} born={} times={} prepared={} body={} {properties:?}",
            record.flag,
            record.sys_flag,
            record.born_timestamp_ms,
            record.reconsume_times,
            record.prepared_transaction_offset,
            String::from_utf8_lossy(record.body)
        );
        (record.physical_offset, look.replace(&self.name, "<broker>"))
    }
}
