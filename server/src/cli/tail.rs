//! `ringmq tail`: a topic's messages as they come.
//!
//! Without a group, each queue is read by hand and nothing is kept: everybody sees everything. With a group, this is one
//! of its members: what is printed is acknowledged, and shared with the other members.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use ringmq_client::admin::Boundary;
use ringmq_client::consumer::Puller;
use ringmq_client::{Error, Filter, Queue, Start, StoredMessage};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;

use super::log_files::Format;
use super::message::{MessageFormat, Shown};
use super::remote::{self, Failure, Place, Session};
use super::time;

/// Whose name is on pulls by hand; RocketMQ's tools use it, and it keeps no offsets.
const GROUP: &str = "TOOLS_CONSUMER";
/// How long a broker holds a pull that finds nothing.
const WAIT: Duration = Duration::from_secs(15);
/// Messages of one pull.
const MESSAGES_PER_PULL: u32 = 32;
/// Messages that are read and not printed yet.
const UNPRINTED_MAX: usize = 16;
/// A queue that fails so often in a row is given up, a pause after each.
const FAILURES_MAX: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);
/// How long a member takes to leave its group.
const LEAVE: Duration = Duration::from_secs(3);

/// What to read.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with Ctrl-C, after --limit messages, or with --no-follow at what was there when it began.

Examples:
  ringmq tail orders                                   what comes from now on
  ringmq tail orders --from first --no-follow          what is there
  ringmq tail orders --from -10m --tag 'created || paid' --format json
  ringmq tail orders --group billing --limit 1         take one, as a member of the group")]
pub struct TailArgs {
    /// The topic.
    topic: String,
    /// Read as a member of this group: what is printed is acknowledged.
    #[arg(long, short)]
    group: Option<String>,
    /// Where to begin; with a group, only where it has no offset yet.
    #[arg(long, value_name = "first|last|TIME", default_value = "last", allow_hyphen_values = true)]
    from: String,
    /// Only messages with one of these tags.
    #[arg(long, value_name = "A || B", conflicts_with = "sql")]
    tag: Option<String>,
    /// Only messages whose properties satisfy this SQL92 condition.
    #[arg(long, value_name = "CONDITION")]
    sql: Option<String>,
    /// Only messages with this key.
    #[arg(long)]
    key: Option<String>,
    /// Only messages with this text in the body or in a property.
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// End after so many messages.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// End where the topic ended when the command began.
    #[arg(long, conflicts_with = "group")]
    no_follow: bool,
    /// How to print messages [default: text].
    #[arg(long, value_enum)]
    format: Option<MessageFormat>,
    #[command(flatten)]
    place: Place,
}

/// Prints until it is to end.
pub fn run(args: &TailArgs) -> ExitCode {
    remote::run_printing(&args.place, None, async |session: &Session| {
        let format = args.format.unwrap_or(match session.target.format {
            Format::Text => MessageFormat::Text,
            Format::Json => MessageFormat::Json,
        });
        let mut chosen = Chosen { key: args.key.clone(), contains: args.contains.clone(), left: args.limit };
        let from = start(&args.from, SystemTime::now())?;
        let filter = match (&args.tag, &args.sql) {
            (Some(tags), _) => Filter::tags(tags),
            (None, Some(condition)) => Filter::sql(condition),
            (None, None) => Filter::all(),
        };
        if args.limit == Some(0) {
            return Ok(());
        }
        match &args.group {
            Some(group) => as_member(session, args, group, from, filter, &mut chosen, format).await,
            None => by_hand(session, args, from, filter, &mut chosen, format).await,
        }
    })
}

fn start(text: &str, now: SystemTime) -> Result<Start, Failure> {
    match text {
        "first" => Ok(Start::First),
        "last" => Ok(Start::Last),
        _ => time::parse(text, now)
            .map(Start::Timestamp)
            .map_err(|error| Failure::misused(format!("--from {error}"), "Or write first or last.")),
    }
}

/// Which messages are printed, of those that the broker chose.
#[derive(Debug)]
struct Chosen {
    key: Option<String>,
    contains: Option<String>,
    /// How many more; `None` has no end.
    left: Option<u64>,
}

impl Chosen {
    /// Whether it is printed; it counts then.
    fn takes(&mut self, message: &Shown) -> bool {
        let wanted = self.key.as_ref().is_none_or(|key| message.has_key(key))
            && self.contains.as_ref().is_none_or(|text| message.contains(text));
        if wanted && let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        wanted
    }

    fn is_done(&self) -> bool {
        self.left == Some(0)
    }
}

