//! A damaged log: `ringmq log verify` finds it, `ringmq log repair` makes a copy without touching it, and a broker on the
//! copy serves everything that was not in the damaged frame.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringmq_engine::log::frame::{Frame, FrameKind, HEADER_BYTES, ItemKind};
use ringmq_engine::log::segment;
use ringmq_engine::salvage::LOST_BODY;
use ringmq_engine::sidecar;
use ringmq_tests::compat::process::Process;
use ringmq_tests::compat::ringmq::{Node, NodeSettings, binary};
use ringmq_tests::compat::site::Folder;
use ringmq_tests::compat::wire::await_that;
use ringmq_tests::load::remoting::{Record, Remoting};
use ringmq_tests::load::{QUEUES, TOPIC};

const PATIENCE: Duration = Duration::from_secs(60);
const SENDS: usize = 6000;
/// Sent without waiting for an answer.
const CHUNK: usize = 30;

/// The folder of a node that has ended, and what it had.
struct Ended {
    folder: Folder,
    settings: NodeSettings,
    records: Vec<Vec<Record>>,
}

/// Sends to a node with small segments, and ends it once the older ones have sidecars.
fn filled(name: &str, more: &[&str]) -> Ended {
    let folder = Folder::new(name);
    let mut settings = NodeSettings::new(&folder.path.join("data"), 1);
    settings.more.push("log.segment_bytes=8MiB".to_string());
    settings.more.extend(more.iter().map(|more| (*more).to_string()));
    let node = Node::start(settings.clone());
    let mut remoting = Remoting::connect(&settings.shard_address(0)).expect("it listens");
    remoting.create_topic(TOPIC, QUEUES);
    let shard = settings.data.join("shard-0");
    let mut sent = 0;
    // The active segment, too, is to have frames of several records, and others after them.
    while sent < SENDS || active(&shard).is_none_or(|segment| frames_of(&segment).len() < 5) {
        for number in sent..sent + CHUNK {
            let body = format!("{number} {}", "x".repeat(number * 31 % 16_000));
            let fields = Remoting::send_fields(TOPIC, number % QUEUES);
            remoting.call(310, &fields, body.as_bytes()).expect("it is sent");
        }
        for _ in 0..CHUNK {
            assert_eq!(remoting.answer().expect("an answer").code, 0);
        }
        sent += CHUNK;
        assert!(sent < 2 * SENDS, "a segment is filled by less");
    }
    await_that("sidecars", PATIENCE, || {
        let [segments, sidecars] = [segments(&shard).len(), sidecars(&shard).len()];
        (sidecars > 1 && segments <= sidecars + 2).then_some(())
    });
    let records = read_all(&settings);
    node.process.terminate();
    let (status, lines) = node.process.finish(PATIENCE);
    assert!(status.success(), "{lines:?}");
    Ended { folder, settings, records }
}

fn named(shard: &Path, base_of: fn(&str) -> Option<u64>) -> Vec<PathBuf> {
    let entries = fs::read_dir(shard).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = entries
        .filter(|path| path.file_name().and_then(|name| name.to_str()).and_then(base_of).is_some())
        .collect();
    paths.sort();
    paths
}

fn segments(shard: &Path) -> Vec<PathBuf> {
    named(shard, segment::base_of)
}

fn sidecars(shard: &Path) -> Vec<PathBuf> {
    named(shard, sidecar::base_of)
}

/// Each queue from its beginning to its end.
fn read_all(settings: &NodeSettings) -> Vec<Vec<Record>> {
    let mut remoting = Remoting::connect(&settings.shard_address(0)).expect("it listens");
    (0..QUEUES).map(|queue| read_queue(&mut remoting, queue)).collect()
}

