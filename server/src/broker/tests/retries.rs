//! Messages that consumers give back, and those that are given up.

use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::code::RequestCode::*;
use ringmq_wire::code::response;

use crate::broker::Settings;
use crate::broker::testing::{Answer, Fields, Table};

fn give_back<'a>(offset: i64, level: i32, times_max: Option<i32>) -> Fields<'a> {
    let mut fields: Fields<'a> = vec![
        ("offset", offset.into()),
        ("group", "G".into()),
        ("delayLevel", level.into()),
        ("originMsgId", "k".into()),
        ("originTopic", "T".into()),
        ("unitMode", false.into()),
    ];
    fields.extend(times_max.map(|max| ("maxReconsumeTimes", max.into())));
    fields
}

/// The physical offset of a record that is there.
#[track_caller]
fn place(table: &mut Table, conn: ConnId, topic: &str, queue_id: i32, offset: i64) -> i64 {
    table.pull(conn, topic, queue_id, offset, "*").expect(0).records()[0].physical_offset
}

fn properties(answer: &Answer, names: &[&str]) -> Vec<Option<String>> {
    let record = &answer.records()[0];
    names.iter().map(|name| record.property(name).map(str::to_owned)).collect()
}

#[test]
fn a_message_given_back_comes_again_after_its_level_and_is_given_up_at_last() {
    let mut table = Table::new();
    let conn = table.connect();
    table.heartbeat(conn, "c1", "G", &[("T", "*", 1)]).expect(0);
    let first = table.send(conn, "T", 2, "A", "hello").expect(0);
    let sent_id = first.field("msgId").to_owned();
    let mut from = place(&mut table, conn, "T", 2, 0);
    let names =
        ["RETRY_TOPIC", "ORIGIN_MESSAGE_ID", "DELAY", "WAIT", "REAL_TOPIC", "REAL_QID", "UNIQ_KEY", "TAGS"];
    let of = |level: &str, real: Option<&str>| -> Vec<Option<String>> {
        let own = [Some("T"), Some(sent_id.as_str()), Some(level), Some("false")];
        let real_queue = real.map(|_| "0");
        let all = own.into_iter().chain([real, real_queue, Some("k"), Some("A")]);
        all.map(|value| value.map(str::to_owned)).collect()
    };
    for (times, (wait, level)) in [(10, "3"), (30, "4"), (60, "5")].into_iter().enumerate() {
        table.call(conn, ConsumerSendMessageBack, &give_back(from, 0, Some(3)), &[]).expect(0);
        table.pass(Duration::from_millis(wait * 1_000 - 100));
        assert_eq!(table.pull(conn, "%RETRY%G", 0, times as i64, "*").bodies(), [""; 0], "{times}");
        table.pass(Duration::from_millis(200));
        let again = table.pull(conn, "%RETRY%G", 0, times as i64, "*").expect(0);
        let record = &again.records()[0];
        assert_eq!((record.body, record.reconsume_times), (&b"hello"[..], times as i32 + 1));
        assert_eq!((record.born_host.to_string(), record.topic), ("10.0.1.1:5000".to_owned(), "%RETRY%G"));
        assert_eq!(properties(&again, &names), of(level, Some("%RETRY%G")), "{times}");
        from = record.physical_offset;
    }
    table.call(conn, ConsumerSendMessageBack, &give_back(from, 0, Some(3)), &[]).expect(0);
    let dead = table.pull(conn, "%DLQ%G", 0, 0, "*").expect(0);
    assert_eq!((dead.bodies(), dead.records()[0].reconsume_times), (vec!["hello".to_owned()], 4));
    assert_eq!(properties(&dead, &names), of("0", Some("%RETRY%G")));
    let config = &table.broker.topics.get("%DLQ%G").unwrap().config;
    assert_eq!((config.read_queues, config.write_queues, config.perm.0), (1, 1, 6));
}

