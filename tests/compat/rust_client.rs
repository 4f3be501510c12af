//! The Rust client at Apache's broker: the scenarios that it passes at ours, and the README's program.

use ringmq_tests::client::hello::Hello;
use ringmq_tests::client::{administration, consuming, run, sending};
use ringmq_tests::compat::site::Site;

#[test]
fn every_scenario_holds_at_apaches_broker() {
    let site = Site::apache();
    let at = &site.name_server;
    Hello::build(at).run();
    run(at, sending::every_way);
    run(at, sending::to_a_new_topic);
    run(at, sending::many_at_once);
    run(at, administration::topics);
    run(at, administration::groups);
    run(at, administration::cluster_and_messages);
    run(at, consuming::handlers);
    run(at, consuming::filters_and_starts);
    run(at, consuming::not_acknowledged);
    run(at, consuming::orderly);
    run(at, consuming::members);
    run(at, consuming::broadcast);
    run(at, consuming::by_hand);
}
