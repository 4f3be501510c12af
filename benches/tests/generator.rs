//! The generator against a small server that is right, wrong or silent on purpose.
//!
//! The server answers 310 and 11 on a thread per connection, from counters and made-up records: there is no store. It
//! holds back an answer now and then, so that answers overtake each other.

use ringmq_bench::load::fleet::{self, Member};
use ringmq_bench::load::generator::{self, Phase, Plan};
use ringmq_bench::load::ledger::Measured;
use ringmq_bench::load::pace::Pace;
use ringmq_bench::load::pull::Pull;
use ringmq_bench::load::send::{Messages, Send};
use ringmq_bench::load::warm_up::WarmUp;
use ringmq_bench::load::{LoadError, Work};
use ringmq_wire::command::{FLAG_RESPONSE, OutHead};
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::record::{self, Draft};
use ringmq_wire::{Head, HeadFormat, HeadScratch, Value};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const QUEUES: u16 = 4;
const RECORDS: u64 = 100;

/// How the server errs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The 50th message of a queue gets the offset of the 49th.
    RepeatsAnOffset,
    /// The body of record 70 is not what its CRC says.
    FlipsABit,
    /// Every send is refused with code 2.
    Refuses,
    /// Reads and never answers.
    Silent,
    /// Closes the connection at the first request.
    Closes,
}

fn server(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    let ends = Arc::new(Mutex::new(vec![0_i64; usize::from(QUEUES)]));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let ends = Arc::clone(&ends);
            thread::spawn(move || serve(stream, fault, &ends));
        }
    });
    address
}

