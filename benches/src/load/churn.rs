//! Connections that come and go: connect, one heartbeat, close, again and again, one after the other.
//!
//! What a fleet of short-lived clients does to a broker. Latency is that of the whole visit.

use super::idle::heartbeat;
use super::ledger::empty_histogram;
use super::{LoadError, topic};
use hdrhistogram::Histogram;
use ringmq_client::blocking::Connection;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// So many visits leave from one source address; each leaves a port that rests for a minute.
const VISITS_PER_SOURCE: usize = 20_000;
/// Sources of loopback that are used.
const SOURCES: usize = 200;

/// Visits that were made.
#[derive(Debug)]
pub struct Visits {
    /// Nanoseconds of each.
    pub latency: Histogram<u64>,
    /// How long they took together.
    pub elapsed: Duration,
}

/// Visits the brokers in turn, for so long.
pub fn visit(brokers: &[SocketAddr], time: Duration) -> Result<Visits, LoadError> {
    let (mut latency, started) = (empty_histogram(), Instant::now());
    for number in 0..VISITS_PER_SOURCE * SOURCES {
        let since = Instant::now();
        if since.duration_since(started) >= time {
            break;
        }
        let stream = topic::connect(brokers[number % brokers.len()], number / VISITS_PER_SOURCE)?;
        let mut connection = Connection::from_stream(stream)?;
        topic::accepted(34, connection.call(&heartbeat(number % 1000), topic::PATIENCE)?)?;
        drop(connection);
        latency.saturating_record(since.elapsed().as_nanos() as u64);
    }
    Ok(Visits { latency, elapsed: started.elapsed() })
}
