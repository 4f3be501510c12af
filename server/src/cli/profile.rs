//! Profiles: the name servers and habits behind a short name, in `~/.config/ringmq/config.toml`.
//!
//! Which name servers a command asks, from strong to weak: `--namesrv`; the profile named by `--profile` or
//! RINGMQ_PROFILE; NAMESRV_ADDR, as RocketMQ's own clients read it; the file's default profile; 127.0.0.1:9876.
//!
//! [`Profiles::load`] reads the file; what follows from it is pure.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use super::errors;
use super::exit::Exit;
use super::log_files::Format;
use super::paint::Paint;
use super::print;
use super::table::{self, Column};
use crate::config::value::{HostPorts, Setting};
use crate::spelling;

/// What is asked if nobody says anything.
const NAME_SERVER: &str = "127.0.0.1:9876";
/// How long a command waits for an answer if nobody says anything.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest file; a larger one is refused unread, since it is surely something else.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file that `profile init` prints.
pub const EXAMPLE: &str = "\
# ~/.config/ringmq/config.toml: which name servers `ringmq topic`, `group`, `send`, ... talk to.
# `ringmq --help` of each command says what beats what; `--profile NAME` chooses.

default = \"local\"

[profile.local]
namesrv = \"127.0.0.1:9876\"

[profile.production]
namesrv = \"10.0.0.1:9876;10.0.0.2:9876\"
timeout = \"10s\"      # for an answer; 5s unless said
format = \"json\"      # or \"text\", which is the default
";

/// What can be asked about profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Print a file of profiles to begin with.
    #[command(after_help = "Example:\n  ringmq profile init > ~/.config/ringmq/config.toml")]
    Init,
    /// List the profiles, and which is the default.
    #[command(visible_alias = "ls", after_help = "Example:\n  ringmq profile list")]
    List {
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

/// Does it.
pub fn run(command: &ProfileCommand) -> ExitCode {
    let format = match command {
        ProfileCommand::Init => return print(EXAMPLE),
        ProfileCommand::List { format } => *format,
    };
    match Profiles::load() {
        Ok(profiles) => {
            if profiles.content.profile.is_empty() {
                eprintln!("note: there is no profile; `ringmq profile init` prints a file to begin with");
            }
            print(&profiles.render(format))
        }
        Err(error) => {
            let remedy = "`ringmq profile init` prints a file that is right.";
            let (problem, paint) = (error.to_string(), Paint::of_stderr());
            eprint!("{}", errors::message("error", Some("profile"), &problem, remedy, paint));
            Exit::Misused.into()
        }
    }
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

/// One profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    namesrv: Option<String>,
    timeout: Option<String>,
    format: Option<String>,
}

/// All profiles, and where they stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profiles {
    file: String,
    content: File,
}

/// What was said outside of the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// `--namesrv`.
    pub namesrv: Option<&'a str>,
    /// `--profile`, or RINGMQ_PROFILE.
    pub profile: Option<&'a str>,
    /// NAMESRV_ADDR.
    pub environment: Option<&'a str>,
    /// `--timeout`.
    pub timeout: Option<&'a str>,
    /// `--format`.
    pub format: Option<Format>,
}

/// What a command goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `host:port` each.
    pub name_servers: Vec<String>,
    /// Who named them, for messages: `--namesrv`, `profile production`.
    pub origin: String,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// How to print.
    pub format: Format,
}

/// Why there is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read, or is not what it should be.
    #[error("{file}: {what}")]
    File {
        /// Its name.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// No such profile.
    #[error("there is no profile {name}{}{}", in_file(file), suggested(nearest))]
    Unknown {
        /// As it was named.
        name: String,
        /// Where it was looked for.
        file: String,
        /// What it resembles.
        nearest: Option<String>,
    },
    /// A value that means nothing.
    #[error("{origin}: {value:?} is not {expected}: {why}")]
    Value {
        /// Who said it.
        origin: String,
        /// What was said.
        value: String,
        /// What is wrong with it.
        why: String,
        /// What it should look like.
        expected: &'static str,
    },
}

