//! Exit codes: what a script can rely on. They never change their meaning; new ones are added.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Done = 0,
    /// It could not, or found something wrong.
    Failed = 1,
    /// It was asked wrongly: a flag, a setting, a profile. Nothing was tried.
    Misused = 2,
    /// Nobody answered there, or not in time. What was asked may still have been done.
    Unreachable = 3,
    /// What was named does not exist.
    NotFound = 4,
    /// The server understood and refused: a permission, a limit, a state.
    Refused = 5,
}

impl Exit {
    /// All of them, by number.
    pub const ALL: [Exit; 6] =
        [Exit::Done, Exit::Failed, Exit::Misused, Exit::Unreachable, Exit::NotFound, Exit::Refused];

    /// The number that a shell sees.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_that_scripts_know_stay() {
        assert_eq!(Exit::ALL.map(Exit::number), [0, 1, 2, 3, 4, 5]);
    }
}
