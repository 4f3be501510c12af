//! Recalling a timer (370): the producer gives back the handle that the send's answer had.
//!
//! A handle is URL-safe Base64, with padding, of five words:
//!
//! ```text
//! v1 TopicA broker-a 1700000000000 7F00000100002A9F0000000000000001
//!    topic  broker   due, ms       unique key
//! ```
//!
//! Source: `RecallMessageRequestHeader.java`, `RecallMessageResponseHeader.java`,
//! `common/.../producer/RecallMessageHandle.java`.

use super::header;

header! {
    /// RECALL_MESSAGE (370).
    RecallRequest<'a> {
        /// The producer's group.
        producer_group: Option<&'a str> = "producerGroup",
        /// The topic that the message is for.
        topic: &'a str = "topic",
        /// [`RecallHandle`], encoded.
        handle: &'a str = "recallHandle",
    }
}

header! {
    /// The answer to 370.
    RecallReply<'a> {
        /// The unique key of the message.
        unique_key: &'a str = "msgId",
    }
}

/// Which timer is to be recalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecallHandle<'a> {
    /// The topic that it is for.
    pub topic: &'a str,
    /// The broker where it waits.
    pub broker_name: &'a str,
    /// When it is due, milliseconds since 1970.
    pub due_ms: i64,
    /// Its unique key.
    pub unique_key: &'a str,
}

const VERSION: &str = "v1";
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl<'a> RecallHandle<'a> {
    /// As the answer to a send carries it.
    pub fn encode(&self) -> String {
        let RecallHandle { topic, broker_name, due_ms, unique_key } = self;
        let text = format!("{VERSION} {topic} {broker_name} {due_ms} {unique_key}");
        let mut out = String::with_capacity(text.len().div_ceil(3) * 4);
        for group in text.as_bytes().chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
                out.push(if at <= group.len() { char::from(digit) } else { '=' });
            }
        }
        out
    }

    /// Reads the words of a handle that [`decode_words`] has taken apart. A due time that is no number is before all time.
    pub fn read(words: &'a str) -> Option<RecallHandle<'a>> {
        let mut words = words.split(' ');
        let mut next = || words.next();
        if next()? != VERSION {
            return None;
        }
        let (topic, broker_name, due, unique_key) = (next()?, next()?, next()?, next()?);
        let due_ms = due.parse().unwrap_or(-1);
        Some(RecallHandle { topic, broker_name, due_ms, unique_key })
    }
}

/// The words in a handle; `None` if it is no Base64 of text.
pub fn decode_words(handle: &str) -> Option<String> {
    let digits = handle.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            let value = match group.get(at) {
                Some(digit) => DIGITS.iter().position(|known| known == digit)?,
                None => 0,
            };
            bits = bits << 6 | value as u32;
        }
        if group.len() == 1 {
            return None;
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLE: RecallHandle<'_> = RecallHandle {
        topic: "TopicA",
        broker_name: "broker-a",
        due_ms: 1_700_000_000_000,
        unique_key: "7F01",
    };

    #[test]
    fn a_handle_is_written_as_java_writes_it_and_read_again() {
        let text = "djEgVG9waWNBIGJyb2tlci1hIDE3MDAwMDAwMDAwMDAgN0YwMQ==";
        assert_eq!(HANDLE.encode(), text);
        let words = decode_words(text).unwrap();
        assert_eq!(words, "v1 TopicA broker-a 1700000000000 7F01");
        assert_eq!(RecallHandle::read(&words), Some(HANDLE));
        assert_eq!(decode_words(text.trim_end_matches('=')), Some(words), "padding is not missed");
    }

    #[test]
    fn what_is_no_handle_is_none() {
        for handle in ["?", "A", "AAAAA", "djE=", "中", "_-8="] {
            let words = decode_words(handle);
            assert_eq!(words.as_deref().and_then(RecallHandle::read), None, "{handle}");
        }
        for words in ["", "v1 T b 1", "v2 T b 1 k", "v1"] {
            assert_eq!(RecallHandle::read(words), None, "{words}");
        }
        assert_eq!(RecallHandle::read("v1 T b soon k").map(|handle| handle.due_ms), Some(-1));
    }
}
