//! Heartbeats, members, notifications and locks, through frames.

use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::Value;
use ringmq_wire::code::RequestCode::*;
use ringmq_wire::code::response;

use crate::broker::Settings;
use crate::broker::limits::{CLIENT_ID_BYTES_MAX, SUBSCRIPTIONS_PER_GROUP_MAX};
use crate::broker::testing::{Answer, Table};

const T: &[(&str, &str, i64)] = &[("T", "*", 1)];

fn members(table: &mut Table, conn: ConnId, group: &str) -> Answer {
    table.call(conn, GetConsumerListByGroup, &[("consumerGroup", group.into())], &[])
}

/// The groups that a connection was told have changed, since the last look.
fn told(table: &mut Table, conn: ConnId) -> Vec<String> {
    let pushed = table.take_pushed(conn);
    for push in &pushed {
        assert_eq!((push.code, push.flag), (40, 2));
    }
    pushed.iter().map(|push| push.field("consumerGroup").to_owned()).collect()
}

#[test]
fn rule_13_a_heartbeat_is_answered_when_the_member_and_its_retry_topic_are_there() {
    let mut table = Table::new();
    let conn = table.connect();
    let body = r#"{"clientID":"c1","consumerDataSet":[{"groupName":"G","subscriptionDataSet":[{"topic":"T","subString":"*","subVersion":1}]}]}"#;
    let opaque = table.ask(conn, HeartBeat, &[], body.as_bytes());
    assert!(table.take_answer(conn, opaque).is_none(), "group and retry topic are not durable yet");
    table.settle();
    table.take_answer(conn, opaque).unwrap().expect(0);
    let retry = &table.broker.topics.get("%RETRY%G").unwrap().config;
    assert_eq!((retry.read_queues, retry.write_queues, retry.perm.0), (1, 1, 6));
    // The next one has nothing to wait for.
    let opaque = table.ask(conn, HeartBeat, &[], body.as_bytes());
    table.take_answer(conn, opaque).unwrap().expect(0);
}

#[test]
fn rule_14_all_members_are_told_of_a_new_one_the_new_one_too() {
    let mut table = Table::new();
    let (first, second) = (table.connect(), table.connect());
    table.heartbeat(first, "c1", "G", T).expect(0);
    assert_eq!(told(&mut table, first), ["G"]);
    table.heartbeat(second, "c2", "G", T).expect(0);
    assert_eq!((told(&mut table, first), told(&mut table, second)), (vec!["G".into()], vec!["G".into()]));
    // Nothing new, nothing told; a larger version alone is nothing new.
    table.heartbeat(second, "c2", "G", &[("T", "*", 2)]).expect(0);
    assert_eq!(told(&mut table, first), [""; 0]);
    // A topic more is.
    table.heartbeat(second, "c2", "G", &[("T", "*", 2), ("U", "*", 2)]).expect(0);
    assert_eq!(told(&mut table, first), ["G"]);
}

