//! Every frame captured from real clients and servers is read down to its typed request or reply, and, where our
//! form is the sender's, written again to the same bytes.
//!
//! A frame whose request code has no reader here fails the test: capturing something new asks for its type.

mod captured;
mod checks;
mod mutations;

use std::fmt::Debug;

use captured::Captured;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::frame::{self, Decoded, Frame};
use ringmq_wire::json;
use ringmq_wire::language;
use ringmq_wire::record::{self, Draft, Records, batch, properties};
use ringmq_wire::request::{
    admin, client, group, heartbeat, kv, lock, offset, pull, registration, route, send, topic, view,
};
use ringmq_wire::{FieldError, Fields, Head, HeadFormat, HeadScratch, OutHead, Value, id};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn whole(captured: &Captured) -> Frame<'_> {
    match frame::decode(&captured.bytes) {
        Ok(Decoded::Frame(frame, taken)) if taken == captured.bytes.len() => frame,
        other => panic!("{}: not one whole frame: {other:?}", captured.name),
    }
}

fn each_head(mut check: impl FnMut(&Captured, &Frame<'_>, &Head<'_>)) {
    let mut scratch = HeadScratch::default();
    for captured in captured::all() {
        let frame = whole(&captured);
        let head = scratch
            .decode(frame.format, frame.head)
            .unwrap_or_else(|error| panic!("{}: {error}", captured.name));
        check(&captured, &frame, &head);
    }
}

#[test]
fn every_head_is_read() {
    each_head(|captured, _, head| {
        let name = &captured.name;
        assert_eq!(head.code, captured.reply.unwrap_or(captured.code), "{name}");
        assert_eq!(head.is_response(), captured.reply.is_some(), "{name}");
        let from_server = captured.reply.is_some() || name.contains("-server-");
        assert_eq!(head.is_one_way(), name.contains("-oneway-"), "{name}");
        let (expected_language, expected_version) = match captured.who.as_str() {
            _ if from_server => ("JAVA", 479),
            who if who.starts_with("java-4.9.8") => ("JAVA", 409),
            who if who.starts_with("java-5.5.0") => ("JAVA", 513),
            who if who.starts_with("go") => ("GO", 317),
            who if who.starts_with("cpp") => ("CPP", 63),
            _ => ("JAVA", 479),
        };
        assert_eq!(
            (language::name(head.language), head.version),
            (expected_language, expected_version),
            "{name}"
        );
    });
}

#[test]
fn every_request_and_every_reply_has_its_type() {
    each_head(|captured, frame, head| match captured.reply {
        None => check_request(captured, frame, &head.fields),
        Some(_) => check_reply(captured, frame, head),
    });
}

