//! Conditions on properties: ours beside Apache's evaluator, and how many ours evaluates in a second.
//!
//! `cargo run -p ringmq-tests --release --bin compare_conditions -- --pairs 1000000`
//!
//! | argument | |
//! | --- | --- |
//! | `--pairs N` | random conditions, each with a random message (100,000) |
//! | `--seed S` | the first (1) |
//!
//! Exit status 1 when the two see a message differently. Needs a JDK and Maven.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ringmq_server::broker::condition::Condition;
use ringmq_tests::compat::evaluator::compare;
use ringmq_tests::progress::Progress;

/// Repetitions of one turn, and turns, of which the fastest counts: what disturbs a turn only makes it longer.
const PER_TURN: u32 = 10_000;
const TURNS: usize = 100;

/// What is timed: a message of Java's, and conditions from short to long.
const PROPERTIES: &[u8] = b"KEYS\x01k1\x02UNIQ_KEY\x017F0000011A2B3C4D5E6F000000180C00\x02WAIT\x01true\x02TAGS\x01TagA\x02price\x0112.50\x02\
    region\x01eu-west\x02count\x0142\x02MSG_REGION\x01DefaultRegion\x02TRACE_ON\x01true\x02CLUSTER\x01DefaultCluster\x02";
const TIMED: [&str; 3] = [
    "count > 5",
    "TAGS = 'TagA' AND count BETWEEN 5 AND 100",
    "(region IN ('eu-west', 'eu-east') OR region IS NULL) AND price > 10.5 AND NOT (KEYS CONTAINS 'x')",
];

fn main() -> ExitCode {
    let (mut pairs, mut seed) = (100_000, 1);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse().ok());
        match (word.as_str(), value) {
            ("--pairs", Some(value)) => pairs = value,
            ("--seed", Some(value)) => seed = value,
            _ => {
                eprintln!("compare_conditions: {word} is not understood; see the head of this file");
                return ExitCode::from(2);
            }
        }
    }
    let mut progress = Progress::new("pairs", pairs);
    let compared = compare(seed, pairs, |done| progress.show(done, format_args!("seed {seed}")));
    progress.end();
    let outcomes = match compared {
        Ok(outcomes) => outcomes,
        Err(difference) => {
            println!("seed {seed}: {difference:#?}");
            return ExitCode::FAILURE;
        }
    };
    println!("{pairs} conditions, each with a message, from seed {seed}: no difference");
    println!("{outcomes:?}");
    for text in TIMED {
        println!("{:>12.0} evaluations/s   {text}", rate(text));
    }
    ExitCode::SUCCESS
}

fn rate(text: &str) -> f64 {
    let condition = Condition::compile(text).expect("it is one");
    let turn = || {
        let started = Instant::now();
        for _ in 0..PER_TURN {
            assert!(black_box(&condition).admits(black_box(PROPERTIES)));
        }
        started.elapsed()
    };
    let fastest = (0..TURNS).map(|_| turn()).min().unwrap_or(Duration::MAX);
    f64::from(PER_TURN) / fastest.as_secs_f64()
}
