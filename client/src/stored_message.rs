//! A message as a broker stored it and gives it back.

use crate::compression;
use crate::queue::Queue;
use bytes::Bytes;
use ringmq_wire::id;
use ringmq_wire::record::properties::{self, KEYS, RETRY_TOPIC, TAGS, UNIQUE_KEY};
use ringmq_wire::record::{self, Record};
use serde::de::DeserializeOwned;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A stored message: what its producer sent, and where and when it was stored. Cheap to clone.
///
/// Messages of one pull share its memory, at most 256 KiB or so: who keeps one of them for long copies the body.
#[derive(Clone)]
pub struct StoredMessage {
    topic: Arc<str>,
    queue: Queue,
    offset: i64,
    physical_offset: i64,
    flag: i32,
    born_ms: i64,
    stored_ms: i64,
    born_host: SocketAddr,
    store_host: SocketAddr,
    attempts_before: i32,
    body: Bytes,
    properties: Bytes,
}

impl StoredMessage {
    /// The record at the start of `bytes`, and what follows it. `broker` gave it. `None` if there is no whole record.
    pub(crate) fn take(bytes: &mut Bytes, broker: &Arc<str>) -> Result<StoredMessage, record::RecordError> {
        let decoded = record::decode(bytes)?;
        let (message, taken) = (StoredMessage::new(&decoded, bytes, broker), decoded.bytes.len());
        bytes::Buf::advance(bytes, taken);
        Ok(message)
    }

    fn new(record: &Record<'_>, bytes: &Bytes, broker: &Arc<str>) -> StoredMessage {
        let body = match compression::decompress(record.sys_flag, record.body) {
            None => bytes.slice_ref(record.body),
            Some(Ok(unpacked)) => unpacked.into(),
            Some(Err(error)) => {
                tracing::warn!(topic = record.topic, %error, "body is delivered compressed");
                bytes.slice_ref(record.body)
            }
        };
        let stored_under: Arc<str> = record.topic.into();
        // What comes from a retry topic is of the topic it was first consumed from.
        let topic = match record.property(RETRY_TOPIC) {
            Some(first) if record.topic.starts_with(ringmq_wire::name::RETRY_PREFIX) => first.into(),
            _ => stored_under.clone(),
        };
        StoredMessage {
            topic,
            queue: Queue::new(stored_under, broker.clone(), record.queue_id),
            offset: record.queue_offset,
            physical_offset: record.physical_offset,
            flag: record.flag,
            born_ms: record.born_timestamp_ms,
            stored_ms: record.store_timestamp_ms,
            born_host: record.born_host,
            store_host: record.store_host,
            attempts_before: record.reconsume_times,
            body,
            properties: bytes.slice_ref(record.properties),
        }
    }

    /// The topic it was sent to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The queue it lies in: one of its topic, or of its group's retry topic.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Its number in that queue.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The body, as its producer had it. A body compressed in a form that this build cannot read, or damaged, is given as it
    /// is stored.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as text; what is not UTF-8 in it is replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The id that its producer gave it, or else that of its place.
    pub fn id(&self) -> String {
        self.property(UNIQUE_KEY).map_or_else(|| self.place(), str::to_owned)
    }

    /// The broker's id for its place. (RocketMQ: `offsetMsgId`)
    pub fn place(&self) -> String {
        let mut place = String::new();
        id::push(self.store_host, self.physical_offset, &mut place);
        place
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(TAGS)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.property(KEYS).unwrap_or_default().split(' ').filter(|key| !key.is_empty())
    }

    /// A property's value, by its name on the wire.
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }

    /// All properties, the protocol's own too.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        properties::iter(&self.properties)
    }

    /// Its producer's number for it.
    pub fn flag(&self) -> i32 {
        self.flag
    }

    /// When its producer made it, by the producer's clock.
    pub fn born_at(&self) -> SystemTime {
        time(self.born_ms)
    }

    /// When the broker stored it.
    pub fn stored_at(&self) -> SystemTime {
        time(self.stored_ms)
    }

    /// Its producer's address, as the broker saw it.
    pub fn born_host(&self) -> SocketAddr {
        self.born_host
    }

    /// The broker's address.
    pub fn store_host(&self) -> SocketAddr {
        self.store_host
    }

    /// How often consuming it failed before.
    pub fn attempts_before(&self) -> u32 {
        self.attempts_before.try_into().unwrap_or(0)
    }

    /// Where it lies in the broker's log.
    pub fn physical_offset(&self) -> i64 {
        self.physical_offset
    }

    pub(crate) fn encoded_properties(&self) -> &[u8] {
        &self.properties
    }

    /// What it takes of memory.
    pub(crate) fn bytes(&self) -> usize {
        record::FIXED_BYTES + self.body.len() + self.properties.len()
    }

    pub(crate) fn add_attempt(&mut self) {
        self.attempts_before = self.attempts_before.saturating_add(1);
    }
}

