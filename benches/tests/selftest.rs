//! The harness measured by itself: a server whose percentiles are known beforehand.

use std::process::Command;

#[test]
fn what_is_known_beforehand_is_found() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringmq-bench"))
        .args(["selftest", "--only", "arithmetic", "--pauses", "2", "--format", "json"])
        .arg("--folder")
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("the program runs");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let bars = report["bars"].as_array().expect("bars");
    assert_eq!(bars.len(), 8);
    assert!(output.status.success(), "{bars:#?}");
}
