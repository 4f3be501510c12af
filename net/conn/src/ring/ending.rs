//! The end of connections, and of the ring.
//!
//! What is closed in good order lingers: our sending side ends, and what still comes is read and thrown
//! away until the peer closes too. Then, or at once when it breaks, a connection ends by `shutdown`, which
//! makes everything outstanding complete; completions are counted down, and then the socket is closed.
//! Closing first would let the kernel's next connection take the number while operations on the old one
//! are still under way.

use super::Ring;
use super::connection::Stage;
use super::user_data::{Kind, UserData};
use super::{buffers, sockets};
use crate::network::{CloseReason, ConnId, Event, StableBytes};
use crate::slots::Slots;
use io_uring::{opcode, types};
use std::time::Duration;

/// How long a dropped ring waits for each next completion, and how often.
const LAST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAITS_MAX: u32 = 50;

impl<S: StableBytes> Ring<S> {
    /// Ends `conn` when what is queued has been sent.
    pub(super) fn begin_close(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let reason = connection.reason_to_close();
        match connection.stage {
            Stage::Ended | Stage::Lingering | Stage::Closing => {}
            Stage::Connecting => self.give_up(conn, reason),
            Stage::Open if connection.outbound.is_none() => self.give_up(conn, reason),
            Stage::Open => {
                connection.stage = Stage::Closing;
                self.stop_receive(conn);
            }
        }
    }

    /// Ends `conn` at the next turn, whatever is queued.
    pub(super) fn give_up(&mut self, conn: ConnId, reason: CloseReason) {
        if let Some(connection) = self.connections.get_mut(conn).filter(|c| !c.is_told()) {
            connection.stage = Stage::Closing;
            self.to_end.push((conn, reason));
        }
    }

    pub(super) fn end_those_to_end(&mut self, events: &mut Vec<Event>) {
        let mut planned = std::mem::take(&mut self.to_end);
        for (conn, reason) in planned.drain(..) {
            match self.connections.get(conn).map(|connection| connection.stage) {
                Some(Stage::Lingering) => self.stop_lingering(conn),
                _ => self.finish(conn, reason, events),
            }
        }
        self.to_end = planned;
    }

    /// Tells the owner that `conn` is gone, and lets it linger or makes the kernel let go of it.
    pub(super) fn finish(&mut self, conn: ConnId, reason: CloseReason, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(conn).filter(|c| !c.is_told()) else { return };
        let connecting = connection.connecting_to.is_some();
        if let Some(outbound) = &mut connection.outbound {
            self.unsent -= outbound.backlog.unsent();
            outbound.backlog.clear_waiting();
        }
        if connection.peer_done {
            self.half_closed -= 1;
        }
        self.open -= 1;
        events.push(Event::Closed { conn, reason });
        match &connection.socket {
            Some(socket) if reason == CloseReason::Local && !connecting => {
                sockets::end_sending(socket);
                connection.stage = Stage::Lingering;
                connection.half_closed = self.clock.now();
                self.lingering += 1;
                self.plan_receive(conn);
            }
            _ => self.let_go(conn),
        }
    }

    /// The peer has closed, or it has been given the time to.
    pub(super) fn stop_lingering(&mut self, conn: ConnId) {
        self.lingering -= 1;
        self.let_go(conn);
    }

    /// Makes everything that is outstanding on `conn` complete, so that it can be forgotten.
    fn let_go(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("it is forgotten only after this");
        connection.stage = Stage::Ended;
        if let Some(socket) = &connection.socket {
            sockets::shut_down(socket);
        }
        if connection.connecting_to.is_some() {
            self.cancel(conn, Kind::Connect);
        }
        self.forget_if_quiet(conn);
    }

    /// Closes the socket and frees the slot of an ended connection once nothing is outstanding.
    pub(super) fn forget_if_quiet(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get(conn) else { return };
        if !connection.has_ended() || connection.outstanding > 0 {
            return;
        }
        let connection = self.connections.remove(conn).expect("it was just there");
        if let Some(outbound) = connection.outbound {
            self.idle_outbounds.take_back(outbound);
        }
    }
}

impl<S: StableBytes> Drop for Ring<S> {
    /// Cancels everything and waits until the kernel has let go of all memory that it was given.
    fn drop(&mut self) {
        for (_, connection) in self.connections.iter() {
            if let Some(socket) = &connection.socket {
                sockets::shut_down(socket);
            }
        }
        let everything = opcode::AsyncCancel2::new(types::CancelBuilder::any().all()).build();
        // SAFETY: a cancellation points to nothing.
        unsafe { self.push_alone(Kind::Cancel, 0, everything) };
        let mut completions = std::mem::take(&mut self.completions);
        for _ in 0..LAST_WAITS_MAX {
            if self.outstanding == 0 {
                break;
            }
            self.queues.enter_and_wait(&mut completions, LAST_WAIT);
            for completion in completions.drain(..) {
                let accepted =
                    UserData::read(completion.user_data).is_some_and(|tag| tag.kind == Kind::Accept);
                if accepted && completion.result >= 0 {
                    drop(sockets::owned(completion.result));
                }
                if !completion.more() {
                    self.outstanding -= 1;
                }
            }
        }
        if self.outstanding > 0 || self.queues.unregister_buffers(buffers::GROUP).is_err() {
            // The kernel may still read or write there: memory lost is better than memory corrupted.
            tracing::error!(
                outstanding = self.outstanding,
                "network operations did not end; leaking their memory"
            );
            self.buffers.keep_mapped();
            std::mem::forget(std::mem::replace(&mut self.connections, Slots::new()));
        }
    }
}
