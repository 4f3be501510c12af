//! A record's properties: names and values as one string.
//!
//!     name 0x01 value 0x02  name 0x01 value 0x02  …
//!
//! TAGS=TagA and KEYS=k1:
//!     54 41 47 53 01 54 61 67 41 02  4b 45 59 53 01 6b 31 02
//!
//! Rules, as Java's decoder has them: pieces are separated by 0x02, of which the last may be missing (4.9
//! leaves it out); a piece without 0x01, or with nothing before or after it, is dropped; a value may contain
//! further 0x01.
//!
//! The broker edits a message's properties by copying: all pairs but some ([`copy_without`]), then pairs of its
//! own ([`push`]). What it writes always ends with 0x02.
//!
//! Source: `common/.../message/MessageDecoder.java` (`string2messageProperties`), `MessageConst.java` (names).

/// Separates a name from its value.
pub const NAME_END: u8 = 1;
/// Ends a pair.
pub const PAIR_END: u8 = 2;

/// Separates the keys in a value of [`KEYS`].
const KEY_END: u8 = b' ';

/// Keys for the index, separated by blanks.
pub const KEYS: &str = "KEYS";
/// The tag.
pub const TAGS: &str = "TAGS";
/// "false": the producer does not wait for flush and replication.
pub const WAIT: &str = "WAIT";
/// Delay level, 1 to 18.
pub const DELAY: &str = "DELAY";
/// A retried message's original topic.
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
/// The target of a message that waits elsewhere.
pub const REAL_TOPIC: &str = "REAL_TOPIC";
/// The target queue of a message that waits elsewhere.
pub const REAL_QUEUE_ID: &str = "REAL_QID";
/// "true": a half message.
pub const TRANSACTION_PREPARED: &str = "TRAN_MSG";
/// The producer group that is asked about a half message.
pub const PRODUCER_GROUP: &str = "PGROUP";
/// Message id of a retried message's first copy.
pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
/// Times consumed, on a consumer's own sends to its retry topic.
pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
/// Limit of that.
pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
/// The broker's region.
pub const MSG_REGION: &str = "MSG_REGION";
/// Whether clients trace the message.
pub const TRACE_ON: &str = "TRACE_ON";
/// The client's message id.
pub const UNIQUE_KEY: &str = "UNIQ_KEY";
/// How many messages an inner batch holds.
pub const INNER_NUM: &str = "INNER_NUM";
/// Seconds before the first check of a half message.
pub const CHECK_IMMUNITY_TIME_IN_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
/// How often a half message was checked.
pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
/// The transaction's id.
pub const TRANSACTION_ID: &str = "__transactionId__";
/// Pairs a reply with its request.
pub const CORRELATION_ID: &str = "CORRELATION_ID";
/// Client id of the requester.
pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
/// The broker's cluster.
pub const CLUSTER: &str = "CLUSTER";
/// A pop's receipt; removed from whatever is sent.
pub const POP_CK: &str = "POP_CK";
/// Sharding key.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";
/// Deliver after so many seconds.
pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
/// Deliver after so many milliseconds.
pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
/// Deliver at this time, milliseconds since 1970.
pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
/// When a timer's wait is over, milliseconds since 1970.
pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
/// When a timer's wait began.
pub const TIMER_ENQUEUE_MS: &str = "TIMER_ENQUEUE_MS";
/// When a timer was delivered.
pub const TIMER_DEQUEUE_MS: &str = "TIMER_DEQUEUE_MS";
/// A dead letter's original topic.
pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
/// A dead letter's original message id.
pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
/// Prefix of names that are never stored.
pub const TRANSIENT_PREFIX: &str = "__RMQ.TRANSIENT.";

/// The well-formed pairs of an encoded string that is known to be text, in order: each whole pair without its end,
/// its name and its value. For whoever looks for several names, this is one pass.
pub fn pairs_of(properties: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut rest = Some(properties);
    std::iter::from_fn(move || {
        loop {
            let (pair, after) = cut(rest?, PAIR_END);
            rest = after;
            if let (name, Some(value)) = cut(pair, NAME_END)
                && !name.is_empty()
                && !value.is_empty()
            {
                return Some((pair, name, value));
            }
        }
    })
}

/// The names and values of an encoded string, in order, whether they are text or not.
pub fn pairs_of_bytes(properties: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs(properties).map(|(_, name, value)| (name, value))
}

/// The pairs of an encoded string, in order, malformed pieces left out.
pub fn iter(properties: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    pairs(properties).filter_map(|(_, name, value)| {
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
    })
}

/// The value of `name`. Java's map keeps the last of duplicates, so the last is taken.
pub fn get<'a>(properties: &'a [u8], name: &str) -> Option<&'a str> {
    let values = pairs(properties).filter(|(_, found, _)| *found == name.as_bytes());
    values.filter_map(|(_, _, value)| std::str::from_utf8(value).ok()).last()
}

