//! Apache's evaluator of conditions beside ours, over random conditions and messages.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ringmq_engine::env::Random;
use ringmq_server::broker::condition::Condition;
use ringmq_wire::record::properties;

use super::build;

/// Pairs that are evaluated together.
const ROUND: u64 = 2_000;

/// A condition and a message that the two see differently.
#[derive(Debug)]
pub struct Difference {
    /// The condition.
    pub condition: String,
    /// The message's encoded properties.
    pub properties: String,
    /// What Apache's evaluator says.
    pub apache: String,
    /// What ours says.
    pub ours: String,
}

/// How often each outcome came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Conditions that passed the message.
    pub passed: u64,
    /// Conditions that are false for it.
    pub failed: u64,
    /// Conditions that are unknown, or make no sense for it.
    pub unknown: u64,
    /// Texts that are no condition.
    pub refused: u64,
}

/// Compares `pairs` random conditions and messages; `done` is told how many were.
pub fn compare(seed: u64, pairs: u64, mut done: impl FnMut(u64)) -> Result<Outcomes, Box<Difference>> {
    let random = Random::new(seed);
    let mut apache = Apache::start();
    let mut outcomes = Outcomes::default();
    let mut compared = 0;
    while compared < pairs {
        let round = ROUND.min(pairs - compared);
        let drawn: Vec<(String, String)> =
            (0..round).map(|_| (condition(&random), message(&random))).collect();
        for ((condition, properties), apache) in drawn.iter().zip(apache.evaluate(&drawn)) {
            let ours = evaluate(condition, properties.as_bytes());
            if ours != apache {
                let (condition, properties) = (condition.clone(), properties.clone());
                return Err(Box::new(Difference { condition, properties, apache, ours: ours.into() }));
            }
            *match ours {
                "true" => &mut outcomes.passed,
                "false" => &mut outcomes.failed,
                "unknown" => &mut outcomes.unknown,
                _ => &mut outcomes.refused,
            } += 1;
        }
        compared += round;
        done(compared);
    }
    Ok(outcomes)
}

fn evaluate(condition: &str, properties: &[u8]) -> &'static str {
    match Condition::compile(condition).map(|condition| condition.evaluate(properties)) {
        Err(_) => "refused",
        Ok(None) => "unknown",
        Ok(Some(true)) => "true",
        Ok(Some(false)) => "false",
    }
}

/// The running evaluator.
struct Apache {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Apache {
    fn start() -> Apache {
        let mut java = Command::new("java");
        java.arg("-cp").arg(format!("{}/*", build::apache().display()));
        java.arg(build::root().join("tests/compat/apache/Evaluator.java"));
        java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = java.spawn().expect("a JDK is there");
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().expect("it was asked for"));
        Apache { process, to, from }
    }

    fn evaluate(&mut self, pairs: &[(String, String)]) -> Vec<String> {
        let lines = pairs.iter().map(|(condition, properties)| {
            format!("{}\t{}\n", base64(condition.as_bytes()), base64(properties.as_bytes()))
        });
        let mut to = self.to.take().expect("it is put back");
        let lines: String = lines.chain(["\n".to_owned()]).collect();
        // It answers while it is being asked, and a pipe holds only so much.
        let writing = std::thread::spawn(move || {
            to.write_all(lines.as_bytes()).and_then(|()| to.flush()).expect("the evaluator reads");
            to
        });
        let answers = self.from.by_ref().lines().map(|line| line.expect("the evaluator answers"));
        let answers: Vec<String> = answers.take_while(|line| line != "done").collect();
        assert_eq!(answers.len(), pairs.len(), "the evaluator answers every line");
        self.to = Some(writing.join().expect("it does not panic"));
        answers
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let at = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[at as usize]) } else { '=' });
        }
    }
    text
}

const NAMES: [&str; 8] = ["a", "b", "c", "A", "_x", "$d1", "TAGS", "none"];
#[rustfmt::skip]
const VALUES: [&str; 40] = [
    "0", "1", "5", "-5", "+5", "007", "5.0", "5.5", ".5", "5.", "1e1", "-0.0", " 5", "5 ", "5d", "NaN", "-Infinity", "inf", "1e999",
    "2147483647", "2147483648", "-2147483649", "9223372036854775807", "9223372036854775808", "true", "TRUE", "false", "x", "xy", "yx",
    "it's", "größe", "日本", "TagA", "1,5", "--", "e5", "5L", "0x5", "\u{1}z",
];
#[rustfmt::skip]
const NUMBERS: [&str; 24] = [
    "0", "1", "5", "5L", "6l", "10", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "5.5", "5.", ".5",
    "1E1", "5e-1", "0.0", "0e5", "1E999", "4.9E-324", "1e-400", "007", "0L", "1.5.5", "5E",
];

