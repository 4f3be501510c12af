//! What clients sent, were told and saw, and whether it can all be true. Pure.
//!
//! A message is known by its number, which is in its body. Offsets are claimed by answers and by pulls; a claim
//! is a promise of the broker, and whatever contradicts it is a violation.
//!
//! ```text
//!   sent ──▶ answered: (queue, offset) ──┐
//!     │                                  ├──▶ claims: the log must agree with all of them, for ever
//!     └────▶ seen:     (queue, offset) ──┘
//!     └────▶ never heard of again: it may be there or not
//! ```

use std::collections::{BTreeMap, BTreeSet};

/// A place in a topic: queue and queue offset.
pub type Place = (i32, i64);

/// One run's history.
#[derive(Debug, Default)]
pub struct History {
    sent: u64,
    /// Sends that were answered with a failure that promises nothing was stored.
    refused: BTreeSet<u64>,
    claims: BTreeMap<Place, u64>,
    /// Where each claimed message is.
    places: BTreeMap<u64, Place>,
    answered: u64,
    seen: u64,
    /// Messages that were sent for later; whether the broker has said that it has them.
    later: BTreeMap<u64, bool>,
    /// Of messages that consumers give back: how often they tried, and how often they were told that it is done.
    given_back: BTreeMap<u64, (u64, u64)>,
}

impl History {
    /// Notes a new message and gives its number.
    pub fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    /// A message that was sent is for later.
    pub fn send_later(&mut self, number: u64) {
        self.later.insert(number, false);
    }

    /// Whether a message is for later.
    pub fn is_later(&self, number: u64) -> bool {
        self.later.contains_key(&number)
    }

    /// The broker says that it has a message for later.
    pub fn answered_later(&mut self, number: u64) {
        self.answered += 1;
        self.later.insert(number, true);
    }

    /// A consumer gives a message back.
    pub fn give_back(&mut self, number: u64) {
        self.given_back.entry(number).or_default().0 += 1;
    }

    /// The broker says that it has taken a message back.
    pub fn taken_back(&mut self, number: u64) {
        self.given_back.entry(number).or_default().1 += 1;
    }

    /// Compares the messages in a group's retry and dead-letter topics with what was given back: each time at most once, and once
    /// it was taken back and `all` has come, exactly once.
    pub fn agree_on_given_back(&self, found: &[u64], all: bool) -> Result<(), String> {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        found.iter().for_each(|number| *counts.entry(*number).or_default() += 1);
        for (number, count) in &counts {
            let (tried, _) = self.given_back.get(number).copied().unwrap_or_default();
            if *count > tried {
                return Err(format!(
                    "message {number} was given back {tried} times and comes again {count} times"
                ));
            }
        }
        for (number, (_, taken)) in self.given_back.iter().filter(|_| all) {
            let count = counts.get(number).copied().unwrap_or_default();
            if count < *taken {
                return Err(format!(
                    "message {number} was taken back {taken} times and comes again {count} times"
                ));
            }
        }
        Ok(())
    }

    /// Every message for later that the broker said it has is in one of the queues: to be asked when all of them are due.
    pub fn agree_on_later(&self, found: &BTreeSet<u64>) -> Result<(), String> {
        match self.later.iter().find(|(number, answered)| **answered && !found.contains(number)) {
            Some((number, _)) => Err(format!("message {number} was for later, and never came")),
            None => Ok(()),
        }
    }

    /// How many messages were for later, and how many were taken back.
    pub fn moved(&self) -> (u64, u64) {
        let later = self.later.values().filter(|answered| **answered).count() as u64;
        (later, self.given_back.values().map(|(_, taken)| taken).sum())
    }

    /// The broker says that a message is stored.
    pub fn answered(&mut self, number: u64, place: Place) -> Result<(), String> {
        self.answered += 1;
        self.claim(number, place)
    }

    /// A consumer was handed a message.
    pub fn seen(&mut self, number: u64, place: Place) -> Result<(), String> {
        self.seen += 1;
        if self.refused.contains(&number) {
            return Err(format!("message {number} was refused, and is at {place:?}"));
        }
        self.claim(number, place)
    }

    /// The broker says that a message was not stored.
    pub fn refused(&mut self, number: u64) {
        self.refused.insert(number);
    }

