//! Captures the golden bytes: lets every official client talk to Apache's name server and broker through
//! a recording proxy, and saves each kind of frame once.
//!
//! ```text
//!     cargo run -p ringmq-tools --bin capture-golden -- net/wire/tests/golden
//!
//!     client ──▶ 127.0.0.2:N ──▶ name server 127.0.0.1:N
//!            ──▶ 127.0.0.2:B ──▶ broker      127.0.0.1:B (advertises 127.0.0.2)
//! ```
//!
//! The proxy changes no byte: both servers listen on 127.0.0.1 and are reached through the same port on
//! 127.0.0.2, which is the host that the broker advertises. Clients run one after another, so that a
//! connection belongs to the client that runs when it is opened.

mod recorder;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringmq_tests::compat::apache::{self, Broker, BrokerSettings};
use ringmq_tests::compat::client::{self, Client, Kind};
use ringmq_tests::compat::wire::await_route;
use serde_json::json;

use recorder::Recorder;

const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let Some(target) = std::env::args().nth(1).map(PathBuf::from) else {
        panic!("say where the captured frames belong, as the first argument");
    };
    let home = std::env::temp_dir().join(format!("ringmq-golden-{}", std::process::id()));
    let recorder = Recorder::new(&target);
    recorder.label("apache-5.3.3");

    let name_server = apache::name_server(&home.join("namesrv"));
    let name_server_proxy = name_server.address.replace("127.0.0.1", "127.0.0.2");
    recorder.forward(&name_server_proxy, &name_server.address);
    let mut settings = BrokerSettings::new(&home.join("broker"), &name_server_proxy);
    settings.advertised_host = "127.0.0.2".to_string();
    let broker_port = settings.port;
    recorder.forward(&format!("127.0.0.2:{broker_port}"), &format!("127.0.0.1:{broker_port}"));
    let _broker = Broker::start(settings);

    let kinds = client::ALL.into_iter().chain([Kind::JavaBinary("5.3.3"), Kind::JavaBinary("4.9.8")]);
    for kind in kinds {
        println!("{}", kind.label());
        recorder.label(&kind.label());
        let topic = format!("Golden_{}", kind.word());
        talk(Client::start(kind, &name_server_proxy, &home.join(kind.word())), &topic, &name_server.address);
    }
    recorder.label("mqadmin-5.3.3");
    administer(&home, &name_server_proxy);
    println!("{} frames in {}", recorder.saved(), target.display());
    // Left-overs in the folder for temporary files are no failure.
    let _ = std::fs::remove_dir_all(home);
}

/// Lets one client do each thing once.
fn talk(mut client: Client, topic: &str, name_server: &str) {
    let send = |way: &str, count: u32| json!({"do": "send", "topic": topic, "way": way, "count": count, "tag": "TagA"});
    client.carry_out("single", send("sync", 1), PATIENCE);
    await_route(name_server, topic, "broker-a", PATIENCE);
    client.carry_out("oneway", send("oneway", 1), PATIENCE);
    client.carry_out("batch", send("batch", 3), PATIENCE);
    client.carry_out("async", send("async", 1), PATIENCE);
    let mut large = send("sync", 1);
    large["bytes"] = 6000.into();
    client.carry_out("large", large, PATIENCE);
    let mut text = send("selector", 1);
    text["prefix"] = "消息-ключ".into();
    text["property"] = "значение 值".into();
    client.carry_out("text", text, PATIENCE);

    // The C++ library marks a batch in a way that brokers do not understand: its three messages are stored
    // as one, which has no tag.
    let (count, tagged) = if client.kind() == Kind::Python { (6, 5) } else { (8, 8) };
    let group = format!("{topic}_readers");
    let mut consume = json!({"do": "consume", "topic": topic, "group": group, "failures": 0});
    client.order("reader", consume.clone());
    // Longer than the 5 s between two commits of the offsets.
    read(&mut client, "reader", count, Duration::from_secs(12));
    client.finish("reader", PATIENCE);

    consume["group"] = format!("{group}_retry").into();
    consume["failures"] = 1.into();
    client.order("refuser", consume.clone());
    client.until("refuser", "refused", PATIENCE);
    client.finish("refuser", PATIENCE);

    consume["group"] = format!("{group}_orderly").into();
    consume["failures"] = 0.into();
    consume["orderly"] = true.into();
    consume["tags"] = "TagA || TagB".into();
    client.order("orderly", consume);
    read(&mut client, "orderly", tagged, Duration::from_secs(6));
    client.finish("orderly", PATIENCE);

    if let Kind::Java(_) | Kind::JavaBinary(_) = client.kind() {
        talk_java(&mut client, topic, &group);
    }
}

/// What only the Java client's program can do.
fn talk_java(client: &mut Client, topic: &str, group: &str) {
    client.order("lite", json!({"do": "lite", "topic": topic, "group": format!("{group}_lite")}));
    read(client, "lite", 8, Duration::from_secs(8));
    client.finish("lite", PATIENCE);
    client.carry_out("offsets", json!({"do": "offsets", "topic": topic}), PATIENCE);
    for (id, offset, tags) in [("beyond", 1_000_000, "*"), ("unmatched", 0, "TagZ")] {
        let pull = json!({"do": "pull", "topic": topic, "queue": 0, "offset": offset, "tags": tags});
        client.carry_out(id, pull, PATIENCE);
    }
    client.carry_out("find", json!({"do": "find", "topic": topic, "key": "single-0"}), PATIENCE);
    let mut refused = json!({"do": "send", "topic": "bad topic"});
    client.carry_out("bad", refused.clone(), PATIENCE);
    refused["topic"] = topic.into();
    refused["queue"] = 99.into();
    client.carry_out("unknown-queue", refused, PATIENCE);
}

/// Reads `count` messages, and then whatever comes during `quiet`: the client's own timers go on.
fn read(client: &mut Client, id: &str, count: usize, quiet: Duration) {
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut messages = 0;
    while messages < count {
        match client.next(id, deadline) {
            Some(event) if event["event"] == "message" => messages += 1,
            Some(_) => {}
            None => client.process().fail(&format!("{id} read only {messages} of {count}")),
        }
    }
    let quiet_end = std::time::Instant::now() + quiet;
    while client.next(id, quiet_end).is_some() {}
}

/// The administration commands that the compatibility suite uses.
fn administer(home: &Path, name_server: &str) {
    let commands: [&[&str]; 11] = [
        &["updateTopic", "-c", "DefaultCluster", "-t", "GoldenAdmin", "-r", "4", "-w", "4"],
        &["topicList"],
        &["topicRoute", "-t", "GoldenAdmin"],
        &["topicStatus", "-t", "Golden_java-5_3_3"],
        &["updateSubGroup", "-c", "DefaultCluster", "-g", "GoldenGroup"],
        &["clusterList"],
        &["brokerStatus", "-c", "DefaultCluster"],
        &["consumerProgress"],
        &["consumerProgress", "-g", "Golden_java-5_3_3_readers"],
        &["updateTopicPerm", "-c", "DefaultCluster", "-t", "GoldenAdmin", "-p", "4"],
        &["deleteTopic", "-c", "DefaultCluster", "-t", "GoldenAdmin"],
    ];
    for command in commands {
        let mut mqadmin = apache::mqadmin(name_server, &home.join("mqadmin"), command);
        ringmq_tests::compat::process::run(command[0], &mut mqadmin, PATIENCE);
    }
}
