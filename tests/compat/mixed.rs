//! Halves of Apache's and halves of ours: each broker registers with the other's name server, and clients
//! work through it.

use ringmq_tests::compat::apache::{self, Broker, BrokerSettings};
use ringmq_tests::compat::client::{Client, Kind};
use ringmq_tests::compat::ringmq::{Node, NodeSettings};
use ringmq_tests::compat::site::Folder;
use serde_json::json;

use crate::reading::{PATIENCE, only, read_exactly};

#[test]
fn apaches_broker_works_with_our_name_server() {
    let folder = Folder::new("mixed");
    let mut settings = NodeSettings::new(&folder.path.join("node"), 1);
    settings.more.push("server.roles=namesrv".to_string());
    // Without the broker's role there is no shard to wait for; the broker below waits for the route.
    settings.shards = 1;
    let _name_server = Node::start_name_server(settings.clone());
    let _broker = Broker::start(BrokerSettings::new(&folder.path.join("broker"), &settings.name_server()));
    exchange(&settings.name_server(), &folder);
}

#[test]
fn our_shards_work_with_apaches_name_server() {
    let folder = Folder::new("mixed");
    let name_server = apache::name_server(&folder.path.join("namesrv"));
    let mut settings = NodeSettings::new(&folder.path.join("node"), 2);
    settings.more.push("server.roles=broker".to_string());
    settings.more.push(format!("server.namesrv={}", name_server.address));
    let _node = Node::start_registering_with(settings, &name_server.address);
    exchange(&name_server.address, &folder);
}

/// A new topic, and messages from Java and Go through it, read by both.
fn exchange(name_server: &str, folder: &Folder) {
    let kinds = [Kind::Java("5.3.3"), Kind::Go];
    let mut clients: Vec<Client> = kinds
        .into_iter()
        .map(|kind| Client::start(kind, name_server, &folder.path.join(kind.word())))
        .collect();
    for client in &mut clients {
        let prefix = client.kind().word();
        let order = json!({"do": "send", "topic": "Mixed", "way": "selector", "count": 20, "prefix": prefix});
        assert_eq!(only(client.carry_out("sender", order, PATIENCE), "sent").len(), 20);
    }
    for client in &mut clients {
        let group = format!("mixed-{}", client.kind().word());
        client.order("reader", json!({"do": "consume", "topic": "Mixed", "group": group}));
        read_exactly(client, "reader", 40);
        client.finish("reader", PATIENCE);
    }
}
