//! What one TCP stream over loopback carries: no consumer on this machine is served faster.
//!
//! One thread sends as fast as it can, on the core of the server; this one receives, in pieces as large as the generator's.
//! Nobody looks at the bytes.

use crate::os;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes given to the kernel, and asked of it, at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Bytes per second of one stream, for about `time`.
pub fn one_stream(sender_core: usize, time: Duration) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let sender = thread::spawn(move || send(sender_core, TcpStream::connect(address)?, time));
    let (mut stream, _) = listener.accept()?;
    let (mut piece, mut received) = (vec![0; PIECE_BYTES], 0_u64);
    let started = Instant::now();
    loop {
        match stream.read(&mut piece)? {
            0 => break,
            bytes => received += bytes as u64,
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    sender.join().map_err(|_| io::Error::other("the sender panicked"))??;
    Ok(received as f64 / seconds.max(1e-9))
}

fn send(core: usize, mut stream: TcpStream, time: Duration) -> io::Result<()> {
    os::keep_to_cores(&[core])?;
    let piece = vec![7; PIECE_BYTES];
    let started = Instant::now();
    while started.elapsed() < time {
        stream.write_all(&piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_carries_something() {
        let core = os::allowed_cores().expect("known")[0];
        assert!(one_stream(core, Duration::from_millis(1)).expect("loopback works") > 0.0);
    }
}
