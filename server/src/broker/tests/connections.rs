//! What holds for every request, and for connections, through frames.

use std::time::Duration;

use ringmq_wire::code::RequestCode::{self, *};
use ringmq_wire::code::response;
use ringmq_wire::command::VERSION;
use ringmq_wire::{HeadFormat, HeadScratch, OutHead};

use crate::broker::access::{self, Permission};
use crate::broker::testing::Table;
use crate::broker::{Administration, Settings};

#[test]
fn an_unknown_code_is_answered_as_not_supported() {
    let mut table = Table::new();
    let conn = table.connect();
    for code in [999, -1, 0, PopMessage.number(), GetRouteByTopic.number()] {
        let opaque = table.ask_with(conn, code, 0, &[], &[]);
        let answer = table.take_answer(conn, opaque).unwrap().expect(response::REQUEST_CODE_NOT_SUPPORTED);
        assert_eq!(answer.remark, format!(" request type {code} not supported"));
    }
}

#[test]
fn every_permitted_code_has_a_handler_and_no_other() {
    let mut table = Table::new();
    let conn = table.connect();
    for code in RequestCode::ALL {
        let opaque = table.ask(conn, *code, &[], &[]);
        table.settle();
        let answer = table.take_answer(conn, opaque).unwrap();
        let supported = answer.code != response::REQUEST_CODE_NOT_SUPPORTED;
        assert_eq!(supported, access::permission(*code) != Permission::Never, "{code:?}");
    }
}

#[test]
fn rules_04_and_05_an_answer_is_in_the_format_of_its_request_and_echoes_its_opaque() {
    for format in [HeadFormat::Json, HeadFormat::Binary] {
        let mut table = Table::new();
        table.format = format;
        let conn = table.connect();
        let mut scratch = HeadScratch::default();
        let mut bytes = Vec::new();
        let head = OutHead { format, code: 28, opaque: -7, flag: 0, remark: None, fields: &[] };
        head.encode(&mut bytes, 0);
        let head = scratch.decode(format, &bytes[8..]).unwrap();
        let now = table.now();
        table.broker.handle(conn, format, &head, &[], now, &mut table.outbox);
        assert_eq!(HeadFormat::from_byte(table.outbox.bytes[4]), Some(format));
        let answered =
            u32::from_be_bytes([0, table.outbox.bytes[5], table.outbox.bytes[6], table.outbox.bytes[7]]);
        let answer = scratch.decode(format, &table.outbox.bytes[8..][..answered as usize]).unwrap();
        assert_eq!((answer.opaque, answer.flag, answer.version), (-7, 1, VERSION));
    }
}

#[test]
fn rule_03_missing_and_unknown_fields_are_no_error() {
    let mut table = Table::new();
    let conn = table.connect();
    let body = br#"{"clientID":"c","unknown":{"a":[1,2]}}"#;
    table.call(conn, HeartBeat, &[("ReqT", "0".into()), ("lo", "".into())], body).expect(0);
    table.call(conn, HeartBeat, &[], body).expect(0);
}

#[test]
fn a_response_is_taken_silently() {
    let mut table = Table::new();
    let conn = table.connect();
    table.ask_with(conn, 0, 1, &[], &[]);
    assert_eq!(table.inbox, []);
}

#[test]
fn a_request_of_a_connection_that_is_gone_is_nothing() {
    let mut table = Table::new();
    let conn = table.connect();
    table.disconnect(conn);
    let opaque = table.ask(conn, GetBrokerRuntimeInfo, &[], &[]);
    assert!(table.take_answer(conn, opaque).is_none());
}

#[test]
fn a_connection_that_says_nothing_for_two_minutes_is_closed() {
    let mut table = Table::new();
    let (silent, lively) = (table.connect(), table.connect());
    for _ in 0..3 {
        table.call(lively, GetBrokerRuntimeInfo, &[], &[]).expect(0);
        table.pass(Duration::from_secs(45));
    }
    assert_eq!(table.to_close, [silent]);
}

#[test]
fn administration_is_refused_elsewhere_if_it_is_kept_to_this_machine() {
    let settings = Settings { administration: Administration::ThisMachine, ..Settings::default() };
    let mut table = Table::with(settings);
    let conn = table.connect();
    let answer = table.call(conn, UpdateAndCreateGroup, &[], br#"{"groupName":"G"}"#);
    assert_eq!(answer.expect(response::NO_PERMISSION).fields.len(), 0);
    table.call(conn, GetAllGroupConfig, &[], &[]).expect(0);
    table.send(conn, "T", 0, "", "x").expect(0);
}

#[test]
fn nothing_from_outside_makes_a_handler_panic() {
    let mut table = Table::new();
    let conn = table.connect();
    let names = [
        "topic",
        "queueId",
        "a",
        "b",
        "c",
        "d",
        "e",
        "f",
        "g",
        "h",
        "i",
        "m",
        "group",
        "consumerGroup",
        "offset",
        "sysFlag",
        "queueOffset",
        "maxMsgNums",
        "commitOffset",
        "suspendTimeoutMillis",
        "subVersion",
        "timestamp",
        "clientID",
        "groupName",
        "producerGroup",
        "readQueueNums",
        "writeQueueNums",
        "perm",
        "attributes",
        "topicSeq",
        "maxTopicNum",
        "groupSeq",
        "maxGroupNum",
        "defaultTopic",
        "defaultTopicQueueNums",
        "statsName",
        "statsKey",
        "delayLevel",
        "bornTimestamp",
        "flag",
        "subscription",
        "l",
        "j",
    ];
    let values = [
        "",
        "0",
        "-1",
        "2147483647",
        "-9223372036854775808",
        "x",
        "T",
        "TBW102",
        "true",
        "%RETRY%",
        "\u{1}\u{2}",
    ];
    let bodies: [&[u8]; 7] = [
        b"",
        b"{",
        b"{}",
        b"null",
        b"[]",
        br#"{"topicConfigList":[{}],"groupConfigList":[{}],"mqSet":[{}],"consumerDataSet":[{}]}"#,
        &[0xff; 40],
    ];
    let mut draw: u64 = 1;
    let mut next = |bound: usize| {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (draw >> 33) as usize % bound
    };
    for round in 0..4_000 {
        let code = RequestCode::ALL[next(RequestCode::ALL.len())];
        let one = values[next(values.len())];
        let fields: Vec<_> = names
            .iter()
            .map(|name| (*name, if next(3) == 0 { values[next(values.len())] } else { one }.into()))
            .collect();
        table.ask(conn, code, &fields, bodies[next(bodies.len())]);
        if round % 100 == 0 {
            table.settle();
            table.inbox.clear();
        }
    }
}
