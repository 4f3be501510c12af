//! `produce`: durable sends per second, their latency, and what each costs the server.
//!
//! Every round has a server of its own, in a fresh folder: a round leaves gigabytes behind, and none should profit or
//! suffer from the one before.

use super::CommandError;
use super::shape::{Shape, Width};
use super::stage::Stage;
use crate::report::{Bar, Report, Round};
use clap::Args;

/// Bars for one shard on one core, 1 KB bodies, flush before every answer, the generator on another core.
const WIDE: Width = Width { connections: 64, in_flight: 8 };
const WIDE_PER_SECOND: f64 = 400_000.0;
const WIDE_CPU_US: f64 = 2.5;
const NARROW: Width = Width { connections: 1, in_flight: 1 };
/// Of the disk's own durable writes.
const NARROW_SHARE: f64 = 0.5;
/// The wide bar supposes a disk that makes at least so many 4 KiB writes durable per second.
const DISK_PER_SECOND: f64 = 6000.0;

/// Durable sends per second, their latency, and what each costs the server.
#[derive(Debug, Args)]
pub struct Produce {
    #[command(flatten)]
    stage: Stage,
    #[command(flatten)]
    shape: Shape,
    /// Connections x requests in flight; may be repeated.
    #[arg(long, default_values = ["64x8", "1x1"])]
    width: Vec<Width>,
    /// Shards of the server.
    #[arg(long, default_value_t = 1)]
    shards: u16,
    /// Rounds of each width; the best one counts, for others disturb and nobody helps.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Produce {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report("produce");
        set.measure_machine(&mut report)?;
        for _ in 0..self.rounds {
            for width in &self.width {
                let server = set.start(self.shards)?;
                let mut round = set.send(&server, &self.shape, *width)?;
                round.hear(server.stop());
                report.rounds.push(round);
            }
        }
        report.bars = self.bars(&report);
        Ok(report)
    }

    /// The bars that apply: they are about one shard and a closed loop of single 1 KB messages.
    fn bars(&self, report: &Report) -> Vec<Bar> {
        let shape = &self.shape;
        let applies = self.shards == 1 && shape.body == 1024 && shape.batch == 1 && shape.rate.is_none();
        let disk = report.disk.as_ref().map_or(0.0, |disk| disk.yardstick());
        let mut bars = Vec::new();
        if applies && self.width.contains(&WIDE) {
            let best = best(&report.rounds, &format!("send {}", shape.name(WIDE)));
            let cpu = best.and_then(|round| round.cost).map(|cost| cost.cpu_us_per_message);
            let name = if disk >= DISK_PER_SECOND {
                "64x8 durable sends".to_owned()
            } else {
                format!("64x8 durable sends (supposes a disk of {DISK_PER_SECOND:.0}/s)")
            };
            bars.push(Bar::at_least(name, WIDE_PER_SECOND, best.map(|round| round.per_second), "/s"));
            bars.push(Bar::at_most("64x8 server CPU per send", WIDE_CPU_US, cpu, "µs"));
        }
        if applies && self.width.contains(&NARROW) {
            let best = best(&report.rounds, &format!("send {}", shape.name(NARROW)));
            let name = format!("1x1 durable sends (≥ {NARROW_SHARE} of the disk's writes)");
            bars.push(Bar::at_least(name, NARROW_SHARE * disk, best.map(|round| round.per_second), "/s"));
        }
        if applies {
            let refused: u64 = report.rounds.iter().map(|round| round.refused).sum();
            bars.push(Bar::at_most("refused sends", 0.0, Some(refused as f64), ""));
        }
        bars
    }
}

/// The fastest round of a load.
pub(super) fn best<'a>(rounds: &'a [Round], load: &str) -> Option<&'a Round> {
    let of_load = rounds.iter().filter(|round| round.load == load && round.void.is_none());
    of_load.max_by(|a, b| a.per_second.total_cmp(&b.per_second))
}
