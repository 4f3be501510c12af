//! A simulated client: the other end of a connection to a simulated network.

use super::SimNet;
use super::link::{End, EndId};
use std::rc::Rc;

/// One client's connection. Dropping it closes it in good order.
pub struct SimPeer {
    net: SimNet,
    number: usize,
    end: EndId,
    /// Given up already.
    done: bool,
}

/// What a client found when it looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Bytes, which have been appended.
    Bytes,
    /// Nothing new.
    Nothing,
    /// The network has sent its last byte.
    End,
    /// The connection is gone: reset, cut or refused.
    Reset,
}

impl SimPeer {
    pub(super) fn new(net: SimNet, number: usize, end: EndId) -> SimPeer {
        SimPeer { net, number, end, done: false }
    }

    /// `call` is called when something has come, there is room again, or the connection has changed; it
    /// wakes the client and must not call back.
    pub fn on_ready(&mut self, call: Rc<dyn Fn()>) {
        self.net.with(|world| world.on_ready_of_peer(self.number, call));
    }

    /// Sends as many of `bytes` as there is room for, and says how many; none before the connection is made.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let end = self.end;
        self.net.with(|world| {
            if !world.incoming(end).is_some_and(|pipe| pipe.open && pipe.end != Some(End::Reset)) {
                return 0;
            }
            let count = world.room(end).min(bytes.len());
            world.send(end, &bytes[..count]);
            count
        })
    }

    /// Appends what has come.
    pub fn take(&mut self, into: &mut Vec<u8>) -> Came {
        let end = self.end;
        self.net.with(|world| {
            let before = into.len();
            while let Some(bytes) = world.read(end, usize::MAX) {
                into.extend_from_slice(&bytes);
            }
            match world.end_of(end) {
                _ if into.len() > before => Came::Bytes,
                None => Came::Nothing,
                Some(End::Fin) => Came::End,
                Some(End::Reset) => Came::Reset,
            }
        })
    }

    /// The connection has been accepted by the other side's kernel.
    pub fn is_open(&self) -> bool {
        let end = self.end;
        self.net.with(|world| world.incoming(end).is_some_and(|pipe| pipe.open))
    }

    /// Sends no more, but still receives.
    pub fn half_close(&mut self) {
        let end = self.end;
        self.net.with(|world| world.half_close(end));
    }

    /// Ends the connection so that the other side sees an error.
    pub fn reset(mut self) {
        self.done = true;
        let end = self.end;
        self.net.with(|world| world.reset(end));
    }

    /// Cuts the path: both sides see an error.
    pub fn cut(&mut self) {
        let end = self.end;
        self.net.with(|world| world.cut(end));
    }

    /// Lets nothing arrive, in either direction, until called with `false`.
    pub fn stall(&mut self, stalled: bool) {
        let end = self.end;
        self.net.with(|world| world.stall(end, stalled));
    }
}

impl Drop for SimPeer {
    fn drop(&mut self) {
        if !self.done {
            let end = self.end;
            self.net.with(|world| world.close(end));
        }
    }
}
