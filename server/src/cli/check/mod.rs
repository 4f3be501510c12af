//! `ringmq check`: is this machine as `serve` needs it? Each line is OK, or says what mends it.
//!
//! [`probe`] asks the machine, [`verdict`] judges; here the two are put together and printed. It takes the flags of
//! `serve`, because what is needed depends on them. Nothing is changed.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use ringmq_engine::env::space_of;
use serde::Serialize;

pub mod probe;
pub mod verdict;

use super::errors::{self, Warning, wrap};
use super::exit::Exit;
use super::log_files::Format;
use super::paint::Paint;
use super::print;
use super::serve::ServeArgs;
use crate::config::Settings;
use crate::shard;
use verdict::{Level, Verdict};

/// Files that a shard has open beside its connections: segments, sidecars, rings.
const FILES_PER_SHARD: u64 = 256;
/// Segments of a shard that lie ready at the start.
const SEGMENTS_AHEAD: u64 = 2;

/// What is checked: the flags of `serve`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// The examples of `check --help`.
pub const EXAMPLES: &str = "\
Takes the flags of `serve`. Writes a file of 16 MiB beside the data for a second, and listens on the first \
shard's port for a moment; nothing stays. Exit code 0: it can serve, perhaps with warnings. 1: something fails.

Examples:
  ringmq check
  ringmq check --data /var/lib/ringmq --host 0.0.0.0 --advertise 10.0.0.5 --insecure
  ringmq check --config ringmq.toml --format json";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Item {
    what: &'static str,
    #[serde(flatten)]
    verdict: Verdict,
}

/// Checks and prints.
pub fn run(args: &CheckArgs) -> ExitCode {
    let settings = match args.serve.load() {
        Ok(loaded) => loaded.settings,
        Err(error) => {
            eprint!("{}", errors::render(&error.into(), Paint::of_stderr()));
            return Exit::Misused.into();
        }
    };
    let items = look(&settings);
    let printed = print(&match args.format {
        Format::Text => text(&items, Paint::of_stdout()),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&items).expect("strings")),
    });
    match worst(&items) {
        Level::Fail => Exit::Failed.into(),
        Level::Ok | Level::Warn => printed,
    }
}

fn look(settings: &Settings) -> Vec<Item> {
    let server = &settings.server;
    let tried = shard::try_executor(settings);
    let executors = settings.shards() as u64 + u64::from(server.roles.namesrv);
    let locked = executors * shard::LOCKED_BYTES_PER_EXECUTOR;
    let files = executors * settings.limits.connections as u64 + settings.shards() as u64 * FILES_PER_SHARD;
    let mut items = vec![
        Item { what: "kernel", verdict: verdict::kernel(&probe::kernel()) },
        Item { what: "io_uring", verdict: verdict::io_uring(&tried) },
        Item {
            what: "locked memory",
            verdict: verdict::memlock(probe::limit("Max locked memory"), locked, tried.is_ok()),
        },
        Item { what: "open files", verdict: verdict::nofile(probe::limit("Max open files"), files) },
        Item { what: "clock", verdict: verdict::clock(&probe::clock()) },
    ];
    if server.roles.broker {
        items.extend(look_at_disk(settings));
        let warnings = errors::warnings(settings);
        items.push(Item { what: "listening", verdict: verdict::listening(&warnings) });
        let port = settings.shard_port(0);
        let reached = probe::reach(&server.host, settings.advertise(), port);
        let address = format!("{}:{port}", settings.advertise());
        items.push(Item { what: "advertised", verdict: verdict::advertised(&address, &reached) });
    }
    items
}

fn look_at_disk(settings: &Settings) -> Vec<Item> {
    let folder = probe::existing(&settings.server.data);
    let mount = probe::mount(&folder);
    let direct = probe::direct_io(&folder);
    let needed = settings.shards() as u64 * SEGMENTS_AHEAD * settings.log.segment_bytes.0;
    let percents = (settings.disk.warn_percent, settings.disk.refuse_percent);
    let space = space_of(&folder).map(|space| (space.total, space.available)).unwrap_or_default();
    let mut items = vec![
        Item { what: "file system", verdict: verdict::file_system(mount.as_ref()) },
        Item { what: "O_DIRECT", verdict: verdict::direct_io(&direct) },
    ];
    // Measured past the page cache, or not at all.
    if direct.is_ok() {
        items.push(Item { what: "flush", verdict: verdict::flush(&probe::flush(&folder)) });
    }
    let cache = mount.as_ref().and_then(probe::write_cache);
    items.push(Item { what: "write cache", verdict: verdict::write_cache(cache.as_ref()) });
    items.push(Item { what: "free space", verdict: verdict::free_space(space.0, space.1, needed, percents) });
    items
}

fn worst(items: &[Item]) -> Level {
    items.iter().map(|item| item.verdict.level).max().unwrap_or(Level::Ok)
}

fn text(items: &[Item], paint: Paint) -> String {
    let width = items.iter().map(|item| item.what.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Item { what, verdict } in items {
        // Padded before it is painted: escape codes have no width.
        let level = match verdict.level {
            Level::Ok => paint.green("OK  "),
            Level::Warn => paint.yellow("WARN"),
            Level::Fail => paint.red("FAIL"),
        };
        let (indent, columns) = (width + 8, errors::WIDTH - width - 8);
        let found = wrap(&verdict.found, columns);
        let _ = writeln!(text, "{level}  {what:width$}  {}", found.first().map_or("", String::as_str));
        for line in found.into_iter().skip(1).chain(wrap(&verdict.remedy, columns)) {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(what: &'static str, level: Level, found: &str, remedy: &str) -> Item {
        Item { what, verdict: Verdict { level, found: found.to_owned(), remedy: remedy.to_owned() } }
    }

    #[test]
    fn each_line_is_ok_or_says_what_mends_it() {
        let items = [
            item("kernel", Level::Ok, "Linux 6.1", ""),
            item("open files", Level::Warn, "1024, 30000 needed", "`ulimit -n 30000`."),
        ];
        assert_eq!(
            text(&items, Paint::PLAIN),
            "OK    kernel      Linux 6.1\nWARN  open files  1024, 30000 needed\n                  `ulimit -n 30000`.\n"
        );
        let json = serde_json::to_string(&items).unwrap();
        assert_eq!(
            json,
            r#"[{"what":"kernel","level":"ok","found":"Linux 6.1"},{"what":"open files","level":"warn","found":"1024, 30000 needed","remedy":"`ulimit -n 30000`."}]"#
        );
    }

    #[test]
    fn only_a_failure_fails() {
        let of = |levels: &[Level]| {
            worst(&levels.iter().map(|level| item("x", *level, "", "")).collect::<Vec<_>>())
        };
        assert_eq!(of(&[Level::Ok, Level::Warn]), Level::Warn);
        assert_eq!(of(&[Level::Fail, Level::Ok]), Level::Fail);
        assert_eq!(of(&[]), Level::Ok);
    }
}
