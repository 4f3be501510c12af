//! What the generator can do at most: a closed loop of sends to a server that does nothing.
//!
//! A rate near the ceiling is the generator's, not the server's. So the ceiling stands beside every result, measured in the
//! same run on the same core.

use super::LoadError;
use super::generator::{self, Plan};
use super::pace::Pace;
use super::send::{Messages, Send};
use super::warm_up::WarmUp;
use crate::responder::{Behaviour, Responder};
use serde::Serialize;
use std::time::Duration;

/// Connections and requests in flight on each.
pub const WIDTH: (usize, usize) = (64, 8);
/// Length of each body.
pub const BODY_BYTES: usize = 1024;
const QUEUES: u16 = 8;
const WARM_UP: Duration = Duration::from_millis(200);

/// The ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ceiling {
    /// Sends per second by one thread on one core.
    pub per_second: f64,
    /// Length of each request on the wire.
    pub frame_bytes: usize,
}

/// Measures for so long, by the calling thread, against a responder on another core.
pub fn measure(responder_core: usize, time: Duration) -> Result<Ceiling, LoadError> {
    let responder = Responder::start(Behaviour::AtOnce, responder_core)
        .map_err(|source| LoadError::Io { operation: "start the responder", source })?;
    let plan = Plan {
        targets: vec![responder.address],
        connections: WIDTH.0,
        in_flight: WIDTH.1,
        pace: Pace::Closed,
        warm_up: WarmUp::exactly(WARM_UP),
        measure: time,
        patience: Duration::from_secs(10),
        windows: None,
        stop: None,
    };
    let mut work = sends(&plan);
    let measured = generator::run(&plan, &mut work, &mut |_| {})?;
    work.finish()?;
    Ok(Ceiling { per_second: measured.rate(), frame_bytes: work.frame_bytes() })
}

/// Sends of 1 KB to a responder.
pub fn sends(plan: &Plan) -> Send {
    let messages = Messages {
        topic: "bench-responder".into(),
        topics: None,
        queues: QUEUES,
        body_bytes: BODY_BYTES,
        batch: 1,
        requests: None,
    };
    Send::new(&messages, &vec![vec![0; messages.all_queues()]; plan.targets.len()], plan.lanes())
}
