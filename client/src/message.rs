//! A message on its way to a broker.

use crate::error::Error;
use bytes::Bytes;
use ringmq_wire::name;
use ringmq_wire::record::PROPERTIES_BYTES_MAX;
use ringmq_wire::record::properties::{self, NAME_END, PAIR_END};
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Room left in the properties for what the client and the broker add: an id, the region, a retry's history.
const OWN_PROPERTIES_BYTES: usize = 1024;

/// Names that mean something to brokers and clients; [`MessageBuilder::property`] refuses them.
/// Source: `MessageConst.STRING_HASH_SET`.
const RESERVED: [&str; 33] = [
    properties::KEYS,
    properties::TAGS,
    properties::WAIT,
    properties::DELAY,
    properties::RETRY_TOPIC,
    properties::REAL_TOPIC,
    properties::REAL_QUEUE_ID,
    properties::TRANSACTION_PREPARED,
    properties::PRODUCER_GROUP,
    properties::ORIGIN_MESSAGE_ID,
    properties::RECONSUME_TIME,
    properties::MAX_RECONSUME_TIMES,
    properties::MSG_REGION,
    properties::TRACE_ON,
    properties::UNIQUE_KEY,
    properties::INNER_NUM,
    properties::CHECK_IMMUNITY_TIME_IN_SECONDS,
    properties::TRANSACTION_CHECK_TIMES,
    properties::TRANSACTION_ID,
    properties::CORRELATION_ID,
    properties::REPLY_TO_CLIENT,
    properties::CLUSTER,
    properties::POP_CK,
    properties::SHARDING_KEY,
    properties::TIMER_DELAY_SEC,
    properties::TIMER_DELAY_MS,
    properties::TIMER_DELIVER_MS,
    properties::DLQ_ORIGIN_TOPIC,
    properties::DLQ_ORIGIN_MESSAGE_ID,
    "MIN_OFFSET",
    "MAX_OFFSET",
    "CONSUME_START_TIME",
    "TTL",
];

/// A message: a topic, a body, and what a reader may find it by.
///
/// ```
/// use ringmq_client::Message;
///
/// let plain = Message::new("orders", "four boxes");
/// let rich = Message::builder("orders")
///     .tag("created")
///     .key("order-17")
///     .property("region", "north")
///     .ordered_by("customer-4")
///     .body("four boxes");
/// # assert_eq!((plain.topic(), rich.tag()), ("orders", Some("created")));
/// ```
#[derive(Debug, Clone)]
pub struct Message {
    pub(crate) topic: String,
    pub(crate) body: Bytes,
    /// Encoded; without the client's own id.
    pub(crate) properties: String,
    pub(crate) ordered_by: Option<String>,
    pub(crate) flag: i32,
    /// The first thing that was wrong with it; told when it is sent.
    pub(crate) wrong: Option<String>,
}

impl Message {
    /// A message without tag, keys or properties.
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Message {
        Message::builder(topic).body(body)
    }

    /// Begins a message for `topic`.
    pub fn builder(topic: impl Into<String>) -> MessageBuilder {
        let message = Message {
            topic: topic.into(),
            body: Bytes::new(),
            properties: String::new(),
            ordered_by: None,
            flag: 0,
            wrong: None,
        };
        MessageBuilder { message, keys: String::new() }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(properties::TAGS)
    }

    /// A property's value, by its name on the wire.
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(self.properties.as_bytes(), name)
    }

    /// Refuses what no broker would take.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(wrong) = &self.wrong {
            return Err(Error::invalid(wrong));
        }
        name::check_topic(&self.topic).map_err(Error::invalid)?;
        if name::is_send_forbidden(&self.topic) {
            return Err(Error::Invalid(format!("topic {} is the brokers' own", self.topic)));
        }
        if self.properties.len() > PROPERTIES_BYTES_MAX - OWN_PROPERTIES_BYTES {
            let (has, max) = (self.properties.len(), PROPERTIES_BYTES_MAX - OWN_PROPERTIES_BYTES);
            return Err(Error::Invalid(format!("properties of {has} bytes exceed {max}")));
        }
        Ok(())
    }
}

/// Puts a message together; [`MessageBuilder::body`] or [`MessageBuilder::json`] finishes it. What is wrong with it is an
/// [`Error::Invalid`] when it is sent.
#[derive(Debug, Clone)]
#[must_use = "a message is finished by `body` or `json`"]
pub struct MessageBuilder {
    message: Message,
    keys: String,
}

impl MessageBuilder {
    /// The tag, by which consumers choose. One per message.
    pub fn tag(self, tag: impl AsRef<str>) -> MessageBuilder {
        self.set(properties::TAGS, tag.as_ref())
    }

    /// A key, by which the message can be looked up later. There may be several; none may contain a blank.
    pub fn key(mut self, key: impl AsRef<str>) -> MessageBuilder {
        let key = key.as_ref();
        if key.contains(' ') {
            self.refuse(format!("key `{key}` contains a blank, which separates keys"));
        }
        if !self.keys.is_empty() {
            self.keys.push(' ');
        }
        self.keys.push_str(key);
        self
    }

