//! Queries by key, through frames.

use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::code::RequestCode::*;
use ringmq_wire::code::response;

use crate::broker::limits::{INSPECTED_BYTES_MAX, QUERY_BYTES_MAX};
use crate::broker::testing::{Answer, Table};

const EVER: (i64, i64) = (0, i64::MAX);

/// Sends one message with these properties; gives its store time.
fn send(table: &mut Table, conn: ConnId, topic: &str, properties: &str, body: &[u8]) -> i64 {
    let fields = Table::send_fields(topic, 0, properties);
    table.call(conn, SendMessageV2, &fields, body).expect(0);
    table.sim.run_for(Duration::from_millis(5));
    let queue = table.store.find_queue(topic, 0).unwrap();
    let (_, end) = table.store.bounds(queue);
    table.store.store_time(queue, ringmq_engine::offset::QueueOffset(end.0 - 1)).unwrap()
}

/// What a query says, whatever it says.
fn query(
    table: &mut Table,
    conn: ConnId,
    topic: &str,
    key: &str,
    max: i32,
    (from, to): (i64, i64),
) -> Answer {
    let fields = [
        ("topic", topic.into()),
        ("key", key.into()),
        ("maxNum", max.into()),
        ("beginTimestamp", from.into()),
        ("endTimestamp", to.into()),
    ];
    table.call(conn, QueryMessage, &fields, &[])
}

/// The bodies that a query finds; none if it says that there are none.
fn found(
    table: &mut Table,
    conn: ConnId,
    topic: &str,
    key: &str,
    max: i32,
    times: (i64, i64),
) -> Vec<String> {
    let answer = query(table, conn, topic, key, max, times);
    if answer.code == response::QUERY_NOT_FOUND {
        assert_eq!(answer.remark, "can not find message, maybe time range not correct");
        return Vec::new();
    }
    let answer = answer.expect(0);
    assert!(answer.number("indexLastUpdateTimestamp") > 0 && answer.number("indexLastUpdatePhyoffset") > 0);
    answer.bodies()
}

#[test]
fn messages_are_found_by_their_keys_the_newest_of_them_in_the_order_of_the_log() {
    let mut table = Table::new();
    let conn = table.connect();
    let times: Vec<i64> = (0..5)
        .map(|number| {
            let properties = format!("KEYS\x01all k{}\x02UNIQ_KEY\x01u{number}\x02", number % 2);
            send(&mut table, conn, "T", &properties, number.to_string().as_bytes())
        })
        .collect();
    send(&mut table, conn, "Other", "KEYS\x01all\x02UNIQ_KEY\x01u1\x02", b"other");
    send(&mut table, conn, "T", "", b"without keys");

    let between = |from: usize, to: usize| (times[from], times[to]);
    /// Topic, key, how many at most, stored when, and what is found.
    type Row<'a> = (&'a str, &'a str, i32, (i64, i64), &'a [&'a str]);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        ("T",     "all",     64, EVER,                         &["0", "1", "2", "3", "4"]),
        ("T",     "all",      2, EVER,                         &["3", "4"]),
        ("T",     "all",      0, EVER,                         &[]),
        ("T",     "all",     -1, EVER,                         &[]),
        ("T",     "k1",      64, EVER,                         &["1", "3"]),
        ("T",     "u3",      64, EVER,                         &["3"]),
        ("T",     "all k1",  64, EVER,                         &[]),
        ("T",     "",        64, EVER,                         &[]),
        ("T",     "ALL",     64, EVER,                         &[]),
        ("Other", "u1",      64, EVER,                         &["other"]),
        ("None",  "all",     64, EVER,                         &[]),
        ("T",     "all",     64, between(1, 3),                &["1", "2", "3"]),
        ("T",     "all",     64, (times[1] + 1, times[3] - 1), &["2"]),
        ("T",     "all",     64, (times[4] + 1, i64::MAX),     &[]),
        ("T",     "all",     64, (times[3], times[1]),         &[]),
        ("T",     "all",     64, (i64::MIN, i64::MIN),         &[]),
    ];
    for restarted in [false, true] {
        for (topic, key, max, times, expected) in rows {
            let found = found(&mut table, conn, topic, key, *max, *times);
            assert_eq!(found, *expected, "{topic} {key:?} {max} {times:?}, restarted: {restarted}");
        }
        if !restarted {
            table = table.restart();
            assert_eq!(table.connect(), conn);
        }
    }
}

