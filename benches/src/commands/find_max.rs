//! `find-max`: the highest rate at which a percentile of the latency stays within a limit.
//!
//! ```text
//! rates   10,000 ok   20,000 ok   40,000 ok   80,000 no │ 60,000 ok   70,000 no   65,000 ok …
//!         doubled until one fails                       │ halved in between until two are near
//! ```
//!
//! Each rate is one round of an open loop on a server of its own. It is kept if the percentile is within the limit, all
//! was answered at the rate that was asked for, and nothing was refused.

use super::CommandError;
use super::shape::{Shape, Width};
use super::stage::Stage;
use crate::report::{Report, Round};
use clap::Args;

/// The search ends when the highest rate that is kept and the lowest that is not differ by less than this.
const NEAR: f64 = 1.05;
/// Of the rate that was asked for, at least so much must be answered.
const RATE_KEPT: f64 = 0.99;
/// A search that has not ended by then says what it knows.
const STEPS_MAX: usize = 24;

/// The highest rate at which a percentile of the latency stays within a limit.
#[derive(Debug, Args)]
pub struct FindMax {
    #[command(flatten)]
    stage: Stage,
    #[command(flatten)]
    shape: Shape,
    /// Connections x requests in flight.
    #[arg(long, default_value = "64x32")]
    width: Width,
    /// The first rate, requests per second; --rate is not looked at.
    #[arg(long, default_value_t = 10_000.0)]
    from: f64,
    /// The percentile that is limited.
    #[arg(long, default_value_t = 99.9)]
    percentile: f64,
    /// Its limit, milliseconds.
    #[arg(long, default_value_t = 5.0)]
    limit_ms: f64,
}

/// The rates tried so far.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Search {
    /// The highest that was kept.
    kept: Option<f64>,
    /// The lowest that was not.
    failed: Option<f64>,
    from: f64,
}

impl Search {
    /// The rate to try next; none when the search has ended.
    fn next(&self) -> Option<f64> {
        match (self.kept, self.failed) {
            (None, None) => Some(self.from),
            (Some(kept), None) => Some(kept * 2.0),
            (None, Some(failed)) => Some(failed / 2.0).filter(|rate| *rate >= 1.0),
            (Some(kept), Some(failed)) => (failed > kept * NEAR).then_some((kept + failed) / 2.0),
        }
    }

    fn note(&mut self, rate: f64, is_kept: bool) {
        let side = if is_kept { &mut self.kept } else { &mut self.failed };
        *side = Some(rate);
    }
}

impl FindMax {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report("find-max");
        set.measure_machine(&mut report)?;
        let mut search = Search { kept: None, failed: None, from: self.from.max(1.0) };
        for _ in 0..STEPS_MAX {
            let Some(rate) = search.next() else { break };
            let server = set.start(1)?;
            let shape = Shape { rate: Some(rate), ..self.shape.clone() };
            let mut round = set.send(&server, &shape, self.width)?;
            round.hear(server.stop());
            search.note(rate, self.is_kept(&round, rate));
            report.rounds.push(round);
        }
        let what = format!("highest rate with p{} ≤ {} ms", self.percentile, self.limit_ms);
        report.fact(what, search.kept.unwrap_or(0.0), "/s");
        if let Some(failed) = search.failed {
            report.fact("lowest rate without", failed, "/s");
        }
        Ok(report)
    }

    fn is_kept(&self, round: &Round, rate: f64) -> bool {
        let latency_ns = round.histogram.value_at_quantile(self.percentile / 100.0) as f64;
        let requests = round.per_second / self.shape.batch.max(1) as f64;
        latency_ns <= self.limit_ms * 1e6
            && requests >= rate * RATE_KEPT
            && round.refused == 0
            && round.void.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates tried when all up to `max` are kept.
    fn tried(from: f64, max: f64) -> (Vec<f64>, Search) {
        let mut search = Search { kept: None, failed: None, from };
        let mut rates = Vec::new();
        while let Some(rate) = search.next() {
            rates.push(rate);
            search.note(rate, rate <= max);
        }
        (rates, search)
    }

    #[test]
    fn rates_are_doubled_until_one_fails_and_then_halved_in_between() {
        let (rates, search) = tried(10_000.0, 66_000.0);
        assert_eq!(rates, [1e4, 2e4, 4e4, 8e4, 6e4, 7e4, 6.5e4, 6.75e4]);
        assert_eq!((search.kept, search.failed), (Some(6.5e4), Some(6.75e4)));
    }

    #[test]
    fn a_first_rate_that_is_too_high_is_halved_and_nothing_at_all_is_an_end_too() {
        let (rates, search) = tried(10_000.0, 3000.0);
        assert_eq!(rates[..3], [1e4, 5e3, 2.5e3]);
        assert!(search.kept.is_some_and(|kept| kept <= 3000.0 && kept * NEAR >= 2900.0), "{search:?}");
        let (rates, search) = tried(8.0, 0.0);
        assert_eq!((rates, search.kept), (vec![8.0, 4.0, 2.0, 1.0], None));
    }
}
