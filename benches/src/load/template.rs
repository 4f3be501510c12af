//! A request frame that is written once and stamped for each message.
//!
//! The generator shares the machine with the server it measures, so a request must cost it a copy and a few digits, not
//! an encoding. A template is an encoded frame in which marks of fixed length stand for what differs:
//!
//! ```text
//! {"code":310,"extFields":{… "g":"8765432109876","i":"KEYS\u0001order-FEDCBA9876543210…"}, … "opaque":1234567891 …
//!                                 └ wall clock                     └ serial                        └ opaque
//! ```
//!
//! Invariants
//!  1. Stamped values have their marks' length: opaques have ten digits, so they start at [`OPAQUE_BASE`].
//!  2. The frame's first 8 bytes stay right, because no length changes.

use ringmq_wire::command::OutHead;

/// Smallest opaque of ten digits.
pub const OPAQUE_BASE: i32 = 1_000_000_000;
/// As many opaques have ten digits and fit an `i32`.
pub const OPAQUE_SPAN: i32 = 1_000_000_000;

/// Stands for the opaque.
pub const OPAQUE_MARK: i32 = 1_234_567_891;
/// Stands for the time of day in milliseconds.
pub const WALL_MARK: &str = "8765432109876";
/// Stands for the serial number of a message, in upper-case hexadecimal.
pub const SERIAL_MARK: &str = "FEDCBA9876543210";
/// Stands for the moment at which a request was due, in upper-case hexadecimal; part of a body.
pub const DUE_MARK: &str = "0123456789ABCDEF";
/// Stands for the number of a topic in decimal; part of its name.
pub const TOPIC_MARK: &str = "9081726";
/// Stands for a queue offset in decimal. Leading zeros are fine for every parser of it.
pub const OFFSET_MARK: &str = "7766554433221100";

/// A frame with marks.
#[derive(Debug, Clone)]
pub struct Template {
    bytes: Vec<u8>,
    opaque_at: usize,
    wall_at: Vec<usize>,
    serial_at: Vec<usize>,
    offset_at: Vec<usize>,
    topic_at: Vec<usize>,
    due_at: Vec<usize>,
}

/// What one use of a template is stamped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Correlates the answer; of ten digits.
    pub opaque: i32,
    /// Time of day in milliseconds.
    pub wall_ms: u64,
    /// When the request was due, nanoseconds since this process's epoch.
    pub due_ns: u64,
    /// Number of the first message.
    pub serial: u64,
    /// Queue offset.
    pub offset: u64,
    /// Number of the topic.
    pub topic: u64,
}

impl Template {
    /// Of a header whose `opaque` is [`OPAQUE_MARK`], and a body. Marks are found in both.
    pub fn new(head: &OutHead<'_>, body: &[u8]) -> Template {
        assert_eq!(head.opaque, OPAQUE_MARK, "the header carries the mark");
        let mut bytes = Vec::new();
        head.encode(&mut bytes, body.len());
        let head_bytes = bytes.len();
        bytes.extend_from_slice(body);
        let opaque = places(&bytes[..head_bytes], OPAQUE_MARK.to_string().as_bytes());
        assert_eq!(opaque.len(), 1, "a JSON header names its opaque once");
        Template {
            opaque_at: opaque[0],
            wall_at: places(&bytes, WALL_MARK.as_bytes()),
            serial_at: places(&bytes, SERIAL_MARK.as_bytes()),
            offset_at: places(&bytes, OFFSET_MARK.as_bytes()),
            topic_at: places(&bytes, TOPIC_MARK.as_bytes()),
            due_at: places(&bytes, DUE_MARK.as_bytes()),
            bytes,
        }
    }

    /// Appends the frame. Of its serial marks, each `marks_per_message` belong to one message, numbered from
    /// `stamp.serial` on.
    pub fn stamp(&self, stamp: Stamp, marks_per_message: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let frame = &mut out[start..];
        digits(frame, self.opaque_at, 10, stamp.opaque.unsigned_abs().into());
        for at in &self.wall_at {
            digits(frame, *at, WALL_MARK.len(), stamp.wall_ms);
        }
        for (index, at) in self.serial_at.iter().enumerate() {
            hex_digits(frame, *at, stamp.serial + (index / marks_per_message.max(1)) as u64);
        }
        for at in &self.due_at {
            hex_digits(frame, *at, stamp.due_ns);
        }
        for at in &self.offset_at {
            digits(frame, *at, OFFSET_MARK.len(), stamp.offset);
        }
        for at in &self.topic_at {
            digits(frame, *at, TOPIC_MARK.len(), stamp.topic);
        }
    }

    /// Length of each frame.
    pub fn frame_bytes(&self) -> usize {
        self.bytes.len()
    }
}

fn places(bytes: &[u8], mark: &[u8]) -> Vec<usize> {
    bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark).map(|(at, _)| at).collect()
}

/// Overwrites `count` bytes at `at` with the last `count` decimal digits of `number`.
fn digits(frame: &mut [u8], at: usize, count: usize, mut number: u64) {
    for byte in frame[at..at + count].iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Overwrites the mark of 16 hexadecimal digits at `at`.
fn hex_digits(frame: &mut [u8], at: usize, mut number: u64) {
    for byte in frame[at..at + SERIAL_MARK.len()].iter_mut().rev() {
        *byte = b"0123456789ABCDEF"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_wire::frame::{self, Decoded};
    use ringmq_wire::{HeadFormat, HeadScratch, Value};

    #[test]
    fn a_stamped_frame_decodes_to_what_it_was_stamped_with() {
        let keys = format!("KEYS\u{1}order-{SERIAL_MARK}\u{2}UNIQ_KEY\u{1}0A00{SERIAL_MARK}\u{2}");
        let fields = [
            ("g", Value::Text(WALL_MARK)),
            ("i", Value::Text(&keys)),
            ("queueOffset", Value::Text(OFFSET_MARK)),
            ("b", Value::Text("bench-9081726")),
        ];
        let head = OutHead {
            format: HeadFormat::Json,
            code: 310,
            opaque: OPAQUE_MARK,
            flag: 0,
            remark: None,
            fields: &fields,
        };
        let template = Template::new(
            &head,
            format!("body {SERIAL_MARK} of the next message, due {DUE_MARK}").as_bytes(),
        );
        let mut out = b"before".to_vec();
        let stamp = Stamp {
            opaque: OPAQUE_BASE + 5,
            wall_ms: 1_800_000_000_123,
            due_ns: 0xC0FFEE,
            serial: 0xAB,
            offset: 17,
            topic: 42,
        };
        template.stamp(stamp, 2, &mut out);
        assert_eq!(out.len(), 6 + template.frame_bytes());

        let Ok(Decoded::Frame(frame, taken)) = frame::decode(&out[6..]) else { panic!("not a frame") };
        assert_eq!(taken, template.frame_bytes());
        assert_eq!(frame.body, b"body 00000000000000AC of the next message, due 0000000000C0FFEE");
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(frame.format, frame.head).expect("a header");
        assert_eq!((head.code, head.opaque), (310, OPAQUE_BASE + 5));
        assert_eq!(head.fields.get("g"), Some("1800000000123"));
        assert_eq!(head.fields.i64("queueOffset"), Ok(17));
        assert_eq!(head.fields.get("b"), Some("bench-0000042"));
        let keys = "KEYS\u{1}order-00000000000000AB\u{2}UNIQ_KEY\u{1}0A0000000000000000AB\u{2}";
        assert_eq!(head.fields.get("i"), Some(keys));
    }
}
