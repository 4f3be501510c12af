//! Sending: what a Java producer sends (SEND_MESSAGE_V2, 310), or its batches (SEND_BATCH_MESSAGE, 320).
//!
//! Every message has a body of random bytes that begins with when it was due, if it has room for that; its own UNIQ_KEY and KEYS, TAGS and WAIT=true, as Java's has. Messages go
//! to the topic's queues in turn, or to those of many topics.
//!
//! Checked of every answer: code 0, the queue that was asked for, a message id, and that the queue offsets given out are
//! dense, in whatever order the answers come.
//!
//! Truth: RocketMQ `SendMessageRequestHeaderV2`, `SendMessageResponseHeader`, `MessageDecoder.encodeMessages`.

use super::density::Density;
use super::template::{DUE_MARK, OPAQUE_MARK, SERIAL_MARK, Stamp, TOPIC_MARK, Template, WALL_MARK};
use super::{Lane, Moment, Work, Wrong};
use ringmq_wire::command::OutHead;
use ringmq_wire::{Head, HeadFormat, Value};

/// UNIQ_KEY and KEYS of one message.
const MARKS_PER_MESSAGE: usize = 2;

/// What to send.
#[derive(Debug, Clone)]
pub struct Messages {
    /// To which topic; of several, what their names begin with.
    pub topic: String,
    /// How many topics; `None` for the one of that name.
    pub topics: Option<u32>,
    /// How many queues each has, on each target.
    pub queues: u16,
    /// Length of each body.
    pub body_bytes: usize,
    /// Messages per request; 1 is a plain send.
    pub batch: usize,
    /// How many requests to send; `None` for as many as the time allows.
    pub requests: Option<u64>,
}

impl Messages {
    /// The name of one of several topics.
    pub fn topic_of(prefix: &str, number: u32) -> String {
        format!("{prefix}-{number:0width$}", width = TOPIC_MARK.len())
    }

    /// Queues of all topics on each target.
    pub fn all_queues(&self) -> usize {
        self.topics.unwrap_or(1) as usize * usize::from(self.queues)
    }
}

/// Sends messages and checks what became of them.
pub struct Send {
    batch: usize,
    /// Of all topics on each target; numbered through, topic by topic.
    queues: usize,
    left: Option<u64>,
    /// By queue of a topic.
    templates: Vec<Template>,
    /// By target and queue.
    densities: Vec<Density>,
    /// By lane: the queue of its last request.
    asked: Vec<usize>,
    serial: u64,
    turn: usize,
    segments: Option<Segments>,
}

/// Which segments records were answered from.
struct Segments {
    bytes: u64,
    /// The newest.
    newest: u64,
    turned: bool,
}

impl Send {
    /// To targets whose queues end at `ends[target][queue]`, over `lanes` lanes.
    pub fn new(messages: &Messages, ends: &[Vec<u64>], lanes: usize) -> Send {
        Send {
            batch: messages.batch.max(1),
            queues: messages.all_queues(),
            left: messages.requests,
            templates: (0..messages.queues).map(|queue| template(messages, queue)).collect(),
            densities: ends.iter().flatten().map(|end| Density::starting_at(*end)).collect(),
            asked: vec![0; lanes],
            serial: 0,
            turn: 0,
            segments: None,
        }
    }

    /// The same, and the first answer from another segment of this length turns [`super::windows::Windows`]. For one
    /// target.
    pub fn watching_segments(mut self, bytes: u64) -> Send {
        self.segments = Some(Segments { bytes: bytes.max(1), newest: 0, turned: false });
        self
    }

    /// Where each target's queues end now, if the offsets given out were dense: `ends[target][queue]`.
    pub fn finish(&self) -> Result<Vec<Vec<u64>>, Wrong> {
        self.densities
            .chunks(self.queues)
            .map(|queues| queues.iter().map(Density::finish).collect())
            .collect()
    }

    /// Messages sent, answered or not.
    pub fn sent(&self) -> u64 {
        self.serial
    }

    /// Length of a request on the wire.
    pub fn frame_bytes(&self) -> usize {
        self.templates.first().map_or(0, Template::frame_bytes)
    }
}

impl Work for Send {
    fn request(&mut self, lane: Lane, opaque: i32, moment: Moment, out: &mut Vec<u8>) -> bool {
        if let Some(left) = &mut self.left {
            match left.checked_sub(1) {
                None => return false,
                Some(less) => *left = less,
            }
        }
        let queue = self.turn;
        self.turn = (self.turn + 1) % self.queues;
        self.asked[lane.index] = queue;
        let (topic, queue) = (queue / self.templates.len(), queue % self.templates.len());
        let Moment { wall_ms, due_ns } = moment;
        let stamp = Stamp { opaque, wall_ms, due_ns, serial: self.serial, offset: 0, topic: topic as u64 };
        self.serial += self.batch as u64;
        self.templates[queue].stamp(stamp, MARKS_PER_MESSAGE, out);
        true
    }

