//! Received bytes of one connection → complete wire frames.
//!
//!     receive buffers   │ frame │ frame │ fra│   │me │ frame │
//!     handed out from   └ buffer┘       └──── tail ─┘└ buffer┘
//!
//! A frame that lies whole in a receive buffer is handed out from there, uncopied. Only a frame that is
//! split between buffers is copied, to the tail, and only until it is complete.
//!
//! Invariants
//!  1. The tail never holds more than one frame, and never a complete one.
//!  2. It grows by bytes that came, not by a length that was declared.
//!  3. While no frame is split it holds at most [`TAIL_KEPT_BYTES_MAX`] of capacity.
//!
//! Pure. Not here: what a frame is (`ringmq_wire::frame`), what its header says.
//! Source of truth: `remoting/.../netty/NettyDecoder.java`.

use crate::limits::TAIL_KEPT_BYTES_MAX;
use ringmq_wire::FrameError;
use ringmq_wire::frame::{Decoded, Frame, decode};
use std::fmt;
use std::ops::ControlFlow;

/// The split frame of one connection, if there is one.
#[derive(Debug, Default)]
pub struct Frames {
    tail: Vec<u8>,
    /// Bytes that the tail must have before it is worth reading again; more than it has.
    need: usize,
}

impl Frames {
    /// Takes received bytes and hands out every frame that they complete, in order. `Break` forgets the
    /// rest of `bytes`: the connection is about to be closed. So does an error.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<(), FrameError> {
        let mut rest = bytes;
        while !self.tail.is_empty() {
            let (missing, after) = rest.split_at(rest.len().min(self.need - self.tail.len()));
            self.tail.extend_from_slice(missing);
            rest = after;
            if self.tail.len() < self.need {
                return Ok(());
            }
            match decode(&self.tail)? {
                Decoded::Incomplete { need } => self.need = need,
                Decoded::Frame(frame, _) => {
                    let flow = take(frame);
                    self.forget();
                    if flow.is_break() {
                        return Ok(());
                    }
                }
            }
        }
        while !rest.is_empty() {
            match decode(rest)? {
                Decoded::Incomplete { need } => {
                    self.tail.extend_from_slice(rest);
                    self.need = need;
                    return Ok(());
                }
                Decoded::Frame(frame, len) => {
                    if take(frame).is_break() {
                        return Ok(());
                    }
                    rest = rest.get(len..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.tail.clear();
        if self.tail.capacity() > TAIL_KEPT_BYTES_MAX {
            self.tail = Vec::new();
        }
    }

    /// Bytes of a frame that is not complete yet.
    pub fn waiting(&self) -> usize {
        self.tail.len()
    }
}

/// What a connection that does not speak our protocol probably speaks; for the message that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likely {
    /// A browser, a health check, a scraper of metrics.
    Http,
    /// HTTP/2, and so probably a client of the 5.x gRPC protocol.
    Grpc,
    /// TLS towards a port without it.
    Tls,
    /// A load balancer's PROXY header, version 1 or 2.
    Proxy,
    /// A port scanner, or a wrong port.
    Ssh,
    /// Another broker's client.
    Mqtt,
    /// Another broker's client.
    Amqp,
    /// None of these.
    Unknown,
}

/// Guesses from the first bytes of a connection.
pub fn greeting(first: &[u8]) -> Likely {
    const STARTS: [(&[u8], Likely); 15] = [
        (b"PRI * HTTP/2", Likely::Grpc),
        (b"GET ", Likely::Http),
        (b"HEAD ", Likely::Http),
        (b"POST ", Likely::Http),
        (b"PUT ", Likely::Http),
        (b"PATCH ", Likely::Http),
        (b"DELETE ", Likely::Http),
        (b"OPTIONS ", Likely::Http),
        (b"CONNECT ", Likely::Http),
        (b"\x16\x03", Likely::Tls),
        (b"PROXY ", Likely::Proxy),
        (b"\r\n\r\n\0\r\nQUIT\n", Likely::Proxy),
        (b"SSH-", Likely::Ssh),
        (b"AMQP", Likely::Amqp),
        (b"MQTT", Likely::Mqtt),
    ];
    // MQTT's first packet: type, length, and the length of the name.
    let name = match first {
        [0x10, _, 0, 4, rest @ ..] => rest,
        _ => first,
    };
    STARTS.iter().find(|(start, _)| name.starts_with(start)).map_or(Likely::Unknown, |(_, likely)| *likely)
}

impl fmt::Display for Likely {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Likely::Http => "HTTP; this port speaks RocketMQ's remoting protocol",
            Likely::Grpc => "HTTP/2, as gRPC clients do; this port speaks RocketMQ's remoting protocol",
            Likely::Tls => "TLS; this port is without it",
            Likely::Proxy => "a PROXY header; take it off at the load balancer",
            Likely::Ssh => "SSH",
            Likely::Mqtt => "MQTT",
            Likely::Amqp => "AMQP",
            Likely::Unknown => "an unknown protocol",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_wire::frame::FRAME_BYTES_MAX;

    /// A frame with an empty JSON header.
    fn frame(body: &[u8]) -> Vec<u8> {
        let length = (4 + 2 + body.len()) as u32;
        [&length.to_be_bytes()[..], &[0, 0, 0, 2], b"{}", body].concat()
    }

    /// Feeds `stream` in pieces of the given sizes (the last repeated) and returns the bodies.
    fn bodies(frames: &mut Frames, stream: &[u8], sizes: &[usize]) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut bodies = Vec::new();
        let mut rest = stream;
        let mut sizes = sizes.iter().copied().chain(std::iter::repeat(*sizes.last().expect("a size")));
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(sizes.next().expect("endless")));
            frames.feed(piece, |frame| {
                assert_eq!(frame.head, b"{}");
                bodies.push(frame.body.to_vec());
                ControlFlow::Continue(())
            })?;
            assert!(frames.tail.capacity() <= TAIL_KEPT_BYTES_MAX.max(2 * stream.len()));
            rest = after;
        }
        Ok(bodies)
    }

    #[test]
    fn frames_come_out_however_their_bytes_are_split() {
        let expected: Vec<Vec<u8>> = [0usize, 1, 7, 300, 0, 40].map(|len| vec![len as u8; len]).into();
        let stream: Vec<u8> = expected.iter().flat_map(|body| frame(body)).collect();
        for first in 1..=stream.len() {
            for then in [1, 2, 3, 5, 64, stream.len()] {
                let mut frames = Frames::default();
                assert_eq!(bodies(&mut frames, &stream, &[first, then]), Ok(expected.clone()));
                assert_eq!(frames.waiting(), 0);
            }
        }
    }

    #[test]
    fn a_whole_frame_is_handed_out_uncopied() {
        let stream = frame(b"body");
        let mut frames = Frames::default();
        let range = stream.as_ptr_range();
        let fed = frames.feed(&stream, |frame| {
            assert!(range.contains(&frame.body.as_ptr()));
            ControlFlow::Continue(())
        });
        assert_eq!((fed, frames.tail.capacity()), (Ok(()), 0));
    }

    #[test]
    fn memory_follows_the_bytes_that_came_and_is_given_back() {
        let stream = frame(&vec![1; 1024 * 1024]);
        let mut frames = Frames::default();
        frames.feed(&stream[..1000], |_| ControlFlow::Continue(())).expect("valid so far");
        assert!(frames.tail.capacity() <= 2000, "not by the declared length");
        let mut count = 0;
        frames
            .feed(&stream[1000..], |_| {
                count += 1;
                ControlFlow::Continue(())
            })
            .expect("valid");
        assert_eq!((count, frames.tail.capacity()), (1, 0));
    }

    #[test]
    fn a_break_forgets_the_rest() {
        for size in [1, 1000] {
            let stream = [frame(b"first"), frame(b"second")].concat();
            let mut frames = Frames::default();
            let mut seen = 0;
            for piece in stream.chunks(size) {
                let mut stop = false;
                let fed = frames.feed(piece, |_| {
                    seen += 1;
                    stop = true;
                    ControlFlow::Break(())
                });
                assert_eq!(fed, Ok(()));
                if stop {
                    break;
                }
            }
            assert_eq!((seen, frames.waiting()), (1, 0));
        }
    }

    #[test]
    fn what_can_never_be_a_frame_is_refused_as_soon_as_it_shows() {
        let too_large = (FRAME_BYTES_MAX as u32).to_be_bytes();
        for (stream, sizes) in [
            (&too_large[..], [4]),
            (&too_large[..], [1]),
            (&b"GET / HTTP/1.1\r\n"[..], [1]),
            (&[0, 0, 0, 3][..], [3]),
            (&[0, 0, 0, 9, 7, 0, 0, 2][..], [8]),
        ] {
            assert!(bodies(&mut Frames::default(), stream, &sizes).is_err(), "{stream:?}");
        }
        let good_then_bad = [frame(b"good"), vec![255; 8]].concat();
        let mut seen = 0;
        let fed = Frames::default().feed(&good_then_bad, |_| {
            seen += 1;
            ControlFlow::Continue(())
        });
        assert!(fed.is_err());
        assert_eq!(seen, 1);
    }

    #[test]
    fn a_stranger_is_recognised_by_its_first_bytes() {
        for (first, likely) in [
            (&b"GET /metrics HTTP/1.1\r\n"[..], Likely::Http),
            (b"POST / HTTP/1.1\r\n", Likely::Http),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Likely::Grpc),
            (b"\x16\x03\x01\x02\x00\x01", Likely::Tls),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Likely::Proxy),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Likely::Proxy),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Likely::Ssh),
            (b"\x10\x0c\x00\x04MQTT\x04\x02", Likely::Mqtt),
            (b"AMQP\x00\x00\x09\x01", Likely::Amqp),
            (b"\x00\x00\x00\x00", Likely::Unknown),
            (b"", Likely::Unknown),
        ] {
            assert_eq!(greeting(first), likely, "{first:?}");
        }
    }
}
