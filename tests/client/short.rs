//! The Rust client at a node of ours, of one shard and of two.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ringmq_tests::client::hello::{self, Hello};
use ringmq_tests::client::{administration, consuming, faults, run, sending};
use ringmq_tests::compat::build::root;
use ringmq_tests::compat::process::run as run_to_its_end;
use ringmq_tests::compat::ringmq::{Node, NodeSettings, binary};
use ringmq_tests::compat::site::Folder;

/// Runs a scenario at new nodes.
macro_rules! at_our_nodes {
    ($($name:ident: $scenario:path;)*) => {
        $(#[test]
        fn $name() {
            for shards in [1, 2] {
                let folder = Folder::new("client");
                let node = Node::start(NodeSettings::new(&folder.path.join("node"), shards));
                run(&node.settings.name_server(), $scenario);
            }
        })*
    };
}

at_our_nodes! {
    each_way_of_sending_stores_what_it_says: sending::every_way;
    a_topic_comes_into_being_by_its_first_message: sending::to_a_new_topic;
    many_sends_at_once_are_all_stored: sending::many_at_once;
    a_topic_from_its_making_to_its_end: administration::topics;
    a_groups_offsets_are_set_and_read: administration::groups;
    brokers_and_single_messages_are_found: administration::cluster_and_messages;
    handlers_get_every_message_once_and_the_group_goes_on_where_it_was: consuming::handlers;
    filters_and_places_to_begin: consuming::filters_and_starts;
    what_is_not_acknowledged_comes_again: consuming::not_acknowledged;
    an_orderly_handler_sees_each_queue_in_order: consuming::orderly;
    members_divide_the_queues_and_hand_over: consuming::members;
    broadcasts_reach_every_member: consuming::broadcast;
    queues_are_pulled_and_assigned_by_hand: consuming::by_hand;
}

#[test]
fn the_readmes_program_builds_small_and_greets() {
    let folder = Folder::new("client");
    let node = Node::start(NodeSettings::new(&folder.path.join("node"), 2));
    assert_eq!(hello::in_the_readme(), hello::on_the_crate_page());
    let program = Hello::build(&node.settings.name_server());
    program.run();
    let (crates, c) = (program.crates.len(), program.c());
    println!(
        "clean build of the README's program: {:.1} s, {:.1} s of CPU; {crates} crates; C: {}; unsafe: 0",
        program.wall.as_secs_f64(),
        program.cpu.as_secs_f64(),
        c.len(),
    );
    assert!(crates <= 60, "{:?}", program.crates);
    assert!(c.is_empty(), "{c:?}");
    // 30 s on two cores, whatever else they are doing.
    assert!(program.cpu <= Duration::from_secs(60), "{:?}", program.cpu);
    for library in ["client/src/lib.rs", "net/wire/src/lib.rs"] {
        assert!(hello::forbids_unsafe(Path::new(library)), "{library}");
    }
}

#[test]
fn the_examples_run() {
    let folder = Folder::new("client");
    let node = Node::start(NodeSettings::new(&folder.path.join("node"), 1));
    let url = format!("rocketmq://{}", node.settings.name_server());
    let examples = binary().with_file_name("examples");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(root()).args(["build", "--quiet", "-p", "ringmq-client", "--examples"]);
    run_to_its_end("cargo build", cargo.args(["--profile", "test"]), Duration::from_secs(600));
    for (example, expected) in [
        ("orders", "5: 4 boxes for customer-2"),
        ("logs", "10000 lines, 218890 bytes"),
        ("notifications", "b: ACME 42"),
        ("testing", "four boxes outlived the restart"),
    ] {
        let mut program = Command::new(examples.join(example));
        program.arg(&url).env("RINGMQ_BINARY", binary());
        let lines = run_to_its_end(example, &mut program, Duration::from_secs(60));
        assert!(lines.iter().any(|line| line == expected), "{example}: {lines:?}");
    }
}

/// `RINGMQ_CLIENT_KILLS=50` is the long form.
#[test]
fn every_ok_is_delivered_though_brokers_and_name_servers_die() {
    let kills = std::env::var("RINGMQ_CLIENT_KILLS").map_or(4, |kills| kills.parse().expect("a number"));
    let report = faults::run(kills);
    println!("{report:?}");
    assert_eq!(report.missed, 0, "{report:?}");
    assert_eq!(report.failed, 0, "every send is repeated until the broker is back: {report:?}");
    assert!(report.stored as u64 >= 300 * u64::from(kills), "{report:?}");
    assert!(report.grown < 128 * 1024 * 1024, "{report:?}");
}
