//! Group offsets and queue bounds, through frames.

use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::code::RequestCode::*;
use ringmq_wire::code::response;

use crate::broker::testing::{Answer, Fields, Table};

fn query(table: &mut Table, conn: ConnId, group: &str, queue_id: i32, zero: &str) -> Answer {
    let mut fields: Fields<'_> =
        vec![("consumerGroup", group.into()), ("topic", "T".into()), ("queueId", queue_id.into())];
    if !zero.is_empty() {
        fields.push(("setZeroIfNotFound", zero.into()));
    }
    table.call(conn, QueryConsumerOffset, &fields, &[])
}

fn commit(table: &mut Table, conn: ConnId, group: &str, topic: &str, queue_id: i32, offset: i64) -> Answer {
    let fields = [
        ("consumerGroup", group.into()),
        ("topic", topic.into()),
        ("queueId", queue_id.into()),
        ("commitOffset", offset.into()),
    ];
    table.call(conn, UpdateConsumerOffset, &fields, &[])
}

/// A broker with topic T, three records in queue 0, and a group G whose member is the connection.
fn table() -> (Table, ConnId) {
    let mut table = Table::new();
    let conn = table.connect();
    for body in ["a", "b", "c"] {
        table.send(conn, "T", 0, "", body).expect(0);
    }
    table.heartbeat(conn, "c1", "G", &[("T", "*", 1)]).expect(0);
    (table, conn)
}

#[test]
fn rule_16_an_unknown_offset_is_not_found_rather_than_zero() {
    let (mut table, conn) = table();
    // A queue without a record says nothing about where to begin.
    let answer = query(&mut table, conn, "G", 1, "").expect(response::QUERY_NOT_FOUND);
    assert_eq!(answer.remark, "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first");
    assert_eq!(answer.fields.get("offset"), None);
    // One that begins at 0 gives everything to a new group: users rely on it.
    assert_eq!(query(&mut table, conn, "G", 0, "").expect(0).number("offset"), 0);
    assert_eq!(query(&mut table, conn, "never seen", 0, "true").expect(0).number("offset"), 0);
    let answer = query(&mut table, conn, "G", 0, "false").expect(response::QUERY_NOT_FOUND);
    assert_eq!(answer.remark, "Not found, do not set to zero, maybe this group boot first");
    query(&mut table, conn, "G", -1, "").expect(response::QUERY_NOT_FOUND);
}

#[test]
fn an_offset_is_stored_also_when_smaller_and_survives_a_restart() {
    let (mut table, conn) = table();
    for offset in [2, 3, 1, 1] {
        commit(&mut table, conn, "G", "T", 0, offset).expect(0);
        assert_eq!(query(&mut table, conn, "G", 0, "").expect(0).number("offset"), offset);
    }
    table.pass(Duration::from_secs(2));
    let mut table = table.restart();
    let conn = table.connect();
    assert_eq!(query(&mut table, conn, "G", 0, "").expect(0).number("offset"), 1);
}

#[test]
fn rule_17_a_negative_offset_is_ignored() {
    let (mut table, conn) = table();
    commit(&mut table, conn, "G", "T", 1, -1).expect(0);
    query(&mut table, conn, "G", 1, "").expect(response::QUERY_NOT_FOUND);
    commit(&mut table, conn, "G", "T", 0, 2).expect(0);
    commit(&mut table, conn, "G", "T", 0, -1).expect(0);
    assert_eq!(query(&mut table, conn, "G", 0, "").expect(0).number("offset"), 2);
}

#[test]
fn an_offset_of_what_is_not_there_is_refused() {
    let (mut table, conn) = table();
    commit(&mut table, conn, "none", "T", 0, 1).expect(response::SUBSCRIPTION_GROUP_NOT_EXIST);
    commit(&mut table, conn, "G", "None", 0, 1).expect(response::TOPIC_NOT_EXIST);
    commit(&mut table, conn, "G", "T", 4, 1).expect(response::INVALID_PARAMETER);
    table.call(conn, UpdateConsumerOffset, &[("topic", "T".into())], &[]).expect(response::SYSTEM_ERROR);
}

