//! A broker on a simulated store, spoken to in frames: the harness of all behaviour tests here.
//!
//! ```text
//! table.call(conn, code, fields, body) ─▶ frame ─▶ Broker::handle ─▶ outbox ─▶ durable? ─▶ Answer
//!                                                        ▲
//!                     table.pass(duration) ── clock, tick, queues that have grown
//! ```
//!
//! An answer leaves only when the store says that what it waits for is durable, as the shard loop does it;
//! time moves only by [`Table::pass`] and by the simulated disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_engine::Store;
use ringmq_engine::env::sim::{Disk, Sim, SimEnv};
use ringmq_engine::env::{Env, Signal};
use ringmq_engine::retention::Retention;
use ringmq_engine::store::{FlushHow, Piece, StoreOptions};
use ringmq_wire::code::RequestCode;
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::record::{self, Record};
use ringmq_wire::{HeadFormat, HeadScratch, OutHead, Value};

use super::outcome::{Now, OutItem, Outbox, RecordRead};
use super::{Broker, Identity, Settings};

/// The folder of the simulated store.
const FOLDER: &str = "/store";

/// The header fields of a request.
pub type Fields<'a> = Vec<(&'a str, Value<'a>)>;

/// A frame that reached a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub conn: ConnId,
    pub code: i32,
    pub flag: i32,
    pub opaque: i32,
    pub remark: String,
    pub fields: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A field, which must be there.
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no field {name} in {self:?}"))
    }

    /// A field that is a number.
    #[track_caller]
    pub fn number(&self, name: &str) -> i64 {
        self.field(name).parse().unwrap()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The records of a pull's body.
    #[track_caller]
    pub fn records(&self) -> Vec<Record<'_>> {
        let mut rest = &self.body[..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let record = record::decode(rest).unwrap();
            rest = &rest[record.bytes.len()..];
            records.push(record);
        }
        records
    }

    /// Bodies of the records of a pull.
    #[track_caller]
    pub fn bodies(&self) -> Vec<String> {
        self.records().iter().map(|record| String::from_utf8_lossy(record.body).into_owned()).collect()
    }

    /// Asserts the code; gives the answer back.
    #[track_caller]
    pub fn expect(self, code: i32) -> Answer {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// A broker, its store, and what its clients have received.
pub struct Table {
    pub sim: Sim,
    pub store: Store<SimEnv>,
    pub broker: Broker<SimEnv>,
    pub outbox: Outbox<SimEnv>,
    /// Frames that reached clients and were not asked for by [`Table::call`], in order.
    pub inbox: Vec<Answer>,
    /// Connections that the broker asked to close.
    pub to_close: Vec<ConnId>,
    waiting: Vec<(Vec<u8>, OutItem<SimEnv>)>,
    /// How requests are written.
    pub format: HeadFormat,
    next_slot: u32,
    next_opaque: i32,
}

/// The identity of the broker under test.
pub fn identity() -> Identity {
    Identity {
        cluster: "TestCluster".into(),
        broker_name: "broker-a".into(),
        store_host: "10.0.0.2:10911".parse().unwrap(),
        region: "DefaultRegion".into(),
        version: "RingMQ test".into(),
        nonce: 7,
    }
}

/// The frames captured from real clients and servers, by the name that says what each is.
pub fn captured_frames() -> BTreeMap<String, Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../net/wire/tests/golden");
    let mut frames = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "hex") {
            continue;
        }
        let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
        let digits = text.as_bytes().as_chunks::<2>().0;
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        frames.insert(name, digits.iter().map(byte).collect());
    }
    frames
}

/// A store in the simulated folder.
pub fn open_store(sim: &Sim) -> Store<SimEnv> {
    open_store_keeping(sim, Retention::default())
}

fn open_store_keeping(sim: &Sim, retention: Retention) -> Store<SimEnv> {
    let options = StoreOptions {
        retention,
        segment_bytes: 4 << 20,
        writes_in_flight_max: 4,
        tail_cache_bytes: 16 << 20,
        cold_bytes_max: 1 << 20,
        appended_bytes_max: 16 << 20,
        flush: FlushHow::Dsync,
        answer_before_flush: false,
        ..StoreOptions::default()
    };
    let opening = Store::open(sim.env(), Path::new(FOLDER), options, Rc::new(Signal::new()));
    sim.run_until(opening).unwrap().unwrap().0
}

