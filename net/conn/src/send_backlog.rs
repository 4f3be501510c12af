//! Answers waiting to be sent on one connection, in order.
//!
//!     front                                    back
//!     ├── flight ──────────┬── waiting ─────────┤
//!     │ bytes │ slice │ sl │ slice │ bytes (+)  │
//!     └───────┴───────┴────┴───────┴────────────┘
//!       ^ sent so far           what comes next joins the last run of bytes
//!
//! A part is a run of bytes or a slice. The flight is what the kernel has been given and may be reading;
//! its parts are neither moved in memory nor changed until they have landed. While it flies, small
//! answers join one another behind it: that is the corking.
//!
//! Invariants
//!  1. Bytes leave in the order in which they were queued.
//!  2. `unsent` is the sum of all parts, less what has landed of the first.
//!  3. A part is given back or dropped only when all of it has landed.
//!  4. No part is empty.
//!
//! Pure. Not here: when to send (`ring`, `sim`), what happens at the bounds (they, by `unsent`).

use crate::limits::{JOINED_BYTES_MAX, PARTS_PER_SEND_MAX, SPARE_BUFFER_BYTES_MAX, SPARE_BUFFERS_MAX};
use crate::network::StableBytes;
use std::collections::VecDeque;
use std::mem;

/// See the module header.
#[derive(Debug)]
pub struct SendBacklog<S> {
    parts: VecDeque<Part<S>>,
    /// How many parts, from the front, are in flight.
    flying: usize,
    /// Bytes of the first part that have landed; always less than it has.
    landed: usize,
    unsent: usize,
    /// Emptied buffers, given to whoever queues next in exchange for a full one.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
enum Part<S> {
    Bytes(Vec<u8>),
    Slice(S),
}

impl<S: StableBytes> Part<S> {
    fn bytes(&self) -> &[u8] {
        match self {
            Part::Bytes(bytes) => bytes,
            Part::Slice(slice) => slice.bytes(),
        }
    }
}

impl<S> Default for SendBacklog<S> {
    fn default() -> Self {
        SendBacklog { parts: VecDeque::new(), flying: 0, landed: 0, unsent: 0, spare: Vec::new() }
    }
}

impl<S: StableBytes> SendBacklog<S> {
    /// Takes the contents of `bytes` and leaves it empty: joined to the last run when both are small,
    /// otherwise swapped for an emptied buffer.
    pub fn queue(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.unsent += bytes.len();
        if let Some(run) = self.open_run(bytes.len()) {
            run.append(bytes);
            return;
        }
        let full = mem::replace(bytes, self.spare.pop().unwrap_or_default());
        self.parts.push_back(Part::Bytes(full));
    }

    /// Takes `head`, copied, and then every slice.
    pub fn queue_slices(&mut self, head: &[u8], slices: &mut Vec<S>) {
        self.queue_copy(head);
        for slice in slices.drain(..) {
            let len = slice.bytes().len();
            if len > 0 {
                self.unsent += len;
                self.parts.push_back(Part::Slice(slice));
            }
        }
    }

    fn queue_copy(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.unsent += bytes.len();
        if let Some(run) = self.open_run(bytes.len()) {
            run.extend_from_slice(bytes);
            return;
        }
        let mut run = self.spare.pop().unwrap_or_default();
        run.extend_from_slice(bytes);
        self.parts.push_back(Part::Bytes(run));
    }

    /// The last part, if it is a run of bytes that does not fly and still has room for `more`.
    fn open_run(&mut self, more: usize) -> Option<&mut Vec<u8>> {
        if self.parts.len() == self.flying {
            return None;
        }
        match self.parts.back_mut() {
            Some(Part::Bytes(run)) if run.len() + more <= JOINED_BYTES_MAX => Some(run),
            _ => None,
        }
    }

    /// Bytes queued and not landed.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// Nothing is queued and nothing flies.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// A flight is under way.
    pub fn is_flying(&self) -> bool {
        self.flying > 0
    }

    /// Starts a flight of everything that waits, or of as many parts as one send can take.
    pub fn take_off(&mut self) {
        assert_eq!(self.flying, 0, "one flight at a time");
        self.flying = self.parts.len().min(PARTS_PER_SEND_MAX);
    }

    /// What has yet to land of the flight, piece by piece.
    pub fn flight(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().take(self.flying).enumerate().map(|(at, part)| match at {
            0 => &part.bytes()[self.landed..],
            _ => part.bytes(),
        })
    }

    /// `count` more bytes of the flight have been taken by the kernel; it is over when all have.
    pub fn land(&mut self, count: usize) {
        self.unsent = self.unsent.checked_sub(count).expect("no more lands than has been queued");
        self.landed += count;
        while self.flying > 0 {
            let len = self.parts.front().expect("what flies is among the parts").bytes().len();
            if self.landed < len {
                return;
            }
            self.landed -= len;
            self.flying -= 1;
            if let Some(Part::Bytes(run)) = self.parts.pop_front() {
                self.keep(run);
            }
        }
        assert_eq!(self.landed, 0, "no more lands than has flown");
    }

    fn keep(&mut self, mut run: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS_MAX && run.capacity() <= SPARE_BUFFER_BYTES_MAX {
            run.clear();
            self.spare.push(run);
        }
    }

    /// Forgets everything, also the flight: only when the kernel no longer reads from it.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.flying = 0;
        self.landed = 0;
        self.unsent = 0;
    }