fn serve(mut stream: TcpStream, fault: Fault, ends: &Mutex<Vec<i64>>) {
    let mut scratch = HeadScratch::default();
    let mut received = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut held_back: Option<Vec<u8>> = None;
    while let Ok(bytes @ 1..) = stream.read(&mut chunk) {
        received.extend_from_slice(&chunk[..bytes]);
        let mut out = Vec::new();
        let mut taken = 0;
        while let Ok(Decoded::Frame(frame, whole)) = frame::decode(&received[taken..]) {
            let head = scratch.decode(frame.format, frame.head).expect("the generator's own header");
            taken += whole;
            match fault {
                Fault::Silent => continue,
                Fault::Closes => return,
                _ => {}
            }
            let answer = match head.code {
                310 => send_answer(&head, fault, ends),
                11 => pull_answer(&head, fault),
                code => panic!("nobody asks for {code}"),
            };
            // Every seventh answer is overtaken by the one after it.
            if head.opaque % 7 == 0 && held_back.is_none() {
                held_back = Some(answer);
            } else {
                out.extend(answer);
                out.extend(held_back.take().unwrap_or_default());
            }
        }
        received.drain(..taken);
        out.extend(held_back.take().unwrap_or_default());
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

fn send_answer(head: &Head<'_>, fault: Fault, ends: &Mutex<Vec<i64>>) -> Vec<u8> {
    if fault == Fault::Refuses {
        return answer(2, head.opaque, &[], &[]);
    }
    let queue = head.fields.i32("e").expect("a queue");
    let mut ends = ends.lock().expect("no panic");
    let end = &mut ends[usize::try_from(queue).expect("not negative")];
    if !(fault == Fault::RepeatsAnOffset && *end == 49) {
        *end += 1;
    }
    let fields = [
        ("msgId", Value::Text("7F00000100002A9F0000000000000000")),
        ("queueId", Value::Int(queue.into())),
        ("queueOffset", Value::Int(*end - 1)),
    ];
    answer(0, head.opaque, &fields, &[])
}

fn pull_answer(head: &Head<'_>, fault: Fault) -> Vec<u8> {
    let queue_id = head.fields.i32("queueId").expect("a queue");
    let from = head.fields.i64("queueOffset").expect("an offset");
    let to = (from + head.fields.i64("maxMsgNums").expect("a number")).min(RECORDS as i64);
    let host = ([127, 0, 0, 1], 10911).into();
    let mut body = Vec::new();
    for offset in from..to {
        let start = body.len();
        let draft = Draft {
            topic: "bench",
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &[42; 300],
            properties: b"",
        };
        draft.encode(&mut body).expect("small");
        record::place(&mut body[start..], offset, offset * 400, 1);
        if fault == Fault::FlipsABit && offset == 70 {
            body[start + 100] ^= 1;
        }
    }
    answer(0, head.opaque, &[("nextBeginOffset", Value::Int(to))], &body)
}

fn answer(code: i32, opaque: i32, fields: &[(&str, Value<'_>)], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let format = HeadFormat::Json;
    OutHead { format, code, opaque, flag: FLAG_RESPONSE, remark: None, fields }.encode(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

fn plan(target: SocketAddr, pace: Pace) -> Plan {
    Plan {
        targets: vec![target],
        connections: 4,
        in_flight: 4,
        pace,
        warm_up: WarmUp::NONE,
        measure: Duration::from_secs(60),
        patience: Duration::from_secs(10),
        windows: None,
        stop: None,
    }
}

fn run(plan: &Plan, work: &mut impl Work) -> Result<(Measured, Vec<Phase>), LoadError> {
    let mut phases = Vec::new();
    let measured = generator::run(plan, work, &mut |phase| match phase {
        Phase::Going { .. } => {}
        turn => phases.push(turn),
    })?;
    Ok((measured, phases))
}

fn sends(requests: u64) -> Send {
    let messages = Messages {
        topics: None,
        topic: "bench".into(),
        queues: QUEUES,
        body_bytes: 1024,
        batch: 1,
        requests: Some(requests),
    };
    Send::new(&messages, &[vec![0; usize::from(QUEUES)]], 16)
}

#[test]
fn a_right_server_is_measured_in_a_closed_loop() {
    let mut work = sends(1000);
    let (measured, phases) = run(&plan(server(Fault::None), Pace::Closed), &mut work).expect("all is right");
    assert_eq!((measured.messages, measured.answers), (1000, 1000));
    assert_eq!(measured.latency.len(), 1000);
    assert_eq!(phases, [Phase::Measure, Phase::Drain]);
    assert_eq!(work.finish(), Ok(vec![vec![250; 4]]));
}

#[test]
fn what_several_generators_find_is_summed() {
    let target = server(Fault::None);
    // A queue's offsets are one generator's alone, so the others have servers of their own.
    let targets = [target, server(Fault::None), server(Fault::None)];
    let core = ringmq_bench::os::allowed_cores().expect("known")[0];
    let mut fleet: Vec<Member> = [100, 200, 300]
        .into_iter()
        .zip(targets)
        .map(|(requests, target)| Member { plan: plan(target, Pace::Closed), work: sends(requests), core })
        .collect();
    let mut phases = 0;
    let measured = fleet::run(&mut fleet, &mut |_| phases += 1).expect("all is right");
    assert_eq!((measured.messages, measured.answers, measured.latency.len()), (600, 600, 600));
    assert_eq!(measured.timeline.ticks.iter().map(|tick| tick.messages).sum::<u64>(), 600);
    assert_eq!(measured.service.len(), 600);
    assert!(phases >= 2, "the first one tells");
}

#[test]
fn a_right_server_is_measured_at_a_fixed_rate() {
    let mut work = sends(500);
    let target = server(Fault::None);
    let (measured, _) = run(&plan(target, Pace::Open { rate: 10_000.0 }), &mut work).expect("all is right");
    assert_eq!(measured.messages, 500);
    assert_eq!(
        measured.lateness.len(),
        500 + 16,
        "each lane is once more due, to learn that there is nothing left"
    );
    // Measuring begins with the first turn, which on a busy machine may be some time after moment 0.
    assert!(measured.elapsed >= Duration::from_millis(30), "500 requests at 10,000/s take 50 ms");
}

#[test]
fn records_pulled_are_counted_and_checked() {
    let limited = |target| Plan { measure: Duration::from_millis(50), ..plan(target, Pace::Closed) };
    let ends = [vec![RECORDS; usize::from(QUEUES)]];
    let mut work = Pull::new("bench", &ends, 16, 4);
    let (measured, _) = run(&limited(server(Fault::None)), &mut work).expect("all is right");
    assert!(measured.messages > measured.answers, "answers bring several records");
    assert!(work.body_bytes >= measured.messages * 300);

    let mut work = Pull::new("bench", &ends, 16, 4);
    let longer = Plan { measure: Duration::from_secs(60), ..limited(server(Fault::FlipsABit)) };
    let wrong = run(&longer, &mut work);
    assert!(matches!(&wrong, Err(LoadError::Wrong(wrong)) if wrong.0.contains("record 70")), "{wrong:?}");
}

#[test]
fn a_repeated_offset_ends_the_run() {
    let wrong = run(&plan(server(Fault::RepeatsAnOffset), Pace::Closed), &mut sends(1000));
    assert!(matches!(&wrong, Err(LoadError::Wrong(wrong)) if wrong.0.contains("twice")), "{wrong:?}");
}

#[test]
fn refusals_are_counted_apart() {
    let (measured, _) =
        run(&plan(server(Fault::Refuses), Pace::Closed), &mut sends(100)).expect("refused, not wrong");
    assert_eq!((measured.messages, measured.latency.len()), (0, 0));
    assert_eq!(measured.refused, [(2, 100)].into());
}

#[test]
fn a_silent_server_hangs_and_a_closing_one_closes() {
    let impatient = Plan { patience: Duration::from_millis(1), ..plan(server(Fault::Silent), Pace::Closed) };
    let hung = run(&impatient, &mut sends(100));
    assert!(matches!(hung, Err(LoadError::Hung { in_flight: 16, .. })), "{hung:?}");
    let closed = run(&plan(server(Fault::Closes), Pace::Closed), &mut sends(100));
    assert!(matches!(closed, Err(LoadError::Closed | LoadError::Io { .. })), "{closed:?}");
}