#[test]
fn a_query_by_unique_key_asks_for_as_many_as_apaches() {
    let mut table = Table::new();
    let conn = table.connect();
    for number in 0..70 {
        send(&mut table, conn, "T", "UNIQ_KEY\x01same\x02", format!("{number}").as_bytes());
    }
    let mut fields = vec![
        ("topic", "T".into()),
        ("key", "same".into()),
        ("maxNum", 1.into()),
        ("beginTimestamp", 0.into()),
        ("endTimestamp", i64::MAX.into()),
        ("_UNIQUE_KEY_QUERY", "true".into()),
    ];
    assert_eq!(table.call(conn, QueryMessage, &fields, &[]).expect(0).bodies().len(), 32);
    fields[2].1 = 100.into();
    fields[5].1 = "false".into();
    let bodies = table.call(conn, QueryMessage, &fields, &[]).expect(0).bodies();
    assert_eq!((bodies.len(), &*bodies[0], &*bodies[63]), (64, "6", "69"));
    table.call(conn, QueryMessage, &fields[..4], &[]).expect(response::SYSTEM_ERROR);
}

#[test]
fn what_is_not_durable_yet_is_not_found() {
    let mut table = Table::new();
    let conn = table.connect();
    send(&mut table, conn, "T", "KEYS\x01k\x02", b"durable");
    table.ask(conn, SendMessageV2, &Table::send_fields("T", 0, "KEYS\x01k\x02"), b"on its way");
    let fields = [
        ("topic", "T".into()),
        ("key", "k".into()),
        ("maxNum", 9.into()),
        ("beginTimestamp", 0.into()),
        ("endTimestamp", i64::MAX.into()),
    ];
    let opaque = table.ask(conn, QueryMessage, &fields, &[]);
    assert_eq!(table.take_answer(conn, opaque).unwrap().bodies(), ["durable"]);
    table.settle();
    assert_eq!(table.call(conn, QueryMessage, &fields, &[]).bodies(), ["durable", "on its way"]);
}

#[test]
fn records_on_disk_are_found_step_by_step_and_the_answer_has_a_bound() {
    let mut table = Table::new();
    let conn = table.connect();
    let body = vec![b'x'; 100 * 1024];
    // Several segments, most of them out of memory; a step reads two or three of these.
    const _: () = assert!(INSPECTED_BYTES_MAX < 3 * 100 * 1024 && QUERY_BYTES_MAX > 10 * 100 * 1024);
    for number in 0..300 {
        let properties = format!("KEYS\x01all n{}\x02", number % 60);
        send(&mut table, conn, "T", &properties, &body);
    }
    table.settle();
    let mut ask = |key: &str, max: i32| {
        let answer = query(&mut table, conn, "T", key, max, EVER).expect(0);
        answer.records().iter().map(|record| record.queue_offset).collect::<Vec<_>>()
    };
    assert_eq!(ask("n7", 64), [7, 67, 127, 187, 247]);
    assert_eq!(ask("all", 4), [296, 297, 298, 299]);
    let all = ask("all", 64);
    let expected = QUERY_BYTES_MAX / (101 * 1024);
    assert!(all.len() == expected && all.ends_with(&[298, 299]), "{all:?}");
    // One that is larger than the bound is given nevertheless.
    send(&mut table, conn, "T", "KEYS\x01large\x02", &vec![b'y'; 2 * QUERY_BYTES_MAX]);
    assert_eq!(found(&mut table, conn, "T", "large", 64, EVER).len(), 1);
}

#[test]
fn a_key_of_the_same_hash_is_not_mistaken_for_the_one_that_is_asked_for() {
    // CRC-32 is linear: two keys that differ by a multiple of its polynomial have one hash.
    let (one, other) = ("plumless", "buckeroo");
    let hash = |key: &str| crc32(&format!("T#{key}"));
    assert_eq!(hash(one), hash(other));
    let mut table = Table::new();
    let conn = table.connect();
    send(&mut table, conn, "T", &format!("KEYS\x01{one}\x02"), b"one");
    assert_eq!(found(&mut table, conn, "T", one, 9, EVER), ["one"]);
    assert_eq!(found(&mut table, conn, "T", other, 9, EVER), [""; 0]);
}

fn crc32(text: &str) -> u32 {
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1)))
    };
    !text.bytes().fold(!0, step)
}
