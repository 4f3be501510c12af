//! Sends, through frames.

use ringmq_engine::env::sim::Fault;
use ringmq_wire::Value;
use ringmq_wire::code::RequestCode::*;
use ringmq_wire::code::response;
use ringmq_wire::record::batch::Item;
use ringmq_wire::record::{properties, sys_flag};

use crate::broker::Settings;
use crate::broker::limits::{BODY_BYTES_MAX, PROPERTIES_BYTES_MAX};
use crate::broker::testing::{Fields, Table};

/// The fields of a send with some replaced.
fn with<'a>(mut fields: Fields<'a>, name: &'a str, value: Value<'a>) -> Fields<'a> {
    fields.retain(|(known, _)| *known != name);
    fields.push((name, value));
    fields
}

fn items(items: &[(i32, &str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (flag, text, properties) in items {
        let item = Item { flag: *flag, body: text.as_bytes(), properties: properties.as_bytes() };
        assert!(item.encode(&mut body));
    }
    body
}

#[test]
fn rule_10_a_send_is_answered_with_its_place() {
    let mut table = Table::new();
    let producer = table.connect();
    for expected in 0..3 {
        let answer = table.send(producer, "TopicA", 2, "TagA", "hello").expect(0);
        assert_eq!((answer.number("queueId"), answer.number("queueOffset")), (2, expected));
        assert_eq!(answer.field("msgId").len(), 32);
        assert!(answer.field("msgId").starts_with("0A00000200002A9F"));
        assert_eq!(answer.field("transactionId"), "k");
        assert_eq!((answer.field("MSG_REGION"), answer.field("TRACE_ON")), ("DefaultRegion", "true"));
    }
}

#[test]
fn a_send_is_answered_only_when_durable_also_with_wait_false() {
    let mut table = Table::new();
    let producer = table.connect();
    for properties in ["WAIT\u{1}true\u{2}", "WAIT\u{1}false\u{2}"] {
        let fields = Table::send_fields("T", 0, properties);
        let opaque = table.ask(producer, SendMessageV2, &fields, b"x");
        assert!(table.take_answer(producer, opaque).is_none(), "nothing is on disk yet");
        table.settle();
        table.take_answer(producer, opaque).unwrap().expect(0);
    }
}

#[test]
fn rule_20_a_one_way_send_gets_no_answer_and_one_without_the_flag_does() {
    let mut table = Table::new();
    let producer = table.connect();
    let fields = Table::send_fields("T", 0, "");
    table.ask_with(producer, SendMessageV2.number(), 2, &fields, b"silent");
    // Not even an error is told.
    table.ask_with(producer, SendMessageV2.number(), 2, &Table::send_fields("no good", 0, ""), b"x");
    table.ask_with(producer, 999, 2, &[], b"");
    table.settle();
    assert_eq!(table.inbox, []);
    table.call(producer, SendMessageV2, &fields, b"told").expect(0);
    assert_eq!(table.pull(producer, "T", 0, 0, "*").bodies(), ["silent", "told"]);
}

#[test]
fn v1_names_are_read_for_code_10_and_as_a_fallback() {
    let mut table = Table::new();
    let producer = table.connect();
    let long: Fields<'_> = vec![
        ("producerGroup", "PG".into()),
        ("topic", "T".into()),
        ("defaultTopic", "TBW102".into()),
        ("defaultTopicQueueNums", 4.into()),
        ("queueId", 1.into()),
        ("sysFlag", 0.into()),
        ("bornTimestamp", 5.into()),
        ("flag", 3.into()),
        ("properties", "KEYS\u{1}k1\u{2}".into()),
    ];
    table.call(producer, SendMessage, &long, b"go").expect(0);
    table.call(producer, SendMessageV2, &long, b"fallback").expect(0);
    let pulled = table.pull(producer, "T", 1, 0, "*");
    assert_eq!(pulled.bodies(), ["go", "fallback"]);
    assert_eq!((pulled.records()[0].flag, pulled.records()[0].born_timestamp_ms), (3, 5));
}

#[test]
fn the_checks_of_a_send_answer_in_their_order() {
    let settings = Settings { auto_create_topic: true, ..Settings::default() };
    let mut table = Table::with(settings);
    let producer = table.connect();
    table.send(producer, "T", 0, "", "x").expect(0);
    let long = "t".repeat(128);
    let huge = "x".repeat(BODY_BYTES_MAX + 1);
    let fat = format!("k\u{1}{}\u{2}", "v".repeat(PROPERTIES_BYTES_MAX));
    let plain = |topic| Table::send_fields(topic, 0, "");
    #[rustfmt::skip]
    let rows: Vec<(&str, Fields<'_>, &[u8], i32, &str)> = vec![
        ("blank",           plain(""),                                  b"x", 29, "The specified topic is blank."),
        ("characters",      plain("a b"),                               b"x", 29, "The specified topic contains illegal characters"),
        ("length",          plain(&long),                               b"x", 29, "The specified topic is longer"),
        ("forbidden",       plain("SCHEDULE_TOPIC_XXXX"),               b"x", 16, "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden."),
        ("self test",       plain("SELF_TEST_TOPIC"),                   b"x", 16, "Sending message to topic[SELF_TEST_TOPIC] is forbidden."),
        ("no pattern",      with(plain("New"), "c", "Nope".into()),     b"x", 17, "topic[New] not exist, apply first please!"),
        ("no inherit",      with(plain("New"), "c", "T".into()),        b"x", 17, "topic[New] not exist, apply first please!"),
        ("queue id",        Table::send_fields("T", 4, ""),             b"x", 29, "request queueId[4] is illegal"),
        ("half by flag",    with(plain("T"), "f", 4.into()),            b"x", 16, "the broker[broker-a] sending transaction message is forbidden"),
        ("half by name",    with(plain("T"), "i", "TRAN_MSG\u{1}true\u{2}".into()), b"x", 16, "the broker[broker-a] sending transaction"),
        ("timer",           with(plain("T"), "i", "TIMER_DELAY_SEC\u{1}x\u{2}".into()), b"x", 13, "timer message illegal, the delay time"),
        ("horizon",         with(plain("T"), "i", "TIMER_DELAY_SEC\u{1}259201\u{2}".into()), b"x", 13, "timer message illegal, the delay time should not be bigger than the max delay 259200000ms"),
        ("body",            plain("T"),                         huge.as_bytes(), 13, "the message is illegal, maybe msg body"),
        ("properties",      with(plain("T"), "i", fat.as_str().into()), b"x", 13, "the message is illegal, maybe msg body"),
        ("missing field",   vec![("b", "T".into())],                    b"x", 1,  "the custom field"),
        ("not a number",    with(plain("T"), "e", "two".into()),        b"x", 1,  "the field <e> is not a number: two"),
    ];
    for (what, fields, body, code, remark) in rows {
        let answer = table.call(producer, SendMessageV2, &fields, body);
        assert_eq!(answer.code, code, "{what}: {answer:?}");
        assert!(answer.remark.starts_with(remark), "{what}: {}", answer.remark);
    }
    assert_eq!(table.pull(producer, "T", 0, 0, "*").bodies(), ["x"], "nothing refused was stored");
    // Delay level 0 is no delay, and an empty body is a body.
    table.call(producer, SendMessageV2, &with(plain("T"), "i", "DELAY\u{1}0\u{2}".into()), b"").expect(0);
}

#[test]
fn rule_09_an_unknown_topic_is_made_after_its_default_topic() {
    let mut table = Table::new();
    let producer = table.connect();
    let before = table.broker.topics().version();
    table.send(producer, "New", 3, "", "x").expect(0);
    let new: Vec<_> = table.broker.topics().changed_since(before).map(|(_, topic)| topic).collect();
    let [made] = new[..] else { panic!("one is new: {new:?}") };
    assert_eq!(&*made.name, "New");
    assert_eq!((made.read_queues, made.write_queues, made.perm.0), (4, 4, 6));

    // No more queues than the pattern has.
    let fields = with(Table::send_fields("Wide", 0, ""), "d", 100.into());
    table.call(producer, SendMessageV2, &fields, b"x").expect(0);
    assert_eq!(table.broker.topics.get("Wide").unwrap().config.read_queues, 8);

    // It is there after a restart, with its record.
    let mut table = table.restart();
    let consumer = table.connect();
    assert_eq!(table.pull(consumer, "New", 3, 0, "*").bodies(), ["x"]);
}

#[test]
fn without_automatic_creation_an_unknown_topic_stays_unknown() {
    let mut table = Table::with(Settings { auto_create_topic: false, ..Settings::default() });
    let producer = table.connect();
    table.send(producer, "New", 0, "", "x").expect(response::TOPIC_NOT_EXIST);
    assert_eq!(table.broker.topics.get("TBW102").unwrap().config.perm.0, 6);
}

#[test]
fn a_refused_send_makes_neither_topic_nor_queue() {
    let mut table = Table::new();
    let producer = table.connect();
    let fields = Table::send_fields("New", 0, "TIMER_DELAY_SEC\u{1}x\u{2}");
    table.call(producer, SendMessageV2, &fields, b"x").expect(13);
    let batch = with(Table::send_fields("New", 0, ""), "m", true.into());
    table.call(producer, SendBatchMessage, &batch, b"no batch").expect(13);
    assert!(table.broker.topics.get("New").is_none());
    assert!(table.store.find_queue("New", 0).is_none());
}

#[test]
fn a_negative_queue_id_takes_the_queues_in_turn() {
    let mut table = Table::new();
    let producer = table.connect();
    let queues: Vec<i64> =
        (0..5).map(|_| table.send(producer, "T", -1, "", "x").expect(0).number("queueId")).collect();
    assert_eq!(queues, [0, 1, 2, 3, 0]);
}

#[test]
fn properties_are_edited_as_apache_edits_them() {
    let mut table = Table::new();
    let producer = table.connect();
    let given = "TAGS\u{1}TagA\u{2}POP_CK\u{1}forged\u{2}__RMQ.TRANSIENT.x\u{1}y\u{2}CLUSTER\u{1}forged\u{2}user\u{1}a\u{1}b";
    let answer = table.call(producer, SendMessageV2, &Table::send_fields("T", 0, given), b"x").expect(0);
    let pulled = table.pull(producer, "T", 0, 0, "TagA");
    let record = pulled.records()[0];
    let kept: Vec<(&str, &str)> = properties::iter(record.properties).collect();
    let unique_key = answer.field("transactionId");
    assert_eq!(unique_key.len(), 32);
    assert_eq!(
        kept,
        [
            ("TAGS", "TagA"),
            ("user", "a\u{1}b"),
            ("MSG_REGION", "DefaultRegion"),
            ("TRACE_ON", "true"),
            ("CLUSTER", "TestCluster"),
            ("UNIQ_KEY", unique_key),
        ]
    );
    assert_eq!(record.born_host, "10.0.1.1:5000".parse().unwrap());
}

#[test]
fn rule_19_a_batch_is_known_by_its_field_and_not_by_its_code() {
    let body = items(&[(7, "a", "TAGS\u{1}TagA\u{2}"), (0, "b", ""), (0, "c", "TAGS\u{1}TagB\u{2}")]);
    let mut table = Table::new();
    let producer = table.connect();
    let batch = |properties| with(Table::send_fields("T", 1, properties), "m", true.into());
    for (code, first) in [(SendBatchMessage, 0), (SendMessageV2, 3)] {
        let answer = table.call(producer, code, &batch("UNIQ_KEY\u{1}u\u{2}"), &body).expect(0);
        let ids: Vec<&str> = answer.field("msgId").split(',').collect();
        assert_eq!((ids.len(), answer.number("queueOffset")), (3, first));
        assert_eq!(answer.field("transactionId"), "u");
    }
    // A batch without a key of its own is answered without one.
    let answer = table.call(producer, SendBatchMessage, &batch("WAIT\u{1}true\u{2}"), &body).expect(0);
    assert_eq!(answer.fields.get("transactionId"), None);
    // The code of batches without the field is one message.
    table.call(producer, SendBatchMessage, &Table::send_fields("T", 2, ""), b"one").expect(0);
    assert_eq!(table.pull(producer, "T", 2, 0, "*").bodies(), ["one"]);

    let pulled = table.pull(producer, "T", 1, 0, "*");
    assert_eq!(pulled.bodies(), ["a", "b", "c", "a", "b", "c", "a", "b", "c"]);
    let first = pulled.records()[0];
    assert_eq!((first.flag, first.properties), (7, "TAGS\u{1}TagA\u{2}".as_bytes()));
    assert_eq!(pulled.records()[1].properties, b"");
    assert_eq!(table.pull(producer, "T", 1, 0, "TagB").bodies(), ["c", "c", "c"]);
}

#[test]
fn a_bad_batch_is_refused_whole() {
    let mut table = Table::new();
    let producer = table.connect();
    let good = items(&[(0, "a", "")]);
    let cut = &good[..good.len() - 1];
    let batch = |topic| with(Table::send_fields(topic, 0, ""), "m", true.into());
    #[rustfmt::skip]
    let rows: Vec<(Fields<'_>, &[u8], &str)> = vec![
        (batch("T"),                                             b"",   "the batch is illegal: a batch has at least one message"),
        (batch("T"),                                             cut,   "the batch is illegal: batch ends inside an item"),
        (with(batch("T"), "f", sys_flag::TRANSACTION_PREPARED.into()), &good, "the batch is illegal: a batch has no transaction flag"),
        (with(batch("T"), "i", "DELAY\u{1}1\u{2}".into()),       &good, "the batch is illegal: a batch is not delivered later"),
        (batch("%RETRY%G"),                                      &good, "batch request does not support retry group G"),
    ];
    for (fields, body, remark) in rows {
        let answer = table.call(producer, SendBatchMessage, &fields, body).expect(13);
        assert_eq!(answer.remark, remark);
    }
    // A good item before a bad one is not stored either.
    let mut body = good.clone();
    body.extend_from_slice(cut);
    table.call(producer, SendBatchMessage, &batch("T"), &body).expect(13);
    table.send(producer, "T", 0, "", "after").expect(0);
    assert_eq!(table.pull(producer, "T", 0, 0, "*").bodies(), ["after"]);
}

#[test]
fn a_retry_topic_takes_what_clients_send_there_and_gives_up_in_time() {
    let mut table = Table::new();
    let consumer = table.connect();
    let retry = |times: i32, max: i32| {
        let fields = Table::send_fields("%RETRY%G", 0, "DELAY\u{1}3\u{2}RETRY_TOPIC\u{1}T\u{2}");
        with(with(fields, "j", times.into()), "l", max.into())
    };
    table.call(consumer, SendMessageV2, &retry(16, 16), b"again").expect(0);
    table.call(consumer, SendMessageV2, &retry(17, 16), b"dead").expect(0);
    assert_eq!(
        table.pull(consumer, "%RETRY%G", 0, 0, "*").bodies(),
        [""; 0],
        "it waits for the level's 10 s"
    );
    table.pass(std::time::Duration::from_secs(10));
    let retried = table.pull(consumer, "%RETRY%G", 0, 0, "*");
    assert_eq!(retried.bodies(), ["again"]);
    assert_eq!(retried.records()[0].reconsume_times, 16);
    assert_eq!(retried.records()[0].property("DELAY"), Some("3"));
    let dead = table.pull(consumer, "%DLQ%G", 0, 0, "*");
    assert_eq!(dead.bodies(), ["dead"]);
    assert_eq!(dead.records()[0].property("DELAY"), Some("-1"), "as Apache's broker says that it has none");
    assert_eq!(dead.records()[0].topic, "%DLQ%G");

    // A group that consumes in order sends there only to give up.
    let lock = br#"{"clientId":"c","consumerGroup":"G","mqSet":[{"brokerName":"broker-a","queueId":0,"topic":"T"}]}"#;
    table.call(consumer, LockBatchQueues, &[], lock).expect(0);
    table.call(consumer, SendMessageV2, &retry(1, 16), b"orderly").expect(0);
    assert_eq!(table.pull(consumer, "%DLQ%G", 0, 0, "*").bodies(), ["dead", "orderly"]);
}

#[test]
fn a_go_consumer_that_fails_for_ever_gives_up_too() {
    let mut table = Table::new();
    let consumer = table.connect();
    for times in 16..=17 {
        let properties =
            format!("RECONSUME_TIME\u{1}{times}\u{2}MAX_RECONSUME_TIMES\u{1}16\u{2}DELAY\u{1}18\u{2}");
        let fields = with(Table::send_fields("%RETRY%G", 0, &properties), "l", 0.into());
        table.call(consumer, SendMessageV2, &fields, times.to_string().as_bytes()).expect(0);
    }
    table.pass(std::time::Duration::from_secs(7_200));
    let retried = table.pull(consumer, "%RETRY%G", 0, 0, "*");
    assert_eq!((retried.bodies(), retried.records()[0].reconsume_times), (vec!["16".to_owned()], 16));
    assert_eq!(table.pull(consumer, "%DLQ%G", 0, 0, "*").bodies(), ["17"]);
}

#[test]
fn a_retry_topic_of_an_unknown_group_is_refused_when_groups_are_not_created() {
    let mut table = Table::with(Settings { auto_create_group: false, ..Settings::default() });
    let consumer = table.connect();
    let fields = Table::send_fields("%RETRY%G", 0, "");
    table.call(consumer, SendMessageV2, &fields, b"x").expect(response::SUBSCRIPTION_GROUP_NOT_EXIST);
    assert!(table.broker.topics.get("%RETRY%G").is_none());
}

#[test]
fn while_the_disk_is_nearly_full_sends_are_refused_in_apaches_words_and_consumers_go_on() {
    let mut table = Table::new();
    let (producer, consumer) = (table.connect(), table.connect());
    table.send(producer, "T", 0, "", "before").expect(0);
    table.sim.run_for(std::time::Duration::from_secs(1));
    table.sim.change_disk(|disk| disk.set_capacity(1));
    table.sim.run_for(std::time::Duration::from_secs(2));
    let answer = table.send(producer, "T", 0, "", "while").expect(response::SERVICE_NOT_AVAILABLE);
    assert!(
        answer.remark.starts_with("service not available now. the broker's disk is full [CL:  1.00]"),
        "{}",
        answer.remark
    );
    assert_eq!(table.pull(consumer, "T", 0, 0, "*").bodies(), ["before"]);
    table.sim.change_disk(|disk| disk.set_capacity(1 << 20));
    table.sim.run_for(std::time::Duration::from_secs(1));
    table.send(producer, "T", 0, "", "after").expect(0);
    assert_eq!(table.pull(consumer, "T", 0, 0, "*").bodies(), ["before", "after"]);
}

#[test]
fn after_a_failed_write_sends_are_refused_as_not_available() {
    let mut table = Table::new();
    let producer = table.connect();
    table.send(producer, "T", 0, "", "x").expect(0);
    let next = table.sim.trace().count();
    for index in next..next + 64 {
        table.sim.faults().plan(index, Fault::Error);
    }
    let fields = Table::send_fields("T", 0, "");
    let unknown = table.ask(producer, SendMessageV2, &fields, b"lost?");
    table.sim.run_for(std::time::Duration::from_secs(1));
    assert!(table.store.poisoned().is_some());
    let opaque = table.ask(producer, SendMessageV2, &fields, b"y");
    let answer = table.take_answer(producer, opaque).unwrap().expect(response::SERVICE_NOT_AVAILABLE);
    assert!(answer.remark.starts_with("service not available now."), "{}", answer.remark);
    assert!(table.take_answer(producer, unknown).is_none(), "it never became durable");
}
