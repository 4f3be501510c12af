//! `roll`: what going on to the next segment adds to a send.
//!
//! A first round finds the maximum rate. A second one, in a fresh folder, sends at a share of it on a fixed schedule.
//! A message id holds the physical offset of its record, so the first answer from a new segment shows the roll. The run is
//! cut into windows: latencies in those with a roll stand against all others.
//!
//! A disk's own hiccups fall into windows of both kinds: the longest write and the medians of the windows say whether they
//! make the difference, and the rate that was kept says whether the disk kept up at all.

use super::CommandError;
use super::shape::{Shape, Width};
use super::stage::Stage;
use crate::load::LoadError;
use crate::load::send::Send;
use crate::load::windows::{Side, Windows};
use crate::report::{Bar, Report};
use clap::Args;
use std::time::Duration;

/// Of the 99.9th percentile in windows without a roll.
const RATIO_MAX: f64 = 1.5;

/// What going on to the next segment adds to a send.
#[derive(Debug, Args)]
pub struct Roll {
    #[command(flatten)]
    stage: Stage,
    /// Connections x requests in flight.
    #[arg(long, default_value = "64x8")]
    width: Width,
    /// Bytes of each message's body.
    #[arg(long, default_value_t = 1024)]
    body: usize,
    /// Bytes of a segment.
    #[arg(long, default_value_t = 256 << 20)]
    segment_bytes: u64,
    /// Seconds to find the maximum rate.
    #[arg(long, default_value_t = 10.0)]
    max_seconds: f64,
    /// Of the maximum rate.
    #[arg(long, default_value_t = 0.8)]
    share: f64,
    /// Seconds to measure.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Length of a window, milliseconds.
    #[arg(long, default_value_t = 100)]
    window_ms: u64,
}

impl Roll {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let stage = self.stage.with(format!("log.segment_bytes={}B", self.segment_bytes));
        let mut set = stage.set()?;
        let mut report = set.report("roll");
        set.measure_machine(&mut report)?;

        let server = set.start(1)?;
        let mut fastest = set.send(&server, &self.shape(None, self.max_seconds), self.width)?;
        fastest.hear(server.stop());
        let rate = fastest.per_second * self.share;
        report.rounds.push(fastest);

        let server = set.start(1)?;
        let shape = self.shape(Some(rate), self.seconds);
        let messages = shape.messages(set.topic());
        crate::load::topic::create(&server.brokers, &messages.topic, messages.queues)?;
        let mut plan = shape.plan(self.width, server.brokers.clone());
        plan.windows = Some(Duration::from_millis(self.window_ms.max(1)));
        let ends = vec![vec![0; usize::from(messages.queues)]; server.brokers.len()];
        let mut work = Send::new(&messages, &ends, plan.lanes()).watching_segments(self.segment_bytes);
        let (mut round, windows) =
            set.measure_windows(&server, &format!("send {}", shape.name(self.width)), &plan, &mut work)?;
        work.finish().map_err(LoadError::Wrong)?;
        round.hear(server.stop());
        let space_wait = round.longest_space_wait_us;
        report.fact("kept of the rate that was asked for", round.per_second / rate.max(1.0), "");
        report.rounds.push(round);
        if let Some(windows) = windows {
            tell(&mut report, windows, space_wait);
        }
        Ok(report)
    }

    fn shape(&self, rate: Option<f64>, seconds: f64) -> Shape {
        Shape { body: self.body, rate, seconds, ..Shape::default() }
    }
}

fn tell(report: &mut Report, windows: Windows, space_wait: Option<u64>) {
    let us = |ns: u64| ns as f64 / 1e3;
    let (rolls, with, without) = windows.sides();
    let p999 = |side: &Side| us(side.latency.value_at_quantile(0.999));
    report.fact("rolls", rolls as f64, "");
    for (name, side) in [("with a roll", &with), ("without", &without)] {
        report.fact(format!("windows {name}"), side.windows as f64, "");
        report.fact(format!("sends in windows {name}"), side.latency.len() as f64, "");
        report.fact(format!("p99 in windows {name}"), us(side.latency.value_at_quantile(0.99)), "µs");
        report.fact(format!("p99.9 in windows {name}"), p999(side), "µs");
        report.fact(format!("longest in windows {name}"), us(side.latency.max()), "µs");
        let median = side.median_p999().map_or(f64::NAN, us);
        report.fact(format!("median of p99.9 of windows {name}"), median, "µs");
    }
    if let Some(space_wait) = space_wait {
        report.fact("longest that a frame waited for prepared space", space_wait as f64, "µs");
    }
    let ratio = (with.windows > 0 && without.windows > 0).then(|| p999(&with) / p999(&without).max(1.0));
    report.bars.push(Bar::at_most("p99.9 in windows with a roll, to those without", RATIO_MAX, ratio, "x"));
}
