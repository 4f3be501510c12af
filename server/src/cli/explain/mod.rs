//! `ringmq explain`: what a code or a name in a message means, and what to do.
//!
//! Three tables of text: [`response`] and [`request`] codes of RocketMQ, and the names of our own errors
//! ([`problem`]). Exit codes are explained too. Looking up is pure; a number may mean several things.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::errors::{self, wrap};
use super::exit::Exit;
use super::log_files::Format;
use super::paint::Paint;
use super::print;
use crate::spelling;

pub(crate) mod problem;
pub(crate) mod request;
mod response;

/// What [`Exit`] means, in the order of its numbers.
const EXITS: [(&str, &str); Exit::ALL.len()] = [
    ("It did what was asked.", "Nothing."),
    ("It could not, or found something wrong.", "Read what it printed to stderr."),
    ("It was asked wrongly: a flag, a setting, a profile. Nothing was tried.", "`--help`."),
    (
        "Nobody answered there, or not in time. What was asked may still have been done.",
        "`ringmq cluster --namesrv HOST:9876`; on the server `ringmq check`.",
    ),
    ("What was named does not exist.", "`ringmq topic list`, `ringmq group list`."),
    ("The server understood, and refused.", "Read the response code in the message and explain it."),
];

/// Number, RocketMQ's name, what it means, what to do or who sends it.
pub(super) struct Row(pub i32, pub &'static str, pub &'static str, pub &'static str);

/// Name, what it means, what to do.
pub(crate) struct Problem(pub &'static str, pub &'static str, pub &'static str);

/// What is to be explained.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringmq explain 17                  a response or request code
  ringmq explain topic_not_exist     the same by its name
  ringmq explain port-in-use         an error of ringmq's own
  ringmq explain                     everything, one line each")]
pub struct ExplainArgs {
    /// A number, RocketMQ's name of it, or the name in `error[...]`; without one, everything is listed.
    code: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// One meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Meaning {
    /// `response`, `request`, `exit` or `error`.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    name: String,
    means: &'static str,
    /// What to do; for requests, who sends it and whether we answer it.
    remedy: String,
}

impl Meaning {
    fn title(&self) -> String {
        match self.code {
            Some(code) => format!("{} {code}  {}", self.kind, self.name),
            None => format!("{}  {}", self.kind, self.name),
        }
    }
}

/// Explains it.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let found = match &args.code {
        Some(text) => find(text),
        None => everything().collect(),
    };
    if let (Some(text), true) = (&args.code, found.is_empty()) {
        eprint!("{}", unknown(text, Paint::of_stderr()));
        return Exit::NotFound.into();
    }
    print(&match args.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&found).expect("strings and numbers")),
        Format::Text if args.code.is_some() => paragraphs(&found, Paint::of_stdout()),
        Format::Text => lines(&found),
    })
}

fn everything() -> impl Iterator<Item = Meaning> {
    let responses = response::ROWS.iter().map(|Row(code, name, means, remedy)| Meaning {
        kind: "response",
        code: Some(*code),
        name: (*name).to_owned(),
        means,
        remedy: (*remedy).to_owned(),
    });
    let requests = request::ROWS.iter().map(|Row(code, name, means, sender)| Meaning {
        kind: "request",
        code: Some(*code),
        name: (*name).to_owned(),
        means,
        remedy: format!("{sender} {}", request::ours(*code)),
    });
    let exits = Exit::ALL.into_iter().zip(EXITS).map(|(exit, (means, remedy))| Meaning {
        kind: "exit",
        code: Some(exit.number().into()),
        name: format!("{exit:?}"),
        means,
        remedy: remedy.to_owned(),
    });
    let errors = problem::PROBLEMS.iter().map(|Problem(name, means, remedy)| Meaning {
        kind: "error",
        code: None,
        name: (*name).to_owned(),
        means,
        remedy: (*remedy).to_owned(),
    });
    responses.chain(requests).chain(exits).chain(errors)
}

/// Every text that may be printed.
#[cfg(test)]
pub(super) fn texts() -> Vec<String> {
    everything().flat_map(|one| [one.means.to_owned(), one.remedy]).collect()
}

/// All that it may mean. Names are compared without regard to case, `-` and `_`.
fn find(text: &str) -> Vec<Meaning> {
    let number = text.trim().parse::<i32>().ok();
    let name = plain(text);
    everything()
        .filter(|one| one.code.is_some_and(|code| number == Some(code)) || plain(&one.name) == name)
        .collect()
}

