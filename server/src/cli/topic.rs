//! `ringmq topic`: create, list, describe, alter, delete.
//!
//! Where a new topic's queues go is decided here ([`place`], pure): brokers know only their own part.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use ringmq_client::Error;
use ringmq_client::admin::{
    ClusterDescription, NewTopic, Permission, QueueState, TopicChange, TopicDescription,
};
use ringmq_wire::name::{DEAD_LETTER_PREFIX, RETRY_PREFIX, is_system_topic};
use ringmq_wire::record::tag::hash_code;
use serde::Serialize;

use super::exit::Exit;
use super::listing::{List, Listed};
use super::remote::{self, Answer, Connection, Failure, Session};
use super::sure::{self, Sure};
use super::table::{self, Column};
use super::time;

/// Queues of a topic unless said otherwise.
const QUEUES: u32 = 8;
/// A broker gets no less than this before another one is used: clients of a small topic then keep few connections.
const QUEUES_PER_BROKER_MIN: u32 = 4;

/// What can be asked about topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create a topic.
    #[command(after_help = "\
Queues are spread over as few brokers as hold four each; a topic of one queue is one broker's, and in global order.

Examples:
  ringmq topic create orders
  ringmq topic create orders --queues 32
  ringmq topic create audit --queues 1
  ringmq topic create orders --brokers node-0,node-1 --perm rw --attribute message.type=NORMAL")]
    Create(Create),
    /// List topics.
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  ringmq topic list\n  ringmq topic list --all --format json"
    )]
    List {
        /// The system's own topics too.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show a topic: its brokers, queues, and who consumes it.
    #[command(after_help = "Example:\n  ringmq topic describe orders")]
    Describe {
        /// The topic.
        topic: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Change a topic on every broker that has it.
    #[command(after_help = "\
Examples:
  ringmq topic alter orders --perm r                 nothing new comes in
  ringmq topic alter orders --queues-per-broker 16")]
    Alter {
        /// The topic.
        topic: String,
        /// Queues on each broker that has it.
        #[arg(long, value_name = "N", required_unless_present = "perm")]
        queues_per_broker: Option<u32>,
        /// Who may use it: rw, r (consumers only), w (producers only).
        #[arg(long)]
        perm: Option<Perm>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Delete a topic with all its messages.
    #[command(after_help = "Example:\n  ringmq topic delete orders --yes")]
    Delete {
        /// The topic.
        topic: String,
        #[command(flatten)]
        sure: Sure,
        #[command(flatten)]
        connection: Connection,
    },
}

/// A topic to be made.
#[derive(Debug, Args)]
pub struct Create {
    /// The topic.
    topic: String,
    /// Queues, on all brokers together [default: 8].
    #[arg(long, value_name = "N")]
    queues: Option<u32>,
    /// Queues on each broker of the cluster, as `mqadmin updateTopic -w` means it.
    #[arg(long, value_name = "N", conflicts_with = "queues")]
    queues_per_broker: Option<u32>,
    /// Only on these brokers, separated by commas [default: chosen by the number of queues].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    brokers: Vec<String>,
    /// Only on brokers of this cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Who may use it: rw, r (consumers only), w (producers only).
    #[arg(long, default_value = "rw")]
    perm: Perm,
    /// Mark it as an order topic.
    #[arg(long)]
    ordered: bool,
    /// An attribute, such as message.type=FIFO; may be repeated.
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// Change it if it is there, as `mqadmin updateTopic` does.
    #[arg(long, hide = true)]
    or_change: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Who may use a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Perm {
    /// Producers and consumers.
    #[value(alias = "6", alias = "wr")]
    Rw,
    /// Consumers only.
    #[value(alias = "4")]
    R,
    /// Producers only.
    #[value(alias = "2")]
    W,
}

impl From<Perm> for Permission {
    fn from(perm: Perm) -> Permission {
        match perm {
            Perm::Rw => Permission::ReadWrite,
            Perm::R => Permission::Read,
            Perm::W => Permission::Write,
        }
    }
}

/// Does it.
pub fn run(command: &TopicCommand) -> ExitCode {
    match command {
        TopicCommand::Create(create) => {
            remote::run(&create.connection, async |session: &Session| create_topic(create, session).await)
        }
        TopicCommand::List { all, connection } => remote::run(connection, async |session: &Session| {
            let cluster = session.admin.brokers().await?;
            let topics = session.admin.topics().await?.into_iter();
            let topics = topics.map(|name| Listed { system: is_own(&name, &cluster), name });
            Ok(List(topics.filter(|topic| *all || !topic.system).collect()))
        }),
        TopicCommand::Describe { topic, connection } => {
            remote::run(connection, async |session: &Session| describe(session, topic).await)
        }
        TopicCommand::Alter { topic, queues_per_broker, perm, connection } => {
            remote::run(connection, async |session: &Session| {
                let mut change = TopicChange::new();
                if let Some(queues) = queues_per_broker {
                    change = change.queues_per_broker(*queues);
                }
                if let Some(perm) = perm {
                    change = change.permission((*perm).into());
                }
                session.admin.alter_topic(topic, &change).await?;
                describe(session, topic).await
            })
        }
        TopicCommand::Delete { topic, sure, connection } => {
            remote::run(connection, async |session: &Session| {
                // A name that is wrong is told before anybody is asked whether they are sure.
                session.admin.topic(topic).await?;
                sure.ask(&format!("delete topic {topic} with all its messages"))?;
                session.admin.delete_topic(topic).await?;
                Ok(sure::Done::new("deleted", "topic", topic))
            })
        }
    }
}

/// Whether a topic was made by brokers for themselves: also under their own names, and for the retries of groups.
fn is_own(topic: &str, cluster: &ClusterDescription) -> bool {
    let of_cluster = topic.strip_suffix("_REPLY_TOPIC").unwrap_or(topic);
    is_system_topic(topic)
        || topic.starts_with(RETRY_PREFIX)
        || topic.starts_with(DEAD_LETTER_PREFIX)
        || cluster.brokers.iter().any(|broker| broker.name == topic || broker.cluster == of_cluster)
}

async fn create_topic(create: &Create, session: &Session) -> Result<Description, Failure> {
    let topic = &create.topic;
    match session.admin.topic(topic).await {
        Ok(_) if !create.or_change => {
            let problem = format!("topic {topic} exists already");
            let remedy =
                format!("`ringmq topic describe {topic}` shows it, `ringmq topic alter {topic}` changes it.");
            return Err(Failure::new(Exit::Refused, "exists", problem, remedy));
        }
        Ok(_) | Err(Error::NoRoute { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut new = NewTopic::new(topic).permission(create.perm.into());
    if create.ordered {
        new = new.ordered();
    }
    for attribute in &create.attributes {
        let Some((name, value)) = attribute.split_once('=') else {
            let problem = format!("{attribute:?} is no attribute");
            return Err(Failure::misused(problem, "Write --attribute NAME=VALUE."));
        };
        new = new.attribute(name, value);
    }
    if let Some(cluster) = &create.cluster {
        new = new.cluster(cluster);
    }
    new = match (create.queues_per_broker, &create.brokers[..]) {
        (Some(each), []) => new.queues_per_broker(each),
        (Some(each), brokers) => new.queues_per_broker(each).brokers(brokers),
        (None, []) => {
            let queues = create.queues.unwrap_or(QUEUES);
            let known = masters(&session.admin.cluster().await?, create.cluster.as_deref());
            let chosen = place(&known, queues, topic);
            // With no broker to choose from, the client says what is wrong.
            if chosen.is_empty() { new.queues(queues) } else { new.queues(queues).brokers(chosen) }
        }
        (None, brokers) => new.queues(create.queues.unwrap_or(QUEUES)).brokers(brokers),
    };
    session.admin.create_topic(&new).await?;
    describe(session, topic).await
}

/// Brokers that take writes and answer, by name.
fn masters(cluster: &ClusterDescription, only: Option<&str>) -> Vec<String> {
    let usable = cluster.brokers.iter().filter(|broker| broker.id == 0 && broker.error.is_none());
    usable
        .filter(|broker| only.is_none_or(|only| broker.cluster == only))
        .map(|broker| broker.name.clone())
        .collect()
}

/// The brokers that a topic of so many queues goes to: as few as give each of them four, in a row that begins at another
/// broker for another topic.
fn place(brokers: &[String], queues: u32, topic: &str) -> Vec<String> {
    let Ok(all) = u32::try_from(brokers.len()) else { return brokers.to_vec() };
    let wanted = queues.div_ceil(QUEUES_PER_BROKER_MIN).min(all) as usize;
    let start = hash_code(topic).unsigned_abs().checked_rem(all).unwrap_or(0) as usize;
    brokers.iter().cycle().skip(start).take(wanted).cloned().collect()
}

async fn describe(session: &Session, topic: &str) -> Result<Description, Failure> {
    let described = session.admin.topic(topic).await?;
    let groups = session.admin.groups_of_topic(topic).await?;
    Ok(Description::new(described, groups))
}

#[derive(Debug, Serialize)]
struct Description {
    topic: String,
    brokers: Vec<OnBroker>,
    queues: Vec<QueueRow>,
    groups: Vec<String>,
}

#[derive(Debug, Serialize)]
struct OnBroker {
    broker: String,
    address: String,
    write_queues: u32,
    read_queues: u32,
    perm: String,
    ordered: bool,
    attributes: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct QueueRow {
    broker: String,
    queue: i32,
    first: i64,
    end: i64,
    messages: i64,
    last_stored: Option<String>,
}

impl Description {
    fn new(topic: TopicDescription, groups: Vec<String>) -> Description {
        let brokers = topic.brokers.into_iter().map(|on| OnBroker {
            broker: on.broker,
            address: on.address,
            write_queues: on.write_queues,
            read_queues: on.read_queues,
            perm: perm(on.permission),
            ordered: on.ordered,
            attributes: on.attributes,
        });
        Description {
            topic: topic.name,
            brokers: brokers.collect(),
            queues: topic.queues.into_iter().map(QueueRow::from).collect(),
            groups,
        }
    }
}

impl From<QueueState> for QueueRow {
    fn from(state: QueueState) -> QueueRow {
        QueueRow {
            broker: state.queue.broker().to_owned(),
            queue: state.queue.id(),
            first: state.first,
            end: state.end,
            messages: (state.end - state.first).max(0),
            last_stored: state.last_stored_at.map(time::show),
        }
    }
}

/// 6 as `rw`; what is neither stays a number.
fn perm(number: i32) -> String {
    match number & 0b110 {
        0b110 => "rw".to_owned(),
        0b100 => "r".to_owned(),
        0b010 => "w".to_owned(),
        _ => number.to_string(),
    }
}

impl Answer for Description {
    fn text(&self) -> String {
        let queues: u32 = self.brokers.iter().map(|on| on.write_queues.max(on.read_queues)).sum();
        let messages: i64 = self.queues.iter().map(|queue| queue.messages).sum();
        let groups = if self.groups.is_empty() { "no group".to_owned() } else { self.groups.join(", ") };
        let columns = [
            Column::Text("BROKER"),
            Column::Text("ADDRESS"),
            Column::Number("WRITE"),
            Column::Number("READ"),
            Column::Text("PERM"),
            Column::Text("ATTRIBUTES"),
        ];
        let brokers = self.brokers.iter().map(|on| {
            let order = on.ordered.then(|| "ordered".to_owned());
            let attributes = on.attributes.iter().map(|(name, value)| format!("{name}={value}"));
            let attributes: Vec<String> = order.into_iter().chain(attributes).collect();
            let (write, read) = (on.write_queues.to_string(), on.read_queues.to_string());
            vec![on.broker.clone(), on.address.clone(), write, read, on.perm.clone(), attributes.join(" ")]
        });
        let brokers = table::render(&columns, brokers);
        let columns = [
            Column::Text("BROKER"),
            Column::Number("QUEUE"),
            Column::Number("FIRST"),
            Column::Number("END"),
            Column::Number("MESSAGES"),
            Column::Text("LAST STORED"),
        ];
        let rows = self.queues.iter().map(|row| {
            let numbers = [i64::from(row.queue), row.first, row.end, row.messages].map(|n| n.to_string());
            let last = row.last_stored.clone().unwrap_or_default();
            [row.broker.clone()].into_iter().chain(numbers).chain([last]).collect()
        });
        let rows = table::render(&columns, rows);
        format!(
            "topic {}: {}, {}, consumed by {groups}\n\n{brokers}\n{rows}",
            self.topic,
            table::count(queues.into(), "queue"),
            table::count(messages, "message"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::golden;
    use ringmq_client::Queue;
    use ringmq_client::admin::TopicOnBroker;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn small_topics_live_on_few_brokers_and_not_all_on_the_same() {
        let brokers: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        // "T".hashCode() = 84, a multiple of 4: the first broker begins.
        for (queues, expected) in [(1, "a"), (4, "a"), (5, "ab"), (8, "ab"), (12, "abc"), (64, "abcd")] {
            assert_eq!(place(&brokers, queues, "T").concat(), expected, "{queues}");
        }
        assert_eq!(place(&brokers, 8, "U").concat(), "bc");
        assert_eq!(place(&brokers, 8, "W").concat(), "da");
        assert_eq!(place(&[], 8, "T"), Vec::<String>::new());
        assert_eq!(place(&brokers[..1], u32::MAX, "T").concat(), "a");
    }

    fn description() -> Description {
        let on = |broker: &str| TopicOnBroker {
            broker: broker.to_owned(),
            address: "10.0.0.1:10911".to_owned(),
            write_queues: 1,
            read_queues: 1,
            permission: 6,
            ordered: broker == "b",
            attributes: [("message.type".to_owned(), "NORMAL".to_owned())].into(),
        };
        let state = |broker: &str, end, last_stored_at| QueueState {
            queue: Queue::new("orders", broker, 0),
            first: 2,
            end,
            last_stored_at,
        };
        let stored = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let queues = vec![state("a", 12, Some(stored)), state("b", 2, None)];
        let topic = TopicDescription { name: "orders".to_owned(), brokers: vec![on("a"), on("b")], queues };
        Description::new(topic, vec!["billing".to_owned(), "shipping".to_owned()])
    }

    #[test]
    fn a_topic_is_described_for_people_and_for_programs() {
        golden::answer("topic-describe-text", &description().text());
        golden::answer("topic-describe-json", &serde_json::to_string(&description()).unwrap());
    }

    #[test]
    fn permissions_are_letters() {
        assert_eq!([6, 4, 2, 7, 0].map(perm), ["rw", "r", "w", "rw", "0"]);
    }

    #[test]
    fn the_brokers_own_topics_are_told_from_others() {
        use ringmq_client::admin::BrokerDescription;
        let broker = BrokerDescription {
            cluster: "C".to_owned(),
            name: "node-0".to_owned(),
            id: 0,
            address: String::new(),
            runtime: Default::default(),
            error: None,
        };
        let cluster = ClusterDescription { name_servers: Vec::new(), brokers: vec![broker] };
        for topic in ["TBW102", "C", "node-0", "C_REPLY_TOPIC", "%RETRY%g", "%DLQ%g", "rmq_sys_x"] {
            assert!(is_own(topic, &cluster), "{topic}");
        }
        for topic in ["orders", "node-1", "my_REPLY_TOPIC"] {
            assert!(!is_own(topic, &cluster), "{topic}");
        }
    }

    #[test]
    fn topics_are_listed_a_line_each() {
        let listed = |name: &str| Listed { name: name.to_owned(), system: false };
        assert_eq!(List(vec![listed("a"), listed("b")]).text(), "a\nb\n");
    }
}
