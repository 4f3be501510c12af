//! What came up: where it listens, where its bytes go and how safe they are there, and what to try next.

use std::fmt::Write;
use std::net::SocketAddr;

use ringmq_engine::store::{FlushHow, OpenReport};

use super::paint::Paint;
use crate::config::Settings;
use crate::config::value::Flush;
use crate::shard::Started;

/// What a started node says of itself. Pure: made from settings and reports, rendered to text.
#[derive(Debug)]
pub struct Banner<'a> {
    settings: &'a Settings,
    started: &'a [Started],
}

impl<'a> Banner<'a> {
    /// Of a node whose ports accept.
    pub fn new(settings: &'a Settings, started: &'a [Started]) -> Banner<'a> {
        Banner { settings, started }
    }

    /// Whether some shard's folder has no direct I/O.
    pub fn is_buffered(&self) -> bool {
        self.reports().any(|report| !report.direct_io)
    }

    /// The text, several lines.
    pub fn render(&self, paint: Paint) -> String {
        let server = &self.settings.server;
        let mut text = String::new();
        let title = format!("RingMQ {}", env!("CARGO_PKG_VERSION"));
        let _ = writeln!(
            text,
            "\n{}  node {}, cluster {}\n",
            paint.bold(&title),
            self.settings.name(),
            server.cluster
        );
        for one in self.started {
            match one {
                Started::Namesrv { address } => {
                    self.line(&mut text, paint, "name server", &address.to_string())
                }
                Started::Shard { index, address, report } => {
                    let vip = if server.vip { format!(" and {}", address.port() - 2) } else { String::new() };
                    let name = self.settings.broker_name(*index);
                    self.line(&mut text, paint, &name, &format!("{address}{vip}, {}", contents(report)));
                }
            }
        }
        if let Some(report) = self.reports().next() {
            let told = format!("connect to {}", self.settings.advertise());
            self.line(&mut text, paint, "clients", &told);
            let folder = std::path::absolute(&server.data).unwrap_or_else(|_| server.data.clone());
            self.line(&mut text, paint, "data", &folder.display().to_string());
            self.line(&mut text, paint, "flush", &flush(self.settings.log.flush, report));
        }
        if let Some(name_server) = self.settings.name_servers().first() {
            let _ = writeln!(text, "\n  {}", paint.faint("Try:"));
            let _ =
                writeln!(text, "    export NAMESRV_ADDR={name_server}    # for your producers and consumers");
            let _ = writeln!(text, "    ringmq cluster -n {name_server}");
        }
        text.push('\n');
        text
    }

    fn line(&self, text: &mut String, paint: Paint, label: &str, value: &str) {
        let names = (0..self.settings.shards()).map(|shard| self.settings.broker_name(shard).len());
        let width = names.max().unwrap_or(0).max("name server".len());
        // Padded before it is painted: escape codes have no width.
        let _ = writeln!(text, "  {}  {value}", paint.faint(&format!("{label:<width$}")));
    }

    fn reports(&self) -> impl Iterator<Item = &OpenReport> {
        self.started.iter().filter_map(|one| match one {
            Started::Shard { report, .. } => Some(report),
            Started::Namesrv { .. } => None,
        })
    }
}

/// One line for scripts: `ready namesrv=127.0.0.1:9876 broker=127.0.0.1:10911,127.0.0.1:10921`.
pub fn ready_line(started: &[Started]) -> String {
    let mut line = "ready".to_owned();
    let mut brokers: Vec<SocketAddr> = Vec::new();
    for one in started {
        match one {
            Started::Namesrv { address } => {
                let _ = write!(line, " namesrv={address}");
            }
            Started::Shard { address, .. } => brokers.push(*address),
        }
    }
    if !brokers.is_empty() {
        let brokers: Vec<String> = brokers.iter().map(SocketAddr::to_string).collect();
        let _ = write!(line, " broker={}", brokers.join(","));
    }
    line
}

fn contents(report: &OpenReport) -> String {
    match (report.records, report.torn_bytes) {
        (0, 0) => "empty".to_owned(),
        (records, 0) => format!("{records} records in {} segments", report.segments),
        (records, torn) => {
            format!("{records} records in {} segments, a torn tail of {torn} bytes cut", report.segments)
        }
    }
}

fn flush(policy: Flush, report: &OpenReport) -> String {
    let method = match report.flush {
        FlushHow::Fdatasync => "fdatasync",
        FlushHow::Dsync => "O_DSYNC",
        FlushHow::Probe => "probe",
    };
    let latency = match report.flush_median_us {
        0 => String::new(),
        micros => format!(", {micros} us"),
    };
    let how = format!("{method}{latency} ({})", report.flush_reason);
    match policy {
        Flush::Sync => format!("sync, answered when on disk: {how}"),
        Flush::Async => format!("ASYNC, answered before it is on disk: {how}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Auto;
    use std::path::PathBuf;

    fn started() -> Vec<Started> {
        let report = OpenReport {
            records: 12,
            facts: 3,
            segments: 1,
            sidecars: 0,
            sidecars_made: 0,
            replayed_bytes: 1 << 20,
            torn_bytes: 0,
            flush: FlushHow::Dsync,
            flush_reason: "fdatasync 450 us, dsync 210 us".to_owned(),
            flush_median_us: 210,
            direct_io: true,
        };
        let empty = OpenReport { records: 0, ..report.clone() };
        vec![
            Started::Namesrv { address: "127.0.0.1:9876".parse().unwrap() },
            Started::Shard { index: 0, address: "127.0.0.1:10911".parse().unwrap(), report },
            Started::Shard { index: 1, address: "127.0.0.1:10921".parse().unwrap(), report: empty },
        ]
    }

    #[test]
    fn the_banner_says_what_listens_where_and_how_safe_it_is() {
        let mut settings = Settings::default();
        settings.server.name = Auto::Is("box".to_owned());
        settings.server.data = PathBuf::from("/data");
        let started = started();
        let expected = format!(
            "
RingMQ {}  node box, cluster DefaultCluster

  name server  127.0.0.1:9876
  box-0        127.0.0.1:10911 and 10909, 12 records in 1 segments
  box-1        127.0.0.1:10921 and 10919, empty
  clients      connect to 127.0.0.1
  data         /data
  flush        sync, answered when on disk: O_DSYNC, 210 us (fdatasync 450 us, dsync 210 us)

  Try:
    export NAMESRV_ADDR=127.0.0.1:9876    # for your producers and consumers
    ringmq cluster -n 127.0.0.1:9876

",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(Banner::new(&settings, &started).render(Paint::PLAIN), expected);
    }

    #[test]
    fn a_weaker_promise_is_said_loudly() {
        let mut settings = Settings::default();
        settings.log.flush = Flush::Async;
        let started = started();
        assert!(Banner::new(&settings, &started).render(Paint::PLAIN).contains("ASYNC, answered before"));
    }

    #[test]
    fn scripts_get_one_line() {
        assert_eq!(
            ready_line(&started()),
            "ready namesrv=127.0.0.1:9876 broker=127.0.0.1:10911,127.0.0.1:10921"
        );
        assert_eq!(ready_line(&[]), "ready");
    }
}
