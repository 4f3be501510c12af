//! A message that a consumer gives back: whether it is delivered again, and when, or given up. Pure.
//!
//! | the consumer says | consumed before | becomes |
//! | --- | --- | --- |
//! | level below 0 | | a dead letter |
//! | | as often as allowed | a dead letter |
//! | level 0, and the group has a policy | n times | a retry after the policy's wait for n |
//! | level 0 | n times | a retry at level 3 + n |
//! | a level | | a retry at that level |
//!
//! A retry lies in `%RETRY%` and the group's name, a dead letter in `%DLQ%` and that. Levels beyond the last are the last
//! (`waiting::rule`).
//!
//! Differences from Apache: a group's retry policy counts; there only 5.x clients over gRPC have it.
//!
//! Source: `broker/.../processor/AbstractSendMessageProcessor.java` (`consumerSendMsgBack`),
//! `remoting/.../protocol/subscription/ExponentialRetryPolicy.java`, `CustomizedRetryPolicy.java`.

use std::borrow::Cow;

use ringmq_wire::name::{check_group, dead_letter_topic};

use super::facts::group_config::{GroupConfig, RetryPolicy};
use super::facts::topic_config::{Perm, TopicConfig};
use super::group::Groups;
use super::reply::Refusal;
use super::topic::Topics;

/// The level of the first redelivery.
const FIRST_LEVEL: i32 = 3;
/// Customized waits begin with those of two levels that retries never take.
const FIRST_WAIT: usize = FIRST_LEVEL as usize - 1;
/// Powers beyond this are past every maximum.
const EXPONENT_MAX: u32 = 32;

/// What becomes of a message that is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is delivered again, by this delay level.
    AtLevel(i32),
    /// It is delivered again, after so many milliseconds.
    After(i64),
    /// It is given up.
    DeadLetter,
}

/// Decides about a message that was consumed `times` before, of at most `times_max`.
pub fn fate(level: i32, times: i32, times_max: i32, policy: &RetryPolicy) -> Fate {
    if level < 0 || times >= times_max {
        return Fate::DeadLetter;
    }
    match wait_ms(policy, times) {
        _ if level > 0 => Fate::AtLevel(level),
        Some(ms) => Fate::After(i64::try_from(ms).unwrap_or(i64::MAX)),
        None => Fate::AtLevel(times.saturating_add(FIRST_LEVEL)),
    }
}

/// The wait that a policy has for a message that was consumed `times` before.
fn wait_ms(policy: &RetryPolicy, times: i32) -> Option<u64> {
    let times = u32::try_from(times).unwrap_or(0);
    match policy {
        RetryPolicy::Levels => None,
        RetryPolicy::Exponential { initial_ms, max_ms, multiplier } => {
            let factor = multiplier.saturating_pow(times.min(EXPONENT_MAX));
            Some(initial_ms.saturating_mul(factor).min(*max_ms))
        }
        RetryPolicy::Customized(waits_ms) => {
            let index = usize::try_from(times).unwrap_or(usize::MAX).saturating_add(FIRST_WAIT);
            waits_ms.get(index).or(waits_ms.last()).copied()
        }
    }
}

/// The group's definition: the known one, or, if groups may be created, the one that is to be made.
pub fn known_or_new<'a>(
    groups: &'a Groups,
    auto_create: bool,
    group: &str,
) -> Result<Cow<'a, GroupConfig>, Refusal> {
    if let Some(known) = groups.get(group) {
        return Ok(Cow::Borrowed(&known.config));
    }
    if !auto_create || check_group(group).is_err() {
        return Err(Refusal::GroupUnknown(group.into()));
    }
    groups.check_room(group)?;
    Ok(Cow::Owned(GroupConfig::new(group)))
}

/// A group's dead-letter topic, and its definition if it is to be made.
pub fn dead_letters(topics: &Topics, group: &str) -> Result<(String, Option<TopicConfig>), Refusal> {
    let topic = dead_letter_topic(group);
    if topics.get(&topic).is_some() {
        return Ok((topic, None));
    }
    let config = TopicConfig::new(&topic, 1, Perm::READ_WRITE);
    topics.check_room(&config)?;
    Ok((topic, Some(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_the_times_and_the_policy_decide() {
        let levels = RetryPolicy::Levels;
        let exponential = RetryPolicy::Exponential { initial_ms: 5_000, max_ms: 7_200_000, multiplier: 2 };
        let huge = RetryPolicy::Exponential { initial_ms: u64::MAX, max_ms: u64::MAX, multiplier: u64::MAX };
        let customized = RetryPolicy::Customized(vec![1, 2, 30, 40]);
        let short = RetryPolicy::Customized(vec![7]);
        #[rustfmt::skip]
        let rows: &[(i32, i32, i32, &RetryPolicy, Fate)] = &[
            (0,  0,        16,       &levels,      Fate::AtLevel(3)),
            (0,  15,       16,       &levels,      Fate::AtLevel(18)),
            (0,  16,       16,       &levels,      Fate::DeadLetter),
            (0,  0,        0,        &levels,      Fate::DeadLetter),
            (5,  15,       16,       &levels,      Fate::AtLevel(5)),
            (5,  16,       16,       &levels,      Fate::DeadLetter),
            (-1, 0,        16,       &levels,      Fate::DeadLetter),
            (0,  i32::MAX, i32::MAX, &levels,      Fate::DeadLetter),
            (0,  i32::MAX - 1, i32::MAX, &levels,  Fate::AtLevel(i32::MAX)),
            (0,  0,        16,       &exponential, Fate::After(5_000)),
            (0,  3,        16,       &exponential, Fate::After(40_000)),
            (0,  11,       16,       &exponential, Fate::After(7_200_000)),
            (4,  3,        16,       &exponential, Fate::AtLevel(4)),
            (0,  99,       1000,     &huge,        Fate::After(i64::MAX)),
            (0,  -1,       16,       &exponential, Fate::After(5_000)),
            (0,  0,        16,       &customized,  Fate::After(30)),
            (0,  1,        16,       &customized,  Fate::After(40)),
            (0,  2,        16,       &customized,  Fate::After(40)),
            (0,  0,        16,       &short,       Fate::After(7)),
        ];
        for (level, times, times_max, policy, expected) in rows {
            assert_eq!(
                fate(*level, *times, *times_max, policy),
                *expected,
                "{level} {times} {times_max} {policy:?}"
            );
        }
    }
}
