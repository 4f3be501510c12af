//! What a group subscribes to, and which records a subscription lets through. Pure.
//!
//! Records carry the hash of their tag in their queue entry, and a subscription admits a set of hashes, always
//! computed here and never taken from the client. Two tags of one hash are told apart by the client, which
//! filters again by text: a broker may deliver too much, never too little.
//!
//! A condition on properties is not in the queue's entry: it is evaluated on the record (`handler/pull`).
//!
//! Not here: the text of tag expressions (`ringmq_wire::record::tag`), of conditions (`broker/condition`).
//!
//! Source: `filter/.../FilterAPI.java`, `broker/.../client/ConsumerGroupInfo.java` (`updateSubscription`),
//! `broker/.../filter/ConsumerFilterManager.java`.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmq_wire::record::tag::{TagError, TagSelection};
use ringmq_wire::request::heartbeat::{ConsumeFrom, ConsumeType, MessageModel};
use ringmq_wire::request::subscription::{EXPRESSION_SQL92, EXPRESSION_TAG, Subscription};

use crate::broker::condition::{Condition, ConditionError, Conditions};
use crate::broker::limits::SUBSCRIPTIONS_PER_GROUP_MAX;

/// Which records of a queue are wanted. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Every record. Apart from tags, so that the most frequent filter costs no memory.
    Everything,
    /// Records whose tag is selected.
    Tags(Rc<TagSelection>),
    /// Records whose properties fulfil a condition.
    Condition(Rc<Condition>),
}

impl Filter {
    fn of(selection: TagSelection) -> Filter {
        if selection.is_everything() { Filter::Everything } else { Filter::Tags(Rc::new(selection)) }
    }

    /// Whether a record with that tag hash may pass.
    pub fn admits(&self, tag_hash: i32) -> bool {
        match self {
            Filter::Everything | Filter::Condition(_) => true,
            Filter::Tags(selection) => selection.admits(tag_hash),
        }
    }
}

/// Why an expression is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Neither TAG nor SQL92.
    #[error("the expression type {0} is neither TAG nor SQL92")]
    UnknownType(String),
    /// Not an expression over tags.
    #[error(transparent)]
    Tags(#[from] TagError),
    /// Not a condition on properties.
    #[error(transparent)]
    Condition(#[from] ConditionError),
}

/// Reads an expression. An absent type is TAG; absent, empty and `*` text is everything.
pub fn parse(
    conditions: &mut Conditions,
    expression_type: Option<&str>,
    text: &str,
) -> Result<Filter, ExpressionError> {
    match expression_type {
        None | Some("" | EXPRESSION_TAG) => Ok(Filter::of(TagSelection::parse(text)?)),
        Some(EXPRESSION_SQL92) => Ok(Filter::Condition(conditions.compiled(text)?)),
        Some(other) => Err(ExpressionError::UnknownType(other.chars().take(40).collect())),
    }
}

/// How a group consumes, as its members say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consumption {
    /// How members take records.
    pub kind: ConsumeType,
    /// Whether they share queues.
    pub model: MessageModel,
    /// Where they begin in a queue that has no offset; the client acts on it, not the broker.
    pub from: ConsumeFrom,
}

impl Consumption {
    /// Every member takes every queue.
    pub fn is_broadcasting(self) -> bool {
        self.model == MessageModel::Broadcasting
    }
}

/// One topic of a group's subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// As the client said it.
    pub said: Subscription,
    /// What it lets through; `None`: its condition is none, and pulls are told so.
    pub filter: Option<Filter>,
}

impl Subscribed {
    /// Reads what a heartbeat says. A condition that cannot be compiled does not refuse it: the group has other
    /// subscriptions, and a client that cares has asked before (CHECK_CLIENT_CONFIG).
    pub fn read(conditions: &mut Conditions, said: Subscription) -> Result<Subscribed, ExpressionError> {
        let filter = if said.is_tag() {
            Some(Filter::of(said.selection()?))
        } else {
            match parse(conditions, Some(&said.expression_type), &said.expression) {
                Err(ExpressionError::Condition(_)) => None,
                parsed => Some(parsed?),
            }
        };
        Ok(Subscribed { said, filter })
    }
}

/// What a group subscribes to, by topic; shared by all its members.
#[derive(Debug, Default)]
pub struct Subscriptions {
    topics: BTreeMap<Box<str>, Subscribed>,
}

