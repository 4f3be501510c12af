//! A server that is no broker: it stores nothing and answers sends as it was told to. What a harness reports of it is known
//! beforehand, so it tests the harness.
//!
//! ```text
//! at once        what the generator can do at most
//! after 400 ms   every percentile is 400 ms
//! pausing        of every 2 s, the first 400 ms: percentile q > 0.8 is (q − 0.8) · 2 s
//! ```
//!
//! Its answers are right: the queue that was asked for, and dense offsets. It runs on a thread and a core of its own.
//!
//! Not here: requests other than sends (310); it closes the connection of who asks anything else.

mod reply;

use crate::load::LoadError;
use crate::load::socket::Socket;
use crate::os::{self, Poll};
use reply::{Ask, Replies};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longest sleep, so that the end is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(20);
/// So long after a request it looks for the next one without sleeping, as a busy server does: to be woken costs its client,
/// whose send wakes it, more than the send.
const SPIN: Duration = Duration::from_micros(200);
/// The listener's token.
const LISTENER: usize = usize::MAX;

/// When the responder answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As soon as it can.
    AtOnce,
    /// So long after the request came.
    After(Duration),
    /// At once, save that it stands still for the first `pause` of every `every`.
    Pausing {
        /// From one pause to the next.
        every: Duration,
        /// Length of a pause.
        pause: Duration,
    },
}

impl Behaviour {
    /// When to answer a request that came `at`.
    fn answers_at(self, at: Duration) -> Duration {
        match self {
            Behaviour::AtOnce => at,
            Behaviour::After(delay) => at + delay,
            Behaviour::Pausing { every, pause } => {
                let into = Duration::from_nanos((at.as_nanos() % every.as_nanos().max(1)) as u64);
                at + pause.saturating_sub(into)
            }
        }
    }
}

/// A running responder; it ends when this is dropped.
#[derive(Debug)]
pub struct Responder {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Responder {
    /// Starts one on a free port of loopback, on this core.
    pub fn start(behaviour: Behaviour, core: usize) -> io::Result<Responder> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            os::keep_to_cores(&[core])?;
            Serving::new(listener, behaviour)?.run(&stopped)
        });
        Ok(Responder { address, stop, thread: Some(thread) })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            eprintln!("the responder failed: {error}");
        }
    }
}

/// The state of a responder's thread.
struct Serving {
    poll: Poll,
    listener: TcpListener,
    behaviour: Behaviour,
    /// By token; who has left has none.
    sockets: Vec<Option<Socket>>,
    replies: Replies,
    /// Requests not yet answered; the moments of their answers never decrease.
    waiting: VecDeque<Waiting>,
    buffer: Vec<u8>,
    started: Instant,
}

struct Waiting {
    at: Duration,
    token: usize,
    ask: Ask,
}

impl Serving {
    fn new(listener: TcpListener, behaviour: Behaviour) -> io::Result<Serving> {
        let poll = Poll::new()?;
        poll.add(listener.as_raw_fd(), LISTENER)?;
        Ok(Serving {
            poll,
            listener,
            behaviour,
            sockets: Vec::new(),
            replies: Replies::default(),
            waiting: VecDeque::new(),
            buffer: Vec::new(),
            started: Instant::now(),
        })
    }

    fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut ready = Vec::new();
        let mut spins_until = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            let now = self.started.elapsed();
            let until = self.waiting.front().map(|first| first.at.saturating_sub(now));
            let sleep = if now < spins_until { Duration::ZERO } else { SLEEP_MAX };
            self.poll.wait(until.unwrap_or(sleep).min(sleep), &mut ready)?;
            if !ready.is_empty() {
                spins_until = self.started.elapsed() + SPIN;
            }
            for token in &ready {
                match *token {
                    LISTENER => self.accept()?,
                    token => self.serve(token),
                }
            }
            self.answer_what_is_due();
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                let socket = Socket::new(stream, self.sockets.len(), &self.poll)?;
                self.sockets.push(Some(socket));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads once and notes what is asked; who errs or leaves is forgotten.
    fn serve(&mut self, token: usize) {
        let Serving { sockets, replies, waiting, buffer, behaviour, started, poll, .. } = self;
        let Some(slot) = sockets.get_mut(token) else { return };
        let Some(socket) = slot else { return };
        let at = behaviour.answers_at(started.elapsed());
        let read = socket.read(buffer, |frame, out| {
            let ask = replies.read(frame).ok_or(LoadError::Closed)?;
            match behaviour {
                Behaviour::AtOnce => replies.write(ask, out),
                _ => waiting.push_back(Waiting { at, token, ask }),
            }
            Ok(())
        });
        if read.is_err() || socket.write(poll).is_err() {
            *slot = None;
        }
    }

    fn answer_what_is_due(&mut self) {
        let now = self.started.elapsed();
        let mut dirty = Vec::new();
        while let Some(due) = self.waiting.pop_front_if(|first| first.at <= now) {
            if let Some(Some(socket)) = self.sockets.get_mut(due.token) {
                self.replies.write(due.ask, &mut socket.out);
                dirty.push(due.token);
            }
        }
        for token in dirty {
            let Some(slot) = self.sockets.get_mut(token) else { continue };
            if slot.as_mut().is_some_and(|socket| socket.write(&self.poll).is_err()) {
                *slot = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_when_the_arithmetic_says() {
        let ms = Duration::from_millis;
        let pausing = Behaviour::Pausing { every: ms(1000), pause: ms(200) };
        for (behaviour, at, expected) in [
            (Behaviour::AtOnce, 7, 7),
            (Behaviour::After(ms(100)), 7, 107),
            (pausing, 0, 200),
            (pausing, 199, 200),
            (pausing, 200, 200),
            (pausing, 999, 999),
            (pausing, 1000, 1200),
            (pausing, 1150, 1200),
        ] {
            assert_eq!(behaviour.answers_at(ms(at)), ms(expected), "{behaviour:?} at {at} ms");
        }
    }
}
