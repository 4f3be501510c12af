//! Sends and pulls over a plain socket.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::compat::wire::frame;
use serde_json::{Value, json};

/// Longer than any held request.
const READ_PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub struct Remoting {
    stream: TcpStream,
    input: BufReader<TcpStream>,
    opaque: i64,
}

/// An answer.
pub struct Answer {
    /// What [`Remoting::call`] returned for the request.
    pub opaque: i64,
    /// Response code.
    pub code: i64,
    /// Header fields.
    pub fields: Value,
    /// Text, on failures.
    pub remark: String,
    /// Body.
    pub body: Vec<u8>,
}

/// A record, as far as it is checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset in its queue.
    pub queue_offset: i64,
    /// Its body.
    pub body: Vec<u8>,
}

impl Remoting {
    /// Connects.
    pub fn connect(address: &str) -> io::Result<Remoting> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_PATIENCE))?;
        let input = BufReader::with_capacity(64 * 1024, stream.try_clone()?);
        Ok(Remoting { stream, input, opaque: 0 })
    }

    /// Sends a request; returns its opaque.
    pub fn call(&mut self, code: i32, fields: &Value, body: &[u8]) -> io::Result<i64> {
        self.opaque += 1;
        let head = json!({
            "code": code, "flag": 0, "language": "JAVA", "opaque": self.opaque, "version": 479,
            "extFields": fields,
        });
        self.stream.write_all(&frame(head.to_string().as_bytes(), body))?;
        Ok(self.opaque)
    }

    /// Reads the next answer. What the server asks on its own is passed over.
    pub fn answer(&mut self) -> io::Result<Answer> {
        loop {
            let mut words = [0; 8];
            self.input.read_exact(&mut words)?;
            let length = u32::from_be_bytes([words[0], words[1], words[2], words[3]]) as usize;
            let head_bytes = u32::from_be_bytes([0, words[5], words[6], words[7]]) as usize;
            let mut rest = vec![0; length - 4];
            self.input.read_exact(&mut rest)?;
            let body = rest.split_off(head_bytes);
            let head: Value = serde_json::from_slice(&rest).map_err(io::Error::other)?;
            if head["flag"].as_i64().is_some_and(|flag| flag & 1 == 1) {
                return Ok(Answer {
                    opaque: head["opaque"].as_i64().unwrap_or_default(),
                    code: head["code"].as_i64().unwrap_or(-1),
                    fields: head["extFields"].clone(),
                    remark: head["remark"].as_str().unwrap_or_default().to_string(),
                    body,
                });
            }
        }
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, code: i32, fields: &Value, body: &[u8]) -> io::Result<Answer> {
        let opaque = self.call(code, fields, body)?;
        let answer = self.answer()?;
        assert_eq!(answer.opaque, opaque, "one question, one answer");
        Ok(answer)
    }

    /// Creates a topic.
    pub fn create_topic(&mut self, topic: &str, queues: usize) {
        let queues = queues.to_string();
        let fields = json!({
            "topic": topic, "defaultTopic": "TBW102", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0",
            "order": "false", "perm": "6", "readQueueNums": queues, "writeQueueNums": queues,
        });
        let answer = self.ask(17, &fields, b"").expect("an answer");
        assert_eq!(answer.code, 0, "creating {topic}: {}", answer.remark);
    }

    /// The fields of a send to a queue.
    pub fn send_fields(topic: &str, queue: usize) -> Value {
        json!({
            "a": "e2e", "b": topic, "c": "TBW102", "d": "4", "e": queue.to_string(), "f": "0",
            "g": "1700000000000", "h": "0", "i": "", "j": "0", "k": "false", "m": "false",
        })
    }

    /// The records from `offset` on that one pull gives; empty at the end of the queue, if none comes within
    /// `hold_ms`.
    pub fn pull(&mut self, topic: &str, queue: usize, offset: i64, hold_ms: u32) -> io::Result<Vec<Record>> {
        // 4: the subscription is in the request; 2: hold the request at the end of the queue.
        let sys_flag = if hold_ms > 0 { "6" } else { "4" };
        let fields = json!({
            "consumerGroup": "e2e", "topic": topic, "queueId": queue.to_string(), "queueOffset": offset.to_string(),
            "maxMsgNums": "32", "sysFlag": sys_flag, "commitOffset": "0", "suspendTimeoutMillis": hold_ms.to_string(),
            "subscription": "*", "subVersion": "0", "expressionType": "TAG",
        });
        let answer = self.ask(11, &fields, b"")?;
        match answer.code {
            0 => Ok(records(&answer.body)),
            19 => Ok(Vec::new()),
            code => Err(io::Error::other(format!("{topic}/{queue} gave {code}: {}", answer.remark))),
        }
    }
}

/// The records of a pull's body. Their hosts are IPv4 addresses.
fn records(mut body: &[u8]) -> Vec<Record> {
    let word =
        |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let mut records = Vec::new();
    while !body.is_empty() {
        let (record, rest) = body.split_at(word(body, 0) as usize);
        let queue_offset = i64::from_be_bytes(record[20..28].try_into().expect("eight bytes"));
        let body_bytes = word(record, 84) as usize;
        records.push(Record { queue_offset, body: record[88..88 + body_bytes].to_vec() });
        body = rest;
    }
    records
}