fn read_queue(remoting: &mut Remoting, queue: usize) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    loop {
        // While a sidecar is made again the answer is 20 or 21, and where the queue begins may not be known.
        let records = await_that(&format!("queue {queue}"), PATIENCE, || {
            let next = match all.last() {
                Some(last) => last.queue_offset + 1,
                None => {
                    let fields = serde_json::json!({"topic": TOPIC, "queueId": queue.to_string()});
                    let min = remoting.ask(31, &fields, b"").expect("an answer");
                    min.fields["offset"].as_str().expect("a minimum").parse().expect("a number")
                }
            };
            match remoting.pull(TOPIC, queue, next, 0) {
                Err(error) if ["gave 20", "gave 21"].iter().any(|code| error.to_string().contains(code)) => {
                    None
                }
                records => Some(records.unwrap_or_else(|error| panic!("queue {queue} at {next}: {error}"))),
            }
        });
        if records.is_empty() {
            return all;
        }
        all.extend(records);
    }
}

impl Ended {
    fn shard(&self) -> PathBuf {
        self.settings.data.join("shard-0")
    }

    fn ringmq(&self, words: &[&str]) -> (bool, String) {
        let mut command = Command::new(binary());
        let (status, lines) = Process::start("ringmq log", command.args(words)).finish(PATIENCE);
        (status.success(), lines.join("\n"))
    }

    /// Verifies, repairs, and compares what a broker on the copy has; of `lost` so many are, at least.
    fn check(&self, expected: &[&str], lost: &[(i32, i64)], least: usize) {
        let shard = self.shard();
        let before = contents(&shard);
        let (is_whole, found) = self.ringmq(&["log", "verify", shard.to_str().expect("text")]);
        assert!(!is_whole, "{found}");
        for part in expected {
            assert!(found.contains(part), "it must say {part:?}:\n{found}");
        }
        let data = self.folder.path.join("repaired");
        fs::create_dir(&data).expect("it is new");
        let copy = data.join("shard-0");
        let [from, to] = [&shard, &copy].map(|path| path.to_str().expect("text"));
        let (is_done, said) = self.ringmq(&["log", "repair", from, to]);
        assert!(is_done, "{said}");
        assert!(contents(&shard) == before, "the damaged folder was changed");
        let (is_whole, found) = self.ringmq(&["log", "verify", to]);
        // A damaged sidecar is copied as it is.
        assert_eq!(is_whole, !expected[0].ends_with(".side"), "{found}");

        // Nothing retires meanwhile.
        let more = self.settings.more[..1].to_vec();
        let settings = NodeSettings { data: data.clone(), more, ..self.settings.clone() };
        let node = Node::start(settings.clone());
        let mut marked = 0;
        for (queue, (was, is)) in self.records.iter().zip(read_all(&settings)).enumerate() {
            let is: BTreeMap<i64, Record> =
                is.into_iter().map(|record| (record.queue_offset, record)).collect();
            for record in was {
                let place = (queue as i32, record.queue_offset);
                match is.get(&record.queue_offset) {
                    Some(found) if found == record => {}
                    Some(found) if lost.contains(&place) && is_mark(&found.body) => marked += 1,
                    other => panic!("{place:?} became {other:?}; {said}"),
                }
            }
        }
        assert!((least..=lost.len()).contains(&marked), "{marked} of {lost:?}; {said}");
        // It goes on where it ended.
        let mut remoting = Remoting::connect(&settings.shard_address(0)).expect("it listens");
        let answer = remoting.ask(310, &Remoting::send_fields(TOPIC, 0), b"more").expect("an answer");
        let end = self.records[0].last().expect("it has records").queue_offset + 1;
        assert_eq!(answer.fields["queueOffset"], end.to_string());
        drop(node);
        fs::remove_dir_all(&data).expect("it can be removed");
    }

    /// Hurts a file, checks, and puts it back.
    fn with(
        &self,
        path: &Path,
        hurt: impl FnOnce(&mut [u8]),
        expected: &[&str],
        lost: (&[(i32, i64)], usize),
    ) {
        let good = fs::read(path).expect("it is readable");
        let mut bad = good.clone();
        hurt(&mut bad);
        fs::write(path, &bad).expect("it is writable");
        let name = path.file_name().and_then(|name| name.to_str()).expect("text");
        self.check(&[&[name], expected].concat(), lost.0, lost.1);
        fs::write(path, &good).expect("it is writable");
    }
}

