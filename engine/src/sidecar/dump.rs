//! Prints any sidecar: `ringmq log dump`.

use std::io::{self, Write};

use super::QueueEnd;
use super::{
    BASE_FACTS, BASE_QUEUES, CHANGES, Damaged, ENTRIES, KEYS, NO_SEGMENT, PLACES, QUEUES, STRIDES, Sidecar,
    TIMES, queue_of_key,
};
use crate::env::Mapped;
use crate::log::dump::readable;
use crate::state::Entry;
use crate::state::keys::KeySearch;

/// Prints the sidecar that consists of these bytes.
pub fn dump_bytes(bytes: Mapped, out: &mut dyn Write) -> io::Result<()> {
    let sidecar = match Sidecar::decode(bytes) {
        Ok(sidecar) => sidecar,
        Err(fault) => return writeln!(out, "no sidecar: {fault}"),
    };
    print_footer(&sidecar, out)?;
    match print_tables(&sidecar, out) {
        Ok(()) => Ok(()),
        Err(Stop::Io(error)) => Err(error),
        Err(Stop::Damaged(damaged)) => writeln!(out, "{damaged}"),
    }
}

enum Stop {
    Io(io::Error),
    Damaged(Damaged),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

impl From<Damaged> for Stop {
    fn from(damaged: Damaged) -> Stop {
        Stop::Damaged(damaged)
    }
}

fn print_footer(sidecar: &Sidecar, out: &mut dyn Write) -> io::Result<()> {
    let footer = sidecar.footer();
    let seal = footer.seal;
    writeln!(
        out,
        "sidecar, version {}, of segment {} of store {:016x}, {} bytes a segment, sealed at {} in epoch {} with crc {:08x}, stored \
         {} ms",
        footer.version,
        footer.base,
        footer.store_id,
        footer.segment_bytes,
        seal.position,
        seal.epoch,
        seal.crc,
        seal.store_timestamp_ms
    )?;
    writeln!(
        out,
        "base at {}, of {} bytes, {} bytes of changes since; {} facts, {} records up to here",
        footer.base_at, footer.base_bytes, footer.since_base_bytes, footer.live_facts, footer.records
    )?;
    let named = [
        ("queues", QUEUES),
        ("entries", ENTRIES),
        ("places", PLACES),
        ("strides", STRIDES),
        ("times", TIMES),
        ("keys", KEYS),
        ("changes", CHANGES),
        ("base queues", BASE_QUEUES),
        ("base facts", BASE_FACTS),
    ];
    for (name, number) in named {
        let section = footer.sections[number];
        writeln!(out, "{:>12}  {name}: {} rows, {} bytes", section.at, section.rows, section.bytes)?;
    }
    Ok(())
}

fn print_tables(sidecar: &Sidecar, out: &mut dyn Write) -> Result<(), Stop> {
    let mut queues = sidecar.queues_from(&[])?;
    while let Some(row) = queues.next()? {
        let Some(queue) = sidecar.queue(row.key)? else { continue };
        let before = if queue.previous == NO_SEGMENT { "none".into() } else { queue.previous.to_string() };
        let (name, count, first) = (queue_name(row.key), queue.count, queue.first);
        writeln!(out, "queue {name}: {count} records from number {first}, segment before: {before}")?;
        for index in 0..queue.count {
            if let Some(entry) = sidecar.entry(&queue, index)? {
                print_entry(sidecar, first + u64::from(index), entry, out)?;
            }
        }
    }
    for number in 0..sidecar.keys().unwrap_or_default() {
        let row = sidecar.key(number)?;
        let physical = sidecar.base().saturating_add(u64::from(row.position));
        let mut search = KeySearch::one(row.hash, physical);
        sidecar.search_key(&mut search)?;
        let found = if search.found == [physical] { "" } else { ", not found by it" };
        writeln!(out, "key {:08x} at {physical}{found}", row.hash)?;
    }
    let mut changes = sidecar.changes_from(&[])?;
    while let Some(row) = changes.next()? {
        match row.value {
            Some(value) => writeln!(out, "fact {} = {}", readable(row.key), readable(value))?,
            None => writeln!(out, "fact {} deleted", readable(row.key))?,
        }
    }
    let mut queues = sidecar.base_queues_from(&[])?;
    while let Some(row) = queues.next()? {
        if let Some(QueueEnd { end, last }) = QueueEnd::decode(row.value, sidecar.base()) {
            writeln!(out, "base: queue {} ends at {end}, last in segment {last}", queue_name(row.key))?;
        }
    }
    let mut facts = sidecar.base_facts_from(&[])?;
    while let Some(row) = facts.next()? {
        let value = readable(row.value.unwrap_or_default());
        writeln!(out, "base: fact {} = {value}", readable(row.key))?;
    }
    Ok(())
}

fn print_entry(sidecar: &Sidecar, number: u64, entry: Entry, out: &mut dyn Write) -> Result<(), Stop> {
    let (physical, size, tag_hash, crc) = (entry.physical, entry.size, entry.tag_hash, entry.crc);
    write!(out, "  number {number} at {physical}, {size} bytes, tag hash {tag_hash}, crc {crc:08x}")?;
    match sidecar.time_of(physical)? {
        Some(ms) => write!(out, ", stored {ms} ms")?,
        None => write!(out, ", stored at no time")?,
    }
    match sidecar.place(physical)? {
        Some((_, found)) if found == number => writeln!(out)?,
        _ => writeln!(out, ", not found by its place")?,
    }
    Ok(())
}

fn queue_name(key: &[u8]) -> String {
    match queue_of_key(key) {
        Some((topic, queue_id)) => format!("{}/{queue_id}", topic.escape_debug()),
        None => readable(key),
    }
}
