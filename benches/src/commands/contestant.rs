//! Who takes part in a comparison.
//!
//! | written | who |
//! | --- | --- |
//! | `ringmq` | the program under test, one shard |
//! | `ringmq=PROGRAM,log.flush_method=dsync` | another build of it, or other settings, or both |
//! | `apache-sync`, `apache-sync-tuned`, `apache-async`, `apache-async-tuned` | Apache's broker; `process/apache` says how |
//!
//! RingMQ is started afresh for each round. A JVM needs minutes to be as fast as it can, so Apache's broker is started once
//! and stopped from running (SIGSTOP) while it is not its turn.

use super::stage::Set;
use super::{CommandError, failed_to};
use crate::process::apache::Configuration;
use crate::process::{Server, jars};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Who takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contestant {
    /// RingMQ; without a program, the one under test.
    Ringmq {
        /// The program.
        program: Option<PathBuf>,
        /// Further settings, as key=value.
        settings: Vec<String>,
    },
    /// Apache's broker.
    Apache(Configuration),
}

impl Contestant {
    /// RingMQ as it is.
    pub const fn ringmq() -> Contestant {
        Contestant::Ringmq { program: None, settings: Vec::new() }
    }

    /// Whether it is started once and kept, paused while others are measured.
    pub fn is_kept(&self) -> bool {
        matches!(self, Contestant::Apache(_))
    }

    /// Starts it.
    pub fn start(&self, set: &mut Set) -> Result<Server, CommandError> {
        let mut server = match self {
            Contestant::Ringmq { program, settings } => {
                let program = program.clone().unwrap_or_else(|| set.program().to_owned());
                set.start_other(&program, settings)?
            }
            Contestant::Apache(configuration) => {
                let jars = jars::of_apache(set.jars()).map_err(failed_to("get Apache's broker"))?;
                set.start_apache(&jars, *configuration)?
            }
        };
        server.name = self.to_string();
        Ok(server)
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contestant::Apache(configuration) => f.write_str(configuration.name()),
            Contestant::Ringmq { program, settings } => {
                f.write_str("ringmq")?;
                if let Some(program) = program {
                    write!(f, "={}", program.display())?;
                }
                settings.iter().try_for_each(|setting| write!(f, ",{setting}"))
            }
        }
    }
}

impl FromStr for Contestant {
    type Err = String;
    fn from_str(text: &str) -> Result<Contestant, String> {
        let apache = Configuration::ALL.into_iter().find(|one| one.name().replace(' ', "-") == text);
        let contestant = apache.map(Contestant::Apache).or_else(|| ringmq(text));
        contestant.ok_or_else(|| format!("{text} is neither ringmq[=PROGRAM][,KEY=VALUE…] nor apache-sync[-tuned] nor apache-async[-tuned]"))
    }
}

fn ringmq(text: &str) -> Option<Contestant> {
    let rest = text.strip_prefix("ringmq")?;
    let mut parts = rest.split(',');
    let program = match parts.next()? {
        "" => None,
        program => Some(PathBuf::from(program.strip_prefix('=').filter(|path| !path.is_empty())?)),
    };
    let settings: Vec<String> = parts.map(str::to_owned).collect();
    settings.iter().all(|setting| setting.contains('=')).then_some(Contestant::Ringmq { program, settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contestant_is_read_as_it_is_written() {
        for text in
            ["ringmq", "ringmq=target/old/ringmq", "ringmq,a.b=1,c=2", "ringmq=./x,log.flush_method=dsync"]
        {
            assert_eq!(
                text.parse::<Contestant>().map(|contestant| contestant.to_string()),
                Ok(text.to_owned())
            );
        }
        for (text, expected) in
            [("apache-sync", Configuration::Sync), ("apache-async-tuned", Configuration::AsyncTuned)]
        {
            assert_eq!(text.parse(), Ok(Contestant::Apache(expected)));
        }
        for text in ["", "ringmqx", "ringmq=", "ringmq,a", "apache", "apache-tuned"] {
            assert!(text.parse::<Contestant>().is_err(), "{text}");
        }
    }
}
