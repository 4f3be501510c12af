//! A broker restarts under its clients; offsets out of range.

use ringmq_tests::compat::client::{ALL, Client, Kind};
use ringmq_tests::compat::site::Site;
use serde_json::json;

use crate::reading::{PATIENCE, keys, number, only, read_at_least, text};

#[test]
fn clients_go_on_when_the_broker_comes_back() {
    for site in Site::all() {
        let mut site = site();
        site.create_topic("Restarted", 4, 6);
        let mut clients: Vec<Client> = ALL.into_iter().map(|kind| site.client(kind)).collect();
        for client in &mut clients {
            let group = format!("restarted-{}", client.kind().word());
            let orderly = client.kind() == Kind::Java("4.9.8");
            client.order(
                "reader",
                json!({"do": "consume", "topic": "Restarted", "group": group, "orderly": orderly}),
            );
        }
        let mut expected = Vec::new();
        for round in ["before", "after"] {
            for client in &mut clients {
                let prefix = format!("{round}_{}", client.kind().word());
                let order =
                    json!({"do": "send", "topic": "Restarted", "count": 10, "prefix": prefix, "retry": true});
                let sent = only(client.carry_out(&prefix, order, PATIENCE), "sent");
                expected.extend(keys(&sent).into_iter().map(str::to_string));
            }
            expected.sort_unstable();
            for client in &mut clients {
                let mut read: Vec<String> = Vec::new();
                // The tail that was not committed may come again; nothing may be missing.
                while !expected.iter().all(|key| read.contains(key)) {
                    let message = read_at_least(client, "reader", 1).remove(0);
                    read.push(text(&message, "keys").to_string());
                }
            }
            if round == "before" {
                site.restart();
                expected.clear();
            }
        }
        for client in &mut clients {
            client.finish("reader", PATIENCE);
        }
    }
}

#[test]
fn a_pull_out_of_range_is_told_where_to_go_on() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Ranges", 1, 6);
        for release in ["4.9.8", "5.3.3", "5.5.0"] {
            let mut client = site.client(Kind::Java(release));
            let first = client.kind().word();
            let order = json!({"do": "send", "topic": "Ranges", "queue": 0, "count": 5});
            client.carry_out(&first, order, PATIENCE);
            let order = json!({"do": "offsets", "topic": "Ranges"});
            let queues = only(client.carry_out("bounds", order, PATIENCE), "queue");
            let end = queues.iter().map(|queue| number(queue, "max")).max().expect("a queue");
            //            offset, status, where to go on
            let rows =
                [(end + 1000, "OFFSET_ILLEGAL", end), (end, "NO_NEW_MSG", end), (end - 2, "FOUND", end)];
            for (row, (offset, status, next)) in rows.into_iter().enumerate() {
                let order = json!({"do": "pull", "topic": "Ranges", "queue": 0, "offset": offset});
                let pulled = client.carry_out(&format!("pull{row}"), order, PATIENCE).remove(0);
                // At a node of two shards the queue 0 of either may be asked; the empty one ends at 0.
                if number(&pulled, "max") != end {
                    continue;
                }
                assert_eq!(text(&pulled, "status"), status, "{release} at {offset}: {pulled}");
                assert_eq!(number(&pulled, "next"), next, "{release} at {offset}: {pulled}");
            }
        }
    }
}
