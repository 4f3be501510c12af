//! What must hold for any bytes at all. One function per target, two drivers: seeded mutations of the captured
//! frames in the ordinary tests (`mutations/`), and libFuzzer (`tools/fuzz`).
//!
//! A check fails by panicking. It decodes, and if that succeeds, what was decoded must survive being encoded and
//! decoded again; where a second implementation exists, both must agree.

use ringmq_wire::code::RequestCode;
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::record::{self, Draft, batch, properties, tag::TagSelection};
use ringmq_wire::request::{heartbeat, lock, offset, pull, registration, route, send, topic};
use ringmq_wire::{Fields, Head, HeadFormat, HeadScratch, OutHead, Value, id, json, name};

/// Panics if something does not hold for the input.
pub type Check = fn(&[u8]);

/// A target's name and its check.
pub const TARGETS: [(&str, Check); 8] = [
    ("head_json", head_json),
    ("head_binary", head_binary),
    ("frame", whole_frame),
    ("batch", batch_items),
    ("properties", property_pairs),
    ("record", records),
    ("body", json_body),
    ("text", short_text),
];

/// A header in JSON.
pub fn head_json(input: &[u8]) {
    head(HeadFormat::Json, input);
}

/// A header in the binary form.
pub fn head_binary(input: &[u8]) {
    head(HeadFormat::Binary, input);
}

fn head(format: HeadFormat, input: &[u8]) {
    let mut scratch = HeadScratch::default();
    let Ok(head) = scratch.decode(format, input) else { return };
    if format == HeadFormat::Json {
        agrees_with_serde(&head, input);
    }
    for format in [HeadFormat::Json, format] {
        comes_back(&head, format);
    }
}

fn comes_back(head: &Head<'_>, format: HeadFormat) {
    let fields: Vec<_> = head.fields.iter().map(|(name, value)| (name, Value::Text(value))).collect();
    let (code, opaque, flag, remark) = (head.code, head.opaque, head.flag, head.remark);
    let mut written = Vec::new();
    OutHead { format, code, opaque, flag, remark, fields: &fields }.encode(&mut written, 0);
    let Ok(Decoded::Frame(frame, taken)) = frame::decode(&written) else { panic!("we wrote no frame") };
    assert_eq!(taken, written.len());
    let mut scratch = HeadScratch::default();
    let back = scratch.decode(frame.format, frame.head).expect("what we wrote can be read");
    assert_eq!((back.code, back.opaque, back.flag, back.remark), (code, opaque, flag, remark));
    let same = head.fields.iter().eq(back.fields.iter());
    assert!(same, "{:?} is not {:?}", head.fields, back.fields);
}

/// Where serde_json reads the header as well, the strings of extFields are the same.
fn agrees_with_serde(head: &Head<'_>, input: &[u8]) {
    let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(input) else { return };
    let Some(serde_json::Value::Object(ext)) = object.get("extFields") else { return };
    for (name, value) in ext {
        match value {
            serde_json::Value::String(text) => {
                assert_eq!(head.fields.get(name), Some(text.as_str()), "{name}")
            }
            serde_json::Value::Null => assert_eq!(head.fields.get(name), None, "{name}"),
            _ => assert!(head.fields.get(name).is_some(), "{name}"),
        }
    }
}

/// What a connection delivers: frames, their headers, and the typed request that a handler asks for.
pub fn whole_frame(mut input: &[u8]) {
    let mut scratch = HeadScratch::default();
    while let Ok(Decoded::Frame(frame, taken)) = frame::decode(input) {
        assert!(taken >= 8 && frame.head.len() + frame.body.len() + 8 == taken);
        input = &input[taken..];
        if let Ok(head) = scratch.decode(frame.format, frame.head) {
            typed(head.code, &head.fields, frame.body);
        }
    }
}

fn typed(code: i32, fields: &Fields<'_>, body: &[u8]) {
    match RequestCode::from_number(code) {
        Some(RequestCode::PullMessage | RequestCode::LitePullMessage) => {
            let _ = pull::PullRequest::decode(fields);
        }
        Some(RequestCode::QueryConsumerOffset) => drop(offset::QueryGroupOffset::decode(fields)),
        Some(RequestCode::UpdateConsumerOffset) => drop(offset::StoreGroupOffset::decode(fields)),
        Some(RequestCode::UpdateAndCreateTopic) => drop(topic::CreateTopic::decode(fields)),
        Some(RequestCode::RegisterBroker) => {
            if let Ok(request) = registration::RegisterBroker::decode(fields) {
                let _ = request.body_is_intact(body);
            }
        }
        _ => {
            let Ok(request) = send::SendRequest::decode(code, fields) else { return };
            property_pairs(request.properties.as_bytes());
            if request.batch {
                batch_items(body);
            }
        }
    }
    json_body(body);
}