    fn answer(&mut self, lane: Lane, head: &Head<'_>, _body: &[u8]) -> Result<u64, Wrong> {
        let asked = self.asked[lane.index];
        let asked_id = asked % self.templates.len();
        let queue = head.fields.i64("queueId").map_err(wrong)?;
        if usize::try_from(queue) != Ok(asked_id) {
            return Err(Wrong(format!("a message for queue {asked_id} went to queue {queue}")));
        }
        let ids =
            head.fields.get("msgId").map_or(0, |ids| ids.split(',').filter(|id| !id.is_empty()).count());
        if ids != self.batch {
            return Err(Wrong(format!("{ids} message ids for {} messages", self.batch)));
        }
        let offset = head.fields.i64("queueOffset").map_err(wrong)?;
        self.densities[lane.target * self.queues + asked].note(offset, self.batch as u64)?;
        if let Some(segments) = &mut self.segments {
            let ids = head.fields.get("msgId").unwrap_or_default();
            let physical = physical_offset(ids).ok_or_else(|| Wrong(format!("{ids} is no message id")))?;
            let segment = physical / segments.bytes;
            segments.turned = segment > segments.newest;
            segments.newest = segments.newest.max(segment);
        }
        Ok(self.batch as u64)
    }

    fn turned(&self) -> bool {
        self.segments.as_ref().is_some_and(|segments| segments.turned)
    }
}

/// The end of a message id: 16 hexadecimal digits.
fn physical_offset(ids: &str) -> Option<u64> {
    let first = ids.split(',').next()?;
    u64::from_str_radix(first.get(first.len().checked_sub(16)?..)?, 16).ok()
}

fn wrong(error: ringmq_wire::FieldError) -> Wrong {
    Wrong(error.to_string())
}

fn template(messages: &Messages, queue: u16) -> Template {
    let body = body(messages.body_bytes);
    let properties = properties();
    let is_batch = messages.batch > 1;
    let topic = match messages.topics {
        Some(_) => format!("{}-{TOPIC_MARK}", messages.topic),
        None => messages.topic.clone(),
    };
    let fields = [
        ("a", Value::Text("bench-producer")),
        ("b", Value::Text(&topic)),
        ("c", Value::Text("TBW102")),
        ("d", Value::Int(messages.queues.into())),
        ("e", Value::Int(queue.into())),
        ("f", Value::Int(0)),
        ("g", Value::Text(WALL_MARK)),
        ("h", Value::Int(0)),
        ("i", Value::Text(if is_batch { "WAIT\u{1}true\u{2}" } else { &properties })),
        ("j", Value::Int(0)),
        ("k", Value::Bool(false)),
        ("m", Value::Bool(is_batch)),
    ];
    let head = OutHead {
        format: HeadFormat::Json,
        code: if is_batch { 320 } else { 310 },
        opaque: OPAQUE_MARK,
        flag: 0,
        remark: None,
        fields: &fields,
    };
    if is_batch {
        let items: Vec<u8> = (0..messages.batch).flat_map(|_| item(&body, properties.as_bytes())).collect();
        Template::new(&head, &items)
    } else {
        Template::new(&head, &body)
    }
}

fn properties() -> String {
    format!(
        "KEYS\u{1}order-{SERIAL_MARK}\u{2}UNIQ_KEY\u{1}7F000001A1B2C3D4{SERIAL_MARK}\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}"
    )
}

/// The mark of when it is due, then bytes that no compression shortens, the same in every run.
fn body(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let mut body: Vec<u8> = (0..bytes).map(|_| next()).collect();
    if let Some(start) = body.first_chunk_mut() {
        *start = due_mark();
    }
    body
}

/// What a body begins with before it is stamped.
fn due_mark() -> [u8; DUE_MARK.len()] {
    DUE_MARK.as_bytes().try_into().expect("as long as itself")
}

