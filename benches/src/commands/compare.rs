//! `compare`: two servers under the same loads, rounds in turn, every ratio with its interval.
//!
//! ```text
//! ringmq-bench compare ringmq apache-sync --require "rate>=12" --require "p99.9<=0.1"
//! ringmq-bench compare ringmq=new/ringmq ringmq=old/ringmq --workload produce:64x8 --require "rate>=0.98"
//! ```

use super::CommandError;
use super::contest::{Contest, METRICS, Metric};
use super::contestant::Contestant;
use super::shape::Shape;
use super::stage::Stage;
use super::workload::Workload;
use crate::report::{Bound, Demand, Report};
use clap::Args;
use std::str::FromStr;
use std::time::Duration;

/// Fewer rounds have no interval to speak of.
const ROUNDS_MIN: u16 = 5;

/// Two servers under the same loads, in turn.
#[derive(Debug, Args)]
pub struct Compare {
    /// The server whose numbers stand above the line: ringmq[=PROGRAM][,KEY=VALUE…], apache-sync[-tuned] or
    /// apache-async[-tuned].
    a: Contestant,
    /// The server whose numbers stand below it.
    b: Contestant,
    #[command(flatten)]
    stage: Stage,
    #[command(flatten)]
    shape: Shape,
    /// What is asked of both; may be repeated: produce:64x8, produce:16x32@5000, end-to-end:4@2000, catch-up:400000.
    #[arg(long, default_values = ["produce:64x8", "produce:1x1"])]
    workload: Vec<Workload>,
    /// Rounds of each.
    #[arg(long, default_value_t = ROUNDS_MIN, value_parser = clap::value_parser!(u16).range(i64::from(ROUNDS_MIN)..=100))]
    rounds: u16,
    /// Seconds that a JVM is warmed up at first; before each of its rounds, it is warmed up as any other.
    #[arg(long, default_value_t = 20.0)]
    jvm_warm_up: f64,
    /// What a ratio must be, as in rate>=12 or p99.9<=0.1; may be repeated. Missing one is exit code 2.
    #[arg(long, value_name = "METRIC>=RATIO")]
    require: Vec<Requirement>,
}

/// A demand on one metric of every workload.
#[derive(Debug, Clone, Copy)]
struct Requirement {
    metric: Metric,
    demand: Demand,
}

impl FromStr for Requirement {
    type Err = String;
    fn from_str(text: &str) -> Result<Requirement, String> {
        let bounds = [(">=", Bound::AtLeast), ("<=", Bound::AtMost)];
        let found = bounds.iter().find_map(|(sign, bound)| {
            let (name, ratio) = text.split_once(sign)?;
            let metric = *METRICS.iter().find(|metric| metric.short == name.trim())?;
            let ratio = ratio.trim().parse().ok().filter(|ratio: &f64| ratio.is_finite())?;
            Some(Requirement { metric, demand: Demand { bound: *bound, ratio } })
        });
        let names: Vec<&str> = METRICS.iter().map(|metric| metric.short).collect();
        found.ok_or_else(|| format!("{text} is not like rate>=12; metrics are {}", names.join(", ")))
    }
}

impl Compare {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report(&format!("compare {} {}", self.a, self.b));
        set.measure_machine(&mut report)?;
        let contest = Contest {
            contestants: &[self.a.clone(), self.b.clone()],
            workloads: &self.workload,
            rounds: self.rounds.into(),
            shape: &self.shape,
            shape_of_kept: &self.shape,
            first_warm_up: Duration::from_secs_f64(self.jvm_warm_up.max(0.0)),
        };
        let outcome = contest.run(&mut set, &mut report)?;
        for workload in 0..self.workload.len() {
            for metric in &METRICS {
                let Some(mut ratio) = outcome.ratio(&contest, workload, [0, 1], metric) else { continue };
                for required in self.require.iter().filter(|required| required.metric.short == metric.short) {
                    ratio = ratio.demanding(required.demand);
                }
                report.ratios.push(ratio);
            }
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_names_a_metric_a_side_and_a_ratio() {
        for (text, expected) in [
            ("rate>=12", Some(("rate", Bound::AtLeast, 12.0))),
            ("p99.9 <= 0.1", Some(("p99.9", Bound::AtMost, 0.1))),
            ("rate=12", None),
            ("speed>=1", None),
            ("rate>=", None),
            ("rate>=nan", None),
        ] {
            let parsed = text.parse::<Requirement>().ok();
            let parsed = parsed.map(|found| (found.metric.short, found.demand.bound, found.demand.ratio));
            assert_eq!(parsed, expected, "{text}");
        }
    }
}
