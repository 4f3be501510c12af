//! `ringmq group`: list, describe, create, reset-offset, delete.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;
use ringmq_client::admin::{GroupDescription, GroupQueue, MemberDescription, NewGroup, OffsetReset, ResetTo};
use ringmq_wire::name::is_system_group;
use serde::Serialize;

use super::listing::{List, Listed};
use super::remote::{self, Answer, Connection, Failure, Session};
use super::sure::{Done, Sure};
use super::table::{self, Column};
use super::time;

/// What can be asked about groups of consumers.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups.
    #[command(visible_alias = "ls", after_help = "Example:\n  ringmq group list")]
    List {
        /// The system's own groups too.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show a group: its members, subscriptions, and how far behind it is.
    #[command(after_help = "\
Examples:
  ringmq group describe billing
  ringmq group describe billing --format json | jq .lag")]
    Describe {
        /// The group.
        group: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Create a group; its first consumer does so too.
    #[command(after_help = "Example:\n  ringmq group create billing --retries 5")]
    Create {
        /// The group.
        group: String,
        /// How often a message is tried again before it becomes a dead letter [default: 16].
        #[arg(long, value_name = "N")]
        retries: Option<u16>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Set where a group goes on in a topic.
    #[command(after_help = "\
Stop the group's consumers first: a broker that cannot tell them refuses.

Examples:
  ringmq group reset-offset billing --topic orders --to first
  ringmq group reset-offset billing --topic orders --to -1h --yes
  ringmq group reset-offset billing --topic orders --to 2026-11-24T15:00:00Z
  ringmq group reset-offset billing --topic orders --to offset:1000")]
    ResetOffset {
        /// The group.
        group: String,
        /// The topic.
        #[arg(long, short)]
        topic: String,
        /// Where to: first, last, a time, or offset:N in every queue.
        #[arg(long, value_name = "first|last|TIME|offset:N", allow_hyphen_values = true)]
        to: String,
        #[command(flatten)]
        sure: Sure,
        #[command(flatten)]
        connection: Connection,
    },
    /// Delete a group and its offsets.
    #[command(after_help = "Example:\n  ringmq group delete billing --yes")]
    Delete {
        /// The group.
        group: String,
        #[command(flatten)]
        sure: Sure,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Does it.
pub fn run(command: &GroupCommand) -> ExitCode {
    match command {
        GroupCommand::List { all, connection } => remote::run(connection, async |session: &Session| {
            let groups = session.admin.groups().await?.into_iter();
            let groups = groups.map(|name| Listed { system: is_system_group(&name), name });
            Ok(List(groups.filter(|group| *all || !group.system).collect()))
        }),
        GroupCommand::Describe { group, connection } => {
            remote::run(connection, async |session: &Session| describe(session, group).await)
        }
        GroupCommand::Create { group, retries, connection } => {
            remote::run(connection, async |session: &Session| {
                let mut new = NewGroup::new(group);
                if let Some(retries) = retries {
                    new = new.retries(*retries);
                }
                session.admin.create_group(&new).await?;
                describe(session, group).await
            })
        }
        GroupCommand::ResetOffset { group, topic, to, sure, connection } => {
            remote::run(connection, async |session: &Session| {
                let wanted = place(to, SystemTime::now())?;
                session.admin.topic(topic).await?;
                sure.ask(&format!("set group {group} to {to} in topic {topic}"))?;
                let resets = session.admin.reset_offset(group, topic, wanted).await?;
                Ok(Resets(resets.into_iter().map(Reset::from).collect()))
            })
        }
        GroupCommand::Delete { group, sure, connection } => {
            remote::run(connection, async |session: &Session| {
                // A name that is wrong is told before anybody is asked whether they are sure.
                session.admin.group(group).await?;
                sure.ask(&format!("delete group {group} and its offsets"))?;
                session.admin.delete_group(group).await?;
                Ok(Done::new("deleted", "group", group))
            })
        }
    }
}

/// Where to set a group.
fn place(text: &str, now: SystemTime) -> Result<ResetTo, Failure> {
    let offset = text.strip_prefix("offset:").map(|offset| offset.parse::<i64>());
    match (text, offset) {
        ("first", _) => Ok(ResetTo::First),
        ("last", _) => Ok(ResetTo::End),
        (_, Some(Ok(offset))) if offset >= 0 => Ok(ResetTo::Offset(offset)),
        (_, Some(_)) => {
            Err(Failure::misused(format!("{text:?} is no offset"), "Write offset:1000, for instance."))
        }
        (_, None) => time::parse(text, now)
            .map(ResetTo::Time)
            .map_err(|error| Failure::misused(format!("--to {error}"), "Or write first, last, or offset:N.")),
    }
}

async fn describe(session: &Session, group: &str) -> Result<Description, Failure> {
    Ok(session.admin.group(group).await?.into())
}

#[derive(Debug, Serialize)]
struct Description {
    group: String,
    retries: Option<u32>,
    broadcast: bool,
    lag: i64,
    members: Vec<Member>,
    subscriptions: BTreeMap<String, String>,
    queues: Vec<QueueRow>,
}

#[derive(Debug, Serialize)]
struct Member {
    client: String,
    address: String,
    language: String,
    version: i32,
}

#[derive(Debug, Serialize)]
struct QueueRow {
    topic: String,
    broker: String,
    queue: i32,
    offset: i64,
    end: i64,
    lag: i64,
    last_consumed_stored: Option<String>,
}

impl From<GroupDescription> for Description {
    fn from(group: GroupDescription) -> Description {
        Description {
            lag: group.lag(),
            group: group.name,
            retries: group.retries,
            broadcast: group.broadcast,
            members: group.members.into_iter().map(Member::from).collect(),
            subscriptions: group.subscriptions,
            queues: group.queues.into_iter().map(QueueRow::from).collect(),
        }
    }
}

impl From<MemberDescription> for Member {
    fn from(member: MemberDescription) -> Member {
        let MemberDescription { client_id: client, address, language, version } = member;
        Member { client, address, language, version }
    }
}

impl From<GroupQueue> for QueueRow {
    fn from(queue: GroupQueue) -> QueueRow {
        QueueRow {
            lag: queue.lag(),
            topic: queue.queue.topic().to_owned(),
            broker: queue.queue.broker().to_owned(),
            queue: queue.queue.id(),
            offset: queue.offset,
            end: queue.end,
            last_consumed_stored: queue.last_consumed_stored_at.map(time::show),
        }
    }
}

impl Answer for Description {
    fn text(&self) -> String {
        let how = if self.broadcast { "broadcasting" } else { "clustering" };
        let mut text = format!("group {}: {how}, {} behind\n", self.group, self.lag);
        for (topic, expression) in &self.subscriptions {
            text.push_str(&format!("subscribes to {topic}: {expression}\n"));
        }
        let columns = [
            Column::Text("MEMBER"),
            Column::Text("ADDRESS"),
            Column::Text("LANGUAGE"),
            Column::Number("VERSION"),
        ];
        let members = self.members.iter().map(|member| {
            vec![
                member.client.clone(),
                member.address.clone(),
                member.language.clone(),
                member.version.to_string(),
            ]
        });
        text.push('\n');
        if self.members.is_empty() {
            text.push_str("nobody consumes now\n");
        } else {
            text.push_str(&table::render(&columns, members));
        }
        let columns = [
            Column::Text("TOPIC"),
            Column::Text("BROKER"),
            Column::Number("QUEUE"),
            Column::Number("OFFSET"),
            Column::Number("END"),
            Column::Number("LAG"),
            Column::Text("LAST CONSUMED WAS STORED"),
        ];
        let rows = self.queues.iter().map(|row| {
            let numbers =
                [i64::from(row.queue), row.offset, row.end, row.lag].map(|number| number.to_string());
            let names = [row.topic.clone(), row.broker.clone()];
            names
                .into_iter()
                .chain(numbers)
                .chain([row.last_consumed_stored.clone().unwrap_or_default()])
                .collect()
        });
        text.push('\n');
        text.push_str(&table::render(&columns, rows));
        text
    }
}

#[derive(Debug, Serialize)]
struct Reset {
    broker: String,
    queue: i32,
    from: Option<i64>,
    to: i64,
}

#[derive(Debug, Serialize)]
struct Resets(Vec<Reset>);

impl From<OffsetReset> for Reset {
    fn from(reset: OffsetReset) -> Reset {
        let (broker, queue) = (reset.queue.broker().to_owned(), reset.queue.id());
        Reset { broker, queue, from: reset.from, to: reset.to }
    }
}

impl Answer for Resets {
    fn text(&self) -> String {
        let columns =
            [Column::Text("BROKER"), Column::Number("QUEUE"), Column::Number("FROM"), Column::Number("TO")];
        let rows = self.0.iter().map(|reset| {
            let from = reset.from.map_or_else(String::new, |from| from.to_string());
            vec![reset.broker.clone(), reset.queue.to_string(), from, reset.to.to_string()]
        });
        table::render(&columns, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::golden;
    use ringmq_client::Queue;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_group_is_set_to_a_named_place_a_time_or_an_offset() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (text, expected) in [
            ("first", ResetTo::First),
            ("last", ResetTo::End),
            ("offset:17", ResetTo::Offset(17)),
            ("-1h", ResetTo::Time(now - Duration::from_secs(3600))),
            ("1700000000000", ResetTo::Time(now)),
        ] {
            assert_eq!(place(text, now), Ok(expected), "{text}");
        }
        for text in ["frist", "offset:-1", "offset:x", ""] {
            assert!(place(text, now).is_err(), "{text}");
        }
    }

    fn description() -> Description {
        let queue = |id, offset, last_consumed_stored_at| GroupQueue {
            queue: Queue::new("orders", "node-0", id),
            offset,
            end: 20,
            last_consumed_stored_at,
        };
        let stored = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        GroupDescription {
            name: "billing".to_owned(),
            retries: Some(16),
            broadcast: false,
            members: vec![MemberDescription {
                client_id: "10.0.0.9@1".to_owned(),
                address: "10.0.0.9:4711".to_owned(),
                language: "JAVA".to_owned(),
                version: 493,
            }],
            subscriptions: [("orders".to_owned(), "A || B".to_owned())].into(),
            queues: vec![queue(0, 20, Some(stored)), queue(1, 3, None)],
        }
        .into()
    }

    #[test]
    fn a_group_is_described_for_people_and_for_programs() {
        golden::answer("group-describe-text", &description().text());
        golden::answer("group-describe-json", &serde_json::to_string(&description()).unwrap());
        let idle = Description { members: Vec::new(), queues: Vec::new(), ..description() };
        assert!(idle.text().contains("\nnobody consumes now\n"), "{}", idle.text());
    }

    #[test]
    fn a_reset_shows_what_was_and_what_is() {
        let reset = |from| OffsetReset { queue: Queue::new("orders", "node-0", 3), from, to: 0 };
        let resets = Resets([Some(12), None].map(|from| Reset::from(reset(from))).into());
        assert_eq!(
            resets.text(),
            "BROKER  QUEUE  FROM  TO\nnode-0      3    12   0\nnode-0      3     -   0\n"
        );
    }
}
