//! The one task of a connection: writes what callers queued, reads what the server sends, ends calls.
//!
//! Invariants
//!  1. It yields once before it writes what it was woken for: whoever else is ready to send joins the same write.
//!  2. It holds no lock while it waits.
//!  3. A call past its deadline ends, at most [`DEADLINE_GRAIN`] late. If not one byte came since that call began, the
//!     connection is taken for dead and closed: others learn it now, and the next call connects anew.
//!  4. A frame that cannot be read closes the connection: nothing behind it can be told apart.
//!
//! Truth: `remoting/.../netty/NettyRemotingAbstract.java`.

use super::answer::{Answer, Asked, Inbox};
use super::connection::{Connection, Shared};
use crate::error::Error;
use crate::limits::{DEADLINE_GRAIN, READ_BYTES};
use crate::rules::calls::Waiting;
use bytes::{Buf, Bytes, BytesMut};
use ringmq_wire::command::FLAG_RESPONSE;
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::{HeadFormat, HeadScratch, OutHead};
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};

/// Memory for frames that is kept from one write to the next.
const OUT_BYTES_KEPT: usize = 256 * 1024;
/// Most bytes of answers to a server's own requests that wait to be written; a server that asks on and reads nothing is
/// left.
const OWED_BYTES_MAX: usize = 64 * 1024;

/// Takes over a connected stream, and serves it until it ends or nobody needs it any more.
pub(super) fn start<S>(stream: S, address: Arc<str>, inbox: Arc<dyn Inbox>) -> Connection
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    inbox.connected(&address);
    let shared = Arc::new(Shared::new(address));
    let connection = Connection(shared.clone());
    let mut pump = Pump {
        stream,
        shared,
        inbox,
        writing: Vec::new(),
        written: 0,
        has_yielded: false,
        reading: BytesMut::new(),
        scratch: HeadScratch::default(),
        owed: Vec::new(),
        tick: Box::pin(sleep(DEADLINE_GRAIN)),
    };
    tokio::spawn(async move {
        let reason = poll_fn(|context| pump.turn(context)).await;
        tracing::debug!(address = %pump.shared.address, reason, "connection ended");
        Connection(pump.shared.clone()).close(&reason);
    });
    connection
}

