//! A sidecar's footer: what it is of, and where its sections are. Drawn in `mod.rs`.
//!
//! Invariant: a footer that was read has values that are written, so nobody who follows it leaves the file.

use super::keys::KEY_ROW_BYTES;
use super::map::{ENTRY_BYTES, TIME_BYTES};
use super::table::Section;
use super::{
    BASE_FACTS, BASE_QUEUES, CHANGES, ENTRIES, FOOTER_BYTES, FORMAT_VERSION, KEYS, MAGIC, PLACES, QUEUES,
    SECTIONS, STRIDES, Seal, TIMES, VERSION_WITHOUT_KEYS, u32_at, u64_at,
};

/// What ends a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub version: u16,
    pub store_id: u64,
    pub base: u64,
    pub segment_bytes: u64,
    pub seal: Seal,
    pub checksums_crc: u32,
    pub base_at: u64,
    pub since_base_bytes: u64,
    pub base_bytes: u64,
    pub live_facts: u64,
    pub records: u64,
    pub pages_bytes: u64,
    pub sections: [Section; SECTIONS],
}

/// Why bytes are no sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SidecarFault {
    /// Too short, or not ended by a footer.
    #[error("it does not end with a footer")]
    Magic,
    /// Written by another format.
    #[error("format version {0} is not one of {VERSION_WITHOUT_KEYS} to {FORMAT_VERSION}")]
    Version(u16),
    /// The footer, or the list of page checksums, is not what was written.
    #[error("its footer fails its checksum")]
    FooterCrc,
    /// A field has a value that is never written.
    #[error("{0} has a value that is never written")]
    Field(&'static str),
}

impl Footer {
    /// What a store without its learnt part cannot do without: queues and facts.
    pub fn needed(&self) -> impl Iterator<Item = Section> {
        let tables = [QUEUES, CHANGES, BASE_QUEUES, BASE_FACTS];
        tables.into_iter().flat_map(|table| [self.sections[table], self.sections[table + 1]])
    }

    pub fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC.to_be_bytes());
        put(4, &self.version.to_be_bytes());
        for (index, value) in
            [self.store_id, self.base, self.segment_bytes, self.seal.position, self.seal.epoch]
                .iter()
                .enumerate()
        {
            put(8 + index * 8, &value.to_be_bytes());
        }
        put(48, &self.seal.crc.to_be_bytes());
        put(52, &self.checksums_crc.to_be_bytes());
        put(56, &self.seal.store_timestamp_ms.to_be_bytes());
        let numbers = [
            self.base_at,
            self.since_base_bytes,
            self.base_bytes,
            self.live_facts,
            self.records,
            self.pages_bytes,
        ];
        let sections = self.sections.iter().flat_map(|section| [section.at, section.bytes, section.rows]);
        for (index, value) in numbers.into_iter().chain(sections).enumerate() {
            put(64 + index * 8, &value.to_be_bytes());
        }
        let crc = crc32fast::hash(&bytes[..FOOTER_BYTES - 4]);
        bytes[FOOTER_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<Footer, SidecarFault> {
        if u32_at(bytes, 0) != MAGIC {
            return Err(SidecarFault::Magic);
        }
        let version = u16::from_be_bytes([bytes[4], bytes[5]]);
        if !(VERSION_WITHOUT_KEYS..=FORMAT_VERSION).contains(&version) {
            return Err(SidecarFault::Version(version));
        }
        if crc32fast::hash(&bytes[..FOOTER_BYTES - 4]) != u32_at(bytes, FOOTER_BYTES - 4) {
            return Err(SidecarFault::FooterCrc);
        }
        let section = |index: usize| {
            if index == KEYS && version == VERSION_WITHOUT_KEYS {
                return Section::default();
            }
            let at = 112 + index * 24;
            Section { at: u64_at(bytes, at), bytes: u64_at(bytes, at + 8), rows: u64_at(bytes, at + 16) }
        };
        Ok(Footer {
            version,
            store_id: u64_at(bytes, 8),
            base: u64_at(bytes, 16),
            segment_bytes: u64_at(bytes, 24),
            seal: Seal {
                position: u64_at(bytes, 32),
                epoch: u64_at(bytes, 40),
                crc: u32_at(bytes, 48),
                store_timestamp_ms: u64_at(bytes, 56).cast_signed(),
            },
            checksums_crc: u32_at(bytes, 52),
            base_at: u64_at(bytes, 64),
            since_base_bytes: u64_at(bytes, 72),
            base_bytes: u64_at(bytes, 80),
            live_facts: u64_at(bytes, 88),
            records: u64_at(bytes, 96),
            pages_bytes: u64_at(bytes, 104),
            sections: std::array::from_fn(section),
        })
    }

    /// A checksum can be right and the footer still not one that we write.
    pub fn check(&self) -> Result<(), SidecarFault> {
        let SegmentPlace { end } = self.segment().ok_or(SidecarFault::Field("place"))?;
        let seal = self.seal.position;
        if seal < self.base || seal >= end || self.base_at > self.base {
            return Err(SidecarFault::Field("place"));
        }
        let fixed =
            [(ENTRIES, ENTRY_BYTES), (PLACES, 4), (STRIDES, 4), (TIMES, TIME_BYTES), (KEYS, KEY_ROW_BYTES)];
        let rows_fit = fixed.iter().all(|(number, bytes)| {
            let section = &self.sections[*number];
            section.rows.checked_mul(*bytes as u64) == Some(section.bytes)
        });
        let inside = |section: &Section| {
            section.at.checked_add(section.bytes).is_some_and(|end| end <= self.pages_bytes)
        };
        if rows_fit && self.sections.iter().all(inside) {
            Ok(())
        } else {
            Err(SidecarFault::Field("section"))
        }
    }

    /// Whether its version keeps keys.
    pub fn has_keys(&self) -> bool {
        self.version > VERSION_WITHOUT_KEYS
    }

    fn segment(&self) -> Option<SegmentPlace> {
        let bytes = self.segment_bytes;
        let ours = bytes > 0 && bytes <= 1 << 32 && self.base.is_multiple_of(bytes);
        Some(SegmentPlace { end: self.base.checked_add(bytes).filter(|_| ours)? })
    }
}

