//! Checks the sidecars of a store that is not open against its segments: `ringmq log verify`.
//!
//! Every page, and that every record, each of its keys and every change of a fact in the segment is found in the sidecar as
//! the segment has it, and no other key. A sidecar that is missing is no finding: the next start makes it. Unless segments
//! have retired, and no other sidecar has all facts: then it cannot be made. Of a segment that was repaired a sidecar
//! knows more than is left there: that is no finding.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use super::{Damaged, Sidecar};
use crate::log::dump::Source;
use crate::log::frame::{Frame, FrameKind, HEADER_BYTES, Header, ItemKind, split_fact};
use crate::log::segment;
use crate::log::verify::Finding;
use crate::salvage;
use crate::state::keys::{KeySearch, hashes_of, topic_hash};

/// Checks the sidecars among these files, each opened by `open`.
pub fn verify_names<'a>(
    names: &[String],
    mut open: impl FnMut(&str) -> io::Result<Box<dyn Source + 'a>>,
) -> io::Result<(u64, Vec<Finding>)> {
    let mut findings = Vec::new();
    let mut sidecars = 0;
    let mut has_base = false;
    for name in names {
        let Some(base) = super::base_of(name) else { continue };
        sidecars += 1;
        let mut bytes = Vec::new();
        open(name)?.read_to_end(&mut bytes)?;
        let mut find = |position, what: String| {
            findings.push(Finding { file: name.clone(), position, what });
        };
        let sidecar = match Sidecar::decode(Box::new(bytes)) {
            Ok(sidecar) if sidecar.base() == base => sidecar,
            Ok(sidecar) => {
                find(0, format!("it is the sidecar of segment {}", sidecar.base()));
                continue;
            }
            Err(fault) => {
                find(0, fault.to_string());
                continue;
            }
        };
        let segment = segment::file_name(base);
        if !names.contains(&segment) {
            find(0, format!("{segment} is missing"));
            continue;
        }
        match compare(&sidecar, open(&segment)?)? {
            Ok(None) => has_base |= sidecar.has_base(),
            Ok(Some(what)) => find(0, what),
            Err(damaged) => find(damaged.position, "a page fails its checksum".into()),
        }
    }
    let first = names.iter().filter_map(|name| segment::base_of(name)).min().unwrap_or(0);
    let can_be_made = first == 0 || has_base;
    if !can_be_made && findings.is_empty() {
        let file = super::file_name(first);
        findings.push(Finding { file, position: 0, what: "it is missing".into() });
    }
    let remedy = match can_be_made {
        true => "the next start makes it again",
        false => "restore it from a copy: no other sidecar has the facts of segments that have retired",
    };
    findings.iter_mut().for_each(|finding| finding.what = format!("{}; {remedy}", finding.what));
    Ok((sidecars, findings))
}

/// What differs between a sidecar and its segment. Damage of the segment is not looked for here.
fn compare(
    sidecar: &Sidecar,
    mut segment: Box<dyn Source + '_>,
) -> io::Result<Result<Option<String>, Damaged>> {
    if let Err(damaged) = sidecar.check_all() {
        return Ok(Err(damaged));
    }
    let mut position = 0;
    let mut facts: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    let mut keys = 0;
    let mut is_repaired = false;
    let mut bytes = Vec::new();
    loop {
        bytes.resize(HEADER_BYTES, 0);
        if !read_at(&mut segment, position, &mut bytes)? {
            return Ok(Ok(Some("its segment does not end with the frame that it names".into())));
        }
        let Ok(header) = Header::decode(&bytes) else { return Ok(Ok(None)) };
        bytes.resize(header.frame_bytes(), 0);
        let whole = read_at(&mut segment, position, &mut bytes)?;
        let Ok(frame) = Frame::decode(&bytes) else { return Ok(Ok(None)) };
        for (item, physical, bytes) in frame.items() {
            is_repaired |= salvage::stands_for_lost(item.kind, bytes);
            match item.kind {
                ItemKind::Record => {
                    match record(sidecar, physical, item.len, item.crc, item.tag_hash) {
                        Ok(true) => {}
                        Ok(false) => {
                            return Ok(Ok(Some(format!("it does not have the record at {physical}"))));
                        }
                        Err(damaged) => return Ok(Err(damaged)),
                    }
                    match keys_of(sidecar, physical, bytes) {
                        Ok(Some(found)) => keys += found,
                        Ok(None) => {
                            return Ok(Ok(Some(format!(
                                "it does not have a key of the record at {physical}"
                            ))));
                        }
                        Err(damaged) => return Ok(Err(damaged)),
                    }
                }
                ItemKind::FactPut => {
                    if let Some((key, value)) = split_fact(bytes) {
                        facts.insert(key.to_vec(), Some(value.to_vec()));
                    }
                }
                ItemKind::FactDelete => {
                    facts.insert(bytes.to_vec(), None);
                }
            }
        }
        if header.kind == FrameKind::Seal || !whole {
            let seal = sidecar.seal();
            if (seal.position, seal.epoch, seal.crc) != (header.position, header.epoch, header.crc) {
                return Ok(Ok(Some("its segment does not end with the frame that it names".into())));
            }
            break;
        }
        position += header.frame_bytes() as u64;
    }
    if is_repaired {
        return Ok(Ok(None));
    }
    if sidecar.keys().is_some_and(|rows| rows != keys) {
        return Ok(Ok(Some(format!("it has keys that its segment does not have: of them there are {keys}"))));
    }
    for (key, value) in &facts {
        match sidecar.change(key) {
            Ok(found) if found == Some(value.as_deref()) => {}
            Ok(_) => return Ok(Ok(Some("a change of a fact is not what the segment says".into()))),
            Err(damaged) => return Ok(Err(damaged)),
        }
    }
    Ok(Ok(None))
}

fn record(sidecar: &Sidecar, physical: u64, len: u32, crc: u32, tag_hash: i32) -> Result<bool, Damaged> {
    let Some((key, offset)) = sidecar.place(physical)? else { return Ok(false) };
    let Some(row) = sidecar.queue(key)? else { return Ok(false) };
    let Some(index) = offset.checked_sub(row.first).and_then(|index| u32::try_from(index).ok()) else {
        return Ok(false);
    };
    let entry = sidecar.entry(&row, index)?;
    Ok(entry.is_some_and(|entry| {
        (entry.physical, entry.size, entry.crc, entry.tag_hash) == (physical, len, crc, tag_hash)
    }))
}

/// Number of different keys of a record, if all are found. Bytes that are no record are another check's finding.
fn keys_of(sidecar: &Sidecar, physical: u64, record: &[u8]) -> Result<Option<u64>, Damaged> {
    let Ok(record) = ringmq_wire::record::decode(record) else { return Ok(Some(0)) };
    if sidecar.keys().is_none() {
        return Ok(Some(0));
    }
    let mut hashes = Vec::new();
    let record_bytes = u32::try_from(record.bytes.len()).unwrap_or(u32::MAX);
    hashes_of(topic_hash(record.topic), record_bytes, record.properties, |hash| hashes.push(hash));
    hashes.sort_unstable();
    hashes.dedup();
    for hash in &hashes {
        let mut search = KeySearch::one(*hash, physical);
        sidecar.search_key(&mut search)?;
        if search.found != [physical] {
            return Ok(None);
        }
    }
    Ok(Some(hashes.len() as u64))
}

/// Fills the buffer from there; false at the end of the file.
fn read_at(source: &mut Box<dyn Source + '_>, position: u64, bytes: &mut [u8]) -> io::Result<bool> {
    source.seek(SeekFrom::Start(position))?;
    match source.read_exact(bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}
