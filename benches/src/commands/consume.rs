//! `consume`: how fast one consumer gets what was just written.
//!
//! A topic is filled, and then one consumer goes through it as a client of RocketMQ does: one connection, one pull of 32
//! records in flight for each queue. For what lies on the disk alone see `catch_up`, for many readers of the same few
//! records `pull`, for a consumer that waits for each message `end_to_end`.

use super::CommandError;
use super::shape::Shape;
use super::stage::Stage;
use super::workload::Workload;
use crate::report::Report;
use clap::Args;

/// How fast one consumer gets what was just written.
#[derive(Debug, Args)]
pub struct Consume {
    #[command(flatten)]
    stage: Stage,
    /// Bytes of each message's body.
    #[arg(long, default_value_t = 1024)]
    body: usize,
    /// Queues of the topic.
    #[arg(long, default_value_t = 8)]
    queues: u16,
    /// Messages to write, and then to consume.
    #[arg(long, default_value_t = 400_000)]
    messages: u64,
    /// Rounds, each on a server of its own.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Consume {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let shape = Shape { body: self.body, queues: self.queues, ..Shape::default() };
        rounds(&self.stage, "consume", &Workload::CatchUp { messages: self.messages }, &shape, self.rounds)
    }
}

/// Rounds of one workload, each on a server of its own.
pub(super) fn rounds(
    stage: &Stage,
    command: &str,
    workload: &Workload,
    shape: &Shape,
    rounds: usize,
) -> Result<Report, CommandError> {
    let mut set = stage.set()?;
    let mut report = set.report(command);
    set.measure_machine(&mut report)?;
    for _ in 0..rounds {
        let server = set.start(1)?;
        let mut round = workload.run(&mut set, &server, shape)?;
        round.hear(server.stop());
        report.rounds.push(round);
    }
    Ok(report)
}
