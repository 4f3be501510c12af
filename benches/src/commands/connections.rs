//! `connections`: what a server costs that nobody uses, alone and with many connections that do nothing; and what clients
//! cost that come and go.
//!
//! ```text
//! start ─ settle ─ [alone] ─ connect, one heartbeat each ─ settle ─ [crowd] ─ [crowd, heartbeats go on] ─ [clients come and go]
//! ```

use super::stage::Stage;
use super::{CommandError, failed_to};
use crate::load::churn;
use crate::load::idle::Crowd;
use crate::process::Server;
use crate::process::usage::Usage;
use crate::report::{Bar, Report};
use clap::Args;
use std::thread;
use std::time::{Duration, Instant};

/// Bars for two shards.
const RSS_MIB: f64 = 64.0;
const CPU_PERCENT: f64 = 0.5;
const BYTES_PER_CONNECTION: f64 = 1024.0;
/// Long enough that work of the start is over: a log prepares its first segments in the background.
const SETTLE_AFTER_START: Duration = Duration::from_secs(15);
/// Long enough that work of the connections is over.
const SETTLE: Duration = Duration::from_secs(3);
/// How often clients send a heartbeat.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);

/// What an idle server costs, alone and with many idle connections.
#[derive(Debug, Args)]
pub struct Connections {
    #[command(flatten)]
    stage: Stage,
    /// Shards of the server.
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// Idle connections.
    #[arg(long, default_value_t = 15_000)]
    connections: usize,
    /// Seconds that each state is watched.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Seconds that clients come and go.
    #[arg(long, default_value_t = 3.0)]
    churn_seconds: f64,
}

impl Connections {
    pub(super) fn run(&self) -> Result<Report, CommandError> {
        let mut set = self.stage.set()?;
        let mut report = set.report("connections");
        let server = set.start(self.shards)?;
        thread::sleep(SETTLE_AFTER_START);
        eprintln!("watching it alone …");
        let alone = self.watch(&server, &mut || Ok(()))?;

        eprintln!("connecting {} clients …", self.connections);
        let mut crowd = Crowd::gather(&server.brokers, self.connections)?;
        crowd.heartbeat()?;
        thread::sleep(SETTLE);
        eprintln!("watching it with {} silent connections …", crowd.len());
        let silent = self.watch(&server, &mut || Ok(()))?;

        eprintln!("watching it with heartbeats …");
        let mut next = Instant::now();
        let beating = self.watch(&server, &mut || {
            if Instant::now() >= next {
                next += HEARTBEAT_EVERY;
                crowd.heartbeat()?;
            }
            Ok(())
        })?;
        eprintln!("clients come and go …");
        let before = server.usage().map_err(failed_to("read /proc of the server"))?;
        let visits = churn::visit(&server.brokers, Duration::from_secs_f64(self.churn_seconds))?;
        let after = server.usage().map_err(failed_to("read /proc of the server"))?;
        server.stop();
        let count = visits.latency.len();
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        report.fact("clients that came and went", count as f64 / visits.elapsed.as_secs_f64(), "/s");
        report.fact("a visit, p50", visits.latency.value_at_quantile(0.5) as f64 / 1e3, "µs");
        report.fact("a visit, p99.9", visits.latency.value_at_quantile(0.999) as f64 / 1e3, "µs");
        report.fact("server CPU per visit", cpu * 1e6 / count.max(1) as f64, "µs");

        report.fact("resident alone, anonymous", mib(alone.after.rss_anon_bytes), "MiB");
        report.fact("resident with connections, anonymous", mib(silent.after.rss_anon_bytes), "MiB");
        report.fact(
            "CPU with connections and a heartbeat of each every 30 s",
            beating.cpu_percent,
            "% of a core",
        );
        let more = silent.after.rss_bytes as f64 - alone.after.rss_bytes as f64;
        let per_connection = (more / crowd.len().max(1) as f64).max(0.0);
        let n = crowd.len();
        report.bars = vec![
            Bar::at_most("resident alone", RSS_MIB, Some(mib(alone.after.rss_bytes)), "MiB"),
            Bar::at_most("CPU alone", CPU_PERCENT, Some(alone.cpu_percent), "% of a core"),
            Bar::at_most(
                format!("resident with {n} connections"),
                RSS_MIB,
                Some(mib(silent.after.rss_bytes)),
                "MiB",
            ),
            Bar::at_most(
                format!("CPU with {n} connections"),
                CPU_PERCENT,
                Some(silent.cpu_percent),
                "% of a core",
            ),
            Bar::at_most("memory per connection", BYTES_PER_CONNECTION, Some(per_connection), "bytes"),
        ];
        Ok(report)
    }

    /// Watches the server for a while, doing something now and then.
    fn watch(
        &self,
        server: &Server,
        meanwhile: &mut dyn FnMut() -> Result<(), CommandError>,
    ) -> Result<Watched, CommandError> {
        let look = || server.usage().map_err(failed_to("read /proc of the server"));
        let before = look()?;
        let started = Instant::now();
        while started.elapsed().as_secs_f64() < self.seconds {
            meanwhile()?;
            thread::sleep(Duration::from_millis(50));
        }
        let after = look()?;
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        Ok(Watched { after, cpu_percent: 100.0 * cpu / started.elapsed().as_secs_f64() })
    }
}

struct Watched {
    after: Usage,
    cpu_percent: f64,
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