#[test]
fn the_same_offset_again_writes_nothing() {
    let (mut table, conn) = table();
    commit(&mut table, conn, "G", "T", 0, 2).expect(0);
    table.pass(Duration::from_secs(3));
    let (_, before) = table.store.log_bounds();
    for _ in 0..100 {
        commit(&mut table, conn, "G", "T", 0, 2).expect(0);
    }
    table.pass(Duration::from_secs(3));
    assert_eq!(table.store.log_bounds().1, before);
}

#[test]
fn offsets_are_taken_after_a_client_has_left() {
    let (mut table, conn) = table();
    let leave = [("clientID", "c1".into()), ("consumerGroup", "G".into()), ("producerGroup", "".into())];
    table.call(conn, UnregisterClient, &leave, &[]).expect(0);
    commit(&mut table, conn, "G", "T", 0, 3).expect(0);
    assert_eq!(query(&mut table, conn, "G", 0, "").expect(0).number("offset"), 3);
}

#[test]
fn the_bounds_of_queues_are_told() {
    let (mut table, conn) = table();
    let mut ask = |code, topic: &str, queue_id: i32, name: &str| {
        let fields = [("topic", topic.into()), ("queueId", queue_id.into())];
        table.call(conn, code, &fields, &[]).expect(0).number(name)
    };
    assert_eq!(ask(GetMaxOffset, "T", 0, "offset"), 3);
    assert_eq!(ask(GetMinOffset, "T", 0, "offset"), 0);
    for (topic, queue_id) in [("T", 1), ("T", 99), ("T", -1), ("None", 0)] {
        assert_eq!(ask(GetMaxOffset, topic, queue_id, "offset"), 0);
        assert_eq!(ask(GetMinOffset, topic, queue_id, "offset"), 0);
        assert_eq!(ask(GetEarliestStoreTime, topic, queue_id, "timestamp"), -1);
    }
    let pulled = table.pull(conn, "T", 0, 0, "*");
    let first = pulled.records()[0].store_timestamp_ms;
    let fields = [("topic", "T".into()), ("queueId", 0.into())];
    assert_eq!(table.call(conn, GetEarliestStoreTime, &fields, &[]).number("timestamp"), first);
}

#[test]
fn the_end_that_is_told_is_that_of_what_consumers_see() {
    let (mut table, conn) = table();
    table.ask(conn, SendMessageV2, &Table::send_fields("T", 0, ""), b"not yet durable");
    let fields = [("topic", "T".into()), ("queueId", 0.into())];
    let opaque = table.ask(conn, GetMaxOffset, &fields, &[]);
    assert_eq!(table.take_answer(conn, opaque).unwrap().number("offset"), 3);
    table.settle();
    assert_eq!(table.call(conn, GetMaxOffset, &fields, &[]).number("offset"), 4);
}

#[test]
fn offsets_are_searched_by_time() {
    let mut table = Table::new();
    let conn = table.connect();
    for body in ["a", "b", "c"] {
        table.send(conn, "T", 0, "", body).expect(0);
        table.pass(Duration::from_secs(10));
    }
    let pulled = table.pull(conn, "T", 0, 0, "*");
    let times: Vec<i64> = pulled.records().iter().map(|record| record.store_timestamp_ms).collect();
    #[rustfmt::skip]
    let rows = [
        // time,         lower, upper
        (0,              0,     0),
        (times[0],       0,     0),
        (times[0] + 1,   1,     0),
        (times[1],       1,     1),
        (times[2],       2,     2),
        (times[2] + 1,   3,     2),
        (i64::MAX,       3,     2),
        (-1,             0,     0),
    ];
    for (time, lower, upper) in rows {
        for (boundary, expected) in [("", lower), ("lower", lower), ("UPPER", upper)] {
            let fields = [
                ("topic", "T".into()),
                ("queueId", 0.into()),
                ("timestamp", time.into()),
                ("boundaryType", boundary.into()),
            ];
            let answer = table.call(conn, SearchOffsetByTimestamp, &fields, &[]).expect(0);
            assert_eq!(answer.number("offset"), expected, "{time} {boundary}");
        }
    }
    let empty = [("topic", "T".into()), ("queueId", 1.into()), ("timestamp", 5.into())];
    assert_eq!(table.call(conn, SearchOffsetByTimestamp, &empty, &[]).expect(0).number("offset"), 0);
}
