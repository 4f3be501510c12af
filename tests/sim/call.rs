//! A client's connection: requests out, replies in, and an end when the network says so.

use std::net::SocketAddr;
use std::time::Duration;

use ringmq_conn::sim::{Came, SimNet, SimPeer};
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::{Fields, HeadFormat, HeadScratch, OutHead, Value};

/// Between losing a connection and asking for the next.
const RECONNECT: Duration = Duration::from_millis(50);

/// One client's way to the broker. It connects when it has to.
pub struct Line {
    net: SimNet,
    to: SocketAddr,
    peer: Option<SimPeer>,
    unsent: Vec<u8>,
    received: Vec<u8>,
    next_opaque: i32,
    retry_at: Duration,
    scratch: HeadScratch,
}

/// What a reply says.
pub struct Reply<'a> {
    /// Which request it answers.
    pub opaque: i32,
    /// The response code.
    pub code: i32,
    /// Its fields.
    pub fields: Fields<'a>,
    /// Its body.
    pub body: &'a [u8],
}

impl Line {
    /// A line that is not connected yet.
    pub fn new(net: SimNet, to: SocketAddr) -> Line {
        Line {
            net,
            to,
            peer: None,
            unsent: Vec::new(),
            received: Vec::new(),
            next_opaque: 1,
            retry_at: Duration::ZERO,
            scratch: HeadScratch::default(),
        }
    }

    /// Whether requests may be made. Connects if it is time to.
    pub fn is_up(&mut self, now: Duration) -> bool {
        if self.peer.is_none() && now >= self.retry_at {
            self.peer = Some(self.net.connect(self.to));
        }
        self.peer.is_some()
    }

    /// When it wants to be looked at again although nothing came.
    pub fn next_due(&self) -> Option<Duration> {
        self.peer.is_none().then_some(self.retry_at)
    }

    /// Begins a request and gives its number.
    pub fn request(&mut self, code: i32, fields: &[(&str, Value<'_>)], body: &[u8]) -> i32 {
        let opaque = self.next_opaque;
        self.next_opaque += 1;
        let format = if opaque % 2 == 0 { HeadFormat::Binary } else { HeadFormat::Json };
        OutHead { format, code, opaque, flag: 0, remark: None, fields }.encode(&mut self.unsent, body.len());
        self.unsent.extend_from_slice(body);
        opaque
    }

    /// Moves bytes, hands over every whole reply, and says whether the connection is gone: then nothing that
    /// was asked will be answered.
    pub fn turn(
        &mut self,
        now: Duration,
        mut handle: impl FnMut(Reply<'_>) -> Result<(), String>,
    ) -> Result<bool, String> {
        let Some(peer) = &mut self.peer else { return Ok(false) };
        let sent = peer.send(&self.unsent);
        self.unsent.drain(..sent);
        let came = peer.take(&mut self.received);
        let mut taken = 0;
        while let Decoded::Frame(frame, bytes) =
            frame::decode(&self.received[taken..]).map_err(|error| format!("a reply: {error}"))?
        {
            let head = self
                .scratch
                .decode(frame.format, frame.head)
                .map_err(|error| format!("a reply's header: {error}"))?;
            if head.is_response() {
                handle(Reply {
                    opaque: head.opaque,
                    code: head.code,
                    fields: head.fields,
                    body: frame.body,
                })?;
            }
            taken += bytes;
        }
        self.received.drain(..taken);
        let gone = matches!(came, Came::End | Came::Reset);
        if gone {
            self.drop(now);
        }
        Ok(gone)
    }

    /// Gives the connection up.
    pub fn drop(&mut self, now: Duration) {
        self.peer = None;
        self.unsent.clear();
        self.received.clear();
        self.retry_at = now + RECONNECT;
    }

    /// Cuts the path, if there is one: both sides see an error.
    pub fn cut(&mut self) {
        if let Some(peer) = &mut self.peer {
            peer.cut();
        }
    }
}
