//! The workloads: what is asked of a server in one round, written so that any server can be asked it.
//!
//! | written | what |
//! | --- | --- |
//! | `produce:64x8` | sends, each connection again as soon as it is answered |
//! | `produce:16x32@5000` | sends at a fixed rate, 5,000 a second over all connections |
//! | `end-to-end:4@2000` | messages on their whole way through 4 queues to a consumer that waits for them, 2,000 a second |
//! | `catch-up:400000` | one consumer of so many messages just written: one connection, one pull in flight per queue |
//!
//! Not here: rounds in turn (`contest`), servers (`contestant`).

use super::CommandError;
use super::shape::{Shape, Width};
use super::stage::{self, Set};
use crate::load::generator::{self, Phase, Plan};
use crate::load::ledger::{self, Measured};
use crate::load::pull::Pull;
use crate::load::send::Send;
use crate::load::tail::{Meeting, Tail};
use crate::load::timeline::Timeline;
use crate::load::warm_up::WarmUp;
use crate::load::{LoadError, Wrong, since_epoch_ns, topic};
use crate::process::Server;
use crate::report::Round;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Messages per request while a topic is filled.
const FILL_BATCH: usize = 32;
/// Connections and requests in flight of an end-to-end load: enough that no message waits for a place.
const SENDERS: Width = Width { connections: 16, in_flight: 8 };
/// The consumer's pulls are parked by then.
const PARKED_AFTER: Duration = Duration::from_millis(200);
/// What is not received so long after the last send is lost.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);
/// Longer is no round.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// A parked pull may be answered so late; brokers look at them every few seconds.
const PARKED_MAX: Duration = Duration::from_secs(30);

/// What is asked of a server in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Workload {
    /// Sends; without a rate, each connection again as soon as it is answered.
    Produce {
        /// Connections and requests in flight.
        width: Width,
        /// Requests per second.
        rate: Option<f64>,
    },
    /// Messages on their whole way.
    EndToEnd {
        /// Queues of the topic.
        queues: u16,
        /// Messages per second.
        rate: f64,
    },
    /// One consumer of messages just written.
    CatchUp {
        /// How many.
        messages: u64,
    },
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Workload::Produce { width, rate: None } => write!(f, "produce:{width}"),
            Workload::Produce { width, rate: Some(rate) } => write!(f, "produce:{width}@{rate}"),
            Workload::EndToEnd { queues, rate } => write!(f, "end-to-end:{queues}@{rate}"),
            Workload::CatchUp { messages } => write!(f, "catch-up:{messages}"),
        }
    }
}

impl FromStr for Workload {
    type Err = String;
    fn from_str(text: &str) -> Result<Workload, String> {
        parse(text).ok_or_else(|| {
            format!(
                "{text} is not like produce:64x8, produce:16x32@5000, end-to-end:4@2000 or catch-up:400000"
            )
        })
    }
}

fn parse(text: &str) -> Option<Workload> {
    let (kind, rest) = text.split_once(':')?;
    let (what, rate) = match rest.split_once('@') {
        Some((what, rate)) => {
            (what, Some(rate.parse::<f64>().ok().filter(|rate| *rate >= 1.0 && *rate <= 1e7)?))
        }
        None => (rest, None),
    };
    match kind {
        "produce" => Some(Workload::Produce { width: what.parse().ok()?, rate }),
        "end-to-end" => {
            let queues = what.parse().ok().filter(|queues| (1..=64).contains(queues))?;
            Some(Workload::EndToEnd { queues, rate: rate? })
        }
        "catch-up" if rate.is_none() => {
            let messages = what.parse().ok().filter(|messages| (1000..=100_000_000).contains(messages))?;
            Some(Workload::CatchUp { messages })
        }
        _ => None,
    }
}

impl Workload {
    /// One round of it.
    pub fn run(&self, set: &mut Set, server: &Server, shape: &Shape) -> Result<Round, CommandError> {
        match *self {
            Workload::Produce { width, rate } => set.send(server, &Shape { rate, ..shape.clone() }, width),
            Workload::EndToEnd { queues, rate } => {
                end_to_end(set, server, &Shape { rate: Some(rate), queues, ..shape.clone() })
            }
            Workload::CatchUp { messages } => catch_up(set, server, shape, messages),
        }
    }
}

