//! The campaigns are tested too: each planted mistake must be caught by one of them.

use ringmq_engine::planted::{Bug, plant};
use ringmq_engine::testing::{cold, crash, io_fault, rot};

/// The campaign that catches the bug that is planted, and what it found; `None` if all are content.
fn caught(seed: u64, (short_states, long_states): (u64, u64)) -> Option<(&'static str, String)> {
    let crashes = |scope| crash::run(&scope, |_| ()).err().map(|violation| ("crash", violation.to_string()));
    cold::run(seed, 60, |_| ())
        .err()
        .map(|violation| ("cold", violation.to_string()))
        .or_else(|| crashes(crash::Scope::short(seed, short_states)))
        .or_else(|| crashes(crash::Scope::short_retaining(seed, short_states)))
        .or_else(|| {
            rot::run(&rot::Scope::workloads(seed, 10), |_| ())
                .err()
                .map(|violation| ("rot", violation.to_string()))
        })
        .or_else(|| {
            io_fault::run(&io_fault::Scope::workloads(seed, 1), |_| ())
                .err()
                .map(|violation| ("io_fault", violation.to_string()))
        })
        // One of them shows only where a sector of a lost write and all of the next one survive.
        .or_else(|| crashes(crash::Scope::long(seed, long_states)))
}

#[test]
fn every_planted_bug_is_caught() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        plant(Some(bug));
        match caught(1, (20_000, 400_000)) {
            Some((campaign, what)) => {
                println!("{bug:?}: {campaign}: {}", what.lines().next().unwrap_or_default());
            }
            None => missed.push(bug),
        }
        plant(None);
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn without_a_planted_bug_the_same_campaigns_are_content() {
    plant(None);
    assert_eq!(caught(1, (5_000, 5_000)), None);
}
