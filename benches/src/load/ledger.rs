//! Which requests are in flight, and what their answers measured. Pure: every moment is handed in.
//!
//! Each connection has `in_flight` lanes; a lane has at most one request in flight. Lane `connection · in_flight + slot`
//! asks with the opaques `OPAQUE_BASE + round · in_flight + slot`, so an answer names its lane.
//!
//! Invariants
//!  1. Every lane is in flight, free, or rested; `in_flight` and `rested` count the first and the last.
//!  2. An answer belongs to the phase in which it came, and is measured once.
//!  3. In an open loop, what waits for a free lane keeps the moment at which it was due.

use super::generator::Plan;
use super::pace::{Pace, Schedule};
use super::template::{OPAQUE_BASE, OPAQUE_SPAN};
use super::timeline::Timeline;
use super::warm_up::{Warmed, Watch};
use super::windows::Windows;
use super::{Lane, LoadError, Moment, Work, Wrong};
use hdrhistogram::Histogram;
use ringmq_wire::Head;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Longer latencies are recorded as this long; no run is.
const LATENCY_MAX: Duration = Duration::from_secs(600);
/// Longest sleep: a hang, the end of a phase, and that this very thread could not run, are noticed no later.
const SLEEP_MAX: Duration = Duration::from_millis(2);

/// What a run found.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Messages of the answers measured.
    pub messages: u64,
    /// Answers measured.
    pub answers: u64,
    /// Answers with other codes than 0, by code, over the whole run. They are no part of the other numbers.
    pub refused: BTreeMap<i32, u64>,
    /// How long was measured.
    pub elapsed: Duration,
    /// Nanoseconds from when a request was due to its answer. In a closed loop it is due when its lane is free.
    pub latency: Histogram<u64>,
    /// Nanoseconds from when a request was handed to its connection to its answer.
    pub service: Histogram<u64>,
    /// Nanoseconds by which requests were handed over too late by the generator's own fault; empty in a closed loop.
    pub lateness: Histogram<u64>,
    /// The same as `latency`, by when the answers came.
    pub timeline: Timeline,
    /// How the warm-up ended; nothing was measured without it.
    pub warmed: Option<Warmed>,
    /// The latencies by windows, if the plan asked for them.
    pub windows: Option<Windows>,
    /// Longest time without any answer while answers were owed, over the whole run.
    pub longest_silence: Duration,
    /// Longest time by which the generator itself ran later than it had asked for, over the whole run. A silence that is
    /// not longer may be the machine's: it let nobody run.
    pub longest_oversleep: Duration,
}

impl Measured {
    /// Messages per second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Adds what another generator found in the same while: counts and distributions are summed, never averaged.
    pub fn merge(&mut self, other: &Measured) {
        self.messages += other.messages;
        self.answers += other.answers;
        for (code, count) in &other.refused {
            *self.refused.entry(*code).or_default() += count;
        }
        self.elapsed = self.elapsed.max(other.elapsed);
        for (ours, theirs) in [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.lateness, &other.lateness),
        ] {
            ours.add(theirs).expect("all have the same bounds");
        }
        self.timeline.add(&other.timeline);
        self.longest_silence = self.longest_silence.max(other.longest_silence);
        self.longest_oversleep = self.longest_oversleep.max(other.longest_oversleep);
    }
}

