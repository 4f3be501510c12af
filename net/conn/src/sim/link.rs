//! One simulated connection: two pipes, one in each direction, between two ends.
//!
//!     sender ─► flying: segments on their way ─► arrived: not yet read ─► receiver
//!               └────────────── together at most the window ──┘
//!
//! Pure. Not here: when what flies arrives (`world`).

use std::collections::VecDeque;
use std::time::Duration;

/// One of the two ends of a link, and by that the pipe that it sends into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndId {
    pub link: u64,
    /// 0: the one that asked for the connection. 1: the one that was asked.
    pub side: usize,
}

impl EndId {
    pub(super) fn other(self) -> EndId {
        EndId { link: self.link, side: 1 - self.side }
    }
}

/// Who holds an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// A network, by its number.
    Network(usize),
    /// A client, by its number.
    Peer(usize),
    /// It has been closed.
    Nobody,
}

#[derive(Debug)]
pub(super) struct Link {
    pub holders: [Holder; 2],
    /// `pipes[side]` carries what that side sends.
    pub pipes: [Pipe; 2],
    /// Nothing arrives while it stands still.
    pub stalled: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub flying: VecDeque<Segment>,
    /// When the last segment arrives: none overtakes it.
    pub last_due: Duration,
    arrived: VecDeque<Vec<u8>>,
    /// Of `flying` and `arrived` together.
    bytes: usize,
    /// The sender found no room and is to be told when there is.
    pub sender_waits: bool,
    /// The sender has sent its last byte.
    pub ended: bool,
    /// The connection is made, as the receiver knows.
    pub open: bool,
    /// The end has arrived.
    pub end: Option<End>,
}

/// How a direction ends, as its receiver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// No more bytes.
    Fin,
    /// The connection is gone.
    Reset,
}

#[derive(Debug, Clone)]
pub(super) enum Segment {
    /// The connection is made.
    Open,
    Bytes(Vec<u8>),
    Fin,
    /// Destroys what flies before it no more than TCP would: what had arrived can still be read.
    Reset,
}

impl Pipe {
    /// Bytes that the sender may still hand over.
    pub(super) fn room(&self, window: usize) -> usize {
        if self.ended { 0 } else { window.saturating_sub(self.bytes) }
    }

    pub(super) fn send(&mut self, segment: Segment) {
        if let Segment::Bytes(bytes) = &segment {
            self.bytes += bytes.len();
        }
        self.flying.push_back(segment);
    }

    /// The first segment arrives.
    pub(super) fn arrive(&mut self) -> Option<Segment> {
        let segment = self.flying.pop_front()?;
        match &segment {
            Segment::Open => self.open = true,
            Segment::Bytes(bytes) => self.arrived.push_back(bytes.clone()),
            Segment::Fin => self.end = Some(End::Fin),
            Segment::Reset => self.end = Some(End::Reset),
        }
        Some(segment)
    }

    pub(super) fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Takes at most `max` arrived bytes, of one segment.
    pub(super) fn read(&mut self, max: usize) -> Option<Vec<u8>> {
        let mut bytes = self.arrived.pop_front()?;
        if bytes.len() > max {
            self.arrived.push_front(bytes.split_off(max));
        }
        self.bytes -= bytes.len();
        Some(bytes)
    }
}
