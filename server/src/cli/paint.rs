//! Colours, only on a terminal and only if nobody said `NO_COLOR`.

use std::io::IsTerminal;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    /// No colours.
    pub const PLAIN: Paint = Paint(false);

    /// As stderr can show.
    pub fn of_stderr() -> Paint {
        Paint::of(std::io::stderr().is_terminal())
    }

    /// As stdout can show.
    pub fn of_stdout() -> Paint {
        Paint::of(std::io::stdout().is_terminal())
    }

    fn of(is_terminal: bool) -> Paint {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint(is_terminal && !refused)
    }

    /// Bold.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Faint.
    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    /// Bold red, for failures.
    pub fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// Bold yellow, for warnings.
    pub fn yellow(self, text: &str) -> String {
        self.with("1;33", text)
    }

    /// Green, for what is well.
    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(Paint::PLAIN.red("x"), "x");
        assert_eq!(Paint(true).red("x"), "\x1b[1;31mx\x1b[0m");
    }
}
