//! The broker's facts: what it keeps in the store's ordered map, each kind under a prefix of its own.
//!
//! | prefix | fact | key after the prefix | value |
//! | --- | --- | --- | --- |
//! | 0x00 | the engine's own | | |
//! | 0x01 | [`topic_config`] | topic | 16 bytes |
//! | 0x02 | [`group_config`] | group | 36 bytes or more |
//! | 0x03 | [`group_offset`] | group, 0, topic, 0, queue id | 8 bytes |
//! | 0x80 … 0xff | those that keep a record from retiring: [`ringmq_engine::pointing`] | | its place, then more |
//! | 0x80 | [`waiting`]: a message until its time | due time, level, queue offset | 8 or 16 bytes |
//!
//! The numbers are on disks: they are never given to something else.
//!
//! Names are validated before they become keys (`ringmq_wire::name`), so they hold no zero byte. Values
//! begin with a format number unless their length alone tells the form. Numbers are big-endian, so keys sort
//! as their numbers do.

pub mod group_config;
pub mod group_offset;
pub mod topic_config;
pub mod waiting;

/// A fact that this program cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fact {key} has {found}; it was written by a newer version, or the folder is not RingMQ's")]
pub struct FactError {
    /// The key, printable.
    pub key: String,
    /// What does not fit.
    pub found: &'static str,
}

impl FactError {
    fn new(key: &[u8], found: &'static str) -> FactError {
        FactError { key: key.escape_ascii().to_string(), found }
    }
}

/// The big-endian number at `at`, if the bytes reach that far.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// The big-endian number at `at`, if the bytes reach that far.
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_be_bytes(*word))
}
