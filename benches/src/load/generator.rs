//! The loop that sends requests, waits, and measures the answers.
//!
//! One turn: hand out what is due and write each connection once, sleep until something can be read or the next request is
//! due, read each ready connection once and write what it asks in return.
//!
//! ```text
//! 0 ─────────── steady ─────────────────────── steady + measure ───────── drained
//! │  answers checked  │ answers checked and measured │ nothing asked, answers awaited
//! ```
//!
//! Not here: which request is in flight and what is measured (`ledger`), what is asked (`Work`), when (`pace`).

use super::ledger::{Ledger, Measured};
use super::pace::Pace;
use super::socket::Socket;
use super::warm_up::WarmUp;
use super::{LoadError, Moment, Work, since_epoch_ns};
use crate::os::Poll;
use ringmq_wire::HeadScratch;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How a run goes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The brokers; connections go to them in turn.
    pub targets: Vec<SocketAddr>,
    /// Connections over all targets.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub in_flight: usize,
    /// How fast to ask.
    pub pace: Pace,
    /// Answers that come before are checked and not measured.
    pub warm_up: WarmUp,
    /// How long to measure.
    pub measure: Duration,
    /// A server that owes answers and gives none for so long hangs.
    pub patience: Duration,
    /// Length of the windows by which latencies are also kept, if they are.
    pub windows: Option<Duration>,
    /// Ends the run when it is set; what is in flight then is not waited for.
    pub stop: Option<Arc<AtomicBool>>,
}

impl Plan {
    /// Requests in flight over all connections.
    pub fn lanes(&self) -> usize {
        self.connections * self.in_flight
    }
}

/// What a run tells while it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It goes on, and so many messages were answered so far; told a few times a second.
    Going {
        /// Messages, measured or not.
        messages: u64,
    },
    /// Measuring begins.
    Measure,
    /// Measuring ends.
    Drain,
}

/// From one time that it is told how it goes to the next.
const GOING_EVERY: Duration = Duration::from_millis(200);

/// Runs `work` as planned. `tell` is called when measuring begins and when it ends, and now and then.
pub fn run(plan: &Plan, work: &mut impl Work, tell: &mut dyn FnMut(Phase)) -> Result<Measured, LoadError> {
    let mut generator = Generator::connect(plan)?;
    let mut ready = Vec::new();
    let mut tell_at = GOING_EVERY;
    loop {
        let now = generator.now();
        if now >= tell_at {
            tell(Phase::Going { messages: generator.ledger.messages() });
            tell_at = now + GOING_EVERY;
        }
        if generator.ledger.begin_measuring(now) {
            tell(Phase::Measure);
        }
        if generator.ledger.end_asking(now) {
            tell(Phase::Drain);
        }
        let is_stopped = plan.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed));
        if generator.ledger.is_drained() || is_stopped {
            return Ok(generator.ledger.into_measured());
        }
        generator.ask_what_is_due(work);
        generator.write()?;
        let now = generator.now();
        let sleep = generator.ledger.may_sleep(now);
        generator.poll.wait(sleep, &mut ready).map_err(io("wait for answers"))?;
        let woke = generator.now();
        generator.ledger.slept(sleep, now, woke);
        for connection in &ready {
            generator.read_and_write(*connection, work)?;
        }
        let now = generator.now();
        generator.ledger.check_that_it_lives(now, plan.patience)?;
    }
}

struct Generator {
    poll: Poll,
    sockets: Vec<Socket>,
    ledger: Ledger,
    started: Instant,
    /// Connections that may have something to write.
    dirty: Vec<usize>,
    buffer: Vec<u8>,
    /// What a connection writes into that has nothing left to write; empty.
    spare: Vec<u8>,
    scratch: HeadScratch,
}

impl Generator {
    fn connect(plan: &Plan) -> Result<Generator, LoadError> {
        let poll = Poll::new().map_err(io("make an epoll set"))?;
        let sockets = (0..plan.connections)
            .map(|token| Socket::connect(plan.targets[token % plan.targets.len()], token, &poll))
            .collect::<Result<_, _>>()
            .map_err(io("connect to the server"))?;
        // Moment 0 comes last: what takes time before it delays no schedule.
        let mut ledger = Ledger::new(plan);
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let started = Instant::now();
        ledger.starts_at(Moment { wall_ms: wall.as_millis() as u64, due_ns: since_epoch_ns(started) });
        Ok(Generator {
            poll,
            sockets,
            ledger,
            started,
            dirty: Vec::new(),
            buffer: Vec::new(),
            spare: Vec::new(),
            scratch: HeadScratch::default(),
        })
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn ask_what_is_due(&mut self, work: &mut impl Work) {
        let now = self.now();
        while let Some((lane, due)) = self.ledger.next_due(now) {
            let connection = self.ledger.connection_of(lane);
            self.dirty.push(connection);
            self.ledger.ask(lane, due, now, work, &mut self.sockets[connection].out);
        }
    }

    fn write(&mut self) -> Result<(), LoadError> {
        for connection in self.dirty.drain(..) {
            self.sockets[connection].write(&self.poll).map_err(io("send requests"))?;
        }
        Ok(())
    }

    /// Reads once, and writes what is asked in return.
    fn read_and_write(&mut self, connection: usize, work: &mut impl Work) -> Result<(), LoadError> {
        let mut now = None;
        let Generator { sockets, ledger, buffer, scratch, started, poll, spare, .. } = self;
        let socket = &mut sockets[connection];
        // One buffer for all connections that have nothing left to write stays in the nearest cache.
        let is_spare = socket.out.is_empty();
        if is_spare {
            mem::swap(&mut socket.out, spare);
        }
        socket.read(buffer, |frame, out| {
            let now = *now.get_or_insert_with(|| started.elapsed());
            let head = scratch.decode(frame.format, frame.head)?;
            if head.is_response() {
                ledger.answered(connection, &head, frame.body, now, work, out)?;
            }
            Ok(())
        })?;
        socket.write(poll).map_err(io("send requests"))?;
        if is_spare && socket.out.is_empty() {
            mem::swap(&mut socket.out, spare);
        }
        Ok(())
    }
}

fn io(operation: &'static str) -> impl Fn(std::io::Error) -> LoadError {
    move |source| LoadError::Io { operation, source }
}
