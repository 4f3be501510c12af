//! Commands that talk to servers: which ones, how an answer is printed, and what a failure means to whoever typed.
//!
//! A command is an async function from a [`Session`] to a value that can be shown ([`Answer`]); the runtime is one thread of
//! tokio's, for as long as the command. The protocol is the client crate's alone.
//!
//! Invariants
//!  1. Every failure names the next step, and has the exit code of its kind ([`Exit`]).
//!  2. An answer goes to stdout in the wanted format; everything else goes to stderr.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ringmq_client::admin::Admin;
use ringmq_client::{Client, Error};
use ringmq_wire::code::response;
use serde::Serialize;

use super::errors;
use super::exit::Exit;
use super::log_files::Format;
use super::paint::Paint;
use super::print;
use super::profile::{Profiles, Said, Target};
use crate::spelling;

/// How long the end of a client may take: it says good-bye to brokers, and nothing is lost without.
const GOOD_BYE: Duration = Duration::from_millis(500);

/// What to look at when something else than RocketMQ answers.
const PORTS: &str = "Is that a RocketMQ port? Name servers listen on 9876, brokers on 10911.";

/// Flags of every command that asks servers something and prints the answer.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    #[command(flatten)]
    place: Place,
    /// How to print the answer [default: text].
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Flags of every command that talks to servers.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct Place {
    /// Name servers to ask [default: the profile's, NAMESRV_ADDR, or 127.0.0.1:9876].
    #[arg(long, short, value_name = "HOST:PORT;...")]
    namesrv: Option<String>,
    /// Profile of ~/.config/ringmq/config.toml; `ringmq profile init` prints one.
    #[arg(long, value_name = "NAME", env = "RINGMQ_PROFILE", hide_env_values = true)]
    profile: Option<String>,
    /// How long to wait for an answer [default: 5s].
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
}

impl Place {
    fn target(&self, format: Option<Format>) -> Result<Target, Failure> {
        let environment = std::env::var("NAMESRV_ADDR").ok().filter(|addresses| !addresses.is_empty());
        let said = Said {
            namesrv: self.namesrv.as_deref(),
            profile: self.profile.as_deref(),
            environment: environment.as_deref(),
            timeout: self.timeout.as_deref(),
            format,
        };
        let target = Profiles::load().and_then(|profiles| profiles.target(&said));
        target.map_err(|error| {
            let remedy = "`ringmq profile list` shows the profiles, `--namesrv HOST:9876` does without.";
            Failure::new(Exit::Misused, "profile", error.to_string(), remedy)
        })
    }
}

/// What a command prints when it is done.
pub trait Answer: Serialize {
    /// For people; ends with a line's end.
    fn text(&self) -> String;
}

/// A client of the wanted cluster.
pub struct Session {
    /// The client.
    pub client: Client,
    /// Its administration, with the wanted patience.
    pub admin: Admin,
    /// What the command goes by.
    pub target: Target,
}

/// Why a command did not do it, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    name: &'static str,
    problem: String,
    remedy: String,
    /// The topic that is not there: another may have been meant.
    topic: Option<String>,
}

impl Failure {
    /// A failure of a command's own.
    pub fn new(
        exit: Exit,
        name: &'static str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Failure {
        Failure { exit, name, problem: problem.into(), remedy: remedy.into(), topic: None }
    }

    /// Something was asked that makes no sense; `expected` says what does.
    pub fn misused(problem: impl Into<String>, expected: impl Into<String>) -> Failure {
        Failure::new(Exit::Misused, "usage", problem, expected)
    }

    /// Nobody reads what is printed.
    fn unread() -> Failure {
        Failure::new(Exit::Failed, "usage", "nobody reads what is printed", "")
    }

    /// Now it is known which topics there are.
    fn know(&mut self, topic: &str, topics: &[String]) {
        match spelling::nearest(topic, topics.iter().map(String::as_str)) {
            Some(same) if same == topic => {
                self.exit = Exit::Refused;
                self.name = "refused";
                self.problem = format!("topic {topic} is there, but has no queue that may be used so");
                self.remedy = format!(
                    "`ringmq topic describe {topic}` shows it, `ringmq topic alter {topic} --perm rw` opens it."
                );
            }
            Some(meant) => self.remedy = format!("Did you mean {meant}? {}", self.remedy),
            None => {}
        }
    }

