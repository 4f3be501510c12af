//! What the responder reads of a request, and what it answers.
//!
//! It must take less time than the generator, whose ceiling it shows. So it looks for numbers where the last header of the
//! same length had them, and decodes only headers of a new shape:
//!
//! ```text
//! {"code":310,…"e":"3",…"opaque":1234567891,…
//!              ──── queue  ───────── opaque: each found behind its name
//! ```

use crate::load::template::{OFFSET_MARK, OPAQUE_MARK, Stamp, Template};
use ringmq_wire::command::{FLAG_RESPONSE, OutHead};
use ringmq_wire::frame::Frame;
use ringmq_wire::{HeadFormat, HeadScratch, Value};

/// Most queues of a topic; a send to a later one is not answered.
const QUEUES_MAX: usize = 256;
const SEND: i32 = 310;
const QUEUE: &[u8] = b"\"e\":\"";
const OPAQUE: &[u8] = b"\"opaque\":";

/// What is asked; the queue is less than [`QUEUES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    opaque: i32,
    queue: usize,
}

/// Answers sends to one topic. One per responder.
#[derive(Default)]
pub(super) struct Replies {
    scratch: HeadScratch,
    shape: Option<Shape>,
    /// By queue: the answer, and the next offset.
    queues: Vec<(Template, u64)>,
}

/// Where the numbers of a header lie.
#[derive(Debug, Clone, Copy)]
struct Shape {
    head_bytes: usize,
    queue_at: usize,
    opaque_at: usize,
}

impl Replies {
    /// What a frame asks; `None` for what is no send that we answer.
    pub(super) fn read(&mut self, frame: Frame<'_>) -> Option<Ask> {
        let head = frame.head;
        if let Some(ask) = self.shape.and_then(|shape| shape.read(head)) {
            return Some(ask);
        }
        let decoded = self.scratch.decode(frame.format, head).ok()?;
        let queue = usize::try_from(decoded.fields.i32("e").ok()?).ok()?;
        let ask = Ask { opaque: decoded.opaque, queue };
        if decoded.code != SEND || queue >= QUEUES_MAX {
            return None;
        }
        let shape = Shape::of(head);
        self.shape = shape.filter(|shape| shape.read(head) == Some(ask));
        Some(ask)
    }

    /// Appends the answer.
    pub(super) fn write(&mut self, ask: Ask, out: &mut Vec<u8>) {
        while self.queues.len() <= ask.queue {
            self.queues.push((template(self.queues.len()), 0));
        }
        let (template, next) = &mut self.queues[ask.queue];
        template.stamp(Stamp { opaque: ask.opaque, offset: *next, ..Stamp::default() }, 1, out);
        *next += 1;
    }
}

impl Shape {
    fn of(head: &[u8]) -> Option<Shape> {
        let behind = |name: &[u8]| Some(head.windows(name.len()).position(|at| at == name)? + name.len());
        Some(Shape { head_bytes: head.len(), queue_at: behind(QUEUE)?, opaque_at: behind(OPAQUE)? })
    }

    fn read(&self, head: &[u8]) -> Option<Ask> {
        let number = |at: usize, name: &[u8]| {
            let digits = head.get(at..)?;
            head.get(..at)?.ends_with(name).then(|| leading_number(digits))
        };
        if head.len() != self.head_bytes {
            return None;
        }
        let queue =
            usize::try_from(number(self.queue_at, QUEUE)?).ok().filter(|queue| *queue < QUEUES_MAX)?;
        let opaque = i32::try_from(number(self.opaque_at, OPAQUE)?).ok()?;
        Some(Ask { opaque, queue })
    }
}

/// Of at most ten digits.
fn leading_number(digits: &[u8]) -> u64 {
    let digits = digits.iter().take(10).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// The answer of one queue.
fn template(queue: usize) -> Template {
    let fields = [
        ("msgId", Value::Text("7F00000100002A9F0000000000000000")),
        ("queueId", Value::Int(queue as i64)),
        ("queueOffset", Value::Text(OFFSET_MARK)),
    ];
    let format = HeadFormat::Json;
    let head =
        OutHead { format, code: 0, opaque: OPAQUE_MARK, flag: FLAG_RESPONSE, remark: None, fields: &fields };
    Template::new(&head, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_wire::frame::{self, Decoded};

    fn request(code: i32, opaque: i32, queue: i64, topic: &str) -> Vec<u8> {
        let fields = [("b", Value::Text(topic)), ("e", Value::Int(queue)), ("f", Value::Int(0))];
        let mut bytes = Vec::new();
        let format = HeadFormat::Json;
        OutHead { format, code, opaque, flag: 0, remark: None, fields: &fields }.encode(&mut bytes, 0);
        bytes
    }

    fn decoded(bytes: &[u8]) -> Frame<'_> {
        let Ok(Decoded::Frame(frame, _)) = frame::decode(bytes) else { panic!("a whole frame") };
        frame
    }

    #[test]
    fn asks_are_read_alike_whether_the_shape_is_known_or_new() {
        let mut replies = Replies::default();
        for (opaque, queue, topic) in [
            (1_000_000_001, 3, "T"),
            (1_000_000_002, 5, "T"),
            (1_000_000_003, 12, "T"),
            (1_000_000_004, 7, "TT"),
            (1_000_000_005, 7, "T\"e\":\"9"),
        ] {
            let ask = replies.read(decoded(&request(SEND, opaque, queue, topic)));
            assert_eq!(ask, Some(Ask { opaque, queue: queue as usize }), "{topic}");
        }
        for (code, queue) in [(34, 3), (SEND, -1), (SEND, QUEUES_MAX as i64)] {
            assert_eq!(replies.read(decoded(&request(code, 1, queue, "other"))), None, "{code} {queue}");
        }
    }

    #[test]
    fn answers_name_the_queue_and_its_next_offset() {
        let mut replies = Replies::default();
        // The later ones have the shape of the first, and not its queue.
        for (queue, expected) in [(1, 0), (0, 0), (1, 1), (7, 0)] {
            let ask = replies.read(decoded(&request(SEND, 1_000_000_007, queue, "T"))).expect("a send");
            let mut out = Vec::new();
            replies.write(ask, &mut out);
            let frame = decoded(&out);
            let mut scratch = HeadScratch::default();
            let head = scratch.decode(frame.format, frame.head).expect("our own");
            let number = |name| head.fields.i64(name);
            assert_eq!((head.opaque, head.code), (1_000_000_007, 0));
            assert_eq!((number("queueId"), number("queueOffset")), (Ok(queue), Ok(expected)));
        }
    }
}
