//! `apache`: RingMQ beside Apache's broker in four configurations, every workload in turn, and the bars between them.
//!
//! ```text
//! start each: first accepted send, idle memory and CPU ─► rounds in turn (`contest`) ─► ratios with intervals ─► bars
//! ```
//!
//! RingMQ is durable (`flush = "sync"`, its default) in every round; two of the four flush before they answer, as it does,
//! and two do not. Which setting is made for which reason is in the report's notes, from `process/apache`.

use super::contest::{Contest, METRICS, Metric, Outcome};
use super::contestant::Contestant;
use super::shape::Shape;
use super::stage::{Set, Stage};
use super::workload::Workload;
use super::{CommandError, failed_to};
use crate::load::topic;
use crate::process::Server;
use crate::process::apache::Configuration;
use crate::process::jars;
use crate::report::ratio::median;
use crate::report::{Bar, Bound, Demand, Ratio, Report};
use clap::Args;
use std::thread;
use std::time::{Duration, Instant};

/// A server does the work of its start by then.
const SETTLE: Duration = Duration::from_secs(6);
/// How long an idle server is watched.
const WATCH: Duration = Duration::from_secs(5);
const ALL: &[Configuration] = &Configuration::ALL;
const SYNC: &[Configuration] = &[Configuration::Sync, Configuration::SyncTuned];
const ASYNC: &[Configuration] = &[Configuration::Async, Configuration::AsyncTuned];
const ASYNC_TUNED: &[Configuration] = &[Configuration::AsyncTuned];

/// RingMQ beside Apache's broker in four configurations.
#[derive(Debug, Args)]
pub struct Apache {
    #[command(flatten)]
    stage: Stage,
    /// Seconds to measure in each round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds of each workload.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Seconds that Apache's broker is warmed up at first.
    #[arg(long, default_value_t = 15.0)]
    jvm_warm_up: f64,
    /// Only these configurations; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Configuration>,
}

/// What RingMQ must reach under a workload.
struct Row {
    workload: &'static str,
    ratios: &'static [(&'static [Configuration], &'static str, Bound, f64)],
    /// RingMQ's own number.
    own: Option<(&'static str, f64, &'static str)>,
}

const ROWS: &[Row] = &[
    Row {
        workload: "produce:64x8",
        ratios: &[
            (SYNC, "rate", Bound::AtLeast, 12.0),
            (ASYNC_TUNED, "rate", Bound::AtLeast, 8.0),
            (ALL, "cpu", Bound::AtMost, 1.0 / 15.0),
            (ALL, "p99.9", Bound::AtMost, 0.1),
        ],
        own: None,
    },
    Row {
        workload: "produce:1x1",
        ratios: &[
            (SYNC, "rate", Bound::AtLeast, 4.0),
            (ASYNC, "rate", Bound::AtLeast, 0.8),
            (ALL, "cpu", Bound::AtMost, 0.125),
        ],
        own: None,
    },
    Row {
        workload: "produce:16x32@5000",
        ratios: &[(ALL, "p99.9", Bound::AtMost, 0.1)],
        own: Some(("cores", 0.25, "of a core")),
    },
    Row {
        workload: "produce:16x32@20000",
        ratios: &[(ALL, "p99.9", Bound::AtMost, 0.1)],
        own: Some(("p50", 500.0, "µs")),
    },
    Row {
        workload: "end-to-end:4@2000",
        ratios: &[(SYNC, "p50", Bound::AtMost, 0.25), (ASYNC, "p50", Bound::AtMost, 0.5)],
        own: None,
    },
    Row {
        workload: "catch-up:400000",
        ratios: &[(ALL, "rate", Bound::AtLeast, 3.0), (ALL, "cpu", Bound::AtMost, 0.125)],
        own: None,
    },
];

/// What is demanded of RingMQ before any load, as a share of Apache's.
const IDLE_SHARE: f64 = 0.05;

/// What a server costs before any load.
struct Cold {
    first_send_s: f64,
    rss_mib: f64,
    cpu_percent: f64,
}

impl Apache {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report("apache");
        set.measure_machine(&mut report)?;
        let configurations = if self.only.is_empty() { ALL.to_vec() } else { self.only.clone() };
        let mut contestants = vec![Contestant::ringmq()];
        contestants.extend(configurations.iter().copied().map(Contestant::Apache));
        describe(&mut report, &configurations);
        cold(&mut set, &contestants, &mut report)?;