fn now_of(sim: &Sim) -> Now {
    Now { wall_ms: sim.env().wall_ms(), monotonic: sim.env().monotonic() }
}

impl Table {
    /// A new broker with default settings.
    pub fn new() -> Table {
        Table::with(Settings::default())
    }

    /// A new broker.
    pub fn with(settings: Settings) -> Table {
        Table::on(Disk::new(), settings)
    }

    /// A broker on what an earlier one left.
    pub fn on(disk: Disk, settings: Settings) -> Table {
        Table::keeping(disk, settings, Retention::default())
    }

    /// The same, whose records are not kept for ever.
    pub fn keeping(disk: Disk, settings: Settings, retention: Retention) -> Table {
        let sim = Sim::on(disk, 1);
        let store = open_store_keeping(&sim, retention);
        let broker = Broker::open(store.clone(), identity(), settings, now_of(&sim)).unwrap();
        Table {
            sim,
            store,
            broker,
            outbox: Outbox::default(),
            inbox: Vec::new(),
            to_close: Vec::new(),
            waiting: Vec::new(),
            format: HeadFormat::Json,
            next_slot: 0,
            next_opaque: 1000,
        }
    }

    /// The broker after a restart; connections are gone.
    pub fn restart(self) -> Table {
        let Table { sim, store, broker, .. } = self;
        let settings = broker.settings.clone();
        drop(broker);
        sim.run_until(store.close()).unwrap().unwrap();
        drop(store);
        let disk = sim.disk();
        drop(sim);
        Table::on(disk, settings)
    }

    /// A client connects, from an address of its own.
    pub fn connect(&mut self) -> ConnId {
        let conn = ConnId { slot: self.next_slot, generation: 0 };
        self.next_slot += 1;
        let peer = format!("10.0.1.{}:5000", conn.slot + 1).parse().unwrap();
        self.broker.opened(conn, peer, self.now());
        conn
    }

    /// A connection is lost.
    pub fn disconnect(&mut self, conn: ConnId) {
        let now = self.now();
        self.broker.closed(conn, now, &mut self.outbox);
        self.settle();
    }

    pub fn now(&self) -> Now {
        now_of(&self.sim)
    }

