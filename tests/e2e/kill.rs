//! SIGKILL at random moments: nothing answered is missing, nothing read changes, no offset is used twice.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringmq_engine::env::Random;
use ringmq_tests::compat::process::Process;
use ringmq_tests::compat::ringmq::{Node, NodeSettings};
use ringmq_tests::compat::site::Folder;
use ringmq_tests::compat::wire::await_that;
use ringmq_tests::load::remoting::Remoting;
use ringmq_tests::load::{Extent, Known, Load, QUEUES, TOPIC};

const PATIENCE: Duration = Duration::from_secs(60);
const SHARDS: usize = 2;

#[test]
fn what_was_answered_survives_every_kill() {
    let kills = from_environment("RINGMQ_E2E_KILLS").unwrap_or(5);
    let seed = from_environment("RINGMQ_E2E_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("RINGMQ_E2E_KILLS={kills} RINGMQ_E2E_SEED={seed}");
    let random = Random::new(seed);
    let folder = Folder::new("kill");
    let mut settings = NodeSettings::new(&folder.path, SHARDS);
    // Near edges: many segments are filled and sealed.
    settings.more.push("log.segment_bytes=8MiB".to_string());
    let known: Vec<Arc<Mutex<Known>>> = (0..SHARDS).map(|_| Arc::default()).collect();
    let mut answered = 0;
    for round in 0..=kills {
        let mut node = Node::start(settings.clone());
        for (shard, known) in known.iter().enumerate() {
            let mut remoting = Remoting::connect(&settings.shard_address(shard)).expect("it listens");
            if round == 0 {
                remoting.create_topic(TOPIC, QUEUES);
            }
            // Everything again in the end only; until then what is new.
            let extent = if round == kills { Extent::Whole } else { Extent::New };
            let checked = known.lock().expect("no thread panicked").check(&mut remoting, extent, 0);
            checked.unwrap_or_else(|wrong| panic!("shard {shard}, {wrong}"));
        }
        if round == kills {
            break;
        }
        let loads: Vec<Load> = (0..SHARDS)
            .map(|shard| Load::start(&settings.shard_address(shard), known[shard].clone()))
            .collect();
        let target = 1 + random.below(3000) as usize;
        await_that(&format!("{target} answers"), PATIENCE, || {
            let answers: usize = loads.iter().map(Load::answers).sum();
            (answers >= target).then_some(())
        });
        node.process.kill();
        answered += loads.iter().map(Load::answers).sum::<usize>();
        loads.into_iter().for_each(Load::end);
        if random.below(4) == 0 {
            kill_while_starting(&settings, &random);
        }
    }
    println!("{kills} kills, {answered} answered sends, none missing");
    assert!(answered as u64 >= kills, "there was something to lose");
}

/// Starts the node and kills it before it can be reached: recovery must not need to finish.
fn kill_while_starting(settings: &NodeSettings, random: &Random) {
    let mut process = Process::start("ringmq", &mut settings.command());
    let lines = random.below(4);
    for _ in 0..lines {
        process.next_line(Instant::now() + Duration::from_millis(20));
    }
    process.kill();
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}
