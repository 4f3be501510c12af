//! A consumer group's definition, as a fact.
//!
//! Key: 0x02, then the group's name. Value, 36 bytes, and a retry policy if it is not the default:
//!
//! ```text
//! 0      1      2      4              8              12             16             20       28       36
//! ├──────┼──────┼──────┼──────────────┼──────────────┼──────────────┼──────────────┼────────┼────────┤
//! │ 0x01 │ bits │  0   │ retry queues │  retry max   │ timeout, min │   sys flag   │ broker │ if slow│
//! └──────┴──────┴──────┴──────────────┴──────────────┴──────────────┴──────────────┴────────┴────────┘
//! ```
//!
//! bits: 1 consume, 2 from min, 4 broadcast, 8 orderly, 16 notify.
//!
//! ```text
//! 36     37        45        53           61
//! ├──────┼─────────┼─────────┼────────────┤
//! │ 0x01 │ initial │   max   │ multiplier │       an exponential policy, milliseconds
//! ├──────┼─────────┴─────────┴──┄
//! │ 0x02 │ waits, 8 bytes each                   a customized one
//! ```
//!
//! Source: `remoting/.../protocol/subscription/SubscriptionGroupConfig.java`.

use super::{FactError, u32_at, u64_at};

/// First byte of every group's key.
pub const PREFIX: u8 = 0x02;

const FORMAT: u8 = 1;
const POLICY_EXPONENTIAL: u8 = 1;
const POLICY_CUSTOMIZED: u8 = 2;
const BIT_CONSUME: u8 = 1;
const BIT_FROM_MIN: u8 = 2;
const BIT_BROADCAST: u8 = 4;
const BIT_ORDERLY: u8 = 8;
const BIT_NOTIFY: u8 = 16;

/// How long a message waits before it is delivered again. (RocketMQ: GroupRetryPolicy)
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RetryPolicy {
    /// By the delay level that the consumer asks for, or by the level for the number of tries.
    #[default]
    Levels,
    /// Each wait is a multiple of the one before.
    Exponential {
        /// The first wait.
        initial_ms: u64,
        /// The longest.
        max_ms: u64,
        /// The factor.
        multiplier: u64,
    },
    /// These waits, in milliseconds. The first redelivery takes the third.
    Customized(Vec<u64>),
}

impl RetryPolicy {
    fn decode(bytes: &[u8]) -> Option<RetryPolicy> {
        let Some((kind, numbers)) = bytes.split_first() else { return Some(RetryPolicy::Levels) };
        let (numbers, []) = numbers.as_chunks::<8>() else { return None };
        let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_be_bytes(*number)).collect();
        match (*kind, &numbers[..]) {
            (POLICY_EXPONENTIAL, &[initial_ms, max_ms, multiplier]) => {
                Some(RetryPolicy::Exponential { initial_ms, max_ms, multiplier })
            }
            (POLICY_CUSTOMIZED, [_, ..]) => Some(RetryPolicy::Customized(numbers)),
            _ => None,
        }
    }
}

/// A consumer group's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// Valid by `ringmq_wire::name`.
    pub name: Box<str>,
    /// Members may pull (`consumeEnable`).
    pub consume: bool,
    /// Kept for tools (`consumeFromMinEnable`).
    pub from_min: bool,
    /// Members may consume by broadcasting (`consumeBroadcastEnable`).
    pub broadcast: bool,
    /// Kept for tools (`consumeMessageOrderly`).
    pub orderly: bool,
    /// Members are told when others come and go (`notifyConsumerIdsChangedEnable`).
    pub notify: bool,
    /// Queues of the group's retry topic.
    pub retry_queues: u32,
    /// Redeliveries before a message is given up.
    pub retry_max: i32,
    /// How long a message waits before each.
    pub retry_policy: RetryPolicy,
    /// Minutes; kept for tools (`consumeTimeoutMinute`).
    pub consume_timeout_minutes: u32,
    /// Kept for tools.
    pub sys_flag: u32,
    /// Kept for tools: we have no slaves to read from.
    pub broker_id: u64,
    /// Kept for tools (`whichBrokerWhenConsumeSlowly`).
    pub broker_id_when_slow: u64,
}

impl GroupConfig {
    /// A group with Apache's defaults.
    pub fn new(name: &str) -> GroupConfig {
        GroupConfig {
            name: name.into(),
            consume: true,
            from_min: true,
            broadcast: true,
            orderly: false,
            notify: true,
            retry_queues: 1,
            retry_max: 16,
            retry_policy: RetryPolicy::Levels,
            consume_timeout_minutes: 15,
            sys_flag: 0,
            broker_id: 0,
            broker_id_when_slow: 1,
        }
    }

