//! Where it cannot start, it says what is in the way and ends with an error.

use std::net::TcpListener;
use std::time::Duration;

use ringmq_tests::compat::process::Process;
use ringmq_tests::compat::ringmq::{Node, NodeSettings};
use ringmq_tests::compat::site::Folder;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_port_in_use_is_named() {
    let folder = Folder::new("port");
    let settings = NodeSettings::new(&folder.path, 1);
    for port in [settings.port, settings.port - 2, settings.name_server_port] {
        // It never answers, and is this process.
        let _other = TcpListener::bind(("127.0.0.1", port)).expect("the port was free");
        let owner = format!("the port is in use by process {}", std::process::id());
        fails_saying(&settings, &[&format!("127.0.0.1:{port}"), &owner]);
    }
}

#[test]
fn a_folder_in_use_is_named() {
    let folder = Folder::new("locked");
    let node = Node::start(NodeSettings::new(&folder.path, 1));
    let second = NodeSettings::new(&folder.path, 1);
    fails_saying(&second, &[&folder.path.display().to_string(), "in use by another process"]);
    drop(node);
}

#[test]
fn an_unknown_setting_is_named() {
    let folder = Folder::new("setting");
    let mut settings = NodeSettings::new(&folder.path, 1);
    settings.more.push("log.flsh=sync".to_string());
    fails_saying(&settings, &["log.flsh", "log.flush"]);
}

fn fails_saying(settings: &NodeSettings, expected: &[&str]) {
    let (status, lines) = Process::start("ringmq", &mut settings.command()).finish(PATIENCE);
    let output = lines.join("\n");
    assert!(!status.success(), "it must not start:\n{output}");
    for part in expected {
        assert!(output.contains(part), "it must say {part:?}:\n{output}");
    }
}