    fn render(&self, paint: Paint) -> String {
        errors::message("error", Some(self.name), &self.problem, &self.remedy, paint)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let unknown = if error.outcome_unknown() { " It may have been done all the same." } else { "" };
        let problem = error.to_string();
        let of = |exit, name, remedy: String| Failure::new(exit, name, problem.clone(), remedy);
        match &error {
            Error::Invalid(_) => of(Exit::Misused, "usage", "`--help` says what is possible.".to_owned()),
            Error::NoRoute { topic } => unknown_topic(topic),
            Error::Connect { .. } => of(
                Exit::Unreachable,
                "unreachable",
                "Start a server there with `ringmq serve`, or name another with `--namesrv HOST:9876`. A broker's \
                 own address comes from the server: `ringmq check` on its machine tries it."
                    .to_owned(),
            ),
            Error::Lost { reason, .. } if reason.starts_with("frame of") => {
                of(Exit::Failed, "malformed", other_protocol(reason))
            }
            Error::Lost { .. } | Error::TimedOut { .. } => of(
                Exit::Unreachable,
                "unreachable",
                format!("Try again, with a longer `--timeout` if the network is slow.{unknown}"),
            ),
            Error::Full { .. } => of(Exit::Failed, "usage", "Send less at once.".to_owned()),
            Error::Refused { code, remark, .. } => refused(*code, remark, &problem),
            Error::NotDurable { code, .. } => of(
                Exit::Failed,
                "not-durable",
                format!("`ringmq explain {code}` says what that means.{unknown}"),
            ),
            Error::Malformed { .. } => of(
                Exit::Failed,
                "malformed",
                format!("{PORTS}{unknown}"),
            ),
            _ => of(Exit::Failed, "refused", "`--help` says what is possible.".to_owned()),
        }
    }
}

/// What came is no frame: HTTP's first letters, read as a length, are known.
fn other_protocol(reason: &str) -> String {
    // A frame's length does not count itself.
    let http = (u32::from_be_bytes(*b"HTTP") + 4).to_string();
    let is_http = reason.contains(&http);
    if is_http { format!("It answered as a web server does. {PORTS}") } else { PORTS.to_owned() }
}

fn unknown_topic(topic: &str) -> Failure {
    let remedy = format!("`ringmq topic create {topic}` makes it, `ringmq topic list` shows what there is.");
    let failure = Failure::new(Exit::NotFound, "unknown-topic", format!("there is no topic {topic}"), remedy);
    Failure { topic: Some(topic.to_owned()), ..failure }
}

fn refused(code: i32, remark: &str, problem: &str) -> Failure {
    match code {
        response::SUBSCRIPTION_GROUP_NOT_EXIST => Failure::new(
            Exit::NotFound,
            "unknown-group",
            problem,
            "`ringmq group list` shows what there is; a group is made by its first consumer.",
        ),
        response::TOPIC_NOT_EXIST => Failure::new(
            Exit::NotFound,
            "unknown-topic",
            problem,
            "`ringmq topic list` shows what there is, `ringmq topic create TOPIC` makes one.",
        ),
        response::QUERY_NOT_FOUND => {
            Failure::new(Exit::NotFound, "not-found", problem, "`ringmq explain 22` says what that may mean.")
        }
        response::REQUEST_CODE_NOT_SUPPORTED => {
            let number: String = remark.chars().filter(char::is_ascii_digit).collect();
            let remedy =
                format!("That server does not have it; `ringmq explain {number}` says what was asked.");
            Failure::new(Exit::Refused, "refused", problem, remedy)
        }
        response::NO_PERMISSION => Failure::new(
            Exit::Refused,
            "refused",
            problem,
            "`ringmq topic describe TOPIC` shows the permission, `ringmq topic alter TOPIC --perm rw` changes it.",
        ),
        _ => {
            let remedy = format!("`ringmq explain {code}` says what that means and what to do.");
            let problem =
                if remark.is_empty() { format!("{problem}no reason given") } else { problem.to_owned() };
            Failure::new(Exit::Refused, "refused", problem, remedy)
        }
    }
}

/// Carries a command out and prints its answer.
pub fn run<A: Answer>(
    connection: &Connection,
    act: impl AsyncFnOnce(&Session) -> Result<A, Failure>,
) -> ExitCode {
    let done = carry_out(&connection.place, connection.format, async |session: &Session| {
        let answer = act(session).await?;
        Ok(match session.target.format {
            Format::Text => answer.text(),
            Format::Json => {
                format!("{}\n", serde_json::to_string_pretty(&answer).expect("answers are plain data"))
            }
        })
    });
    match done {
        Ok(text) => print(&text),
        Err(exit) => exit.into(),
    }
}

/// Carries a command out that prints by itself, as it goes.
pub fn run_printing(
    place: &Place,
    format: Option<Format>,
    act: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> ExitCode {
    carry_out(place, format, act).map_or_else(ExitCode::from, |()| ExitCode::SUCCESS)
}

fn carry_out<T>(
    place: &Place,
    format: Option<Format>,
    act: impl AsyncFnOnce(&Session) -> Result<T, Failure>,
) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(async { connect_and(place.target(format)?, act).await }),
        Err(error) => {
            let problem = format!("no runtime can be made: {error}");
            Err(Failure::new(Exit::Failed, "runtime", problem, "`ringmq check` looks for the cause."))
        }
    };
    done.map_err(|failure| {
        // A reader that has gone away (`| head`) is no failure worth a message.
        if failure != Failure::unread() {
            eprint!("{}", failure.render(Paint::of_stderr()));
        }
        failure.exit
    })
}

