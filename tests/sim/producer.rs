//! A client that sends messages, some at a time, and believes what it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ringmq_conn::sim::SimNet;
use ringmq_engine::env::Random;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::request::send::{SendReply, SendRequest};

use super::call::{Line, Reply};
use super::history::History;

/// The topic of every simulation; made by the first send.
pub const TOPIC: &str = "orders";
/// Its queues.
pub const QUEUES: i32 = 2;
/// Delay levels that are used.
const LEVELS: u64 = 3;

/// One producer.
pub struct Producer {
    line: Line,
    random: Random,
    window: usize,
    /// Number of the message by number of the call.
    pending: BTreeMap<i32, u64>,
    next_send: Duration,
}

impl Producer {
    /// A producer that has sent nothing.
    pub fn new(net: SimNet, to: SocketAddr, random: Random, window: usize) -> Producer {
        Producer {
            line: Line::new(net, to),
            random,
            window,
            pending: BTreeMap::new(),
            next_send: Duration::ZERO,
        }
    }

    /// When it next wants to do something by itself.
    pub fn next_due(&self, sends: bool) -> Option<Duration> {
        self.line.next_due().or((sends && self.pending.len() < self.window).then_some(self.next_send))
    }

    /// Takes what has come, and sends if it may.
    pub fn act(&mut self, now: Duration, sends: bool, history: &mut History) -> Result<(), String> {
        if !self.line.is_up(now) {
            return Ok(());
        }
        if sends && now >= self.next_send && self.pending.len() < self.window {
            self.send(now, history);
            self.next_send = now + self.pause();
        }
        let pending = &mut self.pending;
        if self.line.turn(now, |reply| answered(pending, history, &reply))? {
            // Whether they are stored is not known, and never will be.
            self.pending.clear();
        }
        Ok(())
    }

    /// Loses its connection.
    pub fn cut(&mut self) {
        self.line.cut();
    }

    fn send(&mut self, now: Duration, history: &mut History) {
        let number = history.send();
        let mut properties = format!("UNIQ_KEY\x01{}\x02third\x01{}\x02", key(number), number % 3);
        let body = body(number, self.random.index(if self.random.chance(50) { 8000 } else { 300 }));
        let later = self.later();
        if later.is_some() {
            history.send_later(number);
        }
        if let Some((name, value)) = later {
            properties.push_str(&format!("{name}\u{1}{value}\u{2}"));
        }
        let request = SendRequest {
            producer_group: "producers",
            topic: TOPIC,
            default_topic: "TBW102",
            default_topic_queues: QUEUES,
            queue_id: self.random.below(QUEUES as u64) as i32,
            sys_flag: 0,
            born_timestamp_ms: now.as_millis() as i64,
            flag: 0,
            properties: &properties,
            reconsume_times: 0,
            unit_mode: false,
            reconsume_times_max: None,
            batch: false,
        };
        let code = [RequestCode::SendMessage, RequestCode::SendMessageV2][self.random.index(2)].number();
        let opaque = self.line.request(code, &request.fields(code), &body);
        self.pending.insert(opaque, number);
    }

    /// Of some messages, the property that asks for later delivery.
    fn later(&self) -> Option<(&'static str, u64)> {
        match self.random.below(20) {
            0..2 => Some(("DELAY", 1 + self.random.below(LEVELS))),
            2 => Some(("TIMER_DELAY_MS", self.random.below(9_000))),
            _ => None,
        }
    }

    /// Bursts, trickles and rests.
    fn pause(&self) -> Duration {
        match self.random.below(20) {
            0..12 => Duration::ZERO,
            12..19 => Duration::from_micros(self.random.below(20_000)),
            _ => Duration::from_millis(self.random.below(1_500)),
        }
    }
}

fn answered(
    pending: &mut BTreeMap<i32, u64>,
    history: &mut History,
    reply: &Reply<'_>,
) -> Result<(), String> {
    let number = pending.remove(&reply.opaque).ok_or("a send was answered that nobody waits for")?;
    match reply.code {
        response::SUCCESS => {
            let stored = SendReply::decode(&reply.fields).map_err(|error| error.to_string())?;
            if history.is_later(number) {
                history.answered_later(number);
                return Ok(());
            }
            history.answered(number, (stored.queue_id, stored.queue_offset))
        }
        // Said before anything was appended.
        response::SYSTEM_BUSY | response::SERVICE_NOT_AVAILABLE => {
            history.refused(number);
            Ok(())
        }
        // The log failed under it: nothing is known.
        response::SYSTEM_ERROR => Ok(()),
        code => Err(format!("a send was answered with {}", response::name(code))),
    }
}

/// The unique key of a message.
pub fn key(number: u64) -> String {
    format!("m{number}")
}

fn body(number: u64, more: usize) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(8 + more, number as u8);
    body
}

/// The number of the message with this body, if the body is whole.
pub fn number_of(bytes: &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    let number = u64::from_be_bytes(*number);
    rest.iter().all(|byte| *byte == number as u8).then_some(number)
}