/// The messages in a body: records one after another.
pub(crate) fn all_in(mut body: Bytes, broker: &Arc<str>) -> Result<Vec<StoredMessage>, record::RecordError> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        messages.push(StoredMessage::take(&mut body, broker)?);
    }
    Ok(messages)
}

fn time(since_1970_ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(since_1970_ms.try_into().unwrap_or(0))
}

impl fmt::Debug for StoredMessage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StoredMessage")
            .field("topic", &self.topic)
            .field("queue", &format_args!("{}", self.queue))
            .field("offset", &self.offset)
            .field("id", &self.id())
            .field("tag", &self.tag())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_wire::record::{Draft, place};

    fn record(topic: &str, sys_flag: i32, body: &[u8], properties: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let draft = Draft {
            topic,
            queue_id: 3,
            flag: 9,
            sys_flag,
            born_timestamp_ms: 1000,
            born_host: "10.0.0.1:5000".parse().unwrap(),
            store_host: "10.0.0.2:10911".parse().unwrap(),
            reconsume_times: 2,
            prepared_transaction_offset: 0,
            body,
            properties: properties.as_bytes(),
        };
        draft.encode(&mut out).unwrap();
        place(&mut out, 5, 1000, 2000);
        out
    }

    #[test]
    fn a_record_is_what_its_producer_sent_and_where_it_lies() {
        let mut bytes = record("T", 0, b"hello", "TAGS\u{1}A\u{2}KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}U\u{2}");
        bytes.extend(record("T", 0, b"next", ""));
        let messages = all_in(bytes.into(), &"b".into()).unwrap();
        let [message, next] = &messages[..] else { panic!("two records") };
        assert_eq!((message.topic(), message.queue().to_string().as_str()), ("T", "T@b:3"));
        assert_eq!((message.offset(), message.flag(), message.attempts_before()), (5, 9, 2));
        assert_eq!(
            (message.text().as_ref(), message.tag(), message.id().as_str()),
            ("hello", Some("A"), "U")
        );
        assert_eq!(message.keys().collect::<Vec<_>>(), ["k1", "k2"]);
        assert_eq!(message.stored_at(), UNIX_EPOCH + Duration::from_secs(2));
        assert_eq!(
            next.id(),
            "0A00000200002A9F00000000000003E8",
            "without an id of its own it has its place's"
        );
    }

    #[test]
    fn what_comes_from_a_retry_topic_is_of_its_first_topic() {
        let bytes = record("%RETRY%G", 0, b"x", "RETRY_TOPIC\u{1}orders\u{2}");
        let messages = all_in(bytes.into(), &"b".into()).unwrap();
        assert_eq!((messages[0].topic(), messages[0].queue().topic()), ("orders", "%RETRY%G"));
        // A producer's own property of that name means nothing elsewhere.
        let bytes = record("T", 0, b"x", "RETRY_TOPIC\u{1}orders\u{2}");
        assert_eq!(all_in(bytes.into(), &"b".into()).unwrap()[0].topic(), "T");
    }

    #[cfg(feature = "zlib")]
    #[test]
    fn a_compressed_body_is_unpacked_and_a_damaged_one_given_as_it_is() {
        let body = b"four boxes, ".repeat(100);
        let (packed, bits) = compression::compress(compression::Compression::Zlib, &body).unwrap();
        let messages = all_in(record("T", bits, &packed, "").into(), &"b".into()).unwrap();
        assert_eq!(messages[0].body(), &body);
        let messages = all_in(record("T", bits, b"damaged", "").into(), &"b".into()).unwrap();
        assert_eq!(messages[0].body(), &b"damaged"[..]);
    }

    #[test]
    fn half_a_record_is_an_error() {
        let whole = record("T", 0, b"hello", "");
        for bytes in 1..whole.len() {
            assert!(all_in(Bytes::copy_from_slice(&whole[..bytes]), &"b".into()).is_err(), "{bytes}");
        }
    }
}
