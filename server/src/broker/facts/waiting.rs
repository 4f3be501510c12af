//! A message that waits for its time, as a fact that points to its record.
//!
//! ```text
//! key    0      1            9       10             18
//!        │ 0x80 │ due, ms    │ level │ queue offset │       level 0: a timer
//!
//! value  0            8              16
//!        │ its record │ recalled by  │                     of a timer that can be recalled; else 8 bytes
//! ```
//!
//! Keys sort as the messages are delivered: by due time (milliseconds since 1970), then, per level, in the order in which they
//! were accepted. Level and queue offset name the waiting record's first place in its queue, so no two facts have one key;
//! when the record is carried forward its place in the value changes, and the key stays.
//!
//! Level 3, due at 1 700 000 010 000, offset 7 of its queue, its record at 4096:
//!
//! ```text
//! 80 0000018bcfe58f10 03 0000000000000007  =  0000000000001000
//! ```

use ringmq_engine::offset::QueueOffset;

use super::{FactError, u64_at};

/// First byte of every key: these facts point ([`ringmq_engine::pointing`]).
pub const PREFIX: u8 = 0x80;
/// Length of a key.
pub const KEY_BYTES: usize = 18;

/// Which message waits, in the order of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiting {
    /// When it is due, milliseconds since 1970.
    pub due_ms: i64,
    /// Its delay level; 0 for timers.
    pub level: u8,
    /// The number that its record first had in its queue.
    pub queue_offset: QueueOffset,
}

impl Waiting {
    /// Before everything that is due at that time.
    pub fn first_at(due_ms: i64) -> Waiting {
        Waiting { due_ms, level: 0, queue_offset: QueueOffset(0) }
    }

    /// Its key. Times before 1970 sort as 1970.
    pub fn key(&self) -> [u8; KEY_BYTES] {
        let mut key = [PREFIX; KEY_BYTES];
        key[1..9].copy_from_slice(&self.due_ms.max(0).to_be_bytes());
        key[9] = self.level;
        key[10..].copy_from_slice(&self.queue_offset.0.to_be_bytes());
        key
    }

    /// Reads a key.
    pub fn decode_key(key: &[u8]) -> Result<Waiting, FactError> {
        let other = || FactError::new(key, "a waiting message's key of an unknown form");
        let (&[PREFIX, ..], KEY_BYTES) = (key, key.len()) else { return Err(other()) };
        Ok(Waiting {
            due_ms: u64_at(key, 1).ok_or_else(other)?.cast_signed(),
            level: key[9],
            queue_offset: QueueOffset(u64_at(key, 10).ok_or_else(other)?),
        })
    }
}

/// What a timer is recalled by: 64 bits of FNV-1a over its topic and its unique key. Whoever can make another message with these
/// bits knows this message's key, and could recall it by that.
pub fn recalled_by(topic: &str, unique_key: &str) -> [u8; 8] {
    let bytes = topic.bytes().chain([b'+']).chain(unique_key.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: Waiting = Waiting { due_ms: 1_700_000_010_000, level: 3, queue_offset: QueueOffset(7) };

    #[test]
    fn the_drawn_key_is_written_and_read() {
        let key = b"\x80\0\0\x01\x8b\xcf\xe5\x8f\x10\x03\0\0\0\0\0\0\0\x07";
        assert_eq!(&EXAMPLE.key(), key);
        assert_eq!(Waiting::decode_key(key), Ok(EXAMPLE));
        for other in [&key[..17], b"\x81\0\0\x01\x8b\xcf\xe5\x8f\x10\x03\0\0\0\0\0\0\0\x07", b"", b"\x80"] {
            assert!(Waiting::decode_key(other).is_err(), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn keys_sort_as_messages_are_delivered() {
        let at = |due_ms, level, offset| Waiting { due_ms, level, queue_offset: QueueOffset(offset) };
        let order =
            [at(0, 0, 0), at(255, 18, 9), at(256, 1, 3), at(256, 1, 300), at(256, 2, 0), at(257, 0, 0)];
        assert!(order.is_sorted() && order.map(|waiting| waiting.key()).is_sorted());
        assert_eq!(at(-5, 1, 1).key(), at(0, 1, 1).key(), "nothing sorts before 1970");
    }

    #[test]
    fn a_message_is_recalled_by_its_topic_and_key_together() {
        assert_eq!(
            recalled_by("", ""),
            (0xcbf2_9ce4_8422_2325_u64 ^ 0x2b).wrapping_mul(0x100_0000_01b3).to_be_bytes()
        );
        assert_ne!(recalled_by("T", "k"), recalled_by("T", "l"));
        assert_ne!(recalled_by("T", "k"), recalled_by("U", "k"));
        assert_ne!(recalled_by("Tk", ""), recalled_by("T", "k"));
    }
}
