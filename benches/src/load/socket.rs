//! One non-blocking connection, of the generator or the responder: bytes out in one write per turn, frames in.

use super::LoadError;
use crate::os::Poll;
use ringmq_wire::frame::{self, Decoded, Frame};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Bytes asked of a socket at a time.
pub(crate) const READ_BYTES: usize = 256 * 1024;

pub(crate) struct Socket {
    stream: TcpStream,
    token: usize,
    /// Frames not yet written.
    pub(crate) out: Vec<u8>,
    /// The poll reports when more of `out` can be written.
    waits_for_room: bool,
    /// The beginning of a frame whose rest has not come.
    tail: Vec<u8>,
}

impl Socket {
    pub(crate) fn connect(target: SocketAddr, token: usize, poll: &Poll) -> io::Result<Socket> {
        Socket::new(TcpStream::connect_timeout(&target, Duration::from_secs(10))?, token, poll)
    }

    /// Of a connection that is there.
    pub(crate) fn new(stream: TcpStream, token: usize, poll: &Poll) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        poll.add(stream.as_raw_fd(), token)?;
        Ok(Socket { stream, token, out: Vec::new(), waits_for_room: false, tail: Vec::new() })
    }

    /// Writes what is to be written, as far as there is room.
    pub(crate) fn write(&mut self, poll: &Poll) -> io::Result<()> {
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.write(&self.out[written..]) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..written);
        if self.waits_for_room == self.out.is_empty() {
            self.waits_for_room = !self.out.is_empty();
            poll.watch_writable(self.stream.as_raw_fd(), self.token, self.waits_for_room)?;
        }
        Ok(())
    }

    /// Reads once, through `buffer` that all sockets share, and hands every whole frame to `take`, together with the
    /// bytes to be written, for the next request. What is left unread, the poll reports again.
    pub(crate) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        mut take: impl FnMut(Frame<'_>, &mut Vec<u8>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let kept = self.tail.len();
        if buffer.len() < kept + READ_BYTES {
            buffer.resize(kept + READ_BYTES, 0);
        }
        buffer[..kept].copy_from_slice(&self.tail);
        let read = match self.stream.read(&mut buffer[kept..]) {
            Ok(0) => return Err(LoadError::Closed),
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(source) => return Err(LoadError::Io { operation: "read answers", source }),
        };
        let mut rest = &buffer[..kept + read];
        while let Decoded::Frame(frame, bytes) = frame::decode(rest)? {
            take(frame, &mut self.out)?;
            rest = &rest[bytes..];
        }
        self.tail.clear();
        self.tail.extend_from_slice(rest);
        Ok(())
    }
}
