//! Which queues are a member's: the same answer that every other member of the group computes, be it Java, Go or Rust.
//!
//! Nobody hands queues out. Every member sorts the same queues and the same members and applies the same strategy, so that
//! the answers fit together: each queue has exactly one owner. A group's members must be of one strategy.
//!
//! Eight queues among three members, a, b and c:
//!
//! | | a | b | c |
//! |---|---|---|---|
//! | [`Allocation::Average`] | 0 1 2 | 3 4 5 | 6 7 |
//! | [`Allocation::Circle`] | 0 3 6 | 1 4 7 | 2 5 |
//!
//! Source: `client/.../consumer/rebalance/AllocateMessageQueue*.java`, `common/.../consistenthash/ConsistentHashRouter.java`.

use super::md5::md5;
use crate::queue::Queue;
use std::collections::BTreeMap;

/// How the queues of a topic are divided among the members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Allocation {
    /// Neighbouring queues, as evenly as can be. (RocketMQ: `AllocateMessageQueueAveragely`, the default)
    #[default]
    Average,
    /// Every n-th queue. (RocketMQ: `AllocateMessageQueueAveragelyByCircle`)
    Circle,
    /// By a ring of hashes: few queues move when a member comes or goes. (RocketMQ: `AllocateMessageQueueConsistentHash`
    /// with its default of 10 places per member)
    ConsistentHash,
}

/// Places of each member on the ring.
const PLACES: usize = 10;

impl Allocation {
    /// The queues of `me`. `queues` and `members` are sorted; none if `me` is no member.
    pub(crate) fn allocate(self, me: &str, queues: &[Queue], members: &[String]) -> Vec<Queue> {
        debug_assert!(queues.is_sorted() && members.is_sorted());
        let Some(index) = members.iter().position(|member| member == me) else { return Vec::new() };
        match self {
            Allocation::Average => average(index, queues, members.len()),
            Allocation::Circle => queues.iter().skip(index).step_by(members.len()).cloned().collect(),
            Allocation::ConsistentHash => {
                let ring = Ring::new(members);
                queues.iter().filter(|queue| ring.owner(&java_text(queue)) == Some(me)).cloned().collect()
            }
        }
    }
}

/// The first members get one queue more, if they do not come out even.
fn average(index: usize, queues: &[Queue], members: usize) -> Vec<Queue> {
    let (each, left) = (queues.len() / members, queues.len() % members);
    let start = index * each + index.min(left);
    let count = each + usize::from(index < left);
    queues.iter().skip(start).take(count).cloned().collect()
}

/// Members by the hashes of their places.
struct Ring<'a>(BTreeMap<u32, &'a str>);

impl<'a> Ring<'a> {
    fn new(members: &'a [String]) -> Ring<'a> {
        let mut ring = BTreeMap::new();
        for member in members {
            for place in 0..PLACES {
                ring.insert(hash(&format!("{member}-{place}")), member.as_str());
            }
        }
        Ring(ring)
    }

    /// The member whose place is the next from the key's hash on, around the ring.
    fn owner(&self, key: &str) -> Option<&'a str> {
        self.0.range(hash(key)..).chain(&self.0).next().map(|(_, member)| *member)
    }
}

fn hash(key: &str) -> u32 {
    let [a, b, c, d, ..] = md5(key.as_bytes());
    u32::from_be_bytes([a, b, c, d])
}

/// What `MessageQueue.toString` gives, which Java hashes.
fn java_text(queue: &Queue) -> String {
    format!("MessageQueue [topic={}, brokerName={}, queueId={}]", queue.topic, queue.broker, queue.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRATEGIES: [Allocation; 3] = [Allocation::Average, Allocation::Circle, Allocation::ConsistentHash];

    fn queues(count: i32) -> Vec<Queue> {
        (0..count).map(|id| Queue::new("TopicTest", "broker-a", id)).collect()
    }

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("10.0.0.{number}@4{number}#rust")).collect()
    }

    fn ids(queues: &[Queue]) -> String {
        queues.iter().map(|queue| queue.id.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// What Java 5.3.3's classes give, by `client/tests/golden/Allocations.java`.
    #[test]
    fn allocations_are_those_that_java_computes() {
        let golden = include_str!("../../tests/golden/allocations.txt");
        let mut rows = 0;
        for row in golden.lines().filter(|row| !row.starts_with('#')) {
            let columns: Vec<_> = row.split(';').map(str::trim).collect();
            let [strategy, queue_count, member_count, index, expected] = columns[..] else { panic!("{row}") };
            let strategy = match strategy {
                "AVG" => Allocation::Average,
                "AVG_BY_CIRCLE" => Allocation::Circle,
                "CONSISTENT_HASH" => Allocation::ConsistentHash,
                other => panic!("{other}"),
            };
            let members = members(member_count.parse().unwrap());
            let me = &members[index.parse::<usize>().unwrap()];
            let mine = strategy.allocate(me, &queues(queue_count.parse().unwrap()), &members);
            assert_eq!(ids(&mine), expected, "{row}");
            rows += 1;
        }
        assert!(rows > 100, "{rows} rows");
    }

    #[test]
    fn every_queue_has_exactly_one_owner() {
        for strategy in STRATEGIES {
            for queue_count in [0, 1, 2, 7, 8, 16] {
                for member_count in 1..10 {
                    let (queues, members) = (queues(queue_count), members(member_count));
                    let mut owned: Vec<_> =
                        members.iter().flat_map(|me| strategy.allocate(me, &queues, &members)).collect();
                    owned.sort();
                    assert_eq!(owned, queues, "{strategy:?} {queue_count} {member_count}");
                }
            }
        }
    }

    #[test]
    fn who_is_no_member_has_no_queue() {
        for strategy in STRATEGIES {
            assert!(strategy.allocate("stranger", &queues(8), &members(2)).is_empty());
            assert!(strategy.allocate("stranger", &queues(8), &[]).is_empty());
        }
    }

    #[test]
    fn few_queues_move_when_a_member_leaves_a_ring() {
        let (queues, all) = (queues(100), members(10));
        let without = &all[..9];
        let owner = |members: &[String], queue: &Queue| {
            Ring::new(members).owner(&java_text(queue)).map(str::to_owned)
        };
        let moved = queues.iter().filter(|queue| owner(&all, queue) != owner(without, queue)).count();
        let of_the_one_who_left = Allocation::ConsistentHash.allocate(&all[9], &queues, &all).len();
        assert_eq!(moved, of_the_one_who_left);
    }
}