/// As much of the text as there was room for.
fn is_mark(body: &[u8]) -> bool {
    let len = body.len().min(LOST_BODY.len());
    body[..len] == LOST_BODY.as_bytes()[..len]
}

fn contents(shard: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(shard).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| (path.clone(), fs::read(path).expect("it is readable"))).collect()
}

/// The segment that is being written.
fn active(shard: &Path) -> Option<PathBuf> {
    segments(shard).into_iter().rfind(|path| fs::read(path).is_ok_and(|bytes| Frame::decode(&bytes).is_ok()))
}

/// A frame: where it begins in its segment, its length, its records by queue and offset.
type Place = (usize, usize, Vec<(i32, i64)>);

/// A frame of several records in the middle of a segment.
fn frame_of(segment: &Path) -> Place {
    let mut frames = frames_of(segment);
    frames.swap_remove(frames.len() / 2)
}

/// The frames of several records.
fn frames_of(segment: &Path) -> Vec<Place> {
    let bytes = fs::read(segment).expect("it is readable");
    let (mut at, mut found) = (0, Vec::new());
    while let Ok(frame) = Frame::decode(&bytes[at..]) {
        let records = frame.items().filter(|(item, _, _)| item.kind == ItemKind::Record);
        let records = records.map(|(_, _, bytes)| {
            let record = ringmq_wire::record::decode(bytes).expect("a record");
            (record.queue_id, record.queue_offset)
        });
        let (len, records) = (frame.header.frame_bytes(), records.collect::<Vec<_>>());
        if records.len() > 3 {
            found.push((at, len, records));
        }
        at += len;
        if frame.header.kind == FrameKind::Seal || at >= bytes.len() {
            break;
        }
    }
    found
}

#[test]
fn all_that_was_not_in_a_damaged_frame_is_served_from_the_repaired_copy() {
    let ended = filled("repair", &[]);
    let [segments, sidecars] = [segments(&ended.shard()), sidecars(&ended.shard())];
    let expected = ["a page fails its checksum", "the next start makes it again"];
    ended.with(&sidecars[1], |bytes| bytes[200] ^= 1, &expected, (&[], 0));

    // In a sealed segment, whose sidecar says what there was, and in the active one.
    let active = active(&ended.shard()).expect("a log has frames");
    for (segment, is_known) in [(&segments[1], true), (&active, false)] {
        let (at, len, records) = frame_of(segment);
        let place = format!("at {at}: ");
        let expected = [place.as_str(), "once durable", "ringmq log repair"];
        let in_a_record = at + HEADER_BYTES + 100;
        ended.with(segment, |bytes| bytes[in_a_record] ^= 1, &expected, (&records[..1], 1));
        let least = if is_known { 0 } else { records.len() };
        ended.with(segment, |bytes| bytes[at + 9] ^= 1, &expected, (&records, least));
        ended.with(segment, |bytes| bytes[at..at + len].fill(0), &expected, (&records, records.len()));
    }
}

#[test]
fn so_it_is_in_a_log_whose_first_segments_have_retired() {
    let ended = filled("repair-retired", &["retention.bytes=24MiB"]);
    let [segments, sidecars] = [segments(&ended.shard()), sidecars(&ended.shard())];
    let name = segments[0].file_name().and_then(|name| name.to_str()).expect("text");
    assert!(segment::base_of(name) > Some(0));
    ended.with(&sidecars[0], |bytes| bytes[200] ^= 1, &["a page fails its checksum"], (&[], 0));
    for segment in &segments[..2] {
        let (at, len, records) = frame_of(segment);
        let place = format!("at {at}: ");
        let expected = [place.as_str(), "once durable"];
        ended.with(segment, |bytes| bytes[at..at + len].fill(0), &expected, (&records, records.len()));
    }
}
