//! What a submission carries and its completion brings back: which operation, of which life of which slot.
//!
//!     63    56 55                    32 31                     0
//!     ├───────┼────────────────────────┼────────────────────────┤
//!     │ kind  │ generation, low 24 bits│ slot                   │
//!     └───────┴────────────────────────┴────────────────────────┘
//!
//! A slot is reused only when nothing of its former life is outstanding, so the generation never decides
//! anything in a correct program; it keeps an incorrect one from answering the wrong client.

use crate::network::ConnId;

const GENERATION_BITS: u32 = 24;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// The kinds of operation; the number is the top byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Multishot accept; the slot is the listener's index.
    Accept = 1,
    /// Multishot receive.
    Receive = 2,
    /// One send, of bytes or of a message with slices.
    Send = 3,
    /// A connection we asked for.
    Connect = 4,
    /// The cancellation of a connection's receive or connect.
    CancelOfConnection = 5,
    /// Any other cancellation.
    Cancel = 6,
    /// The pause after a failed accept is over.
    BackOff = 7,
    /// Time to look for slow readers.
    Tick = 8,
}

/// One operation's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UserData {
    pub kind: Kind,
    pub slot: u32,
    /// Low 24 bits only.
    pub generation: u32,
}

impl UserData {
    pub(super) fn of(kind: Kind, conn: ConnId) -> u64 {
        let low = u64::from(conn.generation & GENERATION_MASK) << 32 | u64::from(conn.slot);
        u64::from(kind as u8) << 56 | low
    }

    /// For operations that belong to no connection.
    pub(super) fn alone(kind: Kind, slot: u32) -> u64 {
        UserData::of(kind, ConnId { slot, generation: 0 })
    }

    /// `None` for a kind that we never submit.
    pub(super) fn read(word: u64) -> Option<UserData> {
        let kind = match (word >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Connect,
            5 => Kind::CancelOfConnection,
            6 => Kind::Cancel,
            7 => Kind::BackOff,
            8 => Kind::Tick,
            _ => return None,
        };
        Some(UserData { kind, slot: word as u32, generation: (word >> 32) as u32 & GENERATION_MASK })
    }

    /// Whether this is from the life of the slot that `generation` names.
    pub(super) fn is_of(&self, generation: u32) -> bool {
        self.generation == generation & GENERATION_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_with_its_slot_and_generation() {
        for kind in [
            Kind::Accept,
            Kind::Receive,
            Kind::Send,
            Kind::Connect,
            Kind::CancelOfConnection,
            Kind::Cancel,
            Kind::BackOff,
            Kind::Tick,
        ] {
            let conn = ConnId { slot: u32::MAX, generation: 0xABFF_EEDD };
            let read = UserData::read(UserData::of(kind, conn)).expect("a known kind");
            assert_eq!(read, UserData { kind, slot: u32::MAX, generation: 0xFF_EEDD });
            assert!(read.is_of(conn.generation));
            assert!(!read.is_of(conn.generation + 1));
        }
        assert_eq!(UserData::read(0), None);
        assert_eq!(UserData::read(u64::MAX), None);
    }
}
