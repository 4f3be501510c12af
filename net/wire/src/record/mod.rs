//! The stored record: exactly the bytes that a pull returns. (RocketMQ: `MessageExt`, stored message)
//!
//! Big-endian; positions are those with two IPv4 hosts. A host is an address of 4 or 16 bytes and its port as i32.
//!
//!     0        4        8        12       16       20                28                36
//!     ├────────┼────────┼────────┼────────┼────────┼─────────────────┼─────────────────┼────────┐
//!     │ size   │ magic  │body crc│queue id│ flag   │ queue offset    │ physical offset │sys flag│
//!     └────────┴────────┴────────┴────────┴────────┴─────────────────┴─────────────────┴────────┘
//!     40                48                56                64                72       76
//!     ├─────────────────┼─────────────────┼─────────────────┼─────────────────┼────────┼─────────────────┐
//!     │ born timestamp  │ born host 8/20  │ store timestamp │ store host 8/20 │recons. │ prepared offset │
//!     └─────────────────┴─────────────────┴─────────────────┴─────────────────┴────────┴─────────────────┘
//!     84
//!     ├───────────┬──────────────────────┬────────────────┐
//!     │ i32, body │ u8 (V2: i16), topic  │ i16, properties│
//!     └───────────┴──────────────────────┴────────────────┘
//!
//! Topic TopicA, queue 2, queue offset 5, physical offset 1000, born 1700000000000 at 10.0.0.1:5000, stored
//! 1700000000123 at 10.0.0.2:10911, body `hello`, TAGS=TagA, 112 bytes:
//!
//!     00000070 daa320a7 3610a686 00000002 00000000 0000000000000005 00000000000003e8 00000000
//!     0000018bcfe56800 0a000001 00001388 0000018bcfe5687b 0a000002 00002a9f 00000000 0000000000000000
//!     00000005 68656c6c6f 06 546f70696341 000a 54414753015461674102
//!
//! Invariants
//!  1. `size` is the whole record; the parts add up to it exactly.
//!  2. Bits 4 and 5 of the sys flag say whether the born and the store host are IPv6; [`Draft::encode`] sets
//!     them. An IPv4-mapped address is written as IPv4, because old clients read nothing else.
//!  3. Topics of up to 127 bytes use magic V1: older clients always read a topic length of one byte.
//!  4. The body's CRC covers the body as stored (compressed form), with the top bit cleared.
//!
//! Not here: what the properties mean (`properties`), which tags match (`tag`), where a record goes.
//! Source: `store/.../MessageExtEncoder.java`, `common/.../message/MessageDecoder.java`, `MessageVersion.java`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub mod batch;
pub mod properties;
pub mod sys_flag;
pub mod tag;

/// Magic of a record whose topic length is one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record whose topic length is two bytes; only 5.x Java clients read it.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;

/// Where the queue offset lies, i64.
pub const QUEUE_OFFSET_AT: usize = 20;
/// Where the physical offset lies, i64.
pub const PHYSICAL_OFFSET_AT: usize = 28;
/// Where the sys flag lies, i32.
pub const SYS_FLAG_AT: usize = 36;
/// Where the born host lies; the store timestamp follows it.
const BORN_HOST_AT: usize = 48;

/// Everything of a record but body, topic and properties, with V1 magic and two IPv4 hosts.
pub const FIXED_BYTES: usize = 91;
/// A host of the other family takes so many bytes more.
const IPV6_EXTRA_BYTES: usize = 12;
/// Longest topic of a V1 record.
const TOPIC_V1_BYTES_MAX: usize = 127;
/// Longest topic at all: retry and dead-letter topics of long groups.
pub const TOPIC_BYTES_MAX: usize = 255;
/// Longest properties: their length is an i16.
pub const PROPERTIES_BYTES_MAX: usize = 32767;
/// Longest body that a record can carry: more would not fit a wire frame, so nobody could ever pull it.
/// What a broker accepts (4 MiB by default) is its own, smaller limit.
pub const BODY_BYTES_MAX: usize = crate::frame::FRAME_BYTES_MAX - 64 * 1024;
/// Longest record.
pub const RECORD_BYTES_MAX: usize =
    FIXED_BYTES + 1 + 2 * IPV6_EXTRA_BYTES + TOPIC_BYTES_MAX + PROPERTIES_BYTES_MAX + BODY_BYTES_MAX;
