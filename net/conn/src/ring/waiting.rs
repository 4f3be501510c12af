//! Time, as far as a ring knows it: the pause after a failed accept, and ticks to find slow readers by.
//!
//! Ticks run only while somebody could be slow, so an idle ring never wakes by itself. No clock is read:
//! a tick is an operation on the ring like any other.

use super::Ring;
use super::connection::Stage;
use super::user_data::Kind;
use crate::limits::{ACCEPT_BACK_OFF, Bounds};
use crate::network::{CloseReason, StableBytes};
use io_uring::{opcode, types};
use std::time::Duration;

/// Ticks in the shortest patience: what is measured is late by at most a quarter.
const TICKS_PER_PATIENCE: u32 = 4;

pub(super) struct Clock {
    ticks: u32,
    running: bool,
    length: Duration,
    /// Read by the kernel when the operations are submitted.
    tick: Box<types::Timespec>,
    back_off: Box<types::Timespec>,
}

impl Clock {
    /// A clock that is fine enough for all patiences.
    pub(super) fn new(bounds: &Bounds) -> Clock {
        let patience = bounds.slow_reader_max.min(bounds.half_closed_max).min(bounds.linger_max);
        let length = (patience / TICKS_PER_PATIENCE).max(Duration::from_millis(1));
        Clock {
            ticks: 0,
            running: false,
            length,
            tick: Box::new(types::Timespec::from(length)),
            back_off: Box::new(types::Timespec::from(ACCEPT_BACK_OFF)),
        }
    }

    /// The current tick; stands still while nobody could be slow.
    pub(super) fn now(&self) -> u32 {
        self.ticks
    }

    /// Whether more than `patience` has passed since the tick `then`.
    fn is_over(&self, then: u32, patience: Duration) -> bool {
        self.length * self.ticks.wrapping_sub(then) > patience
    }
}

impl<S: StableBytes> Ring<S> {
    pub(super) fn start_timers(&mut self) {
        if self.listeners.take_back_off() {
            let entry = opcode::Timeout::new(&raw const *self.clock.back_off).build();
            // SAFETY: boxed, never changed, and dropped with the ring.
            unsafe { self.push_alone(Kind::BackOff, 0, entry) };
        }
        if self.wants_tick() {
            self.clock.running = true;
            let entry = opcode::Timeout::new(&raw const *self.clock.tick).build();
            // SAFETY: as above.
            unsafe { self.push_alone(Kind::Tick, 0, entry) };
        }
    }

    /// A pause or a tick is to be started.
    pub(super) fn wants_timer(&self) -> bool {
        self.listeners.wants_back_off() || self.wants_tick()
    }

    fn wants_tick(&self) -> bool {
        !self.clock.running && (self.unsent > 0 || self.half_closed > 0 || self.lingering > 0)
    }

    /// Looks for connections that have been slow, half-closed or lingering for too long.
    pub(super) fn tick(&mut self) {
        self.clock.ticks = self.clock.ticks.wrapping_add(1);
        self.clock.running = false;
        let bounds = &self.config.bounds;
        for (conn, connection) in self.connections.iter() {
            let half_closed_over = |patience| self.clock.is_over(connection.half_closed, patience);
            let sending = connection.outbound.as_ref().is_some_and(|outbound| outbound.sending);
            let reason = match connection.stage {
                Stage::Connecting | Stage::Ended => continue,
                Stage::Lingering if half_closed_over(bounds.linger_max) => CloseReason::Local,
                Stage::Lingering => continue,
                _ if sending && self.clock.is_over(connection.progress, bounds.slow_reader_max) => {
                    self.counts.slow_readers += 1;
                    CloseReason::SlowReader
                }
                _ if connection.peer_done && half_closed_over(bounds.half_closed_max) => CloseReason::Peer,
                _ => continue,
            };
            self.to_end.push((conn, reason));
        }
    }
}
