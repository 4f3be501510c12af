//! Receives: started, stopped by cancellation, ended by the kernel, and what they bring.

use super::connection::{Receive, Stage};
use super::queues::Completion;
use super::user_data::{Kind, UserData};
use super::{Ring, buffers};
use crate::network::{BufferRef, CloseReason, ConnId, Event, StableBytes};
use io_uring::{opcode, types};
use std::os::fd::AsRawFd;

impl<S: StableBytes> Ring<S> {
    /// Notes that `conn` is to receive, if it wants bytes and no receive is under way.
    pub(super) fn plan_receive(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.wants_bytes() && connection.receive == Receive::Off && !connection.to_receive {
            connection.to_receive = true;
            self.to_receive.push(conn);
        }
    }

    pub(super) fn start_receives(&mut self) {
        let mut planned = std::mem::take(&mut self.to_receive);
        for conn in planned.drain(..) {
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            connection.to_receive = false;
            if !connection.wants_bytes() || connection.receive != Receive::Off {
                continue;
            }
            let Some(socket) = &connection.socket else { continue };
            let entry = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), buffers::GROUP).build();
            connection.receive = Receive::On;
            // SAFETY: a receive into provided buffers points to nothing of ours.
            unsafe { self.push(Kind::Receive, conn, entry) };
        }
        self.to_receive = planned;
    }

    /// Cancels the receive. What the kernel has received by then still comes.
    pub(super) fn stop_receive(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.receive == Receive::On {
            connection.receive = Receive::Cancelling;
            self.cancel(conn, Kind::Receive);
        }
    }

    /// Cancels an operation of `conn`.
    pub(super) fn cancel(&mut self, conn: ConnId, kind: Kind) {
        let entry = opcode::AsyncCancel::new(UserData::of(kind, conn)).build();
        // SAFETY: a cancellation points to nothing.
        unsafe { self.push(Kind::CancelOfConnection, conn, entry) };
    }

    pub(super) fn cancelled(&mut self, tag: UserData) {
        let Some((conn, connection)) = self.connection_of(tag) else { return };
        connection.outstanding -= 1;
        self.forget_if_quiet(conn);
    }

    pub(super) fn received(&mut self, tag: UserData, completion: Completion, events: &mut Vec<Event>) {
        let now = self.clock.now();
        let Some((conn, connection)) = self.connection_of(tag) else { return };
        if !completion.more() {
            connection.outstanding -= 1;
            connection.receive = Receive::Off;
        }
        if connection.has_ended() {
            self.forget_if_quiet(conn);
            return;
        }
        if connection.stage == Stage::Lingering && completion.result <= 0 {
            return self.lingered(conn, completion.result);
        }
        match completion.result {
            count @ 1.. => {
                let index = completion.buffer().expect("received bytes are in a buffer");
                if connection.stage == Stage::Open {
                    let buffer = BufferRef { index: u32::from(index), len: count as u32 };
                    events.push(Event::Data { conn, buffer });
                }
            }
            0 => {
                if !connection.peer_done {
                    connection.peer_done = true;
                    connection.half_closed = now;
                    let tell = connection.stage == Stage::Open;
                    self.half_closed += 1;
                    if tell {
                        events.push(Event::HalfClosed { conn });
                    }
                }
            }
            error => match -error {
                libc::ENOBUFS => self.counts.buffers_exhausted += 1,
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                libc::ECONNRESET | libc::EPIPE => return self.finish(conn, CloseReason::Peer, events),
                other => return self.finish(conn, CloseReason::Os(other), events),
            },
        }
        self.plan_receive(conn);
    }

    /// A lingering connection's receive has ended: for good, or to be started again.
    fn lingered(&mut self, conn: ConnId, result: i32) {
        match -result {
            libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.plan_receive(conn),
            _ => self.stop_lingering(conn),
        }
    }
}
