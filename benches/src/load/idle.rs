//! Many connections that do nothing but send a heartbeat.
//!
//! Each is a producer with a client id of its own, a thousand to a group. (Members of one consumer group would be told of
//! each other's arrival, which is a test of notifications.)
//!
//! Truth: HEART_BEAT (34), RocketMQ `HeartbeatData`.

use super::{LoadError, topic};
use ringmq_client::blocking::{Connection, Request};
use std::net::SocketAddr;

/// So many connections leave from one source address; each has some 28,000 ports.
const CONNECTIONS_PER_SOURCE: usize = 20_000;
/// Brokers bound the members of a group.
const CONNECTIONS_PER_GROUP: usize = 1000;
/// Heartbeats that are under way at once.
const CALLS_AT_ONCE: usize = 256;

/// Connections that stay open, with their client ids.
pub struct Crowd {
    connections: Vec<Connection>,
}

impl Crowd {
    /// Opens `count` connections, to the brokers in turn. Fails if the process may not open so many files.
    pub fn gather(brokers: &[SocketAddr], count: usize) -> Result<Crowd, LoadError> {
        let mut connections = Vec::with_capacity(count);
        for index in 0..count {
            let stream = topic::connect(brokers[index % brokers.len()], index / CONNECTIONS_PER_SOURCE)?;
            connections.push(Connection::from_stream(stream)?);
        }
        Ok(Crowd { connections })
    }

    /// Lets every connection send a heartbeat and waits for all the answers, which must have code 0.
    pub fn heartbeat(&mut self) -> Result<(), LoadError> {
        let mut number = 0;
        for some in self.connections.chunks_mut(CALLS_AT_ONCE) {
            let mut started = Vec::with_capacity(some.len());
            for connection in some.iter_mut() {
                started.push(connection.start(&heartbeat(number), topic::PATIENCE)?);
                number += 1;
            }
            for (connection, opaque) in some.iter_mut().zip(started) {
                let answer = connection.wait(opaque, topic::PATIENCE)?;
                topic::accepted(34, answer)?;
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}

/// A heartbeat of the client with this number.
pub(super) fn heartbeat(number: usize) -> Request {
    let group = number / CONNECTIONS_PER_GROUP;
    Request::new(34).body(format!(
        r#"{{"clientID":"127.0.0.1@bench#{number}","consumerDataSet":[],"heartbeatFingerprint":0,"producerDataSet":[{{"groupName":"bench-producer-{group}"}}],"withoutSub":false}}"#
    ))
}
