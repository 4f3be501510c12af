//! Where a topic's queues are, as producers and consumers use it.
//!
//! Invariants
//!  1. Queues are sorted; all clients of a topic see them in the same order.
//!  2. A queue that can be written has a broker with a master (id 0), and its address is known.
//!
//! Source: `MQClientInstance.topicRouteData2TopicPublishInfo`, `topicRouteData2TopicSubscribeInfo`, `PermName.java`.

use crate::queue::Queue;
use ringmq_wire::request::route::Route;
use std::collections::BTreeMap;
use std::sync::Arc;

const READ: i32 = 4;
const WRITE: i32 = 2;
/// The broker that takes writes.
const MASTER: i64 = 0;
/// Most queues of one topic on one broker that are believed, whatever a route says.
const QUEUES_PER_BROKER_MAX: i32 = 65_536;

/// Where a topic is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TopicRoute {
    /// Queues that can be written.
    pub writable: Vec<Queue>,
    /// Queues that can be read.
    pub readable: Vec<Queue>,
    /// Addresses by broker name and id.
    pub brokers: BTreeMap<Arc<str>, BTreeMap<i64, String>>,
}

impl TopicRoute {
    /// What a name server answered about `topic`.
    pub fn new(topic: &str, route: &Route) -> TopicRoute {
        let topic: Arc<str> = topic.into();
        let mut made = TopicRoute::default();
        for broker in &route.brokers {
            made.brokers.insert(broker.broker_name.as_str().into(), broker.addresses.clone());
        }
        for queues in &route.queues {
            let Some((broker, addresses)) = made.brokers.get_key_value(queues.broker_name.as_str()) else {
                continue;
            };
            let list = |count: i32| {
                (0..count.clamp(0, QUEUES_PER_BROKER_MAX))
                    .map(|id| Queue::new(topic.clone(), broker.clone(), id))
            };
            if queues.perm & WRITE != 0 && addresses.contains_key(&MASTER) {
                made.writable.extend(list(queues.write_queues));
            }
            if queues.perm & READ != 0 {
                made.readable.extend(list(queues.read_queues));
            }
        }
        made.writable.sort();
        made.readable.sort();
        made
    }

    /// The route of a topic that does not exist yet, from that of the topic it will be made from (`TBW102`): at most
    /// `queues` queues per broker.
    pub fn of_new_topic(topic: &str, default: &Route, queues: i32) -> TopicRoute {
        let mut default = default.clone();
        for of_broker in &mut default.queues {
            let count = queues.min(of_broker.read_queues);
            (of_broker.read_queues, of_broker.write_queues) = (count, count);
        }
        TopicRoute::new(topic, &default)
    }

    /// The address of a broker's master.
    pub fn master(&self, broker: &str) -> Option<&str> {
        self.brokers.get(broker)?.get(&MASTER).map(String::as_str)
    }

    /// Where to read from a broker: its master, or else whoever has the lowest id.
    pub fn readable_address(&self, broker: &str) -> Option<&str> {
        self.brokers.get(broker)?.values().next().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_wire::request::route::{RouteBroker, RouteQueues};

    fn broker(name: &str, ids: &[i64]) -> RouteBroker {
        let addresses = ids.iter().map(|id| (*id, format!("{name}:{id}"))).collect();
        RouteBroker { broker_name: name.into(), addresses, ..RouteBroker::default() }
    }

    fn queues(name: &str, perm: i32, read_queues: i32, write_queues: i32) -> RouteQueues {
        RouteQueues { broker_name: name.into(), perm, read_queues, write_queues, topic_sys_flag: 0 }
    }

    fn texts(queues: &[Queue]) -> Vec<String> {
        queues.iter().map(Queue::to_string).collect()
    }

    #[test]
    fn queues_are_those_that_may_be_read_and_written() {
        let answered = Route {
            brokers: vec![broker("b", &[0, 1]), broker("a", &[0]), broker("slave", &[1])],
            queues: vec![
                queues("b", 6, 2, 1),
                queues("a", 4, 1, 1),
                queues("slave", 6, 1, 1),
                queues("unknown", 6, 9, 9),
            ],
            ..Route::default()
        };
        let route = TopicRoute::new("T", &answered);
        assert_eq!(texts(&route.writable), ["T@b:0"]);
        assert_eq!(texts(&route.readable), ["T@a:0", "T@b:0", "T@b:1", "T@slave:0"]);
        assert_eq!(route.master("b"), Some("b:0"));
        assert_eq!((route.master("slave"), route.readable_address("slave")), (None, Some("slave:1")));
        assert_eq!((route.master("c"), route.readable_address("c")), (None, None));
    }

    #[test]
    fn a_new_topic_has_as_many_queues_as_are_asked_for_and_offered() {
        let default = Route {
            brokers: vec![broker("a", &[0]), broker("b", &[0])],
            queues: vec![queues("a", 7, 8, 8), queues("b", 7, 2, 2)],
            ..Route::default()
        };
        let route = TopicRoute::of_new_topic("T", &default, 4);
        assert_eq!(texts(&route.writable), ["T@a:0", "T@a:1", "T@a:2", "T@a:3", "T@b:0", "T@b:1"]);
    }

    #[test]
    fn a_route_with_absurd_counts_gives_bounded_lists() {
        let answered = Route {
            brokers: vec![broker("a", &[0])],
            queues: vec![queues("a", 6, i32::MAX, -1)],
            ..Route::default()
        };
        let route = TopicRoute::new("T", &answered);
        assert_eq!((route.writable.len(), route.readable.len()), (0, 65_536));
    }
}