const _: () = assert!(RECORD_BYTES_MAX < crate::frame::FRAME_BYTES_MAX);

/// Everything a record is made of, before the store gives it its place.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The topic it is stored under.
    pub topic: &'a str,
    /// The queue of that topic.
    pub queue_id: i32,
    /// The user's flag, kept as it is.
    pub flag: i32,
    /// See [`sys_flag`]; the host bits are set by [`Draft::encode`].
    pub sys_flag: i32,
    /// When the producer made it, milliseconds since 1970.
    pub born_timestamp_ms: i64,
    /// The producer's address as the broker saw it.
    pub born_host: SocketAddr,
    /// The broker's advertised address: half of the message id that clients connect back to.
    pub store_host: SocketAddr,
    /// How often consumption failed before.
    pub reconsume_times: i32,
    /// Where the half message lies that this record ends; 0 otherwise.
    pub prepared_transaction_offset: i64,
    /// As stored; maybe compressed by the producer.
    pub body: &'a [u8],
    /// Encoded properties; see [`properties`].
    pub properties: &'a [u8],
}

/// Why a draft is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// Its length is one byte, or two of which clients read one.
    #[error("topic of {0} bytes exceeds {TOPIC_BYTES_MAX}")]
    TopicTooLong(usize),
    /// Their length is an i16.
    #[error("properties of {0} bytes exceed {PROPERTIES_BYTES_MAX}")]
    PropertiesTooLong(usize),
    /// More than [`BODY_BYTES_MAX`].
    #[error("body of {0} bytes does not fit a record")]
    BodyTooLong(usize),
}

impl Draft<'_> {
    /// Appends the record with queue offset, physical offset and store timestamp still zero (see [`place`]).
    /// On an error nothing is appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), DraftError> {
        self.check()?;
        let (born_host, store_host) = (host(self.born_host), host(self.store_host));
        let mut sys_flag = self.sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6);
        sys_flag |= if born_host.is_ipv6() { sys_flag::BORN_HOST_V6 } else { 0 };
        sys_flag |= if store_host.is_ipv6() { sys_flag::STORE_HOST_V6 } else { 0 };
        let long_topic = self.topic.len() > TOPIC_V1_BYTES_MAX;

        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(if long_topic { MAGIC_V2 } else { MAGIC_V1 }).to_be_bytes());
        out.extend_from_slice(&body_crc(self.body).to_be_bytes());
        out.extend_from_slice(&self.queue_id.to_be_bytes());
        out.extend_from_slice(&self.flag.to_be_bytes());
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&sys_flag.to_be_bytes());
        out.extend_from_slice(&self.born_timestamp_ms.to_be_bytes());
        push_host(born_host, out);
        out.extend_from_slice(&[0; 8]);
        push_host(store_host, out);
        out.extend_from_slice(&self.reconsume_times.to_be_bytes());
        out.extend_from_slice(&self.prepared_transaction_offset.to_be_bytes());
        out.extend_from_slice(&(self.body.len() as u32).to_be_bytes());
        out.extend_from_slice(self.body);
        if long_topic {
            out.extend_from_slice(&(self.topic.len() as u16).to_be_bytes());
        } else {
            out.push(self.topic.len() as u8);
        }
        out.extend_from_slice(self.topic.as_bytes());
        out.extend_from_slice(&(self.properties.len() as u16).to_be_bytes());
        out.extend_from_slice(self.properties);
        let size = (out.len() - start) as u32;
        out[start..start + 4].copy_from_slice(&size.to_be_bytes());
        Ok(())
    }

    fn check(&self) -> Result<(), DraftError> {
        if self.topic.len() > TOPIC_BYTES_MAX {
            return Err(DraftError::TopicTooLong(self.topic.len()));
        }
        if self.properties.len() > PROPERTIES_BYTES_MAX {
            return Err(DraftError::PropertiesTooLong(self.properties.len()));
        }
        if self.body.len() > BODY_BYTES_MAX {
            return Err(DraftError::BodyTooLong(self.body.len()));
        }
        Ok(())
    }
}

