//! `topics`: what many topics cost: to make them, and at each send.
//!
//! Two servers, each in a fresh folder: one with a topic of a few queues, one with many topics. Rounds are taken in turn,
//! the other server stopped from running (SIGSTOP) meanwhile, and go through all queues one after the other, so that each
//! send meets a queue that was not used for as long as can be.
//!
//! Topics are made one after the other over one connection, each answer durable, as a script with an admin client does.
//! The name server is asked for the last one until it knows it.

use super::shape::{Shape, Width};
use super::stage::{Set, Stage};
use super::{CommandError, failed_to};
use crate::load::send::Messages;
use crate::load::topic;
use crate::process::Server;
use crate::report::ratio::median;
use crate::report::{Bar, Report, Round};
use clap::Args;
use std::thread;
use std::time::{Duration, Instant};

/// Of the rate with few queues.
const RATE_MIN: f64 = 0.9;
/// A name server that does not know a topic after so long will not.
const ROUTE_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const ROUTE_STEP: Duration = Duration::from_millis(1);

/// What many topics cost: to make, and at each send.
#[derive(Debug, Args)]
pub struct Topics {
    #[command(flatten)]
    stage: Stage,
    #[command(flatten)]
    shape: Shape,
    /// Connections x requests in flight.
    #[arg(long, default_value = "64x8")]
    width: Width,
    /// Topics of the server with many; each has as many queues as the other server's one.
    #[arg(long, default_value_t = 10_000)]
    topics: u32,
    /// Rounds of each server.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// A server with its topics.
struct Side {
    server: Server,
    messages: Messages,
    ends: Vec<Vec<u64>>,
    load: String,
}

impl Topics {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report("topics");
        set.measure_machine(&mut report)?;
        let mut few = self.side(&mut set, None)?;
        let mut many = self.side(&mut set, Some(self.topics))?;
        make(&few, &mut Report::new(String::new(), report.machine.clone()))?;
        make(&many, &mut report)?;
        for side in [&few, &many] {
            side.server.pause().map_err(failed_to("pause a server"))?;
        }
        for round in 0..self.rounds {
            // Whoever comes second finds another machine; so they take turns at that too.
            let mut turn = [&mut few, &mut many];
            turn.rotate_left(round % 2);
            for side in turn {
                side.server.resume().map_err(failed_to("resume a server"))?;
                report.rounds.push(self.round(&set, side)?);
                side.server.pause().map_err(failed_to("pause a server"))?;
            }
        }
        let of_side = |side: &Side, of: fn(&Round) -> Option<f64>| {
            median(report.rounds.iter().filter(|round| round.load == side.load).filter_map(of).collect())
        };
        let rate = |side| of_side(side, |round| Some(round.per_second));
        let ratio = rate(&few).zip(rate(&many)).map(|(few, many)| many / few.max(1.0));
        let name = format!(
            "rate with {} queues, to that with {}",
            many.messages.all_queues(),
            few.messages.all_queues()
        );
        report.bars.push(Bar::at_least(name, RATE_MIN, ratio, "x"));
        let cost = |side| of_side(side, |round| Some(round.cost?.cpu_us_per_message));
        if let Some((few, many)) = cost(&few).zip(cost(&many)) {
            report.fact("server CPU per send with many queues, to that with few", many / few, "x");
        }
        for side in [few, many] {
            side.server.stop();
        }
        Ok(report)
    }

    fn side(&self, set: &mut Set, topics: Option<u32>) -> Result<Side, CommandError> {
        let messages = Messages { topics, ..self.shape.messages(set.topic()) };
        let load = format!("send {} to {} queues", self.shape.name(self.width), messages.all_queues());
        Ok(Side { server: set.start(1)?, ends: vec![vec![0; messages.all_queues()]], messages, load })
    }

    fn round(&self, set: &Set, side: &mut Side) -> Result<Round, CommandError> {
        let plan = self.shape.plan(self.width, side.server.brokers.clone());
        set.send_on(&side.server, &side.load, &plan, &side.messages, &mut side.ends)
    }
}

/// Makes the topics, and waits until the name server knows the last.
fn make(side: &Side, report: &mut Report) -> Result<(), CommandError> {
    let Messages { topic: prefix, topics, queues, .. } = &side.messages;
    let name = |number| match topics {
        Some(_) => Messages::topic_of(prefix, number),
        None => prefix.clone(),
    };
    let count = topics.unwrap_or(1);
    eprintln!("making {count} topics of {queues} queues …");
    let started = Instant::now();
    topic::create_each(side.server.brokers[0], (0..count).map(name), *queues)?;
    report.fact(
        format!("to make {count} topics one by one, each durable"),
        started.elapsed().as_secs_f64(),
        "s",
    );
    if let Some(name_server) = side.server.name_server {
        let made = Instant::now();
        while let Err(error) = topic::route(name_server, &name(count - 1)) {
            if made.elapsed() > ROUTE_PATIENCE {
                return Err(error.into());
            }
            thread::sleep(ROUTE_STEP);
        }
        report.fact("until the name server knew the last", made.elapsed().as_secs_f64() * 1e3, "ms");
    }
    if let Ok(usage) = side.server.usage() {
        report.fact("anonymous memory then", usage.rss_anon_bytes as f64 / f64::from(1 << 20), "MiB");
    }
    Ok(())
}
