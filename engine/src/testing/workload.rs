//! A random workload: how a store is opened, which batches it is given, and at which pace.
//!
//! Edges are near: segments of a few blocks, so that every few batches roll; tail caches too small for what is
//! read back; frames of one sector and of many blocks; up to four writes in flight.

use std::time::Duration;

use super::model::{NUMBER_KEY, Plan, QUEUES, Timer};
use crate::env::Random;
use crate::limits::SEGMENT_BYTES_MIN;
use crate::pointing::KEYS_FROM;
use crate::retention::Retention;
use crate::store::{FlushHow, StoreOptions};

/// The folder that every workload opens.
pub const FOLDER: &str = "/data/store";

/// Keys of pointing facts.
const TIMERS_MAX: u64 = 6;

/// What a writer does before its next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Nothing: batches gather.
    Next,
    /// Lets time pass.
    Sleep(Duration),
    /// Waits until everything is durable.
    Durable,
}

/// One workload, decided by its seed.
#[derive(Debug, Clone)]
pub struct Workload {
    /// How the store is opened.
    pub options: StoreOptions,
    /// What it is given.
    pub plans: Vec<(Plan, Pace)>,
    /// Whether it is closed in the end.
    pub closes: bool,
}

impl Workload {
    /// Draws one.
    pub fn draw(random: &Random) -> Workload {
        let count = 6 + random.below(20);
        let options = draw_options(random);
        let mut plans =
            if random.chance(400) { draw_pairs(random, count) } else { draw_mixed(random, count) };
        if random.chance(300) {
            // So many facts that few segments change half of them: some sidecars then have no base of their own.
            let bulk = (0..30).map(|n| (format!("bulk/{n}").into_bytes(), Some(vec![b'b'; 60])));
            plans[0].0.facts.extend(bulk);
        }
        Workload { options, plans, closes: random.chance(300) }
    }

    /// Draws one whose log may hold few segments, so that others retire and are used again, most with facts that point into
    /// them.
    pub fn draw_retaining(random: &Random) -> Workload {
        let segment_bytes = SEGMENT_BYTES_MIN * (1 + random.below(2));
        let bytes_max = Some(segment_bytes * (1 + random.below(2)));
        let retention = Retention { bytes_max, ..Retention::default() };
        let mut options = StoreOptions { segment_bytes, retention, ..draw_options(random) };
        if random.chance(500) {
            // What is carried forward is then read from the disk, and others get on meanwhile.
            options.tail_cache_bytes = 0;
        }
        let draw = if random.chance(800) { draw_plan_with_timers } else { draw_plan };
        let plans = draw_steady(random, 16 + random.below(24), draw);
        Workload { options, plans, closes: random.chance(300) }
    }
}

fn draw_mixed(random: &Random, count: u64) -> Vec<(Plan, Pace)> {
    let quiet = random.chance(500);
    (0..count).map(|number| (draw_plan(random, number), draw_pace(random, quiet))).collect()
}

/// Batches that are mostly waited for, so that segments are sealed and retire while others are filled.
fn draw_steady(random: &Random, count: u64, draw: fn(&Random, u64) -> Plan) -> Vec<(Plan, Pace)> {
    let pace = || match random.below(10) {
        0..6 => Pace::Durable,
        6..8 => Pace::Sleep(Duration::from_millis(1 + random.below(5))),
        8 => Pace::Sleep(Duration::from_millis(1100)),
        _ => Pace::Next,
    };
    (0..count).map(|number| (draw(random, number), pace())).collect()
}

/// Small batches by twos, the second right behind the first: two frames of a sector or two in flight, whose
/// fates are all enumerated. What follows a lost frame and survives is the most dangerous thing on a disk.
fn draw_pairs(random: &Random, count: u64) -> Vec<(Plan, Pace)> {
    let pair = |number| Plan {
        number,
        records: vec![(random.index(QUEUES.len()), random.index(40))],
        facts: Vec::new(),
        timers: Vec::new(),
        lazy: false,
    };
    // A moment later, or both would be in one frame.
    let close = || Pace::Sleep(Duration::from_micros(1 + random.below(50)));
    let pace = |number: u64| if number.is_multiple_of(2) { Pace::Durable } else { close() };
    (0..count).map(|number| (pair(number), pace(number))).collect()
}

fn draw_options(random: &Random) -> StoreOptions {
    StoreOptions {
        segment_bytes: SEGMENT_BYTES_MIN * (1 + random.below(4)),
        writes_in_flight_max: 1 + random.index(4),
        tail_cache_bytes: [0, 16 * 1024, 1 << 20][random.index(3)],
        cold_bytes_max: [0, 16 * 1024, 1 << 20][random.index(3)],
        appended_bytes_max: 256 * 1024,
        flush: [FlushHow::Fdatasync, FlushHow::Dsync][random.index(2)],
        answer_before_flush: false,
        ..StoreOptions::default()
    }
}

/// A batch of records, of facts, or of both.
pub fn draw_plan(random: &Random, number: u64) -> Plan {
    let what = random.below(10);
    let records = if what < 8 { draw_records(random) } else { Vec::new() };
    let facts = if what > 4 || records.is_empty() { draw_facts(random, number) } else { Vec::new() };
    Plan { number, lazy: random.chance(150), records, facts, timers: Vec::new() }
}

/// The same, perhaps with changes of facts that point to records.
pub fn draw_plan_with_timers(random: &Random, number: u64) -> Plan {
    let mut plan = draw_plan(random, number);
    let key = |n| vec![KEYS_FROM, b't', n as u8];
    let first = random.below(TIMERS_MAX);
    // Each of another key, and a fact that is moved goes to one that is not changed otherwise.
    for n in 0..[0, 1, 2, 2, 3][random.index(5)] {
        let timer = match random.below(10) {
            0..5 => {
                Timer::Set(if random.chance(100) { 2000 + random.index(3000) } else { random.index(300) })
            }
            5..8 => Timer::Fire,
            _ => Timer::Move(key((first + 3 + n) % TIMERS_MAX)),
        };
        plan.timers.push((key((first + n) % TIMERS_MAX), timer));
    }
    plan
}

fn draw_records(random: &Random) -> Vec<(usize, usize)> {
    let count = if random.chance(700) { 1 } else { 2 + random.below(4) };
    let body_bytes = || match random.below(20) {
        0 => 2000 + random.index(4000),
        1..4 => 300 + random.index(900),
        _ => random.index(120),
    };
    (0..count).map(|_| (random.index(QUEUES.len()), body_bytes())).collect()
}

fn draw_facts(random: &Random, number: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut facts = vec![(NUMBER_KEY.to_vec(), Some(number.to_be_bytes().to_vec()))];
    for _ in 0..random.below(4) {
        let key = format!("fact/{}", random.below(6)).into_bytes();
        let value = random.chance(600).then(|| vec![number as u8; 1 + random.index(40)]);
        facts.push((key, value));
    }
    facts
}

fn draw_pace(random: &Random, quiet: bool) -> Pace {
    match random.below(if quiet { 20 } else { 8 }) {
        0..5 => Pace::Next,
        5..7 => Pace::Sleep(Duration::from_micros(random.below(500))),
        7 => Pace::Sleep(Duration::from_millis(250)),
        8 => Pace::Sleep(Duration::from_millis(2500)),
        _ => Pace::Durable,
    }
}
