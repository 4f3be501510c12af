//! A batch body: items that become one record each. All items share topic and queue.
//!
//!     0        4        8        12       16       20
//!     ├────────┼────────┼────────┼────────┼────────┼ ─ ─ ─ ┼───────┼ ─ ─ ─ ─ ─ ─┤
//!     │ size   │ magic 0│ crc 0  │ flag   │body len│ body  │i16 len│ properties │   repeated
//!     └────────┴────────┴────────┴────────┴────────┴ ─ ─ ─ ┴───────┴ ─ ─ ─ ─ ─ ─┘
//!
//! Flag 7, body `b1`, properties k=v and WAIT=true, as Java 5.3 encodes it:
//!     00000026 00000000 00000000 00000007 00000002 6231 000e 6b01760257414954017472756502
//!
//! Invariants
//!  1. An item's size is that of its parts; otherwise the whole body is refused.
//!  2. Magic and CRC of an item are not looked at: clients leave them 0.
//!
//! Source: `common/.../message/MessageDecoder.java` (`encodeMessages`, `decodeMessages`).

use super::PROPERTIES_BYTES_MAX;

/// An item without its body and properties.
pub const ITEM_FIXED_BYTES: usize = 22;

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// The user's flag.
    pub flag: i32,
    /// The message's body.
    pub body: &'a [u8],
    /// Encoded properties; stored as they are.
    pub properties: &'a [u8],
}

/// Why a body is no batch. The whole batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The last item is cut off.
    #[error("batch ends inside an item")]
    Truncated,
    /// An item's size is not that of its parts.
    #[error("batch item of {size} bytes does not fit its parts")]
    Malformed {
        /// The size declared.
        size: u32,
    },
}

/// The items of a batch body, in order. Ends after the last item, or after the first error.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    /// Iterates a batch body.
    pub fn new(body: &'a [u8]) -> Items<'a> {
        Items { rest: body }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = take_item(self.rest);
        self.rest = taken.map_or(&[], |(_, rest)| rest);
        Some(taken.map(|(item, _)| item))
    }
}

fn take_item(bytes: &[u8]) -> Result<(Item<'_>, &[u8]), BatchError> {
    let size = u32::from_be_bytes(*bytes.first_chunk::<4>().ok_or(BatchError::Truncated)?);
    let malformed = BatchError::Malformed { size };
    if (size as usize) < ITEM_FIXED_BYTES {
        return Err(malformed);
    }
    let (item, rest) = bytes.split_at_checked(size as usize).ok_or(BatchError::Truncated)?;
    let (flag, tail) = item[12..].split_first_chunk::<4>().ok_or(malformed)?;
    let (body_bytes, tail) = tail.split_first_chunk::<4>().ok_or(malformed)?;
    let (body, tail) = tail.split_at_checked(u32::from_be_bytes(*body_bytes) as usize).ok_or(malformed)?;
    let (properties_bytes, properties) = tail.split_first_chunk::<2>().ok_or(malformed)?;
    let properties_bytes = usize::from(u16::from_be_bytes(*properties_bytes));
    if properties.len() != properties_bytes || properties_bytes > PROPERTIES_BYTES_MAX {
        return Err(malformed);
    }
    Ok((Item { flag: i32::from_be_bytes(*flag), body, properties }, rest))
}

impl Item<'_> {
    /// Appends the item. Properties beyond [`PROPERTIES_BYTES_MAX`] and bodies beyond a frame cannot be carried:
    /// then nothing is appended and the answer is false.
    #[must_use]
    pub fn encode(&self, out: &mut Vec<u8>) -> bool {
        if self.properties.len() > PROPERTIES_BYTES_MAX || self.body.len() > super::BODY_BYTES_MAX {
            return false;
        }
        let size = ITEM_FIXED_BYTES + self.body.len() + self.properties.len();
        out.extend_from_slice(&(size as u32).to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.flag.to_be_bytes());
        out.extend_from_slice(&(self.body.len() as u32).to_be_bytes());
        out.extend_from_slice(self.body);
        out.extend_from_slice(&(self.properties.len() as u16).to_be_bytes());
        out.extend_from_slice(self.properties);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: Item<'static> = Item { flag: 7, body: b"b1", properties: b"k\x01v\x02WAIT\x01true\x02" };
    const EXAMPLE_BYTES: &[u8] =
        b"\0\0\0\x26\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\x02b1\0\x0ek\x01v\x02WAIT\x01true\x02";

    #[test]
    fn the_worked_example_is_written_and_read() {
        let mut out = Vec::new();
        assert!(EXAMPLE.encode(&mut out));
        assert_eq!(out, EXAMPLE_BYTES);
        assert_eq!(Items::new(&out).collect::<Vec<_>>(), [Ok(EXAMPLE)]);
    }

    #[test]
    fn every_truncation_of_two_items_is_refused_at_the_end_only() {
        let body = [EXAMPLE_BYTES, EXAMPLE_BYTES].concat();
        for length in 0..body.len() {
            let items: Vec<_> = Items::new(&body[..length]).collect();
            let whole = length / EXAMPLE_BYTES.len();
            assert!(items[..whole].iter().all(Result::is_ok), "{length}");
            let cut = length % EXAMPLE_BYTES.len() != 0;
            assert_eq!(
                &items[whole..],
                if cut { &[Err(BatchError::Truncated)][..] } else { &[] },
                "{length}"
            );
        }
    }

    #[test]
    fn items_whose_parts_do_not_add_up_are_refused() {
        for (at, byte) in [(3, 0x25), (3, 0x15), (3, 0), (16, 0x80), (19, 1), (19, 3), (22, 0x80), (23, 0x0D)]
        {
            let mut damaged = EXAMPLE_BYTES.to_vec();
            damaged[at] = byte;
            assert!(matches!(Items::new(&damaged).next(), Some(Err(_))), "{at} {byte}");
        }
    }

    proptest! {
        #[test]
        fn items_come_back_as_they_were(
            items in proptest::collection::vec((any::<i32>(), any::<Vec<u8>>(), any::<Vec<u8>>()), 0..9),
        ) {
            let items: Vec<_> =
                items.iter().map(|(flag, body, properties)| Item { flag: *flag, body, properties }).collect();
            let mut out = Vec::new();
            for item in &items {
                prop_assert!(item.encode(&mut out));
            }
            prop_assert_eq!(Items::new(&out).collect::<Result<Vec<_>, _>>(), Ok(items));
        }
    }
}