    /// Sends a request and does not wait; its opaque.
    pub fn ask(&mut self, conn: ConnId, code: RequestCode, fields: &[(&str, Value<'_>)], body: &[u8]) -> i32 {
        self.ask_with(conn, code.number(), 0, fields, body)
    }

    /// Sends a request with any code and flag, and does not wait; its opaque.
    pub fn ask_with(
        &mut self,
        conn: ConnId,
        code: i32,
        flag: i32,
        fields: &[(&str, Value<'_>)],
        body: &[u8],
    ) -> i32 {
        let opaque = self.next_opaque;
        self.next_opaque += 1;
        let head = OutHead { format: self.format, code, opaque, flag, remark: None, fields };
        let mut bytes = Vec::new();
        head.encode(&mut bytes, body.len());
        bytes.extend_from_slice(body);
        let Ok(Decoded::Frame(frame, _)) = frame::decode(&bytes) else { panic!("our own frame") };
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(frame.format, frame.head).unwrap();
        let now = self.now();
        self.broker.handle(conn, frame.format, &head, frame.body, now, &mut self.outbox);
        self.collect();
        opaque
    }

    /// Sends a request and waits for its answer, until everything is durable; `None` if none came.
    pub fn try_call(
        &mut self,
        conn: ConnId,
        code: RequestCode,
        fields: &[(&str, Value<'_>)],
        body: &[u8],
    ) -> Option<Answer> {
        let opaque = self.ask(conn, code, fields, body);
        self.settle();
        self.take_answer(conn, opaque)
    }

    /// Sends a request and waits for its answer.
    #[track_caller]
    pub fn call(
        &mut self,
        conn: ConnId,
        code: RequestCode,
        fields: &[(&str, Value<'_>)],
        body: &[u8],
    ) -> Answer {
        self.try_call(conn, code, fields, body).unwrap_or_else(|| panic!("no answer to {code:?}"))
    }

    /// The answer to a call, if it has come.
    pub fn take_answer(&mut self, conn: ConnId, opaque: i32) -> Option<Answer> {
        let found = |answer: &Answer| answer.conn == conn && answer.opaque == opaque && answer.flag == 1;
        let at = self.inbox.iter().position(found)?;
        Some(self.inbox.remove(at))
    }

    /// What came to a connection without being asked for.
    pub fn take_pushed(&mut self, conn: ConnId) -> Vec<Answer> {
        let (pushed, others) = std::mem::take(&mut self.inbox)
            .into_iter()
            .partition(|answer| answer.conn == conn && answer.flag & 1 == 0);
        self.inbox = others;
        pushed
    }

    /// Time passes; the broker is told whenever something is due, as the loop does it.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.sim.now() + duration;
        loop {
            let due = [self.broker.next_due(), self.broker.next_move()].into_iter().flatten().min();
            let due = due.unwrap_or(end).min(end);
            self.sim.run_for(due.saturating_sub(self.sim.now()));
            let now = self.now();
            self.broker.tick(now, &mut self.outbox);
            self.settle();
            if self.sim.now() >= end {
                return;
            }
        }
    }

    /// Lets the disk finish everything accepted, wakes what has grown, and delivers.
    pub fn settle(&mut self) {
        self.collect();
        let mut grown = Vec::new();
        for _ in 0..5_000 {
            self.store.take_grown(&mut grown);
            let now = self.now();
            self.broker.grown(&grown, now, &mut self.outbox);
            grown.clear();
            self.collect();
            if self.waiting.is_empty() && self.everything_is_visible() {
                return;
            }
            self.sim.run_for(Duration::from_millis(1));
        }
        panic!(
            "the simulated disk did not finish: {:?}, durable {:?}, waiting {:?}",
            self.store.poisoned(),
            self.store.durable(),
            self.waiting.iter().map(|(_, item)| item.wait).collect::<Vec<_>>()
        );
    }

    fn everything_is_visible(&self) -> bool {
        let topics: Vec<(Box<str>, u32)> = (self.broker.topics.configs())
            .map(|config| (config.name.clone(), config.queues().min(64)))
            .collect();
        topics.into_iter().all(|(topic, queues)| {
            (0..queues).all(|queue_id| match self.store.find_queue(&topic, queue_id as i32) {
                Some(queue) => self.store.bounds(queue).1 == self.store.appended_end(queue),
                None => true,
            })
        })
    }

    /// Reads what handlers want to see, as often as they want more, and hands it back.
    fn inspect(&mut self) {
        while !self.outbox.inspections.is_empty() {
            for mut inspection in std::mem::take(&mut self.outbox.inspections) {
                let read = self.sim.run_until(self.store.fetch(&mut inspection.pieces)).unwrap();
                let now = self.now();
                self.broker.inspected(inspection, read, now, &mut self.outbox);
            }
        }
    }

    /// Reads what rules asked for, as the loop does it.
    fn read_records(&mut self) {
        while let Some(RecordRead { what, mut pieces }) = self.outbox.reads.pop() {
            let fetched = self.sim.run_until(self.store.fetch(&mut pieces)).unwrap();
            let read = fetched.map(|()| Piece::gather(&pieces).into_owned());
            let now = self.now();
            self.broker.read_done(what, read, now, &mut self.outbox);
        }
    }

    /// Moves what may leave from the outbox to the inbox.
    fn collect(&mut self) {
        self.inspect();
        self.read_records();
        let Outbox { bytes, items, close, .. } = &mut self.outbox;
        for item in items.drain(..) {
            self.waiting.push((bytes[item.start..item.start + item.len].to_vec(), item));
        }
        bytes.clear();
        self.to_close.append(close);
        let durable = self.store.durable();
        let mut kept = Vec::new();
        for (head, mut item) in std::mem::take(&mut self.waiting) {
            if item.wait.is_some_and(|ticket| ticket > durable) {
                kept.push((head, item));
                continue;
            }
            let mut frame = head;
            self.sim.run_until(self.store.fetch(&mut item.pieces)).unwrap().unwrap();
            for piece in &item.pieces {
                let Piece::Hot(slice) = piece else { panic!("fetched pieces are hot") };
                frame.extend_from_slice(slice.bytes());
            }
            self.inbox.push(read_answer(item.conn, &frame));
        }
        self.waiting = kept;
    }
}

fn read_answer(conn: ConnId, bytes: &[u8]) -> Answer {
    let Ok(Decoded::Frame(frame, taken)) = frame::decode(bytes) else { panic!("no frame: {bytes:?}") };
    assert_eq!(taken, bytes.len(), "one item is one frame");
    let mut scratch = HeadScratch::default();
    let head = scratch.decode(frame.format, frame.head).unwrap();
    Answer {
        conn,
        code: head.code,
        flag: head.flag,
        opaque: head.opaque,
        remark: head.remark.unwrap_or_default().into(),
        fields: head.fields.iter().map(|(key, value)| (key.into(), value.into())).collect(),
        body: frame.body.into(),
    }
}

/// Shorthands for the requests that most stories are made of.
impl Table {
    /// The fields of a V2 send as Java writes them.
    pub fn send_fields<'a>(topic: &'a str, queue_id: i32, properties: &'a str) -> Fields<'a> {
        vec![
            ("a", "PG".into()),
            ("b", topic.into()),
            ("c", "TBW102".into()),
            ("d", 4.into()),
            ("e", queue_id.into()),
            ("f", 0.into()),
            ("g", 1_700_000_000_000_i64.into()),
            ("h", 0.into()),
            ("i", properties.into()),
            ("j", 0.into()),
            ("k", false.into()),
            ("m", false.into()),
        ]
    }

    /// Sends one message with a tag.
    pub fn send(&mut self, conn: ConnId, topic: &str, queue_id: i32, tag: &str, body: &str) -> Answer {
        let properties = match tag {
            "" => "UNIQ_KEY\u{1}k\u{2}".to_owned(),
            tag => format!("TAGS\u{1}{tag}\u{2}UNIQ_KEY\u{1}k\u{2}"),
        };
        let fields = Table::send_fields(topic, queue_id, &properties);
        self.call(conn, RequestCode::SendMessageV2, &fields, body.as_bytes())
    }

    /// Sends a heartbeat of a member of one group; subscriptions are (topic, expression, version).
    pub fn heartbeat(
        &mut self,
        conn: ConnId,
        client_id: &str,
        group: &str,
        subscriptions: &[(&str, &str, i64)],
    ) -> Answer {
        let subscriptions: Vec<String> = subscriptions
            .iter()
            .map(|(topic, expression, version)| {
                format!(
                    r#"{{"codeSet":[0],"subString":"{expression}","subVersion":{version},"topic":"{topic}"}}"#
                )
            })
            .collect();
        let body = format!(
            r#"{{"clientID":"{client_id}","consumerDataSet":[{{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"{group}","messageModel":"CLUSTERING","subscriptionDataSet":[{}],"unitMode":false}}],"producerDataSet":[{{"groupName":"CLIENT_INNER_PRODUCER"}}]}}"#,
            subscriptions.join(",")
        );
        self.call(conn, RequestCode::HeartBeat, &[], body.as_bytes())
    }

    /// The fields of a pull that brings its own subscription.
    pub fn pull_fields<'a>(
        group: &'a str,
        topic: &'a str,
        queue_id: i32,
        from: i64,
        flags: i32,
        expression: &'a str,
    ) -> Fields<'a> {
        vec![
            ("consumerGroup", group.into()),
            ("topic", topic.into()),
            ("queueId", queue_id.into()),
            ("queueOffset", from.into()),
            ("maxMsgNums", 32.into()),
            ("sysFlag", flags.into()),
            ("commitOffset", 0.into()),
            ("suspendTimeoutMillis", 15_000.into()),
            ("subscription", expression.into()),
            ("subVersion", 0.into()),
        ]
    }

    /// Pulls with a subscription of its own, not waiting for records.
    pub fn pull(&mut self, conn: ConnId, topic: &str, queue_id: i32, from: i64, expression: &str) -> Answer {
        let fields = Table::pull_fields("G", topic, queue_id, from, 4, expression);
        self.call(conn, RequestCode::PullMessage, &fields, &[])
    }
}
