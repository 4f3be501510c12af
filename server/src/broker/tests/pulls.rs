//! Pulls, through frames: what is found, what is not, and waiting for it.

use std::time::Duration;

use ringmq_wire::code::RequestCode::*;
use ringmq_wire::code::response;

use ringmq_engine::env::sim::Disk;
use ringmq_engine::retention::Retention;

use crate::broker::Settings;
use crate::broker::limits::{PARKED_PER_QUEUE_MAX, PULL_ENTRIES_MAX};
use crate::broker::testing::{Answer, Fields, Table};
use ringmq_conn::ConnId;

/// Suspend, and the subscription is in the request: what C++ and lite pulls send.
const SUSPEND_WITH: i32 = 2 | 4;

fn offsets(answer: &Answer) -> (i64, i64, i64) {
    assert_eq!(answer.field("suggestWhichBrokerId"), "0");
    (answer.number("nextBeginOffset"), answer.number("minOffset"), answer.number("maxOffset"))
}

#[test]
fn a_queue_whose_first_records_have_retired_begins_later_and_says_so() {
    let retention = Retention { bytes_max: Some(8 << 20), ..Retention::default() };
    let mut table = Table::keeping(Disk::new(), Settings::default(), retention);
    let conn = table.connect();
    let body = "x".repeat(1 << 20);
    table.send(conn, "T", 0, "", "first").expect(0);
    for _ in 0..20 {
        table.send(conn, "T", 0, "", &body).expect(0);
        table.sim.run_for(Duration::from_millis(300));
    }
    table.sim.run_for(Duration::from_secs(2));
    let bound = |table: &mut Table, code| {
        let fields = [("topic", "T".into()), ("queueId", 0.into())];
        let answer = table.call(conn, code, &fields, &[]).expect(0);
        answer.number(if code == GetEarliestStoreTime { "timestamp" } else { "offset" })
    };
    let (min, max) = (bound(&mut table, GetMinOffset), bound(&mut table, GetMaxOffset));
    assert!(min > 0 && max == 21, "{min} to {max}");
    let below = table.pull(conn, "T", 0, 0, "*").expect(response::PULL_OFFSET_MOVED);
    assert_eq!(offsets(&below), (min, min, max));
    assert!(below.remark.contains("OFFSET_TOO_SMALL"), "{}", below.remark);
    let first = table.pull(conn, "T", 0, min, "*").expect(0);
    let record = first.records()[0];
    assert_eq!(record.queue_offset, min);
    assert_eq!(bound(&mut table, GetEarliestStoreTime), record.store_timestamp_ms);
}

/// A pull that waits, with a subscription of its own.
fn wait_at(table: &mut Table, conn: ConnId, from: i64, expression: &str) -> i32 {
    let fields = Table::pull_fields("G", "T", 0, from, SUSPEND_WITH, expression);
    table.ask(conn, PullMessage, &fields, &[])
}

#[test]
fn rule_21_pulled_records_are_complete_and_contiguous() {
    let mut table = Table::new();
    let conn = table.connect();
    for body in ["a", "b", "c"] {
        table.send(conn, "T", 0, "", body).expect(0);
    }
    let answer = table.pull(conn, "T", 0, 0, "*").expect(0);
    assert_eq!(answer.bodies(), ["a", "b", "c"]);
    for (number, record) in answer.records().iter().enumerate() {
        assert_eq!(record.queue_offset, number as i64);
        assert!(record.physical_offset > 0);
        assert_eq!(record.store_host, "10.0.0.2:10911".parse().unwrap());
        assert!(record.store_timestamp_ms > 0);
    }
}

