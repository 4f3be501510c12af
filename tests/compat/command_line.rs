//! Our commands at Apache's broker: the scenarios that run at our own nodes on every test run.

use ringmq_tests::command_line::{At, cluster, groups, messages, mqadmin, placement, tails, topics};
use ringmq_tests::compat::site::Site;

#[test]
fn every_command_works_at_apaches_broker() {
    let site = Site::apache();
    let brokers = site.brokers().into_iter().map(|(name, _)| name).collect();
    let at = At { name_server: &site.name_server, brokers };
    for scenario in [topics, placement, messages, tails, groups, cluster, mqadmin] {
        scenario(&at);
    }
}
