//! One connection to one server, as its callers see it: calls go in, answers come out.
//!
//! ```text
//! call ──frame──► out ──pump──► socket          many callers fill `out`, one task empties it:
//!   │                                           what many send at once leaves in few writes
//!   └── opaque ◄──────pump───── socket
//! ```
//!
//! Invariants
//!  1. A call that ended with an error says whether a byte of it had left. If none had, it has had no effect.
//!  2. Dropping a call forgets its answer. What was queued is sent all the same.
//!  3. Once a connection is closed every call ends, at once, and no call begins.
//!
//! Not here: reading and writing (`pump`), reconnecting (`connections`), how many bytes may be under way.

use super::answer::Answer;
use crate::error::Error;
use crate::rules::calls::{Calls, Look, Waiting};
use ringmq_wire::command::FLAG_ONE_WAY;
use ringmq_wire::{HeadFormat, OutHead, Value};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub code: i32,
    pub fields: &'a [(&'a str, Value<'a>)],
    pub body: &'a [u8],
}

/// How a call ended.
type Ended = Result<Answer, Error>;

/// One connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Connection(pub(super) Arc<Shared>);

/// What callers and the pump share. The lock is held for as long as it takes to copy a frame.
#[derive(Debug)]
pub(super) struct Shared {
    pub address: Arc<str>,
    pub state: Mutex<State>,
    /// Times in the table of calls are counted from here.
    pub epoch: Instant,
}

#[derive(Debug)]
pub(super) struct State {
    /// Frames that no write has begun with.
    pub out: Vec<u8>,
    /// Bytes ever put into `out`, and ever taken by the socket.
    pub queued: u64,
    pub written: u64,
    pub calls: Calls<Ended, Waker>,
    /// Room held by one-way requests, by where they end among all bytes.
    pub unwritten: VecDeque<(u64, OwnedSemaphorePermit)>,
    /// Wakes the pump while it has nothing to write.
    pub pump: Option<Waker>,
    /// When anything came last.
    pub heard: Duration,
    pub closed: Option<String>,
}

impl Shared {
    pub fn new(address: Arc<str>) -> Shared {
        let state = State {
            out: Vec::new(),
            queued: 0,
            written: 0,
            calls: Calls::new(),
            unwritten: VecDeque::new(),
            pump: None,
            heard: Duration::ZERO,
            closed: None,
        };
        Shared { address, state: Mutex::new(state), epoch: Instant::now() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held can only be a caller's allocation: what is in it is whole.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn lost(&self, reason: &str, sent: bool) -> Error {
        Error::Lost { address: self.address.to_string(), reason: reason.to_owned(), sent }
    }
}

impl State {
    /// The socket took so many bytes more.
    pub fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
        while self.unwritten.front().is_some_and(|(end, _)| *end <= self.written) {
            self.unwritten.pop_front();
        }
    }

    /// Appends a frame, and gives what wakes the pump, if it waits for one.
    fn push(&mut self, request: &Request<'_>, opaque: i32, flag: i32) -> Option<Waker> {
        let had = self.out.len();
        let head = OutHead {
            format: HeadFormat::Json,
            code: request.code,
            opaque,
            flag,
            remark: None,
            fields: request.fields,
        };
        head.encode(&mut self.out, request.body.len());
        self.out.extend_from_slice(request.body);
        self.queued += (self.out.len() - had) as u64;
        self.pump.take()
    }
}

impl Connection {
    pub fn is_closed(&self) -> bool {
        self.0.state().closed.is_some()
    }

    /// Whether nobody waits for an answer.
    pub fn is_idle(&self) -> bool {
        self.0.state().calls.waiting() == 0
    }

    /// Closes it: whoever waits learns `reason`.
    pub fn close(&self, reason: &str) {
        let mut wake = Vec::new();
        {
            let mut state = self.0.state();
            if state.closed.is_none() {
                state.closed = Some(reason.to_owned());
            }
            let written = state.written;
            state.calls.end_those(|call| Some(Err(self.0.lost(reason, written > call.frame_at))), &mut wake);
            state.unwritten.clear();
            wake.extend(state.pump.take());
        }
        wake.into_iter().for_each(Waker::wake);
    }

    /// Begins a call. `room` is the share of the bytes under way that it holds until it ends.
    ///
    /// Dropping the call forgets its answer; the request is sent all the same.
    pub fn call(&self, request: &Request<'_>, deadline: Instant, room: Option<OwnedSemaphorePermit>) -> Call {
        let since_epoch = |moment: Instant| moment.saturating_duration_since(self.0.epoch);
        let mut pump = None;
        let begun = {
            let mut state = self.0.state();
            let waiting = Waiting {
                waker: None,
                began: since_epoch(Instant::now()),
                deadline: since_epoch(deadline),
                frame_at: state.queued,
            };
            if let Some(reason) = &state.closed {
                Err(self.0.lost(reason, false))
            } else if let Some(opaque) = state.calls.begin(waiting) {
                pump = state.push(request, opaque, 0);
                Ok(opaque)
            } else {
                Err(Error::Full { bytes: request.body.len(), after: Duration::ZERO })
            }
        };
        if let Some(pump) = pump {
            pump.wake();
        }
        Call { shared: self.0.clone(), begun: Some(begun), _room: room }
    }

    /// Queues a request that the server does not answer. `room` is given back when the socket has taken it.
    pub fn one_way(&self, request: &Request<'_>, room: OwnedSemaphorePermit) -> Result<(), Error> {
        let pump = {
            let mut state = self.0.state();
            if let Some(reason) = &state.closed {
                return Err(self.0.lost(reason, false));
            }
            // No call has this number, so an answer that comes all the same goes to nobody.
            let pump = state.push(request, i32::MAX, FLAG_ONE_WAY);
            let end = state.queued;
            state.unwritten.push_back((end, room));
            pump
        };
        if let Some(pump) = pump {
            pump.wake();
        }
        Ok(())
    }
}

/// A call under way: a future of its answer.
#[derive(Debug)]
pub(crate) struct Call {
    shared: Arc<Shared>,
    /// The call's number, or why it never began; nothing once it ended.
    begun: Option<Result<i32, Error>>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Future for Call {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        let opaque = match self.begun.take() {
            Some(Ok(opaque)) => opaque,
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => return Poll::Ready(Err(self.shared.lost("the call has ended", true))),
        };
        let keep = |had: Option<Waker>| match had {
            Some(waker) if waker.will_wake(context.waker()) => waker,
            _ => context.waker().clone(),
        };
        let look = self.shared.state().calls.look(opaque, keep);
        match look {
            Some(Look::Waiting) => {
                self.begun = Some(Ok(opaque));
                Poll::Pending
            }
            Some(Look::Ended(how)) => Poll::Ready(how),
            None => Poll::Ready(Err(self.shared.lost("the call has ended", true))),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(Ok(opaque)) = self.begun {
            self.shared.state().calls.forget(opaque);
        }
    }
}
