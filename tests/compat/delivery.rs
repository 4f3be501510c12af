//! Every client reads what every client sends, in every way of sending.

use std::collections::{BTreeMap, BTreeSet};

use ringmq_tests::compat::client::{ALL, Client, Kind};
use ringmq_tests::compat::site::Site;
use serde_json::{Value, json};

use crate::reading::{PATIENCE, assert_queue_order, keys, number, only, read_exactly, text};

/// Messages that each sender sends through its queue selector.
const COUNT: usize = 100;

#[test]
fn every_client_reads_what_every_client_sends() {
    for site in Site::all() {
        let site = site();
        let mut clients = start_all(&site);
        site.create_topic("TopicTest", 4, 6);
        let sent = send_through_selectors(&mut clients);
        let read = consume_from_first(&mut clients, "TopicTest", "matrix", sent.len());

        // Java's and Go's messages name their broker, C++'s do not: the first reader says where each lies.
        let places: BTreeMap<&str, &Value> =
            read[0].1.iter().map(|message| (text(message, "keys"), message)).collect();
        for (reader, messages) in &read {
            assert_eq!(keys(messages), keys(&sent), "{}: each message once", reader.label());
            for message in messages {
                let place = places[text(message, "keys")];
                for field in ["queueId", "queueOffset", "bytes"] {
                    assert_eq!(
                        message[field],
                        place[field],
                        "{field} as {} sees it: {message}",
                        reader.label()
                    );
                }
                assert_eq!(message["body"], message["keys"], "{}", reader.label());
                assert_eq!(message["tags"], "TagA", "{}", reader.label());
            }
        }
        assert_queue_order(&read[0].1);
        for send in &sent {
            let place = places[text(send, "keys")];
            assert_eq!(send["queueOffset"], place["queueOffset"], "as answered: {send}");
            if !send["queueId"].is_null() {
                assert_eq!(send["queueId"], place["queueId"], "as answered: {send}");
            }
        }
    }
}

#[test]
fn every_way_of_sending_reaches_every_reader() {
    for site in Site::all() {
        let site = site();
        let mut clients = start_all(&site);
        // Not created before: the first send does that.
        let topic = "Ways";
        let mut sent = Vec::new();
        for client in &mut clients {
            for order in ways(client.kind(), topic) {
                let id = text(&order, "prefix").to_string();
                let events = client.carry_out(&id, order.clone(), PATIENCE);
                let count = order["count"].as_u64().unwrap_or(1);
                for event in &events {
                    assert_eq!(event["event"], "sent", "{id}: {event}");
                }
                // What a one-way send or a batch stored is only known from what was asked.
                sent.extend((0..count).map(|i| format!("{id}-{i}")));
            }
        }
        sent.sort_unstable();
        for (reader, messages) in consume_from_first(&mut clients, topic, "ways", sent.len()) {
            assert_eq!(keys(&messages), sent, "{}: each message once", reader.label());
            for message in messages.iter().filter(|message| number(message, "bytes") > 256) {
                let key = text(message, "keys");
                let body = patterned(key, number(message, "bytes") as usize);
                let crc = i64::from(crc32fast::hash(&body));
                assert_eq!(number(message, "crc"), crc, "{}: the body of {key}", reader.label());
            }
        }
    }
}

#[test]
fn a_lite_pull_consumer_reads_everything() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Lite", 4, 6);
        let mut sender = site.client(Kind::Java("5.3.3"));
        let order = json!({"do": "send", "topic": "Lite", "way": "selector", "count": 40});
        sender.carry_out("first", order, PATIENCE);
        for release in ["4.9.8", "5.3.3", "5.5.0"] {
            let mut reader = site.client(Kind::Java(release));
            for assign in [false, true] {
                let id = format!("lite-{assign}");
                let group = format!("{id}-{}", reader.kind().word());
                reader.order(&id, json!({"do": "lite", "topic": "Lite", "group": group, "assign": assign}));
                let messages = read_exactly(&mut reader, &id, 40);
                assert_queue_order(&messages);
                reader.finish(&id, PATIENCE);
            }
        }
    }
}

/// The ways of sending of one client; each prefix is also the order's id and the start of its keys.
fn ways(kind: Kind, topic: &str) -> Vec<Value> {
    let word = kind.word();
    let order = |what: &str, way: &str, count: u32| json!({"do": "send", "topic": topic, "way": way, "count": count, "prefix": format!("{word}_{what}")});
    let mut orders = vec![
        order("sync", "sync", 3),
        order("async", "async", 3),
        order("oneway", "oneway", 3),
        order("消息_ключ", "sync", 2),
    ];
    orders[3]["property"] = "значение 值 \u{1F980}".into();
    let mut compressed = order("large", "sync", 2);
    compressed["bytes"] = 6000.into();
    orders.push(compressed);
    if kind != Kind::Python {
        // The C++ library marks its batches in a way that brokers do not understand.
        orders.push(order("batch", "batch", 5));
    }
    if let Kind::Java(_) = kind {
        let mut largest = order("largest", "sync", 1);
        largest["bytes"] = (4 * 1024 * 1024).into();
        orders.push(largest);
    }
    orders
}

fn start_all(site: &Site) -> Vec<Client> {
    ALL.into_iter().map(|kind| site.client(kind)).collect()
}

/// Lets all clients send at the same time; returns what was answered.
fn send_through_selectors(clients: &mut [Client]) -> Vec<Value> {
    for client in clients.iter_mut() {
        let word = client.kind().word();
        let order =
            json!({"do": "send", "topic": "TopicTest", "way": "selector", "count": COUNT, "tag": "TagA"});
        client.order(&word, order);
    }
    let mut sent = Vec::new();
    for client in clients {
        let word = client.kind().word();
        let events = client.until(&word, "done", PATIENCE);
        let refused: Vec<&Value> = events.iter().filter(|event| event["event"] == "failed").collect();
        assert!(refused.is_empty(), "sends of {word} that were refused: {refused:?}");
        let answers = only(events, "sent");
        assert_eq!(answers.len(), COUNT, "sends of {word}");
        for answer in &answers {
            assert_eq!(answer["status"], "SEND_OK", "{word}: {answer}");
        }
        sent.extend(answers);
    }
    let distinct: BTreeSet<&str> = sent.iter().map(|answer| text(answer, "keys")).collect();
    assert_eq!(distinct.len(), sent.len(), "keys are distinct");
    sent
}

/// Lets all clients consume at the same time, each with a group of its own, until each has `count`.
fn consume_from_first(
    clients: &mut [Client],
    topic: &str,
    what: &str,
    count: usize,
) -> Vec<(Kind, Vec<Value>)> {
    let id = format!("{what}-reader");
    for client in clients.iter_mut() {
        let group = format!("{what}-{}", client.kind().word());
        client.order(&id, json!({"do": "consume", "topic": topic, "group": group}));
    }
    let mut read = Vec::new();
    for client in clients.iter_mut() {
        read.push((client.kind(), read_exactly(client, &id, count)));
    }
    for client in clients {
        client.finish(&id, PATIENCE);
    }
    read
}

/// The body that the client programs make for a key and a size.
fn patterned(key: &str, bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes + 64);
    for n in 0.. {
        if body.len() >= bytes {
            break;
        }
        body.extend_from_slice(format!("{key}:{n}\n").as_bytes());
    }
    body.truncate(bytes);
    body
}
