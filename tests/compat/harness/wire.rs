//! Single remoting requests over a plain socket, as JSON: enough to ask whether a server is ready.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Between two tries to reach a server that is not there yet.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// An answer: its header and its body.
pub struct Answer {
    /// The header, as JSON.
    pub head: Value,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The response code.
    pub fn code(&self) -> i64 {
        self.head["code"].as_i64().expect("an answer has a code")
    }

    /// The remark; empty if there is none.
    pub fn remark(&self) -> &str {
        self.head["remark"].as_str().unwrap_or("")
    }
}

/// Asks one request over a connection of its own.
pub fn ask(address: &str, code: i32, fields: Value, body: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let head = json!({
        "code": code, "flag": 0, "language": "JAVA", "opaque": 1, "version": 479,
        "serializeTypeCurrentRPC": "JSON", "extFields": fields,
    });
    stream.write_all(&frame(head.to_string().as_bytes(), body))?;
    read_answer(&mut stream)
}

/// A frame with a JSON header.
pub fn frame(head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + head.len() + body.len());
    bytes.extend_from_slice(&((4 + head.len() + body.len()) as u32).to_be_bytes());
    bytes.extend_from_slice(&(head.len() as u32).to_be_bytes());
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(body);
    bytes
}

/// Reads one frame with a JSON header.
pub fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut words = [0; 8];
    stream.read_exact(&mut words)?;
    let length = u32::from_be_bytes([words[0], words[1], words[2], words[3]]) as usize;
    let head_bytes = u32::from_be_bytes([0, words[5], words[6], words[7]]) as usize;
    let mut rest = vec![0; length.saturating_sub(4)];
    stream.read_exact(&mut rest)?;
    let body = rest.split_off(head_bytes.min(rest.len()));
    let head = serde_json::from_slice(&rest).map_err(io::Error::other)?;
    Ok(Answer { head, body })
}

/// Waits until the name server at `address` knows a route for `topic` that names `broker`.
pub fn await_route(address: &str, topic: &str, broker: &str, patience: Duration) {
    let what = format!("a route of {topic} to {broker}");
    await_that(&what, patience, || is_routed(address, topic, broker).then_some(()));
}

/// Whether the name server at `address` knows a route for `topic` that names `broker`.
pub fn is_routed(address: &str, topic: &str, broker: &str) -> bool {
    ask(address, 105, json!({ "topic": topic }), b"").is_ok_and(|answer| {
        answer.code() == 0 && String::from_utf8_lossy(&answer.body).contains(&format!("\"{broker}\""))
    })
}

/// Asks again and again until there is an answer.
pub fn await_that<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        std::thread::park_timeout(BETWEEN_TRIES);
    }
}