/// A message's properties, encoded; each name may be there once, or twice.
fn message(random: &Random) -> String {
    let mut encoded = Vec::new();
    for name in NAMES {
        for _ in 0..[0, 1, 1, 1, 2][random.index(5)] {
            if name != "none" {
                // Hexadecimal is a known difference.
                let value = VALUES[random.index(VALUES.len())];
                properties::push(name, if value == "0x5" { "0y5" } else { value }, &mut encoded);
            }
        }
    }
    String::from_utf8(encoded).expect("made of text")
}

/// A condition; one in five is spoiled somewhere, and so mostly none.
fn condition(random: &Random) -> String {
    let mut text = String::new();
    truth(random, 4, &mut text);
    if random.chance(200) {
        let mut words: Vec<&str> = text.split(' ').collect();
        let at = random.index(words.len());
        match random.below(3) {
            0 => drop(words.remove(at)),
            1 => words.insert(
                at,
                ["NOT", "(", ")", "AND", "5", "'x", "#", "--", "IS", "a", "/* */"][random.index(11)],
            ),
            _ => {
                words[at] = ["OR", "=", "<>", "NULL", "IN", "BETWEEN", "-", "CONTAINS", "!="][random.index(9)]
            }
        }
        return words.join(" ");
    }
    text
}

/// Adds something that is true, false or unknown. Everything is between single blanks.
fn truth(random: &Random, depth: u32, out: &mut String) {
    let joined = depth > 0;
    match random.below(if joined { 14 } else { 9 }) {
        0 | 1 => {
            value(random, depth, out);
            out.push_str([" =", " <>"][random.index(2)]);
            value(random, depth, out);
        }
        2 | 3 => {
            value(random, depth, out);
            out.push_str([" >", " >=", " <", " <="][random.index(4)]);
            value(random, depth, out);
        }
        4 => {
            value(random, depth, out);
            out.push_str([" IS NULL", " is not null"][random.index(2)]);
        }
        5 => {
            value(random, depth, out);
            out.push_str([" BETWEEN", " NOT BETWEEN"][random.index(2)]);
            value(random, depth, out);
            out.push_str(" AND");
            value(random, depth, out);
        }
        6 => {
            name(random, out);
            out.push_str([" IN (", " NOT IN ("][random.index(2)]);
            let count = 1 + random.index(7);
            for number in 0..count {
                text(random, out);
                out.push_str(if number + 1 < count { " ," } else { " )" });
            }
        }
        7 => {
            value(random, depth, out);
            out.push_str([" ", " NOT "][random.index(2)]);
            out.push_str(["CONTAINS", "STARTSWITH", "endsWith"][random.index(3)]);
            text(random, out);
        }
        8 => out.push_str([" TRUE", " FALSE", " NULL", " a", " none"][random.index(5)]),
        9 => {
            out.push_str(" NOT (");
            truth(random, depth - 1, out);
            out.push_str(" )");
        }
        10 => {
            out.push_str(" (");
            truth(random, depth - 1, out);
            out.push_str(" )");
        }
        _ => {
            truth(random, depth - 1, out);
            out.push_str([" AND", " OR", " or"][random.index(3)]);
            truth(random, depth - 1, out);
        }
    }
}

/// Adds something to be compared.
fn value(random: &Random, depth: u32, out: &mut String) {
    match random.below(20) {
        0..9 => name(random, out),
        9..14 => {
            out.push(' ');
            out.push_str(NUMBERS[random.index(NUMBERS.len())]);
        }
        14 | 15 => text(random, out),
        16 => out.push_str([" TRUE", " false", " NULL"][random.index(3)]),
        17 => {
            out.push_str([" -", " +", " - -"][random.index(3)]);
            value(random, depth, out);
        }
        18 if depth > 0 => {
            out.push_str(" (");
            truth(random, depth - 1, out);
            out.push_str(" )");
        }
        _ => out.push_str(" a"),
    }
}

fn name(random: &Random, out: &mut String) {
    out.push(' ');
    out.push_str(NAMES[random.index(NAMES.len())]);
}

fn text(random: &Random, out: &mut String) {
    let value = VALUES[random.index(VALUES.len())].replace('\u{1}', "");
    let value = if random.chance(60) { "" } else { &value };
    out.push_str(" '");
    out.push_str(&value.replace('\'', "''"));
    out.push('\'');
}
