//! `selftest`: whether the harness reports what is known beforehand.
//!
//! The server is a responder whose answers come when the arithmetic says (`responder`), so every percentile is known:
//!
//! - after 400 ms: each is 400 ms;
//! - standing still for 400 ms of every 2 s, at a fixed rate: one request in five waits, the wait falls evenly from 400 ms
//!   to nothing, so percentile q ≥ 0.8 is (q − 0.8) · 2 s.
//!
//! These are long against what a busy machine does to anybody, which is a few milliseconds.
//!
//! The second one has fewer places than requests that are due in a pause. A clock that starts when a request leaves sees
//! one slow request per place and pause; ours starts when it was due. Both are printed.
//!
//! A round in which the machine let nobody run for a while is repeated: it measures the machine.

use super::stage::Stage;
use super::{CommandError, failed_to};
use crate::load::generator::{self, Plan};
use crate::load::pace::Pace;
use crate::load::warm_up::WarmUp;
use crate::load::{LoadError, ceiling};
use crate::process::canary::Canaries;
use crate::report::{Bar, Report, Round};
use crate::responder::{Behaviour, Responder};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// Of what the arithmetic says.
const DEVIATION_MAX: f64 = 0.05;
/// Sends per second to a server that does nothing.
const CEILING: f64 = 1_000_000.0;
const RATE: f64 = 500.0;
const DELAY: Duration = Duration::from_millis(400);
const EVERY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(400);
/// Rounds of each case until the machine did not disturb one.
const ROUNDS_MAX: usize = 5;
/// Nobody ran for so long: that is more than a percentile may be off.
const DISTURBED_US: f64 = 10_000.0;

/// Whether the harness reports what is known beforehand.
#[derive(Debug, Args)]
pub struct Selftest {
    #[command(flatten)]
    stage: Stage,
    /// Pauses of the case with pauses; each case takes 2 s for each of them.
    #[arg(long, default_value_t = 3)]
    pauses: u32,
    /// Only this part.
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// What the self-test consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Percentiles that are known beforehand.
    Arithmetic,
    /// What the generator can do at most; a debug build says nothing about it.
    Ceiling,
}

/// A server, a load, and what must come of it.
#[derive(Clone)]
struct Case {
    name: &'static str,
    behaviour: Behaviour,
    connections: usize,
    in_flight: usize,
    /// Percentiles that are looked at, and what they must be.
    expected: Vec<(f64, Duration)>,
}

impl Selftest {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let set = self.stage.set()?;
        let mut report = set.report("selftest");
        if self.only != Some(Part::Arithmetic) {
            let ceiling = set.measure_ceiling()?;
            let name = "sends per second to a server that does nothing, 64x8";
            report.bars.push(Bar::at_least(name, CEILING, Some(ceiling.per_second), "/s"));
            report.ceiling = Some(ceiling);
        }
        let cases = if self.only == Some(Part::Ceiling) { Vec::new() } else { cases().to_vec() };
        for case in cases {
            let round = self.undisturbed_round(&case, set.server_core())?;
            for (quantile, expected) in &case.expected {
                let measured = round.histogram.value_at_quantile(*quantile) as f64;
                let expected_ns = expected.as_nanos() as f64;
                let name = format!("{}: p{} is {expected:?}, off by", case.name, quantile * 100.0);
                let deviation = (measured / expected_ns - 1.0).abs();
                report.bars.push(Bar::at_most(name, DEVIATION_MAX, Some(deviation), ""));
            }
            if let Behaviour::Pausing { .. } = case.behaviour {
                report.fact("p99 from when a request was due", round.latency.p99_us / 1e3, "ms");
                report.fact(
                    "p99 from when it left, which hides the pauses",
                    round.service.p99_us / 1e3,
                    "ms",
                );
            }
            report.rounds.push(round);
        }
        Ok(report)
    }

    fn undisturbed_round(&self, case: &Case, core: usize) -> Result<Round, CommandError> {
        let mut round = self.round(case, core)?;
        for _ in 1..ROUNDS_MAX {
            let disturbed = round.longest_oversleep_us.max(round.longest_core_delay_us);
            if disturbed <= DISTURBED_US && round.void.is_none() {
                break;
            }
            eprintln!("{}: nobody ran for {disturbed:.0} µs, once more …", case.name);
            round = self.round(case, core)?;
        }
        Ok(round)
    }

    fn round(&self, case: &Case, core: usize) -> Result<Round, CommandError> {
        eprintln!("{} …", case.name);
        let responder = Responder::start(case.behaviour, core).map_err(failed_to("start the responder"))?;
        let plan = Plan {
            targets: vec![responder.address],
            connections: case.connections,
            in_flight: case.in_flight,
            pace: Pace::Open { rate: RATE },
            warm_up: WarmUp::exactly(Duration::from_millis(500)),
            measure: EVERY * self.pauses.max(1),
            patience: Duration::from_secs(60),
            windows: None,
            stop: None,
        };
        let canaries = Canaries::on(&[core]);
        let mut work = ceiling::sends(&plan);
        let measured = generator::run(&plan, &mut work, &mut |_| {})?;
        work.finish().map_err(LoadError::Wrong)?;
        let mut round = Round::new("responder", case.name, measured, Duration::ZERO, None);
        round.longest_core_delay_us = canaries.longest_delay().as_nanos() as f64 / 1e3;
        Ok(round)
    }
}

fn cases() -> [Case; 2] {
    let paused = |quantile: f64| {
        let waits = PAUSE.as_secs_f64() / EVERY.as_secs_f64();
        let share = (quantile - (1.0 - waits)) / waits;
        (quantile, PAUSE.mul_f64(share))
    };
    [
        Case {
            name: "an answer after 400 ms",
            behaviour: Behaviour::After(DELAY),
            connections: 16,
            in_flight: 16,
            expected: [0.5, 0.9, 0.99, 0.999].map(|quantile| (quantile, DELAY)).to_vec(),
        },
        Case {
            name: "400 ms of every 2 s standing still",
            behaviour: Behaviour::Pausing { every: EVERY, pause: PAUSE },
            connections: 4,
            in_flight: 1,
            expected: [0.9, 0.95, 0.99, 0.999].map(paused).to_vec(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_makes_the_percentiles_that_the_arithmetic_says() {
        let [_, pausing] = cases();
        let ms: Vec<f64> =
            pausing.expected.iter().map(|(_, wait)| (wait.as_secs_f64() * 1e4).round() / 10.0).collect();
        assert_eq!(ms, [200.0, 300.0, 380.0, 398.0]);
    }
}