        let workloads: Vec<Workload> = ROWS.iter().filter_map(|row| row.workload.parse().ok()).collect();
        let contest = Contest {
            contestants: &contestants,
            workloads: &workloads,
            rounds: self.rounds.into(),
            shape: &Shape { seconds: self.seconds, warm_up_most: 2.0, ..Shape::default() },
            shape_of_kept: &Shape { seconds: self.seconds, warm_up_most: 2.5, ..Shape::default() },
            first_warm_up: Duration::from_secs_f64(self.jvm_warm_up.max(0.0)),
        };
        let outcome = contest.run(&mut set, &mut report)?;
        for (workload, row) in ROWS.iter().enumerate() {
            for (who, configuration) in (1..).zip(&configurations) {
                let ratios = METRICS.iter().filter_map(|metric| {
                    let ratio = outcome.ratio(&contest, workload, [0, who], metric)?;
                    Some(row.demanding(*configuration, metric, ratio))
                });
                report.ratios.extend(ratios);
            }
            report.bars.extend(row.own_bar(workload, &outcome));
        }
        Ok(report)
    }
}

impl Row {
    fn demanding(&self, configuration: Configuration, metric: &Metric, ratio: Ratio) -> Ratio {
        let applies =
            |of: &[Configuration], short: &str| of.contains(&configuration) && short == metric.short;
        let demand = self.ratios.iter().find(|(of, short, ..)| applies(of, short));
        match demand {
            Some((_, _, bound, demanded)) => ratio.demanding(Demand { bound: *bound, ratio: *demanded }),
            None => ratio,
        }
    }

    fn own_bar(&self, workload: usize, outcome: &Outcome) -> Option<Bar> {
        let (short, demanded, unit) = self.own?;
        let metric = METRICS.iter().find(|metric| metric.short == short)?;
        let measured = median(outcome.numbers(workload, 0, metric));
        Some(Bar::at_most(format!("ringmq, {}: {short}", self.workload), demanded, measured, unit))
    }
}

/// What is set for which reason, into the notes.
fn describe(report: &mut Report, configurations: &[Configuration]) {
    report.note(format!(
        "Apache's broker {} without a name server, heap 4 GiB not touched in advance, the other flags as upstream's runbroker.sh; RingMQ with its name server, one shard, flush = \"sync\"",
        jars::release()
    ));
    for configuration in configurations {
        for (setting, why) in configuration.settings() {
            report.note(format!("{}: {setting}: {why}", configuration.name()));
        }
    }
}

/// Starts each once, and notes what it costs before any load.
fn cold(set: &mut Set, contestants: &[Contestant], report: &mut Report) -> Result<(), CommandError> {
    let mut all = Vec::new();
    for contestant in contestants {
        let server = contestant.start(set)?;
        let cold = watch_cold(&server)?;
        for (what, value, unit) in [
            ("start to first accepted send", cold.first_send_s, "s"),
            ("resident memory, idle", cold.rss_mib, "MiB"),
            ("CPU, idle", cold.cpu_percent, "% of a core"),
        ] {
            report.fact(format!("{contestant}: {what}"), value, unit);
        }
        server.stop();
        all.push(cold);
    }
    let Some((ours, theirs)) = all.split_first() else { return Ok(()) };
    for (contestant, cold) in contestants.iter().skip(1).zip(theirs) {
        let names = [contestants[0].to_string(), contestant.to_string()];
        for (what, pair) in [
            ("s to first accepted send", (ours.first_send_s, cold.first_send_s)),
            ("RSS MiB", (ours.rss_mib, cold.rss_mib)),
        ] {
            let ratio = Ratio::of("start, then idle", what, [&names[0], &names[1]], &[pair]);
            let demand = Demand { bound: Bound::AtMost, ratio: IDLE_SHARE };
            report.ratios.extend(ratio.map(|ratio| ratio.demanding(demand)));
        }
    }
    Ok(())
}

fn watch_cold(server: &Server) -> Result<Cold, CommandError> {
    topic::send_one(server.brokers[0], "bench-first")?;
    let first_send_s = server.started.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    let look = || server.usage().map_err(failed_to("read /proc of the server"));
    let (before, since) = (look()?, Instant::now());
    thread::sleep(WATCH);
    let after = look()?;
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    Ok(Cold {
        first_send_s,
        rss_mib: after.rss_bytes as f64 / f64::from(1 << 20),
        cpu_percent: 100.0 * cpu / since.elapsed().as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_workload_and_metrics_that_there_are() {
        let known = |short: &str| METRICS.iter().any(|metric| metric.short == short);
        for row in ROWS {
            assert_eq!(
                row.workload.parse::<Workload>().map(|workload| workload.to_string()),
                Ok(row.workload.to_owned())
            );
            assert!(
                row.ratios.iter().all(|(of, short, ..)| !of.is_empty() && known(short)),
                "{}",
                row.workload
            );
            assert!(row.own.is_none_or(|(short, ..)| known(short)), "{}", row.workload);
        }
    }
}