#[test]
fn rule_11_every_outcome_of_a_pull_carries_its_four_offsets() {
    let mut table = Table::new();
    let conn = table.connect();
    table.send(conn, "T", 0, "TagA", "a").expect(0);
    table.send(conn, "T", 0, "TagB", "b").expect(0);
    #[rustfmt::skip]
    let rows = [
        // queue, from, tags    code, remark,                   (next, min, max)
        (1,       0,    "*",    19,   "NO_MESSAGE_IN_QUEUE",    (0, 0, 0)),
        (1,       5,    "*",    21,   "NO_MESSAGE_IN_QUEUE",    (0, 0, 0)),
        (0,       -1,   "*",    21,   "OFFSET_TOO_SMALL",       (0, 0, 2)),
        (0,       2,    "*",    19,   "OFFSET_OVERFLOW_ONE",    (2, 0, 2)),
        (0,       3,    "*",    21,   "OFFSET_OVERFLOW_BADLY",  (2, 0, 2)),
        (0,       0,    "*",    0,    "FOUND",                  (2, 0, 2)),
        (0,       1,    "TagB", 0,    "FOUND",                  (2, 0, 2)),
        (0,       0,    "TagC", 20,   "NO_MATCHED_MESSAGE",     (2, 0, 2)),
    ];
    for (queue, from, tags, code, remark, expected) in rows {
        for request in [PullMessage, LitePullMessage] {
            let fields = Table::pull_fields("G", "T", queue, from, 4, tags);
            let answer = table.call(conn, request, &fields, &[]);
            let what = format!("queue {queue} from {from} {tags}");
            assert_eq!((answer.code, answer.remark.as_str()), (code, remark), "{what}");
            assert_eq!(offsets(&answer), expected, "{what}");
            assert_eq!(answer.body.is_empty(), code != 0, "{what}");
        }
    }
}

