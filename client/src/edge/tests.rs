//! Connections under a paused clock: what a server does is written down, and time jumps to the next thing due.

use super::answer::{Answer, Asked, Inbox};
use super::connection::{Connection, Request};
use super::pump;
use crate::error::Error;
use crate::limits::DEADLINE_GRAIN;
use bytes::BytesMut;
use ringmq_wire::command::{FLAG_ONE_WAY, FLAG_RESPONSE};
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::{HeadFormat, HeadScratch, OutHead, Value};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(3);

/// What servers asked.
#[derive(Default)]
struct Heard(Mutex<Vec<i32>>);

impl Inbox for Heard {
    fn asked(&self, _from: &str, request: &Asked<'_>) -> i32 {
        self.0.lock().unwrap().push(request.head.code);
        0
    }
    fn connected(&self, _address: &str) {}
}

/// Counts the writes of the stream in it.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A client's connection and the server's end of it.
struct Pair {
    client: Connection,
    server: DuplexStream,
    received: BytesMut,
    heard: Arc<Heard>,
    writes: Arc<AtomicUsize>,
}

/// A request as the server sees it.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    code: i32,
    opaque: i32,
    flag: i32,
    body: Vec<u8>,
}

impl Pair {
    fn new() -> Pair {
        Pair::with_room_for(1 << 20)
    }

    /// The socket takes so many bytes that the server has not read.
    fn with_room_for(bytes: usize) -> Pair {
        let (client, server) = duplex(bytes);
        let (heard, writes) = (Arc::new(Heard::default()), Arc::new(AtomicUsize::new(0)));
        let client = pump::start(Counted(client, writes.clone()), "server:1".into(), heard.clone());
        Pair { client, server, received: BytesMut::new(), heard, writes }
    }

    fn call(&self, code: i32, body: &[u8]) -> super::connection::Call {
        let fields = [("topic", Value::Text("T"))];
        self.client.call(&Request { code, fields: &fields, body }, Instant::now() + PATIENCE, None)
    }

    async fn got(&mut self) -> Got {
        loop {
            if let Ok(Decoded::Frame(frame, taken)) = frame::decode(&self.received) {
                let mut scratch = HeadScratch::default();
                let head = scratch.decode(frame.format, frame.head).unwrap();
                let (code, opaque, flag) = (head.code, head.opaque, head.flag);
                let got = Got { code, opaque, flag, body: frame.body.to_vec() };
                let _ = self.received.split_to(taken);
                return got;
            }
            assert_ne!(self.server.read_buf(&mut self.received).await.unwrap(), 0, "the client left");
        }
    }

    async fn send(&mut self, code: i32, opaque: i32, flag: i32, body: &[u8]) {
        let fields = [("key", Value::Text("value"))];
        let head =
            OutHead { format: HeadFormat::Json, code, opaque, flag, remark: Some("remark"), fields: &fields };
        let mut out = Vec::new();
        head.encode(&mut out, body.len());
        out.extend_from_slice(body);
        // In two parts, so that the reader has to put a frame together.
        let (first, second) = out.split_at(7);
        self.server.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        self.server.write_all(second).await.unwrap();
    }

    async fn answer(&mut self, opaque: i32, body: &[u8]) {
        self.send(0, opaque, FLAG_RESPONSE, body).await;
    }
}

fn body_of(answer: Result<Answer, Error>) -> Vec<u8> {
    answer.unwrap().body.to_vec()
}

#[tokio::test(start_paused = true)]
async fn answers_in_any_order_find_their_calls() {
    let mut pair = Pair::new();
    let (first, second) = (pair.call(1, b"1"), pair.call(2, b"2"));
    let (one, two) = (pair.got().await, pair.got().await);
    assert_eq!((one.code, one.body.as_slice(), two.code), (1, &b"1"[..], 2));
    pair.answer(two.opaque, b"second").await;
    pair.answer(one.opaque, b"first").await;
    let answer = first.await.unwrap();
    assert_eq!((answer.body.as_ref(), answer.remark.as_deref()), (&b"first"[..], Some("remark")));
    assert_eq!(answer.fields().get("key"), Some("value"));
    assert_eq!(body_of(second.await), b"second");
}

