//! SIGTERM under load: a clean end in time, and nothing lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmq_tests::compat::ringmq::{Node, NodeSettings};
use ringmq_tests::compat::site::Folder;
use ringmq_tests::compat::wire::await_that;
use ringmq_tests::load::remoting::Remoting;
use ringmq_tests::load::{Known, Load, QUEUES, TOPIC};

#[test]
fn sigterm_under_load_ends_with_0_within_10_seconds_and_loses_nothing() {
    let folder = Folder::new("stop");
    let settings = NodeSettings::new(&folder.path, 2);
    let node = Node::start(settings.clone());
    let known: Vec<Arc<Mutex<Known>>> = vec![Arc::default(), Arc::default()];
    let mut loads = Vec::new();
    for (shard, known) in known.iter().enumerate() {
        let address = settings.shard_address(shard);
        Remoting::connect(&address).expect("it listens").create_topic(TOPIC, QUEUES);
        loads.push(Load::start(&address, known.clone()));
    }
    await_that("answers", Duration::from_secs(60), || {
        loads.iter().all(|load| load.answers() > 200).then_some(())
    });
    node.process.terminate();
    let (status, lines) = node.process.finish(Duration::from_secs(10));
    assert!(status.success(), "{status}:\n{}", lines.join("\n"));
    loads.into_iter().for_each(Load::end);

    let _node = Node::start(settings.clone());
    for (shard, known) in known.iter().enumerate() {
        let mut remoting = Remoting::connect(&settings.shard_address(shard)).expect("it listens");
        let known = known.lock().expect("no thread panicked");
        for queue in 0..QUEUES {
            for (offset, answered) in &known.answered[queue] {
                let records = remoting.pull(TOPIC, queue, *offset, 0).expect("a pull is answered");
                let record =
                    records.first().unwrap_or_else(|| panic!("shard {shard}: {queue}/{offset} is lost"));
                assert_eq!(
                    (record.queue_offset, &record.body),
                    (*offset, &answered.body),
                    "shard {shard}, queue {queue}"
                );
            }
        }
    }
}
