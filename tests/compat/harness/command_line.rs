//! One command of ours, run to its end: what it answered, what it said beside, and its exit code.

use std::io::Write;
use std::process::{Command, Stdio};

use super::ringmq::binary;

/// How a command ended.
#[derive(Debug)]
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// The answer (stdout).
    pub answer: String,
    /// The talk (stderr).
    pub talk: String,
}

impl Said {
    /// The answer as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.answer).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs `ringmq` with these arguments, and nothing to read.
pub fn ringmq(arguments: &[&str]) -> Said {
    ringmq_with(arguments, b"", &[])
}

/// Runs `ringmq` with something to read.
pub fn ringmq_reading(arguments: &[&str], input: &[u8]) -> Said {
    ringmq_with(arguments, input, &[])
}

/// Runs `ringmq` with something to read and variables of its environment. Nothing of whoever runs the tests plays a part.
pub fn ringmq_with(arguments: &[&str], input: &[u8], environment: &[(&str, &str)]) -> Said {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("NAMESRV_ADDR").env("XDG_CONFIG_HOME", "/nonexistent");
    command.envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary can be started");
    // Little enough for the pipe, so that nobody waits for the other; who does not read it has ended.
    let _ = child.stdin.take().expect("stdin is piped").write_all(input);
    let output = child.wait_with_output().expect("the binary can be waited for");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is text");
    Said {
        code: output.status.code().expect("it ends by itself"),
        answer: text(output.stdout),
        talk: text(output.stderr),
    }
}
