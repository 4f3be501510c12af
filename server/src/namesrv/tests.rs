//! A name server from outside: frames in, frames out.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::command::{FLAG_ONE_WAY, FLAG_RESPONSE};
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::{HeadFormat, HeadScratch, OutHead, Value, json};

use super::{NameServer, Replies};
use crate::broker::outcome::Now;
use crate::cli::explain::request::OF_NAME_SERVER;
use crate::config::Settings;

/// As a broker of RocketMQ 5.3 writes it (`RegisterBrokerBody`).
const TWO_TOPICS: &str = r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":1700000000000},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":1700000000000},"topicConfigTable":{"TopicA":{"attributes":{},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"TopicA","topicSysFlag":0,"writeQueueNums":4},"UnitTopic":{"attributes":{"+message.type":"NORMAL"},"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"UnitTopic","topicSysFlag":3,"writeQueueNums":8}},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{}}}"#;

const MEMBER: [(&str, &str); 5] = [
    ("brokerName", "broker-a"),
    ("brokerAddr", "10.0.0.2:10911"),
    ("clusterName", "DefaultCluster"),
    ("haServerAddr", "10.0.0.2:10912"),
    ("brokerId", "0"),
];

/// A name server and somebody who calls it.
struct Caller {
    server: NameServer,
    now: Duration,
}

#[derive(Debug, PartialEq, Eq)]
struct Reply {
    code: i32,
    remark: String,
    fields: BTreeMap<String, String>,
    body: String,
}

impl Caller {
    fn new() -> Caller {
        Caller { server: NameServer::new(&Settings::default()), now: Duration::from_secs(1_000) }
    }

    fn with_broker() -> Caller {
        let mut caller = Caller::new();
        assert_eq!(caller.call(103, &MEMBER, TWO_TOPICS.as_bytes()).code, 0);
        caller
    }

    fn call(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> Reply {
        self.send(code, 0, fields, body).expect("an answer")
    }

    fn send(&mut self, code: i32, flag: i32, fields: &[(&str, &str)], body: &[u8]) -> Option<Reply> {
        let fields: Vec<(&str, Value<'_>)> =
            fields.iter().map(|(name, value)| (*name, Value::Text(value))).collect();
        let head =
            OutHead { format: HeadFormat::Json, code, opaque: 77, flag, remark: None, fields: &fields };
        let mut bytes = Vec::new();
        head.encode(&mut bytes, body.len());
        bytes.extend_from_slice(body);
        let Ok(Decoded::Frame(sent, _)) = frame::decode(&bytes) else { panic!("a whole frame") };
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(sent.format, sent.head).expect("a header");
        let mut out = Replies::default();
        self.server.handle(conn(), sent.format, &head, sent.body, self.now(), &mut out);

        let item = *out.items.first()?;
        assert_eq!((out.items.len(), item.conn), (1, conn()));
        let Ok(Decoded::Frame(reply, _)) = frame::decode(out.frame(item)) else { panic!("a whole frame") };
        let head = scratch.decode(reply.format, reply.head).expect("a header");
        assert_eq!((head.opaque, head.flag), (77, FLAG_RESPONSE));
        Some(Reply {
            code: head.code,
            remark: head.remark.unwrap_or_default().to_owned(),
            fields: head.fields.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            body: String::from_utf8(reply.body.to_vec()).expect("text"),
        })
    }

    fn route(&mut self, topic: &str) -> Reply {
        self.call(105, &[("topic", topic)], b"")
    }

    fn now(&self) -> Now {
        Now { wall_ms: 1_700_000_000_000, monotonic: self.now }
    }
}

fn conn() -> ConnId {
    ConnId { slot: 3, generation: 1 }
}

#[test]
fn a_route_is_compact_json_with_quoted_keys() {
    let mut caller = Caller::with_broker();
    let route = caller.route("TopicA");
    assert_eq!(route.code, 0);
    // Byte for byte what a name server of RocketMQ 5.3 answers in its standard form: the Go client splits this text.
    assert_eq!(
        route.body,
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.2:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#
    );
}

/// A frame that RocketMQ 5.3.3 sent; see the README beside it.
fn golden(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

fn body_of(frame: &[u8]) -> &[u8] {
    let Ok(Decoded::Frame(frame, _)) = frame::decode(frame) else { panic!("a whole frame") };
    frame.body
}

#[test]
fn apaches_broker_registers_and_its_topics_are_answered_as_by_apaches_name_server() {
    macro_rules! golden_file {
        ($name:literal) => {
            golden(include_str!(concat!("../../../net/wire/tests/golden/apache-5.3.3-", $name, ".hex")))
        };
    }
    let mut server = NameServer::new(&Settings::default());
    let mut answer = |request: Vec<u8>| {
        let Ok(Decoded::Frame(sent, _)) = frame::decode(&request) else { panic!("a whole frame") };
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(sent.format, sent.head).expect("a header");
        let now = Now { wall_ms: 0, monotonic: Duration::ZERO };
        let mut out = Replies::default();
        server.handle(conn(), sent.format, &head, sent.body, now, &mut out);
        out.bytes
    };
    assert_eq!(body_of(&answer(golden_file!("103-request"))), b"");
    let route = answer(golden_file!("105-default-request"));
    assert_eq!(body_of(&route), body_of(&golden_file!("105-default-request-reply-0")));
    // Apache writes the map key of this one bare; standard parsers read only the quoted form.
    let clusters = answer(golden_file!("106-request"));
    let expected = golden_file!("106-request-reply-0");
    assert_eq!(body_of(&clusters), &*json::standard(body_of(&expected)).unwrap());
}

#[test]
fn an_unknown_topic_is_code_17_with_the_text_that_users_search_for() {
    let route = Caller::with_broker().route("Nowhere");
    assert_eq!(route.code, 17);
    assert!(route.remark.starts_with("No topic route info in name server for the topic: Nowhere"));
}

#[test]
fn a_compressed_registration_is_read_even_if_it_does_not_say_so() {
    let version = r#"{"counter":1,"stateVersion":0,"timestamp":1700000000000}"#;
    let parts = ["TopicA 4 8 6 SINGLE_TAG {\"+message.type\":\"FIFO\"}", "TopicB 1 1 6 SINGLE_TAG"];
    let mut plain = Vec::new();
    plain.extend_from_slice(&(version.len() as u32).to_be_bytes());
    plain.extend_from_slice(version.as_bytes());
    plain.extend_from_slice(&2u32.to_be_bytes());
    for part in parts {
        plain.extend_from_slice(&(part.len() as u32).to_be_bytes());
        plain.extend_from_slice(part.as_bytes());
    }
    plain.extend_from_slice(&2u32.to_be_bytes());
    plain.extend_from_slice(b"[]");
    plain.extend_from_slice(&0u32.to_be_bytes());
    let mut folded = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    folded.write_all(&plain).unwrap();
    let folded = folded.finish().unwrap();

    for says_so in ["true", "false"] {
        let mut caller = Caller::new();
        let fields = [&MEMBER[..], &[("compressed", says_so)]].concat();
        assert_eq!(caller.call(103, &fields, &folded).code, 0, "{says_so}");
        assert!(
            caller.route("TopicA").body.contains(r#""readQueueNums":4,"topicSysFlag":0,"writeQueueNums":8"#)
        );
        assert_eq!(caller.route("TopicB").code, 0);
    }
    for cut in 1..folded.len() {
        let reply =
            Caller::new().call(103, &[&MEMBER[..], &[("compressed", "true")]].concat(), &folded[..cut]);
        assert_eq!(reply.code, 1, "cut after {cut} bytes");
    }
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut caller = Caller::new();
    let crc32 = ringmq_wire::record::body_crc(TWO_TOPICS.as_bytes());
    let with = |crc32: i32| {
        let crc32 = crc32.to_string();
        let fields: Vec<(&str, String)> = MEMBER.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        [fields, vec![("bodyCrc32", crc32)]].concat()
    };
    for (fields, expected) in [(with(crc32), (0, "")), (with(crc32 ^ 1), (1, "crc32 not match"))] {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let reply = caller.call(103, &fields, TWO_TOPICS.as_bytes());
        assert_eq!((reply.code, reply.remark.as_str()), expected);
    }
}

#[test]
fn a_broker_is_forgotten_by_request_by_silence_and_by_its_connection() {
    let mut caller = Caller::with_broker();
    assert_eq!(caller.call(104, &MEMBER, b"").code, 0);
    assert_eq!(caller.route("TopicA").code, 17);

    let mut caller = Caller::with_broker();
    caller.server.closed(conn(), caller.now(), &mut Replies::default());
    assert_eq!(caller.route("TopicA").code, 17);

    let mut caller = Caller::with_broker();
    caller.now += Duration::from_secs(60);
    assert_eq!(caller.call(904, &MEMBER, b"").code, 0);
    caller.now += Duration::from_secs(120);
    caller.server.tick(caller.now(), &mut Replies::default());
    assert_eq!(caller.route("TopicA").code, 0);
    caller.now += Duration::from_secs(5);
    caller.server.tick(caller.now(), &mut Replies::default());
    assert_eq!(caller.route("TopicA").code, 17);
}

#[test]
fn a_broker_may_ask_whether_its_topics_are_known() {
    let mut caller = Caller::with_broker();
    let known = br#"{"counter":1,"stateVersion":0,"timestamp":1700000000000}"#;
    let reply = caller.call(322, &MEMBER, known);
    assert_eq!((reply.fields["changed"].as_str(), reply.body.as_bytes()), ("false", &known[..]));
    let newer = br#"{"counter":2,"stateVersion":0,"timestamp":1700000000000}"#;
    assert_eq!(caller.call(322, &MEMBER, newer).fields["changed"], "true");
    let reply = Caller::new().call(322, &MEMBER, known);
    assert_eq!((reply.fields["changed"].as_str(), reply.body.as_str()), ("true", ""));
}

#[test]
fn tools_see_clusters_topics_and_members() {
    let mut caller = Caller::with_broker();
    type Row = (i32, &'static [(&'static str, &'static str)], &'static str);
    let rows: &[Row] = &[
        (
            106,
            &[],
            r#"{"brokerAddrTable":{"broker-a":{"brokerAddrs":{"0":"10.0.0.2:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}},"clusterAddrTable":{"DefaultCluster":["broker-a"]}}"#,
        ),
        (206, &[], r#"{"topicList":["TopicA","UnitTopic"]}"#),
        (224, &[("cluster", "DefaultCluster")], r#"{"topicList":["TopicA","UnitTopic"]}"#),
        (224, &[("cluster", "Other")], r#"{"topicList":[]}"#),
        (304, &[], r#"{"brokerAddr":"10.0.0.2:10911","topicList":["DefaultCluster","broker-a"]}"#),
        (311, &[], r#"{"topicList":["UnitTopic"]}"#),
        (312, &[], r#"{"topicList":["UnitTopic"]}"#),
        (313, &[], r#"{"topicList":[]}"#),
        (
            901,
            &MEMBER,
            r#"{"brokerMemberGroup":{"brokerAddrs":{"0":"10.0.0.2:10911"},"brokerName":"broker-a","cluster":"DefaultCluster"}}"#,
        ),
    ];
    for (code, fields, body) in rows {
        let reply = caller.call(*code, fields, b"");
        assert_eq!((reply.code, reply.body.as_str()), (0, *body), "{code}");
    }
}

#[test]
fn tools_change_permissions_and_places() {
    let mut caller = Caller::with_broker();
    assert_eq!(caller.call(205, &MEMBER, b"").fields["wipeTopicCount"], "2");
    assert!(caller.route("TopicA").body.contains(r#""perm":4"#));
    assert_eq!(caller.call(327, &MEMBER, b"").fields["addTopicCount"], "2");
    assert!(caller.route("TopicA").body.contains(r#""perm":6"#));

    assert_eq!(caller.call(216, &[("topic", "TopicA"), ("clusterName", "Other")], b"").code, 0);
    assert_eq!(caller.route("TopicA").code, 0);
    assert_eq!(caller.call(216, &[("topic", "TopicA")], b"").code, 0);
    assert_eq!(caller.route("TopicA").code, 17);

    // Map keys as fastjson writes them.
    let route = br#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.2:10911"},"brokerName":"broker-a","cluster":"DefaultCluster"}],"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":2,"topicSysFlag":0,"writeQueueNums":2}]}"#;
    assert_eq!(caller.call(217, &[("topic", "TopicA")], route).code, 0);
    assert!(caller.route("TopicA").body.contains(r#""readQueueNums":2"#));
}

#[test]
fn the_kv_table_answers_as_rocketmq_does() {
    let mut caller = Caller::with_broker();
    let entry = [("namespace", "N"), ("key", "K"), ("value", "V")];
    let absent = caller.call(101, &entry, b"");
    assert_eq!((absent.code, absent.remark.as_str()), (22, "No config item, Namespace: N Key: K"));
    assert_eq!(caller.call(219, &entry, b"").code, 22);
    assert_eq!(caller.call(100, &entry, b"").code, 0);
    assert_eq!(caller.call(101, &entry, b"").fields["value"], "V");
    assert_eq!(caller.call(219, &entry, b"").body, r#"{"table":{"K":"V"}}"#);
    assert_eq!(caller.call(102, &entry, b"").code, 0);
    assert_eq!(caller.call(101, &entry, b"").code, 22);
}

#[test]
fn the_order_of_topics_is_told_to_brokers_and_when_asked_to_clients() {
    let mut caller = Caller::with_broker();
    let order = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "TopicA"), ("value", "broker-a:4")];
    caller.call(100, &order, b"");
    let reply = caller.call(103, &MEMBER, TWO_TOPICS.as_bytes());
    assert_eq!(reply.body, r#"{"table":{"TopicA":"broker-a:4"}}"#);
    assert!(!caller.route("TopicA").body.contains("orderTopicConf"));

    assert_eq!(caller.call(318, &[], b"orderMessageEnable=true\n").code, 0);
    assert!(caller.route("TopicA").body.contains(r#""orderTopicConf":"broker-a:4""#));
    assert!(caller.call(319, &[], b"").body.contains("orderMessageEnable=true\n"));
    let fixed = caller.call(318, &[], b"orderMessageEnable=false\nkvConfigPath=/etc/passwd\n");
    assert_eq!(fixed.code, 16);
    assert!(caller.route("TopicA").body.contains("orderTopicConf"), "all or nothing");
}

#[test]
fn a_slave_is_told_its_master() {
    let mut caller = Caller::with_broker();
    let mut slave = MEMBER;
    slave[1].1 = "10.0.0.3:10911";
    slave[4].1 = "1";
    let reply = caller.call(103, &slave, b"");
    assert_eq!(reply.fields["masterAddr"], "10.0.0.2:10911");
    assert_eq!(reply.fields["haServerAddr"], "10.0.0.2:10912");
}

#[test]
fn what_is_missing_or_unknown_is_refused_with_javas_text() {
    let mut caller = Caller::new();
    let reply = caller.call(105, &[], b"");
    assert_eq!((reply.code, reply.remark.as_str()), (1, "the custom field <topic> is null"));
    for unknown in [310, 999_999] {
        let reply = caller.call(unknown, &[], b"");
        assert_eq!((reply.code, reply.remark), (3, format!(" request type {unknown} not supported")));
    }
    assert_eq!(caller.call(103, &MEMBER, b"{not json").code, 1);
}

#[test]
fn one_way_requests_and_responses_get_no_answer() {
    let mut caller = Caller::with_broker();
    assert_eq!(caller.send(105, FLAG_ONE_WAY, &[("topic", "TopicA")], b""), None);
    assert_eq!(caller.send(105, FLAG_RESPONSE, &[], b""), None);
    assert_eq!(caller.send(104, FLAG_ONE_WAY, &MEMBER, b""), None);
    assert_eq!(caller.route("TopicA").code, 17, "it was done all the same");
}

#[test]
fn explain_says_the_truth_about_what_a_name_server_answers() {
    let mut caller = Caller::new();
    for code in RequestCode::ALL {
        let answered = caller.call(code.number(), &[], b"").code != response::REQUEST_CODE_NOT_SUPPORTED;
        assert_eq!(OF_NAME_SERVER.contains(code), answered, "{}", code.label());
    }
}