#[test]
fn the_group_decides_what_the_consumer_leaves_open() {
    let mut table = Table::new();
    let conn = table.connect();
    let define = |table: &mut Table, more: &str| {
        let body = format!(r#"{{"groupName":"G",{more}}}"#);
        table.call(conn, UpdateAndCreateGroup, &[], body.as_bytes()).expect(0);
    };
    table.send(conn, "T", 0, "", "x").expect(0);
    let from = place(&mut table, conn, "T", 0, 0);
    let back = |table: &mut Table, level: i32| {
        table.call(conn, ConsumerSendMessageBack, &give_back(from, level, None), &[]).expect(0);
    };

    define(&mut table, r#""retryQueueNums":0"#);
    back(&mut table, 0);
    assert!(table.broker.topics.get("%RETRY%G").is_none(), "without retry queues nothing is stored");

    define(&mut table, r#""retryMaxTimes":0"#);
    back(&mut table, 5);
    define(&mut table, r#""retryMaxTimes":16"#);
    back(&mut table, -1);
    assert_eq!(table.pull(conn, "%DLQ%G", 0, 0, "*").bodies(), ["x", "x"]);

    // As many queues as the group asks for, taken in turn; also when the topic had fewer.
    back(&mut table, 1);
    define(&mut table, r#""retryQueueNums":3"#);
    (0..3).for_each(|_| back(&mut table, 1));
    table.pass(Duration::from_secs(2));
    assert_eq!(table.broker.topics.get("%RETRY%G").unwrap().config.read_queues, 3);
    let counts: Vec<usize> =
        (0..3).map(|id| table.pull(conn, "%RETRY%G", id, 0, "*").bodies().len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 4);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn a_groups_policy_sets_the_wait() {
    for (policy, waits) in [
        (
            r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":700,"max":1500,"multiplier":2}}"#,
            [700, 1400, 1500],
        ),
        (r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1,2,300,500]}}"#, [300, 500, 500]),
    ] {
        let mut table = Table::new();
        let conn = table.connect();
        let body = format!(r#"{{"groupName":"G","groupRetryPolicy":{policy}}}"#);
        table.call(conn, UpdateAndCreateGroup, &[], body.as_bytes()).expect(0);
        table.send(conn, "T", 0, "", "x").expect(0);
        let mut from = place(&mut table, conn, "T", 0, 0);
        for (times, wait) in waits.into_iter().enumerate() {
            let given = table.now().wall_ms;
            table.call(conn, ConsumerSendMessageBack, &give_back(from, 0, Some(16)), &[]).expect(0);
            table.pass(Duration::from_millis(wait + 50));
            let again = table.pull(conn, "%RETRY%G", 0, times as i64, "*").expect(0);
            let record = &again.records()[0];
            let waited = record.store_timestamp_ms - given;
            assert!((wait as i64..=wait as i64 + 10).contains(&waited), "{policy}: {waited} of {wait}");
            assert_eq!((record.reconsume_times, record.property("DELAY")), (times as i32 + 1, None));
            from = record.physical_offset;
        }
        // A level that the consumer names goes before the policy.
        table.call(conn, ConsumerSendMessageBack, &give_back(from, 1, Some(16)), &[]).expect(0);
        table.pass(Duration::from_millis(1_050));
        let again = table.pull(conn, "%RETRY%G", 0, 3, "*").expect(0);
        assert_eq!(again.records()[0].property("DELAY"), Some("1"));
    }
}

#[test]
fn what_cannot_be_given_back_is_said_so() {
    let mut table = Table::with(Settings { auto_create_group: false, ..Settings::default() });
    let conn = table.connect();
    let code = response::SUBSCRIPTION_GROUP_NOT_EXIST;
    table.call(conn, ConsumerSendMessageBack, &give_back(0, 0, None), &[]).expect(code);
    assert!(table.broker.topics.get("%RETRY%G").is_none());

    let mut table = Table::new();
    let conn = table.connect();
    table.send(conn, "T", 0, "", "x").expect(0);
    for offset in [-1, 1, i64::MAX] {
        let answer = table.call(conn, ConsumerSendMessageBack, &give_back(offset, 0, None), &[]).expect(1);
        assert_eq!(answer.remark, format!("look message by offset failed, {offset}"));
    }
    let answer = table.call(conn, ConsumerSendMessageBack, &[("offset", 1.into())], &[]).expect(1);
    assert_eq!(answer.remark, "the custom field <group> is null");
}

#[test]
fn a_record_that_lies_on_disk_is_read_first() {
    let mut table = Table::new();
    let conn = table.connect();
    table.send(conn, "T", 0, "", "old").expect(0);
    let from = place(&mut table, conn, "T", 0, 0);
    let mut table = table.restart();
    let conn = table.connect();
    table.call(conn, ConsumerSendMessageBack, &give_back(from, 1, None), &[]).expect(0);
    let one_way = table.ask_with(conn, 36, 2, &give_back(from, 1, None), &[]);
    table.pass(Duration::from_secs(2));
    assert_eq!(table.take_answer(conn, one_way), None);
    assert_eq!(table.pull(conn, "%RETRY%G", 0, 0, "*").bodies(), ["old", "old"]);
}