fn end_to_end(set: &mut Set, server: &Server, shape: &Shape) -> Result<Round, CommandError> {
    let messages = shape.messages(set.topic());
    topic::create(&server.brokers, &messages.topic, messages.queues)?;
    let plan = shape.plan(SENDERS, server.brokers.clone());
    let ends = vec![vec![0; messages.all_queues()]; server.brokers.len()];
    let mut send = Send::new(&messages, &ends, plan.lanes());
    let meeting = Arc::new(Meeting::default());
    let timeline = Timeline::new(plan.measure, &ledger::empty_histogram());
    let tail = Tail::of(&messages.topic, messages.queues, Arc::clone(&meeting), timeline);
    let load = format!(
        "end to end, {} queues, {} B at {:.0}/s",
        shape.queues,
        shape.body,
        shape.rate.unwrap_or(0.0)
    );
    let round = set.observe(server, &load, &mut |tell| {
        let tell = &mut |phase| {
            if phase == Phase::Measure {
                meeting.from_ns.store(since_epoch_ns(Instant::now()), Ordering::Relaxed);
            }
            tell(phase);
        };
        meet(&plan, &mut send, tail.clone(), &meeting, tell)
    })?;
    send.finish().map_err(LoadError::Wrong)?;
    Ok(round)
}

/// Sends as planned beside a consumer, until all was received; latency is that of the whole way, service that of the send.
fn meet(
    plan: &Plan,
    send: &mut Send,
    mut tail: Tail,
    meeting: &Meeting,
    tell: &mut dyn FnMut(Phase),
) -> Result<Measured, LoadError> {
    let stop = Arc::new(AtomicBool::new(false));
    let receiving = Plan {
        targets: plan.targets.clone(),
        connections: plan.targets.len(),
        in_flight: tail.queues(),
        pace: crate::load::pace::Pace::Closed,
        warm_up: WarmUp::NONE,
        measure: plan.warm_up.most + plan.measure + PARKED_MAX,
        patience: PARKED_MAX,
        windows: None,
        stop: Some(Arc::clone(&stop)),
    };
    thread::scope(|scope| {
        let receiver = scope.spawn(move || generator::run(&receiving, &mut tail, &mut |_| {}).map(|_| tail));
        thread::sleep(PARKED_AFTER);
        let sent = generator::run(plan, send, tell);
        if let Ok(sent) = &sent {
            await_arrival(send.sent() - sent.refused.values().sum::<u64>(), meeting);
        }
        stop.store(true, Ordering::Relaxed);
        let tail = receiver.join().map_err(|_| Wrong("the receiver panicked".into()))??;
        let mut measured = sent?;
        let owed = send.sent() - measured.refused.values().sum::<u64>();
        let received = meeting.received.load(Ordering::Relaxed);
        if received != owed {
            return Err(Wrong(format!("{received} of {owed} messages were received")).into());
        }
        measured.service = measured.latency;
        measured.latency = tail.timeline.all(ledger::empty_histogram());
        measured.messages = measured.latency.len();
        measured.timeline = tail.timeline;
        Ok(measured)
    })
}

fn await_arrival(owed: u64, meeting: &Meeting) {
    let since = Instant::now();
    while meeting.received.load(Ordering::Relaxed) < owed && since.elapsed() < ARRIVES_WITHIN {
        thread::sleep(Duration::from_millis(5));
    }
}

fn catch_up(set: &mut Set, server: &Server, shape: &Shape, count: u64) -> Result<Round, CommandError> {
    let filled = Shape { batch: FILL_BATCH, rate: None, ..shape.clone() }.messages(set.topic());
    let ends = stage::fill(server, &filled, count)?.concat();
    let cold = Shape { seconds: ROUND_MAX.as_secs_f64(), ..Shape::cold() };
    let width = Width { connections: 1, in_flight: ends.len() };
    let load = format!("catch up with {count} messages, 1x{} {} B", ends.len(), shape.body);
    let mut consumer = Pull::once(&filled.topic, &ends);
    set.measure(server, &load, &cold.plan(width, server.brokers.clone()), &mut consumer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_read_as_it_is_written() {
        for text in ["produce:64x8", "produce:16x32@5000", "end-to-end:4@2000", "catch-up:400000"] {
            assert_eq!(text.parse::<Workload>().map(|workload| workload.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "produce",
            "produce:",
            "produce:64",
            "produce:64x8@",
            "produce:64x8@0",
            "produce:64x8@-1",
            "produce:64x8@nan",
            "end-to-end:4",
            "end-to-end:0@5",
            "end-to-end:65@5",
            "catch-up:5@5",
            "catch-up:999",
            "pull:4",
        ] {
            assert!(text.parse::<Workload>().is_err(), "{text}");
        }
    }
}
