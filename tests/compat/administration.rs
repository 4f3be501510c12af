//! mqadmin 5.3.3 against our brokers and name server: exit status, and what an operator looks for.

use ringmq_tests::compat::apache;
use ringmq_tests::compat::client::Kind;
use ringmq_tests::compat::process::Process;
use ringmq_tests::compat::site::Site;
use serde_json::json;

use crate::reading::{PATIENCE, read_exactly};

#[test]
fn mqadmin_manages_topics_groups_and_the_cluster() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Progress", 4, 6);
        let mut client = site.client(Kind::Java("5.3.3"));
        let order = json!({"do": "send", "topic": "Progress", "way": "selector", "count": 12});
        client.carry_out("sent", order, PATIENCE);
        client.order("reader", json!({"do": "consume", "topic": "Progress", "group": "readers"}));
        read_exactly(&mut client, "reader", 12);
        // Its shutdown commits the offsets.
        client.finish("reader", PATIENCE);

        let (broker, address) = site.brokers().remove(0);
        let cluster = |more: &[&'static str]| [&["-c", "DefaultCluster"], more].concat();
        let commands = |rows: &[Row]| run_all(&site, rows);
        commands(&[
            ("updateTopic", &cluster(&["-t", "Made", "-r", "6", "-w", "6"]), &["success", "Made"]),
            ("updateSubGroup", &cluster(&["-g", "made_group"]), &["success", "made_group"]),
        ]);
        commands(&[
            ("topicList", &[], &["Made", "Progress", "%RETRY%readers"]),
            ("topicRoute", &["-t", "Made"], &["\"readQueueNums\":6", &broker, &address]),
            ("topicStatus", &["-t", "Progress"], &["#Broker Name", &broker]),
            ("topicClusterList", &["-t", "Progress"], &["DefaultCluster"]),
            ("clusterList", &[], &["DefaultCluster", &broker, &address]),
            ("brokerStatus", &["-b", &address], &["brokerVersionDesc", "putTps"]),
            ("consumerProgress", &[], &["readers"]),
            ("consumerProgress", &["-g", "readers"], &["Progress", "Consume Diff Total: 0"]),
        ]);
        commands(&[("updateTopicPerm", &cluster(&["-t", "Made", "-p", "4"]), &["success"])]);
        commands(&[("topicRoute", &["-t", "Made"], &["\"perm\":4"])]);
        commands(&[("deleteTopic", &cluster(&["-t", "Made"]), &["success"])]);
        let output = commands(&[("topicList", &[], &["Progress"])]).remove(0);
        assert!(!output.lines().any(|line| line.trim() == "Made"), "deleted, and still listed:\n{output}");
    }
}

/// A command, its arguments, and what its output must contain.
type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

/// Runs commands that do not depend on each other at the same time, because each takes seconds to end;
/// returns their outputs.
fn run_all(site: &Site, rows: &[Row]) -> Vec<String> {
    let start = |(name, arguments, _): &Row| {
        let arguments: Vec<&str> = [name].into_iter().chain(*arguments).copied().collect();
        let home = site.folder().join("mqadmin");
        Process::start(name, &mut apache::mqadmin(&site.name_server, &home, &arguments))
    };
    let running: Vec<Process> = rows.iter().map(start).collect();
    let mut outputs = Vec::new();
    for (process, (name, arguments, expected)) in running.into_iter().zip(rows) {
        let (status, lines) = process.finish(PATIENCE);
        let output = lines.join("\n");
        // It exits with 0 even when a command throws, and prints the exception.
        assert!(
            status.success() && !output.contains("Exception"),
            "{name} {arguments:?}: {status}\n{output}"
        );
        for part in *expected {
            assert!(output.contains(part), "{name} {arguments:?} must say {part:?}:\n{output}");
        }
        outputs.push(output);
    }
    outputs
}
