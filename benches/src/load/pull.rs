//! Pulling (PULL_MESSAGE, 11): every lane is a reader that goes through one queue, once or again and again.
//!
//! Checked of every answer: records fill the body exactly, their queue offsets follow one another from the one asked
//! for, their bodies have the CRC that the record states, and the next offset is the one after the last record.
//!
//! Truth: RocketMQ `PullMessageRequestHeader`, `PullMessageResponseHeader`.

use super::template::{OFFSET_MARK, OPAQUE_MARK, Stamp, Template};
use super::{Lane, Moment, Work, Wrong};
use ringmq_wire::command::OutHead;
use ringmq_wire::record::{self, Record};
use ringmq_wire::{Head, HeadFormat, Value};

/// Most records that one answer may bring, as Java's push consumers ask.
pub const RECORDS_PER_PULL: u32 = 32;
/// `PullSysFlag`: the answer may wait for a record.
const SUSPENDS: i64 = 2;
/// `PullSysFlag`: the subscription is in the request.
const SUBSCRIPTION_INCLUDED: i64 = 4;

/// What becomes of a pull that finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspend {
    /// It is answered at once.
    No,
    /// It is answered after so long, or when something comes.
    Milliseconds(u32),
}

/// Reads queues from their beginning to their end.
pub struct Pull {
    templates: Vec<Template>,
    readers: Vec<Reader>,
    /// A reader at the end begins again.
    again: bool,
    /// Bytes of the bodies received.
    pub body_bytes: u64,
    /// Bytes of the records received, as they are stored.
    pub record_bytes: u64,
}

/// Where a lane reads.
#[derive(Debug, Clone, Copy)]
struct Reader {
    queue: usize,
    next: u64,
    end: u64,
}

impl Pull {
    /// One consumer of all these queues, from their beginnings to their ends: one lane for each.
    pub fn once(topic: &str, ends: &[u64]) -> Pull {
        let readers = ends.iter().enumerate().map(|(queue, end)| Reader { queue, next: 0, end: *end });
        Pull {
            templates: (0..ends.len()).map(|queue| template(topic, queue, Suspend::No)).collect(),
            readers: readers.collect(),
            again: false,
            body_bytes: 0,
            record_bytes: 0,
        }
    }

    /// The same consumer, which begins again when it has got to an end.
    pub fn forever(topic: &str, ends: &[u64]) -> Pull {
        Pull { again: true, ..Pull::once(topic, ends) }
    }

    /// Of a topic whose queues end at `ends[target][queue]` and begin at 0. Lanes start at different places, and begin
    /// again at the end.
    pub fn new(topic: &str, ends: &[Vec<u64>], lanes: usize, lanes_per_connection: usize) -> Pull {
        let queues = ends.first().map_or(0, Vec::len);
        let readers = (0..lanes).map(|lane| {
            let target = lane / lanes_per_connection.max(1) % ends.len().max(1);
            let queue = lane % queues.max(1);
            let end = ends[target][queue];
            Reader { queue, next: end * lane as u64 / lanes as u64, end }
        });
        Pull {
            templates: (0..queues).map(|queue| template(topic, queue, Suspend::No)).collect(),
            readers: readers.collect(),
            again: true,
            body_bytes: 0,
            record_bytes: 0,
        }
    }
}

impl Work for Pull {
    fn request(&mut self, lane: Lane, opaque: i32, _moment: Moment, out: &mut Vec<u8>) -> bool {
        let reader = &mut self.readers[lane.index];
        if reader.end == 0 || (reader.next >= reader.end && !self.again) {
            return false;
        }
        if reader.next >= reader.end {
            reader.next = 0;
        }
        let stamp = Stamp { opaque, offset: reader.next, ..Stamp::default() };
        self.templates[reader.queue].stamp(stamp, 1, out);
        true
    }

    fn answer(&mut self, lane: Lane, head: &Head<'_>, body: &[u8]) -> Result<u64, Wrong> {
        let reader = &mut self.readers[lane.index];
        let first = reader.next;
        let records = take_records(head, body, reader.queue, &mut reader.next, |record| {
            self.body_bytes += record.body.len() as u64;
            Ok(())
        })?;
        self.record_bytes += body.len() as u64;
        match records {
            0 => Err(Wrong(format!("no record at offset {first} of {}", reader.end))),
            records => Ok(records),
        }
    }
}

