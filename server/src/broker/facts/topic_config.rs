//! A topic's definition, as a fact.
//!
//! Key: 0x01, then the topic's name. Value, 16 bytes:
//!
//! ```text
//! 0      1      2      3      4              8              12             16
//! ├──────┼──────┼──────┼──────┼──────────────┼──────────────┼──────────────┤
//! │ 0x01 │ perm │ bits │ kind │ read queues  │ write queues │   sys flag   │
//! └──────┴──────┴──────┴──────┴──────────────┴──────────────┴──────────────┘
//! ```
//!
//! bits: 1 ordered, 2 multi-tag. kind: 0 unset, else [`MessageKind`].
//!
//! `TopicA` with 4 queues, readable and writable:
//!     01 54 6f 70 69 63 41  =  01 06 00 00 00 00 00 04 00 00 00 04 00 00 00 00
//!
//! Source: `common/.../TopicConfig.java`, `common/.../constant/PermName.java`.

use super::{FactError, u32_at};

/// First byte of every topic's key.
pub const PREFIX: u8 = 0x01;

const FORMAT: u8 = 1;
const BIT_ORDERED: u8 = 1;
const BIT_MULTI_TAG: u8 = 2;

/// A topic's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// Valid by `ringmq_wire::name`.
    pub name: Box<str>,
    /// Queues that consumers are told of.
    pub read_queues: u32,
    /// Queues that producers are told of.
    pub write_queues: u32,
    /// What the route says may be done.
    pub perm: Perm,
    /// Unit bits; kept for tools, no rule of ours looks at them.
    pub sys_flag: u32,
    /// Kept for tools; ordering does not depend on it.
    pub ordered: bool,
    /// `topicFilterType`: kept for tools.
    pub multi_tag: bool,
    /// The attribute `message.type`: kept for tools.
    pub kind: Option<MessageKind>,
}

impl TopicConfig {
    /// A topic with the same number of read and write queues and nothing special.
    pub fn new(name: &str, queues: u32, perm: Perm) -> TopicConfig {
        TopicConfig {
            name: name.into(),
            read_queues: queues,
            write_queues: queues,
            perm,
            sys_flag: 0,
            ordered: false,
            multi_tag: false,
            kind: None,
        }
    }

    /// How many queues there are: ids below this are legal.
    pub fn queues(&self) -> u32 {
        self.read_queues.max(self.write_queues)
    }

    /// Appends the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let bits =
            if self.ordered { BIT_ORDERED } else { 0 } | if self.multi_tag { BIT_MULTI_TAG } else { 0 };
        out.extend_from_slice(&[FORMAT, self.perm.0, bits, self.kind.map_or(0, |kind| kind as u8)]);
        out.extend_from_slice(&self.read_queues.to_be_bytes());
        out.extend_from_slice(&self.write_queues.to_be_bytes());
        out.extend_from_slice(&self.sys_flag.to_be_bytes());
    }

    /// Reads a fact.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<TopicConfig, FactError> {
        let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or_else(|| FactError::new(key, "a topic's name that is not text"))?;
        let &[FORMAT, perm, bits, kind, ..] = value else {
            return Err(FactError::new(key, "an unknown form of a topic's definition"));
        };
        let [read, write, sys_flag] = [4, 8, 12].map(|at| u32_at(value, at));
        match (read, write, sys_flag, value.len()) {
            (Some(read_queues), Some(write_queues), Some(sys_flag), 16) => Ok(TopicConfig {
                name: name.into(),
                read_queues,
                write_queues,
                perm: Perm(perm),
                sys_flag,
                ordered: bits & BIT_ORDERED != 0,
                multi_tag: bits & BIT_MULTI_TAG != 0,
                kind: MessageKind::ALL.into_iter().find(|known| *known as u8 == kind),
            }),
            _ => Err(FactError::new(key, "a topic's definition of another length")),
        }
    }
}

/// Makes a topic's key.
pub fn key(out: &mut Vec<u8>, topic: &str) {
    out.clear();
    out.push(PREFIX);
    out.extend_from_slice(topic.as_bytes());
}

/// What may be done with a topic, as bits. (`PermName`)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Perm(pub u8);

impl Perm {
    /// New topics may take this one as their pattern.
    pub const INHERIT: Perm = Perm(1);
    /// Readable and writable.
    pub const READ_WRITE: Perm = Perm(6);
    /// Readable, writable, and a pattern.
    pub const READ_WRITE_INHERIT: Perm = Perm(7);

    /// Consumers may pull.
    pub fn is_readable(self) -> bool {
        self.0 & 4 != 0
    }
    /// Producers are told to send.
    pub fn is_writable(self) -> bool {
        self.0 & 2 != 0
    }
    /// New topics may take this one as their pattern.
    pub fn is_inherited(self) -> bool {
        self.0 & 1 != 0
    }
    /// The same, but no pattern.
    pub fn without_inherit(self) -> Perm {
        Perm(self.0 & !1)
    }
}

/// What sort of messages a topic is meant for. (`TopicMessageType`, attribute `message.type`)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    /// Said to be not said.
    Unspecified = 1,
    /// Ordinary.
    Normal = 2,
    /// In order by sharding key.
    Fifo = 3,
    /// Later.
    Delay = 4,
    /// Half messages.
    Transaction = 5,
    /// Everything.
    Mixed = 6,
}

impl MessageKind {
    /// All of them.
    pub const ALL: [MessageKind; 6] = [
        MessageKind::Unspecified,
        MessageKind::Normal,
        MessageKind::Fifo,
        MessageKind::Delay,
        MessageKind::Transaction,
        MessageKind::Mixed,
    ];

    /// As tools write it.
    pub fn name(self) -> &'static str {
        match self {
            MessageKind::Unspecified => "UNSPECIFIED",
            MessageKind::Normal => "NORMAL",
            MessageKind::Fifo => "FIFO",
            MessageKind::Delay => "DELAY",
            MessageKind::Transaction => "TRANSACTION",
            MessageKind::Mixed => "MIXED",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<MessageKind> {
        MessageKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_stored_in_the_drawn_form() {
        let mut found_key = vec![9];
        key(&mut found_key, "TopicA");
        assert_eq!(found_key, b"\x01TopicA");

        let mut value = Vec::new();
        TopicConfig::new("TopicA", 4, Perm::READ_WRITE).encode(&mut value);
        assert_eq!(value, [1, 6, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0]);
    }

    #[test]
    fn every_part_of_a_topic_comes_back() {
        let config = TopicConfig {
            name: "%RETRY%g".into(),
            read_queues: 3,
            write_queues: 5,
            perm: Perm(7),
            sys_flag: 3,
            ordered: true,
            multi_tag: true,
            kind: Some(MessageKind::Mixed),
        };
        let mut value = Vec::new();
        config.encode(&mut value);
        assert_eq!(TopicConfig::decode(b"\x01%RETRY%g", &value), Ok(config));
    }

    #[test]
    fn another_form_is_refused_and_named() {
        let mut value = Vec::new();
        TopicConfig::new("t", 1, Perm::READ_WRITE).encode(&mut value);
        for (key, value) in [
            (b"\x01t".as_slice(), &value[..15]),
            (b"\x01t", &[&value[..], &[0]].concat()),
            (b"\x01t", &[&[2], &value[1..]].concat()),
            (b"\x01t", &[]),
            (b"\x01\xff", &value),
        ] {
            let error = TopicConfig::decode(key, value).unwrap_err();
            assert!(error.to_string().starts_with("fact \\x01"), "{error}");
        }
    }
}
