//! One command of ours, run to its end: what it answered, what it said beside, and its exit code.

use std::process::Command;

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

/// Runs `ringmq` with these arguments. No setting of whoever runs the tests plays a part.
pub fn ringmq(arguments: &[&str]) -> Said {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("NAMESRV_ADDR").env("XDG_CONFIG_HOME", "/nonexistent");
    let output = command.output().expect("the binary can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is text");
    Said {
        code: output.status.code().expect("it ends by itself"),
        answer: text(output.stdout),
        talk: text(output.stderr),
    }
}
