//! Conditions on properties (SQL92): what consumers get by them, and what they mean.

use ringmq_tests::compat::client::{Client, Kind};
use ringmq_tests::compat::evaluator::compare;
use ringmq_tests::compat::site::Site;
use serde_json::json;

use crate::reading::{PATIENCE, keys, only, read_exactly};

/// Clients that subscribe by conditions; C++ 2.x has none.
const KINDS: [Kind; 4] = [Kind::Java("4.9.8"), Kind::Java("5.3.3"), Kind::Java("5.5.0"), Kind::Go];

#[test]
fn consumers_get_what_fulfils_their_condition() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Selected", 2, 6);
        let mut sender = site.client(Kind::Java("5.3.3"));
        let mut expected = Vec::new();
        for (note, tag) in [("3", "TagA"), ("7", "TagA"), ("7", "TagB"), ("12", "TagB"), ("seven", "TagA")] {
            let prefix = format!("{note}-{tag}");
            let order = json!({"do": "send", "topic": "Selected", "way": "selector", "count": 4, "prefix": prefix,
                "tag": tag, "property": note});
            let sent = only(sender.carry_out(&prefix, order, PATIENCE), "sent");
            if tag == "TagB" || note == "3" {
                expected.extend(keys(&sent).into_iter().map(str::to_string));
            }
        }
        expected.sort_unstable();
        let sql = "note < 5 OR (TAGS = 'TagB' AND note BETWEEN 6 AND 20)";
        let mut readers: Vec<Client> = KINDS.into_iter().map(|kind| site.client(kind)).collect();
        for reader in &mut readers {
            let group = format!("sql-{}", reader.kind().word());
            reader.order("sql", json!({"do": "consume", "topic": "Selected", "group": group, "sql": sql}));
        }
        for reader in &mut readers {
            let messages = read_exactly(reader, "sql", expected.len());
            assert_eq!(keys(&messages), expected, "{}", reader.kind().label());
            reader.finish("sql", PATIENCE);
        }
    }
}

/// The long form is a command: `compare_conditions`.
#[test]
fn random_conditions_mean_what_they_mean_at_apaches() {
    let outcomes = compare(1, 20_000, |_| {}).unwrap_or_else(|difference| panic!("{difference:#?}"));
    println!("{outcomes:?}");
    let each = [outcomes.passed, outcomes.failed, outcomes.unknown, outcomes.refused];
    assert!(each.iter().all(|count| *count > 1_000), "every outcome is frequent: {outcomes:?}");
}
