//! The ring under test, over loopback sockets.

use crate::bed::{Bed, Came, Client, Side};
use ringmq_conn::limits::Bounds;
use ringmq_conn::ring::{Ring, RingConfig};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

pub struct RingBed {
    ring: Ring<Box<[u8]>>,
}

impl RingBed {
    pub fn with(config: RingConfig) -> RingBed {
        RingBed { ring: Ring::new(config).expect("io_uring works here") }
    }
}

impl Bed for RingBed {
    type Net = Ring<Box<[u8]>>;
    type Client = TcpStream;

    fn new(bounds: Bounds) -> Self {
        RingBed::with(RingConfig { bounds, ..RingConfig::default() })
    }

    fn net(&mut self) -> &mut Self::Net {
        &mut self.ring
    }

    fn listen(&mut self) -> SocketAddr {
        self.ring.listen("127.0.0.1:0".parse().expect("an address")).expect("a free port")
    }

    fn nobody(&mut self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    }

    fn connect(&mut self, to: SocketAddr) -> TcpStream {
        // The kernel completes the connection into the listener's backlog, accepted or not.
        let stream = TcpStream::connect(to).expect("the listener's backlog has room");
        stream.set_nonblocking(true).expect("a socket can be non-blocking");
        stream.set_nodelay(true).expect("a socket can be undelayed");
        stream
    }

    fn wait(&mut self, clients: &[Side<TcpStream>]) {
        let mut polled =
            vec![libc::pollfd { fd: self.ring.ready_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 }];
        for side in clients {
            let Some(client) = &side.client else { continue };
            let reads = if side.reading && side.end.is_none() { libc::POLLIN } else { 0 };
            let writes = if side.unsent.is_empty() { 0 } else { libc::POLLOUT };
            if reads | writes != 0 {
                polled.push(libc::pollfd { fd: client.as_raw_fd(), events: reads | writes, revents: 0 });
            }
        }
        // SAFETY: pointer and length are those of `polled`.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 10_000) };
        assert!(ready > 0, "nothing happens for ten seconds");
        self.ring.wait_ready(Duration::ZERO);
    }
}

impl Client for TcpStream {
    fn send(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.write(bytes) {
            Ok(count) => Some(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
            Err(_) => None,
        }
    }

    fn take(&mut self, into: &mut Vec<u8>) -> Came {
        let mut buffer = [0; 64 * 1024];
        match self.read(&mut buffer) {
            Ok(0) => Came::End,
            Ok(count) => {
                into.extend_from_slice(&buffer[..count]);
                Came::Bytes
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Came::Nothing,
            Err(_) => Came::Reset,
        }
    }

    fn half_close(&mut self) {
        // It fails when the connection has gone already.
        let _ = self.shutdown(Shutdown::Write);
    }

    fn reset(self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let len = size_of::<libc::linger>() as libc::socklen_t;
        // SAFETY: pointer and length are those of `linger`.
        let result = unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                len,
            )
        };
        assert_eq!(result, 0);
    }
}
