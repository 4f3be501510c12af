//! `ringmq serve`: flags become settings, settings become a running node.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::banner::{self, Banner};
use super::errors::{self, Warning};
use super::exit::Exit;
use super::paint::Paint;
use crate::config::Settings;
use crate::config::load::{ConfigError, Flag, Loaded, load};
use crate::shard::{self, Started};
use crate::start_error::StartError;

/// The examples of `serve --help`.
pub const EXAMPLES: &str = "\
A flag beats the environment (RINGMQ_SERVER_PORT=10911), which beats the file, which beats the default.

Examples:
  ringmq serve
  ringmq serve --data /var/lib/ringmq --host 0.0.0.0 --advertise 10.0.0.5 --insecure
  ringmq serve --roles broker --namesrv '10.0.0.1:9876;10.0.0.2:9876'
  ringmq serve --set log.segment_bytes=1GiB --set topics.auto_create=false";

/// Flags of `serve`, `check` and `config show`. Each is a setting; what has no flag of its own is reached by `--set`.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// File with settings; `ringmq config init` prints one.
    #[arg(long, value_name = "FILE", env = "RINGMQ_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Folder that holds everything [default: ringmq-data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Address to listen on [default: 127.0.0.1].
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port of the first shard; the others follow in steps of 10 [default: 10911].
    #[arg(long)]
    port: Option<String>,
    /// Port of the name server [default: 9876].
    #[arg(long, value_name = "PORT")]
    namesrv_port: Option<String>,
    /// What to be: broker, namesrv, or both [default: broker,namesrv].
    #[arg(long)]
    roles: Option<String>,
    /// Name servers to register with [default: the one in this process].
    #[arg(long, value_name = "HOST:PORT;...")]
    namesrv: Option<String>,
    /// Shards, one pinned thread each [default: one per online core].
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// Cluster that the brokers belong to [default: DefaultCluster].
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Name of this node; its brokers are NAME-0, NAME-1, ... [default: the host name].
    #[arg(long)]
    name: Option<String>,
    /// Host that clients are told to connect to [default: the address listened on].
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Allow an address that others reach, without authentication and TLS.
    #[arg(long)]
    insecure: bool,
    /// Any setting, as section.key=value; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
}

impl ServeArgs {
    /// The settings that these flags, the environment and the file give.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        load(self.config.as_deref(), &self.flags()?)
    }

    /// The flags as values of settings. `--set` comes first, so that a flag of its own beats it.
    fn flags(&self) -> Result<Vec<Flag>, ConfigError> {
        let mut flags = Vec::new();
        for assignment in &self.assignments {
            let (key, value) =
                assignment.split_once('=').ok_or_else(|| ConfigError::NotAnAssignment(assignment.clone()))?;
            let flag = format!("--set {}", key.trim());
            flags.push(Flag { flag, key: key.trim().to_owned(), value: value.to_owned() });
        }
        let named = [
            ("data", &self.data),
            ("host", &self.host),
            ("port", &self.port),
            ("namesrv-port", &self.namesrv_port),
            ("roles", &self.roles),
            ("namesrv", &self.namesrv),
            ("shards", &self.shards),
            ("cluster", &self.cluster),
            ("name", &self.name),
            ("advertise", &self.advertise),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                flags.push(flag(name, value));
            }
        }
        if self.insecure {
            flags.push(flag("insecure", "true"));
        }
        Ok(flags)
    }
}

fn flag(name: &str, value: &str) -> Flag {
    let key = format!("server.{}", name.replace('-', "_"));
    Flag { flag: format!("--{name}"), key, value: value.to_owned() }
}

/// Serves until asked to stop.
pub fn run(args: &ServeArgs) -> ExitCode {
    let paint = Paint::of_stderr();
    let served = args.load().map_err(StartError::from).and_then(|loaded| {
        start_tracing(&loaded, paint)?;
        for warning in errors::warnings(&loaded.settings) {
            eprint!("{}", warning.render(paint));
        }
        shard::serve(loaded.settings, |settings, started| announce(settings, started, paint))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", errors::render(&error, paint));
            if matches!(error, StartError::Config(_)) { Exit::Misused.into() } else { Exit::Failed.into() }
        }
    }
}

/// Every port accepts: the banner for people, and one line for whoever waits for us in a script.
fn announce(settings: &Settings, started: &[Started], paint: Paint) {
    let banner = Banner::new(settings, started);
    if banner.is_buffered() {
        eprint!("{}", Warning::Buffered { folder: settings.server.data.clone() }.render(paint));
    }
    eprint!("{}", banner.render(paint));
    let mut stdout = std::io::stdout().lock();
    // Nobody reading our stdout is no reason not to serve.
    let _ = writeln!(stdout, "{}", banner::ready_line(started)).and_then(|()| stdout.flush());
}

fn start_tracing(loaded: &Loaded, paint: Paint) -> Result<(), ConfigError> {
    let text = &loaded.settings.server.trace;
    let filter = EnvFilter::try_new(text).map_err(|error| ConfigError::BadValue {
        origin: loaded.origin("server.trace").clone(),
        key: "server.trace",
        found: text.clone(),
        why: error.to_string(),
        expected: "error, warn, info, debug or trace",
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(paint.0).init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_setting() {
        let all = || Some("1".to_owned());
        let args = ServeArgs {
            config: None,
            data: all(),
            host: all(),
            port: all(),
            namesrv_port: all(),
            roles: all(),
            namesrv: all(),
            shards: all(),
            cluster: all(),
            name: all(),
            advertise: all(),
            insecure: true,
            assignments: vec!["log.flush = async".to_owned()],
        };
        let flags = args.flags().unwrap();
        assert_eq!(flags.len(), 12);
        for flag in &flags {
            assert!(
                crate::config::key(&flag.key).is_some(),
                "{} sets {}, which is nothing",
                flag.flag,
                flag.key
            );
        }
        assert_eq!(flags[0].flag, "--set log.flush");
    }

    #[test]
    fn an_assignment_needs_an_equals_sign() {
        let args = ServeArgs { assignments: vec!["log.flush".to_owned()], ..ServeArgs::default() };
        let error = args.flags().unwrap_err().to_string();
        assert!(error.starts_with("--set log.flush: write --set section.key=value"), "{error}");
    }
}
