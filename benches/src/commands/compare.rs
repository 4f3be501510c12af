//! `compare`: sends to RingMQ and to Apache's broker, rounds taken in turn.
//!
//! Both run on the same core, never at the same time. Apache's broker is started once, warmed up until its code is
//! compiled, and stopped from running (SIGSTOP) while RingMQ is measured; RingMQ is started for each of its rounds.

use super::shape::{Shape, Width};
use super::stage::Stage;
use super::{CommandError, failed_to};
use crate::report::{Report, Round};
use clap::Args;
use std::thread;
use std::time::Duration;

/// A process that runs again first catches up with its timers.
const SETTLE: Duration = Duration::from_secs(1);

/// Sends to RingMQ and to Apache's broker in turn.
#[derive(Debug, Args)]
pub struct Compare {
    #[command(flatten)]
    stage: Stage,
    #[command(flatten)]
    shape: Shape,
    /// Seconds of load that warm up Apache's broker before its first round of each width.
    #[arg(long, default_value_t = 20.0)]
    apache_warm_up: f64,
    /// Connections x requests in flight; may be repeated.
    #[arg(long, default_values = ["64x8", "1x1"])]
    width: Vec<Width>,
    /// Rounds of each server and width.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Compare {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report("compare");
        report.disk = Some(set.measure_disk()?);
        let apache = set.start_apache()?;
        report.fact("Apache's broker, start to \"boot success\"", apache.ready_after.as_secs_f64(), "s");
        for width in &self.width {
            let warm = Shape { seconds: self.apache_warm_up, ..self.shape.clone() };
            set.send(&apache, &warm, *width)?;
        }
        for round in 0..self.rounds {
            for width in &self.width {
                // Whoever comes second finds another machine; so they take turns at that too.
                for of_ringmq in [round % 2 == 0, round % 2 != 0] {
                    if of_ringmq {
                        apache.pause().map_err(failed_to("pause Apache's broker"))?;
                        let server = set.start_ringmq(1)?;
                        let mut round = set.send(&server, &self.shape, *width)?;
                        round.hear(server.stop());
                        report.rounds.push(round);
                        apache.resume().map_err(failed_to("resume Apache's broker"))?;
                        thread::sleep(SETTLE);
                    } else {
                        report.rounds.push(set.send(&apache, &self.shape, *width)?);
                    }
                }
            }
        }
        for width in &self.width {
            ratios(&mut report, &apache.name, &format!("send {}", self.shape.name(*width)));
        }
        Ok(report)
    }
}

/// One number of a round, if it has it.
pub(super) type Number = fn(&Round) -> Option<f64>;

/// Ratios of the medians of both servers' rounds of one load.
fn ratios(report: &mut Report, apache: &str, load: &str) {
    let numbers: [(&str, Number); 4] = [
        ("messages per second", |round| Some(round.per_second)),
        ("p50", |round| Some(round.latency.p50_us)),
        ("p99.9", |round| Some(round.latency.p999_us)),
        ("server CPU per message", |round| round.cost.map(|cost| cost.cpu_us_per_message)),
    ];
    for (what, of) in numbers {
        let ours = median(&report.rounds, "ringmq", load, of);
        let theirs = median(&report.rounds, apache, load, of);
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            report.fact(format!("{load}: {what}, ringmq / {apache}"), ours / theirs, "x");
        }
    }
}

pub(super) fn median(rounds: &[Round], server: &str, load: &str, of: Number) -> Option<f64> {
    let of_both = rounds.iter().filter(|round| round.server == server && round.load == load);
    let mut numbers: Vec<f64> = of_both.filter_map(of).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}