struct SegmentPlace {
    end: u64,
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::PAGE_BYTES;
    use super::*;

    const PAGE: u64 = PAGE_BYTES as u64;
    pub const SEGMENT: u64 = 1 << 20;
    pub const BASE: u64 = 3 * SEGMENT;

    /// The footer of a sidecar of segment 3 with these sections, each with its rows, and the bytes of its pages.
    pub fn footer(sections: &[(usize, Vec<u8>, u64)]) -> (Footer, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut footer = Footer {
            version: FORMAT_VERSION,
            store_id: 7,
            base: BASE,
            segment_bytes: SEGMENT,
            seal: Seal { position: BASE + 4096, epoch: 1, crc: 2, store_timestamp_ms: 3 },
            checksums_crc: 0,
            base_at: SEGMENT,
            since_base_bytes: 0,
            base_bytes: 0,
            live_facts: 0,
            records: 0,
            pages_bytes: 0,
            sections: [Section::default(); SECTIONS],
        };
        for (number, section, rows) in sections {
            let at = bytes.len() as u64;
            footer.sections[*number] = Section { at, bytes: section.len() as u64, rows: *rows };
            bytes.extend(section);
        }
        bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0);
        footer.pages_bytes = bytes.len() as u64;
        (footer, bytes)
    }

    /// A whole sidecar of that footer, but for the damage.
    pub fn whole(mut footer: Footer, mut bytes: Vec<u8>, damage: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let checksums: Vec<u8> =
            bytes.chunks(PAGE_BYTES).flat_map(|page| crc32fast::hash(page).to_be_bytes()).collect();
        footer.checksums_crc = crc32fast::hash(&checksums);
        damage(&mut bytes);
        bytes.extend(checksums);
        bytes.extend(footer.encode());
        bytes
    }

    #[test]
    fn a_footer_with_a_right_checksum_must_still_make_sense() {
        let entries = vec![0; 3 * ENTRY_BYTES];
        let good = footer(&[(ENTRIES, entries, 3), (TIMES, vec![0; 24], 2), (CHANGES, vec![0; 9], 0)]).0;
        let place = Some(SidecarFault::Field("place"));
        let section = Some(SidecarFault::Field("section"));
        type Change = fn(&mut Footer);
        #[rustfmt::skip]
        let rows: &[(&str, Change, Option<SidecarFault>)] = &[
            ("nothing",                     |_| (),                                        None),
            ("sealed at its first byte",    |it| it.seal.position = BASE,                  None),
            ("sealed before it",            |it| it.seal.position = BASE - 1,              place),
            ("sealed at its last byte",     |it| it.seal.position = BASE + SEGMENT - 1,    None),
            ("sealed after it",             |it| it.seal.position = BASE + SEGMENT,        place),
            ("its own base",                |it| it.base_at = BASE,                        None),
            ("a later one's base",          |it| it.base_at = BASE + 1,                    place),
            ("between two segments",        |it| it.base = BASE + 1,                       place),
            ("no length",                   |it| it.segment_bytes = 0,                     place),
            ("the greatest length",         |it| (it.base, it.base_at, it.segment_bytes) = (0, 0, 1 << 32), None),
            ("too great a length",          |it| (it.base, it.base_at, it.segment_bytes) = (0, 0, 1 << 33), place),
            ("an end beyond all numbers",   |it| (it.base, it.seal.position) = (u64::MAX - SEGMENT + 1, u64::MAX), place),
            ("too many entries",            |it| it.sections[ENTRIES].rows = 4,            section),
            ("too few times",               |it| it.sections[TIMES].rows = 1,              section),
            ("places without bytes",        |it| it.sections[PLACES].rows = 1,             section),
            ("strides without rows",        |it| it.sections[STRIDES].bytes = 4,           section),
            ("keys without bytes",          |it| it.sections[KEYS].rows = 1,               section),
            ("rows beyond all numbers",     |it| it.sections[PLACES].rows = 1 << 62,       section),
            ("a section to the last byte",  |it| it.sections[CHANGES].at = PAGE - 9,       None),
            ("a section past it",           |it| it.sections[CHANGES].at = PAGE - 8,       section),
            ("one beyond all numbers",      |it| it.sections[CHANGES].at = u64::MAX,       section),
        ];
        for (what, change, fault) in rows {
            let mut footer = good;
            change(&mut footer);
            assert_eq!(footer.check().err(), *fault, "{what}");
            assert_eq!(Footer::decode(&footer.encode()), Ok(footer), "{what}");
        }
    }

    #[test]
    fn what_is_no_footer_is_told_apart() {
        let good = footer(&[]).0.encode();
        for (at, fault) in
            [(0, SidecarFault::Magic), (5, SidecarFault::Version(3)), (9, SidecarFault::FooterCrc)]
        {
            let mut bad = good;
            bad[at] = 3;
            assert_eq!(Footer::decode(&bad), Err(fault));
        }
    }
}
