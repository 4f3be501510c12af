//! The command line: what can be asked of `ringmq`.
//!
//! Answers go to stdout, talk goes to stderr; colours only on a terminal; every message says what to do next. What a
//! command's end means is in [`exit`].
//!
//! [`serve`] turns flags into settings and starts; [`banner`] says what came up; [`errors`] says what did not, and
//! the remedy; [`check`] looks at the machine, [`explain`] at a code; [`log_files`] looks into log files, [`repair`] copies
//! what is whole of them; [`man`] writes manual pages; [`paint`] knows colours, [`progress`] draws a bar, [`table`] and [`time`]
//! are for people's eyes.
//!
//! [`remote`] is what commands over the network share, [`profile`] says whom they ask: [`topic`], [`group`], [`cluster`],
//! [`message`], [`send`], [`tail`], each with its own answer. [`mqadmin`] turns the names of RocketMQ's tool into ours.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub mod banner;
pub mod check;
mod cluster;
pub mod errors;
pub mod exit;
pub mod explain;
#[cfg(test)]
mod golden;
mod group;
mod listing;
pub mod log_files;
pub mod man;
mod message;
mod mqadmin;
pub mod paint;
mod profile;
pub mod progress;
mod remote;
pub mod repair;
mod send;
pub mod serve;
mod sure;
mod table;
mod tail;
mod time;
mod topic;

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
        ringmq topic create orders            a topic, on this machine's brokers\n  \
        ringmq send orders 'four boxes'       done means stored\n  \
        ringmq tail orders --from first       what is there, and what comes\n  \
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
    /// Create, list, describe, change and delete topics.
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// List, describe, set and delete groups of consumers.
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Show which brokers there are, and how they are.
    Cluster(cluster::ClusterArgs),
    /// Find single messages.
    #[command(subcommand)]
    Message(message::MessageCommand),
    /// Send messages.
    Send(Box<send::SendArgs>),
    /// Print messages as they come.
    Tail(Box<tail::TailArgs>),
    /// Name servers and habits behind a short name.
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
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
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    // Clap answers --help and mistakes itself, with exit code 0 or 2.
    match Cli::parse_from(arguments).command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Topic(command) => topic::run(&command),
        Command::Group(command) => group::run(&command),
        Command::Cluster(args) => cluster::run(&args),
        Command::Message(command) => message::run(&command),
        Command::Send(args) => send::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Profile(command) => profile::run(&command),
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

/// What was typed, with the program's name; a command of `mqadmin` in our words, which are said.
fn arguments() -> Result<Vec<OsString>, Exit> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let words: Option<Vec<String>> =
        typed.iter().skip(1).map(|word| word.to_str().map(str::to_owned)).collect();
    let Some(words) = words else { return Ok(typed) };
    let (said, done) = match mqadmin::translate(&words) {
        None => return Ok(typed),
        Some(Ok(ours)) => {
            let note = format!("note: here that is `ringmq {}`\n", ours.join(" "));
            (note, Ok(typed.into_iter().take(1).chain(ours.into_iter().map(OsString::from)).collect()))
        }
        Some(Err(problem)) => {
            let remedy = "`ringmq --help` lists the commands of this tool.";
            let message = errors::message("error", Some("usage"), &problem, remedy, Paint::of_stderr());
            (message, Err(Exit::Misused))
        }
    };
    eprint!("{said}");
    done
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
    fn what_mqadmin_is_called_with_is_a_command_of_ours() {
        for line in [
            "updateTopic -n ns:9876 -c DefaultCluster -t T -r 8 -w 8 -p 6",
            "updateTopicPerm -t T -p 4 -c C",
            "deleteTopic -c C -t T",
            "topicList",
            "topicRoute -t T",
            "topicStatus -t T",
            "clusterList",
            "brokerStatus -b 127.0.0.1:10911",
            "updateSubGroup -c C -g G -r 3",
            "deleteSubGroup -c C -g G",
            "consumerProgress",
            "consumerProgress -g G",
            "consumerConnection -g G",
            "resetOffsetByTime -g G -t T -s -1",
            "skipAccumulatedMessage -g G -t T",
            "queryMsgByKey -t T -k K -b 1700000000000 -m 3",
            "queryMsgById -t T -i I",
            "queryMsgByUniqueKey -t T -i I",
            "sendMessage -t T -p body",
            "consumeMessage -t T -g G -c 5",
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let ours = mqadmin::translate(&words).expect("known").expect("possible");
            let parsed = Cli::try_parse_from(["ringmq".to_owned()].into_iter().chain(ours));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn explain_names_commands_that_exist() {
        let root = Cli::command();
        let texts = explain::texts();
        let named = texts.iter().flat_map(|text| text.split('`').skip(1).step_by(2));
        for line in named.filter_map(|quoted| quoted.strip_prefix("ringmq ")) {
            let mut command = &root;
            for word in
                line.split(' ').take_while(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
            {
                if word.starts_with("--") || !command.has_subcommands() {
                    break;
                }
                command = command.find_subcommand(word).unwrap_or_else(|| panic!("no command in {line:?}"));
            }
        }
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
