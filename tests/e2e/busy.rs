//! Readers that ask without a pause must not keep senders from their answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringmq_tests::compat::ringmq::{Node, NodeSettings};
use ringmq_tests::compat::site::Folder;
use ringmq_tests::compat::wire::await_that;
use ringmq_tests::load::remoting::Remoting;
use ringmq_tests::load::{Load, QUEUES, TOPIC};

/// Answers that must come in [`PATIENCE`]: a small part of what an idle disk gives.
const ANSWERS: usize = 2000;
const PATIENCE: Duration = Duration::from_secs(30);
/// Readers per shard: together they keep every core busy.
const READERS: usize = 2;

#[test]
fn readers_without_a_pause_do_not_starve_senders() {
    let folder = Folder::new("busy");
    let settings = NodeSettings::new(&folder.path, 2);
    let node = Node::start(settings.clone());
    let addresses: Vec<String> = (0..2).map(|shard| settings.shard_address(shard)).collect();
    for address in &addresses {
        Remoting::connect(address).expect("it listens").create_topic(TOPIC, QUEUES);
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for address in addresses.iter().flat_map(|address| [address; READERS]) {
            scope.spawn(|| poll_until(address, &stop));
        }
        let loads: Vec<Load> =
            addresses.iter().map(|address| Load::start(address, Default::default())).collect();
        await_that("answers at every shard", PATIENCE, || {
            loads.iter().all(|load| load.answers() >= ANSWERS).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
        drop(node);
        loads.into_iter().for_each(Load::end);
    });
}

/// Asks for the end of a queue again and again.
fn poll_until(address: &str, stop: &AtomicBool) {
    let mut remoting = Remoting::connect(address).expect("it listens");
    while !stop.load(Ordering::Relaxed) && remoting.pull(TOPIC, 0, 0, 0).is_ok() {}
}
