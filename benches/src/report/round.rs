//! One round: one load on one server for some seconds.

use crate::load::ledger::Measured;
use crate::load::timeline::Timeline;
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
    /// How long the load was warmed up, seconds.
    pub warm_up_s: f64,
    /// Whether the load was steady when measuring began, or the length of the warm-up was fixed.
    pub is_steady: bool,
    /// Why the round does not count.
    pub void: Option<String>,
    /// The latency, each halving of the rest.
    pub curve: Vec<Point>,
    /// What happened when.
    pub timeline: Vec<Tick>,
    /// Whole distribution of the latency, nanoseconds.
    #[serde(skip)]
    pub histogram: Histogram<u64>,
    /// The same by ticks.
    #[serde(skip)]
    pub ticks: Timeline,
}

/// So many of all latencies are not longer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// From 0 to 1.
    pub quantile: f64,
    /// Microseconds.
    pub us: f64,
}

/// One tick of a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tick {
    /// Where it begins, seconds after measuring began.
    pub at_s: f64,
    /// Messages.
    pub messages: u64,
    /// Median, microseconds.
    pub p50_us: f64,
    /// 99 of 100, microseconds.
    pub p99_us: f64,
    /// The longest, microseconds.
    pub max_us: f64,
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
    /// All resident memory, at the end, MiB.
    pub rss_mib: f64,
    /// Context switches of its threads per message.
    pub switches_per_message: f64,
    /// Bytes written to a disk per message.
    pub written_bytes_per_message: f64,
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
        let messages = measured.messages.max(1) as f64;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
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
                cpu_us_per_message: spent.cpu.as_secs_f64() * 1e6 / messages,
                cpu: spent.cpu.as_secs_f64() / seconds,
                rss_anon_mib: mib(spent.rss_anon_bytes),
                rss_mib: mib(spent.rss_bytes),
                switches_per_message: spent.context_switches as f64 / messages,
                written_bytes_per_message: spent.written_bytes as f64 / messages,
            }),
            longest_write_us: None,
            longest_heartbeat_delay_us: None,
            longest_space_wait_us: None,
            warm_up_s: measured.warmed.map_or(0.0, |warmed| warmed.after.as_secs_f64()),
            is_steady: measured.warmed.is_some_and(|warmed| warmed.is_steady),
            void: late.then(|| format!("the generator was late by {:.0} µs at p99", lateness.p99_us)),
            curve: curve(&measured.latency),
            timeline: timeline(&measured.timeline),
            histogram: measured.latency,
            ticks: measured.timeline,
        }
    }

    /// Adds what the server said at its end.
    pub fn hear(&mut self, words: LastWords) {
        self.longest_write_us = words.longest_write_us;
        self.longest_heartbeat_delay_us = words.longest_heartbeat_delay_us;
        self.longest_space_wait_us = words.longest_space_wait_us;
    }
}

/// Points of a curve for each halving of the rest.
const POINTS_PER_HALF: u32 = 5;

fn curve(histogram: &Histogram<u64>) -> Vec<Point> {
    let points = histogram.iter_quantiles(POINTS_PER_HALF);
    points
        .map(|point| Point {
            quantile: point.quantile_iterated_to(),
            us: point.value_iterated_to() as f64 / 1e3,
        })
        .collect()
}

fn timeline(timeline: &Timeline) -> Vec<Tick> {
    let ticks = (0_u32..).zip(&timeline.ticks).map(|(index, tick)| {
        let percentiles = Percentiles::of(&tick.latency);
        Tick {
            at_s: (timeline.tick * index).as_secs_f64(),
            messages: tick.messages,
            p50_us: percentiles.p50_us,
            p99_us: percentiles.p99_us,
            max_us: percentiles.max_us,
        }
    });
    ticks.collect()
}

/// What a process used over a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// CPU time.
    pub cpu: Duration,
    /// Resident memory that belongs to no file, at the end.
    pub rss_anon_bytes: u64,
    /// All resident memory, at the end.
    pub rss_bytes: u64,
    /// Context switches of its threads.
    pub context_switches: u64,
    /// Bytes written to a disk.
    pub written_bytes: u64,
}

impl Spent {
    /// Between two looks at a process.
    pub fn between(before: Usage, after: Usage) -> Spent {
        Spent {
            cpu: after.cpu.saturating_sub(before.cpu),
            rss_anon_bytes: after.rss_anon_bytes,
            rss_bytes: after.rss_bytes,
            context_switches: after.context_switches.saturating_sub(before.context_switches),
            written_bytes: after.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}