fn check_request(captured: &Captured, frame: &Frame<'_>, fields: &Fields<'_>) {
    use RequestCode::*;
    let seen = Seen { name: &captured.name, fields };
    let code = RequestCode::from_number(captured.code).expect("captured codes have names");
    match code {
        SendMessage | SendMessageV2 | SendBatchMessage => {
            let request = seen.read(send::SendRequest::decode(captured.code, fields));
            seen.same(&request.fields(captured.code));
            assert_eq!(request.batch, captured.name.contains("-batch-") && !captured.who.starts_with("cpp"));
            if request.batch {
                same_items(&captured.name, frame.body);
            }
            assert!(
                properties::get(request.properties.as_bytes(), "KEYS").is_some()
                    || captured.name.contains("batch")
            );
        }
        PullMessage | LitePullMessage => seen.same(&seen.read(pull::PullRequest::decode(fields)).fields()),
        QueryMessage => seen.same(&seen.read(view::QueryRequest::decode(fields)).fields()),
        ViewMessageById => seen.same(&seen.read(view::ViewRequest::decode(fields)).fields()),
        QueryConsumerOffset => seen.same(&seen.read(offset::QueryGroupOffset::decode(fields)).fields()),
        UpdateConsumerOffset => seen.same(&seen.read(offset::StoreGroupOffset::decode(fields)).fields()),
        SearchOffsetByTimestamp => seen.same(&seen.read(offset::SearchOffset::decode(fields)).fields()),
        GetMaxOffset | GetMinOffset | GetEarliestStoreTime => {
            seen.same(&seen.read(offset::QueueBound::decode(fields)).fields());
        }
        HeartBeat => {
            let beat: heartbeat::Heartbeat = seen.body(frame.body);
            let groups = beat.consumers.len() + beat.producers.len();
            assert!(!beat.client_id.is_empty() && groups > 0, "{}", captured.name);
            for subscription in beat.consumers.iter().flat_map(|consumer| &consumer.subscriptions) {
                assert!(
                    !subscription.topic.is_empty() && subscription.selection().is_ok(),
                    "{}",
                    captured.name
                );
            }
            // Our form is that of 5.3; 4.9 has two keys less.
            if captured.who.starts_with("java-5") {
                assert_eq!(text(&json::write(&beat)), text(frame.body), "{}", captured.name);
            }
        }
        UnregisterClient => seen.same(&seen.read(heartbeat::UnregisterRequest::decode(fields)).fields()),
        ConsumerSendMessageBack => seen.same(&seen.read(send::SendBack::decode(fields)).fields()),
        EndTransaction => seen.same(&seen.read(send::EndTransaction::decode(fields)).fields()),
        GetConsumerListByGroup | NotifyConsumerIdsChanged | GetConsumerConnectionList => {
            seen.same(&seen.read(heartbeat::GroupRequest::decode(fields)).fields());
        }
        LockBatchQueues | UnlockBatchQueues => {
            let request: lock::LockRequest = seen.body(frame.body);
            assert!(!request.queues.is_empty() && !request.client_id.is_empty(), "{}", captured.name);
            if captured.who.starts_with("java-5") {
                assert_eq!(text(&json::write(&request)), text(frame.body), "{}", captured.name);
            }
        }
        CheckClientConfig => drop(seen.body::<client::CheckClient>(frame.body)),
        RegisterBroker => {
            let request = seen.read(registration::RegisterBroker::decode(fields));
            seen.same(&request.fields());
            assert!(request.body_is_intact(frame.body), "{}", captured.name);
            let body = registration::Registration::read(frame.body).expect("a registration's body");
            assert!(body.topics.topics.contains_key("TBW102"), "{}", captured.name);
        }
        GetRouteByTopic => seen.same(&seen.read(route::RouteRequest::decode(fields)).fields()),
        UpdateAndCreateTopic => seen.same(&seen.read(topic::CreateTopic::decode(fields)).fields()),
        UpdateAndCreateGroup => seen.exact_body::<group::GroupDefinition>(frame.body),
        GetTopicStats | GetTopicConfig | DeleteTopicInBroker => {
            seen.same(&seen.read(topic::TopicRequest::decode(fields)).fields());
        }
        GetConsumeStats => seen.same(&seen.read(admin::ConsumeStatsRequest::decode(fields)).fields()),
        DeleteTopicInNameServer => seen.same(&seen.read(kv::DeleteTopicRoute::decode(fields)).fields()),
        GetBrokerCluster | GetBrokerRuntimeInfo | GetAllTopicList => {
            assert!(
                frame.body.is_empty() && fields.iter().all(|(name, _)| name == "ReqT"),
                "{}",
                captured.name
            );
        }
        other => panic!("{}: nobody reads {}", captured.name, other.label()),
    }
}