struct Pump<S> {
    stream: S,
    shared: Arc<Shared>,
    inbox: Arc<dyn Inbox>,
    /// Frames being written, and how much of them the socket took.
    writing: Vec<u8>,
    written: usize,
    has_yielded: bool,
    reading: BytesMut,
    scratch: HeadScratch,
    /// Answers to the server's own requests.
    owed: Vec<u8>,
    tick: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    /// Does what can be done now. Ready with the reason when the connection is over.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<String> {
        let step = self.read(context).and_then(|()| self.expire(context)).and_then(|()| self.write(context));
        match step {
            Ok(()) => Poll::Pending,
            Err(reason) => Poll::Ready(reason),
        }
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        loop {
            if self.written == self.writing.len() && !self.refill(context)? {
                return Ok(());
            }
            match Pin::new(&mut self.stream).poll_write(context, &self.writing[self.written..]) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err("the socket takes no more".into()),
                Poll::Ready(Ok(bytes)) => {
                    self.written += bytes;
                    self.shared.state().wrote(bytes);
                }
                Poll::Ready(Err(error)) => return Err(error.to_string()),
            }
        }
    }

    /// Takes what is queued. `false` if there is nothing to write now.
    fn refill(&mut self, context: &mut Context<'_>) -> Result<bool, String> {
        self.writing.clear();
        self.writing.shrink_to(OUT_BYTES_KEPT);
        self.written = 0;
        let mut state = self.shared.state();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        if !self.owed.is_empty() {
            state.queued += self.owed.len() as u64;
            state.out.append(&mut self.owed);
        }
        if state.out.is_empty() {
            self.has_yielded = false;
            match &mut state.pump {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            return Ok(false);
        }
        if !mem::replace(&mut self.has_yielded, true) {
            context.waker().wake_by_ref();
            return Ok(false);
        }
        mem::swap(&mut state.out, &mut self.writing);
        self.has_yielded = false;
        Ok(true)
    }

    fn read(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        loop {
            self.reading.reserve(READ_BYTES);
            let read = pin!(self.stream.read_buf(&mut self.reading)).poll(context);
            match read {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err("the server closed it".into()),
                Poll::Ready(Ok(_)) => self.take_frames()?,
                Poll::Ready(Err(error)) => return Err(error.to_string()),
            }
        }
    }

    /// Ends the calls whose answers are whole, and hears what the server asks.
    fn take_frames(&mut self) -> Result<(), String> {
        let mut wake: Vec<Waker> = Vec::new();
        let taken = {
            let mut state = self.shared.state();
            state.heard = self.shared.epoch.elapsed();
            loop {
                let (frame, bytes) = match frame::decode(&self.reading) {
                    Ok(Decoded::Frame(frame, bytes)) => (frame, bytes),
                    Ok(Decoded::Incomplete { .. }) => break Ok(()),
                    Err(error) => break Err(error.to_string()),
                };
                let (head_bytes, format) = (frame.head.len(), frame.format);
                let head = match self.scratch.decode(format, frame.head) {
                    Ok(head) => head,
                    Err(error) => break Err(error.to_string()),
                };
                if !head.is_response() {
                    let asked = Asked { head, body: frame.body };
                    let code = self.inbox.asked(&self.shared.address, &asked);
                    if !head.is_one_way() {
                        owe(code, head.opaque, format, &mut self.owed);
                    }
                    self.reading.advance(bytes);
                    continue;
                }
                let (code, opaque) = (head.code, head.opaque);
                let remark = head.remark.map(str::to_owned);
                let body = if frame.body.is_empty() {
                    self.reading.advance(bytes);
                    Bytes::new()
                } else {
                    self.reading.split_to(bytes).freeze().slice(8 + head_bytes..)
                };
                let from = self.shared.address.clone();
                let answer = Answer { from, code, remark, body, head: mem::take(&mut self.scratch) };
                wake.extend(state.calls.end(opaque, Ok(answer)).flatten());
            }
        };
        wake.into_iter().for_each(Waker::wake);
        if self.owed.len() > OWED_BYTES_MAX {
            return Err("the server asks, and reads no answers".into());
        }
        taken
    }

    /// Ends the calls whose deadlines have come.
    fn expire(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        // An idle connection wakes nobody.
        while self.shared.state().calls.waiting() > 0 && self.tick.as_mut().poll(context).is_ready() {
            self.tick.as_mut().reset(Instant::now() + DEADLINE_GRAIN);
            let now = self.shared.epoch.elapsed();
            let mut wake = Vec::new();
            let mut is_silent = false;
            {
                let mut state = self.shared.state();
                let (written, heard) = (state.written, state.heard);
                let end = |call: &Waiting<Waker>| {
                    (call.deadline <= now).then(|| {
                        is_silent |= heard < call.began && written > call.frame_at;
                        Err(self.late(call.deadline - call.began, written > call.frame_at))
                    })
                };
                state.calls.end_those(end, &mut wake);
            }
            wake.into_iter().for_each(Waker::wake);
            if is_silent {
                return Err("nothing came from the server for as long as a call waited".into());
            }
        }
        Ok(())
    }

    fn late(&self, after: Duration, sent: bool) -> Error {
        Error::TimedOut { address: self.shared.address.to_string(), after, sent }
    }
}

fn owe(code: i32, opaque: i32, format: HeadFormat, owed: &mut Vec<u8>) {
    OutHead { format, code, opaque, flag: FLAG_RESPONSE, remark: None, fields: &[] }.encode(owed, 0);
}