async fn as_member(
    session: &Session,
    args: &TailArgs,
    group: &str,
    from: Start,
    filter: Filter,
    chosen: &mut Chosen,
    format: MessageFormat,
) -> Result<(), Failure> {
    // A name that is wrong would be waited for.
    session.admin.topic(&args.topic).await?;
    let consumer = session.client.consumer(group).subscribe(&args.topic, filter).from(from);
    let mut messages = consumer.stream().await?;
    let mut printed = Ok(());
    while printed.is_ok() && !chosen.is_done() {
        let next = tokio::select! {
            next = messages.next() => next,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(delivery) = next else { break };
        let shown = Shown::from(&*delivery);
        if chosen.takes(&shown) {
            printed = remote::print_line(&shown.render(format));
        }
        if printed.is_ok() {
            delivery.ack();
        }
    }
    messages.close(LEAVE).await;
    printed
}

async fn by_hand(
    session: &Session,
    args: &TailArgs,
    from: Start,
    filter: Filter,
    chosen: &mut Chosen,
    format: MessageFormat,
) -> Result<(), Failure> {
    let puller = session.client.puller(GROUP)?;
    let boundary = match from {
        Start::First => Boundary::First,
        Start::Last => Boundary::End,
        Start::Timestamp(time) => Boundary::At(time),
    };
    let (sender, mut messages) = channel(UNPRINTED_MAX);
    let mut readers = JoinSet::new();
    for queue in puller.queues(&args.topic).await? {
        let offset = session.admin.offset(&queue, boundary).await?;
        let end = match args.no_follow {
            true => Some(session.admin.offset(&queue, Boundary::End).await?),
            false => None,
        };
        let reader = Reader { puller: puller.clone(), queue, filter: filter.clone(), offset, end };
        readers.spawn(reader.read(sender.clone()));
    }
    drop(sender);
    while let Some(message) = messages.recv().await {
        let shown = Shown::from(&message?);
        if chosen.takes(&shown) {
            remote::print_line(&shown.render(format))?;
        }
        if chosen.is_done() {
            break;
        }
    }
    Ok(())
}

/// Who reads one queue.
struct Reader {
    puller: Puller,
    queue: Queue,
    filter: Filter,
    /// What is pulled next.
    offset: i64,
    /// Where to end.
    end: Option<i64>,
}

impl Reader {
    /// Reads until the end, or until nobody takes messages any more; a broker that comes back is read on from.
    async fn read(mut self, messages: Sender<Result<StoredMessage, Error>>) {
        let mut failures = 0;
        while self.end.is_none_or(|end| self.offset < end) {
            let wait = if self.end.is_some() { Duration::ZERO } else { WAIT };
            match self.puller.pull(&self.queue, self.offset, &self.filter, MESSAGES_PER_PULL, wait).await {
                Ok(pulled) => {
                    failures = 0;
                    let is_stuck = self.end.is_some() && pulled.next <= self.offset;
                    for message in pulled.messages {
                        let is_past = self.end.is_some_and(|end| message.offset() >= end);
                        if is_past || messages.send(Ok(message)).await.is_err() {
                            return;
                        }
                    }
                    self.offset = pulled.next;
                    if is_stuck {
                        return;
                    }
                }
                Err(error) if error.is_retryable() && failures < FAILURES_MAX => {
                    if failures == 0 {
                        eprintln!("note: {} is read on when it answers: {error}", self.queue);
                    }
                    failures += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    let _ = messages.send(Err(error)).await;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::message::tests::shown;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_tail_begins_at_a_named_place_or_a_time() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(start("first", now), Ok(Start::First));
        assert_eq!(start("last", now), Ok(Start::Last));
        assert_eq!(start("-10s", now), Ok(Start::Timestamp(now - Duration::from_secs(10))));
        assert!(start("begin", now).is_err());
    }

    #[test]
    fn only_what_is_printed_counts() {
        let (boxes, bags) = (shown(b"four boxes"), shown(b"two bags"));
        let of = |key: Option<&str>, contains: Option<&str>, left| Chosen {
            key: key.map(str::to_owned),
            contains: contains.map(str::to_owned),
            left,
        };
        let mut chosen = of(None, Some("boxes"), Some(1));
        assert!(!chosen.takes(&bags) && !chosen.is_done());
        assert!(chosen.takes(&boxes) && chosen.is_done());
        assert!(of(Some("k1"), None, None).takes(&boxes) && !of(Some("k3"), None, None).takes(&boxes));
        assert!(of(None, None, None).takes(&bags) && !of(None, None, None).is_done());
    }
}
