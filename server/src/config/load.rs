//! Reading settings from the file, the environment and the flags, and remembering who said what.
//!
//! [`merge`] is pure; [`load`] reads the file and the environment for it.

use std::fmt;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{self, CheckError};
use super::machine::Machine;
use super::{KEYS, Key, SECTIONS, Settings, key};
use crate::spelling::{edits, edits_allowed};

/// Largest configuration file; a larger one is refused unread, since it is surely something else.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A line of the file, counted from 1.
    File {
        /// As it was named.
        file: String,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// The command line, as typed: `--port`, `--set log.flush`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { file, line } => write!(f, "{file}:{line}"),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One value from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// What was typed, for messages: `--port`, `--set`.
    pub flag: String,
    /// `server.port`.
    pub key: String,
    /// The value's text.
    pub value: String,
}

/// What [`merge`] merges, from weak to strong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layers<'a> {
    /// The file's name and text.
    pub file: Option<(&'a str, &'a str)>,
    /// All environment variables; others than ours are passed over.
    pub environment: &'a [(String, String)],
    /// In the order typed; the last of one key wins.
    pub flags: &'a [Flag],
}

/// Settings, and where each came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    /// One per entry of [`KEYS`].
    origins: Vec<Origin>,
}

/// Why there are no settings. Each text says where, and what to type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {file}: {error}")]
    Read {
        /// As it was named.
        file: String,
        /// What the system said.
        error: String,
    },
    /// The file is not TOML.
    #[error("{file}:{line}: {what}")]
    Syntax {
        /// As it was named.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        what: String,
    },
    /// No such key.
    #[error("{origin}: there is no setting {key}{}", nearest.map_or_else(
        || "; `ringmq config init` prints all of them".to_owned(),
        |nearest| format!("; did you mean {nearest}?")
    ))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// As it was written.
        key: String,
        /// The key that it resembles.
        nearest: Option<&'static str>,
    },
    /// A value that its key cannot have.
    #[error("{origin}: {key} cannot be {found:?}: {why}; write {expected}")]
    BadValue {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The value's text.
        found: String,
        /// What is wrong with it.
        why: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// `--set` without `=`.
    #[error("--set {0}: write --set section.key=value, for instance --set log.flush=sync")]
    NotAnAssignment(String),
    /// Values that are each fine, but not together; a default has no place worth naming.
    #[error("{}{error}", if *origin == Origin::Default { String::new() } else { format!("{origin}: ") })]
    Check {
        /// Who set the key that the check names.
        origin: Origin,
        /// What is wrong.
        error: CheckError,
    },
}

/// Reads the file if one is named, and the environment; merges, fills in what the machine knows, and checks.
pub fn load(file: Option<&Path>, flags: &[Flag]) -> Result<Loaded, ConfigError> {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let text = file.map(|file| Ok((file.display().to_string(), read(file)?))).transpose()?;
    let file = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let mut loaded = merge(Layers { file, environment: &environment, flags })?;
    loaded.settings.fill_in(&Machine::here());
    check::check(&loaded.settings)
        .map_err(|error| ConfigError::Check { origin: loaded.origin(error.key).clone(), error })?;
    Ok(loaded)
}

