//! Names as an answer: of topics, of groups.

use serde::Serialize;

use super::remote::Answer;

/// A name, and whether it is one of the system's own.
#[derive(Debug, Serialize)]
pub struct Listed {
    pub name: String,
    pub system: bool,
}

/// Names, one on each line.
#[derive(Debug, Serialize)]
pub struct List(pub Vec<Listed>);

impl Answer for List {
    fn text(&self) -> String {
        self.0.iter().map(|listed| format!("{}\n", listed.name)).collect()
    }
}