/// `error[port-in-use]` and `PORT_IN_USE` as `port-in-use`.
fn plain(text: &str) -> String {
    let text = text.trim();
    let inner = text.split_once('[').map_or(text, |(_, rest)| rest.trim_end_matches([']', ':']));
    inner.to_lowercase().replace('_', "-")
}

fn unknown(text: &str, paint: Paint) -> String {
    let names: Vec<String> = everything().map(|one| plain(&one.name)).collect();
    let remedy = match spelling::nearest(&plain(text), names.iter().map(String::as_str)) {
        Some(name) => format!("Did you mean {name}? `ringmq explain` lists everything."),
        None => "`ringmq explain` lists everything.".to_owned(),
    };
    errors::message("error", None, &format!("nothing is known of {text:?}"), &remedy, paint)
}

fn paragraphs(found: &[Meaning], paint: Paint) -> String {
    let mut text = String::new();
    for (i, one) in found.iter().enumerate() {
        let gap = if i == 0 { "" } else { "\n" };
        let _ = writeln!(text, "{gap}{}", paint.bold(&one.title()));
        for part in [one.means, &one.remedy] {
            for line in wrap(part, errors::WIDTH - 2) {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    text
}

fn lines(found: &[Meaning]) -> String {
    let width = found.iter().map(|one| one.title().len()).max().unwrap_or(0);
    found.iter().fold(String::new(), |mut text, one| {
        let _ = writeln!(text, "{:width$}  {}", one.title(), one.means);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_wire::code::{RequestCode, response};

    #[test]
    fn every_code_that_we_know_is_explained_and_named_as_rocketmq_names_it() {
        for code in RequestCode::ALL {
            let row = request::ROWS.iter().find(|row| row.0 == code.number());
            assert_eq!(row.map(|row| row.1), Some(code.label()));
        }
        for code in -2000..5000 {
            let known = response::name(code);
            if known != "UNKNOWN" {
                let row = super::response::ROWS.iter().find(|row| row.0 == code);
                assert_eq!(row.map(|row| row.1), Some(known));
            }
        }
    }

    #[test]
    fn tables_are_sorted_and_every_text_is_a_sentence() {
        for rows in [super::response::ROWS, request::ROWS] {
            assert!(rows.is_sorted_by(|one, next| one.0 < next.0));
        }
        assert!(problem::PROBLEMS.is_sorted_by(|one, next| one.0 < next.0));
        for one in everything() {
            for text in [one.means, &one.remedy] {
                let first = text.chars().next().expect("a text");
                let ends = text.ends_with(['.', '?']);
                assert!(ends && (first.is_uppercase() || "`r".contains(first)), "{}: {text}", one.title());
            }
        }
    }

    #[test]
    fn a_number_may_mean_several_things_and_a_name_is_forgiving() {
        let rows: [(&str, &[&str]); 8] = [
            ("17", &["response 17  TOPIC_NOT_EXIST", "request 17  UPDATE_AND_CREATE_TOPIC"]),
            ("3", &["response 3  REQUEST_CODE_NOT_SUPPORTED", "exit 3  Unreachable"]),
            (" -1006 ", &["response -1006  RPC_TIME_OUT"]),
            ("topic_not_exist", &["response 17  TOPIC_NOT_EXIST"]),
            ("Topic-Not-Exist", &["response 17  TOPIC_NOT_EXIST"]),
            ("error[port-in-use]:", &["error  port-in-use"]),
            ("PORT_IN_USE", &["error  port-in-use"]),
            ("4711", &[]),
        ];
        for (text, expected) in rows {
            let found: Vec<String> = find(text).iter().map(Meaning::title).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_meaning_is_a_paragraph() {
        assert_eq!(
            paragraphs(&find("19"), Paint::PLAIN),
            "response 19  PULL_NOT_FOUND\n  Nothing at that queue offset yet. Clients get it all day long.\n  \
             Nothing: ask again.\n"
        );
        let request = paragraphs(&find("106"), Paint::PLAIN);
        assert!(request.ends_with("asks it. RingMQ's name server answers it.\n"), "{request}");
    }

    #[test]
    fn what_is_unknown_is_answered_with_the_nearest_name() {
        let text = unknown("port-in-us", Paint::PLAIN);
        assert!(text.contains("nothing is known of \"port-in-us\"\n  Did you mean port-in-use?"), "{text}");
        assert!(!unknown("4711", Paint::PLAIN).contains("mean"));
    }
}