/// The values of some names, in one pass and without looking at text: every append does it. Of duplicates the last is taken.
#[inline(always)]
pub fn values_of<'a, const N: usize>(properties: &'a [u8], names: [&str; N]) -> [Option<&'a [u8]>; N] {
    let mut values = [None; N];
    let mut start = 0;
    let mut pair_ends_at = |end: usize| {
        let pair = &properties[start..end];
        start = end + 1;
        for (name, value) in names.iter().zip(&mut values) {
            // No name has a separator in it, so this one ends here or the pair has another name.
            if pair.get(name.len()) == Some(&NAME_END)
                && pair.len() > name.len() + 1
                && pair.starts_with(name.as_bytes())
            {
                *value = Some(&pair[name.len() + 1..]);
            }
        }
    };
    places_of(PAIR_END, properties, &mut pair_ends_at);
    pair_ends_at(properties.len());
    values
}

/// The single keys in a value of [`KEYS`].
pub fn words(keys: &[u8]) -> impl Iterator<Item = &[u8]> {
    keys.split(|byte| *byte == KEY_END).filter(|word| !word.is_empty())
}

/// Appends the pairs whose name `keep` accepts, byte for byte, each ended.
pub fn copy_if(properties: &[u8], mut keep: impl FnMut(&str) -> bool, out: &mut Vec<u8>) {
    for (piece, name, value) in pairs(properties) {
        let text = std::str::from_utf8(name).ok().filter(|_| std::str::from_utf8(value).is_ok());
        if text.is_some_and(&mut keep) {
            out.extend_from_slice(piece);
            out.push(PAIR_END);
        }
    }
}

/// Appends all pairs but those named.
pub fn copy_without(properties: &[u8], names: &[&str], out: &mut Vec<u8>) {
    copy_if(properties, |name| !names.contains(&name), out);
}

/// Appends one pair. An empty name or value is no property: nothing is appended. A separator inside a name
/// or value would forge other properties, so everything from it on is left out.
pub fn push(name: &str, value: &str, out: &mut Vec<u8>) {
    let name = before(name.as_bytes(), &[NAME_END, PAIR_END]);
    let value = before(value.as_bytes(), &[PAIR_END]);
    if name.is_empty() || value.is_empty() {
        return;
    }
    out.extend_from_slice(name);
    out.push(NAME_END);
    out.extend_from_slice(value);
    out.push(PAIR_END);
}

/// Appends one pair with a decimal value.
pub fn push_number(name: &str, value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(NAME_END);
    crate::head_json::push_decimal(value, out);
    out.push(PAIR_END);
}

/// Where a byte occurs.
#[inline(always)]
fn places_of(byte: u8, bytes: &[u8], mut at: impl FnMut(usize)) {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let mut found = bits_of(byte, *word);
        while found != 0 {
            at(number * 8 + found.trailing_zeros() as usize / 8);
            found &= found - 1;
        }
    }
    for (index, other) in rest.iter().enumerate() {
        if *other == byte {
            at(bytes.len() - rest.len() + index);
        }
    }
}

