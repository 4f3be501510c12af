//! A disk that is full, or nearly: producers are refused, facts and consumers go on, and writing resumes by itself.

mod life;

use std::time::Duration;

use life::{Life, SEGMENT, hot_options as options};
use ringmq_engine::env::BLOCK_BYTES;
use ringmq_engine::env::sim::Disk;
use ringmq_engine::space::SpaceLimits;
use ringmq_engine::store::{AppendError, StoreOptions};

#[test]
fn a_full_disk_refuses_producers_first_and_resumes_by_itself() {
    // Nobody looks at shares of the disk: it has nothing left all of a sudden.
    let space = SpaceLimits { refuse_percent: 101, ..SpaceLimits::default() };
    let life = Life::open(Disk::new(), StoreOptions { space, ..options() }).expect("a new store opens");
    life.append_durably(&[0; 3000]);
    life.sim.run_for(Duration::from_secs(5));
    life.sim.change_disk(|disk| disk.set_capacity(0));
    let mut accepted = 0;
    let refused = loop {
        match life.append(&[&[1; 3000]]) {
            Ok(appended) => life.wait(appended),
            Err(error) => break error,
        }
        accepted += 1;
        life.sim.run_for(Duration::from_secs(1));
    };
    assert_eq!(refused, AppendError::DiskFull);
    assert!(accepted > 0);
    let appended = life.put(b"group", b"offset").expect("facts have a reserve");
    life.wait(appended);
    life.sim.change_disk(|disk| disk.set_capacity(10_000));
    life.sim.run_for(Duration::from_secs(2));
    life.append_durably(b"again");
    assert_eq!(life.bodies().map(|bodies| bodies.len()), Ok(accepted + 2));
}

#[test]
fn what_was_accepted_before_the_disk_turned_out_to_be_full_is_written_and_facts_go_on() {
    let space = SpaceLimits { refuse_percent: 101, reserve_bytes: SEGMENT / 2, ..SpaceLimits::default() };
    let life = Life::open(Disk::new(), StoreOptions { space, ..options() }).expect("a new store opens");
    life.append_durably(&[0; 3000]);
    // The writer is as far as what was prepared: whatever is accepted now still has a place.
    life.sim.change_disk(|disk| disk.set_capacity(0));
    let mut last = None;
    while let Ok(appended) = life.append(&[&[1; 300]]) {
        last = Some(appended);
        life.sim.run_for(Duration::from_micros(200));
    }
    life.wait(last.expect("some were accepted"));
    // Half a segment: what was accepted, two facts, and the seal.
    for n in 0..2u8 {
        let appended = life.put(b"group", &[n]).expect("facts have a reserve");
        life.wait(appended);
    }
}

#[test]
fn a_nearly_full_disk_refuses_producers_and_nobody_else_until_it_has_room_again() {
    let life = Life::open(Disk::new(), options()).expect("a new store opens");
    life.append_durably(b"before");
    life.sim.run_for(Duration::from_secs(5));
    let space = life.sim.disk().space();
    let used_blocks = ((space.total - space.available) / BLOCK_BYTES as u64) as usize;
    for (capacity, refused) in [(used_blocks * 100 / 95, true), (used_blocks * 100 / 80, false)] {
        life.sim.change_disk(|disk| disk.set_capacity(capacity));
        life.sim.run_for(Duration::from_secs(1));
        let append = life.append(&[b"more"]);
        let nearly = |error: &AppendError| {
            matches!(error, AppendError::DiskNearlyFull { used_percent: 90..=100, refuse_percent: 90 })
        };
        assert_eq!(append.as_ref().is_err_and(nearly), refused, "{used_blocks} of {capacity}: {append:?}");
        let appended = life.put(b"group", &(capacity as u64).to_be_bytes()).expect("facts go on");
        life.wait(appended);
        assert!(!life.bodies().expect("it reads").is_empty());
    }
}
