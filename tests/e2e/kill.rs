//! SIGKILL at random moments: nothing answered is missing, nothing read changes, no offset is used twice.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringmq_tests::compat::process::Process;
use ringmq_tests::compat::ringmq::{Node, NodeSettings};
use ringmq_tests::compat::site::Folder;
use ringmq_tests::compat::wire::await_that;

use crate::load::{Known, Load, QUEUES, TOPIC, append};
use crate::remoting::Remoting;

const PATIENCE: Duration = Duration::from_secs(60);
const SHARDS: usize = 2;

#[test]
fn what_was_answered_survives_every_kill() {
    let kills = from_environment("RINGMQ_E2E_KILLS").unwrap_or(5);
    let seed = from_environment("RINGMQ_E2E_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("RINGMQ_E2E_KILLS={kills} RINGMQ_E2E_SEED={seed}");
    let mut random = Random(seed);
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
            verify(&mut remoting, &mut known.lock().expect("no thread panicked"), shard, round == kills);
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
            kill_while_starting(&settings, &mut random);
        }
    }
    println!("{kills} kills, {answered} answered sends, none missing");
    assert!(answered as u64 >= kills, "there was something to lose");
}

/// Compares what the shard has with all that was ever known about it. `whole` reads each queue again from
/// its start; otherwise only what is new is read.
fn verify(remoting: &mut Remoting, known: &mut Known, shard: usize, whole: bool) {
    for queue in 0..QUEUES {
        let before = known.read[queue].clone();
        if whole {
            known.read[queue].clear();
        }
        loop {
            let next = known.read[queue].len() as i64;
            let records = remoting.pull(TOPIC, queue, next, 0).expect("a pull is answered");
            if records.is_empty() {
                break;
            }
            append(&mut known.read[queue], records, queue);
        }
        let now = &known.read[queue];
        assert!(
            now.len() >= before.len(),
            "shard {shard}, queue {queue}: {} became {}",
            before.len(),
            now.len()
        );
        assert!(now[..before.len()] == before[..], "shard {shard}, queue {queue}: what was read has changed");
        for (offset, body) in &known.answered[queue] {
            let record = usize::try_from(*offset).ok().and_then(|offset| now.get(offset));
            let record = record.unwrap_or_else(|| {
                panic!("shard {shard}, queue {queue}: offset {offset} was answered; the end is {}", now.len())
            });
            assert!(record.body == *body, "shard {shard}, queue {queue}: offset {offset} has other bytes");
        }
    }
}

/// Starts the node and kills it before it can be reached: recovery must not need to finish.
fn kill_while_starting(settings: &NodeSettings, random: &mut Random) {
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

/// Xorshift: the same choices for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 |= 1 << 63;
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
