//! Pulls, through frames.

use crate::broker::testing::Table;

#[test]
fn rule_21_pulled_records_are_complete_and_contiguous() {
    let mut table = Table::new();
    let conn = table.connect();
    for body in ["a", "b", "c"] {
        table.send(conn, "T", 0, "", body).expect(0);
    }
    let answer = table.pull(conn, "T", 0, 0, "*").expect(0);
    assert_eq!(answer.bodies(), ["a", "b", "c"]);
    for (number, record) in answer.records().iter().enumerate() {
        assert_eq!(record.queue_offset, number as i64);
        assert!(record.physical_offset > 0);
        assert_eq!(record.store_host, "10.0.0.2:10911".parse().unwrap());
        assert!(record.store_timestamp_ms > 0);
    }
}