/// Checks the records of an answer, of which the first must be `next`, hands each to `take`, moves `next`, and says how many
/// there were.
pub fn take_records(
    head: &Head<'_>,
    body: &[u8],
    queue: usize,
    next: &mut u64,
    mut take: impl FnMut(&Record<'_>) -> Result<(), Wrong>,
) -> Result<u64, Wrong> {
    let first = *next;
    let mut rest = body;
    while !rest.is_empty() {
        let record = record::decode(rest).map_err(|error| Wrong(format!("record: {error}")))?;
        check_record(&record, queue, *next)?;
        *next += 1;
        take(&record)?;
        rest = &rest[record.bytes.len()..];
    }
    let stated = head.fields.i64("nextBeginOffset").map_err(|error| Wrong(error.to_string()))?;
    if u64::try_from(stated) != Ok(*next) {
        return Err(Wrong(format!("next offset {stated} after records up to {next}")));
    }
    Ok(*next - first)
}

fn check_record(record: &Record<'_>, queue: usize, offset: u64) -> Result<(), Wrong> {
    if usize::try_from(record.queue_id) != Ok(queue) || u64::try_from(record.queue_offset) != Ok(offset) {
        let (found_queue, found) = (record.queue_id, record.queue_offset);
        return Err(Wrong(format!("record {found} of queue {found_queue} in place of {offset} of {queue}")));
    }
    // The stored CRC has 31 bits (`UtilAll.crc32`).
    let crc = crc32fast::hash(record.body) & 0x7FFF_FFFF;
    if u32::try_from(record.body_crc) != Ok(crc) {
        return Err(Wrong(format!(
            "record {offset} of queue {queue} has CRC {crc:08x}, not {:08x}",
            record.body_crc
        )));
    }
    Ok(())
}

/// A pull of one queue, from a stamped offset on.
pub fn template(topic: &str, queue: usize, suspend: Suspend) -> Template {
    let (flag, patience_ms) = match suspend {
        Suspend::No => (0, 0),
        Suspend::Milliseconds(ms) => (SUSPENDS, ms),
    };
    let fields = [
        ("consumerGroup", Value::Text("bench-consumer")),
        ("topic", Value::Text(topic)),
        ("queueId", Value::Int(queue as i64)),
        ("queueOffset", Value::Text(OFFSET_MARK)),
        ("maxMsgNums", Value::Int(RECORDS_PER_PULL.into())),
        ("sysFlag", Value::Int(SUBSCRIPTION_INCLUDED | flag)),
        ("commitOffset", Value::Int(0)),
        ("suspendTimeoutMillis", Value::Int(patience_ms.into())),
        ("subscription", Value::Text("*")),
        ("subVersion", Value::Int(0)),
        ("expressionType", Value::Text("TAG")),
    ];
    let format = HeadFormat::Json;
    let head = OutHead { format, code: 11, opaque: OPAQUE_MARK, flag: 0, remark: None, fields: &fields };
    Template::new(&head, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_wire::HeadScratch;
    use ringmq_wire::frame::{self, Decoded};
    use ringmq_wire::record::Draft;

    const LANE: Lane = Lane { index: 0, target: 0 };

    fn record(queue_id: i32, offset: i64) -> Vec<u8> {
        let host = ([127, 0, 0, 1], 10911).into();
        let draft = Draft {
            topic: "T",
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"hello",
            properties: b"",
        };
        let mut bytes = Vec::new();
        draft.encode(&mut bytes).expect("small");
        record::place(&mut bytes, offset, 1000 * offset, 1);
        bytes
    }

    /// What the work makes of an answer with these records and next offset, after asking for offset 0 of queue 0.
    fn check(records: &[Vec<u8>], next: i64, expected: Result<u64, &str>) {
        let mut pull = Pull::new("T", &[vec![10]], 1, 1);
        assert!(pull.request(LANE, OPAQUE_MARK, Moment::default(), &mut Vec::new()));
        let fields = [("nextBeginOffset", Value::Int(next))];
        let format = HeadFormat::Json;
        let mut bytes = Vec::new();
        OutHead { format, code: 0, opaque: 1, flag: 1, remark: None, fields: &fields }.encode(&mut bytes, 0);
        let Ok(Decoded::Frame(frame, _)) = frame::decode(&bytes) else { panic!("not a frame") };
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(frame.format, frame.head).expect("our own header");
        let answer = pull.answer(LANE, &head, &records.concat());
        match expected {
            Ok(count) => assert_eq!(answer, Ok(count)),
            Err(text) => assert!(answer.as_ref().is_err_and(|wrong| wrong.0.contains(text)), "{answer:?}"),
        }
    }

    #[test]
    fn an_answer_is_right_only_with_whole_records_that_follow_one_another() {
        check(&[record(0, 0), record(0, 1)], 2, Ok(2));
        check(&[], 0, Err("no record at offset 0"));
        check(&[record(0, 1)], 2, Err("record 1 of queue 0 in place of 0 of 0"));
        check(&[record(1, 0)], 1, Err("record 0 of queue 1 in place of 0 of 0"));
        check(&[record(0, 0), record(0, 2)], 3, Err("record 2 of queue 0 in place of 1 of 0"));
        check(&[record(0, 0)], 2, Err("next offset 2 after records up to 1"));
        check(&[record(0, 0), vec![0; 3]], 1, Err("record: "));
        let mut flipped = record(0, 0);
        flipped[88] ^= 1;
        check(&[flipped], 1, Err("has CRC"));
    }

    #[test]
    fn readers_start_apart_and_begin_again_at_the_end() {
        let mut pull = Pull::new("T", &[vec![100, 100]], 4, 2);
        let places: Vec<_> = pull.readers.iter().map(|reader| (reader.queue, reader.next)).collect();
        assert_eq!(places, [(0, 0), (1, 25), (0, 50), (1, 75)]);
        pull.readers[0].next = 100;
        assert!(pull.request(LANE, OPAQUE_MARK, Moment::default(), &mut Vec::new()));
        assert_eq!(pull.readers[0].next, 0);
    }

    #[test]
    fn who_reads_once_has_nothing_to_ask_at_the_end() {
        let mut pull = Pull::once("T", &[10, 0]);
        let asks = |pull: &mut Pull, index| {
            pull.request(Lane { index, target: 0 }, OPAQUE_MARK, Moment::default(), &mut Vec::new())
        };
        assert!(asks(&mut pull, 0) && !asks(&mut pull, 1));
        pull.readers[0].next = 10;
        assert!(!asks(&mut pull, 0));
        let mut pull = Pull::forever("T", &[10]);
        pull.readers[0].next = 10;
        assert!(asks(&mut pull, 0));
    }
}
