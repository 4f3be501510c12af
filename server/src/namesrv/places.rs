//! Which topics are on which brokers, and with which queues. Pure.
//!
//! Invariants
//!  1. A topic has at least one place: with its last one it is gone.
//!  2. [`Places::count`] is the sum over all topics.
//!
//! Not here: which of these brokers are alive (`route_table`), how many places there may be (`limits`).

use std::collections::BTreeMap;

/// A topic's queues on one broker. (`QueueData.java`)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueSpec {
    /// Queues that consumers are told of.
    pub read_queues: i32,
    /// Queues that producers are told of.
    pub write_queues: i32,
    /// What the route says may be done, as bits.
    pub perm: i32,
    /// Unit bits.
    pub topic_sys_flag: i32,
}

/// Topic → broker name → queues and permissions.
#[derive(Debug, Default)]
pub struct Places {
    by_topic: BTreeMap<String, BTreeMap<String, QueueSpec>>,
    count: usize,
}

impl Places {
    /// All places of all topics.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether a topic is on that broker.
    pub fn has(&self, topic: &str, broker: &str) -> bool {
        self.of_topic(topic).is_some_and(|places| places.contains_key(broker))
    }

    /// The places of a topic, by broker name; `None` if it has none.
    pub fn of_topic(&self, topic: &str) -> Option<&BTreeMap<String, QueueSpec>> {
        self.by_topic.get(topic)
    }

    /// All topics with their places.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, QueueSpec>)> {
        self.by_topic.iter().map(|(topic, places)| (topic.as_str(), places))
    }

    /// Puts a topic on a broker, or changes its queues there.
    pub fn put(&mut self, topic: &str, broker: &str, spec: QueueSpec) {
        let places = match self.by_topic.get_mut(topic) {
            Some(places) => places,
            None => self.by_topic.entry(topic.to_owned()).or_default(),
        };
        self.count += usize::from(places.insert(broker.to_owned(), spec).is_none());
    }

    /// Changes the permission of all topics on a broker; how many there are.
    pub fn change_perm(&mut self, broker: &str, change: impl Fn(i32) -> i32) -> usize {
        let specs = self.by_topic.values_mut().filter_map(|places| places.get_mut(broker));
        specs.map(|spec| spec.perm = change(spec.perm)).count()
    }

    /// Keeps a topic on the brokers that pass only.
    pub fn retain_of_topic(&mut self, topic: &str, mut is_kept: impl FnMut(&str) -> bool) {
        let Some(places) = self.by_topic.get_mut(topic) else { return };
        let before = places.len();
        places.retain(|broker, _| is_kept(broker));
        self.count -= before - places.len();
        if places.is_empty() {
            self.by_topic.remove(topic);
        }
    }

    /// Takes all topics from a broker.
    pub fn forget_broker(&mut self, broker: &str) {
        let mut count = 0;
        self.by_topic.retain(|_, places| {
            places.remove(broker);
            count += places.len();
            !places.is_empty()
        });
        self.count = count;
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        assert!(self.by_topic.values().all(|places| !places.is_empty()));
        assert_eq!(self.by_topic.values().map(BTreeMap::len).sum::<usize>(), self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(places: &Places) -> String {
        places.check_invariants();
        let topic = |(topic, places): (&str, &BTreeMap<String, QueueSpec>)| {
            let brokers: Vec<String> =
                places.iter().map(|(broker, spec)| format!("{broker}{}", spec.perm)).collect();
            format!("{topic}: {}", brokers.join(" "))
        };
        places.iter().map(topic).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_topic_is_gone_with_its_last_place() {
        let mut places = Places::default();
        for (topic, broker, perm) in [("T", "a", 6), ("T", "b", 6), ("U", "a", 6), ("T", "b", 4)] {
            places.put(topic, broker, QueueSpec { perm, ..QueueSpec::default() });
        }
        assert_eq!((shown(&places).as_str(), places.count()), ("T: a6 b4, U: a6", 3));
        assert_eq!((places.has("T", "b"), places.has("U", "b"), places.has("V", "b")), (true, false, false));
        assert_eq!(places.change_perm("a", |perm| perm & 4), 2);
        assert_eq!(places.change_perm("c", |_| 0), 0);
        assert_eq!(shown(&places), "T: a4 b4, U: a4");
        places.retain_of_topic("T", |broker| broker == "b");
        places.retain_of_topic("V", |_| false);
        assert_eq!(shown(&places), "T: b4, U: a4");
        places.forget_broker("a");
        assert_eq!((shown(&places).as_str(), places.of_topic("U")), ("T: b4", None));
        places.retain_of_topic("T", |_| false);
        assert_eq!((shown(&places).as_str(), places.count()), ("", 0));
    }
}
