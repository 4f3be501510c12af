//! Administration of topics, groups and the broker, through frames.

use ringmq_conn::ConnId;
use ringmq_wire::Value;
use ringmq_wire::code::RequestCode::*;
use ringmq_wire::code::response;

use crate::broker::limits::{DEFINITIONS_PER_LIST_MAX, TOPICS_MAX};
use crate::broker::testing::{Answer, Table};

fn define(table: &mut Table, conn: ConnId, topic: &str, queues: i32, perm: i32, attributes: &str) -> Answer {
    let fields: [(&str, Value<'_>); 8] = [
        ("topic", topic.into()),
        ("defaultTopic", "TBW102".into()),
        ("readQueueNums", queues.into()),
        ("writeQueueNums", queues.into()),
        ("perm", perm.into()),
        ("topicFilterType", "SINGLE_TAG".into()),
        ("order", false.into()),
        ("attributes", attributes.into()),
    ];
    table.call(conn, UpdateAndCreateTopic, &fields, &[])
}

fn of_topic(table: &mut Table, conn: ConnId, code: ringmq_wire::code::RequestCode, topic: &str) -> Answer {
    table.call(conn, code, &[("topic", topic.into())], &[])
}

#[test]
fn a_topic_is_defined_looked_at_changed_and_there_after_a_restart() {
    let mut table = Table::new();
    let conn = table.connect();
    define(&mut table, conn, "T", 8, 6, "+message.type=FIFO").expect(0);
    let expected = r#"{"attributes":{"message.type":"FIFO"},"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":8}"#;
    assert_eq!(of_topic(&mut table, conn, GetTopicConfig, "T").expect(0).text(), expected);
    define(&mut table, conn, "T", 2, 4, "-message.type").expect(0);
    let mut table = table.restart();
    let conn = table.connect();
    let answer = of_topic(&mut table, conn, GetTopicConfig, "T").expect(0);
    assert!(answer.text().starts_with(r#"{"attributes":{},"order":false,"perm":4,"readQueueNums":2"#));
}

#[test]
fn a_bad_definition_is_refused() {
    let mut table = Table::new();
    let conn = table.connect();
    #[rustfmt::skip]
    let rows = [
        ("a b",           4,    6,  "", 29, "The specified topic contains illegal characters"),
        ("TBW102",        4,    6,  "", 29, "The topic[TBW102] is conflict with system topic."),
        ("TestCluster",   4,    6,  "", 29, "The topic[TestCluster] is conflict with system topic."),
        ("T",             0,    6,  "", 29, "topic[T] cannot have 0 queues"),
        ("T",             4097, 6,  "", 29, "topic[T] cannot have 4097 queues"),
        ("T",             4,    16, "", 29, "perm 16 is not valid"),
        ("T",             4,    6,  "+queue.type=BatchCQ", 1, "the topic attribute queue.type=BatchCQ is not supported"),
        ("T",             4,    6,  "+message.type=NONE",  1, "the topic attribute message.type=NONE is not supported"),
        ("T",             4,    6,  "message.type",        1, "the topic attribute message.type is not supported"),
    ];
    for (topic, queues, perm, attributes, code, remark) in rows {
        let answer = define(&mut table, conn, topic, queues, perm, attributes);
        assert_eq!(answer.code, code, "{answer:?}");
        assert!(answer.remark.starts_with(remark), "{}", answer.remark);
    }
    of_topic(&mut table, conn, GetTopicConfig, "T").expect(response::TOPIC_NOT_EXIST);
}

#[test]
fn a_list_of_topics_is_defined_whole_or_not_at_all() {
    let mut table = Table::new();
    let conn = table.connect();
    let list = |second: &str| {
        format!(
            r#"{{"topicConfigList":[{{"topicName":"A","readQueueNums":1,"writeQueueNums":1,"perm":6,"attributes":{{"+message.type":"NORMAL"}}}},{{"topicName":"{second}"}}]}}"#
        )
    };
    table.call(conn, UpdateAndCreateTopicList, &[], list("b b").as_bytes()).expect(29);
    of_topic(&mut table, conn, GetTopicConfig, "A").expect(17);
    table.call(conn, UpdateAndCreateTopicList, &[], list("B").as_bytes()).expect(0);
    assert!(of_topic(&mut table, conn, GetTopicConfig, "A").text().contains(r#""message.type":"NORMAL""#));
    assert!(of_topic(&mut table, conn, GetTopicConfig, "B").text().contains(r#""readQueueNums":16"#));
}

#[test]
fn a_deleted_topic_is_gone_and_its_offsets_are_never_used_again() {
    let mut table = Table::new();
    let conn = table.connect();
    for body in ["a", "b"] {
        table.send(conn, "T", 0, "", body).expect(0);
    }
    table.heartbeat(conn, "c1", "G", &[("T", "*", 1)]).expect(0);
    let group_offset: [(&str, Value<'_>); 4] = [
        ("consumerGroup", "G".into()),
        ("topic", "T".into()),
        ("queueId", 0.into()),
        ("commitOffset", 1.into()),
    ];
    table.call(conn, UpdateConsumerOffset, &group_offset, &[]).expect(0);

    of_topic(&mut table, conn, DeleteTopicInBroker, "T").expect(0);
    of_topic(&mut table, conn, DeleteTopicInBroker, "T").expect(0);
    of_topic(&mut table, conn, GetTopicConfig, "T").expect(17);
    table.pull(conn, "T", 0, 0, "*").expect(17);
    table.call(conn, QueryConsumerOffset, &group_offset[..3], &[]).expect(22);

    let mut table = table.restart();
    let conn = table.connect();
    assert!(table.broker.topics.get("T").is_none());
    let sent = table.send(conn, "T", 0, "", "c").expect(0);
    assert_eq!(sent.number("queueOffset"), 2);
    let answer = table.pull(conn, "T", 0, 0, "*").expect(21);
    assert_eq!((answer.number("nextBeginOffset"), answer.number("minOffset")), (2, 2));
    assert_eq!(table.pull(conn, "T", 0, 2, "*").bodies(), ["c"]);
    of_topic(&mut table, conn, DeleteTopicInBroker, "TBW102").expect(29);
}

#[test]
fn the_system_topics_are_there_from_the_start_and_told() {
    let mut table = Table::new();
    let conn = table.connect();
    let expected = r#"{"topicList":["BenchmarkTest","OFFSET_MOVED_EVENT","RMQ_SYS_TRACE_TOPIC","RMQ_SYS_TRANS_HALF_TOPIC","RMQ_SYS_TRANS_OP_HALF_TOPIC","SCHEDULE_TOPIC_XXXX","SELF_TEST_TOPIC","TBW102","TestCluster","TestCluster_REPLY_TOPIC","broker-a","rmq_sys_wheel_timer"]}"#;
    assert_eq!(table.call(conn, GetSystemTopicListFromBroker, &[], &[]).text(), expected);
    let table = table.restart();
    assert_eq!(table.broker.topics.count(), 12);
}

#[test]
fn all_topics_are_told_at_once_or_by_pages() {
    let mut table = Table::new();
    let conn = table.connect();
    let whole = table.call(conn, GetAllTopicConfig, &[], &[]).expect(0);
    assert_eq!(whole.number("totalTopicNum"), 12);
    assert!(
        whole.text().starts_with(r#"{"dataVersion":{"counter":12,"stateVersion":0,"timestamp":"#),
        "{}",
        whole.text()
    );
    assert!(whole.text().contains(r#""topicConfigTable":{"BenchmarkTest":{"attributes":{}"#));
    assert!(whole.text().ends_with(r#""topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{}}"#));
    let fields = [("topicSeq", 10.into()), ("maxTopicNum", 5.into())];
    let page = table.call(conn, GetAllTopicConfig, &fields, &[]).expect(0);
    assert!(page.text().contains("broker-a") && !page.text().contains("TBW102"));
}

#[test]
fn the_state_of_a_topic_is_told_in_fastjsons_form() {
    let mut table = Table::new();
    let conn = table.connect();
    define(&mut table, conn, "T", 2, 6, "").expect(0);
    table.send(conn, "T", 1, "", "a").expect(0);
    let time = table.pull(conn, "T", 1, 0, "*").records()[0].store_timestamp_ms;
    let expected = format!(
        r#"{{"offsetTable":{{{{"brokerName":"broker-a","queueId":0,"topic":"T"}}:{{"lastUpdateTimestamp":0,"maxOffset":0,"minOffset":0}},{{"brokerName":"broker-a","queueId":1,"topic":"T"}}:{{"lastUpdateTimestamp":{time},"maxOffset":1,"minOffset":0}}}},"topicPutTps":0.0}}"#
    );
    assert_eq!(of_topic(&mut table, conn, GetTopicStats, "T").expect(0).text(), expected);
    of_topic(&mut table, conn, GetTopicStats, "None").expect(17);
}

#[test]
fn at_the_bound_of_topics_one_more_is_refused_and_known_ones_are_changed() {
    let mut table = Table::new();
    let conn = table.connect();
    for list in 0..TOPICS_MAX / DEFINITIONS_PER_LIST_MAX {
        let room = DEFINITIONS_PER_LIST_MAX.min(TOPICS_MAX - table.broker.topics.count());
        let topics: Vec<String> = (0..room)
            .map(|number| {
                format!(
                    r#"{{"topicName":"one-of-a-crowd-{list}_{number}","readQueueNums":1,"writeQueueNums":1}}"#
                )
            })
            .collect();
        let body = format!(r#"{{"topicConfigList":[{}]}}"#, topics.join(","));
        table.call(conn, UpdateAndCreateTopicList, &[], body.as_bytes()).expect(0);
    }
    assert_eq!(table.broker.topics.count(), TOPICS_MAX);
    let whole = table.call(conn, GetAllTopicConfig, &[], &[]).expect(1);
    assert!(whole.remark.ends_with("ask for topicSeq and maxTopicNum"), "{}", whole.remark);
    let page = [("topicSeq", "0".into()), ("maxTopicNum", "2000".into())];
    table.call(conn, GetAllTopicConfig, &page, &[]).expect(0);
    let answer = define(&mut table, conn, "More", 1, 6, "").expect(1);
    assert!(answer.remark.ends_with("delete one that is not used"), "{}", answer.remark);
    table.send(conn, "More", 0, "", "x").expect(1);
    table.heartbeat(conn, "c1", "G", &[]).expect(1);
    assert!(table.broker.groups.get("G").is_none());
    define(&mut table, conn, "one-of-a-crowd-0_0", 2, 6, "").expect(0);
    of_topic(&mut table, conn, DeleteTopicInBroker, "one-of-a-crowd-0_0").expect(0);
    define(&mut table, conn, "More", 1, 6, "").expect(0);
}

#[test]
fn a_list_over_its_bound_is_refused() {
    let mut table = Table::new();
    let conn = table.connect();
    let entries = |entry: &str| vec![entry; DEFINITIONS_PER_LIST_MAX + 1].join(",");
    let topics = format!(r#"{{"topicConfigList":[{}]}}"#, entries(r#"{"topicName":"T"}"#));
    let groups = format!(r#"{{"groupConfigList":[{}]}}"#, entries(r#"{"groupName":"G"}"#));
    for (code, body) in [(UpdateAndCreateTopicList, topics), (UpdateAndCreateGroupList, groups)] {
        let answer = table.call(conn, code, &[], body.as_bytes()).expect(1);
        assert_eq!(answer.remark, "a list has at most 1000 definitions; send it in parts");
    }
}

#[test]
fn a_group_is_defined_looked_at_and_deleted() {
    let mut table = Table::new();
    let conn = table.connect();
    table.call(conn, UpdateAndCreateGroup, &[], br#"{"groupName":"G","retryMaxTimes":3}"#).expect(0);
    let expected = r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"G","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":3,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#;
    assert_eq!(table.call(conn, GetGroupConfig, &[("group", "G".into())], &[]).expect(0).text(), expected);
    let all = table.call(conn, GetAllGroupConfig, &[], &[]).expect(0);
    assert_eq!(all.number("totalGroupNum"), 1);
    assert!(
        all.text()
            .ends_with(&format!(r#""forbiddenTable":{{}},"subscriptionGroupTable":{{"G":{expected}}}}}"#))
    );
    let list = br#"{"groupConfigList":[{"groupName":"A"},{"groupName":"B"}]}"#;
    table.call(conn, UpdateAndCreateGroupList, &[], list).expect(0);

    let mut table = table.restart();
    let conn = table.connect();
    for group in ["A", "B", "G"] {
        table.call(conn, DeleteGroup, &[("groupName", group.into())], &[]).expect(0);
        table.call(conn, GetGroupConfig, &[("group", group.into())], &[]).expect(26);
    }
}

#[test]
fn a_bad_group_is_refused() {
    let mut table = Table::new();
    let conn = table.connect();
    #[rustfmt::skip]
    let rows = [
        (r#"{"groupName":"a b"}"#,                                               29),
        (r#"{}"#,                                                                29),
        (r#"{"groupName":"G","attributes":{"+a":"b"}}"#,                         1),
        (r#"{"groupName":"G","groupRetryPolicy":{"type":"LINEAR"}}"#,            1),
        (r#"{"groupName":"G","groupRetryPolicy":{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":-1,"max":2,"multiplier":2}}}"#, 1),
        (r#"{"groupName":"G","groupRetryPolicy":{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":1,"max":2,"multiplier":0}}}"#, 1),
        (r#"{"groupName":"G","groupRetryPolicy":{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1,-2]}}}"#, 1),
        (r#"{"groupName":"G","retryQueueNums":-1}"#,                             1),
        (r#"{"groupName":"#,                                                     1),
    ];
    for (body, code) in rows {
        table.call(conn, UpdateAndCreateGroup, &[], body.as_bytes()).expect(code);
    }
}

#[test]
fn a_groups_retry_policy_is_kept_as_it_was_said() {
    let mut table = Table::new();
    let conn = table.connect();
    for policy in [
        r#"{"type":"CUSTOMIZED"}"#,
        r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1000,5000,20]}}"#,
        r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":7,"max":70,"multiplier":3}}"#,
    ] {
        let body = format!(r#"{{"groupName":"G","groupRetryPolicy":{policy}}}"#);
        table.call(conn, UpdateAndCreateGroup, &[], body.as_bytes()).expect(0);
        let said = table.call(conn, GetGroupConfig, &[("group", "G".into())], &[]).expect(0);
        assert!(said.text().contains(&format!(r#""groupRetryPolicy":{policy}"#)), "{}", said.text());
    }
    table
        .call(
            conn,
            UpdateAndCreateGroup,
            &[],
            br#"{"groupName":"H","groupRetryPolicy":{"type":"EXPONENTIAL"}}"#,
        )
        .expect(0);
    let mut table = table.restart();
    let conn = table.connect();
    let said = table.call(conn, GetGroupConfig, &[("group", "H".into())], &[]).expect(0);
    let policy = r#""exponentialRetryPolicy":{"initial":5000,"max":7200000,"multiplier":2}"#;
    assert!(said.text().contains(policy), "{}", said.text());
}

#[test]
fn a_deleted_group_takes_its_offsets_with_it_if_asked() {
    let mut table = Table::new();
    let conn = table.connect();
    table.send(conn, "T", 0, "", "x").expect(0);
    let offset: [(&str, Value<'_>); 4] = [
        ("consumerGroup", "G".into()),
        ("topic", "T".into()),
        ("queueId", 1.into()),
        ("commitOffset", 7.into()),
    ];
    for (clean, code) in [(false, 0), (true, 22)] {
        table.heartbeat(conn, "c1", "G", &[("T", "*", 1)]).expect(0);
        table.call(conn, UpdateConsumerOffset, &offset, &[]).expect(0);
        let fields = [("groupName", "G".into()), ("cleanOffset", clean.into())];
        table.call(conn, DeleteGroup, &fields, &[]).expect(0);
        table.call(conn, QueryConsumerOffset, &offset[..3], &[]).expect(code);
    }
    // Its member comes back with the next heartbeat, once.
    table.heartbeat(conn, "c1", "G", &[("T", "*", 1)]).expect(0);
    assert_eq!(table.broker.sessions.get(conn).unwrap().consumer_groups.len(), 1);
}

#[test]
fn who_is_connected_is_told() {
    let mut table = Table::new();
    let conn = table.connect();
    let group: [(&str, Value<'_>); 1] = [("consumerGroup", "G".into())];
    let answer = table.call(conn, GetConsumerConnectionList, &group, &[]).expect(206);
    assert_eq!(answer.remark, "the consumer group[G] not online");
    let producer: [(&str, Value<'_>); 1] = [("producerGroup", "CLIENT_INNER_PRODUCER".into())];
    let answer = table.call(conn, GetProducerConnectionList, &producer, &[]).expect(1);
    assert_eq!(answer.remark, "the producer group[CLIENT_INNER_PRODUCER] not exist");

    table.heartbeat(conn, "c1", "G", &[("T", "TagA", 9)]).expect(0);
    let client = r#"{"clientAddr":"10.0.1.1:5000","clientId":"c1","language":"JAVA","version":479}"#;
    let expected = format!(
        r#"{{"connectionSet":[{client}],"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","subscriptionTable":{{"T":{{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"TagA","subVersion":9,"tagsSet":[],"topic":"T"}}}}}}"#
    );
    assert_eq!(table.call(conn, GetConsumerConnectionList, &group, &[]).expect(0).text(), expected);
    let answer = table.call(conn, GetProducerConnectionList, &producer, &[]).expect(0);
    assert_eq!(answer.text(), format!(r#"{{"connectionSet":[{client}]}}"#));
    let all = table.call(conn, GetAllProducerInfo, &[], &[]).expect(0);
    assert!(all.text().starts_with(
        r#"{"data":{"CLIENT_INNER_PRODUCER":[{"clientId":"c1","language":"JAVA","lastUpdateTimestamp":"#
    ));
    assert!(all.text().ends_with(r#""remoteIP":"10.0.1.1","version":479}]}}"#), "{}", all.text());
}

#[test]
fn the_progress_of_a_group_is_told() {
    let mut table = Table::new();
    let conn = table.connect();
    define(&mut table, conn, "T", 1, 6, "").expect(0);
    for body in ["a", "b", "c"] {
        table.send(conn, "T", 0, "", body).expect(0);
    }
    table.heartbeat(conn, "c1", "G", &[("T", "*", 1)]).expect(0);
    let offset: [(&str, Value<'_>); 4] = [
        ("consumerGroup", "G".into()),
        ("topic", "T".into()),
        ("queueId", 0.into()),
        ("commitOffset", 2.into()),
    ];
    table.call(conn, UpdateConsumerOffset, &offset, &[]).expect(0);
    let time = table.pull(conn, "T", 0, 0, "*").records()[1].store_timestamp_ms;
    let expected = format!(
        r#"{{"consumeTps":0.0,"offsetTable":{{{{"brokerName":"broker-a","queueId":0,"topic":"T"}}:{{"brokerOffset":3,"consumerOffset":2,"lastTimestamp":{time},"pullOffset":2}}}}}}"#
    );
    let group: (&str, Value<'_>) = ("consumerGroup", "G".into());
    for fields in [vec![group], vec![group, ("topic", "T".into())], vec![group, ("topicList", "T;".into())]] {
        assert_eq!(table.call(conn, GetConsumeStats, &fields, &[]).expect(0).text(), expected);
    }
    let other = [group, ("topic", "Other".into())];
    assert_eq!(
        table.call(conn, GetConsumeStats, &other, &[]).text(),
        r#"{"consumeTps":0.0,"offsetTable":{}}"#
    );

    assert_eq!(of_topic(&mut table, conn, QueryTopicConsumeByWho, "T").text(), r#"{"groupList":["G"]}"#);
    let group: [(&str, Value<'_>); 2] = [("group", "G".into()), ("topic", "T".into())];
    assert_eq!(table.call(conn, QueryTopicsByConsumer, &group, &[]).text(), r#"{"topicList":["T"]}"#);
    let answer = table.call(conn, QuerySubscriptionByConsumer, &group, &[]).expect(0);
    assert!(
        answer.text().starts_with(r#"{"group":"G","subscriptionData":{"#)
            && answer.text().ends_with(r#","topic":"T"}"#)
    );
    let all = table.call(conn, GetAllConsumerOffset, &[], &[]).expect(0);
    assert!(all.text().ends_with(r#""offsetTable":{"T@G":{"0":2}}}"#), "{}", all.text());
}

#[test]
fn the_runtime_table_has_what_tools_read() {
    let mut table = Table::new();
    let conn = table.connect();
    table.send(conn, "T", 0, "", "x").expect(0);
    let answer = table.call(conn, GetBrokerRuntimeInfo, &[], &[]).expect(0);
    let read: ringmq_wire::request::admin::TextTable = ringmq_wire::json::read(&answer.body).unwrap();
    for key in [
        "brokerActive",
        "sendThreadPoolQueueSize",
        "pullThreadPoolQueueSize",
        "ackThreadPoolQueueSize",
        "sendThreadPoolQueueHeadWaitTimeMills",
        "pullThreadPoolQueueHeadWaitTimeMills",
        "ackThreadPoolQueueHeadWaitTimeMills",
        "pageCacheLockTimeMills",
        "earliestMessageTimeStamp",
        "commitLogDiskRatio",
        "timerReadBehind",
        "timerOffsetBehind",
        "timerCongestNum",
        "timerEnqueueTps",
        "timerDequeueTps",
    ] {
        assert!(read.table[key].parse::<f64>().is_ok() || read.table[key] == "true", "{key}");
    }
    assert_eq!(read.table["brokerVersionDesc"], "RingMQ test");
    for key in ["putTps", "getTransferredTps", "getTotalTps"] {
        assert_eq!(read.table[key].split(' ').filter(|rate| rate.parse::<f64>().is_ok()).count(), 3, "{key}");
    }
    assert_eq!(
        (read.table["msgPutTotalTodayNow"].as_str(), read.table["runtime"].as_str().len() > 10),
        ("1", true)
    );
}

#[test]
fn the_settings_are_told_as_lines() {
    let mut table = Table::new();
    let conn = table.connect();
    let answer = table.call(conn, GetBrokerConfig, &[], &[]).expect(0);
    assert!(answer.field("version").starts_with(r#"{"counter":0"#));
    for line in ["brokerName=broker-a\n", "listenPort=10911\n", "autoCreateTopicEnable=true\n"] {
        assert!(answer.text().contains(line), "{}", answer.text());
    }
}

#[test]
fn statistics_by_name_are_not_kept() {
    let mut table = Table::new();
    let conn = table.connect();
    let fields = [("statsName", "TOPIC_PUT_NUMS".into()), ("statsKey", "T".into())];
    let answer = table.call(conn, ViewBrokerStats, &fields, &[]).expect(1);
    assert_eq!(answer.remark, "The stats <TOPIC_PUT_NUMS> <T> not exist");
}