fn read(file: &Path) -> Result<String, ConfigError> {
    let refused = |error: String| ConfigError::Read { file: file.display().to_string(), error };
    let bytes = std::fs::metadata(file).map_err(|error| refused(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(refused(format!("{bytes} bytes exceed {FILE_BYTES_MAX}")));
    }
    std::fs::read_to_string(file).map_err(|error| refused(error.to_string()))
}

/// Merges the layers over the defaults.
pub fn merge(layers: Layers<'_>) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded { settings: Settings::default(), origins: vec![Origin::Default; KEYS.len()] };
    if let Some((file, text)) = layers.file {
        loaded.add_file(file, text)?;
    }
    for (variable, value) in layers.environment {
        if is_ours(variable) {
            let named = KEYS.iter().find(|key| key.variable() == *variable);
            let origin = Origin::Environment(variable.clone());
            match named {
                Some(key) => loaded.set(key, value, origin)?,
                None => return Err(unknown(origin, &as_key(variable))),
            }
        }
    }
    for Flag { flag, key: name, value } in layers.flags {
        let origin = Origin::Flag(flag.clone());
        match key(name) {
            Some(key) => loaded.set(key, value, origin)?,
            None => return Err(unknown(origin, name)),
        }
    }
    Ok(loaded)
}

impl Loaded {
    /// Every key and who set it.
    pub fn origins(&self) -> impl Iterator<Item = (&'static Key, &Origin)> {
        KEYS.iter().zip(&self.origins)
    }

    /// Who set that key.
    pub fn origin(&self, name: &str) -> &Origin {
        self.origins().find(|(key, _)| key.name == name).map_or(&Origin::Default, |(_, origin)| origin)
    }

    /// The effective values as TOML, each with its origin (`ringmq config show`).
    pub fn show(&self) -> String {
        let lines: Vec<(&str, String, &Origin)> = self
            .origins()
            .map(|(key, origin)| {
                (key.section, format!("{} = {}", key.short(), (key.toml)(&self.settings)), origin)
            })
            .collect();
        let width = lines.iter().map(|(_, line, _)| line.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        let mut current = "";
        for (section, line, origin) in lines {
            if section != current {
                let gap = if current.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}[{section}]\n"));
                current = section;
            }
            text.push_str(&format!("{line:width$}  # {origin}\n"));
        }
        text
    }

    fn set(&mut self, key: &'static Key, text: &str, origin: Origin) -> Result<(), ConfigError> {
        (key.set)(&mut self.settings, text).map_err(|why| ConfigError::BadValue {
            origin: origin.clone(),
            key: key.name,
            found: text.to_owned(),
            why,
            expected: key.expected,
        })?;
        let index = KEYS.iter().position(|other| other.name == key.name);
        self.origins[index.expect("the key is one of KEYS")] = origin;
        Ok(())
    }

    fn add_file(&mut self, file: &str, text: &str) -> Result<(), ConfigError> {
        let at = |position: usize| Origin::File { file: file.to_owned(), line: line_of(text, position) };
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            file: file.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            what: error.message().to_owned(),
        })?;
        for (section, content) in table.get_ref() {
            let known = SECTIONS.iter().any(|(name, _)| *name == *section.get_ref());
            let origin = at(section.span().start);
            let DeValue::Table(content) = content.get_ref() else {
                return Err(unknown(origin, section.get_ref()));
            };
            if !known {
                let first = content.iter().next();
                let name = first.map_or_else(
                    || section.get_ref().to_string(),
                    |(name, _)| format!("{}.{}", section.get_ref(), name.get_ref()),
                );
                return Err(unknown(origin, &name));
            }
            for (name, value) in content {
                let full = format!("{}.{}", section.get_ref(), name.get_ref());
                let origin = at(name.span().start);
                match key(&full) {
                    Some(key) => self.set(key, &text_of(value), origin)?,
                    None => return Err(unknown(origin, &full)),
                }
            }
        }
        Ok(())
    }
}