/// A batch body.
pub fn batch_items(input: &[u8]) {
    let mut written = Vec::new();
    let mut items = Vec::new();
    for item in batch::Items::new(input) {
        let Ok(item) = item else { return };
        assert!(item.encode(&mut written), "an item that was read can be written");
        items.push(item);
    }
    assert_eq!(written.len(), input.len());
    assert!(batch::Items::new(&written).eq(items.into_iter().map(Ok)));
}

/// Encoded properties.
pub fn property_pairs(input: &[u8]) {
    let pairs: Vec<_> = properties::iter(input).collect();
    let (mut pushed, mut copied) = (Vec::new(), Vec::new());
    for (name, value) in &pairs {
        properties::push(name, value, &mut pushed);
    }
    properties::copy_without(input, &[], &mut copied);
    assert_eq!(pushed, copied);
    assert!(properties::iter(&copied).eq(pairs.iter().copied()));
    for (name, _) in &pairs {
        let last = pairs.iter().rev().find(|(found, _)| found == name).map(|(_, value)| *value);
        assert_eq!(properties::get(input, name), last);
    }
}

/// A pull's body.
pub fn records(input: &[u8]) {
    for record in record::Records::new(input) {
        let Ok(record) = record else { return };
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
        match draft.encode(&mut written) {
            Ok(()) => {}
            // A V2 topic and properties may be longer than what we store.
            Err(_) => continue,
        }
        record::place(&mut written, record.queue_offset, record.physical_offset, record.store_timestamp_ms);
        let back = record::decode(&written).expect("a record that we wrote can be read");
        assert!(back.body_is_intact());
        let canonical = |record: record::Record<'_>| {
            let (born, store) = (record.born_host, record.store_host);
            let hosts = (born.ip().to_canonical(), born.port(), store.ip().to_canonical(), store.port());
            let place = (record.queue_id, record.queue_offset, record.physical_offset);
            let times = (record.born_timestamp_ms, record.store_timestamp_ms, record.reconsume_times);
            (
                record.topic.to_owned(),
                record.flag,
                hosts,
                place,
                times,
                record.body.len(),
                record.properties.len(),
            )
        };
        assert_eq!(canonical(back), canonical(record));
    }
}

/// A body in JSON, or an unfolded registration.
pub fn json_body(input: &[u8]) {
    fn both_ways<T>(input: &[u8])
    where
        T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
    {
        if let Ok(read) = json::read::<T>(input) {
            let back = json::read::<T>(&json::write(&read)).expect("a body that we wrote can be read");
            assert_eq!(back, read);
        }
    }
    both_ways::<heartbeat::Heartbeat>(input);
    both_ways::<route::Route>(input);
    both_ways::<lock::LockRequest>(input);
    both_ways::<topic::TopicTable>(input);
    both_ways::<registration::Registration>(input);
    if let Ok(route) = json::read::<route::Route>(input) {
        assert_eq!(json::read(&route.write()), Ok(route));
    }
    let _ = registration::Registration::read_packed(input);
}

/// Texts that fields carry: expressions, ids, names, changes of attributes.
pub fn short_text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(selection) = TagSelection::parse(text) {
        let again = TagSelection::of(selection.tags().iter().map(String::as_str));
        assert_eq!(again.as_ref(), Ok(&selection));
        for tag in selection.tags() {
            assert!(selection.admits(record::tag::hash_code(tag)) && selection.admits_tag(Some(tag)));
        }
    }
    if let Some((host, offset)) = id::parse(text) {
        let mut written = String::new();
        id::push(host, offset, &mut written);
        let (back, offset_back) = id::parse(&written).expect("an id that we wrote can be read");
        assert_eq!((back.ip(), back.port(), offset_back), (host.ip().to_canonical(), host.port(), offset));
    }
    if name::check_topic(text).is_ok() {
        assert!(!text.contains(['/', '.', '\0']), "a topic never leads out of a folder");
    }
    let _ = (name::check_group(text), topic::attribute_changes(text));
}

/// Where a target starts from: the part of a captured frame that it reads.
pub fn seeds(frame: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = vec![("frame", frame.to_vec())];
    let Ok(Decoded::Frame(cut, _)) = frame::decode(frame) else { return seeds };
    let format = if cut.format == HeadFormat::Json { "head_json" } else { "head_binary" };
    seeds.push((format, cut.head.to_vec()));
    let mut scratch = HeadScratch::default();
    let Ok(head) = scratch.decode(cut.format, cut.head) else { return seeds };
    for (name, value) in head.fields.iter() {
        match name {
            "i" | "properties" => seeds.push(("properties", value.as_bytes().to_vec())),
            "topic" | "msgId" | "subscription" | "attributes" => {
                seeds.push(("text", value.as_bytes().to_vec()))
            }
            _ => {}
        }
    }
    match cut.body {
        [] => {}
        [b'{', ..] => seeds.push(("body", cut.body.to_vec())),
        body if record::decode(body).is_ok() => seeds.push(("record", body.to_vec())),
        body if batch::Items::new(body).all(|item| item.is_ok()) => seeds.push(("batch", body.to_vec())),
        _ => {}
    }
    seeds
}