#[tokio::test(start_paused = true)]
async fn what_many_send_at_once_leaves_in_one_write() {
    let mut pair = Pair::new();
    let tasks: Vec<_> = (0..100)
        .map(|code| {
            let client = pair.client.clone();
            tokio::spawn(async move {
                let request = Request { code, fields: &[], body: b"body" };
                client.call(&request, Instant::now() + PATIENCE, None).await.unwrap().code
            })
        })
        .collect();
    for _ in 0..100 {
        let got = pair.got().await;
        pair.answer(got.opaque, b"").await;
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), 0);
    }
    assert_eq!(pair.writes.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_answers_ends_at_its_deadline() {
    let mut pair = Pair::new();
    let (slow, other) = (pair.call(1, b""), pair.call(2, b""));
    let (slow_got, other_got) = (pair.got().await, pair.got().await);
    // Another answer shows that the connection lives.
    pair.answer(other_got.opaque, b"here").await;
    assert_eq!(body_of(other.await), b"here");
    let began = Instant::now();
    let error = slow.await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { sent: true, .. }), "{error}");
    assert!((PATIENCE..=PATIENCE + DEADLINE_GRAIN).contains(&began.elapsed()), "{:?}", began.elapsed());
    // Its late answer goes to nobody, and the connection goes on.
    pair.answer(slow_got.opaque, b"late").await;
    let next = pair.call(3, b"");
    let got = pair.got().await;
    pair.answer(got.opaque, b"next").await;
    assert_eq!(body_of(next.await), b"next");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_silent_for_as_long_as_a_call_waits_is_closed() {
    let pair = Pair::new();
    sleep(Duration::from_secs(1)).await;
    assert!(matches!(pair.call(1, b"").await, Err(Error::TimedOut { sent: true, .. })));
    tokio::task::yield_now().await;
    assert!(pair.client.is_closed());
    assert!(matches!(pair.call(1, b"").await, Err(Error::Lost { sent: false, .. })));
}

#[tokio::test(start_paused = true)]
async fn when_the_server_leaves_every_call_learns_whether_it_had_left() {
    let mut pair = Pair::with_room_for(64);
    let first = pair.call(1, &[1; 200]);
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    // The socket is full in the middle of the first frame.
    let second = pair.call(2, b"");
    let mut byte = [0];
    pair.server.read_exact(&mut byte).await.unwrap();
    drop(pair.server);
    assert!(matches!(first.await, Err(Error::Lost { sent: true, .. })));
    assert!(matches!(second.await, Err(Error::Lost { sent: false, .. })));
    assert!(pair.client.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_frame_cut_in_the_middle_ends_calls_as_unknown() {
    let mut pair = Pair::new();
    let call = pair.call(1, b"");
    pair.got().await;
    pair.server.write_all(&[0, 0, 0, 50, 0]).await.unwrap();
    drop(pair.server);
    let error = call.await.unwrap_err();
    assert!(error.outcome_unknown(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_frame_close_the_connection() {
    let mut pair = Pair::new();
    let call = pair.call(1, b"");
    pair.got().await;
    pair.server.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap();
    let error = call.await.unwrap_err();
    assert!(matches!(error, Error::Lost { sent: true, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_is_heard_and_answered_if_it_wants_that() {
    let mut pair = Pair::new();
    pair.send(40, 7, FLAG_ONE_WAY, b"").await;
    pair.send(307, 8, 0, b"").await;
    let got = pair.got().await;
    assert_eq!((got.opaque, got.flag), (8, FLAG_RESPONSE));
    assert_eq!(*pair.heard.0.lock().unwrap(), [40, 307]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_sent_and_its_answer_forgotten() {
    let mut pair = Pair::new();
    let dropped = pair.call(1, b"");
    drop(dropped);
    let got = pair.got().await;
    let next = pair.call(2, b"");
    let next_got = pair.got().await;
    assert_ne!(got.opaque, next_got.opaque);
    pair.answer(got.opaque, b"for nobody").await;
    pair.answer(next_got.opaque, b"next").await;
    assert_eq!(body_of(next.await), b"next");
}

#[tokio::test(start_paused = true)]
async fn a_one_way_request_holds_its_room_until_the_socket_took_it() {
    let mut pair = Pair::with_room_for(64);
    let room = Arc::new(Semaphore::new(10));
    let share = room.clone().try_acquire_many_owned(10).unwrap();
    pair.client.one_way(&Request { code: 1, fields: &[], body: &[1; 200] }, share).unwrap();
    assert_eq!(room.available_permits(), 0);
    let got = pair.got().await;
    assert_eq!((got.code, got.flag), (1, FLAG_ONE_WAY));
    tokio::task::yield_now().await;
    assert_eq!(room.available_permits(), 10);
}
