//! `micro`: nanoseconds of single steps that every message takes.
//!
//! Steps take turns, many short turns each, and the fastest turn counts: what disturbs a turn only makes it longer.

use super::CommandError;
use crate::report::{Machine, Report};
use clap::Args;
use ringmq_wire::command::OutHead;
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::record::{self, Draft};
use ringmq_wire::{HeadFormat, HeadScratch, Value};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// Repetitions in a turn: long against the clock, short against what disturbs.
const PER_TURN: u32 = 2000;

/// Nanoseconds of single steps.
#[derive(Debug, Args)]
pub struct Micro {
    /// Turns of each step.
    #[arg(long, default_value_t = 300)]
    turns: usize,
}

/// A step, and its fastest turn so far.
struct Step<'a> {
    name: &'static str,
    run: Box<dyn FnMut() + 'a>,
    fastest: Duration,
}

impl Micro {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut report = Report::new("micro".into(), Machine::here(Path::new(".")));
        let json = send_frame(HeadFormat::Json);
        let binary = send_frame(HeadFormat::Binary);
        let body = [7_u8; 1024];
        let mut stored = Vec::new();
        draft(&body).encode(&mut stored).expect("within the limits of a record");
        record::place(&mut stored, 5, 1000, 1_800_000_000_123);
        let mut scratches = [HeadScratch::default(), HeadScratch::default()];
        let [json_scratch, binary_scratch] = &mut scratches;
        let (mut answer, mut encoded) = (Vec::new(), Vec::new());

        let mut steps = [
            Step::new("decode the header of a send, JSON", || decode(json_scratch, &json)),
            Step::new("decode the header of a send, binary", || decode(binary_scratch, &binary)),
            Step::new("encode the answer to a send, JSON", || {
                answer.clear();
                encode_answer(&mut answer);
                black_box(&answer);
            }),
            Step::new("encode a record of 1 KB, with its CRC", || {
                encoded.clear();
                let _ = black_box(draft(black_box(&body)).encode(&mut encoded));
            }),
            Step::new("decode a record of 1 KB", || {
                let _ = black_box(record::decode(black_box(&stored)));
            }),
            Step::new("CRC-32 of 1 KB", || {
                black_box(crc32fast::hash(black_box(&body)));
            }),
        ];
        for _ in 0..self.turns.max(1) {
            for step in &mut steps {
                step.turn();
            }
        }
        for step in &steps {
            report.fact(step.name, step.fastest.as_secs_f64() * 1e9 / f64::from(PER_TURN), "ns");
        }
        Ok(report)
    }
}

impl<'a> Step<'a> {
    fn new(name: &'static str, run: impl FnMut() + 'a) -> Step<'a> {
        Step { name, run: Box::new(run), fastest: Duration::MAX }
    }

    fn turn(&mut self) {
        let started = Instant::now();
        for _ in 0..PER_TURN {
            (self.run)();
        }
        self.fastest = self.fastest.min(started.elapsed());
    }
}

fn decode(scratch: &mut HeadScratch, bytes: &[u8]) {
    if let Ok(Decoded::Frame(frame, _)) = frame::decode(black_box(bytes)) {
        let _ = black_box(scratch.decode(frame.format, frame.head));
    }
}

/// A send as Java 5.3 writes it, with a body of 1 KB.
fn send_frame(format: HeadFormat) -> Vec<u8> {
    let properties = "KEYS\u{1}k1\u{2}UNIQ_KEY\u{1}7F0000011A2B3C4D5E6F000000180C00\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}";
    let fields = [
        ("a", Value::Text("PG")),
        ("b", Value::Text("TopicA")),
        ("c", Value::Text("TBW102")),
        ("d", Value::Int(4)),
        ("e", Value::Int(2)),
        ("f", Value::Int(0)),
        ("g", Value::Int(1_795_360_489_485)),
        ("h", Value::Int(0)),
        ("i", Value::Text(properties)),
        ("j", Value::Int(0)),
        ("k", Value::Bool(false)),
        ("m", Value::Bool(false)),
        ("n", Value::Text("broker-a")),
    ];
    let mut bytes = Vec::new();
    OutHead { format, code: 310, opaque: 12_345, flag: 0, remark: None, fields: &fields }
        .encode(&mut bytes, 1024);
    bytes.extend_from_slice(&[7; 1024]);
    bytes
}

fn encode_answer(out: &mut Vec<u8>) {
    let fields = [
        ("msgId", Value::Text("0A00000200002A9F00000000000003E8")),
        ("queueId", Value::Int(2)),
        ("queueOffset", Value::Int(5)),
        ("transactionId", Value::Text("7F0000011A2B3C4D5E6F000000180C00")),
        ("MSG_REGION", Value::Text("DefaultRegion")),
        ("TRACE_ON", Value::Text("true")),
    ];
    let head = OutHead {
        format: HeadFormat::Json,
        code: 0,
        opaque: 12_345,
        flag: 1,
        remark: None,
        fields: black_box(&fields),
    };
    head.encode(out, 0);
}

fn draft(body: &[u8]) -> Draft<'_> {
    Draft {
        topic: "TopicA",
        queue_id: 2,
        flag: 0,
        sys_flag: 0,
        born_timestamp_ms: 1_800_000_000_000,
        born_host: ([10, 0, 0, 1], 5000).into(),
        store_host: ([10, 0, 0, 2], 10911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties:
            b"KEYS\x01k1\x02UNIQ_KEY\x017F0000011A2B3C4D5E6F000000180C00\x02WAIT\x01true\x02TAGS\x01TagA\x02",
    }
}
