//! Filling a log: batches of messages over many topics and queues, as fast as they are taken, up to a place in the log.
//!
//! Nothing is measured here; every answer's code is checked. Where the log has got to is read from the message ids, which
//! carry physical offsets (`MessageDecoder.createMessageId`).

use super::topic::PATIENCE;
use super::{LoadError, Wrong};
use ringmq_client::blocking::{Answer, Connection, Request};
use ringmq_wire::record::batch::Item;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Requests in flight on the connection.
const IN_FLIGHT: usize = 128;

/// What one broker is filled with.
#[derive(Debug, Clone)]
pub struct Fill {
    /// Topics on this broker.
    pub topics: u32,
    /// Queues of each.
    pub queues: u32,
    /// Length of each body.
    pub body_bytes: usize,
    /// Messages of each request; all go to one queue.
    pub batch: usize,
}

impl Fill {
    /// Makes the topics.
    pub fn create_topics(&self, broker: SocketAddr) -> Result<(), LoadError> {
        let mut calls = Calls::to(broker, 17)?;
        for topic in 0..self.topics {
            let request = Request::new(17)
                .field("topic", name(topic))
                .field("defaultTopic", "TBW102")
                .field("readQueueNums", self.queues)
                .field("writeQueueNums", self.queues)
                .field("perm", 6)
                .field("topicFilterType", "SINGLE_TAG")
                .field("topicSysFlag", 0)
                .field("order", false);
            calls.call(&request, &mut |_| Ok(()))?;
        }
        calls.finish(&mut |_| Ok(()))
    }

    /// Sends until a record lies at or after `physical`. Returns the messages sent.
    pub fn run(&self, broker: SocketAddr, physical: u64) -> Result<u64, LoadError> {
        let mut body = Vec::new();
        let item = vec![b'x'; self.body_bytes];
        for _ in 0..self.batch.max(1) {
            assert!(Item { flag: 0, body: &item, properties: b"" }.encode(&mut body), "bodies are short");
        }
        let mut calls = Calls::to(broker, 320)?;
        let mut reached = 0;
        let mut note = |answer: &Answer| {
            reached = reached.max(place(answer)?);
            Ok(reached)
        };
        let mut sent = 0;
        for turn in 0_u64.. {
            let queue = turn % (u64::from(self.topics) * u64::from(self.queues)).max(1);
            let topic = name((queue / u64::from(self.queues)) as u32);
            let request = Request::new(320)
                .field("a", "bench-fill")
                .field("b", &topic)
                .field("c", "TBW102")
                .field("d", self.queues)
                .field("e", queue % u64::from(self.queues))
                .field("f", 0)
                .field("g", 1_700_000_000_000_u64)
                .field("h", 0)
                .field("i", "")
                .field("j", 0)
                .field("k", false)
                .field("m", true)
                .body(body.clone());
            sent += self.batch.max(1) as u64;
            let mut full = false;
            calls.call(&request, &mut |answer| note(answer).map(|reached| full = reached >= physical))?;
            if full {
                break;
            }
        }
        calls.finish(&mut |_| Ok(()))?;
        Ok(sent)
    }
}

fn name(topic: u32) -> String {
    format!("fill-{topic:05}")
}

/// The physical offset in the first message id of an answer.
fn place(answer: &Answer) -> Result<u64, LoadError> {
    let id = answer.field("msgId").and_then(|ids| ids.split(',').next()).unwrap_or_default();
    let digits = id.len().checked_sub(16).and_then(|from| id.get(from..));
    let offset = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    offset.ok_or_else(|| Wrong(format!("the message id {id} has no offset")).into())
}

/// Calls over one connection, many at once, answers in the order of the calls.
struct Calls {
    connection: Connection,
    code: i32,
    waiting: VecDeque<i32>,
}

impl Calls {
    fn to(broker: SocketAddr, code: i32) -> Result<Calls, LoadError> {
        Ok(Calls { connection: Connection::connect(broker, PATIENCE)?, code, waiting: VecDeque::new() })
    }

    fn call(
        &mut self,
        request: &Request,
        answered: &mut dyn FnMut(&Answer) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        self.waiting.push_back(self.connection.start(request, PATIENCE)?);
        if self.waiting.len() < IN_FLIGHT { Ok(()) } else { self.take(answered) }
    }

    fn finish(
        &mut self,
        answered: &mut dyn FnMut(&Answer) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        while !self.waiting.is_empty() {
            self.take(answered)?;
        }
        Ok(())
    }

    fn take(&mut self, answered: &mut dyn FnMut(&Answer) -> Result<(), LoadError>) -> Result<(), LoadError> {
        let Some(opaque) = self.waiting.pop_front() else { return Ok(()) };
        let answer = self.connection.wait(opaque, PATIENCE)?;
        match answer.code {
            0 => answered(&answer),
            code => {
                let remark = answer.remark.clone().unwrap_or_default();
                Err(LoadError::Refused { request: self.code, code, remark })
            }
        }
    }
}
