//! Messages looked up: by key, unique key, the server's id, and time.

use ringmq_tests::compat::apache;
use ringmq_tests::compat::client::{ALL, Kind};
use ringmq_tests::compat::process::run;
use ringmq_tests::compat::site::Site;
use ringmq_tests::compat::wire;
use ringmq_wire::record;
use serde_json::{Value, json};

use crate::reading::{PATIENCE, keys, only, text};

const JAVA: [Kind; 3] = [Kind::Java("4.9.8"), Kind::Java("5.3.3"), Kind::Java("5.5.0")];

#[test]
fn java_clients_find_what_every_client_sent_by_key_unique_key_and_id() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Sought", 2, 6);
        let mut sent = Vec::new();
        for kind in ALL {
            let order = json!({"do": "send", "topic": "Sought", "count": 3, "prefix": kind.word()});
            sent.extend(only(site.client(kind).carry_out("sender", order, PATIENCE), "sent"));
        }
        sent.iter().for_each(|message| await_index(&site, text(message, "keys")));
        for kind in JAVA {
            let mut seeker = site.client(kind);
            for (number, message) in sent.iter().enumerate() {
                let key = text(message, "keys");
                let mut ids = vec![("key", key), ("msgId", text(message, "offsetMsgId"))];
                // C++ gives only the server's id.
                if text(message, "msgId") != text(message, "offsetMsgId") {
                    ids.push(("msgId", text(message, "msgId")));
                }
                for (by, what) in ids.into_iter().filter(|(_, what)| !what.is_empty()) {
                    let mut order = json!({"do": "find", "topic": "Sought"});
                    order[by] = what.into();
                    let found = seeker.carry_out(&format!("{by}-{number}-{what}"), order, PATIENCE);
                    assert_eq!(keys(&only(found, "message")), [key], "{} by {by} {what}", kind.label());
                }
            }
        }
    }
}

/// Waits until a key is found: Apache's broker makes its index a little later than it answers the send.
fn await_index(site: &Site, key: &str) {
    let fields = json!({"topic": "Sought", "key": key, "maxNum": "1", "beginTimestamp": "0",
        "endTimestamp": i64::MAX.to_string()});
    wire::await_that(&format!("the key {key}"), PATIENCE, || {
        let found = |address: &str| {
            wire::ask(address, 12, fields.clone(), b"").is_ok_and(|answer| answer.code() == 0)
        };
        site.brokers().iter().any(|(_, address)| found(address)).then_some(())
    });
}

#[test]
fn mqadmin_finds_messages() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Sought", 2, 6);
        let order = json!({"do": "send", "topic": "Sought", "count": 2, "prefix": "wanted"});
        let sent = only(site.client(Kind::Java("5.3.3")).carry_out("sender", order, PATIENCE), "sent");
        await_index(&site, "wanted-1");
        let (unique, id) = (text(&sent[1], "msgId"), text(&sent[1], "offsetMsgId"));
        let commands: [(&str, &[&str], &[&str]); 3] = [
            ("queryMsgByKey", &["-t", "Sought", "-k", "wanted-1"], &[unique]),
            ("queryMsgByUniqueKey", &["-t", "Sought", "-i", unique], &["wanted-1", "Message Body Path"]),
            ("queryMsgById", &["-t", "Sought", "-i", id], &["wanted-1", unique]),
        ];
        for (name, arguments, expected) in commands {
            let home = site.folder().join("mqadmin");
            let arguments = [&[name], arguments].concat();
            let mut command = apache::mqadmin(&site.name_server, &home, &arguments);
            let output = run(name, &mut command, PATIENCE).join("\n");
            for part in expected {
                assert!(output.contains(part), "{arguments:?} must say {part:?}:\n{output}");
            }
        }
    }
}

#[test]
fn offsets_are_found_by_time_with_both_boundaries() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Timed", 2, 6);
        let (_, broker) = site.brokers().remove(0);
        let ask = |code, fields: Value, body: &[u8]| {
            let answer = wire::ask(&broker, code, fields, body).expect("an answer");
            assert_eq!(answer.code(), 0, "{}", answer.remark());
            answer
        };
        let mut times = Vec::new();
        for number in 0..12 {
            let fields = json!({"a": "g", "b": "Timed", "c": "TBW102", "d": "4", "e": "0", "f": "0",
                "g": "1700000000000", "h": "0", "i": "", "j": "0", "k": "false", "m": "false"});
            let sent = ask(310, fields, b"x");
            let id = sent.head["extFields"]["msgId"].as_str().expect("an id").to_string();
            let physical = u64::from_str_radix(&id[16..], 16).expect("an id ends with the physical offset");
            let viewed = ask(33, json!({"offset": physical.to_string(), "topic": "Timed"}), b"");
            let record = record::decode(&viewed.body).expect("a record");
            assert_eq!(record.queue_offset, number);
            times.push(record.store_timestamp_ms);
            // Some of one time, some of another.
            if number % 3 == 2 {
                std::thread::park_timeout(std::time::Duration::from_millis(5));
            }
        }
        let search = |time: i64, boundary: Option<&str>, queue: &str| {
            let mut fields = json!({"topic": "Timed", "queueId": queue, "timestamp": time.to_string()});
            if let Some(boundary) = boundary {
                fields["boundaryType"] = boundary.into();
            }
            let found = ask(29, fields, b"");
            found.head["extFields"]["offset"].as_str().expect("an offset").parse::<usize>().expect("a number")
        };
        let edges = [0, times[0] - 1, times[11] + 1, times[11] + 1_000_000];
        let moments = edges.into_iter().chain(times.iter().flat_map(|time| [*time - 1, *time, *time + 1]));
        for time in moments {
            let lower = times.iter().filter(|stored| **stored < time).count();
            let upper = times.iter().filter(|stored| **stored <= time).count().saturating_sub(1);
            for (boundary, expected) in [
                (None, lower),
                (Some("LOWER"), lower),
                (Some("lower"), lower),
                (Some("UPPER"), upper),
                (Some("upper"), upper),
            ] {
                assert_eq!(search(time, boundary, "0"), expected, "{boundary:?} of {time} in {times:?}");
                assert_eq!(search(time, boundary, "1"), 0, "in an empty queue");
            }
        }
    }
}