/// The state of a run. One per generator.
pub(super) struct Ledger {
    lanes: Vec<LaneState>,
    lanes_per_connection: usize,
    targets: usize,
    /// Lanes that may ask, in the order in which they became free.
    free: VecDeque<usize>,
    /// Lanes whose work has nothing more to ask.
    rested: usize,
    in_flight: usize,
    schedule: Option<Schedule>,
    /// Until then no lane was free, so what was due waited for the server and not for us.
    no_lane_until: Duration,
    stage: Stage,
    watch: Watch,
    measure: Duration,
    measured: Measured,
    last_answer: Duration,
    /// Of the time since then, so much we did not run and so could not hear an answer.
    deaf: Duration,
    start: Moment,
    /// Answered so far, measured or not.
    messages: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct LaneState {
    /// Of the request in flight; 0 for none.
    opaque: i32,
    round: i32,
    due: Duration,
    sent: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    WarmUp,
    Measuring { since: Duration },
    Draining,
}

impl Ledger {
    pub(super) fn new(plan: &Plan) -> Ledger {
        // Neighbours in this order are lanes of different connections.
        let free = (0..plan.in_flight)
            .flat_map(|slot| (0..plan.connections).map(move |connection| connection * plan.in_flight + slot))
            .collect();
        Ledger {
            lanes: vec![LaneState::default(); plan.lanes()],
            lanes_per_connection: plan.in_flight,
            targets: plan.targets.len(),
            free,
            rested: 0,
            in_flight: 0,
            schedule: match plan.pace {
                Pace::Closed => None,
                Pace::Open { rate } => Some(Schedule::new(rate)),
            },
            no_lane_until: Duration::ZERO,
            stage: Stage::WarmUp,
            watch: Watch::new(plan.warm_up, empty_histogram()),
            measure: plan.measure,
            measured: Measured {
                messages: 0,
                answers: 0,
                refused: BTreeMap::new(),
                elapsed: Duration::ZERO,
                latency: empty_histogram(),
                service: empty_histogram(),
                lateness: empty_histogram(),
                timeline: Timeline::new(plan.measure, &empty_histogram()),
                warmed: None,
                windows: plan.windows.map(|length| Windows::new(length, empty_histogram())),
                longest_silence: Duration::ZERO,
                longest_oversleep: Duration::ZERO,
            },
            last_answer: Duration::ZERO,
            deaf: Duration::ZERO,
            start: Moment::default(),
            messages: 0,
        }
    }

    /// Says what moment 0 is elsewhere.
    pub(super) fn starts_at(&mut self, start: Moment) {
        self.start = start;
    }

    /// Whether measuring begins now.
    pub(super) fn begin_measuring(&mut self, now: Duration) -> bool {
        if self.stage == Stage::WarmUp {
            self.measured.warmed = self.watch.ends(now);
            if self.measured.warmed.is_some() {
                self.stage = Stage::Measuring { since: now };
                return true;
            }
        }
        false
    }

    /// Whether asking and measuring end now: the time is up, or no lane has anything more to ask.
    pub(super) fn end_asking(&mut self, now: Duration) -> bool {
        let is_over = self.end().is_some_and(|end| now >= end) || self.rested == self.lanes.len();
        let ends = self.stage != Stage::Draining && is_over;
        if ends {
            if let Stage::Measuring { since } = self.stage {
                self.measured.elapsed = now.saturating_sub(since);
            }
            self.stage = Stage::Draining;
        }
        ends
    }

    /// When measuring ends, once it has begun.
    fn end(&self) -> Option<Duration> {
        match self.stage {
            Stage::Measuring { since } => Some(since + self.measure),
            _ => None,
        }
    }

    /// Whether nothing is asked any more and everything was answered.
    pub(super) fn is_drained(&self) -> bool {
        self.stage == Stage::Draining && self.in_flight == 0
    }

    pub(super) fn into_measured(mut self) -> Measured {
        self.measured.latency = self.measured.timeline.all(empty_histogram());
        self.measured
    }

    /// Messages answered so far, measured or not.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) fn connection_of(&self, lane: usize) -> usize {
        lane / self.lanes_per_connection
    }

    /// Takes a free lane, if a request is due, and says since when it is.
    pub(super) fn next_due(&mut self, now: Duration) -> Option<(usize, Duration)> {
        let lane = *self.free.front().filter(|_| self.stage != Stage::Draining)?;
        let due = match &mut self.schedule {
            None => now,
            Some(schedule) => Duration::from_nanos(schedule.take(now.as_nanos() as u64)?),
        };
        self.free.pop_front();
        if self.schedule.is_some() && matches!(self.stage, Stage::Measuring { .. }) {
            let could = due.max(self.no_lane_until);
            record(&mut self.measured.lateness, now.saturating_sub(could));
        }
        Some((lane, due))
    }

