//! Data folders of earlier versions, kept as `tests/upgrade/<version>.tar.gz`: every later version opens each of them and
//! finds what was put in.
//!
//! A folder is one node of one shard with one sealed segment and one that is written to: topic [`TOPIC`], [`QUEUES`] queues,
//! [`RECORDS`] records by turns, and an offset of [`GROUP`] in each. The content follows from these constants, so nothing
//! else is kept beside the archive, and they never change.
//!
//! | archive | what is on disk |
//! |---|---|
//! | `0.1.0` | log 1, sidecars 1, which keep no keys |
//! | `0.1.0-keys` | log 1, sidecars 2; the records have keys |
//!
//! A version that changes what is on disk adds its own folder, made by it:
//!
//! ```text
//! cargo run --release -p ringmq-tests --bin upgrade_folder -- <version>
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::compat::build::root;
use crate::compat::process::run;
use crate::compat::ringmq::{Node, NodeSettings, binary};
use crate::compat::site::Folder;
use crate::load::remoting::Remoting;

const TOPIC: &str = "Upgraded";
const QUEUES: usize = 4;
const RECORDS: usize = 1200;
/// So long that the first segment is sealed, and so uniform that an archive of it is small.
const BODY_BYTES: usize = 8000;
const GROUP: &str = "upgrade";
const WINDOW: usize = 32;
const PATIENCE: Duration = Duration::from_secs(60);

/// The archives, oldest version first as far as names say.
pub fn archives() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("the folder of archives is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut archives: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|is| is == "gz")).collect();
    archives.sort();
    archives
}

/// Makes the archive of this version.
pub fn make(version: &str) -> PathBuf {
    let work = Folder::new("upgrade");
    let data = work.path.join("data");
    let node = Node::start(settings(&data));
    let mut remoting = Remoting::connect(&node.settings.shard_address(0)).expect("it listens");
    remoting.create_topic(TOPIC, QUEUES);
    send(&mut remoting);
    let group =
        json!({ "groupName": GROUP, "consumeEnable": true, "retryQueueNums": 1, "retryMaxTimes": 16 });
    let answer = remoting.ask(200, &json!({}), group.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer.code, 0, "creating {GROUP}: {}", answer.remark);
    for queue in 0..QUEUES {
        let fields = json!({
            "consumerGroup": GROUP, "topic": TOPIC, "queueId": queue.to_string(),
            "commitOffset": committed(queue).to_string(),
        });
        let answer = remoting.ask(15, &fields, b"").expect("an answer");
        assert_eq!(answer.code, 0, "committing an offset: {}", answer.remark);
    }
    node.process.terminate();
    let (status, lines) = node.process.finish(PATIENCE);
    assert!(status.success(), "{status}:\n{}", lines.join("\n"));
    let archive = folder().join(format!("{version}.tar.gz"));
    let mut tar = Command::new("tar");
    // Prepared space is zeros; it comes back as a hole.
    tar.args(["--sparse", "--owner=0", "--group=0", "--use-compress-program=gzip -9n", "-cf"]);
    run("tar", tar.arg(&archive).arg("-C").arg(&work.path).arg("data"), PATIENCE);
    archive
}

/// Unpacks an archive, checks it at rest, starts a node on it, and compares.
pub fn check(archive: &Path) {
    let work = Folder::new("upgrade");
    run("tar", Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&work.path), PATIENCE);
    let data = work.path.join("data");
    // Records, keys and facts of sidecars against their segments.
    run("ringmq log verify", Command::new(binary()).args(["log", "verify"]).arg(&data), PATIENCE);
    let node = Node::start(settings(&data));
    let mut remoting = Remoting::connect(&node.settings.shard_address(0)).expect("it listens");
    for queue in 0..QUEUES {
        check_queue(&mut remoting, queue);
        let fields = json!({ "consumerGroup": GROUP, "topic": TOPIC, "queueId": queue.to_string() });
        let answer = remoting.ask(14, &fields, b"").expect("an answer");
        assert_eq!(answer.code, 0, "the offset of queue {queue}: {}", answer.remark);
        assert_eq!(answer.fields["offset"], committed(queue).to_string(), "the offset of queue {queue}");
    }
    // It is written to like any other.
    let fields = Remoting::send_fields(TOPIC, 0);
    let answer = remoting.ask(310, &fields, b"one more").expect("an answer");
    let queue_offset = answer.fields["queueOffset"].clone();
    assert_eq!((answer.code, queue_offset), (0, Value::from((RECORDS / QUEUES).to_string())));
}

fn check_queue(remoting: &mut Remoting, queue: usize) {
    let mut next = 0;
    loop {
        let records = remoting.pull(TOPIC, queue, next as i64, 0).expect("a pull is answered");
        if records.is_empty() {
            break;
        }
        for record in records {
            assert_eq!(record.queue_offset, next as i64, "queue {queue}");
            assert!(record.body == body(next * QUEUES + queue), "queue {queue}, offset {next}: other bytes");
            next += 1;
        }
    }
    assert_eq!(next, RECORDS / QUEUES, "records of queue {queue}");
}

/// Sends the records in order: each queue gets every fourth.
fn send(remoting: &mut Remoting) {
    let mut open = HashMap::new();
    let mut sent = 0;
    while sent < RECORDS || !open.is_empty() {
        while sent < RECORDS && open.len() < WINDOW {
            let mut fields = Remoting::send_fields(TOPIC, sent % QUEUES);
            fields["i"] = format!("KEYS\x01all k{}\x02UNIQ_KEY\x01{sent:032X}\x02", sent % 10).into();
            let opaque = remoting.call(310, &fields, &body(sent));
            open.insert(opaque.expect("it is sent"), sent);
            sent += 1;
        }
        let answer = remoting.answer().expect("an answer");
        let number = open.remove(&answer.opaque).expect("each answer is to an open send");
        let offset = answer.fields["queueOffset"].clone();
        assert_eq!((answer.code, offset), (0, Value::from((number / QUEUES).to_string())), "record {number}");
    }
}

fn body(number: usize) -> Vec<u8> {
    let mut body = (number as u64).to_be_bytes().to_vec();
    body.resize(BODY_BYTES, b'.');
    body
}

fn committed(queue: usize) -> usize {
    100 + queue
}

fn settings(data: &Path) -> NodeSettings {
    let mut settings = NodeSettings::new(data, 1);
    settings.more.push("log.segment_bytes=8MiB".to_string());
    settings
}

fn folder() -> PathBuf {
    root().join("tests/upgrade")
}