fn check_reply(captured: &Captured, frame: &Frame<'_>, head: &Head<'_>) {
    use RequestCode::*;
    let fields = &head.fields;
    let seen = Seen { name: &captured.name, fields };
    let code = RequestCode::from_number(captured.code).expect("captured codes have names");
    match (code, head.code) {
        (SendMessage | SendMessageV2 | SendBatchMessage, response::SUCCESS) => {
            let reply = seen.read(send::SendReply::decode(fields));
            seen.same(&reply.fields());
            for id in reply.message_id.split(',') {
                let (host, _) = id::parse(id).unwrap_or_else(|| panic!("{}: {id}", captured.name));
                assert_eq!(host.ip().to_string(), "127.0.0.2", "{}", captured.name);
            }
        }
        (
            PullMessage | LitePullMessage,
            response::SUCCESS
            | response::PULL_NOT_FOUND
            | response::PULL_RETRY_IMMEDIATELY
            | response::PULL_OFFSET_MOVED,
        ) => {
            seen.same(&seen.read(pull::PullReply::decode(fields)).fields());
            assert_eq!(frame.body.is_empty(), head.code != response::SUCCESS, "{}", captured.name);
            same_records(&captured.name, frame.body);
        }
        (QueryMessage, response::SUCCESS) => {
            seen.same(&seen.read(view::QueryReply::decode(fields)).fields());
            same_records(&captured.name, frame.body);
        }
        (ViewMessageById, response::SUCCESS) => same_records(&captured.name, frame.body),
        (QueryConsumerOffset | SearchOffsetByTimestamp | GetMaxOffset | GetMinOffset, response::SUCCESS) => {
            seen.same(&seen.read(offset::OffsetReply::decode(fields)).fields())
        }
        (HeartBeat, response::SUCCESS) => {
            let reply = seen.read(heartbeat::HeartbeatReply::decode(fields));
            assert!(reply.supports_v2, "{}", captured.name);
            seen.same(&reply.fields());
        }
        (GetConsumerListByGroup, response::SUCCESS) => seen.exact_body::<heartbeat::MembersReply>(frame.body),
        (LockBatchQueues, response::SUCCESS) => seen.exact_body::<lock::LockReply>(frame.body),
        (RegisterBroker, response::SUCCESS) => drop(seen.read(registration::RegisterReply::decode(fields))),
        (GetRouteByTopic, response::SUCCESS) => {
            let route: route::Route = seen.body(frame.body);
            assert!(
                route.brokers.iter().all(|broker| broker.addresses.contains_key(&0)),
                "{}",
                captured.name
            );
            // Apache writes bare keys for clients before 4.9.4; we quote them for all.
            assert_eq!(text(&route.write()), text(frame.body).replace("{0:", "{\"0\":"), "{}", captured.name);
        }
        (GetBrokerCluster, response::SUCCESS) => {
            let table: route::ClusterTable = seen.body(frame.body);
            assert_eq!(
                text(&json::write(&table)),
                text(frame.body).replace("{0:", "{\"0\":"),
                "{}",
                captured.name
            );
        }
        (GetTopicStats, response::SUCCESS) => seen.exact_body::<topic::TopicStats>(frame.body),
        (GetTopicConfig, response::SUCCESS) => seen.exact_body::<topic::TopicDefinition>(frame.body),
        (GetConsumeStats, response::SUCCESS) => seen.exact_body::<admin::ConsumeStats>(frame.body),
        (GetAllTopicList, response::SUCCESS) => seen.exact_body::<admin::TopicList>(frame.body),
        (GetBrokerRuntimeInfo, response::SUCCESS) => {
            let table: admin::TextTable = seen.body(frame.body);
            assert_eq!(table.table["brokerActive"], "true");
        }
        (_, response::SUCCESS) => assert!(frame.body.is_empty(), "{}: nobody reads the body", captured.name),
        (_, _) => assert!(head.remark.is_some() && frame.body.is_empty(), "{}", captured.name),
    }
}

/// A frame under test.
struct Seen<'s, 'f> {
    name: &'s str,
    fields: &'s Fields<'f>,
}

