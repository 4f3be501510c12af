//! The Rust client at a node of ours, of one shard and of two.

use ringmq_tests::client::{administration, run, sending};
use ringmq_tests::compat::ringmq::{Node, NodeSettings};
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
}
