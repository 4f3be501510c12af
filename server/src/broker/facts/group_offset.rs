//! How far a consumer group is in a queue, as a fact: the next queue offset it will take.
//!
//! Key: 0x03, group, 0x00, topic, 0x00, queue id (4 bytes). Value: the queue offset, 8 bytes.
//!
//! ```text
//! 03 67 00 54 00 00 00 00 02  =  00 00 00 00 00 00 00 07
//!    g     T     queue 2         offset 7
//! ```
//!
//! Group first, so that one range holds a group's progress and another its progress in one topic. Names
//! hold no zero byte, so no name's range touches that of a longer name.
//!
//! Source: `broker/.../offset/ConsumerOffsetManager.java`.

use ringmq_engine::offset::QueueOffset;

use super::{FactError, u32_at, u64_at};

/// First byte of every group offset's key.
pub const PREFIX: u8 = 0x03;

/// Makes the key of one queue.
pub fn key(out: &mut Vec<u8>, group: &str, topic: &str, queue_id: u32) {
    topic_prefix(out, group, topic);
    out.extend_from_slice(&queue_id.to_be_bytes());
}

/// Makes what the keys of all topics of a group begin with.
pub fn group_prefix(out: &mut Vec<u8>, group: &str) {
    out.clear();
    out.push(PREFIX);
    out.extend_from_slice(group.as_bytes());
    out.push(0);
}

/// Makes what the keys of all queues of a group's topic begin with.
pub fn topic_prefix(out: &mut Vec<u8>, group: &str, topic: &str) {
    group_prefix(out, group);
    out.extend_from_slice(topic.as_bytes());
    out.push(0);
}

/// Reads a key: group, topic, queue id.
pub fn decode_key(key: &[u8]) -> Result<(&str, &str, u32), FactError> {
    let parts = || {
        let names = key.get(1..key.len().checked_sub(5)?)?;
        let queue_id = u32_at(key, key.len() - 4)?;
        let (group, topic) = std::str::from_utf8(names).ok()?.split_once('\0')?;
        (key[key.len() - 5] == 0).then_some((group, topic, queue_id))
    };
    parts().ok_or_else(|| FactError::new(key, "a group offset's key of an unknown form"))
}

/// Reads a value.
pub fn decode(key: &[u8], value: &[u8]) -> Result<QueueOffset, FactError> {
    match (u64_at(value, 0), value.len()) {
        (Some(offset), 8) => Ok(QueueOffset(offset)),
        _ => Err(FactError::new(key, "a group offset of another length")),
    }
}

/// Makes a value.
pub fn encode(offset: QueueOffset) -> [u8; 8] {
    offset.0.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_offset_is_stored_in_the_drawn_form() {
        let mut found = Vec::new();
        key(&mut found, "g", "T", 2);
        assert_eq!(found, b"\x03g\0T\0\0\0\0\x02");
        assert_eq!(decode_key(&found), Ok(("g", "T", 2)));
        assert_eq!(encode(QueueOffset(7)), [0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(decode(&found, &[0, 0, 0, 0, 0, 0, 0, 7]), Ok(QueueOffset(7)));
    }

    #[test]
    fn a_group_holds_nothing_of_a_group_with_a_longer_name() {
        let (mut prefix, mut longer) = (Vec::new(), Vec::new());
        group_prefix(&mut prefix, "g");
        key(&mut longer, "g1", "T", 0);
        assert!(!longer.starts_with(&prefix));
        topic_prefix(&mut prefix, "g1", "T");
        assert!(longer.starts_with(&prefix));
    }

    #[test]
    fn other_forms_are_refused() {
        for key in [b"\x03".as_slice(), b"\x03g\0T\0\0\0\0", b"\x03gT\0\0\0\0\x02", b"\x03g\0TT\0\0\0\x02"] {
            assert!(decode_key(key).is_err(), "{}", key.escape_ascii());
        }
        assert!(decode(b"\x03", &[1; 7]).is_err());
        assert!(decode(b"\x03", &[1; 9]).is_err());
    }
}
