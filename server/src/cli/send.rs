//! `ringmq send`: messages from the command line or from stdin. Done means stored.

use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;

use clap::Args;
use ringmq_client::{Message, Producer, Receipt};
use serde::Serialize;

use super::exit::Exit;
use super::log_files::Format;
use super::remote::{self, Failure, Place, Session};

/// Most bytes of one message; brokers take no more, whatever they are told.
const BODY_BYTES_MAX: u64 = 4 << 20;
/// The producer group of `ringmq send`.
const GROUP: &str = "ringmq_send";

/// What to send.
#[derive(Debug, Args)]
#[command(after_help = "\
Each message is acknowledged when it is stored. The first failure ends the command; what was acknowledged stays.

Examples:
  ringmq send orders 'four boxes'
  ringmq send orders --tag created --key order-17 --property region=north 'four boxes'
  ringmq send orders --ordered-by customer-4 < order.json
  ringmq send orders --lines < orders.ndjson        a message per line")]
pub struct SendArgs {
    /// The topic; brokers create it by its first message if they may.
    topic: String,
    /// The body [default: all of stdin].
    body: Option<String>,
    /// A message per line of stdin; empty lines are left out.
    #[arg(long, conflicts_with = "body")]
    lines: bool,
    /// The tag, by which consumers choose.
    #[arg(long)]
    tag: Option<String>,
    /// A key, by which `ringmq message by-key` finds it; may be repeated.
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// A property of your own; may be repeated.
    #[arg(long = "property", value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// Messages with the same one go to the same queue, in order.
    #[arg(long, value_name = "KEY")]
    ordered_by: Option<String>,
    /// How to print where messages are stored [default: text].
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    place: Place,
}

/// Sends.
pub fn run(args: &SendArgs) -> ExitCode {
    remote::run_printing(&args.place, args.format, async |session: &Session| {
        let producer = session.client.producer().group(GROUP).timeout(session.target.timeout).build()?;
        let send = async |body: Vec<u8>| {
            let receipt = producer_send(&producer, args.message(body)?).await?;
            remote::print_line(&receipt.render(session.target.format))
        };
        if args.lines {
            let mut stdin = std::io::stdin().lock();
            while let Some(line) = next_line(&mut stdin)? {
                if !line.is_empty() {
                    send(line).await?;
                }
            }
            return Ok(());
        }
        let body = match &args.body {
            Some(body) => body.clone().into_bytes(),
            None => all_of_stdin()?,
        };
        send(body).await
    })
}

async fn producer_send(producer: &Producer, message: Message) -> Result<Stored, Failure> {
    Ok(producer.send(message).await?.into())
}

impl SendArgs {
    fn message(&self, body: Vec<u8>) -> Result<Message, Failure> {
        let mut message = Message::builder(&self.topic);
        if let Some(tag) = &self.tag {
            message = message.tag(tag);
        }
        for key in &self.keys {
            message = message.key(key);
        }
        for property in &self.properties {
            let Some((name, value)) = property.split_once('=') else {
                return Err(Failure::misused(
                    format!("{property:?} is no property"),
                    "Write --property NAME=VALUE.",
                ));
            };
            message = message.property(name, value);
        }
        if let Some(key) = &self.ordered_by {
            message = message.ordered_by(key);
        }
        Ok(message.body(body))
    }
}

fn all_of_stdin() -> Result<Vec<u8>, Failure> {
    if std::io::stdin().is_terminal() {
        let remedy = "Write it behind the topic, or pipe it in: `echo hello | ringmq send TOPIC`.";
        return Err(Failure::misused("there is no body", remedy));
    }
    let mut body = Vec::new();
    std::io::stdin().lock().take(BODY_BYTES_MAX + 1).read_to_end(&mut body).map_err(|error| stdin(&error))?;
    if body.len() as u64 > BODY_BYTES_MAX { Err(too_long()) } else { Ok(body) }
}

/// The next line without its end, or none. A line longer than a message may be is refused, not gathered.
fn next_line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let read = input.take(BODY_BYTES_MAX + 2).read_until(b'\n', &mut line).map_err(|error| stdin(&error))?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.len() as u64 > BODY_BYTES_MAX {
        return Err(too_long());
    }
    Ok((read > 0).then_some(line))
}

fn stdin(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, "usage", format!("cannot read stdin: {error}"), "Check what is piped in.")
}

fn too_long() -> Failure {
    let problem = format!("a message may have {BODY_BYTES_MAX} bytes, and this one has more");
    Failure::misused(problem, "Send it in parts, or `--lines` for a message per line.")
}

/// Where a message is stored.
#[derive(Debug, Serialize)]
struct Stored {
    topic: String,
    broker: String,
    queue: i32,
    offset: i64,
    id: String,
    place: String,
}

impl From<Receipt> for Stored {
    fn from(receipt: Receipt) -> Stored {
        Stored {
            topic: receipt.queue.topic().to_owned(),
            broker: receipt.queue.broker().to_owned(),
            queue: receipt.queue.id(),
            offset: receipt.offset,
            id: receipt.id,
            place: receipt.place,
        }
    }
}

impl Stored {
    /// One line; as JSON an object a line, because there may be many.
    fn render(&self, format: Format) -> String {
        match format {
            Format::Json => serde_json::to_string(self).expect("plain data"),
            Format::Text => {
                let Stored { topic, broker, queue, offset, id, .. } = self;
                format!("stored {topic}@{broker}:{queue} offset {offset} id {id}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_and_a_line_beyond_the_bound_is_refused() {
        let mut input = &b"one\n\ntwo"[..];
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["one", "", "two"]);
        let longest = vec![b'x'; BODY_BYTES_MAX as usize];
        assert_eq!(next_line(&mut &longest[..]), Ok(Some(longest.clone())));
        let with_end = [&longest[..], b"\n"].concat();
        assert_eq!(next_line(&mut &with_end[..]), Ok(Some(longest.clone())));
        let longer = [&longest[..], b"x\n"].concat();
        assert_eq!(next_line(&mut &longer[..]), Err(too_long()));
    }

    #[test]
    fn a_receipt_is_one_line() {
        let stored = Stored {
            topic: "orders".to_owned(),
            broker: "node-0".to_owned(),
            queue: 3,
            offset: 17,
            id: "ID".to_owned(),
            place: "PLACE".to_owned(),
        };
        assert_eq!(stored.render(Format::Text), "stored orders@node-0:3 offset 17 id ID");
        assert_eq!(
            stored.render(Format::Json),
            r#"{"topic":"orders","broker":"node-0","queue":3,"offset":17,"id":"ID","place":"PLACE"}"#
        );
    }
}
