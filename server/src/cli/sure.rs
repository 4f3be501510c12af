//! Asking whether somebody is sure, before something is gone; and saying that it is.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use serde::Serialize;

use super::remote::{Answer, Failure};

/// The flag of commands that destroy.
#[derive(Debug, Clone, Copy, Args)]
pub struct Sure {
    /// Do not ask whether you are sure; needed where nobody can be asked.
    #[arg(long, short)]
    yes: bool,
}

impl Sure {
    /// Goes on only if whoever typed is sure.
    pub fn ask(self, what: &str) -> Result<(), Failure> {
        let refused = |problem: String| Err(Failure::misused(problem, "Say --yes to do it."));
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return refused(format!("this would {what}, and there is nobody to ask"));
        }
        eprint!("This will {what}. Type yes to go on: ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        if read.is_ok() && answer.trim() == "yes" { Ok(()) } else { refused(format!("did not {what}")) }
    }
}

/// Something was done to something that has nothing more to show.
#[derive(Debug, Serialize)]
pub struct Done {
    done: &'static str,
    what: &'static str,
    name: String,
}

impl Done {
    /// `deleted` `topic` `orders`.
    pub fn new(done: &'static str, what: &'static str, name: &str) -> Done {
        Done { done, what, name: name.to_owned() }
    }
}

impl Answer for Done {
    fn text(&self) -> String {
        format!("{} {} {}\n", self.what, self.name, self.done)
    }
}
