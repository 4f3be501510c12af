//! `mixed`: producers, while a consumer that is behind is served from the disk.
//!
//! A topic is filled with far more than the server keeps in memory. A first round finds the maximum rate of sends. Then
//! rounds at a share of it, on a fixed schedule, alternate: without the consumer and with it. It goes through the filled
//! topic again and again, as fast as it is served.
//!
//! Both generators share one core of the machine. The consumer's thread gives way to the producers', so that it does not
//! measure how the two disturb each other there; on a machine with more cores, its rate would be higher.

use super::shape::{Shape, Width};
use super::stage::{self, Set, Stage};
use super::{CommandError, failed_to};
use crate::load::generator;
use crate::load::pull::Pull;
use crate::load::send::Send;
use crate::load::{LoadError, topic};
use crate::os;
use crate::process::Server;
use crate::report::{Bar, Report, Round, ratio};
use clap::Args;
use std::thread;
use std::time::Duration;

/// The consumer may make the 99.9th percentile of sends so many times longer.
const P999_RATIO_MAX: f64 = 1.3;
/// Of the rate without the consumer.
const RATE_KEPT: f64 = 0.99;
/// Messages per request while the topic is filled.
const FILL_BATCH: usize = 32;
/// The consumer begins so much before the producers, and ends so much after them.
const READER_MARGIN: Duration = Duration::from_millis(300);

/// What a consumer that is behind costs the producers.
#[derive(Debug, Args)]
pub struct Mixed {
    #[command(flatten)]
    stage: Stage,
    /// Producers: connections x requests in flight.
    #[arg(long, default_value = "64x8")]
    width: Width,
    /// Bytes of all bodies of the topic that is read.
    #[arg(long, default_value_t = 4_000_000_000)]
    bytes: u64,
    /// Bytes of each message's body.
    #[arg(long, default_value_t = 1024)]
    body: usize,
    /// Of the maximum rate.
    #[arg(long, default_value_t = 0.5)]
    share: f64,
    /// Seconds to measure in each round.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Rounds without and with the consumer.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

impl Mixed {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.with("log.tail_cache=16MiB".into()).set()?;
        let mut report = set.report("mixed");
        let server = set.start_ringmq(1)?;
        let filled = Shape { batch: FILL_BATCH, ..self.shape(None) }.messages(set.topic());
        let ends = stage::fill(&server, &filled, self.bytes / self.body.max(1) as u64)?.concat();

        let fastest = set.send(&server, &self.shape(None), self.width)?;
        let rate = fastest.per_second * self.share;
        report.rounds.push(fastest);
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            // Whoever comes second finds another machine; so they take turns at that too.
            for has_reader in [round % 2 != 0, round % 2 == 0] {
                if has_reader {
                    let (measured, bytes_per_second) =
                        self.with_reader(&mut set, &server, rate, &filled.topic, &ends)?;
                    let name = format!("round {}: the consumer, records as stored", round + 1);
                    report.fact(name, bytes_per_second / 1e6, "MB/s");
                    with.push(measured);
                } else {
                    without.push(set.send(&server, &self.shape(Some(rate)), self.width)?);
                }
            }
        }
        tell(&mut report, &without, &with);
        report.rounds.extend(without.into_iter().zip(with).flat_map(|(without, with)| [without, with]));
        if let Some(last) = report.rounds.last_mut() {
            last.hear(server.stop());
        }
        Ok(report)
    }

    /// A round of sends beside the consumer; and the bytes per second that this was served.
    fn with_reader(
        &self,
        set: &mut Set,
        server: &Server,
        rate: f64,
        read_topic: &str,
        ends: &[u64],
    ) -> Result<(Round, f64), CommandError> {
        let shape = self.shape(Some(rate));
        let messages = shape.messages(set.topic());
        topic::create(&server.brokers, &messages.topic, messages.queues)?;
        let plan = shape.plan(self.width, server.brokers.clone());
        let mut sends = Send::new(&messages, &[vec![0; usize::from(messages.queues)]], plan.lanes());
        let mut consumer = Pull::forever(read_topic, ends);
        let mut consuming = Shape { seconds: self.seconds, ..Shape::cold() }
            .plan(Width { connections: 1, in_flight: ends.len() }, server.brokers.clone());
        consuming.measure = plan.warm_up.most + plan.measure + 2 * READER_MARGIN;
        let load = format!("send {} beside a consumer that is behind", shape.name(self.width));
        let (round, consumed) = thread::scope(|scope| {
            let consumer = &mut consumer;
            let reader = scope.spawn(move || -> Result<Duration, CommandError> {
                os::give_way().map_err(failed_to("lower the consumer's priority"))?;
                Ok(generator::run(&consuming, consumer, &mut |_| {})?.elapsed)
            });
            thread::sleep(READER_MARGIN);
            let round = set.measure(server, &load, &plan, &mut sends);
            (round, reader.join())
        });
        let elapsed =
            consumed.map_err(|_| CommandError::Usage("the consumer's thread panicked".into()))??;
        sends.finish().map_err(LoadError::Wrong)?;
        Ok((round?, consumer.record_bytes as f64 / elapsed.as_secs_f64().max(1e-9)))
    }

    fn shape(&self, rate: Option<f64>) -> Shape {
        Shape { body: self.body, rate, seconds: self.seconds, warm_up_most: 1.0, ..Shape::default() }
    }
}

fn tell(report: &mut Report, without: &[Round], with: &[Round]) {
    let ratio = |of: fn(&Round) -> f64| Some(median(with, of)? / median(without, of)?);
    for (name, rounds) in [("without", without), ("with", with)] {
        if let Some(p999) = median(rounds, |round| round.latency.p999_us) {
            report.fact(format!("p99.9 of sends {name} the consumer, median of the rounds"), p999, "µs");
        }
    }
    let kept = ratio(|round| round.per_second);
    report.bars.push(Bar::at_least("rate of sends with the consumer, to that without", RATE_KEPT, kept, "x"));
    let p999 = ratio(|round| round.latency.p999_us);
    let name = "p99.9 of sends with the consumer, to that without";
    report.bars.push(Bar::at_most(name, P999_RATIO_MAX, p999, "x"));
}

fn median(rounds: &[Round], of: fn(&Round) -> f64) -> Option<f64> {
    ratio::median(rounds.iter().map(of).collect())
}
