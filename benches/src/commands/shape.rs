//! The shape of a load: how many connections, how much in flight, how large, how fast.

use crate::load::generator::Plan;
use crate::load::pace::Pace;
use crate::load::send::Messages;
use crate::load::warm_up::WarmUp;
use clap::Args;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// A server that owes answers and is silent for so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// `connections x in flight`, as on the command line: `64x8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    /// Connections over all shards.
    pub connections: usize,
    /// Requests in flight on each.
    pub in_flight: usize,
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.connections, self.in_flight)
    }
}

impl FromStr for Width {
    type Err = String;
    fn from_str(text: &str) -> Result<Width, String> {
        let parsed = text.split_once('x').and_then(|(connections, in_flight)| {
            Some(Width { connections: connections.parse().ok()?, in_flight: in_flight.parse().ok()? })
        });
        let bounds = |width: &Width| {
            (1..=10_000).contains(&width.connections) && (1..=65_536).contains(&width.in_flight)
        };
        parsed
            .filter(bounds)
            .ok_or_else(|| format!("{text} is not like 64x8 (connections x requests in flight)"))
    }
}

/// What is the same in every round of a command.
#[derive(Debug, Clone, Args)]
pub struct Shape {
    /// Bytes of each message's body.
    #[arg(long, default_value_t = 1024)]
    pub body: usize,
    /// Messages per request.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Requests per second over all connections, on a fixed schedule; without it, each connection asks again as soon
    /// as it is answered.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Queues of the topic, on each shard.
    #[arg(long, default_value_t = 8)]
    pub queues: u16,
    /// Seconds to measure in each round.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seconds before each measurement that do not count, at least.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Measuring begins once the load is steady, and at the latest after so many seconds.
    #[arg(long, default_value_t = 5.0)]
    pub warm_up_most: f64,
}

impl Default for Shape {
    fn default() -> Shape {
        let (warm_up, warm_up_most) = (1.0, 5.0);
        Shape { body: 1024, batch: 1, rate: None, queues: 8, seconds: 5.0, warm_up, warm_up_most }
    }
}

impl Shape {
    /// Measured from the first request on.
    pub fn cold() -> Shape {
        Shape { warm_up: 0.0, warm_up_most: 0.0, ..Shape::default() }
    }

    /// How a round of this width goes.
    pub fn plan(&self, width: Width, targets: Vec<SocketAddr>) -> Plan {
        Plan {
            targets,
            connections: width.connections,
            in_flight: width.in_flight,
            pace: self.rate.map_or(Pace::Closed, |rate| Pace::Open { rate }),
            warm_up: self.warm_up(),
            measure: Duration::from_secs_f64(self.seconds.max(0.1)),
            patience: PATIENCE,
            windows: None,
            stop: None,
        }
    }

    fn warm_up(&self) -> WarmUp {
        let least = Duration::from_secs_f64(self.warm_up.max(0.0));
        WarmUp { least, most: least.max(Duration::from_secs_f64(self.warm_up_most.max(0.0))) }
    }

    /// What its sends are.
    pub fn messages(&self, topic: String) -> Messages {
        Messages {
            topic,
            topics: None,
            queues: self.queues.max(1),
            body_bytes: self.body,
            batch: self.batch,
            requests: None,
        }
    }

    /// In reports.
    pub fn name(&self, width: Width) -> String {
        let batch = if self.batch > 1 { format!(" x{}", self.batch) } else { String::new() };
        let rate = self.rate.map_or(String::new(), |rate| format!(" at {rate:.0}/s"));
        format!("{width} {} B{batch}{rate}", self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_is_two_numbers_within_bounds() {
        assert_eq!("64x8".parse(), Ok(Width { connections: 64, in_flight: 8 }));
        for text in ["64", "x", "64x", "0x1", "1x0", "10001x1", "1x65537", "-1x1", "1x1x1"] {
            assert!(text.parse::<Width>().is_err(), "{text}");
        }
    }
}
