//! A client that pulls one queue from its beginning on, holding every pull at the broker, and checks what it gets: everything,
//! or what fulfils a condition on properties. It gives some of it back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ringmq_conn::sim::SimNet;
use ringmq_engine::env::Random;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::record::Records;
use ringmq_wire::request::heartbeat::{ConsumerEntry, Heartbeat};
use ringmq_wire::request::pull::{
    FLAG_STORE_OFFSET, FLAG_SUBSCRIPTION, FLAG_SUSPEND, PullReply, PullRequest,
};
use ringmq_wire::request::send::SendBack;

use super::call::{Line, Reply};
use super::history::History;
use super::producer::{QUEUES, TOPIC, number_of};

/// How long the broker may hold a pull.
const SUSPEND: Duration = Duration::from_secs(5);
/// How late after that an answer may be on a calm network and disk: the clock's step, twice.
const LATE_MAX: Duration = Duration::from_millis(250);
/// A client gives its connection up after this.
const TIMEOUT: Duration = Duration::from_secs(15);
/// After an answer that held nothing.
const PAUSE: Duration = Duration::from_millis(100);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);
/// What a consumer that wants not everything wants; see [`Wanted::holds`].
const CONDITION: &str = "third BETWEEN 1 AND 1";
/// The group of all consumers.
pub const GROUP: &str = "consumers";

/// One consumer.
pub struct Consumer {
    line: Line,
    random: Random,
    queue_id: i32,
    wanted: Wanted,
    next_offset: i64,
    /// The pull under way: its number, and when it was made.
    pull: Option<(i32, Duration)>,
    /// Records to be given back: the message's number, and where it lies.
    refused: Vec<(u64, i64)>,
    /// Number of the message by number of the call that gives it back.
    given_back: BTreeMap<i32, u64>,
    next_pull: Duration,
    next_heartbeat: Duration,
    /// Nothing excuses a late answer.
    calm: bool,
}

/// What a consumer subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Everything,
    Condition,
}

impl Wanted {
    /// Whether a message is wanted.
    fn holds(self, number: u64) -> bool {
        self == Wanted::Everything || number % 3 == 1
    }
}

/// A look at the store from outside the broker: how far it is durable.
pub type DurableEnd<'a> = &'a dyn Fn() -> Option<u64>;

impl Consumer {
    /// A consumer of the `index`-th kind.
    pub fn new(net: SimNet, to: SocketAddr, random: Random, index: usize, calm: bool) -> Consumer {
        Consumer {
            line: Line::new(net, to),
            wanted: if random.chance(400) { Wanted::Condition } else { Wanted::Everything },
            random,
            queue_id: index as i32 % QUEUES,
            next_offset: 0,
            pull: None,
            refused: Vec::new(),
            given_back: BTreeMap::new(),
            next_pull: Duration::ZERO,
            next_heartbeat: Duration::ZERO,
            calm,
        }
    }

    /// When it next wants to do something by itself.
    pub fn next_due(&self) -> Option<Duration> {
        let own = match self.pull {
            Some((_, made)) => made + if self.calm { SUSPEND + LATE_MAX } else { TIMEOUT },
            None => self.next_pull,
        };
        self.line.next_due().or(Some(own.min(self.next_heartbeat)))
    }

    /// Takes what has come, checks it, and pulls again.
    pub fn act(
        &mut self,
        now: Duration,
        gives_back: bool,
        history: &mut History,
        durable_end: DurableEnd<'_>,
    ) -> Result<(), String> {
        if !self.line.is_up(now) {
            return Ok(());
        }
        if now >= self.next_heartbeat {
            self.heartbeat(now);
        }
        if self.pull.is_none() && now >= self.next_pull {
            self.pull(now);
        }
        if gives_back {
            self.give_back(history);
        }
        let Consumer {
            line,
            random,
            queue_id,
            wanted,
            next_offset,
            pull,
            next_pull,
            refused,
            given_back,
            ..
        } = self;
        let gone = line.turn(now, |reply| {
            if let Some(number) = given_back.remove(&reply.opaque) {
                return taken_back(number, &reply, history);
            }
            if pull.is_some_and(|(opaque, _)| opaque == reply.opaque) {
                *pull = None;
                *next_pull = if reply.code == response::SUCCESS { now } else { now + PAUSE };
                *next_offset = pulled(
                    (*queue_id, *wanted),
                    *next_offset,
                    &reply,
                    history,
                    durable_end,
                    |number, place| {
                        if random.chance(60) {
                            refused.push((number, place));
                        }
                    },
                )?;
            }
            Ok(())
        })?;
        if gone {
            self.pull = None;
            // Whether they were taken back is not known.
            self.given_back.clear();
        }
        self.watch(now)
    }

    /// Loses its connection.
    pub fn cut(&mut self) {
        self.line.cut();
    }

    fn watch(&mut self, now: Duration) -> Result<(), String> {
        let Some((_, made)) = self.pull else { return Ok(()) };
        if self.calm && now >= made + SUSPEND + LATE_MAX {
            return Err(format!("a pull held since {made:?} is not answered"));
        }
        if now >= made + TIMEOUT {
            self.pull = None;
            self.line.drop(now);
        }
        Ok(())
    }