/// Writes the place and time that the store gave a record into its encoded bytes. `record` begins with a
/// record that [`Draft::encode`] wrote.
pub fn place(record: &mut [u8], queue_offset: i64, physical_offset: i64, store_timestamp_ms: i64) {
    record[QUEUE_OFFSET_AT..][..8].copy_from_slice(&queue_offset.to_be_bytes());
    record[PHYSICAL_OFFSET_AT..][..8].copy_from_slice(&physical_offset.to_be_bytes());
    // Bit 4 of the sys flag is in its last byte.
    let born_v6 = i32::from(record[SYS_FLAG_AT + 3]) & sys_flag::BORN_HOST_V6 != 0;
    let at = BORN_HOST_AT + 8 + if born_v6 { IPV6_EXTRA_BYTES } else { 0 };
    record[at..][..8].copy_from_slice(&store_timestamp_ms.to_be_bytes());
}

/// CRC-32 of a body as stored, its top bit cleared, as Java keeps it in a positive int.
pub fn body_crc(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7FFF_FFFF) as i32
}

fn host(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn push_host(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&u32::from(address.port()).to_be_bytes());
}

/// A decoded record, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The whole record.
    pub bytes: &'a [u8],
    /// The topic it is stored under.
    pub topic: &'a str,
    /// The queue of that topic.
    pub queue_id: i32,
    /// The user's flag.
    pub flag: i32,
    /// Its number in its queue.
    pub queue_offset: i64,
    /// Where its first byte lies in the commit log.
    pub physical_offset: i64,
    /// See [`sys_flag`].
    pub sys_flag: i32,
    /// When the producer made it, milliseconds since 1970.
    pub born_timestamp_ms: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// When the broker accepted it, milliseconds since 1970.
    pub store_timestamp_ms: i64,
    /// The broker's address.
    pub store_host: SocketAddr,
    /// How often consumption failed before.
    pub reconsume_times: i32,
    /// Where the half message lies that this record ends; 0 otherwise.
    pub prepared_transaction_offset: i64,
    /// As written, not recomputed; see [`Record::body_is_intact`].
    pub body_crc: i32,
    /// As stored; maybe compressed by the producer.
    pub body: &'a [u8],
    /// Encoded properties; see [`properties`].
    pub properties: &'a [u8],
}

impl<'a> Record<'a> {
    /// Whether the body has the CRC that was written with it.
    pub fn body_is_intact(&self) -> bool {
        body_crc(self.body) == self.body_crc
    }