/// The text of a TOML value as [`Key::set`] takes it; lists are joined as RocketMQ's tools write them.
fn text_of(value: &Spanned<DeValue<'_>>) -> String {
    match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join(";"),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn line_of(text: &str, position: usize) -> usize {
    1 + text.bytes().take(position).filter(|byte| *byte == b'\n').count()
}

/// Only variables of our sections are ours: Kubernetes sets `RINGMQ_SERVICE_HOST` and `RINGMQ_PORT_…` in every
/// pod beside a service called ringmq, and those must not stop a broker.
fn is_ours(variable: &str) -> bool {
    variable.strip_prefix("RINGMQ_").is_some_and(|rest| {
        SECTIONS.iter().any(|(section, _)| {
            rest.to_lowercase().strip_prefix(section).is_some_and(|rest| rest.starts_with('_'))
        })
    })
}

/// `RINGMQ_LOG_FLUSH` as the key it means, `log.flush`.
fn as_key(variable: &str) -> String {
    variable.trim_start_matches("RINGMQ_").to_lowercase().replacen('_', ".", 1)
}

fn unknown(origin: Origin, name: &str) -> ConfigError {
    ConfigError::UnknownKey { origin, key: name.to_owned(), nearest: nearest(name) }
}

/// The key that `name` most resembles: the same key of another section first, else the fewest edits, and nothing
/// when more than a third of it would have to change.
fn nearest(name: &str) -> Option<&'static str> {
    let short = name.rsplit('.').next().unwrap_or(name);
    if let Some(key) = KEYS.iter().find(|key| key.short() == short) {
        return Some(key.name);
    }
    let distance = |key: &Key| edits(name, key.name).min(edits(short, key.short()));
    let key = KEYS.iter().min_by_key(|key| distance(key))?;
    (distance(key) <= edits_allowed(short)).then_some(key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(key: &str, value: &str) -> Flag {
        Flag { flag: "--set".to_owned(), key: key.to_owned(), value: value.to_owned() }
    }

    fn variable(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    fn from_file(text: &str) -> Result<Loaded, ConfigError> {
        merge(Layers { file: Some(("ringmq.toml", text)), ..Default::default() })
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let file = "[server]\nport = 1001\nport_stride = 20\nname = \"n\"\n";
        let environment =
            [variable("RINGMQ_SERVER_PORT", "1002"), variable("RINGMQ_SERVER_PORT_STRIDE", "30")];
        let flags = [flag("server.port", "1003"), flag("server.port", "1004")];
        let loaded =
            merge(Layers { file: Some(("f", file)), environment: &environment, flags: &flags }).unwrap();
        assert_eq!(loaded.settings.server.port, 1004);
        assert_eq!(loaded.settings.server.port_stride, 30);
        assert_eq!(loaded.settings.name(), "n");
        assert_eq!(loaded.origin("server.port").to_string(), "--set");
        assert_eq!(loaded.origin("server.port_stride").to_string(), "environment RINGMQ_SERVER_PORT_STRIDE");
        assert_eq!(loaded.origin("server.name").to_string(), "f:4");
        assert_eq!(loaded.origin("log.flush"), &Origin::Default);
    }

    #[test]
    fn errors_say_where_and_what_to_type() {
        let rows = [
            (
                "[log]\n\nsegment_byte = 1\n",
                "ringmq.toml:3: there is no setting log.segment_byte; did you mean log.segment_bytes?",
            ),
            ("port = 1\n", "ringmq.toml:1: there is no setting port; did you mean server.port?"),
            (
                "[broker]\nport = 1\n",
                "ringmq.toml:1: there is no setting broker.port; did you mean server.port?",
            ),
            (
                "[server]\nzookeeper = 1\n",
                "ringmq.toml:2: there is no setting server.zookeeper; `ringmq config init` prints all of them",
            ),
            (
                "[log]\nsegment_bytes = \"256MB\"\n",
                "ringmq.toml:2: log.segment_bytes cannot be \"256MB\": MB is not a unit of size; \
                 write a size such as 256MiB (B, KiB, MiB or GiB)",
            ),
            (
                "[server]\nport = true\n",
                "ringmq.toml:2: server.port cannot be \"true\": it is not a whole number from 0 to 65535; \
                 write a whole number",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(from_file(text).unwrap_err().to_string(), expected);
        }
        let broken = from_file("[server]\nhost = \n").unwrap_err().to_string();
        assert!(broken.starts_with("ringmq.toml:2: "), "{broken}");
    }

    #[test]
    fn lists_may_be_arrays() {
        let loaded = from_file("[server]\nroles = [\"namesrv\"]\nnamesrv = [\"a:1\", \"b:2\"]\n").unwrap();
        assert!(!loaded.settings.server.roles.broker);
        assert_eq!(loaded.settings.server.namesrv.0, ["a:1", "b:2"]);
    }

    #[test]
    fn variables_of_a_kubernetes_service_are_not_ours() {
        let environment = [
            variable("RINGMQ_SERVICE_HOST", "10.0.0.1"),
            variable("RINGMQ_PORT_10911_TCP", "tcp://10.0.0.1"),
        ];
        assert!(merge(Layers { environment: &environment, ..Default::default() }).is_ok());
        let environment = [variable("RINGMQ_LOG_FLUSHH", "sync")];
        let error = merge(Layers { environment: &environment, ..Default::default() }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment RINGMQ_LOG_FLUSHH: there is no setting log.flushh; did you mean log.flush?"
        );
    }

    #[test]
    fn shown_settings_name_their_origin_and_can_be_read_back() {
        let loaded = merge(Layers { flags: &[flag("log.flush", "async")], ..Default::default() }).unwrap();
        let shown = loaded.show();
        assert!(
            shown.lines().any(|line| line.starts_with("flush = \"async\" ") && line.ends_with("# --set"))
        );
        assert_eq!(from_file(&shown).unwrap().settings, loaded.settings);
    }
}