    fn pull(&mut self, now: Duration) {
        let (expression_type, expression) = match self.wanted {
            Wanted::Everything => ("TAG", "*"),
            Wanted::Condition => ("SQL92", CONDITION),
        };
        let request = PullRequest {
            consumer_group: GROUP,
            topic: TOPIC,
            queue_id: self.queue_id,
            queue_offset: self.next_offset,
            records_max: 1 + self.random.below(32) as i32,
            flags: FLAG_SUSPEND | FLAG_SUBSCRIPTION | FLAG_STORE_OFFSET,
            commit_offset: self.next_offset,
            suspend_timeout_ms: SUSPEND.as_millis() as i64,
            subscription: Some(expression),
            subscription_version: 0,
            expression_type: Some(expression_type),
            bytes_max: None,
        };
        let opaque = self.line.request(RequestCode::PullMessage.number(), &request.fields(), &[]);
        self.pull = Some((opaque, now));
    }

    /// Gives back what it refused: to come again at the first level, or later, or to be given up.
    fn give_back(&mut self, history: &mut History) {
        for (number, place) in self.refused.drain(..) {
            let request = SendBack {
                physical_offset: place,
                group: GROUP,
                delay_level: [1, 0, -1][self.random.index(3)],
                origin_message_id: None,
                origin_topic: Some(TOPIC),
                unit_mode: false,
                reconsume_times_max: Some(16),
            };
            let code = RequestCode::ConsumerSendMessageBack.number();
            let opaque = self.line.request(code, &request.fields(), &[]);
            history.give_back(number);
            self.given_back.insert(opaque, number);
        }
    }

    fn heartbeat(&mut self, now: Duration) {
        let entry = ConsumerEntry { group_name: GROUP.to_owned(), ..ConsumerEntry::default() };
        let client_id = format!("consumer-{}", self.queue_id);
        let heartbeat = Heartbeat { client_id, consumers: vec![entry], ..Heartbeat::default() };
        self.line.request(RequestCode::HeartBeat.number(), &[], &ringmq_wire::json::write(&heartbeat));
        self.next_heartbeat = now + HEARTBEAT_EVERY;
    }
}

/// Notes what the broker says to a message that was given back.
fn taken_back(number: u64, reply: &Reply<'_>, history: &mut History) -> Result<(), String> {
    match reply.code {
        response::SUCCESS => history.taken_back(number),
        // The log failed under it, it could not be read, or it was refused.
        response::SYSTEM_ERROR | response::SYSTEM_BUSY | response::SERVICE_NOT_AVAILABLE => {}
        code => return Err(format!("a message given back was answered with {}", response::name(code))),
    }
    Ok(())
}

/// Checks a pull's answer; returns where to go on.
fn pulled(
    (queue_id, wanted): (i32, Wanted),
    asked: i64,
    reply: &Reply<'_>,
    history: &mut History,
    durable_end: DurableEnd<'_>,
    mut refuse: impl FnMut(u64, i64),
) -> Result<i64, String> {
    match reply.code {
        response::SUCCESS | response::PULL_RETRY_IMMEDIATELY => {}
        response::PULL_NOT_FOUND => return Ok(asked),
        response::PULL_OFFSET_MOVED => {
            let moved = PullReply::decode(&reply.fields).map_err(|error| error.to_string())?;
            return if moved.next_offset == asked {
                Ok(asked)
            } else {
                Err(format!("{queue_id}/{asked} was durable, and the broker says {}", moved.next_offset))
            };
        }
        // The topic is not there yet, or the broker is not well.
        response::TOPIC_NOT_EXIST | response::SYSTEM_ERROR | response::SYSTEM_BUSY => return Ok(asked),
        code => return Err(format!("a pull was answered with {}", response::name(code))),
    }
    let said = PullReply::decode(&reply.fields).map_err(|error| error.to_string())?;
    let mut next = asked;
    for record in Records::new(reply.body) {
        let record = record.map_err(|error| format!("a pulled record: {error}"))?;
        let place = (record.queue_id, record.queue_offset);
        let in_order = if wanted == Wanted::Everything { place.1 == next } else { place.1 >= next };
        if place.0 != queue_id || !in_order {
            return Err(format!("a pull of {queue_id}/{next} brought {place:?}"));
        }
        let end = record.physical_offset as u64 + record.bytes.len() as u64;
        if durable_end().is_some_and(|durable| durable < end) {
            return Err(format!("{place:?} was handed out and is not durable"));
        }
        let number = number_of(record.body).ok_or(format!("the body at {place:?} is not whole"))?;
        if !wanted.holds(number) {
            return Err(format!("message {number} at {place:?} was handed out and is not wanted"));
        }
        history.seen(number, place)?;
        refuse(number, record.physical_offset);
        passed_over((queue_id, wanted), next, place.1, history)?;
        next = place.1 + 1;
    }
    let whole =
        if wanted == Wanted::Everything { said.next_offset == next } else { said.next_offset >= next };
    if said.next_offset == asked || !whole {
        return Err(format!("a pull of {queue_id}/{asked} ends at {next} and says {}", said.next_offset));
    }
    passed_over((queue_id, wanted), next, said.next_offset, history)?;
    Ok(said.next_offset)
}

/// Nothing that is wanted lies where the broker says that nothing is.
fn passed_over(
    (queue_id, wanted): (i32, Wanted),
    from: i64,
    end: i64,
    history: &History,
) -> Result<(), String> {
    match history.between(queue_id, from, end).find(|(_, number)| wanted.holds(*number)) {
        Some((offset, number)) => Err(format!("message {number} at {queue_id}/{offset} was passed over")),
        None => Ok(()),
    }
}