#[test]
fn the_checks_of_a_pull_answer_in_their_order() {
    let mut table = Table::with(Settings { auto_create_group: false, ..Settings::default() });
    let conn = table.connect();
    table.send(conn, "T", 0, "", "x").expect(0);
    let mut define_group = |body: &str| {
        table.call(conn, UpdateAndCreateGroup, &[], body.as_bytes()).expect(0);
    };
    define_group(r#"{"groupName":"G"}"#);
    define_group(r#"{"groupName":"off","consumeEnable":false}"#);
    let dark = [
        ("topic", "Dark".into()),
        ("readQueueNums", 1.into()),
        ("writeQueueNums", 1.into()),
        ("perm", 2.into()),
        ("topicFilterType", "SINGLE_TAG".into()),
    ];
    table.call(conn, UpdateAndCreateTopic, &dark, &[]).expect(0);
    #[rustfmt::skip]
    let rows = [
        // group, topic, queue, flags, expression, code, forbiddenType, remark
        ("none", "T",    0,  4, "*",  26, None,      "subscription group [none] does not exist"),
        ("off",  "T",    0,  4, "*",  16, Some("2"), "subscription group no permission, off"),
        ("G",    "None", 0,  4, "*",  17, None,      "topic[None] not exist"),
        ("G",    "Dark", 0,  4, "*",  16, Some("3"), "the topic[Dark] pulling message is forbidden"),
        ("G",    "T",    4,  4, "*",  29, None,      "queueId[4] is illegal"),
        ("G",    "T",    -1, 4, "*",  29, None,      "queueId[-1] is illegal"),
        ("G",    "T",    0,  4, "||", 23, None,      "parse the consumer's subscription failed"),
        ("G",    "T",    0,  0, "",   24, None,      "the consumer's group info not exist"),
    ];
    for (group, topic, queue, flags, expression, code, forbidden, remark) in rows {
        let fields = Table::pull_fields(group, topic, queue, 0, flags, expression);
        let answer = table.call(conn, PullMessage, &fields, &[]);
        assert_eq!(answer.code, code, "{answer:?}");
        assert_eq!(answer.fields.get("forbiddenType").map(String::as_str), forbidden, "{answer:?}");
        assert!(answer.remark.starts_with(remark), "{}", answer.remark);
    }
}

#[test]
fn a_pull_is_filtered_by_what_the_group_subscribes_to() {
    let mut table = Table::new();
    let conn = table.connect();
    for tag in ["TagA", "TagB", "", "TagC"] {
        table.send(conn, "T", 0, tag, tag).expect(0);
    }
    table.heartbeat(conn, "c1", "G", &[("T", "TagA || TagC", 5)]).expect(0);
    let pull = |version: i64| -> Fields<'_> {
        let mut fields = Table::pull_fields("G", "T", 0, 0, 0, "");
        fields.retain(|(name, _)| *name != "subVersion");
        fields.push(("subVersion", version.into()));
        fields
    };
    assert_eq!(table.call(conn, PullMessage, &pull(5), &[]).bodies(), ["TagA", "TagC"]);
    // Go does not know the version and says 0.
    assert_eq!(table.call(conn, PullMessage, &pull(0), &[]).bodies(), ["TagA", "TagC"]);
    // A pull that overtakes its heartbeat is told to come again.
    table.call(conn, PullMessage, &pull(6), &[]).expect(response::SUBSCRIPTION_NOT_LATEST);
    let other = Table::pull_fields("G", "Other", 0, 0, 0, "");
    table.send(conn, "Other", 0, "", "x").expect(0);
    table.call(conn, PullMessage, &other, &[]).expect(response::SUBSCRIPTION_NOT_EXIST);
}

#[test]
fn a_broadcasting_group_is_refused_if_it_may_not() {
    let mut table = Table::new();
    let conn = table.connect();
    table.send(conn, "T", 0, "", "x").expect(0);
    let body = r#"{"groupName":"G","consumeBroadcastEnable":false}"#;
    table.call(conn, UpdateAndCreateGroup, &[], body.as_bytes()).expect(0);
    let heartbeat = r#"{"clientID":"c","consumerDataSet":[{"groupName":"G","messageModel":0,"subscriptionDataSet":[{"topic":"T","subString":"*","subVersion":1}]}]}"#;
    table.call(conn, HeartBeat, &[], heartbeat.as_bytes()).expect(0);
    let fields = Table::pull_fields("G", "T", 0, 0, 0, "");
    let answer = table.call(conn, PullMessage, &fields, &[]).expect(response::NO_PERMISSION);
    assert_eq!(answer.field("forbiddenType"), "4");
}

#[test]
fn one_answer_holds_32_records_and_256_kib_and_never_none() {
    let mut table = Table::new();
    let conn = table.connect();
    for number in 0..40 {
        table.send(conn, "T", 0, "", &number.to_string()).expect(0);
    }
    let answer = table.pull(conn, "T", 0, 0, "*").expect(0);
    assert_eq!((answer.records().len(), answer.number("nextBeginOffset")), (32, 32));
    let large = "x".repeat(100 * 1024);
    for _ in 0..4 {
        table.send(conn, "T", 1, "", &large).expect(0);
    }
    assert_eq!(table.pull(conn, "T", 1, 0, "*").expect(0).records().len(), 2);
    let larger = "x".repeat(600 * 1024);
    table.send(conn, "T", 2, "", &larger).expect(0);
    assert_eq!(table.pull(conn, "T", 2, 0, "*").expect(0).records().len(), 1);
}

#[test]
fn a_selective_filter_moves_on_by_a_bounded_number_of_entries() {
    let mut table = Table::new();
    let conn = table.connect();
    let mut fields = Table::send_fields("T", 0, "");
    fields.retain(|(name, _)| *name != "m");
    fields.push(("m", true.into()));
    let mut body = Vec::new();
    for _ in 0..PULL_ENTRIES_MAX + 100 {
        let item = ringmq_wire::record::batch::Item { flag: 0, body: b"x", properties: b"" };
        assert!(item.encode(&mut body));
    }
    table.call(conn, SendBatchMessage, &fields, &body).expect(0);
    table.send(conn, "T", 0, "TagA", "wanted").expect(0);
    let answer = table.pull(conn, "T", 0, 0, "TagA").expect(20);
    assert_eq!(answer.number("nextBeginOffset"), PULL_ENTRIES_MAX as i64);
    let answer = table.pull(conn, "T", 0, answer.number("nextBeginOffset"), "TagA").expect(0);
    assert_eq!(answer.bodies(), ["wanted"]);
}

#[test]
fn rule_12_a_pull_that_finds_nothing_waits_and_is_woken() {
    let mut table = Table::new();
    let (producer, consumer) = (table.connect(), table.connect());
    table.send(producer, "T", 0, "", "old").expect(0);
    let opaque = wait_at(&mut table, consumer, 1, "*");
    table.pass(Duration::from_secs(5));
    assert!(table.take_answer(consumer, opaque).is_none());
    table.send(producer, "T", 0, "", "new").expect(0);
    let answer = table.take_answer(consumer, opaque).unwrap().expect(0);
    assert_eq!((answer.bodies(), offsets(&answer)), (vec!["new".to_owned()], (2, 0, 2)));
    assert_eq!(table.broker.parked.len(), 0);
}

#[test]
fn a_parked_pull_is_answered_at_its_deadline_not_before_and_not_after() {
    let mut table = Table::new();
    let conn = table.connect();
    table.send(conn, "T", 0, "", "old").expect(0);
    let opaque = wait_at(&mut table, conn, 1, "*");
    table.pass(Duration::from_millis(14_990));
    assert!(table.take_answer(conn, opaque).is_none());
    table.pass(Duration::from_millis(20));
    let answer = table.take_answer(conn, opaque).unwrap().expect(19);
    assert_eq!((answer.remark.as_str(), offsets(&answer)), ("OFFSET_OVERFLOW_ONE", (1, 0, 1)));
}

#[test]
fn what_does_not_match_leaves_a_pull_parked_and_moves_it_on_at_the_deadline() {
    let mut table = Table::new();
    let (producer, consumer) = (table.connect(), table.connect());
    table.send(producer, "T", 0, "", "old").expect(0);
    let opaque = wait_at(&mut table, consumer, 1, "TagA");
    table.send(producer, "T", 0, "TagB", "no").expect(0);
    table.send(producer, "T", 0, "", "no").expect(0);
    assert!(table.take_answer(consumer, opaque).is_none());
    table.pass(Duration::from_secs(16));
    let answer = table.take_answer(consumer, opaque).unwrap().expect(20);
    assert_eq!(offsets(&answer), (3, 0, 3));

    let opaque = wait_at(&mut table, consumer, 3, "TagA");
    table.send(producer, "T", 0, "TagB", "no").expect(0);
    table.send(producer, "T", 0, "TagA", "yes").expect(0);
    let answer = table.take_answer(consumer, opaque).unwrap().expect(0);
    assert_eq!((answer.bodies(), offsets(&answer).0), (vec!["yes".to_owned()], 5));
}

#[test]
fn a_pull_waits_at_a_queue_that_has_no_record_yet() {
    let mut table = Table::new();
    let (producer, consumer) = (table.connect(), table.connect());
    table.send(producer, "T", 1, "", "elsewhere").expect(0);
    let opaque = wait_at(&mut table, consumer, 0, "*");
    assert!(table.take_answer(consumer, opaque).is_none());
    table.send(producer, "T", 0, "", "first").expect(0);
    assert_eq!(table.take_answer(consumer, opaque).unwrap().bodies(), ["first"]);
}

#[test]
fn parked_pulls_of_a_closed_connection_are_dropped() {
    let mut table = Table::new();
    let (producer, consumer) = (table.connect(), table.connect());
    table.send(producer, "T", 0, "", "old").expect(0);
    let opaque = wait_at(&mut table, consumer, 1, "*");
    let stays = wait_at(&mut table, producer, 1, "*");
    table.disconnect(consumer);
    assert_eq!(table.broker.parked.len(), 1);
    table.send(producer, "T", 0, "", "new").expect(0);
    assert!(table.take_answer(consumer, opaque).is_none());
    assert!(table.take_answer(producer, stays).is_some());
}

#[test]
fn many_pulls_at_one_queue_are_all_woken_in_the_order_they_came() {
    let mut table = Table::new();
    let producer = table.connect();
    table.send(producer, "T", 0, "", "old").expect(0);
    let consumers: Vec<ConnId> = (0..20).map(|_| table.connect()).collect();
    let asked: Vec<i32> = consumers.iter().map(|conn| wait_at(&mut table, *conn, 1, "*")).collect();
    table.send(producer, "T", 0, "", "new").expect(0);
    let answered: Vec<i32> =
        table.inbox.iter().filter(|answer| answer.remark == "FOUND").map(|answer| answer.opaque).collect();
    assert_eq!(answered, asked);
}

#[test]
fn at_the_bound_of_parked_pulls_one_more_is_refused_as_busy() {
    let mut table = Table::new();
    let conn = table.connect();
    table.send(conn, "T", 0, "", "old").expect(0);
    for _ in 0..PARKED_PER_QUEUE_MAX {
        wait_at(&mut table, conn, 1, "*");
    }
    let opaque = wait_at(&mut table, conn, 1, "*");
    table.take_answer(conn, opaque).unwrap().expect(response::SYSTEM_BUSY);
}

#[test]
fn a_pull_that_may_not_wait_is_answered_at_once() {
    let mut table = Table::new();
    let conn = table.connect();
    table.send(conn, "T", 0, "", "x").expect(0);
    let mut fields = Table::pull_fields("G", "T", 0, 1, SUSPEND_WITH, "*");
    fields.retain(|(name, _)| *name != "suspendTimeoutMillis");
    fields.push(("suspendTimeoutMillis", 0.into()));
    table.call(conn, PullMessage, &fields, &[]).expect(19);
    table.call(conn, PullMessage, &Table::pull_fields("G", "T", 0, 1, 4, "*"), &[]).expect(19);
}

#[test]
fn a_pull_that_waits_stores_its_offset_when_it_comes_and_only_then() {
    let mut table = Table::new();
    let (producer, conn) = (table.connect(), table.connect());
    table.send(producer, "T", 0, "", "x").expect(0);
    let mut fields = Table::pull_fields("G", "T", 0, 1, SUSPEND_WITH | 1, "*");
    fields.retain(|(name, _)| *name != "commitOffset");
    fields.push(("commitOffset", 1.into()));
    table.ask(conn, PullMessage, &fields, &[]);
    let query = [("consumerGroup", "G".into()), ("topic", "T".into()), ("queueId", 0.into())];
    assert_eq!(table.call(conn, QueryConsumerOffset, &query, &[]).expect(0).number("offset"), 1);
    let reset: Fields<'_> = query.iter().copied().chain([("commitOffset", 0.into())]).collect();
    table.call(conn, UpdateConsumerOffset, &reset, &[]).expect(0);
    table.send(producer, "T", 0, "", "wakes it").expect(0);
    assert_eq!(table.call(conn, QueryConsumerOffset, &query, &[]).expect(0).number("offset"), 0);
}

#[test]
fn records_are_seen_only_when_durable() {
    let mut table = Table::new();
    let conn = table.connect();
    table.send(conn, "T", 0, "", "old").expect(0);
    table.ask(conn, SendMessageV2, &Table::send_fields("T", 0, ""), b"not yet");
    let opaque = table.ask(conn, PullMessage, &Table::pull_fields("G", "T", 0, 0, 4, "*"), &[]);
    let answer = table.take_answer(conn, opaque).unwrap().expect(0);
    assert_eq!((answer.bodies(), offsets(&answer)), (vec!["old".to_owned()], (1, 0, 1)));
    table.settle();
    assert_eq!(table.pull(conn, "T", 0, 0, "*").bodies(), ["old", "not yet"]);
}

#[test]
fn a_record_is_viewed_by_the_physical_offset_in_its_id() {
    let mut table = Table::new();
    let conn = table.connect();
    let sent = table.send(conn, "T", 0, "", "look").expect(0);
    let (_, offset) = ringmq_wire::id::parse(sent.field("msgId")).unwrap();
    let answer = table.call(conn, ViewMessageById, &[("offset", offset.into())], &[]).expect(0);
    assert_eq!(answer.bodies(), ["look"]);
    for wrong in [offset + 1, -1, i64::MAX, 0] {
        let answer = table.call(conn, ViewMessageById, &[("offset", wrong.into())], &[]).expect(1);
        assert_eq!(answer.remark, format!("can not find message by the offset, {wrong}"));
    }
}
