//! A client that asks for messages by their key, and knows which it must find.

use std::net::SocketAddr;
use std::time::Duration;

use ringmq_conn::sim::SimNet;
use ringmq_engine::env::Random;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::record::Records;
use ringmq_wire::request::view::QueryRequest;

use super::call::{Line, Reply};
use super::history::{History, Place};
use super::producer::{TOPIC, key, number_of};

/// A client gives its connection up after this.
const TIMEOUT: Duration = Duration::from_secs(15);

/// One asker.
pub struct Asker {
    line: Line,
    random: Random,
    asked: Option<Asked>,
    next_question: Duration,
}

/// A question under way.
struct Asked {
    opaque: i32,
    at: Duration,
    number: u64,
    /// Where the message was known to be when it was asked for.
    place: Option<Place>,
}

impl Asker {
    /// An asker that has asked nothing.
    pub fn new(net: SimNet, to: SocketAddr, random: Random) -> Asker {
        Asker { line: Line::new(net, to), random, asked: None, next_question: Duration::ZERO }
    }

    /// When it next wants to do something by itself.
    pub fn next_due(&self) -> Option<Duration> {
        let own = self.asked.as_ref().map_or(self.next_question, |asked| asked.at + TIMEOUT);
        self.line.next_due().or(Some(own))
    }

    /// Takes what has come, checks it, and asks again.
    pub fn act(&mut self, now: Duration, history: &mut History) -> Result<(), String> {
        if !self.line.is_up(now) {
            return Ok(());
        }
        if self.asked.is_none() && now >= self.next_question {
            self.ask(now, history);
        }
        let asked = &mut self.asked;
        let gone =
            self.line.turn(now, |reply| match asked.take_if(|asked| asked.opaque == reply.opaque) {
                Some(asked) => answered(&asked, history, &reply),
                None => Ok(()),
            })?;
        if gone {
            self.asked = None;
        }
        if self.asked.as_ref().is_some_and(|asked| now >= asked.at + TIMEOUT) {
            self.asked = None;
            self.line.drop(now);
        }
        Ok(())
    }

    fn ask(&mut self, now: Duration, history: &History) {
        self.next_question = now + Duration::from_millis(self.random.below(400));
        let (sent, _, _) = history.counts();
        if sent == 0 {
            return;
        }
        let number = self.random.below(sent);
        let key = key(number);
        let request = QueryRequest {
            topic: TOPIC,
            key: &key,
            records_max: 1 + self.random.below(3) as i32,
            begin_timestamp_ms: 0,
            end_timestamp_ms: i64::MAX,
            by_unique_key: self.random.chance(500),
        };
        let opaque = self.line.request(RequestCode::QueryMessage.number(), &request.fields(), &[]);
        self.asked = Some(Asked { opaque, at: now, number, place: history.place(number) });
    }
}

fn answered(asked: &Asked, history: &mut History, reply: &Reply<'_>) -> Result<(), String> {
    let number = asked.number;
    match reply.code {
        response::SUCCESS => {}
        response::QUERY_NOT_FOUND => {
            return match asked.place {
                Some(place) => Err(format!("message {number} at {place:?} is not found by its key")),
                None => Ok(()),
            };
        }
        // The disk fails, or too much is asked of it.
        response::SYSTEM_ERROR | response::SYSTEM_BUSY => return Ok(()),
        code => return Err(format!("a query was answered with {}", response::name(code))),
    }
    let records: Vec<_> =
        Records::new(reply.body).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let [record] = &records[..] else {
        return Err(format!("{} records have the key of message {number}", records.len()));
    };
    if number_of(record.body) != Some(number) {
        return Err(format!("the key of message {number} finds another one"));
    }
    history.seen(number, (record.queue_id, record.queue_offset))
}