fn in_file(file: &str) -> String {
    if file.is_empty() { ", and no file of profiles".to_owned() } else { format!(" in {file}") }
}

fn suggested(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

impl Profiles {
    /// Reads the user's file; no file is no profile.
    pub fn load() -> Result<Profiles, ProfileError> {
        let Some(path) = path() else { return Ok(Profiles::default()) };
        let file = path.display().to_string();
        match read(&path) {
            Ok(text) => Profiles::parse(file, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Profiles::default()),
            Err(error) => Err(ProfileError::File { file, what: error.to_string() }),
        }
    }

    fn parse(file: String, text: &str) -> Result<Profiles, ProfileError> {
        match toml::from_str(text) {
            Ok(content) => Ok(Profiles { file, content }),
            Err(error) => {
                let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
                let what = error.message().trim().to_owned();
                Err(ProfileError::File { file: format!("{file}:{line}"), what })
            }
        }
    }

    /// What a command goes by.
    pub fn target(&self, said: &Said<'_>) -> Result<Target, ProfileError> {
        let named = said.profile.or_else(|| {
            // NAMESRV_ADDR is nearer to whoever types than a default in a file.
            said.environment.is_none().then_some(self.content.default.as_deref()).flatten()
        });
        let profile = named.map(|name| self.profile(name)).transpose()?.cloned().unwrap_or_default();
        let of_profile = || format!("profile {}", named.unwrap_or_default());
        let (name_servers, origin) = match (said.namesrv, &profile.namesrv, said.environment) {
            (Some(said), _, _) => (said, "--namesrv".to_owned()),
            (None, Some(of_file), _) => (of_file.as_str(), of_profile()),
            (None, None, Some(said)) => (said, "NAMESRV_ADDR".to_owned()),
            (None, None, None) => (NAME_SERVER, "the default".to_owned()),
        };
        let HostPorts(name_servers) = value(name_servers, &origin)?;
        if name_servers.is_empty() {
            let (why, expected) = ("it is empty".to_owned(), HostPorts::EXPECTED);
            return Err(ProfileError::Value { origin, value: String::new(), why, expected });
        }
        let timeout = match (said.timeout, &profile.timeout) {
            (Some(said), _) => value(said, "--timeout")?,
            (None, Some(of_file)) => value(of_file, &of_profile())?,
            (None, None) => TIMEOUT,
        };
        let format = match (said.format, profile.format.as_deref()) {
            (Some(said), _) => said,
            (None, None | Some("text")) => Format::Text,
            (None, Some("json")) => Format::Json,
            (None, Some(other)) => {
                let (value, why) = (other.to_owned(), "there is no such format".to_owned());
                return Err(ProfileError::Value {
                    origin: of_profile(),
                    value,
                    why,
                    expected: "text or json",
                });
            }
        };
        Ok(Target { name_servers, origin, timeout, format })
    }

    fn profile(&self, name: &str) -> Result<&Profile, ProfileError> {
        self.content.profile.get(name).ok_or_else(|| ProfileError::Unknown {
            name: name.to_owned(),
            file: self.file.clone(),
            nearest: spelling::nearest(name, self.content.profile.keys().map(String::as_str))
                .map(str::to_owned),
        })
    }

    fn render(&self, format: Format) -> String {
        let rows = self.content.profile.iter().map(|(name, profile)| {
            let is_default = self.content.default.as_ref() == Some(name);
            (name, is_default, profile.namesrv.as_deref().unwrap_or(NAME_SERVER))
        });
        match format {
            Format::Text => {
                let columns =
                    [Column::Text("PROFILE"), Column::Text("DEFAULT"), Column::Text("NAME SERVERS")];
                let yes = |is_default| if is_default { "yes".to_owned() } else { String::new() };
                table::render(
                    &columns,
                    rows.map(|(name, is_default, namesrv)| {
                        vec![name.clone(), yes(is_default), namesrv.to_owned()]
                    }),
                )
            }
            Format::Json => {
                let row = |(name, is_default, namesrv)| json!({"profile": name, "default": is_default, "namesrv": namesrv});
                format!("{:#}\n", json!(rows.map(row).collect::<Vec<_>>()))
            }
        }
    }
}

fn value<T: Setting>(text: &str, origin: &str) -> Result<T, ProfileError> {
    T::parse(text).map_err(|why| ProfileError::Value {
        origin: origin.to_owned(),
        value: text.to_owned(),
        why,
        expected: T::EXPECTED,
    })
}

fn path() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(folder.join("ringmq/config.toml"))
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("{bytes} bytes exceed {FILE_BYTES_MAX}")));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles() -> Profiles {
        Profiles::parse("config.toml".to_owned(), EXAMPLE).expect("the example is valid")
    }

    #[test]
    fn what_is_nearer_to_whoever_types_wins() {
        let said = |namesrv, profile, environment| Said { namesrv, profile, environment, ..Said::default() };
        let (local, production) = ("127.0.0.1:9876", "10.0.0.1:9876 10.0.0.2:9876");
        for (said, name_servers, origin) in [
            (said(Some("a:1"), Some("production"), Some("b:2")), "a:1", "--namesrv"),
            (said(None, Some("production"), Some("b:2")), production, "profile production"),
            (said(None, None, Some("b:2;c:3")), "b:2 c:3", "NAMESRV_ADDR"),
            (said(None, None, None), local, "profile local"),
        ] {
            let target = profiles().target(&said).unwrap();
            assert_eq!(
                (target.name_servers.join(" ").as_str(), target.origin.as_str()),
                (name_servers, origin)
            );
        }
        let target = Profiles::default().target(&Said::default()).unwrap();
        assert_eq!((target.name_servers, target.origin.as_str()), (vec![local.to_owned()], "the default"));
    }

    #[test]
    fn a_profile_has_habits_and_flags_beat_them() {
        let of = |timeout, format| {
            let said = Said { profile: Some("production"), timeout, format, ..Said::default() };
            profiles().target(&said).map(|target| (target.timeout, target.format)).unwrap()
        };
        assert_eq!(of(None, None), (Duration::from_secs(10), Format::Json));
        assert_eq!(of(Some("2s"), Some(Format::Text)), (Duration::from_secs(2), Format::Text));
    }

    #[test]
    fn profiles_are_listed() {
        let rows = "PROFILE     DEFAULT  NAME SERVERS\n\
                    local       yes      127.0.0.1:9876\n\
                    production  -        10.0.0.1:9876;10.0.0.2:9876\n";
        assert_eq!(profiles().render(Format::Text), rows);
        let json: serde_json::Value = serde_json::from_str(&profiles().render(Format::Json)).unwrap();
        assert_eq!(
            json[1],
            json!({"profile": "production", "default": false, "namesrv": "10.0.0.1:9876;10.0.0.2:9876"})
        );
    }

    #[test]
    fn errors_say_where_and_what_to_type() {
        let parse = |text: &str| Profiles::parse("config.toml".to_owned(), text).unwrap_err().to_string();
        let unknown = parse("default = \"a\"\n[profile.a]\nnamsrv = \"x:1\"\n");
        assert!(unknown.starts_with("config.toml:3: unknown field `namsrv`"), "{unknown}");
        assert!(parse("[profile").starts_with("config.toml:1: "));
        let of = |said: Said<'_>| profiles().target(&said).unwrap_err().to_string();
        let named = |profile| Said { profile: Some(profile), ..Said::default() };
        assert_eq!(
            of(named("producton")),
            "there is no profile producton in config.toml; did you mean production?"
        );
        assert_eq!(of(named("x")), "there is no profile x in config.toml");
        let none = Profiles::default().target(&named("x")).unwrap_err().to_string();
        assert_eq!(none, "there is no profile x, and no file of profiles");
        let bad = of(Said { namesrv: Some("host"), ..Said::default() });
        assert!(bad.starts_with("--namesrv: \"host\" is not addresses such as"), "{bad}");
        let bad = of(Said { timeout: Some("3"), ..Said::default() });
        assert!(bad.starts_with("--timeout: \"3\" is not a time with its unit"), "{bad}");
    }
}
