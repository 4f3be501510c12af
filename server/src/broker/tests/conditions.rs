//! Pulls with a condition on properties, through frames: hot and cold, parked, of heartbeats and of pulls.

use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::code::RequestCode::*;
use ringmq_wire::code::response;

use crate::broker::Settings;
use crate::broker::limits::{PULL_BYTES_MAX, PULL_ENTRIES_MAX};
use crate::broker::testing::{Answer, Fields, Table};

/// Sends one message with a property `a`.
fn send(table: &mut Table, conn: ConnId, a: i32, body: &[u8]) {
    let properties = format!("a\x01{a}\x02");
    table.call(conn, SendMessageV2, &Table::send_fields("T", 0, &properties), body).expect(0);
}

/// The fields of a pull that brings its condition.
fn with_condition(from: i64, flags: i32, condition: &str) -> Fields<'_> {
    let mut fields = Table::pull_fields("G", "T", 0, from, flags | 4, condition);
    fields.push(("expressionType", "SQL92".into()));
    fields
}

fn pull(table: &mut Table, conn: ConnId, from: i64, condition: &str) -> Answer {
    table.call(conn, PullMessage, &with_condition(from, 0, condition), &[])
}

/// Offsets of the records, and where to go on.
fn outcome(answer: &Answer) -> (i32, Vec<i64>, i64) {
    let offsets = answer.records().iter().map(|record| record.queue_offset).collect();
    (answer.code, offsets, answer.number("nextBeginOffset"))
}

#[test]
fn only_records_that_fulfil_the_condition_are_delivered() {
    let mut table = Table::new();
    let conn = table.connect();
    (0..40).for_each(|a| send(&mut table, conn, a, b"x"));
    let mut out = |from, condition| outcome(&pull(&mut table, conn, from, condition));
    assert_eq!(out(0, "a BETWEEN 3 AND 5"), (0, vec![3, 4, 5], 40));
    assert_eq!(out(4, "a BETWEEN 3 AND 5"), (0, vec![4, 5], 40));
    assert_eq!(out(0, "a > 99"), (response::PULL_RETRY_IMMEDIATELY, vec![], 40));
    assert_eq!(out(0, "a = 'x' OR NOT (a < 1)"), (0, (1..33).collect(), 33), "as many as a pull may have");
    assert_eq!(out(40, "a > 99"), (response::PULL_NOT_FOUND, vec![], 40));
    let refused = pull(&mut table, conn, 0, "a > 'x'").expect(response::SUBSCRIPTION_PARSE_FAILED);
    assert_eq!(refused.remark, "parse the consumer's subscription failed: Value ''x'' cannot be compared.");
}

#[test]
fn a_pull_looks_at_a_bounded_number_of_records_and_moves_the_client_on() {
    let mut table = Table::new();
    let conn = table.connect();
    let fields = Table::send_fields("T", 0, "a\x011\x02");
    for _ in 0..=PULL_ENTRIES_MAX {
        table.ask(conn, SendMessageV2, &fields, b"x");
    }
    table.settle();
    let none = (response::PULL_RETRY_IMMEDIATELY, vec![], PULL_ENTRIES_MAX as i64);
    assert_eq!(outcome(&pull(&mut table, conn, 0, "a = 2")), none);
    // A condition that is dear ends a pull earlier.
    let dear = format!("a = '{}'", "x' OR a = '".repeat(400));
    let (code, _, next) = outcome(&pull(&mut table, conn, 0, &dear));
    assert_eq!(code, response::PULL_RETRY_IMMEDIATELY);
    assert!(next > 0 && next < PULL_ENTRIES_MAX as i64, "{next}");
}

#[test]
fn records_on_disk_are_read_before_the_condition_is_evaluated() {
    let mut table = Table::new();
    let conn = table.connect();
    let body = vec![b'x'; 100 * 1024];
    (0..300).for_each(|a| send(&mut table, conn, a, &body));
    table.settle();
    let (mut next, mut found) = (0, Vec::new());
    while next < 300 {
        let answer = pull(&mut table, conn, next, "a IN ('7', '8', '150', '299')");
        let (code, offsets, after) = outcome(&answer);
        assert_eq!(code == 0, !offsets.is_empty());
        assert!(after > next && (after - next) as usize <= PULL_BYTES_MAX / body.len(), "{next} to {after}");
        (next, found) = (after, [found, offsets].concat());
    }
    assert_eq!(found, [7, 8, 150, 299]);
}

#[test]
fn a_parked_pull_is_woken_by_a_record_that_fulfils_its_condition_and_by_no_other() {
    let mut table = Table::new();
    let conn = table.connect();
    send(&mut table, conn, 1, b"before");
    let opaque = table.ask(conn, PullMessage, &with_condition(1, 2, "a = 7"), &[]);
    (0..5).for_each(|a| send(&mut table, conn, a, b"other"));
    assert_eq!(table.take_answer(conn, opaque), None);
    send(&mut table, conn, 7, b"this");
    let answer = table.take_answer(conn, opaque).unwrap();
    assert_eq!((answer.bodies(), outcome(&answer).2), (vec!["this".to_owned()], 7));
    // At its deadline it moves on past what was examined.
    let opaque = table.ask(conn, PullMessage, &with_condition(7, 2, "a = 7"), &[]);
    send(&mut table, conn, 1, b"other");
    table.pass(Duration::from_secs(16));
    let none = (response::PULL_RETRY_IMMEDIATELY, vec![], 8);
    assert_eq!(outcome(&table.take_answer(conn, opaque).unwrap()), none);
}

fn heartbeat(table: &mut Table, conn: ConnId, condition: &str, version: i64) {
    let body = format!(
        r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"G","subscriptionDataSet":[{{"topic":"T","expressionType":"SQL92","subString":"{condition}","subVersion":{version}}}]}}]}}"#
    );
    table.call(conn, HeartBeat, &[], body.as_bytes()).expect(0);
}

#[test]
fn a_group_subscribes_by_a_condition_in_its_heartbeats() {
    let mut table = Table::new();
    let conn = table.connect();
    (0..6).for_each(|a| send(&mut table, conn, a, b"x"));
    let mut subscribed = |condition: &str, version: i64| {
        heartbeat(&mut table, conn, condition, version);
        let mut fields = Table::pull_fields("G", "T", 0, 0, 0, "");
        fields.retain(|(name, _)| *name != "subVersion");
        fields.push(("subVersion", version.into()));
        table.call(conn, PullMessage, &fields, &[])
    };
    assert_eq!(outcome(&subscribed("a > 3", 1).expect(0)).1, [4, 5]);
    assert_eq!(outcome(&subscribed("a < 2", 2).expect(0)).1, [0, 1]);
    let broken = subscribed("a <", 3).expect(response::FILTER_DATA_NOT_EXIST);
    assert_eq!(broken.remark, "The broker's consumer filter data not exist!Your expression may be wrong!");
    assert_eq!(outcome(&subscribed("a = 3", 4).expect(0)).1, [3]);
}

#[test]
fn an_operator_may_not_want_conditions() {
    let mut table = Table::with(Settings { property_filter: false, ..Settings::default() });
    let conn = table.connect();
    send(&mut table, conn, 1, b"x");
    let refused = "The broker does not support consumer to filter message by SQL92";
    assert_eq!(pull(&mut table, conn, 0, "a = 1").expect(1).remark, refused);
    heartbeat(&mut table, conn, "a = 1", 1);
    let fields = Table::pull_fields("G", "T", 0, 0, 0, "");
    assert_eq!(table.call(conn, PullMessage, &fields, &[]).expect(1).remark, refused);
}
