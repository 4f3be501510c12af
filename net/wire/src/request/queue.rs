//! A queue's full name in bodies, and maps keyed by it.
//!
//!     {"brokerName":"broker-a","queueId":0,"topic":"T"}
//!
//! Java's maps with such keys are written `{{"brokerName":…}:value}`; see [`crate::json`].
//!
//! Source: `common/.../message/MessageQueue.java`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::{self, tolerant};

/// Names one queue (RocketMQ: MessageQueue).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueName {
    /// The broker that has it.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub broker_name: String,
    /// Its number in the topic on that broker.
    #[serde(deserialize_with = "tolerant::number")]
    pub queue_id: i32,
    /// The topic.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub topic: String,
}

/// A map from queues to something, in the order written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMap<V>(pub Vec<(QueueName, V)>);

impl<V> Default for QueueMap<V> {
    fn default() -> Self {
        QueueMap(Vec::new())
    }
}

impl<V: Serialize> Serialize for QueueMap<V> {
    fn serialize<S: Serializer>(&self, into: S) -> Result<S::Ok, S::Error> {
        let mut map = into.serialize_map(Some(self.0.len()))?;
        for (queue, value) in &self.0 {
            let key = serde_json::to_string(queue).map_err(serde::ser::Error::custom)?;
            map.serialize_entry(&key, value)?;
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for QueueMap<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(QueueMapVisitor(PhantomData))
    }
}

struct QueueMapVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for QueueMapVisitor<V> {
    type Value = QueueMap<V>;

    fn expecting(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        into.write_str("a map whose keys are queues")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<QueueMap<V>, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, V>()? {
            entries.push((json::read(key.as_bytes()).map_err(A::Error::custom)?, value));
        }
        Ok(QueueMap(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_keyed_by_queues_is_written_and_read_as_java_does() {
        let queue = |queue_id| QueueName { broker_name: "b".into(), queue_id, topic: "T".into() };
        let map = QueueMap(vec![(queue(0), 5), (queue(1), 6)]);
        let written = String::from_utf8(json::write(&map)).unwrap();
        assert_eq!(
            written,
            r#"{{"brokerName":"b","queueId":0,"topic":"T"}:5,{"brokerName":"b","queueId":1,"topic":"T"}:6}"#
        );
        assert_eq!(json::read::<QueueMap<i64>>(written.as_bytes()), Ok(map));
    }

    #[test]
    fn a_key_that_is_no_queue_is_refused() {
        assert!(json::read::<QueueMap<i64>>(br#"{"x":1}"#).is_err());
    }
}