    /// Messages sent, answers that promised, records handed to consumers.
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.sent, self.answered, self.seen)
    }

    /// Where a message is known to be.
    pub fn place(&self, number: u64) -> Option<Place> {
        self.places.get(&number).copied()
    }

    /// The messages that are known to be in a part of a queue, by offset.
    pub fn between(&self, queue: i32, from: i64, end: i64) -> impl Iterator<Item = (i64, u64)> {
        let part = self.claims.range((queue, from)..(queue, end.max(from)));
        part.map(|((_, offset), number)| (*offset, *number))
    }

    /// Queue offset just past everything that is claimed of a queue.
    pub fn end(&self, queue: i32) -> i64 {
        self.claims.range((queue, 0)..(queue + 1, 0)).next_back().map_or(0, |(&(_, offset), _)| offset + 1)
    }

    /// Compares a queue of the store, from its first offset on, with every claim about it. What is claimed at or
    /// after `end` may be missing: it came while the store was being read.
    pub fn agree(&self, queue: i32, (first, found): (i64, &[u64]), end: i64) -> Result<(), String> {
        for (&(_, offset), number) in self.claims.range((queue, first)..(queue + 1, 0)) {
            match usize::try_from(offset - first).ok().and_then(|index| found.get(index)) {
                Some(other) if other == number => {}
                Some(other) => return Err(format!("{queue}/{offset} was message {number} and is {other}")),
                None if offset >= end => {}
                None => {
                    let end = first + found.len() as i64;
                    return Err(format!(
                        "message {number} at {queue}/{offset} is gone: the queue ends at {end}"
                    ));
                }
            }
        }
        let mut numbers = BTreeSet::new();
        for number in found {
            if *number >= self.sent || self.refused.contains(number) || !numbers.insert(number) {
                return Err(format!(
                    "queue {queue} holds message {number}, which is not to be there, or not twice"
                ));
            }
        }
        Ok(())
    }

    fn claim(&mut self, number: u64, place: Place) -> Result<(), String> {
        if number >= self.sent {
            return Err(format!("message {number} at {place:?} was never sent"));
        }
        let there = *self.claims.entry(place).or_insert(number);
        if there != number {
            return Err(format!("{place:?} was message {there} and is now {number}"));
        }
        let known = *self.places.entry(number).or_insert(place);
        if known != place {
            return Err(format!("message {number} was at {known:?} and is now at {place:?}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let mut history = History::default();
        (0..4).for_each(|number| assert_eq!(history.send(), number));
        history.answered(0, (1, 0)).expect("the first claim");
        history.seen(2, (1, 1)).expect("another");
        history.refused(3);
        history
    }

    #[test]
    fn claims_that_contradict_each_other_are_violations() {
        assert!(history().seen(0, (1, 0)).is_ok(), "the same again");
        assert!(history().seen(1, (1, 0)).is_err(), "another message at a claimed place");
        assert!(history().seen(0, (1, 2)).is_err(), "a message at two places");
        assert!(history().seen(9, (1, 2)).is_err(), "a message that nobody sent");
        assert!(history().seen(3, (1, 2)).is_err(), "a message that was refused");
    }

    #[test]
    fn what_is_given_back_comes_as_often_as_it_was_taken() {
        let mut history = history();
        history.give_back(1);
        history.give_back(1);
        history.taken_back(1);
        for (found, all, agrees) in [
            (&[][..], false, true),
            (&[], true, false),
            (&[1], true, true),
            (&[1, 1], true, true),
            (&[1, 1, 1], false, false),
            (&[1, 2], false, false),
        ] {
            assert_eq!(history.agree_on_given_back(found, all).is_ok(), agrees, "{found:?} {all}");
        }
    }

    #[test]
    fn a_message_for_later_must_come_once_it_was_answered() {
        let mut history = history();
        history.send_later(1);
        assert!(history.agree_on_later(&BTreeSet::new()).is_ok(), "nobody knows");
        history.answered_later(1);
        assert!(history.agree_on_later(&BTreeSet::new()).is_err());
        assert!(history.agree_on_later(&BTreeSet::from([1])).is_ok());
        assert_eq!(history.moved(), (1, 0));
    }

    #[test]
    fn a_queue_must_hold_every_claim_and_nothing_foreign() {
        for (found, agrees) in [
            (&[0, 2][..], true),
            (&[0, 2, 1], true),
            (&[0], false),
            (&[2, 0], false),
            (&[0, 2, 3], false),
            (&[0, 2, 2], false),
            (&[0, 2, 7], false),
        ] {
            assert_eq!(history().agree(1, (0, found), 2).is_ok(), agrees, "{found:?}");
        }
        assert!(history().agree(1, (1, &[2]), 2).is_ok(), "what was removed in front is not missed");
        assert!(history().agree(1, (0, &[0]), 1).is_ok(), "what came meanwhile is not missed");
        assert!(history().agree(0, (0, &[1]), 0).is_ok(), "another queue");
    }
}
