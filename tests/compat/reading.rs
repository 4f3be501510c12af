//! What a consumer of an official client read, gathered and checked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringmq_tests::compat::client::Client;
use serde_json::Value;

/// How long anything may take that a client does by its own timers: the Java client's shutdown alone waits
/// up to 90 s for a thread of its own.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// After the last expected message, so long is waited for one too many.
const QUIET: Duration = Duration::from_millis(700);

/// Waits until the order `id` has reported `count` messages, and then for one too many.
pub fn read_exactly(client: &mut Client, id: &str, count: usize) -> Vec<Value> {
    let mut messages = read_at_least(client, id, count);
    messages.extend(late(client, id));
    assert_eq!(messages.len(), count, "{} read by {id}: {:?}", client.kind().label(), keys(&messages));
    messages
}

/// Waits until the order `id` has reported messages of all these keys, and then for more.
pub fn read_all(client: &mut Client, id: &str, expected: &[&str]) -> Vec<Value> {
    let mut messages = Vec::new();
    while !expected.iter().all(|key| keys(&messages).contains(key)) {
        messages.extend(read_at_least(client, id, 1));
    }
    messages.extend(late(client, id));
    messages
}

/// Messages that nobody waits for.
fn late(client: &mut Client, id: &str) -> Vec<Value> {
    let quiet_end = Instant::now() + QUIET;
    let mut messages = Vec::new();
    while let Some(event) = client.next(id, quiet_end) {
        if event["event"] == "message" {
            messages.push(event);
        }
    }
    messages
}

/// Waits until the order `id` has reported `count` messages.
pub fn read_at_least(client: &mut Client, id: &str, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    let mut messages = Vec::new();
    while messages.len() < count {
        match client.next(id, deadline) {
            Some(event) if event["event"] == "message" => messages.push(event),
            Some(_) => {}
            None => {
                let read = keys(&messages);
                client.process().fail(&format!("{id} read only {} of {count}: {read:?}", messages.len()))
            }
        }
    }
    messages
}

/// The sorted keys of messages or of sends.
pub fn keys(events: &[Value]) -> Vec<&str> {
    let mut keys: Vec<&str> = events.iter().map(|event| text(event, "keys")).collect();
    keys.sort_unstable();
    keys
}

/// The events called `name`.
pub fn only(events: Vec<Value>, name: &str) -> Vec<Value> {
    events.into_iter().filter(|event| event["event"] == name).collect()
}

/// A text of an event; empty if absent.
pub fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    event[name].as_str().unwrap_or("")
}

/// A number of an event.
pub fn number(event: &Value, name: &str) -> i64 {
    event[name].as_i64().unwrap_or_else(|| panic!("no number {name} in {event}"))
}

/// Messages by queue, in the order read.
pub fn by_queue(messages: &[Value]) -> BTreeMap<(String, i64), Vec<&Value>> {
    let mut queues: BTreeMap<_, Vec<&Value>> = BTreeMap::new();
    for message in messages {
        let queue = (text(message, "broker").to_string(), number(message, "queueId"));
        queues.entry(queue).or_default().push(message);
    }
    queues
}

/// Checks that each queue's offsets are dense from 0, and that each sender's messages lie in it in the
/// order in which they were sent: keys are `<sender>-<running number>`.
pub fn assert_queue_order(messages: &[Value]) {
    for (queue, mut messages) in by_queue(messages) {
        messages.sort_by_key(|message| number(message, "queueOffset"));
        let mut last = BTreeMap::new();
        for (offset, message) in messages.into_iter().enumerate() {
            assert_eq!(
                number(message, "queueOffset"),
                offset as i64,
                "offsets of {queue:?} are dense: {message}"
            );
            let (sender, index) = text(message, "keys").rsplit_once('-').expect("a key ends with an index");
            let index: i64 = index.parse().expect("an index is a number");
            let before = last.insert(sender.to_string(), index);
            assert!(
                before.is_none_or(|before| before < index),
                "{sender} in {queue:?}: {index} after {before:?}"
            );
        }
    }
}