    /// A property's value; the last of duplicates.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        properties::get(self.properties, name)
    }

    /// Whether it is looked up by that key: its unique key, or one of its keys. (RocketMQ: `IndexService.buildIndex`)
    pub fn has_key(&self, key: &str) -> bool {
        let [unique, keys] =
            properties::values_of(self.properties, [properties::UNIQUE_KEY, properties::KEYS]);
        let is_key = |word: &[u8]| !word.is_empty() && word == key.as_bytes();
        unique.is_some_and(is_key) || properties::words(keys.unwrap_or_default()).any(is_key)
    }
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// What is there may be the beginning of one.
    #[error("record ends early: {have} bytes of {need}")]
    Incomplete {
        /// Bytes given.
        have: usize,
        /// Bytes needed before trying again.
        need: usize,
    },
    /// It will never be one.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Reads the record at the start of `bytes`; what follows it is not looked at.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
    let incomplete = |need| RecordError::Incomplete { have: bytes.len(), need };
    let word = bytes.first_chunk::<4>().ok_or_else(|| incomplete(4))?;
    let size = u32::from_be_bytes(*word) as usize;
    if !(FIXED_BYTES..=RECORD_BYTES_MAX).contains(&size) {
        return Err(RecordError::Invalid("record size out of bounds"));
    }
    let record = bytes.get(..size).ok_or_else(|| incomplete(size))?;
    let mut rest = Rest(&record[4..]);
    let long_topic = match rest.u32()? {
        MAGIC_V1 => false,
        MAGIC_V2 => true,
        _ => return Err(RecordError::Invalid("unknown record magic")),
    };
    let body_crc = rest.i32()?;
    let queue_id = rest.i32()?;
    let flag = rest.i32()?;
    let queue_offset = rest.i64()?;
    let physical_offset = rest.i64()?;
    let sys_flag = rest.i32()?;
    let born_timestamp_ms = rest.i64()?;
    let born_host = rest.host(sys_flag & sys_flag::BORN_HOST_V6 != 0)?;
    let store_timestamp_ms = rest.i64()?;
    let store_host = rest.host(sys_flag & sys_flag::STORE_HOST_V6 != 0)?;
    let reconsume_times = rest.i32()?;
    let prepared_transaction_offset = rest.i64()?;
    let body_bytes = rest.u32()?;
    let body = rest.bytes(body_bytes as usize)?;
    let topic_bytes = if long_topic { usize::from(rest.u16()?) } else { usize::from(rest.u8()?) };
    let topic = std::str::from_utf8(rest.bytes(topic_bytes)?)
        .map_err(|_| RecordError::Invalid("record topic is not UTF-8"))?;
    let properties_bytes = rest.u16()?;
    let properties = rest.bytes(usize::from(properties_bytes))?;
    if !rest.0.is_empty() {
        return Err(RecordError::Invalid("record is longer than its parts"));
    }
    Ok(Record {
        bytes: record,
        topic,
        queue_id,
        flag,
        queue_offset,
        physical_offset,
        sys_flag,
        born_timestamp_ms,
        born_host,
        store_timestamp_ms,
        store_host,
        reconsume_times,
        prepared_transaction_offset,
        body_crc,
        body,
        properties,
    })
}

/// What is left of a record whose size is known: running out of bytes means that its parts do not fit it.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (bytes, tail) = self.0.split_first_chunk::<N>().ok_or(SHORT)?;
        self.0 = tail;
        Ok(*bytes)
    }
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (bytes, tail) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = tail;
        Ok(bytes)
    }
    fn u8(&mut self) -> Result<u8, RecordError> {
        self.chunk().map(u8::from_be_bytes)
    }
    fn u16(&mut self) -> Result<u16, RecordError> {
        self.chunk().map(u16::from_be_bytes)
    }
    fn u32(&mut self) -> Result<u32, RecordError> {
        self.chunk().map(u32::from_be_bytes)
    }
    fn i32(&mut self) -> Result<i32, RecordError> {
        self.chunk().map(i32::from_be_bytes)
    }
    fn i64(&mut self) -> Result<i64, RecordError> {
        self.chunk().map(i64::from_be_bytes)
    }
    fn host(&mut self, v6: bool) -> Result<SocketAddr, RecordError> {
        let ip = if v6 {
            IpAddr::V6(Ipv6Addr::from(self.chunk::<16>()?))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.chunk::<4>()?))
        };
        let port =
            u16::try_from(self.u32()?).map_err(|_| RecordError::Invalid("record host has no such port"))?;
        Ok(SocketAddr::new(ip, port))
    }
}

const SHORT: RecordError = RecordError::Invalid("record is shorter than its parts");

