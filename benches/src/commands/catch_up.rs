//! `catch-up`: a consumer that is behind, served from the disk.
//!
//! The topic is filled with far more than the server keeps in memory, and read with direct I/O, so no cache helps. Then one
//! consumer goes through it: one connection, one pull in flight for each queue, 32 records each, as a client of RocketMQ
//! does. Beside each round stand the two things that bound it: what `fio` reads of the same files, and what one stream
//! carries over loopback.

use super::CommandError;
use super::shape::{Shape, Width};
use super::stage::{self, Stage};
use crate::load::pull::Pull;
use crate::report::{Bar, Report};
use clap::Args;
use std::time::Duration;

/// Of the slower of disk and loopback.
const SHARE: f64 = 0.85;
/// Messages per request while the topic is filled.
const FILL_BATCH: usize = 32;
/// Longer is no round.
const ROUND_MAX: Duration = Duration::from_secs(600);

/// How fast one consumer that is behind is served from the disk.
#[derive(Debug, Args)]
pub struct CatchUp {
    #[command(flatten)]
    stage: Stage,
    /// Bytes of all bodies together.
    #[arg(long, default_value_t = 8_000_000_000)]
    bytes: u64,
    /// Bytes of each message's body.
    #[arg(long, default_value_t = 1024)]
    body: usize,
    /// Queues of the topic.
    #[arg(long, default_value_t = 8)]
    queues: u16,
    /// Times that the consumer goes through all.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl CatchUp {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        // So that next to nothing of it is in memory.
        let mut set = self.stage.with("log.tail_cache=1MiB".into()).set()?;
        let mut report = set.report("catch-up");
        let server = set.start_ringmq(1)?;
        let shape = Shape {
            body: self.body,
            batch: FILL_BATCH,
            queues: self.queues,
            seconds: ROUND_MAX.as_secs_f64(),
            ..Shape::cold()
        };
        let messages = shape.messages(set.topic());
        let ends = stage::fill(&server, &messages, self.bytes / self.body.max(1) as u64)?.concat();
        let load = format!("catch up 1x{} {} B", self.queues, self.body);
        let mut ratios = Vec::new();
        for round in 1..=self.rounds {
            let yardsticks = set.measure_yardsticks(&server)?;
            let width = Width { connections: 1, in_flight: ends.len() };
            let mut consumer = Pull::once(&messages.topic, &ends);
            let measured =
                set.measure(&server, &load, &shape.plan(width, server.brokers.clone()), &mut consumer)?;
            let seconds = ends.iter().sum::<u64>() as f64 / measured.per_second.max(1.0);
            let rate = consumer.record_bytes as f64 / seconds;
            ratios.push(rate / yardsticks.slower());
            let mb = |bytes: f64| bytes / 1e6;
            report.fact(
                format!("round {round}: disk, sequential direct reads"),
                mb(yardsticks.disk_bytes_per_second),
                "MB/s",
            );
            report.fact(
                format!("round {round}: loopback, one stream"),
                mb(yardsticks.stream_bytes_per_second),
                "MB/s",
            );
            report.fact(format!("round {round}: the consumer, records as stored"), mb(rate), "MB/s");
            report.rounds.push(measured);
        }
        if let Some(last) = report.rounds.last_mut() {
            last.hear(server.stop());
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2).copied();
        report.bars.push(Bar::at_least(
            "cold catch-up, to the slower of disk and loopback, median",
            SHARE,
            median,
            "x",
        ));
        Ok(report)
    }
}
