//! Crashes, failing operations, rot, and readers of what is on disk only: the short campaigns.
//!
//! `RINGMQ_SEED` in the environment replaces the seed. The long forms are the examples `crash_enumeration`,
//! `io_faults` and `bit_flips`.

use ringmq_engine::testing::{cold, crash, io_fault, rot};

/// Prints the seed before it is used.
fn seed() -> u64 {
    let seed = std::env::var("RINGMQ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    seed
}

#[test]
fn what_was_answered_survives_every_crash_and_nothing_half_happens() {
    let scope = crash::Scope::short(seed(), 20_000);
    let tally = crash::run(&scope, |_| ()).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{tally:#?}");
    assert!(tally.states >= 20_000);
    // A campaign that never gets to the rare places proves nothing about them.
    let rare = [tally.torn, tally.lost_some, tally.kept_more, tally.rolled];
    assert!(rare.iter().all(|count| *count > 100), "{rare:?}");
    assert!(tally.in_recovery > 100 && tally.after_recovery > 100);
}

#[test]
fn segments_retire_and_are_used_again_whatever_crashes() {
    let scope = crash::Scope::short_retaining(seed(), 10_000);
    let tally = crash::run(&scope, |_| ()).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{tally:#?}");
    let rare = [tally.torn, tally.rolled, tally.retired];
    assert!(rare.iter().all(|count| *count > 100) && tally.carried > 20, "{rare:?}, {}", tally.carried);
}

#[test]
fn any_single_failing_operation_refuses_or_stops_and_loses_nothing_answered() {
    let scope = io_fault::Scope::workloads(seed(), 3);
    let tally = io_fault::run(&scope, |_| ()).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{tally:#?}");
    let total = tally.total();
    assert!(total.lives() > 500 && total.refused > 50 && total.poisoned > 20 && total.went_on > 20);
}

#[test]
fn damage_below_the_watermark_is_never_taken_for_a_torn_tail() {
    let scope = rot::Scope::workloads(seed(), 20);
    let tally = rot::run(&scope, |_| ()).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{tally:#?}");
    let unread: u64 = tally.flips.values().map(|outcomes| outcomes.unread).sum();
    assert!(tally.noticed() > 200 && unread > 50);
    let rare = ["*.log", "*.side", "ringmq.json"].map(|kind| tally.flips[kind].count());
    assert!(rare.iter().all(|count| *count > 100) && tally.retired > 3, "{rare:?}");
}

/// The first segments are gone, and the sidecar that says so is damaged: the first read finds that out.
#[test]
fn a_queue_that_seems_to_begin_too_early_begins_where_it_does_once_its_sidecar_is_made_again() {
    let scope = rot::Scope { first_workload: 53, ..rot::Scope::workloads(1, 1) };
    let tally = rot::run(&scope, |_| ()).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!((tally.workloads, tally.retired), (1, 1));
}

#[test]
fn readers_that_are_behind_get_what_was_written_or_are_told_why_not() {
    let tally = cold::run(seed(), 200, |_| ()).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{tally:#?}");
    assert!(tally.served > 10_000 && tally.failed > 100 && tally.corrupt > 100);
}