#[test]
fn rule_15_the_caller_is_listed_once_its_heartbeat_is_answered() {
    let mut table = Table::new();
    let conn = table.connect();
    let answer = members(&mut table, conn, "G").expect(response::SYSTEM_ERROR);
    assert_eq!((answer.remark.as_str(), answer.body.len()), ("no consumer for this group, G", 0));
    table.heartbeat(conn, "c1", "G", T).expect(0);
    assert_eq!(members(&mut table, conn, "G").expect(0).text(), r#"{"consumerIdList":["c1"]}"#);
}

#[test]
fn a_client_on_two_connections_is_listed_once() {
    let mut table = Table::new();
    let (old, new) = (table.connect(), table.connect());
    table.heartbeat(old, "c1", "G", T).expect(0);
    table.heartbeat(new, "c1", "G", T).expect(0);
    assert_eq!(members(&mut table, new, "G").text(), r#"{"consumerIdList":["c1"]}"#);
    table.disconnect(old);
    assert_eq!(members(&mut table, new, "G").text(), r#"{"consumerIdList":["c1"]}"#);
}

#[test]
fn a_member_that_leaves_or_is_lost_is_gone_and_the_others_are_told() {
    let mut table = Table::new();
    let conns: Vec<ConnId> = (0..3).map(|_| table.connect()).collect();
    for (conn, id) in conns.iter().zip(["c1", "c2", "c3"]) {
        table.heartbeat(*conn, id, "G", T).expect(0);
    }
    conns.iter().for_each(|conn| drop(told(&mut table, *conn)));

    let leave = [("clientID", "c2".into()), ("consumerGroup", "G".into())];
    table.call(conns[1], UnregisterClient, &leave, &[]).expect(0);
    assert_eq!((told(&mut table, conns[0]), told(&mut table, conns[1])), (vec!["G".into()], vec![]));
    assert_eq!(members(&mut table, conns[0], "G").text(), r#"{"consumerIdList":["c1","c3"]}"#);

    table.disconnect(conns[2]);
    assert_eq!(told(&mut table, conns[0]), ["G"]);
    assert_eq!(members(&mut table, conns[0], "G").text(), r#"{"consumerIdList":["c1"]}"#);
    table.disconnect(conns[0]);
    members(&mut table, conns[1], "G").expect(1);
}

#[test]
fn leaving_with_empty_group_names_leaves_nothing() {
    let mut table = Table::new();
    let conn = table.connect();
    table.heartbeat(conn, "c1", "G", T).expect(0);
    let leave = [("clientID", "c1".into()), ("consumerGroup", "".into()), ("producerGroup", "".into())];
    table.call(conn, UnregisterClient, &leave, &[]).expect(0);
    members(&mut table, conn, "G").expect(0);
}

#[test]
fn members_of_a_broadcasting_group_are_not_told() {
    let mut table = Table::new();
    let conn = table.connect();
    let body = r#"{"clientID":"c","consumerDataSet":[{"groupName":"G","messageModel":"BROADCASTING","subscriptionDataSet":[{"topic":"T","subString":"*"}]}]}"#;
    table.call(conn, HeartBeat, &[], body.as_bytes()).expect(0);
    assert_eq!(told(&mut table, conn), [""; 0]);
    members(&mut table, conn, "G").expect(0);
}

#[test]
fn a_member_that_is_silent_for_two_minutes_loses_its_connection() {
    let mut table = Table::new();
    let (lively, silent) = (table.connect(), table.connect());
    table.heartbeat(silent, "c2", "G", T).expect(0);
    for _ in 0..5 {
        table.heartbeat(lively, "c1", "G", T).expect(0);
        // It still asks for the members, so its connection is not idle; but it is no member without heartbeats.
        members(&mut table, silent, "G").expect(0);
        table.pass(Duration::from_secs(30));
    }
    // It is asked again with every scan, until the network has done it.
    table.to_close.dedup();
    assert_eq!(table.to_close, [silent]);
    let _ = told(&mut table, lively);
    table.disconnect(silent);
    assert_eq!(told(&mut table, lively), ["G"]);
}

#[test]
fn rule_18_heartbeats_of_all_clients_are_understood_and_their_hashes_ignored() {
    let java = r#"{"clientID":"10.0.0.9@26634#2642011375737","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"CG","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[2598919,2598920],"expressionType":"TAG","subString":"TagA || TagB","subVersion":1795360511454,"tagsSet":["TagA","TagB"],"topic":"TopicB"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"CLIENT_INNER_PRODUCER"}],"withoutSub":false}"#;
    let go = r#"{"clientID":"10.0.0.9@29791","producerDataSet":[],"consumerDataSet":[{"groupName":"CG","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","subscriptionDataSet":[{"classFilterMode":false,"topic":"TopicB","subString":"TagA || TagB","tagsSet":["TagA","TagB"],"codeSet":["2598919","2598920"],"subVersion":1795360722044487370,"expressionType":"TAG"}],"unitMode":false}]}"#;
    let cpp = "{\"clientID\":\"10.0.0.9@1407#DEFAULT\",\"consumerDataSet\":[{\"consumeFromWhere\":0,\"consumeType\":1,\"groupName\":\"CG\",\"messageModel\":1,\"subscriptionDataSet\":[{\"codeSet\":[0,0],\"subString\":\"TagA || TagB\",\"subVersion\":\"1795361064215\",\"tagsSet\":[\"TagA\",\"TagB\"],\"topic\":\"TopicB\"}]}]}\n";
    for body in [java, go, cpp] {
        let mut table = Table::new();
        let conn = table.connect();
        table.call(conn, HeartBeat, &[], body.as_bytes()).expect(0);
        for tag in ["TagA", "TagB", "TagC"] {
            table.send(conn, "TopicB", 0, tag, tag).expect(0);
        }
        let fields = Table::pull_fields("CG", "TopicB", 0, 0, 0, "");
        assert_eq!(table.call(conn, PullMessage, &fields, &[]).bodies(), ["TagA", "TagB"]);
    }
}

#[test]
fn a_heartbeat_that_breaks_a_rule_is_refused_and_leaves_no_trace() {
    let mut table = Table::new();
    let conn = table.connect();
    let many: Vec<String> = (0..=SUBSCRIPTIONS_PER_GROUP_MAX)
        .map(|number| format!(r#"{{"topic":"T{number}","subString":"*"}}"#))
        .collect();
    let group = |name: &str, subscriptions: &str| {
        format!(
            r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"good"}},{{"groupName":"{name}","subscriptionDataSet":[{subscriptions}]}}]}}"#
        )
    };
    let long_id = format!(
        r#"{{"clientID":"{}","consumerDataSet":[{{"groupName":"good"}}]}}"#,
        "c".repeat(CLIENT_ID_BYTES_MAX + 1)
    );
    #[rustfmt::skip]
    let rows = [
        ("not json".to_owned(),                                   1,  "body is not the JSON expected"),
        (group("bad group", ""),                                  29, "The specified group contains illegal characters"),
        (group(&"g".repeat(121), ""),                             29, "The specified group is longer"),
        (group("G", r#"{"topic":"a b","subString":"*"}"#),        29, "The specified topic contains illegal characters"),
        (group("G", r#"{"topic":"T","subString":"||"}"#),         23, "parse the consumer's subscription failed"),
        (group("G", &many.join(",")),                             1,  "a group subscribes to at most"),
        (long_id,                                                 1,  "the client id has"),
    ];
    for (body, code, remark) in rows {
        let answer = table.call(conn, HeartBeat, &[], body.as_bytes());
        assert_eq!(answer.code, code, "{answer:?}");
        assert!(answer.remark.starts_with(remark), "{}", answer.remark);
    }
    assert!(table.broker.groups.get("good").is_none());
    assert!(table.broker.topics.get("%RETRY%good").is_none());
}

#[test]
fn an_unknown_group_is_refused_when_groups_are_not_created() {
    let mut table = Table::with(Settings { auto_create_group: false, ..Settings::default() });
    let conn = table.connect();
    table.heartbeat(conn, "c1", "G", T).expect(response::SUBSCRIPTION_GROUP_NOT_EXIST);
    table.call(conn, UpdateAndCreateGroup, &[], br#"{"groupName":"G"}"#).expect(0);
    table.heartbeat(conn, "c1", "G", T).expect(0);
}

#[test]
fn groups_are_there_after_a_restart_and_members_are_not() {
    let mut table = Table::new();
    let conn = table.connect();
    table.heartbeat(conn, "c1", "G", T).expect(0);
    let mut table = table.restart();
    let conn = table.connect();
    assert!(table.broker.groups.get("G").is_some());
    members(&mut table, conn, "G").expect(1);
    table.heartbeat(conn, "c1", "G", T).expect(0);
    members(&mut table, conn, "G").expect(0);
}

#[test]
fn a_subscription_is_checked_before_the_client_starts() {
    let without = Settings { property_filter: false, ..Settings::default() };
    let (mut table, mut without) = (Table::new(), Table::with(without));
    let conn = table.connect();
    assert_eq!(without.connect(), conn);
    let body = |kind: &str, expression: &str| {
        format!(
            r#"{{"clientId":"c","group":"G","subscriptionData":{{"topic":"T","expressionType":"{kind}","subString":"{expression}"}}}}"#
        )
    };
    #[rustfmt::skip]
    let rows = [
        ("TAG", "*", 0, ""), ("", "a||b", 0, ""), ("TAG", "||", 0, ""), ("SQL92", "a > 1", 0, ""),
        ("XPATH", "/", 23, "the expression type XPATH is neither TAG nor SQL92"),
        ("SQL92", "a > 'x'", 23, "Value ''x'' cannot be compared."),
    ];
    for (kind, expression, code, remark) in rows {
        let body = body(kind, expression);
        let answer = table.call(conn, CheckClientConfig, &[], body.as_bytes()).expect(code);
        assert_eq!(answer.remark, remark);
        let answer = without.call(conn, CheckClientConfig, &[], body.as_bytes());
        let refused = format!("The broker does not support consumer to filter message by {kind}");
        let expected = if matches!(kind, "TAG" | "") { (0, String::new()) } else { (1, refused) };
        assert_eq!((answer.code, answer.remark), expected);
    }
}

#[test]
fn a_queue_is_locked_by_one_client_of_a_group_at_a_time() {
    let mut table = Table::new();
    let (one, other) = (table.connect(), table.connect());
    table.heartbeat(one, "c1", "G", T).expect(0);
    let body = |client: &str, queues: &[i32]| {
        let queues: Vec<String> = queues
            .iter()
            .map(|id| format!(r#"{{"brokerName":"broker-a","queueId":{id},"topic":"T"}}"#))
            .collect();
        format!(
            "{{\"clientId\":\"{client}\",\"consumerGroup\":\"G\",\"mqSet\":[{}],\"onlyThisBroker\":false}}\n",
            queues.join(",")
        )
    };
    let lock = |table: &mut Table, conn, client: &str, queues: &[i32]| -> String {
        table.call(conn, LockBatchQueues, &[], body(client, queues).as_bytes()).expect(0).text().to_owned()
    };
    let held = |queue: i32| {
        format!(r#"{{"lockOKMQSet":[{{"brokerName":"broker-a","queueId":{queue},"topic":"T"}}]}}"#)
    };
    assert_eq!(lock(&mut table, one, "c1", &[0]), held(0));
    assert_eq!(lock(&mut table, other, "c2", &[0, 1]), held(1));
    assert_eq!(lock(&mut table, other, "c2", &[0]), r#"{"lockOKMQSet":[]}"#);
    // Not renewed for more than 60 s, it is free; what was renewed is not.
    table.pass(Duration::from_secs(50));
    assert_eq!(lock(&mut table, other, "c2", &[1]), held(1));
    table.pass(Duration::from_secs(11));
    assert_eq!(lock(&mut table, other, "c2", &[0]), held(0));
    assert_eq!(lock(&mut table, one, "c1", &[1]), r#"{"lockOKMQSet":[]}"#);
    // Only its owner gives it back.
    table.call(one, UnlockBatchQueues, &[], body("c1", &[1]).as_bytes()).expect(0);
    assert_eq!(lock(&mut table, one, "c1", &[1]), r#"{"lockOKMQSet":[]}"#);
    table.call(other, UnlockBatchQueues, &[], body("c2", &[1]).as_bytes()).expect(0);
    assert_eq!(lock(&mut table, one, "c1", &[1]), held(1));
}

#[test]
fn a_group_nobody_knows_gets_no_locks() {
    let mut table = Table::new();
    let conn = table.connect();
    let body =
        br#"{"clientId":"c","consumerGroup":"none","mqSet":[{"brokerName":"b","queueId":0,"topic":"T"}]}"#;
    assert_eq!(table.call(conn, LockBatchQueues, &[], body).expect(0).text(), r#"{"lockOKMQSet":[]}"#);
    let fields: [(&str, Value<'_>); 0] = [];
    table.call(conn, LockBatchQueues, &fields, b"[]").expect(1);
}
