//! Power cuts in the short form. They mount file systems, which needs root; without it they fail, unless
//! `RINGMQ_NO_ROOT=1` says that they are to be left out (`./test --no-root`).
//!
//! `RINGMQ_SEED` in the environment replaces the seed. The long form is the program `power_cut`.

use ringmq_tests::power::file_system::{Kind, enter_own_mounts, missing};
use ringmq_tests::power::replay::{Answers, Scope};
use ringmq_tests::power::{cuts, replay};

/// Whether a campaign is to run; panics if it is and cannot.
fn is_wanted() -> bool {
    if std::env::var("RINGMQ_NO_ROOT").is_ok_and(|told| told == "1") {
        println!("left out: RINGMQ_NO_ROOT=1");
        return false;
    }
    if let Some(missing) = missing() {
        panic!("{missing}; RINGMQ_NO_ROOT=1 leaves these tests out");
    }
    enter_own_mounts().unwrap_or_else(|error| panic!("{error}"));
    true
}

/// Prints the seed before it is used.
fn seed() -> u64 {
    let seed = std::env::var("RINGMQ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    seed
}

#[test]
fn what_was_answered_survives_power_cuts_on_ext4_and_xfs() {
    if !is_wanted() {
        return;
    }
    for kind in Kind::ALL {
        let tally =
            cuts::run(kind, 5, seed(), |_| ()).unwrap_or_else(|lost| panic!("{}: {lost}", kind.name()));
        println!("{kind:?} {tally:#?}");
        assert!(tally.answered > 0 && tally.found >= tally.answered);
    }
}

#[test]
fn what_was_answered_is_on_the_device_at_every_flush() {
    if !is_wanted() {
        return;
    }
    let tally = replay::run(&scope(Answers::AfterFlush), |_| ()).unwrap_or_else(|lost| panic!("{lost}"));
    println!("{tally:#?}");
    assert!(tally.states >= 10 && tally.torn > 0 && tally.found > 0);
}

#[test]
fn a_node_that_answers_before_it_flushes_is_caught() {
    if !is_wanted() {
        return;
    }
    let lost = replay::run(&scope(Answers::BeforeFlush), |_| ());
    println!("{}", lost.expect_err("the campaign sees that what was answered is lost"));
}

fn scope(answers: Answers) -> Scope {
    Scope { kind: Kind::Ext4, answers, flushes: 10, starting_stride: 20, seed: seed() }
}