/// Where a byte occurs first.
#[inline(always)]
fn place_of(byte: u8, bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let found = bits_of(byte, *word);
        if found != 0 {
            return Some(number * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|other| *other == byte).map(|index| bytes.len() - rest.len() + index)
}

/// The high bit of each byte that is there. Eight are looked at together: one at a time took most of what learning keys
/// costs an append.
#[inline(always)]
fn bits_of(byte: u8, word: [u8; 8]) -> u64 {
    const LOW_BITS: u64 = u64::MAX / 0xff * 0x7f;
    let zero_if_there = u64::from_le_bytes(word) ^ u64::from_ne_bytes([byte; 8]);
    !(((zero_if_there & LOW_BITS) + LOW_BITS) | zero_if_there | LOW_BITS)
}

/// What is before a separator, and what is after it if there is one.
#[inline(always)]
fn cut(text: &str, separator: u8) -> (&str, Option<&str>) {
    match place_of(separator, text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn before<'a>(bytes: &'a [u8], stops: &[u8]) -> &'a [u8] {
    bytes.split(|byte| stops.contains(byte)).next().unwrap_or_default()
}

/// Well-formed pieces: the whole piece without its end, the name, the value.
fn pairs(properties: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    properties.split(|byte| *byte == PAIR_END).filter_map(|piece| {
        let middle = piece.iter().position(|byte| *byte == NAME_END)?;
        let (name, value) = (&piece[..middle], &piece[middle + 1..]);
        (!name.is_empty() && !value.is_empty()).then_some((piece, name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listed(properties: &[u8]) -> Vec<(&str, &str)> {
        iter(properties).collect()
    }

    #[test]
    fn pieces_are_read_as_java_reads_them() {
        type Pairs = &'static [(&'static str, &'static str)];
        let table: &[(&[u8], Pairs)] = &[
            (b"", &[]),
            (b"\x02\x02", &[]),
            (b"TAGS\x01TagA\x02", &[("TAGS", "TagA")]),
            (b"KEYS\x01k1\x02TAGS\x01TagA", &[("KEYS", "k1"), ("TAGS", "TagA")]),
            (b"a\x01\x02b\x01c\x02", &[("b", "c")]),
            (b"\x01v\x02b\x01c\x02", &[("b", "c")]),
            (b"nothing\x02b\x01c\x02", &[("b", "c")]),
            (b"a\x01b\x01c\x02", &[("a", "b\x01c")]),
            (b"a\x01\xff\x02b\x01c\x02", &[("b", "c")]),
        ];
        for (input, expected) in table {
            assert_eq!(listed(input), *expected, "{input:?}");
            if let Ok(text) = std::str::from_utf8(input) {
                let of_text: Vec<_> = pairs_of(text).map(|(_, name, value)| (name, value)).collect();
                assert_eq!(of_text, *expected, "{input:?}");
            }
        }
    }

    #[test]
    fn get_finds_whole_names_only_and_the_last_of_duplicates() {
        let properties = b"TAG\x01no\x02TAGS\x01one\x02TAGS\x01two\x02XTAGS\x01no\x02";
        assert_eq!(get(properties, "TAGS"), Some("two"));
        assert_eq!(get(b"TAGS\x01one\x02TAGS\x01\xff\x02", "TAGS"), Some("one"));
        assert_eq!(get(properties, "TAGSX"), None);
        assert_eq!(get(properties, ""), None);
    }

    #[test]
    fn several_values_come_with_one_pass() {
        let properties = b"KEYS\x01a b\x02\x02UNIQ_KEY\x01one\x02KEY\x01no\x02KEYS\x01\x02KEYSX\x01no\x02UNIQ_KEY\x01t\x01wo";
        assert_eq!(values_of(properties, [UNIQUE_KEY, KEYS]), [Some(&b"t\x01wo"[..]), Some(b"a b")]);
        assert_eq!(values_of(b"KEYS\x01\x02\x01KEYS\x02KEYS", [KEYS]), [None]);
        assert_eq!(values_of(b"", [KEYS]), [None]);
    }

    #[test]
    fn a_byte_is_found_wherever_it_is() {
        for len in 0..40 {
            for at in 0..len {
                // Its neighbours before and after it, with and without the high bit, and the byte once more at the end.
                let mut bytes: Vec<u8> = (0..len).map(|n| [1, 3, 0x82, 0xff][(n + at) % 4]).collect();
                (bytes[at], bytes[len - 1]) = (PAIR_END, PAIR_END);
                let mut found = Vec::new();
                places_of(PAIR_END, &bytes, |at| found.push(at));
                let expected: Vec<usize> = (0..len).filter(|n| bytes[*n] == PAIR_END).collect();
                assert_eq!(found, expected, "{bytes:?}");
                assert_eq!(place_of(PAIR_END, &bytes), expected.first().copied(), "{bytes:?}");
            }
        }
    }

    #[test]
    fn editing_leaves_out_names_and_adds_pairs() {
        let mut out = Vec::new();
        copy_without(b"POP_CK\x01x\x02bad\x02KEYS\x01k\x02TAGS\x01t", &["POP_CK"], &mut out);
        push(CLUSTER, "DefaultCluster", &mut out);
        push_number(DELAY, 3, &mut out);
        push("empty", "", &mut out);
        assert_eq!(out, b"KEYS\x01k\x02TAGS\x01t\x02CLUSTER\x01DefaultCluster\x02DELAY\x013\x02");
    }

    #[test]
    fn a_value_cannot_smuggle_in_another_pair() {
        let mut out = Vec::new();
        push("a", "b\x02TRAN_MSG\x01true", &mut out);
        push("x\x01y", "z", &mut out);
        assert_eq!(listed(&out), [("a", "b"), ("x", "z")]);
    }

    proptest! {
        #[test]
        fn pairs_come_back_as_they_were(pairs in proptest::collection::vec(("[^\u{1}\u{2}]{1,9}", "[^\u{2}]{1,9}"), 0..9)) {
            let mut out = Vec::new();
            for (name, value) in &pairs {
                push(name, value, &mut out);
            }
            let back: Vec<_> = iter(&out).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(back, &pairs[..]);
            for (name, _) in &pairs {
                prop_assert_eq!(values_of(&out, [name]), [get(&out, name).map(str::as_bytes)]);
            }
        }
    }
}
