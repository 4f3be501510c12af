//! `ringmq message`: single messages, by key or by id; and how a message is shown, here and by `tail`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Subcommand, ValueEnum};
use ringmq_client::admin::KeyQuery;
use ringmq_client::{Error, StoredMessage};
use serde::Serialize;

use super::exit::Exit;
use super::remote::{self, Answer, Connection, Failure, Session};
use super::time;

/// Which messages.
#[derive(Debug, Subcommand)]
pub enum MessageCommand {
    /// Find messages by a key that their producer gave them.
    #[command(after_help = "\
Examples:
  ringmq message by-key orders order-17
  ringmq message by-key orders order-17 --since -1d --max 100 --format json")]
    ByKey {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// Most messages, per broker.
        #[arg(long, value_name = "N", default_value_t = 32)]
        max: u32,
        /// Stored at this time or later.
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        since: Option<String>,
        /// Stored at this time or earlier.
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        until: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Find a message by the id that its producer printed, or that of its place.
    #[command(after_help = "Example:\n  ringmq message by-id orders 7F0000010A3E2A9F000000000000002B")]
    ById {
        /// The topic.
        topic: String,
        /// The id.
        id: String,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Does it.
pub fn run(command: &MessageCommand) -> ExitCode {
    match command {
        MessageCommand::ByKey { topic, key, max, since, until, connection } => {
            remote::run(connection, async |session: &Session| {
                let now = SystemTime::now();
                let at = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
                let mut query = KeyQuery::new(topic, key).max(*max);
                if let Some(since) = at(since)? {
                    query = query.from(since);
                }
                if let Some(until) = at(until)? {
                    query = query.to(until);
                }
                let found = session.admin.messages_by_key(&query).await?;
                if found.is_empty() {
                    return Err(not_there(format!("no message of topic {topic} has the key {key}")));
                }
                Ok(Messages(found.iter().map(Shown::from).collect()))
            })
        }
        MessageCommand::ById { topic, id, connection } => {
            remote::run(connection, async |session: &Session| match find(session, topic, id).await? {
                Some(message) => Ok(Messages(vec![Shown::from(&message)])),
                None => Err(not_there(format!("topic {topic} has no message {id}"))),
            })
        }
    }
}

/// Both kinds of id have 32 hex digits as a rule. One of a place names a broker that is there; nothing is lost by
/// looking there first.
async fn find(session: &Session, topic: &str, id: &str) -> Result<Option<StoredMessage>, Failure> {
    match session.admin.message_by_place(id).await {
        Ok(Some(message)) if message.topic() == topic => return Ok(Some(message)),
        Ok(_) | Err(Error::Invalid(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(session.admin.message_by_id(topic, id).await?)
}

fn moment(text: &str, now: SystemTime) -> Result<SystemTime, Failure> {
    time::parse(text, now).map_err(|error| Failure::misused(error, "`--help` has examples."))
}

fn not_there(problem: String) -> Failure {
    let remedy = "Retention may have removed it; `ringmq topic describe TOPIC` shows what is still there.";
    Failure::new(Exit::NotFound, "not-found", problem, remedy)
}

/// How messages are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// A line of where and what, then the body.
    Text,
    /// One JSON object a line.
    Json,
    /// As text, with the body as a hex dump.
    Hex,
}

/// A message as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    topic: String,
    broker: String,
    queue: i32,
    offset: i64,
    id: String,
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
    properties: BTreeMap<String, String>,
    born: String,
    stored: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_before: Option<u32>,
    #[serde(flatten)]
    body: Body,
}

/// A body: as text where it is text, so that it can be read, else in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
enum Body {
    #[serde(rename = "body")]
    Text(String),
    #[serde(rename = "body_hex")]
    Bytes(#[serde(serialize_with = "as_hex")] Vec<u8>),
}

fn as_hex<S: serde::Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

impl From<&StoredMessage> for Shown {
    fn from(message: &StoredMessage) -> Shown {
        let body = message.body().to_vec();
        let properties = message.properties().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Shown {
            topic: message.topic().to_owned(),
            broker: message.queue().broker().to_owned(),
            queue: message.queue().id(),
            offset: message.offset(),
            id: message.id(),
            place: message.place(),
            tag: message.tag().map(str::to_owned),
            keys: message.keys().map(str::to_owned).collect(),
            properties: properties.collect(),
            born: time::show(message.born_at()),
            stored: time::show(message.stored_at()),
            attempts_before: Some(message.attempts_before()).filter(|attempts| *attempts > 0),
            body: String::from_utf8(body).map_or_else(|error| Body::Bytes(error.into_bytes()), Body::Text),
        }
    }
}

impl Shown {
    /// Printed in that format; ends with a line's end.
    pub fn render(&self, format: MessageFormat) -> String {
        match format {
            MessageFormat::Json => format!("{}\n", serde_json::to_string(self).expect("plain data")),
            MessageFormat::Text => match &self.body {
                Body::Text(text) => {
                    format!("{}\n{}\n", self.heading(), printable(text.trim_end_matches('\n')))
                }
                Body::Bytes(bytes) => format!("{}\n{}", self.heading(), dump(bytes)),
            },
            MessageFormat::Hex => {
                let bytes = match &self.body {
                    Body::Text(text) => text.as_bytes(),
                    Body::Bytes(bytes) => bytes,
                };
                format!("{}\n{}", self.heading(), dump(bytes))
            }
        }
    }

    /// `2026-11-24T15:00:00.000Z orders@node-0:3 offset 17 tag A keys k1,k2 id …`
    fn heading(&self) -> String {
        let mut heading =
            format!("{} {}@{}:{} offset {}", self.stored, self.topic, self.broker, self.queue, self.offset);
        if let Some(tag) = &self.tag {
            heading.push_str(&format!(" tag {tag}"));
        }
        if !self.keys.is_empty() {
            heading.push_str(&format!(" keys {}", self.keys.join(",")));
        }
        heading.push_str(&format!(" id {}", self.id));
        printable(&heading)
    }

    /// Whether it has that key.
    pub fn has_key(&self, key: &str) -> bool {
        self.keys.iter().any(|own| own == key)
    }

    /// Whether the body, a key, the tag or a property's value contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        let in_body = match &self.body {
            Body::Text(body) => body.contains(text),
            Body::Bytes(bytes) => bytes.windows(text.len().max(1)).any(|part| part == text.as_bytes()),
        };
        in_body || self.properties.values().any(|value| value.contains(text))
    }
}

/// Without what would steer a terminal.
fn printable(text: &str) -> String {
    let steers = |letter: char| letter.is_control() && !['\n', '\t'].contains(&letter);
    if !text.contains(steers) {
        return text.to_owned();
    }
    text.chars().fold(String::new(), |mut out, letter| {
        if steers(letter) {
            out.extend(letter.escape_default())
        } else {
            out.push(letter)
        }
        out
    })
}

/// Sixteen bytes a line: where, in hex, and what can be printed of them.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let letters: String = bytes.iter().map(shown).collect();
        text.push_str(&format!("{:08x}  {:47}  {letters}\n", line * 16, hex.join(" ")));
    }
    text
}

#[derive(Debug, Serialize)]
struct Messages(Vec<Shown>);

impl Answer for Messages {
    fn text(&self) -> String {
        self.0.iter().map(|message| message.render(MessageFormat::Text)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::golden;

    /// A message with that body.
    pub fn shown(body: &[u8]) -> Shown {
        Shown {
            topic: "orders".to_owned(),
            broker: "node-0".to_owned(),
            queue: 3,
            offset: 17,
            id: "ID".to_owned(),
            place: "PLACE".to_owned(),
            tag: Some("created".to_owned()),
            keys: vec!["k1".to_owned(), "k2".to_owned()],
            properties: [("region".to_owned(), "north".to_owned())].into(),
            born: "2026-11-24T14:59:59.000Z".to_owned(),
            stored: "2026-11-24T15:00:00.000Z".to_owned(),
            attempts_before: None,
            body: String::from_utf8(body.to_vec())
                .map_or_else(|error| Body::Bytes(error.into_bytes()), Body::Text),
        }
    }

    #[test]
    fn a_message_is_a_heading_and_its_body() {
        let heading = "2026-11-24T15:00:00.000Z orders@node-0:3 offset 17 tag created keys k1,k2 id ID";
        assert_eq!(shown(b"four boxes").render(MessageFormat::Text), format!("{heading}\nfour boxes\n"));
        let hex = "00000000  66 6f 75 72 20 62 6f 78 65 73                    four boxes\n";
        assert_eq!(shown(b"four boxes").render(MessageFormat::Hex), format!("{heading}\n{hex}"));
        // What is no text is never sent to a terminal as it is.
        let bytes = "00000000  ff 1b                                            ..\n";
        assert_eq!(shown(b"\xff\x1b").render(MessageFormat::Text), format!("{heading}\n{bytes}"));
        let steering = shown(b"\x1b[2Jred").render(MessageFormat::Text);
        assert!(steering.ends_with("\n\\u{1b}[2Jred\n"), "{steering:?}");
        let plain = Shown { tag: None, keys: Vec::new(), ..shown(b"") };
        assert!(plain.render(MessageFormat::Text).contains("offset 17 id ID\n\n"));
    }

    #[test]
    fn a_message_is_searched_for_text() {
        let message = shown(b"four boxes");
        for (text, found) in [("boxes", true), ("north", true), ("south", false), ("", true)] {
            assert_eq!(message.contains(text), found, "{text:?}");
        }
        assert!(shown(b"\xffboxes").contains("boxes") && !shown(b"\xff").contains("boxes"));
    }

    #[test]
    fn a_message_is_a_line_of_json_and_a_body_that_is_no_text_is_hex() {
        let json = shown(b"four boxes").render(MessageFormat::Json);
        golden::answer("message-json", &json);
        assert_eq!(json.lines().count(), 1);
        assert!(shown(b"\xff\x00").render(MessageFormat::Json).contains(r#""body_hex":"ff00""#));
    }
}
