//! What the official clients and Apache's tools really sent, sent to this broker; and its answers beside
//! Apache's own to the same requests: the same codes, the same header fields.
//!
//! The frames are `net/wire/tests/golden`, which says how they were captured. Offsets, ids and times differ, so
//! values are not compared.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmq_wire::HeadScratch;
use ringmq_wire::code::RequestCode;
use ringmq_wire::frame::{self, Decoded};

use crate::broker::access::{self, Permission};
use crate::broker::testing::{Answer, Table, captured_frames};

/// Requests that we answer otherwise than Apache, and why.
const DIFFERENT: [(i32, &str); 1] =
    [(36, "no record begins here where the one began that was given back there")];

/// Fields of Apache's answers that ours leave out: those of the second form of heartbeats, which is not offered,
/// and flags that are always 0.
const LEFT_OUT: [&str; 4] = ["IS_SUB_CHANGE", "IS_SUPPORT_HEART_BEAT_V2", "groupSysFlag", "topicSysFlag"];

/// One captured frame.
struct Captured {
    code: i32,
    fields: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

/// A request and Apache's answers to it, by code.
struct Exchange {
    name: String,
    request: Captured,
    replies: BTreeMap<i32, Captured>,
}

fn read(bytes: Vec<u8>) -> Captured {
    let Ok(Decoded::Frame(frame, _)) = frame::decode(&bytes) else { panic!("a whole frame") };
    let mut scratch = HeadScratch::default();
    let head = scratch.decode(frame.format, frame.head).unwrap();
    let fields = head.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Captured { code: head.code, fields, bytes }
}

/// All requests to a broker, by who sent them.
fn exchanges() -> BTreeMap<String, Vec<Exchange>> {
    let frames = captured_frames();
    let mut exchanges: BTreeMap<String, Vec<Exchange>> = BTreeMap::new();
    for (name, bytes) in &frames {
        if !name.ends_with("-request") || name.contains("-server-") {
            continue;
        }
        let request = read(bytes.clone());
        let code = request.code;
        let Some(known) = RequestCode::from_number(code) else { panic!("{name}") };
        if access::permission(known) == Permission::Never {
            continue;
        }
        let replies = frames.iter().filter(|(reply, _)| reply.starts_with(&format!("{name}-reply-")));
        let replies = replies.map(|(_, bytes)| read(bytes.clone()));
        let replies = replies.map(|reply| (reply.code, reply)).collect();
        let who = name.split(&format!("-{code}-")).next().unwrap();
        let exchange = Exchange { name: name.clone(), request, replies };
        exchanges.entry(who.to_owned()).or_default().push(exchange);
    }
    exchanges
}

/// The order in which a client would do things: define, say who it is, send, consume, leave.
fn order(code: i32) -> usize {
    const ORDER: [i32; 10] = [17, 200, 34, 10, 310, 320, 41, 14, 35, 215];
    match ORDER.iter().position(|known| *known == code) {
        Some(at) if at < 8 => at,
        Some(at) => at + 100,
        None => 50,
    }
}

fn send(table: &mut Table, conn: ringmq_conn::ConnId, request: &Captured) -> Option<Answer> {
    let Ok(Decoded::Frame(frame, _)) = frame::decode(&request.bytes) else { panic!("a whole frame") };
    let mut scratch = HeadScratch::default();
    let head = scratch.decode(frame.format, frame.head).unwrap();
    let now = table.now();
    table.broker.handle(conn, frame.format, &head, frame.body, now, &mut table.outbox);
    table.settle();
    if table.broker.parked.len() > 0 {
        table.pass(Duration::from_secs(21));
    }
    table.take_answer(conn, head.opaque)
}

/// Codes that depend on where the queue and the group are, which is not the same here as it was there.
fn table_of(code: i32) -> &'static [i32] {
    match code {
        // 24 and 25: only the first heartbeat of each client was captured.
        11 | 361 => &[0, 19, 20, 21, 24, 25],
        12 | 14 => &[0, 22],
        _ => &[],
    }
}

#[test]
fn captured_requests_are_answered_as_apache_answered_them() {
    let mut compared = 0;
    // One broker for all: the tools, which come last by name, look at what the clients made.
    let mut table = Table::new();
    for (who, mut exchanges) in exchanges() {
        // Not every group's heartbeat was captured, but all of them were there.
        let others = table.connect();
        for Exchange { request, .. } in &exchanges {
            if let Some(group) = request.fields.get("consumerGroup").filter(|group| !group.is_empty()) {
                table.heartbeat(others, "other", group, &[]).expect(0);
            }
        }
        table.disconnect(others);
        let conn = table.connect();
        exchanges.sort_by_key(|exchange| (order(exchange.request.code), exchange.name.clone()));
        for Exchange { name, request, replies } in exchanges {
            let answer = send(&mut table, conn, &request);
            table.inbox.clear();
            if name.contains("-oneway-") {
                assert_eq!(answer, None, "{name}");
                continue;
            }
            let answer = answer.unwrap_or_else(|| panic!("{who}: no answer to {name}"));
            if DIFFERENT.iter().any(|(code, _)| *code == request.code) {
                assert_ne!(answer.code, 0, "{name}");
                continue;
            }
            let found = table_of(request.code).contains(&answer.code) || replies.contains_key(&answer.code);
            assert!(found || (replies.is_empty() && answer.code == 0), "{name}: {answer:?}");
            if let Some(reply) = replies.get(&answer.code) {
                let fields: Vec<&String> = answer.fields.keys().collect();
                let apache = reply.fields.keys().filter(|name| !LEFT_OUT.contains(&name.as_str()));
                assert_eq!(fields, apache.collect::<Vec<_>>(), "{name}");
                compared += 1;
            }
        }
    }
    assert!(compared > 50, "{compared}");
}