impl Subscriptions {
    /// Takes over what a heartbeat says: a topic's subscription is replaced by a larger version only, and
    /// topics that the heartbeat does not name are dropped. Says whether a topic came or went; a larger
    /// version alone is no change.
    ///
    /// Members of one group that subscribe differently therefore undo each other's subscriptions, which is
    /// what RocketMQ does and tells its users not to do.
    pub fn replace(&mut self, latest: Vec<Subscribed>) -> bool {
        debug_assert!(latest.len() <= SUBSCRIPTIONS_PER_GROUP_MAX, "the heartbeat is checked before");
        let before = self.topics.len();
        self.topics.retain(|topic, _| latest.iter().any(|named| *named.said.topic == **topic));
        let mut changed = self.topics.len() < before;
        for subscribed in latest {
            match self.topics.get_mut(&*subscribed.said.topic) {
                Some(known) if known.said.version < subscribed.said.version => *known = subscribed,
                Some(_) => {}
                None => {
                    self.topics.insert(subscribed.said.topic.as_str().into(), subscribed);
                    changed = true;
                }
            }
        }
        changed
    }

    /// The subscription to a topic.
    pub fn get(&self, topic: &str) -> Option<&Subscribed> {
        self.topics.get(topic)
    }

    /// All of them, by topic.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Subscribed)> {
        self.topics.iter().map(|(topic, subscribed)| (&**topic, subscribed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(tags: &[&str]) -> Result<Filter, ExpressionError> {
        Ok(Filter::of(TagSelection::of(tags.iter().copied()).unwrap()))
    }

    #[test]
    fn an_expression_is_read_by_its_type() {
        let mut conditions = Conditions::default();
        let condition = conditions.compiled("a > 1").unwrap();
        #[rustfmt::skip]
        let table = [
            (None,          "",             selection(&[])),
            (None,          "*",            selection(&[])),
            (Some("TAG"),   "TagA",         selection(&["TagA"])),
            (Some(""),      "TagA || TagB", selection(&["TagA", "TagB"])),
            (Some("TAG"),   "||",           Err(ExpressionError::Tags(TagError::Empty))),
            (Some("SQL92"), "a > 1",        Ok(Filter::Condition(condition))),
            (Some("SQL92"), "a > 'x'",      Err(ConditionError::NotOrdered("'x'".into()).into())),
            (Some("other"), "*",            Err(ExpressionError::UnknownType("other".into()))),
        ];
        for (kind, text, expected) in table {
            assert_eq!(parse(&mut conditions, kind, text), expected, "{kind:?} {text:?}");
        }
    }

    fn subscribed(topic: &str, expression: &str, version: i64) -> Subscribed {
        let said = Subscription {
            topic: topic.into(),
            expression: expression.into(),
            version,
            ..Subscription::default()
        };
        Subscribed::read(&mut Conditions::default(), said).unwrap()
    }

    #[test]
    fn only_a_topic_that_comes_or_goes_is_a_change() {
        let mut all = Subscriptions::default();
        let a = |version| subscribed("A", "x", version);
        let b = || subscribed("B", "*", 1);
        assert!(all.replace(vec![a(1)]));
        assert!(!all.replace(vec![a(2)]));
        assert!(all.replace(vec![a(2), b()]));
        assert!(all.replace(vec![a(2)]));
        assert!(!all.replace(vec![a(2)]));
        assert_eq!(all.get("A").unwrap().said.version, 2);
        assert!(all.get("B").is_none());
    }

    #[test]
    fn a_smaller_version_does_not_replace_a_larger() {
        let mut all = Subscriptions::default();
        all.replace(vec![subscribed("A", "new", 5)]);
        all.replace(vec![subscribed("A", "old", 4)]);
        assert_eq!(all.get("A").unwrap().said.expression, "new");
    }

    #[test]
    fn a_condition_that_is_none_is_kept_as_it_was_said() {
        let mut conditions = Conditions::default();
        let mut read = |expression_type: &str, expression: &str| {
            let (expression_type, expression) = (expression_type.into(), expression.into());
            let said = Subscription { expression_type, expression, ..Subscription::default() };
            Subscribed::read(&mut conditions, said).map(|subscribed| subscribed.filter)
        };
        let Ok(Some(filter @ Filter::Condition(_))) = read("SQL92", "a > 1") else { panic!("a condition") };
        assert!(filter.admits(0), "the record decides");
        assert_eq!(read("SQL92", "a > "), Ok(None));
        assert!(read("other", "a > 1").is_err());
    }
}