impl Seen<'_, '_> {
    fn read<T>(&self, decoded: Result<T, FieldError>) -> T {
        decoded.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// What the typed form would write is what was received, save what has its default.
    fn same(&self, written: &[(&str, Value<'_>)]) {
        for (field, value) in written {
            let received = self.fields.get(field);
            let same = match value {
                Value::Text(text) => received.unwrap_or("") == *text,
                Value::Int(number) => received.unwrap_or("0") == number.to_string(),
                Value::Bool(value) => self.fields.is_true(field) == *value,
            };
            assert!(same, "{}: {field} was {received:?} and would be written as {value:?}", self.name);
        }
    }

    /// The body's typed form; it must survive being written and read again.
    fn body<T: DeserializeOwned + Serialize + PartialEq + Debug>(&self, body: &[u8]) -> T {
        let read =
            |body: &[u8]| json::read::<T>(body).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let typed = read(body);
        assert_eq!(read(&json::write(&typed)), typed, "{}", self.name);
        typed
    }

    /// A body that we write exactly as Java does.
    fn exact_body<T: DeserializeOwned + Serialize + PartialEq + Debug>(&self, body: &[u8]) {
        assert_eq!(text(&json::write(&self.body::<T>(body))), text(body), "{}", self.name);
    }
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).expect("a JSON body is text")
}

/// Records that Apache's broker stored are, byte for byte, what we would have stored.
fn same_records(name: &str, body: &[u8]) {
    for record in Records::new(body) {
        let record = record.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(record.body_is_intact(), "{name}");
        let draft = Draft {
            topic: record.topic,
            queue_id: record.queue_id,
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_timestamp_ms: record.born_timestamp_ms,
            born_host: record.born_host,
            store_host: record.store_host,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: record.prepared_transaction_offset,
            body: record.body,
            properties: record.properties,
        };
        let mut written = Vec::new();
        draft.encode(&mut written).expect("a stored record can be stored");
        record::place(&mut written, record.queue_offset, record.physical_offset, record.store_timestamp_ms);
        assert_eq!(written, record.bytes, "{name}");

        let mut copied = Vec::new();
        properties::copy_without(record.properties, &[], &mut copied);
        assert_eq!(copied, record.properties, "{name}");
    }
}

fn same_items(name: &str, body: &[u8]) {
    let mut written = Vec::new();
    for item in batch::Items::new(body) {
        let item = item.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(item.encode(&mut written), "{name}");
    }
    assert_eq!(written, body, "{name}");
}

#[test]
fn heads_of_java_servers_are_written_again_to_the_same_bytes() {
    let mut checked = 0;
    each_head(|captured, frame, head| {
        // Java leaves extFields out where it has none; we never do.
        let ours = (language::name(head.language), head.version) == ("JAVA", 479);
        if !ours || (frame.format == HeadFormat::Json && head.fields.iter().next().is_none()) {
            return;
        }
        let fields: Vec<_> = head.fields.iter().map(|(name, value)| (name, Value::Text(value))).collect();
        let out = OutHead {
            format: frame.format,
            code: head.code,
            opaque: head.opaque,
            flag: head.flag,
            remark: head.remark,
            fields: &fields,
        };
        let mut written = Vec::new();
        out.encode(&mut written, frame.body.len());
        written.extend_from_slice(frame.body);
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(shown(&written), shown(&captured.bytes), "{}", captured.name);
        assert!(written == captured.bytes, "{}", captured.name);
        checked += 1;
    });
    assert!(checked > 100, "only {checked} heads have our form");
}

#[test]
fn every_truncation_of_a_frame_is_incomplete_and_of_a_head_refused() {
    let mut scratch = HeadScratch::default();
    for captured in captured::all() {
        let frame = whole(&captured);
        // Beyond the first and last bytes nothing new happens inside a long body.
        let length = captured.bytes.len();
        for cut in (0..length).filter(|cut| *cut < 600 || length - cut < 100) {
            match frame::decode(&captured.bytes[..cut]) {
                Ok(Decoded::Incomplete { need }) => {
                    assert!(need > cut && need <= length, "{}", captured.name)
                }
                other => panic!("{} cut to {cut}: {other:?}", captured.name),
            }
        }
        let closing = frame.head.iter().rposition(|byte| *byte == b'}').unwrap_or(0);
        let needed = if frame.format == HeadFormat::Json { closing + 1 } else { frame.head.len() };
        for cut in 0..needed {
            assert!(
                scratch.decode(frame.format, &frame.head[..cut]).is_err(),
                "{} cut to {cut}",
                captured.name
            );
        }
    }
}
