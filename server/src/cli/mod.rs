//! The command line: what can be asked of `ringmq`.
//!
//! Answers go to stdout, talk goes to stderr; colours only on a terminal; every message says what to do next. What a
//! command's end means is in [`exit`].
//!
//! [`serve`] turns flags into settings and starts; [`banner`] says what came up; [`errors`] says what did not, and
//! the remedy; [`check`] looks at the machine, [`explain`] at a code; [`log_files`] looks into log files, [`repair`] copies
//! what is whole of them; [`man`] writes manual pages; [`paint`] knows colours, [`progress`] draws a bar.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub mod banner;
pub mod check;
pub mod errors;
pub mod exit;
pub mod explain;
#[cfg(test)]
mod golden;
pub mod log_files;
pub mod man;
pub mod paint;
pub mod progress;
pub mod repair;
pub mod serve;

use exit::Exit;
use paint::Paint;

/// A message broker and name server that speaks RocketMQ's protocol.
#[derive(Debug, Parser)]
#[command(
    name = "ringmq",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 failed, 2 asked wrongly, 3 nobody answered, 4 not found, 5 refused.\n\n\
        Examples:\n  \
        ringmq check                          is this machine ready?\n  \
        ringmq serve                          broker and name server on this machine\n  \
        ringmq config init > ringmq.toml      all settings, explained\n  \
        ringmq explain 17                     what a code in a message means"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker, a name server, or both.
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<serve::ServeArgs>),
    /// See whether this machine is as `serve` needs it, and what mends it where it is not.
    #[command(after_help = check::EXAMPLES)]
    Check(Box<check::CheckArgs>),
    /// Print settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look into log files; the server need not be running.
    #[command(subcommand)]
    Log(log_files::LogCommand),
    /// Measure latency: of this broker, of Apache's, of the disk under them.
    Bench(Box<ringmq_bench::commands::Bench>),
    /// Say what a code or the name of an error means, and what to do.
    Explain(explain::ExplainArgs),
    /// Print a completion script for a shell.
    #[command(
        alias = "completions",
        after_help = "Examples:\n  \
            ringmq completion bash > /etc/bash_completion.d/ringmq\n  \
            ringmq completion zsh > \"${fpath[1]}/_ringmq\"\n  \
            ringmq completion fish > ~/.config/fish/completions/ringmq.fish"
    )]
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print a manual page, or write all of them.
    Man(man::ManArgs),
    /// Print the version, and the protocol that it speaks.
    Version,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print a file with every setting, its default and its meaning.
    #[command(
        after_help = "Example:\n  ringmq config init > ringmq.toml && ringmq serve --config ringmq.toml"
    )]
    Init,
    /// Print the values that `serve` would use with the same flags, and where each comes from.
    #[command(after_help = "Example:\n  RINGMQ_LOG_FLUSH=async ringmq config show --port 20911")]
    Show(Box<serve::ServeArgs>),
}

/// Does what the command line asks.
pub fn run() -> ExitCode {
    // Clap answers --help and mistakes itself, with exit code 0 or 2.
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Config(ConfigCommand::Init) => print(&crate::config::commented_defaults()),
        Command::Config(ConfigCommand::Show(args)) => match args.load() {
            Ok(loaded) => print(&loaded.show()),
            Err(error) => {
                eprint!("{}", errors::render(&error.into(), Paint::of_stderr()));
                Exit::Misused.into()
            }
        },
        Command::Log(command) => log_files::run(&command),
        Command::Bench(bench) => bench.run(),
        Command::Explain(args) => explain::run(&args),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ringmq", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Command::Man(args) => man::run(&args, Cli::command()),
        Command::Version => print(&version()),
    }
}

/// Prints an answer. A reader that has gone away (`| head`) is no failure worth a message.
fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => Exit::Failed.into(),
    }
}

fn version() -> String {
    format!(
        "ringmq {}\nspeaks the remoting protocol of RocketMQ 5.3.3 (version {})\n{} {}\n",
        env!("CARGO_PKG_VERSION"),
        ringmq_wire::command::VERSION,
        std::env::consts::OS,
        std::env::consts::ARCH,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no explanation", command.get_name());
            for argument in command.get_arguments() {
                let explained = argument.get_help().is_some();
                assert!(explained, "{} of {} has no explanation", argument.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn completions_exist_for_every_shell() {
        for shell in <clap_complete::Shell as clap::ValueEnum>::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "ringmq", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("serve"), "{shell}");
        }
    }
}
