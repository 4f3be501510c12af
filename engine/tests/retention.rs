//! Segments that retire, seen through the store's door: what goes, what stays, and what becomes of the files.

mod life;

use std::time::Duration;

use life::{Life, SEGMENT, hot_options as options, names, verified};
use ringmq_engine::env::sim::Disk;
use ringmq_engine::retention::Retention;
use ringmq_engine::store::StoreOptions;

/// Appends and seals until the log has this many segments more, one after the other, so that each has its sidecar.
fn fill_segments(life: &Life, segments: u64) {
    let end = life.store.log_bounds().1.0 + segments * SEGMENT;
    while life.store.log_bounds().1.0 < end {
        life.append_durably(&[1; 3000]);
        life.sim.run_for(Duration::from_millis(20));
    }
}

#[test]
fn what_is_more_than_the_log_may_hold_retires_and_its_files_are_used_again() {
    let retention = Retention { bytes_max: Some(3 * SEGMENT), ..Retention::default() };
    let options = StoreOptions { retention, ..options() };
    let mut life = Life::open(Disk::new(), options.clone()).expect("a new store opens");
    life.wait(life.put(b"fact", b"from the first segment").expect("there is room"));
    for _ in 0..3 {
        fill_segments(&life, 6);
        life.sim.run_for(Duration::from_secs(2));
        let (start, end) = life.store.log_bounds();
        assert!(start.0 > 0 && end.0 - start.0 <= 4 * SEGMENT, "{start:?} to {end:?}");
        let queue = life.store.find_queue("orders", 0).expect("it is known");
        let (first, last) = life.store.bounds(queue);
        let bodies = life.bodies().expect("it reads").len() as u64;
        assert_eq!((first.0 > 0, last.0 - first.0), (true, bodies));
        // The log, the segment prepared ahead, and one spare file.
        let now = life.sim.disk();
        assert!(names(&now, ".log").len() <= 6 && names(&now, ".spare").len() <= 1, "{:?}", names(&now, ""));
        let oldest =
            |extension| names(&now, extension).first().and_then(|name| name.get(..20).map(str::to_owned));
        assert_eq!(oldest(".side"), oldest(".log"));

        let disk = life.close();
        let report = verified(&disk);
        assert!(report.is_whole() && report.torn_at.is_none(), "{report:?}");
        life = Life::open(disk, options.clone()).expect("it opens again");
        let queue = life.store.find_queue("orders", 0).expect("it is known");
        assert_eq!((life.store.bounds(queue), life.report.torn_bytes), ((first, last), 0));
        assert_eq!(life.store.fact(b"fact").as_deref(), Some(&b"from the first segment"[..]));
    }
}

#[test]
fn records_go_when_they_are_old_enough_but_not_because_the_clock_jumped() {
    let retention = Retention { age: Some(Duration::from_secs(7200)), ..Retention::default() };
    let life = Life::open(Disk::new(), StoreOptions { retention, ..options() }).expect("a new store opens");
    fill_segments(&life, 4);
    let start = || life.store.log_bounds().0.0;
    life.sim.run_for(Duration::from_secs(3600));
    assert_eq!(start(), 0);
    life.sim.jump_wall_clock(10 * 3_600_000);
    life.sim.run_for(Duration::from_secs(3600));
    assert_eq!(start(), 0, "the clock is not believed");
    life.sim.jump_wall_clock(-10 * 3_600_000);
    life.sim.run_for(Duration::from_secs(60));
    assert!(start() > 0, "two hours have passed by a clock that is right again");
    // The newest sidecar's segment stays: its base is what recovery begins with.
    let queue = life.store.find_queue("orders", 0).expect("it is known");
    assert!(life.store.bounds(queue).0 < life.store.bounds(queue).1);
}
