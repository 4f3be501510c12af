//! Commands at nodes of ours, of one shard and of two; and at places where no RocketMQ answers.

use std::io::{Read, Write};
use std::net::TcpListener;

use ringmq_tests::command_line::{At, cluster, groups, messages, mqadmin, placement, tails, topics};
use ringmq_tests::compat::command_line::{ringmq, ringmq_with};
use ringmq_tests::compat::ringmq::{Node, NodeSettings};
use ringmq_tests::compat::site::Folder;

#[test]
fn every_command_does_what_it_says() {
    for shards in [1, 2] {
        let folder = Folder::new("command-line");
        let node = Node::start(NodeSettings::new(&folder.path.join("node"), shards));
        let name_server = node.settings.name_server();
        let at = At { name_server: &name_server, brokers: node.settings.broker_names() };
        for scenario in [topics, placement, messages, tails, groups, cluster, mqadmin] {
            scenario(&at);
        }
    }
}

#[test]
fn where_nobody_answers_it_says_who_named_that_place() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (arguments, environment) in
        [(&["topic", "list", "-n", &free][..], None), (&["topic", "list"], Some(free.as_str()))]
    {
        let said = ringmq_with(arguments, b"", &[("NAMESRV_ADDR", environment.unwrap_or_default())]);
        let origin = if environment.is_some() { "NAMESRV_ADDR" } else { "--namesrv" };
        assert_eq!(said.code, 3, "{said:?}");
        for part in ["error[unreachable]", &free, &format!("comes from {origin}."), "ringmq serve"] {
            assert!(said.talk.contains(part), "{part:?}: {said:?}");
        }
    }
}

#[test]
fn a_server_that_hangs_is_given_up_after_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let said = ringmq(&["cluster", "-n", &address, "--timeout", "200ms"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.talk.contains("no answer from") && said.talk.contains("--timeout"), "{said:?}");
}

#[test]
fn a_web_server_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = [0; 64];
        let _ = connection.read(&mut request).unwrap();
        connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let said = ringmq(&["cluster", "-n", &address]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.talk.contains("as a web server does") && said.talk.contains("9876"), "{said:?}");
    server.join().unwrap();
}

#[test]
fn profiles_say_whom_to_ask() {
    let folder = Folder::new("profiles");
    let node = Node::start(NodeSettings::new(&folder.path.join("node"), 1));
    let file = folder.path.join("ringmq/config.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let name_server = node.settings.name_server();
    let text = format!(
        "default = \"near\"\n[profile.near]\nnamesrv = \"{name_server}\"\nformat = \"json\"\n\
         [profile.far]\nnamesrv = \"127.0.0.1:1\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let home = folder.path.to_str().unwrap();
    let with = |arguments: &[&str]| ringmq_with(arguments, b"", &[("XDG_CONFIG_HOME", home)]);
    let said = with(&["cluster"]);
    assert!(said.code == 0 && said.json()["brokers"].is_array(), "{said:?}");
    let said = with(&["cluster", "--profile", "far"]);
    assert!(said.code == 3 && said.talk.contains("comes from profile far."), "{said:?}");
    let said = with(&["cluster", "--profile", "nera"]);
    assert!(said.code == 2 && said.talk.contains("did you mean near?"), "{said:?}");
    let said = with(&["profile", "list"]);
    assert!(said.answer.contains(&name_server), "{said:?}");
}
