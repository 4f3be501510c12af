//! What a seed decides before anything runs.
//!
//! Faults come in mixes: often none of a kind, sometimes many. A run without faults keeps the harness honest about
//! deadlines; one with all of them finds what nobody thought of.

use std::time::Duration;

use ringmq_conn::sim::Faults as NetFaults;
use ringmq_engine::env::Random;
use ringmq_engine::env::sim::FaultMix;
use ringmq_engine::store::{FlushHow, StoreOptions};

/// For so long clients send and things fail; then everything calms down and is checked.
pub const STORM: Duration = Duration::from_secs(20);

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Power fails: nothing that is not flushed is certain.
    Crash,
    /// It is asked to stop.
    Stop,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Clients that send.
    pub producers: usize,
    /// Clients that pull.
    pub consumers: usize,
    /// Sends that one producer has under way.
    pub window: usize,
    /// What the network does.
    pub net: NetFaults,
    /// What the disk does.
    pub disk: FaultMix,
    /// How the store is opened.
    pub options: StoreOptions,
    /// When the process dies, in order.
    pub deaths: Vec<(Duration, Death)>,
    /// Neither network nor disk nor process fails.
    pub calm: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(random: &Random) -> Plan {
        let calm = random.chance(150);
        let net = match calm || random.chance(400) {
            true => NetFaults::none(),
            false => NetFaults::mix(random.next()),
        };
        let disk = match calm || random.chance(500) {
            true => FaultMix::default(),
            false => gentle(FaultMix::draw(random)),
        };
        let deaths = if calm { 0 } else { random.below(5) };
        let mut deaths: Vec<(Duration, Death)> = (0..deaths).map(|_| draw_death(random)).collect();
        deaths.sort_by_key(|(at, _)| *at);
        Plan {
            producers: 1 + random.index(3),
            consumers: 1 + random.index(3),
            window: 1 + random.index(6),
            net,
            disk,
            options: draw_options(random),
            deaths,
            calm,
        }
    }
}

/// A disk that fails with every tenth operation lets no process live long enough to be interesting.
fn gentle(mix: FaultMix) -> FaultMix {
    FaultMix {
        write_errors: mix.write_errors.min(5),
        short_writes: mix.short_writes.min(5),
        flush_errors: mix.flush_errors.min(5),
        folder_errors: mix.folder_errors.min(20),
        ..mix
    }
}

fn draw_death(random: &Random) -> (Duration, Death) {
    let at = Duration::from_micros(random.below(STORM.as_micros() as u64));
    (at, if random.chance(700) { Death::Crash } else { Death::Stop })
}

fn draw_options(random: &Random) -> StoreOptions {
    StoreOptions {
        segment_bytes: (32 * 1024) << random.below(4),
        writes_in_flight_max: 1 + random.index(4),
        tail_cache_bytes: [0, 16 * 1024, 1 << 20][random.index(3)],
        cold_bytes_max: [0, 16 * 1024, 1 << 20][random.index(3)],
        appended_bytes_max: [16 * 1024, 1 << 20][random.index(2)],
        flush: [FlushHow::Fdatasync, FlushHow::Dsync, FlushHow::Probe][random.index(3)],
        answer_before_flush: false,
        ..StoreOptions::default()
    }
}
