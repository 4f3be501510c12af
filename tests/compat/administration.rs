//! mqadmin 5.3.3 against our brokers and name server: exit status, and what an operator looks for.

use std::process::Command;

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
        let cluster = ["-c", "DefaultCluster"];
        //  command, its arguments, what its output must contain
        let rows: [(&str, Vec<&str>, Vec<&str>); 13] = [
            (
                "updateTopic",
                [&cluster[..], &["-t", "Made", "-r", "6", "-w", "6"]].concat(),
                vec!["success", "Made"],
            ),
            ("topicList", vec![], vec!["Made", "Progress", "%RETRY%readers"]),
            ("topicRoute", vec!["-t", "Made"], vec!["\"readQueueNums\":6", &broker, &address]),
            ("topicStatus", vec!["-t", "Progress"], vec!["#Broker Name", &broker]),
            ("updateTopicPerm", [&cluster[..], &["-t", "Made", "-p", "4"]].concat(), vec!["success"]),
            ("topicRoute", vec!["-t", "Made"], vec!["\"perm\":4"]),
            ("updateSubGroup", [&cluster[..], &["-g", "made_group"]].concat(), vec!["success", "made_group"]),
            ("clusterList", vec![], vec!["DefaultCluster", &broker, &address]),
            ("brokerStatus", vec!["-b", &address], vec!["brokerVersionDesc", "putTps"]),
            ("consumerProgress", vec![], vec!["readers"]),
            ("consumerProgress", vec!["-g", "readers"], vec!["Progress", "Consume Diff Total: 0"]),
            ("deleteTopic", [&cluster[..], &["-t", "Made"]].concat(), vec!["success"]),
            ("topicClusterList", vec!["-t", "Progress"], vec!["DefaultCluster"]),
        ];
        for (name, arguments, expected) in rows {
            let (success, output) = run(&site, name, &arguments);
            assert!(success, "{name} {arguments:?}:\n{output}");
            for part in expected {
                assert!(output.contains(part), "{name} {arguments:?} must say {part:?}:\n{output}");
            }
        }
        let (_, output) = run(&site, "topicList", &[]);
        assert!(!output.lines().any(|line| line.trim() == "Made"), "deleted, and still listed:\n{output}");
    }
}

fn run(site: &Site, name: &str, arguments: &[&str]) -> (bool, String) {
    let arguments: Vec<&str> = [name].iter().chain(arguments).copied().collect();
    let mut command: Command = apache::mqadmin(&site.name_server, &site.folder().join("mqadmin"), &arguments);
    let (status, lines) = Process::start(name, &mut command).finish(PATIENCE);
    // It exits with 0 even when a command throws, and prints the exception.
    let output = lines.join("\n");
    (status.success() && !output.contains("Exception"), output)
}
