//! One round: one load on one server for some seconds.

use crate::load::ledger::Measured;
use crate::process::last_words::LastWords;
use crate::process::usage::Usage;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// The generator voids a round at a fixed rate if one request in a hundred left later than this by its own fault.
const LATENESS_MAX_US: f64 = 1000.0;

/// What one round found.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// Which server.
    pub server: String,
    /// Which load.
    pub load: String,
    /// Messages per second.
    pub per_second: f64,
    /// From when a request was due to its answer.
    pub latency: Percentiles,
    /// From when a request was handed to its connection to its answer.
    pub service: Percentiles,
    /// How late the generator handed requests over by its own fault; zeros in a closed loop.
    pub lateness: Percentiles,
    /// Longest time without any answer while answers were owed, microseconds.
    pub longest_silence_us: f64,
    /// Longest time by which the generator itself ran later than it had asked for, microseconds. A silence that is not
    /// longer may be the machine's: it let nobody run.
    pub longest_oversleep_us: f64,
    /// Longest time by which a sleeper on one of the server's cores woke too late, microseconds: what that core let nobody
    /// do, the server neither.
    pub longest_core_delay_us: f64,
    /// Requests that were refused.
    pub refused: u64,
    /// Of one core, by the generator.
    pub generator_cpu: f64,
    /// What it cost the server; none for a server that somebody else started.
    pub cost: Option<ServerCost>,
    /// Longest disk write, as the server says at its end, microseconds.
    pub longest_write_us: Option<u64>,
    /// Longest delay of a shard's heartbeat, as the server says at its end, microseconds.
    pub longest_heartbeat_delay_us: Option<u64>,
    /// Longest that a frame waited for prepared space, as the server says at its end, microseconds.
    pub longest_space_wait_us: Option<u64>,
    /// Why the round does not count.
    pub void: Option<String>,
    /// Whole distribution of the latency, nanoseconds.
    #[serde(skip)]
    pub histogram: Histogram<u64>,
}

/// What a round cost a server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ServerCost {
    /// CPU time per message, microseconds.
    pub cpu_us_per_message: f64,
    /// Of one core.
    pub cpu: f64,
    /// Resident memory that belongs to no file, at the end, MiB.
    pub rss_anon_mib: f64,
}

/// Points of a distribution, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50_us: f64,
    /// Nine of ten are no longer.
    pub p90_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Percentiles {
    /// Of a distribution in nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Percentiles {
        let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: us(1.0),
        }
    }
}

impl Round {
    /// From what a run measured; `ours` and `theirs` are what generator and server used while it was measured.
    pub fn new(server: &str, load: &str, measured: Measured, ours: Duration, theirs: Option<Spent>) -> Round {
        let seconds = measured.elapsed.as_secs_f64().max(1e-9);
        let lateness = Percentiles::of(&measured.lateness);
        let late = lateness.p99_us > LATENESS_MAX_US;
        Round {
            server: server.to_owned(),
            load: load.to_owned(),
            per_second: measured.rate(),
            latency: Percentiles::of(&measured.latency),
            service: Percentiles::of(&measured.service),
            lateness,
            longest_silence_us: measured.longest_silence.as_nanos() as f64 / 1e3,
            longest_oversleep_us: measured.longest_oversleep.as_nanos() as f64 / 1e3,
            longest_core_delay_us: 0.0,
            refused: measured.refused.values().sum(),
            generator_cpu: ours.as_secs_f64() / seconds,
            cost: theirs.map(|spent| ServerCost {
                cpu_us_per_message: spent.cpu.as_secs_f64() * 1e6 / measured.messages.max(1) as f64,
                cpu: spent.cpu.as_secs_f64() / seconds,
                rss_anon_mib: spent.rss_anon_bytes as f64 / f64::from(1 << 20),
            }),
            longest_write_us: None,
            longest_heartbeat_delay_us: None,
            longest_space_wait_us: None,
            void: late.then(|| format!("the generator was late by {:.0} µs at p99", lateness.p99_us)),
            histogram: measured.latency,
        }
    }

    /// Adds what the server said at its end.
    pub fn hear(&mut self, words: LastWords) {
        self.longest_write_us = words.longest_write_us;
        self.longest_heartbeat_delay_us = words.longest_heartbeat_delay_us;
        self.longest_space_wait_us = words.longest_space_wait_us;
    }
}

/// What a process used over a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// CPU time.
    pub cpu: Duration,
    /// Resident memory that belongs to no file, at the end.
    pub rss_anon_bytes: u64,
}

impl Spent {
    /// Between two looks at a process.
    pub fn between(before: Usage, after: Usage) -> Spent {
        Spent { cpu: after.cpu.saturating_sub(before.cpu), rss_anon_bytes: after.rss_anon_bytes }
    }
}