    /// Appends the next request of a lane that is neither in flight nor free; without one the lane rests.
    pub(super) fn ask(
        &mut self,
        lane: usize,
        due: Duration,
        now: Duration,
        work: &mut impl Work,
        out: &mut Vec<u8>,
    ) {
        let per_connection = self.lanes_per_connection as i32;
        let slot = (lane % self.lanes_per_connection) as i32;
        let state = &mut self.lanes[lane];
        let opaque = OPAQUE_BASE + state.round * per_connection + slot;
        let place = Lane { index: lane, target: (lane / self.lanes_per_connection) % self.targets };
        let moment = Moment {
            wall_ms: self.start.wall_ms + now.as_millis() as u64,
            due_ns: self.start.due_ns + due.as_nanos() as u64,
        };
        if !work.request(place, opaque, moment, out) {
            self.rested += 1;
            return;
        }
        let round = (state.round + 1) % (OPAQUE_SPAN / per_connection);
        *state = LaneState { opaque, round, due, sent: now };
        if self.in_flight == 0 {
            // Silence is counted only while an answer is owed.
            self.last_answer = now;
            self.deaf = Duration::ZERO;
        }
        self.in_flight += 1;
    }

    /// Checks and measures an answer; in a closed loop, asks again.
    pub(super) fn answered(
        &mut self,
        connection: usize,
        head: &Head<'_>,
        body: &[u8],
        now: Duration,
        work: &mut impl Work,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        let lane = self.lane_of(connection, head.opaque)?;
        let place = Lane { index: lane, target: connection % self.targets };
        let messages = match work.accepts(head.code) {
            true => Some(work.answer(place, head, body)?),
            false => None,
        };
        self.settle(lane, head.code, messages, now, work.turned());
        if self.schedule.is_none() && self.stage != Stage::Draining {
            self.ask(lane, now, now, work, out);
        } else {
            if self.free.is_empty() {
                self.no_lane_until = now;
            }
            self.free.push_back(lane);
        }
        Ok(())
    }

    /// How long nothing needs to be done unless an answer comes.
    pub(super) fn may_sleep(&self, now: Duration) -> Duration {
        let mut until = now + SLEEP_MAX;
        if self.stage != Stage::Draining {
            until = until.min(self.end().unwrap_or(until));
            if let Some(schedule) = self.schedule.filter(|_| !self.free.is_empty()) {
                until = until.min(Duration::from_nanos(schedule.next_ns()));
            }
        }
        until.saturating_sub(now)
    }

    /// Notes that a sleep of at most `allowed` lasted from `from` to `to`.
    pub(super) fn slept(&mut self, allowed: Duration, from: Duration, to: Duration) {
        let late = to.saturating_sub(from + allowed);
        self.measured.longest_oversleep = self.measured.longest_oversleep.max(late);
        self.deaf += late;
    }

    /// An error if answers are owed and none came for `patience`, in which we could have heard one.
    pub(super) fn check_that_it_lives(&mut self, now: Duration, patience: Duration) -> Result<(), LoadError> {
        let silence = now.saturating_sub(self.last_answer).saturating_sub(self.deaf);
        if self.in_flight > 0 && silence > patience {
            return Err(LoadError::Hung { in_flight: self.in_flight, silence });
        }
        Ok(())
    }

    fn lane_of(&self, connection: usize, opaque: i32) -> Result<usize, Wrong> {
        let unknown = || Wrong(format!("opaque {opaque} is of no request in flight"));
        let number = usize::try_from(opaque - OPAQUE_BASE.min(opaque)).map_err(|_| unknown())?;
        let lane = connection * self.lanes_per_connection + number % self.lanes_per_connection;
        if self.lanes[lane].opaque == opaque { Ok(lane) } else { Err(unknown()) }
    }

    /// Takes a lane's request out of flight; `messages` is `None` for a refusal.
    fn settle(&mut self, lane: usize, code: i32, messages: Option<u64>, now: Duration, turned: bool) {
        let state = &mut self.lanes[lane];
        state.opaque = 0;
        self.in_flight -= 1;
        let measured = &mut self.measured;
        measured.longest_silence = measured.longest_silence.max(now.saturating_sub(self.last_answer));
        self.last_answer = now;
        self.deaf = Duration::ZERO;
        match messages {
            None => *measured.refused.entry(code).or_default() += 1,
            Some(messages) => {
                self.messages += messages;
                let latency = now.saturating_sub(state.due);
                match self.stage {
                    Stage::WarmUp => self.watch.note(latency),
                    Stage::Measuring { since } => {
                        measured.messages += messages;
                        measured.answers += 1;
                        measured.timeline.note(now.saturating_sub(since), messages, latency);
                        if let Some(windows) = &mut measured.windows {
                            windows.note(now, latency, turned);
                        }
                        record(&mut measured.service, now.saturating_sub(state.sent));
                    }
                    Stage::Draining => {}
                }
            }
        }
    }
}