/// When the message with this body was due, nanoseconds since the epoch of the process that sent it.
pub fn due_of(body: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(body.get(..DUE_MARK.len())?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// One item of a batch body.
fn item(body: &[u8], properties: &[u8]) -> Vec<u8> {
    let mut item = Vec::new();
    let whole = 22 + body.len() + properties.len();
    for word in [whole as u32, 0, 0, 0, body.len() as u32] {
        item.extend_from_slice(&word.to_be_bytes());
    }
    item.extend_from_slice(body);
    item.extend_from_slice(&(properties.len() as u16).to_be_bytes());
    item.extend_from_slice(properties);
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_wire::HeadScratch;
    use ringmq_wire::frame::{self, Decoded};

    const LANE: Lane = Lane { index: 0, target: 0 };

    fn messages(batch: usize) -> Messages {
        Messages { topic: "T".into(), topics: None, queues: 2, body_bytes: 100, batch, requests: Some(3) }
    }

    /// What the work makes of an answer with these fields, after one request.
    fn check(batch: usize, queue: i64, offset: &str, ids: &str, expected: Result<u64, &str>) {
        let mut send = Send::new(&messages(batch), &[vec![7, 0]], 1);
        assert!(send.request(LANE, OPAQUE_MARK, Moment::default(), &mut Vec::new()));
        let fields = [
            ("queueId", Value::Int(queue)),
            ("queueOffset", Value::Text(offset)),
            ("msgId", Value::Text(ids)),
        ];
        let format = HeadFormat::Json;
        let mut bytes = Vec::new();
        OutHead { format, code: 0, opaque: 1, flag: 1, remark: None, fields: &fields }.encode(&mut bytes, 0);
        let Ok(Decoded::Frame(frame, _)) = frame::decode(&bytes) else { panic!("not a frame") };
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(frame.format, frame.head).expect("our own header");
        let answer = send.answer(LANE, &head, &[]);
        assert_eq!(answer, expected.map_err(|text| Wrong(text.to_owned())));
    }

    #[test]
    fn an_answer_is_right_only_with_the_queue_the_next_offset_and_an_id() {
        check(1, 0, "7", "A", Ok(1));
        check(1, 1, "0", "A", Err("a message for queue 0 went to queue 1"));
        check(1, 0, "6", "A", Err("queue offset 6 was given out twice"));
        check(1, 0, "7", "", Err("0 message ids for 1 messages"));
        check(1, 0, "x", "A", Err("the field <queueOffset> is not a 64-bit number: x"));
        check(3, 0, "7", "A,B,C", Ok(3));
        check(3, 0, "7", "A,B", Err("2 message ids for 3 messages"));
    }

    #[test]
    fn a_message_id_ends_with_the_physical_offset() {
        let id = "7F00000100002A9F0000000010000080";
        assert_eq!(physical_offset(id), Some(0x1000_0080));
        assert_eq!(physical_offset(&format!("{id},{id}")), Some(0x1000_0080));
        for bad in ["", "7F", "7F00000100002A9F00000000100000GG"] {
            assert_eq!(physical_offset(bad), None, "{bad}");
        }
    }

    #[test]
    fn requests_go_to_the_queues_in_turn_until_there_are_enough() {
        let mut send = Send::new(&messages(1), &[vec![0, 0]], 1);
        let mut queues = Vec::new();
        loop {
            let mut out = Vec::new();
            let moment = Moment { wall_ms: 1_800_000_000_000, due_ns: 77 };
            if !send.request(LANE, 1_999_999_999, moment, &mut out) {
                break;
            }
            assert_eq!(out.len(), send.frame_bytes());
            let Ok(Decoded::Frame(frame, _)) = frame::decode(&out) else { panic!("not a frame") };
            let mut scratch = HeadScratch::default();
            let head = scratch.decode(frame.format, frame.head).expect("our own header");
            let properties = head.fields.get("i").expect("present").to_owned();
            assert_eq!(due_of(frame.body), Some(77));
            queues.push((
                head.fields.i32("e").expect("present"),
                properties[..27].to_owned(),
                frame.body.len(),
            ));
        }
        let row = |queue, serial| (queue, format!("KEYS\u{1}order-000000000000000{serial}"), 100);
        assert_eq!(queues, [row(0, 0), row(1, 1), row(0, 2)]);
    }

    #[test]
    fn many_topics_are_gone_through_one_queue_after_the_other() {
        let messages = Messages { topics: Some(2), requests: None, ..messages(1) };
        assert_eq!(messages.all_queues(), 4);
        let mut send = Send::new(&messages, &[vec![0; 4]], 1);
        for (topic, queue) in [("T-0000000", 0), ("T-0000000", 1), ("T-0000001", 0), ("T-0000001", 1)] {
            let mut out = Vec::new();
            assert!(send.request(LANE, OPAQUE_MARK, Moment::default(), &mut out));
            let Ok(Decoded::Frame(frame, _)) = frame::decode(&out) else { panic!("not a frame") };
            let mut scratch = HeadScratch::default();
            let head = scratch.decode(frame.format, frame.head).expect("a header");
            assert_eq!((head.fields.get("b"), head.fields.i64("e")), (Some(topic), Ok(queue)));
            assert_eq!(Messages::topic_of("T", topic.as_bytes()[8].into()).len(), topic.len());
        }
    }

    #[test]
    fn a_batch_item_is_what_java_writes() {
        let item = item(b"b1", b"k\x01v\x02WAIT\x01true\x02");
        let mut expected =
            vec![0, 0, 0, 0x26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, b'b', b'1', 0, 0x0E];
        expected.extend_from_slice(b"k\x01v\x02WAIT\x01true\x02");
        assert_eq!(item, expected);
    }

    #[test]
    fn what_is_no_stamped_body_has_no_moment() {
        for body in [&b""[..], b"0123456789ABCDE", b"0123456789ABCDEG", &[0xFF; 16]] {
            assert_eq!(due_of(body), None, "{body:?}");
        }
    }

    #[test]
    fn bodies_are_not_compressible_by_repetition() {
        let body = body(4096);
        let mut counts = [0; 256];
        body.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        assert!(counts.iter().all(|count| (1..=40).contains(count)), "{counts:?}");
    }
}
