//! Prints any segment file, frame by frame: `ringmq log dump`.
//!
//! What does not follow is printed too, with the reason, and printing goes on at the next whole frame.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::files::SegmentBytes;
pub use super::files::Source;
use super::frame::{Frame, FrameKind, Item, ItemKind, split_fact};

/// Prints the frames of a segment file.
pub fn dump(path: &Path, out: &mut dyn Write) -> io::Result<()> {
    dump_source(Box::new(File::open(path)?), out)
}

/// Prints the frames of a segment's bytes.
pub fn dump_source(source: Box<dyn Source + '_>, out: &mut dyn Write) -> io::Result<()> {
    let mut segment = SegmentBytes::new(source)?;
    let mut position = 0;
    let mut last_crc = None;
    while position < segment.len {
        let decoded = segment.frame(position)?.and_then(Frame::decode);
        let fault = match decoded {
            Ok(frame) => {
                print_frame(position, &frame, last_crc, out)?;
                last_crc = Some(frame.header.crc);
                position += frame.header.frame_bytes() as u64;
                continue;
            }
            Err(fault) => fault,
        };
        let mut blank = true;
        let skip = |_, block: &[u8]| blank &= block.iter().all(|&byte| byte == 0);
        let next = segment.next_frame(position, |at, _| at != position, skip)?;
        match (next, blank) {
            (None, true) => return writeln!(out, "{position:>12}  nothing was written from here on"),
            (None, false) => return writeln!(out, "{position:>12}  {fault}; no whole frame after it"),
            (Some(next), _) => writeln!(out, "{position:>12}  {fault}; the next whole frame is at {next}")?,
        }
        last_crc = None;
        position = next.unwrap_or(segment.len);
    }
    Ok(())
}

fn print_frame(at: u64, frame: &Frame<'_>, last_crc: Option<u32>, out: &mut dyn Write) -> io::Result<()> {
    let header = &frame.header;
    let kind = match header.kind {
        FrameKind::Batches => "batches",
        FrameKind::Opening => "opening",
        FrameKind::Seal => "seal",
        FrameKind::Note => "note",
    };
    let chained = match last_crc {
        Some(last) if last != header.previous_crc => ", does not follow the frame before",
        _ => "",
    };
    writeln!(
        out,
        "{at:>12}  {kind}, {} bytes at physical offset {}, epoch {}, durable up to {}, stored {} ms, \
         {} batches, crc {:08x} after {:08x}{chained}",
        header.frame_bytes(),
        header.position,
        header.epoch,
        header.durable,
        header.store_timestamp_ms,
        header.batches,
        header.crc,
        header.previous_crc,
    )?;
    for (item, physical, bytes) in frame.items() {
        let end = if item.batch_end { ", ends a batch" } else { "" };
        writeln!(out, "{:>12}    {}{end}", "", item_line(item, physical, bytes))?;
    }
    Ok(())
}

fn item_line(item: Item, physical: u64, bytes: &[u8]) -> String {
    match item.kind {
        ItemKind::Record => match ringmq_wire::record::decode(bytes) {
            Ok(record) => format!(
                "record at {physical}, {} bytes: {}/{} number {}, stored {} ms, tag hash {}",
                item.len,
                record.topic.escape_debug(),
                record.queue_id,
                record.queue_offset,
                record.store_timestamp_ms,
                item.tag_hash
            ),
            Err(error) => format!("record at {physical}, {} bytes: {error}", item.len),
        },
        ItemKind::FactPut => match split_fact(bytes) {
            Some((key, value)) => format!("fact {} = {}", readable(key), readable(value)),
            None => format!("fact of {} bytes without a key", item.len),
        },
        ItemKind::FactDelete => format!("fact {} deleted", readable(bytes)),
    }
}

/// Text as it is, other bytes in hexadecimal; at most the first few.
pub(crate) fn readable(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 64;
    let shown = &bytes[..bytes.len().min(SHOWN_MAX)];
    let mut text = String::new();
    for byte in shown {
        match byte {
            b' '..=b'~' if *byte != b'\\' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("writing to a string succeeds"),
        }
    }
    if bytes.len() > SHOWN_MAX {
        write!(text, "… ({} bytes)", bytes.len()).expect("writing to a string succeeds");
    }
    text
}