    /// A property of your own.
    pub fn property(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> MessageBuilder {
        let name = name.as_ref();
        if RESERVED.contains(&name) {
            self.refuse(format!("property {name} is the protocol's own"));
        }
        self.set(name, value.as_ref())
    }

    /// Messages of one topic with the same order key go to the same queue, in the order in which their sends complete: send
    /// the next one when the one before it is stored. Java's selector by hash chooses the same queue.
    pub fn ordered_by(mut self, key: impl Into<String>) -> MessageBuilder {
        let key = key.into();
        self = self.set(properties::SHARDING_KEY, &key);
        self.message.ordered_by = Some(key);
        self
    }

    /// Deliver it so long after it was stored. Brokers without timers refuse it or deliver at once; see the broker.
    pub fn deliver_after(self, delay: Duration) -> MessageBuilder {
        self.set(properties::TIMER_DELAY_MS, &delay.as_millis().to_string())
    }

    /// Deliver it at this time, or at once if it is past.
    pub fn deliver_at(self, time: SystemTime) -> MessageBuilder {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.set(properties::TIMER_DELIVER_MS, &since_1970.as_millis().to_string())
    }

    /// Deliver it after one of the broker's delay levels, 1 to 18: 1 s, 5 s, 10 s, 30 s, 1 to 10 min, 20 min, 30 min, 1 h, 2 h.
    pub fn delay_level(self, level: u8) -> MessageBuilder {
        self.set(properties::DELAY, &level.to_string())
    }

    /// A number that is kept with the message and means nothing to the broker.
    pub fn flag(mut self, flag: i32) -> MessageBuilder {
        self.message.flag = flag;
        self
    }

    /// Finishes the message with this body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Message {
        if !self.keys.is_empty() {
            let keys = std::mem::take(&mut self.keys);
            self = self.set(properties::KEYS, &keys);
        }
        self.message.body = body.into();
        self.message
    }

    /// Finishes the message with `value` as JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Message, Error> {
        let body = serde_json::to_vec(value).map_err(Error::invalid)?;
        Ok(self.body(body))
    }

    fn set(mut self, name: &str, value: &str) -> MessageBuilder {
        let is_end = |letter: char| letter == char::from(NAME_END) || letter == char::from(PAIR_END);
        if name.is_empty() || value.is_empty() {
            self.refuse(format!("property `{name}` = `{value}` has an empty part, which brokers drop"));
        } else if name.contains(is_end) || value.contains(is_end) {
            self.refuse(format!("property {name} contains a separator (U+0001 or U+0002)"));
        } else {
            let properties = &mut self.message.properties;
            properties.push_str(name);
            properties.push(char::from(NAME_END));
            properties.push_str(value);
            properties.push(char::from(PAIR_END));
        }
        self
    }

    fn refuse(&mut self, why: String) {
        self.message.wrong.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_properties_that_java_would_write() {
        let message =
            Message::builder("T").tag("A").key("k1").key("k2").property("p", "v").ordered_by("o").body("b");
        assert_eq!(
            message.properties,
            "TAGS\u{1}A\u{2}p\u{1}v\u{2}__SHARDINGKEY\u{1}o\u{2}KEYS\u{1}k1 k2\u{2}"
        );
        assert!(message.check().is_ok());
        assert_eq!((message.tag(), message.property("p")), (Some("A"), Some("v")));
    }

    #[test]
    fn times_are_milliseconds() {
        let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        for (message, name, value) in [
            (Message::builder("T").deliver_after(Duration::from_secs(3)), properties::TIMER_DELAY_MS, "3000"),
            (Message::builder("T").deliver_at(at), properties::TIMER_DELIVER_MS, "1700000000123"),
            (Message::builder("T").delay_level(3), properties::DELAY, "3"),
        ] {
            assert_eq!(message.body("").property(name), Some(value));
        }
    }

    #[test]
    fn json_is_the_body() {
        let message = Message::builder("T").json(&["a", "b"]).unwrap();
        assert_eq!(message.body(), &br#"["a","b"]"#[..]);
        let keys_that_are_no_text = std::collections::BTreeMap::from([(vec![1], 1)]);
        assert!(matches!(Message::builder("T").json(&keys_that_are_no_text), Err(Error::Invalid(_))));
    }

    #[test]
    fn what_no_broker_takes_is_refused_before_it_is_sent() {
        let long = "x".repeat(40_000);
        for (message, expected) in [
            (Message::new("", "b"), "The specified topic is blank."),
            (
                Message::new("a b", "b"),
                "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$",
            ),
            (Message::new("SCHEDULE_TOPIC_XXXX", "b"), "topic SCHEDULE_TOPIC_XXXX is the brokers' own"),
            (Message::builder("T").key("a b").body(""), "key `a b` contains a blank, which separates keys"),
            (Message::builder("T").property("TAGS", "x").body(""), "property TAGS is the protocol's own"),
            (
                Message::builder("T").tag("").body(""),
                "property `TAGS` = `` has an empty part, which brokers drop",
            ),
            (
                Message::builder("T").tag("a\u{2}b").body(""),
                "property TAGS contains a separator (U+0001 or U+0002)",
            ),
            (Message::builder("T").property("p", &long).body(""), "properties of 40003 bytes exceed 31743"),
        ] {
            assert_eq!(message.check().unwrap_err().to_string(), expected);
        }
    }
}
