//! Rounds of several servers in turn: A, B, C, then B, C, A, …, so that nobody is always the one who comes first.
//!
//! ```text
//!   workload 1   round 1: A B C   round 2: B C A   round 3: C A B …
//!   workload 2   …
//! ```
//!
//! Round i of one server and round i of another are partners: the machine was the same for both.
//!
//! Invariants
//!  1. Only one server runs at a time; what the one before has left to be written is written before the next begins.
//!  2. A round that is void is run again, a few times; one that stays void, or has no result, is in no ratio and is named.

use super::contestant::Contestant;
use super::shape::Shape;
use super::stage::Set;
use super::workload::Workload;
use super::{CommandError, failed_to};
use crate::process::Server;
use crate::report::{Ratio, Report, Round};
use std::thread;
use std::time::Duration;

/// A process that runs again first catches up with its timers.
const SETTLE: Duration = Duration::from_millis(500);
/// Times that a round is run until it is not void.
const TRIES: usize = 3;

/// One number of a round.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// On the command line.
    pub short: &'static str,
    /// In reports.
    pub name: &'static str,
    /// The number; none if the round does not have it.
    pub of: fn(&Round) -> Option<f64>,
}

/// What is compared.
pub const METRICS: [Metric; 7] = [
    Metric { short: "rate", name: "messages/s", of: |round| Some(round.per_second) },
    Metric { short: "p50", name: "p50 µs", of: |round| Some(round.latency.p50_us) },
    Metric { short: "p99", name: "p99 µs", of: |round| Some(round.latency.p99_us) },
    Metric { short: "p99.9", name: "p99.9 µs", of: |round| Some(round.latency.p999_us) },
    Metric { short: "cpu", name: "CPU µs/msg", of: |round| round.cost.map(|cost| cost.cpu_us_per_message) },
    Metric { short: "cores", name: "cores", of: |round| round.cost.map(|cost| cost.cpu) },
    Metric {
        short: "switches",
        name: "switches/msg",
        of: |round| round.cost.map(|cost| cost.switches_per_message),
    },
];

/// Who, what, how often.
pub struct Contest<'a> {
    /// Who takes part.
    pub contestants: &'a [Contestant],
    /// What is asked of them.
    pub workloads: &'a [Workload],
    /// Rounds of each workload.
    pub rounds: usize,
    /// Of RingMQ's rounds.
    pub shape: &'a Shape,
    /// Of the rounds of who is kept: a JVM warms up longer.
    pub shape_of_kept: &'a Shape,
    /// How long the first of these is warmed up, once.
    pub first_warm_up: Duration,
}

/// What came of a contest: by workload, round and contestant.
pub struct Outcome {
    rounds: Vec<Vec<Vec<Option<Round>>>>,
}

/// A server that is kept, paused while it is not its turn.
struct Kept(Option<Server>);

impl Contest<'_> {
    /// Runs all rounds and puts them into the report.
    pub fn run(&self, set: &mut Set, report: &mut Report) -> Result<Outcome, CommandError> {
        let mut kept = Vec::new();
        for contestant in self.contestants {
            kept.push(Kept(match contestant.is_kept() {
                true => Some(self.start_and_warm(contestant, set, report)?),
                false => None,
            }));
        }
        let mut rounds = Vec::new();
        for workload in self.workloads {
            let mut of_workload = Vec::new();
            for round in 0..self.rounds {
                let mut of_round: Vec<Option<Round>> = vec![None; self.contestants.len()];
                for turn in 0..self.contestants.len() {
                    let who = (round + turn) % self.contestants.len();
                    of_round[who] = self.take(set, report, workload, who, &kept[who])?;
                }
                report.rounds.extend(of_round.iter().flatten().cloned());
                of_workload.push(of_round);
            }
            rounds.push(of_workload);
        }
        Ok(Outcome { rounds })
    }

    fn start_and_warm(
        &self,
        contestant: &Contestant,
        set: &mut Set,
        report: &mut Report,
    ) -> Result<Server, CommandError> {
        let server = contestant.start(set)?;
        report.fact(format!("{}: start to ready", server.name), server.ready_after.as_secs_f64(), "s");
        let seconds = self.first_warm_up.as_secs_f64();
        if let Some(workload) = self.workloads.first().filter(|_| seconds > 0.0) {
            workload.run(set, &server, &Shape { seconds, ..self.shape_of_kept.clone() })?;
        }
        server.pause().map_err(failed_to("pause a server"))?;
        Ok(server)
    }

    /// One round of one contestant; none if it has no result.
    fn take(
        &self,
        set: &mut Set,
        report: &mut Report,
        workload: &Workload,
        who: usize,
        kept: &Kept,
    ) -> Result<Option<Round>, CommandError> {
        let contestant = &self.contestants[who];
        let mut last = None;
        for _ in 0..TRIES {
            set.write_back()?;
            let result = match &kept.0 {
                Some(server) => {
                    server.resume().map_err(failed_to("resume a server"))?;
                    thread::sleep(SETTLE);
                    let result = workload.run(set, server, self.shape_of_kept);
                    server.pause().map_err(failed_to("pause a server"))?;
                    result
                }
                None => {
                    let server = contestant.start(set)?;
                    let result = workload.run(set, &server, self.shape);
                    let words = server.stop();
                    result.map(|mut round| {
                        round.hear(words);
                        round
                    })
                }
            };
            match result {
                Ok(round) if round.void.is_none() => return Ok(Some(round)),
                Ok(round) => last = Some(round),
                Err(CommandError::Load(error)) => {
                    report.note(format!("{contestant}, {workload}: no result: {error}"));
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(last)
    }
}

impl Outcome {
    /// The numbers of two contestants' partners.
    pub fn pairs(&self, workload: usize, [a, b]: [usize; 2], metric: &Metric) -> Vec<(f64, f64)> {
        let number = |of_round: &[Option<Round>], who: usize| {
            let round = of_round.get(who)?.as_ref().filter(|round| round.void.is_none())?;
            (metric.of)(round)
        };
        let rounds = self.rounds.get(workload).into_iter().flatten();
        rounds.filter_map(|of_round| Some((number(of_round, a)?, number(of_round, b)?))).collect()
    }

    /// The numbers of one contestant.
    pub fn numbers(&self, workload: usize, who: usize, metric: &Metric) -> Vec<f64> {
        self.pairs(workload, [who, who], metric).into_iter().map(|(number, _)| number).collect()
    }

    /// One ratio of two contestants.
    pub fn ratio(
        &self,
        contest: &Contest<'_>,
        workload: usize,
        who: [usize; 2],
        metric: &Metric,
    ) -> Option<Ratio> {
        let names = who.map(|who| contest.contestants[who].to_string());
        let load = contest.workloads[workload].to_string();
        Ratio::of(&load, metric.name, [&names[0], &names[1]], &self.pairs(workload, who, metric))
    }
}
