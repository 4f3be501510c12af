//! One remoting connection that calls and waits.
//!
//! ```text
//! call ── start ──► frame ──► peer
//!           │                   │
//!         opaque              frame ──► answer of `opaque`?  ─► kept for its `wait`
//!           │                            answer of nobody?    ─► dropped
//!         wait ◄─────────────────────────request of theirs?   ─► kept for `server_request`
//! ```
//!
//! Invariants
//!  1. An answer is given only to the call whose opaque it carries; the order of answers is the peer's.
//!  2. A call that timed out leaves the connection usable: its late answer belongs to nobody.
//!  3. After a failure inside a frame the connection is broken and says so, for bytes can no longer be told apart.
//!
//! Not here: reconnecting, several connections, which broker to ask.
//! Truth: RocketMQ `org.apache.rocketmq.remoting.netty.NettyRemotingAbstract`.

use super::message::{Answer, Request, ServerRequest};
use crate::error::CallError;
use ringmq_wire::command::{FLAG_ONE_WAY, FLAG_RESPONSE, OutHead};
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::{HeadScratch, Value};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Most calls of one connection that may await answers at once; one more is refused.
pub const IN_FLIGHT_MAX: usize = 4096;
/// Most requests of the server that are kept until somebody takes them; the oldest is forgotten for one more, since
/// they are hints that the server repeats.
pub const SERVER_REQUESTS_MAX: usize = 1024;
/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 64 * 1024;

/// One remoting connection. Belongs to one thread at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    peer: String,
    next_opaque: i32,
    /// Calls that await answers, and the answers that came before their callers.
    in_flight: BTreeMap<i32, Option<Answer>>,
    server_requests: VecDeque<ServerRequest>,
    received: Vec<u8>,
    outgoing: Vec<u8>,
    scratch: HeadScratch,
    broken: bool,
}