/// What latencies are recorded in: of fixed size, so that recording never allocates.
pub fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3).expect("bounds and digits are allowed")
}

fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    histogram.saturating_record(duration.as_nanos() as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::warm_up::WarmUp;
    use ringmq_wire::Fields;

    const MS: Duration = Duration::from_millis(1);

    /// Asks `left` times, and takes every answer for one message.
    struct Counted {
        left: u32,
        asked: Vec<(usize, i32)>,
    }

    impl Work for Counted {
        fn request(&mut self, lane: Lane, opaque: i32, _moment: Moment, _out: &mut Vec<u8>) -> bool {
            self.left = match self.left.checked_sub(1) {
                Some(left) => left,
                None => return false,
            };
            self.asked.push((lane.index, opaque));
            true
        }
        fn answer(&mut self, _lane: Lane, _head: &Head<'_>, _body: &[u8]) -> Result<u64, Wrong> {
            Ok(1)
        }
    }

    fn plan(pace: Pace) -> Plan {
        let targets = vec![([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
        let patience = 50 * MS;
        Plan {
            targets,
            connections: 2,
            in_flight: 2,
            pace,
            warm_up: WarmUp::exactly(10 * MS),
            measure: 100 * MS,
            patience,
            windows: None,
            stop: None,
        }
    }

    fn head(code: i32, opaque: i32) -> Head<'static> {
        Head { code, language: 0, version: 0, opaque, flag: 1, remark: None, fields: Fields::EMPTY }
    }

    struct Run {
        ledger: Ledger,
        work: Counted,
    }

    impl Run {
        fn new(pace: Pace, left: u32) -> Run {
            Run { ledger: Ledger::new(&plan(pace)), work: Counted { left, asked: Vec::new() } }
        }
        fn measuring(pace: Pace, left: u32) -> Run {
            let mut run = Run::new(pace, left);
            run.ledger = Ledger::new(&Plan { warm_up: WarmUp::NONE, ..plan(pace) });
            assert!(run.ledger.begin_measuring(Duration::ZERO));
            run
        }
        fn ask_what_is_due(&mut self, now: Duration) {
            while let Some((lane, due)) = self.ledger.next_due(now) {
                self.ledger.ask(lane, due, now, &mut self.work, &mut Vec::new());
            }
        }
        fn answer(
            &mut self,
            connection: usize,
            code: i32,
            opaque: i32,
            now: Duration,
        ) -> Result<(), LoadError> {
            let out = &mut Vec::new();
            self.ledger.answered(connection, &head(code, opaque), &[], now, &mut self.work, out)
        }
    }

    /// A histogram keeps three digits.
    fn assert_near(recorded_ns: u64, expected: Duration) {
        let expected_ns = expected.as_nanos() as u64;
        assert!(
            recorded_ns.abs_diff(expected_ns) <= expected_ns / 1000,
            "{recorded_ns} ns, not {expected_ns}"
        );
    }

    #[test]
    fn a_closed_loop_asks_on_every_lane_and_again_after_each_answer() {
        let mut run = Run::new(Pace::Closed, 100);
        run.ask_what_is_due(Duration::ZERO);
        let base = OPAQUE_BASE;
        assert_eq!(run.work.asked, [(0, base), (2, base), (1, base + 1), (3, base + 1)]);
        run.answer(1, 0, base + 1, 5 * MS).expect("in flight");
        assert_eq!(run.work.asked[4..], [(3, base + 3)]);
    }

    #[test]
    fn only_what_is_answered_while_measuring_is_measured() {
        let mut run = Run::new(Pace::Closed, 5);
        run.ask_what_is_due(Duration::ZERO);
        run.answer(0, 0, OPAQUE_BASE, 5 * MS).expect("in flight");
        assert!(!run.ledger.begin_measuring(9 * MS));
        assert!(run.ledger.begin_measuring(10 * MS));
        run.answer(0, 0, OPAQUE_BASE + 1, 20 * MS).expect("in flight");
        run.answer(1, 2, OPAQUE_BASE, 30 * MS).expect("in flight");
        assert!(run.ledger.end_asking(110 * MS));
        run.answer(1, 0, OPAQUE_BASE + 1, 120 * MS).expect("in flight");
        run.answer(0, 0, OPAQUE_BASE + 2, 121 * MS).expect("in flight");
        assert!(run.ledger.is_drained());
        let measured = run.ledger.into_measured();
        assert_eq!((measured.messages, measured.answers), (1, 1));
        assert_eq!(measured.refused, BTreeMap::from([(2, 1)]));
        assert_eq!(measured.elapsed, 100 * MS);
        assert_eq!(measured.longest_silence, 90 * MS);
        assert_near(measured.latency.max(), 20 * MS);
    }

    #[test]
    fn an_open_loop_counts_the_wait_for_a_lane_as_latency_but_not_as_our_lateness() {
        // Five are due within 4 ms; four lanes take four of them. The fifth gets a lane at 30 ms.
        let mut run = Run::measuring(Pace::Open { rate: 1000.0 }, 100);
        for ms in 0..5 {
            run.ask_what_is_due(ms * MS);
        }
        assert_eq!(run.work.asked.len(), 4);
        run.answer(0, 0, OPAQUE_BASE, 30 * MS).expect("in flight");
        run.ask_what_is_due(31 * MS);
        assert_eq!(run.work.asked.len(), 5);
        run.answer(0, 0, OPAQUE_BASE + 2, 34 * MS).expect("in flight");
        let measured = run.ledger.into_measured();
        assert_eq!(measured.latency.len(), 2);
        assert_near(measured.latency.min(), 30 * MS);
        assert_near(measured.latency.max(), 30 * MS);
        assert_near(measured.service.min(), 3 * MS);
        assert_near(measured.lateness.max(), MS);
    }

    #[test]
    fn answers_to_nothing_end_the_run() {
        let mut run = Run::new(Pace::Closed, 4);
        run.ask_what_is_due(Duration::ZERO);
        for opaque in [0, -1, i32::MIN, i32::MAX, OPAQUE_BASE - 1, OPAQUE_BASE + 2] {
            assert!(matches!(run.answer(0, 0, opaque, MS), Err(LoadError::Wrong(_))), "{opaque}");
        }
        run.answer(0, 0, OPAQUE_BASE, MS).expect("in flight");
        assert!(matches!(run.answer(0, 0, OPAQUE_BASE, MS), Err(LoadError::Wrong(_))), "answered already");
    }

    #[test]
    fn a_server_that_owes_answers_and_is_silent_hangs() {
        let mut run = Run::new(Pace::Closed, 1);
        assert!(run.ledger.check_that_it_lives(Duration::from_secs(60), 50 * MS).is_ok(), "it owes nothing");
        run.ask_what_is_due(60 * MS);
        assert!(run.ledger.check_that_it_lives(110 * MS, 50 * MS).is_ok());
        let hung = run.ledger.check_that_it_lives(111 * MS, 50 * MS);
        assert!(matches!(hung, Err(LoadError::Hung { in_flight: 1, .. })), "{hung:?}");
        // It was us who did not run.
        run.ledger.slept(2 * MS, 111 * MS, 10_000 * MS);
        assert!(run.ledger.check_that_it_lives(10_050 * MS, 150 * MS).is_ok());
        assert!(run.ledger.check_that_it_lives(10_200 * MS, 150 * MS).is_err());
    }

    #[test]
    fn a_run_ends_early_when_no_lane_has_anything_to_ask() {
        let mut run = Run::measuring(Pace::Closed, 4);
        run.ask_what_is_due(Duration::ZERO);
        for (connection, opaque) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            assert!(!run.ledger.end_asking(MS));
            run.answer(connection, 0, OPAQUE_BASE + opaque, MS).expect("in flight");
        }
        assert!(run.ledger.end_asking(2 * MS));
        assert!(run.ledger.is_drained());
        assert_eq!(run.ledger.into_measured().elapsed, 2 * MS);
    }
}
