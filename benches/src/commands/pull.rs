//! `pull`: records per second out of the server's memory.
//!
//! First the topic is filled with as much as the server surely keeps in memory, then readers go through it again and
//! again. All of them together read each record many times, as many consumer groups would.

use super::CommandError;
use super::produce::best;
use super::shape::{Shape, Width};
use super::stage::{self, Set, Stage};
use crate::load::pull::Pull as Readers;
use crate::process::Server;
use crate::report::{Bar, Report, Round};
use clap::Args;

/// Bar for one shard on one core and records with bodies of 1 KB.
const PER_SECOND: f64 = 500_000.0;

/// Records per second pulled out of the server's memory.
#[derive(Debug, Args)]
pub struct Pull {
    #[command(flatten)]
    stage: Stage,
    #[command(flatten)]
    shape: Shape,
    /// Connections x pulls in flight.
    #[arg(long, default_value = "16x2")]
    width: Width,
    /// Shards of the server.
    #[arg(long, default_value_t = 1)]
    shards: u16,
    /// Messages to fill the topic with, over all shards.
    #[arg(long, default_value_t = 20_000)]
    messages: u64,
    /// Rounds; the best one counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Pull {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report("pull");
        for _ in 0..self.rounds {
            let server = set.start(self.shards)?;
            let topic = set.topic();
            let mut round = self.round(&set, &server, topic)?;
            round.hear(server.stop());
            report.rounds.push(round);
        }
        if self.shards == 1 && self.shape.body == 1024 {
            let ours: Vec<Round> =
                report.rounds.iter().filter(|round| round.server == "ringmq").cloned().collect();
            let best = best(&ours, &self.load()).map(|round| round.per_second);
            report.bars.push(Bar::at_least("hot records pulled", PER_SECOND, best, "/s"));
        }
        Ok(report)
    }

    fn round(&self, set: &Set, server: &Server, topic: String) -> Result<Round, CommandError> {
        let shape = Shape { batch: 1, ..self.shape.clone() };
        let ends = stage::fill(server, &shape.messages(topic.clone()), self.messages)?;
        let plan = self.shape.plan(self.width, server.brokers.clone());
        let mut readers = Readers::new(&topic, &ends, plan.lanes(), plan.in_flight);
        set.measure(server, &self.load(), &plan, &mut readers)
    }

    fn load(&self) -> String {
        format!("pull {}", self.shape.name(self.width))
    }
}
