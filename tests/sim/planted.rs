//! The simulation is tested too: what breaks a promise to clients must not get through many seeds.

use ringmq_engine::planted::{Bug, plant};
use ringmq_server::broker::planted::{self, MoveBug};
use ringmq_tests::sim::moves::run_moves;
use ringmq_tests::sim::run;

const SEEDS: u64 = 200;

#[test]
fn bugs_that_clients_would_notice_are_caught() {
    let mut missed = Vec::new();
    for bug in [
        Bug::FlushDropped,
        Bug::AnswerBeforeFlush,
        Bug::AcknowledgedOutOfOrder,
        Bug::VisibleBeforeDurable,
        Bug::PoisonIgnored,
        Bug::TornTailCutsOneTooMany,
        Bug::AcknowledgedBlockRewritten,
        Bug::QueueEndForgotten,
        Bug::FolderSyncForgotten,
        Bug::KeysNotReplayed,
        Bug::SidecarKeySkipped,
    ] {
        plant(Some(bug));
        match (1..=SEEDS).find_map(|seed| run(seed).err()) {
            Some(failure) => println!("{bug:?}: {failure}"),
            None => missed.push(bug),
        }
        plant(None);
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn mistakes_in_internal_moves_are_caught() {
    let mut missed = Vec::new();
    for bug in MoveBug::ALL {
        planted::plant(Some(bug));
        match (1..=SEEDS).find_map(|seed| run_moves(seed).err()) {
            Some(failure) => println!("{bug:?}: {failure}"),
            None => missed.push(bug),
        }
        planted::plant(None);
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
