//! Messages for later: by delay level, by timer, and recalled.

use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_engine::env::sim::Disk;
use ringmq_engine::retention::Retention;
use ringmq_wire::code::RequestCode::*;
use ringmq_wire::code::response;
use ringmq_wire::request::recall::RecallHandle;

use crate::broker::Settings;
use crate::broker::facts::waiting::PREFIX;
use crate::broker::limits::{MOVES_PER_TURN, NEAR_AHEAD};
use crate::broker::testing::{Answer, Table};
use crate::broker::waiting::rule::Waits;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Sends a message with properties as `A=b C=d`.
fn send(table: &mut Table, producer: ConnId, properties: &str, body: &str) -> Answer {
    let properties = format!("{properties} UNIQ_KEY=k-{body} ").replace('=', "\u{1}").replace(' ', "\u{2}");
    let fields = Table::send_fields("T", 0, &properties);
    table.call(producer, SendMessageV2, &fields, body.as_bytes()).expect(0)
}

/// The bodies in queue 0 of the topic.
fn there(table: &mut Table, conn: ConnId) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let found = table.pull(conn, "T", 0, bodies.len() as i64, "*");
        if found.code != 0 {
            return bodies;
        }
        bodies.extend(found.bodies());
    }
}

/// How many facts of waiting messages there are.
fn waiting(table: &Table) -> usize {
    let mut count = 0;
    table.store.facts_with_prefix(&[PREFIX], |_, _| count += 1);
    count
}

#[test]
fn a_message_with_a_level_is_delivered_when_its_time_has_come() {
    let mut table = Table::new();
    let (producer, consumer) = (table.connect(), table.connect());
    table.send(producer, "T", 0, "", "now").expect(0);
    let stored = table.now().wall_ms;
    let answer = send(&mut table, producer, "TAGS=A DELAY=2 X=y", "later");
    // As Apache answers: the queue that was asked for, and the place where it waits.
    assert_eq!((answer.number("queueId"), answer.number("queueOffset")), (0, 0));
    assert!(!answer.fields.contains_key("recallHandle"), "{answer:?}");
    let waits = table.pull(consumer, "SCHEDULE_TOPIC_XXXX", 1, 0, "*");
    assert_eq!(waits.bodies(), ["later"]);

    table.pass(ms(5_000 - 50));
    assert_eq!((there(&mut table, consumer), waiting(&table)), (vec!["now".to_owned()], 1));
    table.pass(ms(100));
    assert_eq!(
        (there(&mut table, consumer), waiting(&table)),
        (vec!["now".to_owned(), "later".to_owned()], 0)
    );

    let found = table.pull(consumer, "T", 0, 1, "A");
    let record = &found.records()[0];
    for (name, value) in [
        ("X", "y"),
        ("TAGS", "A"),
        ("DELAY", "2"),
        ("REAL_TOPIC", "T"),
        ("REAL_QID", "0"),
        ("UNIQ_KEY", "k-later"),
    ] {
        assert_eq!(record.property(name), Some(value), "{name}");
    }
    let waited = record.store_timestamp_ms - stored;
    assert!((5_000..=5_050).contains(&waited), "{waited}");
    assert_eq!(
        (record.born_timestamp_ms, record.born_host.to_string()),
        (1_700_000_000_000, "10.0.1.1:5000".into())
    );
    assert_eq!(
        (table.broker.waiting.lateness.count(), table.broker.next_move()),
        (1, None),
        "nothing is left to do"
    );
}

#[test]
fn a_level_keeps_its_order_and_timers_that_of_their_times() {
    let mut table = Table::new();
    let (producer, consumer) = (table.connect(), table.connect());
    let now = table.now().wall_ms;
    for (number, after) in [(0, 900), (1, 300), (2, 899), (3, 300)] {
        send(&mut table, producer, &format!("TIMER_DELIVER_MS={}", now + after), &format!("timer-{number}"));
    }
    // The clock goes back meanwhile, which the log's time does not.
    table.sim.jump_wall_clock(-400);
    for number in 0..3 {
        send(&mut table, producer, "DELAY=1", &format!("level-{number}"));
    }
    table.pass(ms(3_000));
    let there = there(&mut table, consumer);
    let of = |kind: &str| there.iter().filter(|body| body.starts_with(kind)).cloned().collect::<Vec<_>>();
    assert_eq!(of("timer"), ["timer-1", "timer-3", "timer-2", "timer-0"]);
    assert_eq!(of("level"), ["level-0", "level-1", "level-2"]);
}

