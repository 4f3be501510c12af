//! What a ring knows of one connection.
//!
//!     Connecting ─► Open ── close ──► Closing ── all is sent ──► Lingering
//!         │          │                   │                          │ the peer closes, or time is over
//!         └──────────┴───────────────────┴──── it breaks ───────────┴──► Ended ── nothing outstanding ──► free
//!
//! `Closed` is told on the way into `Lingering` or `Ended`, whichever comes first. The slot and the socket
//! stay until the kernel has completed everything that it was given.

use super::outbound::Outbound;
use super::sockets::KernelAddress;
use crate::network::CloseReason;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

pub(super) struct Connection<S> {
    /// Absent only when it could not be made.
    pub socket: Option<OwnedFd>,
    pub peer: SocketAddr,
    pub stage: Stage,
    /// Present while a connect is under way: the kernel may read it.
    pub connecting_to: Option<Box<KernelAddress>>,
    pub receive: Receive,
    /// The owner wants no more bytes for now.
    pub paused: bool,
    /// Too much is unsent; receives again when everything is sent.
    pub over_mark: bool,
    /// The peer has half-closed.
    pub peer_done: bool,
    /// Waits in the list of those to receive.
    pub to_receive: bool,
    /// Waits in the list of those to send.
    pub to_send: bool,
    /// Operations whose last completion has not come.
    pub outstanding: u32,
    /// The tick at which the kernel last took a byte, or took a send.
    pub progress: u32,
    /// The tick of the peer's half-close, or of ours when lingering.
    pub half_closed: u32,
    /// Present while something is unsent.
    pub outbound: Option<Box<Outbound<S>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Open,
    /// Ends when everything queued is sent, or at the next turn.
    Closing,
    /// The owner knows; what still comes is thrown away, until the peer closes too.
    Lingering,
    /// The owner knows; the kernel is still to let go.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receive {
    Off,
    On,
    Cancelling,
}

impl<S> Connection<S> {
    pub(super) fn new(socket: Option<OwnedFd>, peer: SocketAddr, stage: Stage) -> Connection<S> {
        Connection {
            socket,
            peer,
            stage,
            connecting_to: None,
            receive: Receive::Off,
            paused: false,
            over_mark: false,
            peer_done: false,
            to_receive: false,
            to_send: false,
            outstanding: 0,
            progress: 0,
            half_closed: 0,
            outbound: None,
        }
    }

    pub(super) fn wants_bytes(&self) -> bool {
        match self.stage {
            Stage::Open => !self.paused && !self.over_mark && !self.peer_done,
            Stage::Lingering => true,
            Stage::Connecting | Stage::Closing | Stage::Ended => false,
        }
    }

    /// Why it ends when the owner closes it.
    pub(super) fn reason_to_close(&self) -> CloseReason {
        if self.peer_done { CloseReason::Peer } else { CloseReason::Local }
    }

    /// The owner has been told that it is closed.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.stage, Stage::Lingering | Stage::Ended)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }
}
