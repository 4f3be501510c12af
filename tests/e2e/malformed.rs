//! Nonsense on every port: it is answered or the connection is closed, others do not notice, and the log
//! names the likely mistake.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use ringmq_tests::compat::ringmq::{Node, NodeSettings};
use ringmq_tests::compat::site::Folder;
use ringmq_tests::load::remoting::Remoting;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(10);

/// What the server does with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaction {
    /// It closes the connection without a word.
    Closes,
    /// It waits for more, so the client closes.
    Waits,
}

/// What is sent, what must happen, and what the log must say.
type Case = (&'static str, Vec<u8>, Reaction, Option<&'static str>);

#[test]
fn nonsense_on_any_port_harms_nobody_else() {
    let folder = Folder::new("malformed");
    let settings = NodeSettings::new(&folder.path, 2);
    let mut node = Node::start(settings.clone());
    let shard = settings.shard_port(0);
    for port in [shard, shard - 2, settings.shard_port(1), settings.name_server_port] {
        let address = format!("127.0.0.1:{port}");
        let mut witness = Remoting::connect(&address).expect("it listens");
        for (what, input, reaction, logged) in cases() {
            let found = react(&address, &input);
            assert_eq!(found, reaction, "{what} at {address}");
            let answer = witness.ask(9999, &json!({}), b"").expect("the witness is still served");
            assert_eq!(answer.code, 3, "after {what} at {address}");
            if let Some(mistake) = logged {
                node.process.expect_line(mistake, PATIENCE);
            }
        }
    }
}

fn cases() -> Vec<Case> {
    let framed = |length: u32, word: u32, rest: &[u8]| {
        [&length.to_be_bytes()[..], &word.to_be_bytes()[..], rest].concat()
    };
    // A TLS client's greeting: handshake record, TLS 1.0 on the outside, client hello of 508 bytes.
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];
    hello.resize(517, 0x5A);
    vec![
        ("random bytes", random_bytes(4096), Reaction::Closes, None),
        ("a frame of no bytes", framed(0, 0, b""), Reaction::Closes, None),
        ("a frame shorter than its own word", framed(3, 0, b""), Reaction::Closes, None),
        ("a frame of 16 MiB and one byte", framed((16 << 20) - 3, 0, b""), Reaction::Closes, None),
        ("a frame of 4 GiB", framed(u32::MAX, 0, b""), Reaction::Closes, None),
        ("a header longer than its frame", framed(10, 7, b"123456"), Reaction::Closes, None),
        ("an unknown header format", framed(10, 0x0900_0006, b"123456"), Reaction::Closes, None),
        ("a header that is no JSON", framed(10, 6, b"123456"), Reaction::Closes, None),
        ("a header cut off", framed(10, 6, b"{\"cod\""), Reaction::Closes, None),
        ("a binary header cut off", framed(10, 0x0100_0006, b"123456"), Reaction::Closes, None),
        ("half a length", vec![0, 0], Reaction::Waits, None),
        ("half a frame", framed(1000, 900, b"{\"code\":10"), Reaction::Waits, None),
        ("nothing", vec![], Reaction::Waits, None),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Reaction::Closes, Some("HTTP")),
        ("a gRPC greeting", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Reaction::Closes, Some("gRPC")),
        ("a TLS greeting", hello, Reaction::Closes, Some("TLS")),
    ]
}

/// Sends `input` over a connection of its own and looks what happens.
fn react(address: &str, input: &[u8]) -> Reaction {
    let mut stream = TcpStream::connect(address).expect("it listens");
    // A server that closes at once may do so while we still write.
    let _ = stream.write_all(input);
    // Half a second is enough to see that nothing comes; a closed connection is seen at once.
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout can be set");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            let _ = stream.shutdown(Shutdown::Both);
            return Reaction::Waits;
        }
        Err(error) => panic!("{address}: {error}"),
    }
    assert!(answer.is_empty(), "no answer was possible, and there was one: {answer:?}");
    Reaction::Closes
}

/// Always the same bytes; they declare a frame far beyond the limit.
fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = vec![0x7F];
    bytes.extend((1..count).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    }));
    bytes
}
