//! One connection's outgoing side: its backlog, and the message that the kernel reads while a send flies.
//!
//! Boxed, so that the message header stays in place, and lent to a connection only while it has something
//! to send: an idle connection holds none, and a busy one allocates none.
//!
//! Invariant: while `sending`, neither the flight's parts nor `iovecs` nor `message` change or move.

use crate::limits::IDLE_BACKLOG_BYTES_MAX;
use crate::network::StableBytes;
use crate::send_backlog::SendBacklog;
use io_uring::{opcode, squeue, types};
use std::mem;
use std::ptr;

pub(super) struct Outbound<S> {
    pub backlog: SendBacklog<S>,
    /// The kernel has the flight.
    pub sending: bool,
    iovecs: Vec<libc::iovec>,
    message: libc::msghdr,
}

impl<S: StableBytes> Outbound<S> {
    fn new() -> Outbound<S> {
        // SAFETY: all zeroes is a valid, empty message header.
        let message = unsafe { mem::zeroed() };
        Outbound { backlog: SendBacklog::default(), sending: false, iovecs: Vec::new(), message }
    }

    /// The next send: what has yet to land of the flight, or a new flight.
    ///
    /// What it points to stays in place until `landed` or `failed` is called.
    pub(super) fn send(self: &mut Box<Self>, socket: types::Fd) -> squeue::Entry {
        assert!(!self.sending, "one send at a time");
        self.sending = true;
        if !self.backlog.is_flying() {
            self.backlog.take_off();
        }
        self.iovecs.clear();
        self.iovecs.extend(
            self.backlog
                .flight()
                .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() }),
        );
        if let [only] = self.iovecs[..] {
            let len = u32::try_from(only.iov_len).expect("no backlog reaches 4 GiB");
            return opcode::Send::new(socket, only.iov_base.cast(), len).flags(libc::MSG_NOSIGNAL).build();
        }
        self.message.msg_iov = self.iovecs.as_mut_ptr();
        self.message.msg_iovlen = self.iovecs.len() as _;
        opcode::SendMsg::new(socket, ptr::from_ref(&self.message)).flags(libc::MSG_NOSIGNAL as u32).build()
    }

    /// The send is over; the kernel has taken `count` bytes.
    pub(super) fn landed(&mut self, count: usize) {
        self.sending = false;
        self.backlog.land(count);
    }

    /// The send is over; nothing can be said of its bytes.
    pub(super) fn failed(&mut self) {
        self.sending = false;
    }

    fn idle_bytes(&self) -> usize {
        mem::size_of::<Self>()
            + self.backlog.idle_bytes()
            + self.iovecs.capacity() * mem::size_of::<libc::iovec>()
    }
}

/// Outbound sides that no connection is using, bounded in bytes.
pub(super) struct Idle<S> {
    #[expect(clippy::vec_box, reason = "their addresses must not change when they are lent")]
    idle: Vec<Box<Outbound<S>>>,
    bytes: usize,
}

impl<S: StableBytes> Idle<S> {
    pub(super) fn new() -> Idle<S> {
        Idle { idle: Vec::new(), bytes: 0 }
    }

    pub(super) fn lend(&mut self) -> Box<Outbound<S>> {
        match self.idle.pop() {
            Some(outbound) => {
                self.bytes -= outbound.idle_bytes();
                outbound
            }
            None => Box::new(Outbound::new()),
        }
    }

    /// Takes one back. At the bound it is freed.
    pub(super) fn take_back(&mut self, mut outbound: Box<Outbound<S>>) {
        assert!(!outbound.sending, "the kernel has let go of it");
        outbound.backlog.clear();
        let bytes = outbound.idle_bytes();
        if self.bytes + bytes <= IDLE_BACKLOG_BYTES_MAX {
            self.bytes += bytes;
            self.idle.push(outbound);
        }
    }
}