/// Prints a line of an answer that comes in parts. A reader that has gone away ends the command.
pub fn print_line(line: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let printed = writeln!(stdout, "{}", line.trim_end_matches('\n')).and_then(|()| stdout.flush());
    printed.map_err(|_| Failure::unread())
}

async fn connect_and<T>(
    target: Target,
    act: impl AsyncFnOnce(&Session) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let name_servers = target.name_servers.join(",");
    let connected = tokio::time::timeout(target.timeout, Client::connect(name_servers.as_str())).await;
    let client = match connected {
        Ok(connected) => connected.map_err(|error| of_name_server(error, &target))?,
        Err(_) => {
            let problem = format!("no answer from {name_servers} within {:?}", target.timeout);
            let remedy = format!("{} Try a longer `--timeout`.", named_by(&target));
            return Err(Failure::new(Exit::Unreachable, "unreachable", problem, remedy));
        }
    };
    let session = Session { admin: client.admin().timeout(target.timeout), client, target };
    let mut done = act(&session).await;
    if let Err(failure) = &mut done
        && let Some(topic) = failure.topic.take()
        && let Ok(topics) = session.admin.topics().await
    {
        failure.know(&topic, &topics);
    }
    session.client.shutdown(GOOD_BYE).await;
    done
}

/// Nobody answers at the name server's address.
fn of_name_server(error: Error, target: &Target) -> Failure {
    let failure = Failure::from(error);
    if failure.exit != Exit::Unreachable {
        return failure;
    }
    let remedy = format!(
        "{} Start a server there with `ringmq serve`, or name another with `--namesrv HOST:9876`.",
        named_by(target)
    );
    Failure { remedy, ..failure }
}

fn named_by(target: &Target) -> String {
    format!("That name server comes from {}.", target.origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn rendered(error: Error) -> (Exit, String) {
        let failure = Failure::from(error);
        (failure.exit, failure.render(Paint::PLAIN))
    }

    #[test]
    fn every_failure_has_an_exit_code_and_names_the_next_step() {
        let address = || "b:1".to_owned();
        let refused = |code| Error::Refused { address: address(), code, remark: "no".to_owned() };
        let source = Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let after = Duration::from_secs(5);
        let remark = " request type 12 not supported".to_owned();
        let unsupported = Error::Refused { address: address(), code: 3, remark };
        let reason = "frame of 1213486164 bytes exceeds 16777216".to_owned();
        let web = Error::Lost { address: address(), reason, sent: true };
        for (error, exit, says) in [
            (
                Error::Connect { address: address(), source },
                Exit::Unreachable,
                "error[unreachable]: cannot connect",
            ),
            (
                Error::TimedOut { address: address(), after, sent: true },
                Exit::Unreachable,
                "It may have been done",
            ),
            (Error::NoRoute { topic: "T".to_owned() }, Exit::NotFound, "`ringmq topic create T`"),
            (refused(17), Exit::NotFound, "error[unknown-topic]"),
            (refused(26), Exit::NotFound, "`ringmq group list`"),
            (refused(22), Exit::NotFound, "`ringmq explain 22`"),
            (refused(16), Exit::Refused, "--perm rw"),
            (refused(1), Exit::Refused, "`ringmq explain 1`"),
            (unsupported, Exit::Refused, "`ringmq explain 12`"),
            (web, Exit::Failed, "as a web server does"),
            (Error::NotDurable { address: address(), code: 10 }, Exit::Failed, "`ringmq explain 10`"),
            (Error::Malformed { address: address(), what: "x".to_owned() }, Exit::Failed, "RocketMQ port"),
            (Error::Invalid("x".to_owned()), Exit::Misused, "--help"),
        ] {
            let text = error.to_string();
            let (found, message) = rendered(error);
            assert_eq!(found, exit, "{text}");
            assert!(message.contains(says), "{says:?} in {message}");
        }
    }

    #[test]
    fn a_topic_that_resembles_another_is_told_from_one_that_may_not_be_used() {
        let known = |topic: &str| {
            let mut failure = Failure::from(Error::NoRoute { topic: topic.to_owned() });
            failure.know(topic, &["orders".to_owned(), "invoices".to_owned()]);
            (failure.exit, failure.remedy)
        };
        let (exit, remedy) = known("oders");
        assert!(exit == Exit::NotFound && remedy.starts_with("Did you mean orders? "), "{remedy}");
        let (exit, remedy) = known("orders");
        assert!(exit == Exit::Refused && remedy.contains("alter orders --perm rw"), "{remedy}");
        let (exit, remedy) = known("shipping");
        assert!(exit == Exit::NotFound && remedy.starts_with("`ringmq topic create"), "{remedy}");
    }

    #[test]
    fn every_name_can_be_explained() {
        use crate::cli::explain::problem::PROBLEMS;
        let names =
            ["usage", "unreachable", "unknown-topic", "unknown-group", "not-found", "refused", "not-durable"];
        for name in names.into_iter().chain(["malformed", "profile", "runtime", "exists"]) {
            assert!(PROBLEMS.iter().any(|problem| problem.0 == name), "{name} is not explained");
        }
    }
}