    /// Appends the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let bits = [
            (self.consume, BIT_CONSUME),
            (self.from_min, BIT_FROM_MIN),
            (self.broadcast, BIT_BROADCAST),
            (self.orderly, BIT_ORDERLY),
            (self.notify, BIT_NOTIFY),
        ];
        let bits = bits.into_iter().filter(|(on, _)| *on).fold(0, |all, (_, bit)| all | bit);
        out.extend_from_slice(&[FORMAT, bits, 0, 0]);
        out.extend_from_slice(&self.retry_queues.to_be_bytes());
        out.extend_from_slice(&self.retry_max.to_be_bytes());
        out.extend_from_slice(&self.consume_timeout_minutes.to_be_bytes());
        out.extend_from_slice(&self.sys_flag.to_be_bytes());
        out.extend_from_slice(&self.broker_id.to_be_bytes());
        out.extend_from_slice(&self.broker_id_when_slow.to_be_bytes());
        match &self.retry_policy {
            RetryPolicy::Levels => {}
            RetryPolicy::Exponential { initial_ms, max_ms, multiplier } => {
                out.push(POLICY_EXPONENTIAL);
                [initial_ms, max_ms, multiplier]
                    .into_iter()
                    .for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
            }
            RetryPolicy::Customized(waits_ms) => {
                out.push(POLICY_CUSTOMIZED);
                waits_ms.iter().for_each(|ms| out.extend_from_slice(&ms.to_be_bytes()));
            }
        }
    }

    /// Reads a fact.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<GroupConfig, FactError> {
        let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or_else(|| FactError::new(key, "a group's name that is not text"))?;
        let &[FORMAT, bits, ..] = value else {
            return Err(FactError::new(key, "an unknown form of a group's definition"));
        };
        let other_length = || FactError::new(key, "a group's definition of another length");
        let (_, policy) = value.split_at_checked(36).ok_or_else(other_length)?;
        let word = |at| u32_at(value, at).ok_or_else(other_length);
        Ok(GroupConfig {
            name: name.into(),
            consume: bits & BIT_CONSUME != 0,
            from_min: bits & BIT_FROM_MIN != 0,
            broadcast: bits & BIT_BROADCAST != 0,
            orderly: bits & BIT_ORDERLY != 0,
            notify: bits & BIT_NOTIFY != 0,
            retry_queues: word(4)?,
            retry_max: word(8)?.cast_signed(),
            retry_policy: RetryPolicy::decode(policy)
                .ok_or_else(|| FactError::new(key, "an unknown retry policy"))?,
            consume_timeout_minutes: word(12)?,
            sys_flag: word(16)?,
            broker_id: u64_at(value, 20).ok_or_else(other_length)?,
            broker_id_when_slow: u64_at(value, 28).ok_or_else(other_length)?,
        })
    }
}

/// Makes a group's key.
pub fn key(out: &mut Vec<u8>, group: &str) {
    out.clear();
    out.push(PREFIX);
    out.extend_from_slice(group.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_stored_in_the_drawn_form() {
        let mut value = Vec::new();
        GroupConfig::new("g").encode(&mut value);
        #[rustfmt::skip]
        let expected = [
            1, 0b10111, 0, 0,
            0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 15, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 1,
        ];
        assert_eq!(value, expected);
    }

    #[test]
    fn every_part_of_a_group_comes_back() {
        let config = GroupConfig {
            name: "g".into(),
            consume: false,
            from_min: false,
            broadcast: false,
            orderly: true,
            notify: false,
            retry_queues: 7,
            retry_max: -1,
            retry_policy: RetryPolicy::Levels,
            consume_timeout_minutes: 8,
            sys_flag: 9,
            broker_id: 10,
            broker_id_when_slow: 11,
        };
        let mut value = Vec::new();
        config.encode(&mut value);
        assert_eq!(GroupConfig::decode(b"\x02g", &value), Ok(config));
        assert!(GroupConfig::decode(b"\x02g", &value[..35]).is_err());
        assert!(GroupConfig::decode(b"\x02g", &[3]).is_err());
    }

    #[test]
    fn a_retry_policy_follows_the_rest_and_comes_back() {
        let exponential = RetryPolicy::Exponential { initial_ms: 1, max_ms: 2, multiplier: 3 };
        for (policy, bytes) in [(exponential, 36 + 25), (RetryPolicy::Customized(vec![4, 5]), 36 + 17)] {
            let config = GroupConfig { retry_policy: policy, ..GroupConfig::new("g") };
            let mut value = Vec::new();
            config.encode(&mut value);
            assert_eq!(value.len(), bytes);
            assert_eq!(GroupConfig::decode(b"\x02g", &value), Ok(config));
            assert!(GroupConfig::decode(b"\x02g", &value[..bytes - 1]).is_err());
            value[36] = 9;
            assert!(GroupConfig::decode(b"\x02g", &value).is_err());
        }
    }
}