#[test]
fn a_timer_is_due_at_its_millisecond_however_it_is_asked_for() {
    let mut table = Table::new();
    let (producer, consumer) = (table.connect(), table.connect());
    table.send(producer, "T", 0, "", "now").expect(0);
    let begin = table.now().wall_ms;
    for (number, asked) in [
        format!("TIMER_DELIVER_MS={}", begin + 2_345),
        "TIMER_DELAY_MS=2345".to_owned(),
        "TIMER_DELAY_SEC=2".to_owned(),
        format!("TIMER_DELIVER_MS={}", begin - 5),
    ]
    .iter()
    .enumerate()
    {
        let sent = table.now().wall_ms;
        let answer = send(&mut table, producer, asked, &format!("{number}"));
        table.pass(ms(2_600));
        let found = table.pull(consumer, "T", 0, number as i64 + 1, "*").expect(0);
        let record = &found.records()[0];
        let due = [begin + 2_345, sent + 2_345, sent + 2_000, sent][number];
        let late = record.store_timestamp_ms - due;
        assert!((0..=10).contains(&late), "{asked}: {late} ms late");
        let waited = number < 3;
        let expected = waited.then(|| (due - 1).to_string());
        assert_eq!(record.property("TIMER_OUT_MS"), expected.as_deref(), "{asked}");
        for name in ["REAL_TOPIC", "TIMER_ENQUEUE_MS", "TIMER_DEQUEUE_MS"] {
            assert_eq!(record.property(name).is_some(), waited, "{asked}: {name}");
        }
        assert_eq!(answer.fields.contains_key("recallHandle"), waited, "{asked}");
    }
}

#[test]
fn what_waits_survives_a_restart_and_is_delivered_once() {
    let mut table = Table::new();
    let producer = table.connect();
    for number in 0..50 {
        send(&mut table, producer, &format!("TIMER_DELAY_MS={}", 60_000 + number % 7), &format!("{number}"));
        send(&mut table, producer, "DELAY=5", &format!("level-{number}"));
    }
    for _ in 0..2 {
        table = table.restart();
    }
    let consumer = table.connect();
    table.pass(ms(59_000));
    assert_eq!((there(&mut table, consumer).len(), waiting(&table)), (0, 100));
    // Due while nobody was there: a simulation begins its clock anew.
    table = table.restart();
    table.sim.jump_wall_clock(120_000);
    let consumer = table.connect();
    table.pass(ms(100));
    let mut bodies = there(&mut table, consumer);
    let levels: Vec<&String> = bodies.iter().filter(|body| body.starts_with("level")).collect();
    assert!(
        levels.iter().enumerate().all(|(number, body)| **body == format!("level-{number}")),
        "{levels:?}"
    );
    bodies.sort();
    bodies.dedup();
    assert_eq!((bodies.len(), waiting(&table)), (100, 0));
    let mut table = table.restart();
    table.sim.jump_wall_clock(240_000);
    let consumer = table.connect();
    table.pass(ms(1_000));
    assert_eq!(there(&mut table, consumer).len(), 100);
}

#[test]
fn many_at_once_and_further_away_than_the_window_are_all_delivered_in_order() {
    let mut table = Table::new();
    let producer = table.connect();
    let begin = table.now().wall_ms + 1_000;
    let ahead = NEAR_AHEAD.as_millis() as i64;
    let count = 2 * MOVES_PER_TURN as i64 + 10;
    for number in 0..count {
        // Half at one moment, the others spread over three windows, sent from the last to the first.
        let due = if number % 2 == 0 { 0 } else { (count - number) * 3 * ahead / count };
        let asked = format!("TIMER_DELIVER_MS\u{1}{}\u{2}", begin + due);
        let fields = Table::send_fields("T", 0, &asked);
        table.ask(producer, SendMessageV2, &fields, format!("{due}").as_bytes());
    }
    table.settle();
    let mut table = table.restart();
    let consumer = table.connect();
    table.pass(NEAR_AHEAD * 4);
    let dues: Vec<i64> = there(&mut table, consumer).iter().map(|body| body.parse().unwrap()).collect();
    assert_eq!((dues.len() as i64, waiting(&table)), (count, 0));
    assert!(dues.is_sorted());
    assert!(
        table.broker.waiting.lateness.line().starts_with(&format!("<=5ms:{count} ")),
        "{:?}",
        table.broker.waiting.lateness
    );
}

