//! A queue's full name.

use std::fmt;
use std::sync::Arc;

/// One queue of a topic: the broker that has it, and its number there. (RocketMQ: `MessageQueue`)
///
/// Ordered as Java orders them, by topic, broker, number: every member of a group must see the same order to divide a
/// topic's queues alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue {
    pub(crate) topic: Arc<str>,
    pub(crate) broker: Arc<str>,
    pub(crate) id: i32,
}

impl Queue {
    /// The queue `id` of `topic` at the broker named `broker`.
    pub fn new(topic: impl Into<Arc<str>>, broker: impl Into<Arc<str>>, id: i32) -> Queue {
        Queue { topic: topic.into(), broker: broker.into(), id }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The name of the broker that has it.
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// Its number in the topic, on that broker; from 0.
    pub fn id(&self) -> i32 {
        self.id
    }
}

/// `topic@broker:id`
impl fmt::Display for Queue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}:{}", self.topic, self.broker, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_ordered_by_topic_broker_and_number() {
        let mut queues = [("b", "a", 0), ("a", "b", 1), ("a", "a", 10), ("a", "a", 9), ("a", "b", 0)]
            .map(|(topic, broker, id)| Queue::new(topic, broker, id));
        queues.sort();
        assert_eq!(queues.map(|queue| queue.to_string()), ["a@a:9", "a@a:10", "a@b:0", "a@b:1", "b@a:0"]);
    }
}
