//! `end-to-end`: how long a message is on its whole way, from when it was due to when its consumer has it.
//!
//! Producers send at a fixed rate; one consumer waits at every queue with a long poll. Latency is the whole way, service
//! (in the JSON and on the page) is that of the send alone. Every message must arrive, once, in order.

use super::CommandError;
use super::consume::rounds;
use super::shape::Shape;
use super::stage::Stage;
use super::workload::Workload;
use crate::report::Report;
use clap::Args;

/// How long a message is on its whole way to a consumer that waits for it.
#[derive(Debug, Args)]
pub struct EndToEnd {
    #[command(flatten)]
    stage: Stage,
    /// Messages per second.
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// Bytes of each message's body; the first 16 say when it was due.
    #[arg(long, default_value_t = 1024, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(16..=4_000_000))]
    body: usize,
    /// Queues of the topic.
    #[arg(long, default_value_t = 4)]
    queues: u16,
    /// Seconds to measure in each round.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Rounds, each on a server of its own.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl EndToEnd {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let shape = Shape { body: self.body, seconds: self.seconds, ..Shape::default() };
        let workload = Workload::EndToEnd { queues: self.queues.max(1), rate: self.rate.max(1.0) };
        rounds(&self.stage, "end-to-end", &workload, &shape, self.rounds)
    }
}
