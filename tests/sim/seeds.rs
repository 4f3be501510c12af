//! Some seeds, each twice: the promises of `ringmq_tests::sim` hold, and everything happens as it did before.
//!
//! `RINGMQ_SEED` in the environment replaces the first seed. The long form is the binary `simulate`.

use ringmq_tests::sim::moves::{MovesReport, run_moves};
use ringmq_tests::sim::{Report, run};

const SEEDS: u64 = 20;

#[test]
fn whole_systems_keep_their_promises_and_the_same_seed_does_the_same() {
    let first = std::env::var("RINGMQ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seeds {first} to {}", first + SEEDS - 1);
    let mut total = Report::default();
    for seed in first..first + SEEDS {
        let report = run(seed).unwrap_or_else(|failure| panic!("{failure}"));
        let again = run(seed).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(report, again, "seed {seed} is not what it was");
        total.answered += report.answered;
        total.seen += report.seen;
        total.crashes += report.crashes;
        total.audits += report.audits;
        total.later += report.later;
        total.given_back += report.given_back;
    }
    println!("{total:?}");
    assert!(total.answered > 1_000 && total.seen > 1_000, "clients get something done: {total:?}");
    assert!(total.later > 100 && total.given_back > 100, "messages are moved: {total:?}");
    assert!(total.crashes > SEEDS / 4 && total.audits > SEEDS, "processes die and come back: {total:?}");
}

#[test]
fn internal_moves_happen_exactly_once_whatever_dies() {
    const SEEDS: u64 = 150;
    let first = std::env::var("RINGMQ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seeds {first} to {}", first + SEEDS - 1);
    let mut total = MovesReport::default();
    for seed in first..first + SEEDS {
        let report = run_moves(seed).unwrap_or_else(|failure| panic!("{failure}"));
        if seed % 10 == 0 {
            assert_eq!(run_moves(seed), Ok(report), "seed {seed} is not what it was");
        }
        total.later += report.later;
        total.given_back += report.given_back;
        total.came += report.came;
        total.crashes += report.crashes;
    }
    println!("{total:?}");
    assert!(total.later > 1_000 && total.given_back > 100 && total.crashes > SEEDS, "{total:?}");
    assert!(total.came >= total.later + total.given_back, "{total:?}");
}

/// Much of the memory for reads is held by what rules have asked for, when somebody else reads.
#[test]
fn a_read_that_needs_the_memory_of_what_rules_read_comes_back() {
    for seed in [604, 1060, 1780] {
        run_moves(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
