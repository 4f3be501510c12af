//! What `--help` says, command by command, and what answers look like, as golden files in `golden/`.
//!
//! After an intended change `INSTA_UPDATE=always cargo test -p ringmq-server golden` writes them anew; the diff is
//! then reviewed like code. Not here: `bench`, whose package has its own.

use clap::{Command, CommandFactory};

use super::Cli;
use super::man::title;

/// Columns, whatever the terminal of whoever runs the test.
const WIDTH: usize = 100;

#[test]
fn help_is_as_it_was_reviewed() {
    let mut root = Cli::command().term_width(WIDTH);
    root.build();
    check(&root);
}

fn check(command: &Command) {
    let name = title(command);
    golden(&name, &command.clone().render_long_help().to_string());
    let below = command.get_subcommands();
    below
        .filter(|below| !["bench", "help"].contains(&below.get_name()) && !below.is_hide_set())
        .for_each(check);
}

/// An answer, for people or for programs, of made-up values.
pub fn answer(name: &str, text: &str) {
    golden(&format!("answer-{name}"), text);
}

fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
