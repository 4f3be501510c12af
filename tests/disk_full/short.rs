//! The disk that is filled and freed, in the short form. It mounts a file system, which needs root; without it the test
//! fails, unless `RINGMQ_NO_ROOT=1` says that it is to be left out (`./test --no-root`).

use ringmq_tests::disk_full::run;
use ringmq_tests::power::file_system::{enter_own_mounts, missing};

#[test]
fn a_full_disk_refuses_senders_only_and_resumes_by_itself() {
    if std::env::var("RINGMQ_NO_ROOT").is_ok_and(|told| told == "1") {
        println!("left out: RINGMQ_NO_ROOT=1");
        return;
    }
    if let Some(missing) = missing() {
        panic!("{missing}; RINGMQ_NO_ROOT=1 leaves this test out");
    }
    enter_own_mounts().unwrap_or_else(|error| panic!("{error}"));
    let tally = run(3, |_| ()).unwrap_or_else(|what| panic!("{what}"));
    println!("{tally:#?}");
    assert!(tally.lost == 0 && tally.answered > 500 && tally.refused > 30 && tally.offsets == 3);
}
