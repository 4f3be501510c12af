//! Sends: queued, one in flight per connection, short ones resumed, slow readers noticed by their bytes.

use super::Ring;
use super::connection::Stage;
use super::outbound::Outbound;
use super::queues::Completion;
use super::user_data::{Kind, UserData};
use crate::network::{CloseReason, ConnId, Event, StableBytes};
use io_uring::types;
use std::os::fd::AsRawFd;

impl<S: StableBytes> Ring<S> {
    /// Where to queue for `conn`, unless it is closing or gone.
    pub(super) fn outbound_for(&mut self, conn: ConnId) -> Option<&mut Box<Outbound<S>>> {
        let connection = self.connections.get_mut(conn)?;
        if !matches!(connection.stage, Stage::Open | Stage::Connecting) {
            return None;
        }
        Some(connection.outbound.get_or_insert_with(|| self.idle_outbounds.lend()))
    }

    /// `count` more bytes wait on `conn`: plans the send and keeps the bounds.
    pub(super) fn queued(&mut self, conn: ConnId, count: usize) {
        self.unsent += count;
        let connection = self.connections.get_mut(conn).expect("bytes were queued on it");
        let unsent = connection.outbound.as_ref().map_or(0, |outbound| outbound.backlog.unsent());
        let over_mark = unsent > self.config.bounds.unsent_bytes_mark;
        let over_total = over_mark && self.unsent > self.config.bounds.unsent_bytes_total_max;
        if unsent > self.config.bounds.unsent_bytes_max || over_total {
            self.counts.slow_readers += 1;
            self.give_up(conn, CloseReason::SlowReader);
            return;
        }
        if over_mark && !connection.over_mark {
            connection.over_mark = true;
            self.stop_receive(conn);
        }
        self.plan_send(conn);
    }

    /// Notes that `conn` is to send, if it has something and no send is under way.
    pub(super) fn plan_send(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(outbound) = &connection.outbound else { return };
        let connected = matches!(connection.stage, Stage::Open | Stage::Closing);
        if connected && !connection.to_send && !outbound.sending && !outbound.backlog.is_empty() {
            connection.to_send = true;
            self.to_send.push(conn);
        }
    }

    pub(super) fn start_sends(&mut self) {
        let mut planned = std::mem::take(&mut self.to_send);
        for conn in planned.drain(..) {
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            connection.to_send = false;
            if connection.has_ended() {
                continue;
            }
            let (Some(socket), Some(outbound)) = (&connection.socket, &mut connection.outbound) else {
                continue;
            };
            let entry = outbound.send(types::Fd(socket.as_raw_fd()));
            connection.progress = self.clock.now();
            // SAFETY: parts, slices and message header stay in place until the outbound side is told that
            // the send is over, which happens on its completion only.
            unsafe { self.push(Kind::Send, conn, entry) };
        }
        self.to_send = planned;
    }

    pub(super) fn sent(&mut self, tag: UserData, completion: Completion, events: &mut Vec<Event>) {
        let now = self.clock.now();
        let Some((conn, connection)) = self.connection_of(tag) else { return };
        connection.outstanding -= 1;
        let outbound = connection.outbound.as_mut().expect("a flight is kept until it is over");
        let count = usize::try_from(completion.result).unwrap_or(0);
        if count == 0 {
            outbound.failed();
        } else {
            outbound.landed(count);
            connection.progress = now;
        }
        if connection.has_ended() {
            self.forget_if_quiet(conn);
            return;
        }
        self.unsent -= count;
        match completion.result {
            1.. => self.landed(conn, events),
            error => match -error {
                libc::EINTR | libc::EAGAIN => self.plan_send(conn),
                0 | libc::EPIPE | libc::ECONNRESET => self.finish(conn, CloseReason::Peer, events),
                other => self.finish(conn, CloseReason::Os(other), events),
            },
        }
    }

    /// Goes on after a send: with what is left, or with what waited for everything to be sent.
    fn landed(&mut self, conn: ConnId, events: &mut Vec<Event>) {
        let connection = self.connections.get_mut(conn).expect("a send of it has just landed");
        let outbound = connection.outbound.take_if(|outbound| outbound.backlog.is_empty());
        let Some(outbound) = outbound else { return self.plan_send(conn) };
        self.idle_outbounds.take_back(outbound);
        if connection.stage == Stage::Closing {
            let reason = connection.reason_to_close();
            return self.finish(conn, reason, events);
        }
        if connection.over_mark {
            connection.over_mark = false;
            events.push(Event::Drained { conn });
            self.plan_receive(conn);
        }
    }
}