#[test]
fn a_record_that_waits_outlives_the_segment_it_lies_in() {
    let retention = Retention { bytes_max: Some(1), ..Retention::default() };
    let mut table = Table::keeping(Disk::new(), Settings::default(), retention);
    let producer = table.connect();
    send(&mut table, producer, "DELAY=18", "level");
    send(&mut table, producer, "TIMER_DELAY_SEC=7200", "timer");
    let body = "x".repeat(1 << 20);
    for _ in 0..20 {
        table.send(producer, "Other", 0, "", &body).expect(0);
    }
    table.sim.run_until(table.store.sealed()).unwrap();
    table.pass(Duration::from_secs(100));
    assert!(table.store.log_bounds().0.0 > 0, "the segment where they were sent is gone");
    table.pass(Duration::from_secs(7_200));
    assert_eq!(there(&mut table, producer), ["level", "timer"]);
}

#[test]
fn a_full_disk_holds_up_what_is_due_until_there_is_room() {
    let mut table = Table::new();
    let (producer, consumer) = (table.connect(), table.connect());
    send(&mut table, producer, "DELAY=1", "later");
    table.sim.change_disk(|disk| disk.set_capacity(1));
    table.sim.run_for(Duration::from_secs(2));
    table.pass(Duration::from_secs(3));
    assert_eq!((there(&mut table, consumer).len(), waiting(&table)), (0, 1));
    table.sim.change_disk(|disk| disk.set_capacity(1 << 30));
    table.pass(Duration::from_secs(3));
    assert_eq!(there(&mut table, consumer), ["later"]);
}

#[test]
fn a_recalled_timer_is_never_delivered() {
    let mut table = Table::new();
    let producer = table.connect();
    let mut handles = Vec::new();
    let due = table.now().wall_ms + 30_000;
    for body in ["a", "b", "c"] {
        let answer = send(&mut table, producer, &format!("TIMER_DELIVER_MS={due}"), body);
        handles.push(answer.field("recallHandle").to_owned());
    }
    let recall = |table: &mut Table, topic: &str, handle: &str| {
        let fields =
            [("producerGroup", "PG".into()), ("topic", topic.into()), ("recallHandle", handle.into())];
        table.call(producer, RecallMessage, &fields, &[])
    };
    for _ in 0..2 {
        let answer = recall(&mut table, "T", &handles[1]).expect(0);
        assert_eq!(answer.field("msgId"), "k-b", "also when it is recalled already");
    }
    let other = |broker_name: &str, topic: &str, due_ms: i64| {
        RecallHandle { topic, broker_name, due_ms, unique_key: "k-a" }.encode()
    };
    table.send(producer, "U", 0, "", "x").expect(0);
    for (topic, handle, code, remark) in [
        ("Nope", handles[0].clone(), response::TOPIC_NOT_EXIST, "recall failed, the topic[Nope] not exist"),
        ("T", "??".to_owned(), 604, "recall handle is invalid"),
        ("U", handles[0].clone(), 604, "recall failed, topic not match"),
        ("T", other("broker-b", "T", due), 604, "recall failed, broker service not available"),
        ("T", other("broker-a", "T", 5), 604, "recall failed, timestamp invalid"),
        ("T", other("broker-a", "T", i64::MAX), 604, "recall failed, timestamp invalid"),
    ] {
        assert_eq!(recall(&mut table, topic, &handle).expect(code).remark, remark);
    }
    // Neither another topic nor another moment names it.
    recall(&mut table, "U", &other("broker-a", "U", due)).expect(0);
    recall(&mut table, "T", &other("broker-a", "T", due + 1)).expect(0);
    let mut table = table.restart();
    let consumer = table.connect();
    table.pass(ms(31_000));
    assert_eq!(there(&mut table, consumer), ["a", "c"]);

    let forbidding = Settings { waits: Waits { recall: false, ..Waits::default() }, ..Settings::default() };
    let mut table = Table::with(forbidding);
    let producer = table.connect();
    let fields = [("topic", "T".into()), ("recallHandle", "x".into())];
    table.call(producer, RecallMessage, &fields, &[]).expect(response::NO_PERMISSION);
}