/// The records of a pull's body: concatenated, nothing between them, no count.
/// Ends after the last record, or after the first error.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Iterates a pull's body.
    pub fn new(body: &'a [u8]) -> Records<'a> {
        Records { rest: body }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let decoded = decode(self.rest);
        self.rest = match &decoded {
            Ok(record) => &self.rest[record.bytes.len()..],
            Err(_) => &[],
        };
        Some(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The worked example of this file's header, as Java 5.3.3 decodes it.
    const EXAMPLE: &str = "00000070 daa320a7 3610a686 00000002 00000000 0000000000000005 00000000000003e8 \
        00000000 0000018bcfe56800 0a000001 00001388 0000018bcfe5687b 0a000002 00002a9f 00000000 \
        0000000000000000 00000005 68656c6c6f 06 546f70696341 000a 54414753015461674102";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn example() -> Draft<'static> {
        Draft {
            topic: "TopicA",
            queue_id: 2,
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: 1_700_000_000_000,
            born_host: "10.0.0.1:5000".parse().unwrap(),
            store_host: "10.0.0.2:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"hello",
            properties: b"TAGS\x01TagA\x02",
        }
    }

    fn encoded(draft: &Draft<'_>) -> Vec<u8> {
        let mut record = Vec::new();
        draft.encode(&mut record).unwrap();
        place(&mut record, 5, 1000, 1_700_000_000_123);
        record
    }

    #[test]
    fn the_worked_example_is_written_and_read() {
        let expected = bytes(EXAMPLE);
        assert_eq!(encoded(&example()), expected);
        let record = decode(&expected).unwrap();
        assert_eq!(record.topic, "TopicA");
        assert_eq!((record.queue_id, record.queue_offset, record.physical_offset), (2, 5, 1000));
        assert_eq!(
            (record.born_timestamp_ms, record.store_timestamp_ms),
            (1_700_000_000_000, 1_700_000_000_123)
        );
        assert_eq!(record.store_host, "10.0.0.2:10911".parse().unwrap());
        assert_eq!(record.property("TAGS"), Some("TagA"));
        assert!(record.body_is_intact());
    }

    #[test]
    fn rule_22_topics_up_to_127_bytes_have_magic_v1() {
        for (topic_bytes, magic) in [(1, MAGIC_V1), (127, MAGIC_V1), (128, MAGIC_V2), (255, MAGIC_V2)] {
            let topic = "t".repeat(topic_bytes);
            let record = encoded(&Draft { topic: &topic, ..example() });
            assert_eq!(record[4..8], magic.to_be_bytes(), "{topic_bytes}");
            assert_eq!(decode(&record).unwrap().topic, topic);
        }
    }

    #[test]
    fn rule_21_a_placed_record_carries_its_offsets_time_and_host_whatever_the_hosts_are() {
        for (born, store, extra, bits) in [
            ("10.0.0.1:1", "10.0.0.2:2", 0, 0),
            ("[2001:db8::1]:1", "10.0.0.2:2", 12, sys_flag::BORN_HOST_V6),
            ("10.0.0.1:1", "[2001:db8::2]:2", 12, sys_flag::STORE_HOST_V6),
            ("[2001:db8::1]:1", "[::1]:65535", 24, sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6),
            ("[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.2]:2", 0, 0),
        ] {
            let draft =
                Draft { born_host: born.parse().unwrap(), store_host: store.parse().unwrap(), ..example() };
            let bytes = encoded(&draft);
            let record = decode(&bytes).unwrap();
            assert_eq!(bytes.len(), 112 + extra, "{born} {store}");
            assert_eq!(record.sys_flag, bits);
            assert_eq!(
                (record.born_host, record.store_host),
                (host(draft.born_host), host(draft.store_host))
            );
            assert_eq!((record.queue_offset, record.physical_offset), (5, 1000));
            assert_eq!(record.store_timestamp_ms, 1_700_000_000_123);
        }
    }

    #[test]
    fn host_bits_of_a_draft_are_replaced_and_the_other_bits_kept() {
        let draft = Draft { sys_flag: 0x301 | sys_flag::BORN_HOST_V6, ..example() };
        assert_eq!(decode(&encoded(&draft)).unwrap().sys_flag, 0x301);
    }

    #[test]
    fn drafts_beyond_a_limit_are_refused_and_leave_nothing_behind() {
        let (topic, long) = ("t".repeat(256), vec![0; BODY_BYTES_MAX + 1]);
        for (draft, error) in [
            (Draft { topic: &topic, ..example() }, DraftError::TopicTooLong(256)),
            (Draft { properties: &long[..32768], ..example() }, DraftError::PropertiesTooLong(32768)),
            (Draft { body: &long, ..example() }, DraftError::BodyTooLong(long.len())),
        ] {
            let mut out = Vec::new();
            assert_eq!(draft.encode(&mut out), Err(error));
            assert!(out.is_empty());
        }
    }

    #[test]
    fn every_truncation_is_incomplete() {
        let whole = bytes(EXAMPLE);
        for have in 0..whole.len() {
            let need = if have < 4 { 4 } else { whole.len() };
            assert_eq!(decode(&whole[..have]), Err(RecordError::Incomplete { have, need }));
        }
    }

    #[test]
    fn what_can_never_become_a_record_is_invalid() {
        let table: &[(usize, &[u8])] = &[
            (0, &[0, 0, 0, 90]),
            (0, &[0xFF, 0xFF, 0xFF, 0xFF]),
            (0, &[0, 0, 0, 0x6F]),
            (4, &0xCBD4_3194_u32.to_be_bytes()),
            (52, &[0, 1, 0, 0]),
            (84, &[0x80, 0, 0, 0]),
            (84, &[0, 0, 0, 4]),
            (93, &[7]),
            (94, &[0xFF]),
            (100, &[0, 9]),
        ];
        for (at, patch) in table {
            let mut damaged = bytes(EXAMPLE);
            damaged[*at..][..patch.len()].copy_from_slice(patch);
            assert!(matches!(decode(&damaged), Err(RecordError::Invalid(_))), "{at} {patch:?}");
        }
    }

    #[test]
    fn a_record_is_looked_up_by_its_unique_key_and_each_of_its_keys() {
        let record = |properties| encoded(&Draft { properties, ..example() });
        let with_keys = record(b"KEYS\x01k1  k2\x02UNIQ_KEY\x01u 1\x02TAGS\x01t\x02");
        let with_keys = decode(&with_keys).unwrap();
        for (key, has) in [
            ("k1", true),
            ("k2", true),
            ("u 1", true),
            ("k1  k2", false),
            ("k", false),
            ("t", false),
            ("", false),
        ] {
            assert_eq!(with_keys.has_key(key), has, "{key:?}");
        }
        let without = record(b"");
        assert!(!decode(&without).unwrap().has_key("k1"));
    }

    #[test]
    fn a_pull_body_is_walked_record_by_record_and_ends_at_the_first_error() {
        let one = bytes(EXAMPLE);
        let mut body = [one.clone(), one.clone(), one.clone()].concat();
        assert_eq!(Records::new(&body).filter(Result::is_ok).count(), 3);
        body[one.len() + 4] = 0;
        let walked: Vec<_> = Records::new(&body).map(|record| record.is_ok()).collect();
        assert_eq!(walked, [true, false]);
    }

    proptest! {
        #[test]
        fn any_draft_comes_back_as_it_was(
            topic in "[%a-zA-Z0-9_|-]{1,255}",
            queue_id: i32, flag: i32, sys_flag: i32, born: i64, reconsume_times: i32, prepared: i64,
            born_host: SocketAddr, store_host: SocketAddr,
            body in proptest::collection::vec(any::<u8>(), 0..200),
            properties in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let draft = Draft {
                topic: &topic, queue_id, flag, sys_flag, born_timestamp_ms: born, born_host, store_host,
                reconsume_times, prepared_transaction_offset: prepared, body: &body, properties: &properties,
            };
            let bytes = encoded(&draft);
            let record = decode(&bytes).unwrap();
            prop_assert_eq!(record.bytes.len(), bytes.len());
            prop_assert_eq!(record.topic, topic.as_str());
            prop_assert_eq!((record.queue_id, record.flag, record.reconsume_times), (queue_id, flag, reconsume_times));
            prop_assert_eq!((record.born_timestamp_ms, record.prepared_transaction_offset), (born, prepared));
            prop_assert_eq!(record.born_host.ip(), born_host.ip().to_canonical());
            prop_assert_eq!(record.store_host.port(), store_host.port());
            prop_assert_eq!((record.body, record.properties), (body.as_slice(), properties.as_slice()));
            prop_assert!(record.body_is_intact());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }
    }
}