    /// Forgets what does not fly.
    pub fn clear_waiting(&mut self) {
        self.parts.truncate(self.flying);
        self.unsent = self.flight().map(<[u8]>::len).sum();
    }

    /// Bytes of memory held while nothing is queued.
    pub fn idle_bytes(&self) -> usize {
        self.spare.iter().map(Vec::capacity).sum::<usize>()
            + self.parts.capacity() * mem::size_of::<Part<S>>()
            + self.spare.capacity() * mem::size_of::<Vec<u8>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Backlog = SendBacklog<Box<[u8]>>;

    /// Everything in flight, as one run of bytes.
    fn flown(backlog: &Backlog) -> Vec<u8> {
        backlog.flight().flatten().copied().collect()
    }

    fn queue(backlog: &mut Backlog, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        backlog.queue(&mut bytes);
        assert!(bytes.is_empty());
    }

    fn queue_slices(backlog: &mut Backlog, head: &str, slices: &[&str]) {
        let mut slices = slices.iter().map(|s| s.as_bytes().into()).collect();
        backlog.queue_slices(head.as_bytes(), &mut slices);
        assert!(slices.is_empty());
    }

    #[test]
    fn the_first_buffer_is_swapped_and_not_copied() {
        let mut backlog = Backlog::default();
        let mut bytes = b"abc".to_vec();
        let address = bytes.as_ptr();
        backlog.queue(&mut bytes);
        backlog.take_off();
        assert_eq!(backlog.flight().next().map(<[u8]>::as_ptr), Some(address));
    }

    #[test]
    fn small_answers_join_behind_the_flight() {
        let mut backlog = Backlog::default();
        queue(&mut backlog, "one");
        backlog.take_off();
        queue(&mut backlog, "two");
        queue(&mut backlog, "three");
        assert_eq!(flown(&backlog), b"one");
        backlog.land(3);
        backlog.take_off();
        assert_eq!(backlog.flight().count(), 1);
        assert_eq!(flown(&backlog), b"twothree");
    }

    #[test]
    fn a_landed_buffer_comes_back_to_whoever_queues_next() {
        let mut backlog = Backlog::default();
        let mut bytes = Vec::with_capacity(1000);
        bytes.extend_from_slice(b"first");
        let address = bytes.as_ptr();
        backlog.queue(&mut bytes);
        backlog.take_off();
        backlog.land(5);
        bytes.extend_from_slice(b"second");
        backlog.queue(&mut bytes);
        assert_eq!(bytes.as_ptr(), address);
        assert_eq!(bytes.capacity(), 1000);
    }

    #[test]
    fn a_short_send_goes_on_where_it_stopped() {
        for step in 1..=12 {
            let mut backlog = Backlog::default();
            queue_slices(&mut backlog, "head", &["slice", "", "end"]);
            assert_eq!(backlog.unsent(), 12);
            backlog.take_off();
            let mut seen = Vec::new();
            while backlog.is_flying() {
                let taken: Vec<u8> = flown(&backlog).into_iter().take(step).collect();
                backlog.land(taken.len());
                seen.extend(taken);
                assert_eq!(backlog.unsent(), 12 - seen.len());
            }
            assert_eq!(seen, b"headsliceend");
            assert!(backlog.is_empty());
        }
    }

    #[test]
    fn heads_join_the_run_before_them() {
        let mut backlog = Backlog::default();
        queue(&mut backlog, "small");
        queue_slices(&mut backlog, "head", &["slice"]);
        queue_slices(&mut backlog, "head", &["slice"]);
        backlog.take_off();
        let parts: Vec<&[u8]> = backlog.flight().collect();
        assert_eq!(parts, [&b"smallhead"[..], b"slice", b"head", b"slice"]);
    }

    #[test]
    fn a_send_takes_no_more_parts_than_the_kernel_does() {
        let mut backlog = Backlog::default();
        queue_slices(&mut backlog, "", &["x"; PARTS_PER_SEND_MAX + 1]);
        backlog.take_off();
        assert_eq!(backlog.flight().count(), PARTS_PER_SEND_MAX);
        backlog.land(PARTS_PER_SEND_MAX);
        backlog.take_off();
        assert_eq!(backlog.flight().count(), 1);
    }

    #[test]
    fn large_runs_are_chained_and_not_copied() {
        let mut backlog = Backlog::default();
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let mut bytes = vec![7; JOINED_BYTES_MAX / 2 + 1];
            addresses.push(bytes.as_ptr());
            backlog.queue(&mut bytes);
        }
        backlog.take_off();
        assert_eq!(backlog.flight().map(<[u8]>::as_ptr).collect::<Vec<_>>(), addresses);
    }

    #[test]
    fn a_large_buffer_is_not_kept() {
        let mut backlog = Backlog::default();
        backlog.queue(&mut vec![0; SPARE_BUFFER_BYTES_MAX + 1]);
        backlog.take_off();
        backlog.land(SPARE_BUFFER_BYTES_MAX + 1);
        assert!(backlog.idle_bytes() < 4096);
    }

    #[test]
    fn what_waits_can_be_forgotten_while_the_rest_flies() {
        let mut backlog = Backlog::default();
        queue(&mut backlog, "flies");
        backlog.take_off();
        backlog.land(2);
        queue(&mut backlog, "waits");
        backlog.clear_waiting();
        assert_eq!((backlog.unsent(), flown(&backlog)), (3, b"ies".to_vec()));
    }
}