impl Connection {
    /// Connects to the first address of `peer` that accepts, each within `patience`.
    pub fn connect(peer: impl ToSocketAddrs, patience: Duration) -> Result<Connection, CallError> {
        let failed = |source| CallError::Io { operation: "connect to", peer: "the peer".into(), source };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in peer.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => return Connection::from_stream(stream),
                Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            }
        }
        Err(failed(last))
    }

    /// Takes over a connected, blocking stream.
    pub fn from_stream(stream: TcpStream) -> Result<Connection, CallError> {
        let peer = stream.peer_addr().map_or_else(|_| "the peer".to_owned(), |address| address.to_string());
        let configured = stream.set_nodelay(true);
        configured.map_err(|source| CallError::Io { operation: "configure", peer: peer.clone(), source })?;
        Ok(Connection {
            stream,
            peer,
            next_opaque: 1,
            in_flight: BTreeMap::new(),
            server_requests: VecDeque::new(),
            received: Vec::new(),
            outgoing: Vec::new(),
            scratch: HeadScratch::default(),
            broken: false,
        })
    }

    /// Our own end's address.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// Sends a request and waits for its answer, at most `patience`.
    pub fn call(&mut self, request: &Request, patience: Duration) -> Result<Answer, CallError> {
        let opaque = self.start(request, patience)?;
        self.wait(opaque, patience)
    }

    /// Sends a request and returns its opaque; [`Connection::wait`] gets the answer. Several calls may be under way.
    pub fn start(&mut self, request: &Request, patience: Duration) -> Result<i32, CallError> {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return Err(CallError::TooManyInFlight(self.in_flight.len()));
        }
        let opaque = self.take_opaque();
        self.send(request, opaque, 0, patience)?;
        self.in_flight.insert(opaque, None);
        Ok(opaque)
    }

    /// Waits for the answer of a started call, at most `patience`.
    pub fn wait(&mut self, opaque: i32, patience: Duration) -> Result<Answer, CallError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.in_flight.get_mut(&opaque) {
                None => return Err(CallError::NotInFlight(opaque)),
                Some(answer) => {
                    if let Some(answer) = answer.take() {
                        self.in_flight.remove(&opaque);
                        return Ok(answer);
                    }
                }
            }
            if !self.receive(deadline)? {
                self.in_flight.remove(&opaque);
                return Err(CallError::TimedOut(patience));
            }
        }
    }

    /// Sends a request that the server does not answer.
    pub fn call_one_way(&mut self, request: &Request, patience: Duration) -> Result<(), CallError> {
        let opaque = self.take_opaque();
        self.send(request, opaque, FLAG_ONE_WAY, patience)
    }

    /// The next request that the server sent to us, waiting for one at most `patience`; `None` if none came.
    pub fn server_request(&mut self, patience: Duration) -> Result<Option<ServerRequest>, CallError> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(request) = self.server_requests.pop_front() {
                return Ok(Some(request));
            }
            if !self.receive(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Answers a request of the server's; `answer`'s code is the response code.
    pub fn answer(&mut self, opaque: i32, answer: &Request, patience: Duration) -> Result<(), CallError> {
        self.send(answer, opaque, FLAG_RESPONSE, patience)
    }

    /// Sends bytes as they are: for tests that show a server what no client sends.
    pub fn send_raw(&mut self, bytes: &[u8], patience: Duration) -> Result<(), CallError> {
        self.outgoing.clear();
        self.outgoing.extend_from_slice(bytes);
        self.write_outgoing(patience)
    }

    fn take_opaque(&mut self) -> i32 {
        let opaque = self.next_opaque;
        self.next_opaque = self.next_opaque.wrapping_add(1);
        opaque
    }

    fn send(
        &mut self,
        request: &Request,
        opaque: i32,
        flag: i32,
        patience: Duration,
    ) -> Result<(), CallError> {
        let fields: Vec<(&str, Value<'_>)> =
            request.fields.iter().map(|(name, value)| (name.as_str(), Value::Text(value))).collect();
        let head = OutHead {
            format: request.format,
            code: request.code,
            opaque,
            flag,
            remark: None,
            fields: &fields,
        };
        self.outgoing.clear();
        head.encode(&mut self.outgoing, request.body.len());
        self.outgoing.extend_from_slice(&request.body);
        self.write_outgoing(patience)
    }

    fn write_outgoing(&mut self, patience: Duration) -> Result<(), CallError> {
        if self.broken {
            return Err(CallError::Broken(self.peer.clone()));
        }
        let written = self
            .stream
            .set_write_timeout(Some(patience.max(SHORTEST_PATIENCE)))
            .and_then(|()| self.stream.write_all(&self.outgoing));
        written.map_err(|source| self.broken_by("write to", source))
    }

    /// Reads until something whole came, and files it. `false` if nothing did before the deadline.
    fn receive(&mut self, deadline: Instant) -> Result<bool, CallError> {
        if self.broken {
            return Err(CallError::Broken(self.peer.clone()));
        }
        loop {
            if self.file_frames()? > 0 {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.read_some(left)? {
                return Ok(false);
            }
        }
    }

    /// One read. `false` if nothing came within `patience`.
    fn read_some(&mut self, patience: Duration) -> Result<bool, CallError> {
        let timed = self.stream.set_read_timeout(Some(patience.max(SHORTEST_PATIENCE)));
        timed.map_err(|source| self.broken_by("read from", source))?;
        let had = self.received.len();
        self.received.resize(had + READ_BYTES, 0);
        let read = self.stream.read(&mut self.received[had..]);
        self.received.truncate(had + read.as_ref().map_or(0, |bytes| *bytes));
        match read {
            Ok(0) => {
                self.broken = true;
                Err(CallError::Closed(self.peer.clone()))
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(source) => Err(self.broken_by("read from", source)),
        }
    }

    /// Files every whole frame of what was received, and returns how many there were.
    fn file_frames(&mut self) -> Result<usize, CallError> {
        let mut frames = 0;
        let mut taken = 0;
        let filed = loop {
            match frame::decode(&self.received[taken..]) {
                Ok(Decoded::Incomplete { .. }) => break Ok(frames),
                Err(error) => break Err(error.into()),
                Ok(Decoded::Frame(frame, bytes)) => {
                    let head = match self.scratch.decode(frame.format, frame.head) {
                        Ok(head) => head,
                        Err(error) => break Err(error.into()),
                    };
                    if !head.is_response() {
                        if self.server_requests.len() == SERVER_REQUESTS_MAX {
                            self.server_requests.pop_front();
                        }
                        self.server_requests.push_back(ServerRequest::new(&head, frame.body));
                    } else if let Some(answer) = self.in_flight.get_mut(&head.opaque) {
                        *answer = Some(Answer::new(&head, frame.format, frame.body));
                    }
                    taken += bytes;
                    frames += 1;
                }
            }
        };
        self.received.drain(..taken);
        // An idle connection holds no memory: thousands of them are a test's ordinary case.
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        self.broken |= filed.is_err();
        filed
    }

    fn broken_by(&mut self, operation: &'static str, source: io::Error) -> CallError {
        self.broken = true;
        CallError::Io { operation, peer: self.peer.clone(), source }
    }
}

/// The operating system takes a timeout of zero for "for ever".
const SHORTEST_PATIENCE: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_wire::HeadFormat;
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A peer that runs `script` on the one connection it accepts.
    fn peer(script: impl FnOnce(Peer) + Send + 'static) -> (Connection, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("the client connects");
            script(Peer { stream, received: Vec::new() });
        });
        (Connection::connect(address, PATIENCE).expect("the peer listens"), thread)
    }

    struct Peer {
        stream: TcpStream,
        received: Vec<u8>,
    }

    impl Peer {
        /// Reads one request: its code, opaque, flag, and body.
        fn request(&mut self) -> (i32, i32, i32, Vec<u8>) {
            loop {
                if let Ok(Decoded::Frame(frame, taken)) = frame::decode(&self.received) {
                    let mut scratch = HeadScratch::default();
                    let head = scratch.decode(frame.format, frame.head).expect("the client's own header");
                    let request = (head.code, head.opaque, head.flag, frame.body.to_vec());
                    self.received.drain(..taken);
                    return request;
                }
                let mut chunk = [0; 4096];
                let bytes = self.stream.read(&mut chunk).expect("the client is there");
                assert_ne!(bytes, 0, "the client left");
                self.received.extend_from_slice(&chunk[..bytes]);
            }
        }

        fn send(&mut self, code: i32, opaque: i32, flag: i32, remark: &str) {
            let fields = [("key", Value::Text("value"))];
            let head = OutHead {
                format: HeadFormat::Json,
                code,
                opaque,
                flag,
                remark: Some(remark),
                fields: &fields,
            };
            let mut out = Vec::new();
            head.encode(&mut out, remark.len());
            out.extend_from_slice(remark.as_bytes());
            // In two parts, so that the reader has to put a frame together.
            let (first, second) = out.split_at(7);
            self.stream.write_all(first).expect("the client is there");
            self.stream.write_all(second).expect("the client is there");
        }
    }

    #[test]
    fn a_call_gets_code_remark_fields_and_body() {
        let (mut connection, thread) = peer(|mut peer| {
            let (code, opaque, flag, body) = peer.request();
            assert_eq!((code, flag, body.as_slice()), (310, 0, b"hello".as_slice()));
            peer.send(17, opaque, FLAG_RESPONSE, "no such topic");
        });
        let answer =
            connection.call(&Request::new(310).field("b", "T").body("hello"), PATIENCE).expect("answered");
        assert_eq!(answer.code, 17);
        assert_eq!(answer.remark.as_deref(), Some("no such topic"));
        assert_eq!(answer.field("key"), Some("value"));
        assert_eq!(answer.number("key"), None);
        assert_eq!(answer.body, b"no such topic");
        thread.join().expect("the peer's assertions hold");
    }

    #[test]
    fn answers_in_another_order_find_their_calls() {
        let (mut connection, thread) = peer(|mut peer| {
            let first = peer.request().1;
            let second = peer.request().1;
            peer.send(0, second, FLAG_RESPONSE, "second");
            peer.send(0, first, FLAG_RESPONSE, "first");
        });
        let first = connection.start(&Request::new(1), PATIENCE).expect("sent");
        let second = connection.start(&Request::new(2), PATIENCE).expect("sent");
        assert_eq!(connection.wait(first, PATIENCE).expect("answered").body, b"first");
        assert_eq!(connection.wait(second, PATIENCE).expect("answered").body, b"second");
        assert!(matches!(connection.wait(second, PATIENCE), Err(CallError::NotInFlight(_))));
        thread.join().expect("the peer's assertions hold");
    }

    #[test]
    fn a_late_answer_goes_to_nobody_and_the_connection_goes_on() {
        let (mut connection, thread) = peer(|mut peer| {
            let late = peer.request().1;
            let next = peer.request().1;
            peer.send(0, late, FLAG_RESPONSE, "late");
            peer.send(0, next, FLAG_RESPONSE, "in time");
        });
        let nothing = connection.call(&Request::new(1), Duration::from_millis(1));
        assert!(matches!(nothing, Err(CallError::TimedOut(_))), "{nothing:?}");
        assert_eq!(connection.call(&Request::new(2), PATIENCE).expect("answered").body, b"in time");
        thread.join().expect("the peer's assertions hold");
    }

    #[test]
    fn a_request_of_the_server_waits_until_it_is_taken() {
        let (mut connection, thread) = peer(|mut peer| {
            let opaque = peer.request().1;
            peer.send(40, 7, FLAG_ONE_WAY, "changed");
            peer.send(0, opaque, FLAG_RESPONSE, "answer");
            let (code, opaque, flag, _) = peer.request();
            assert_eq!((code, opaque, flag), (0, 7, FLAG_RESPONSE));
        });
        assert_eq!(connection.call(&Request::new(34), PATIENCE).expect("answered").body, b"answer");
        let request = connection.server_request(PATIENCE).expect("no failure").expect("one came");
        assert_eq!((request.code, request.opaque, request.one_way), (40, 7, true));
        assert_eq!(request.field("key"), Some("value"));
        connection.answer(7, &Request::new(0), PATIENCE).expect("sent");
        thread.join().expect("the peer's assertions hold");
    }

    #[test]
    fn a_peer_that_leaves_ends_the_call_and_breaks_the_connection() {
        let (mut connection, thread) = peer(|mut peer| {
            peer.request();
        });
        let ended = connection.call(&Request::new(1), PATIENCE);
        assert!(matches!(ended, Err(CallError::Closed(_) | CallError::Io { .. })), "{ended:?}");
        assert!(matches!(connection.call(&Request::new(1), PATIENCE), Err(CallError::Broken(_))));
        thread.join().expect("the peer's assertions hold");
    }

    #[test]
    fn bytes_that_are_no_frame_break_the_connection() {
        let (mut connection, thread) = peer(|mut peer| {
            peer.request();
            peer.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").expect("the client is there");
        });
        let refused = connection.call(&Request::new(1), PATIENCE);
        assert!(matches!(refused, Err(CallError::Frame(_))), "{refused:?}");
        thread.join().expect("the peer's assertions hold");
    }
}
