//! What must hold for any bytes at all that are read as log or sidecar. Two drivers: seeded mutations in the ordinary tests
//! (`any_bytes.rs`), and libFuzzer (`tools/fuzz`). A check fails by panicking.

#[path = "../life/mod.rs"]
mod life;

use std::io::Cursor;
use std::time::Duration;

use life::{Life, SEGMENT, cold_options, sidecars};
use ringmq_engine::Batch;
use ringmq_engine::env::sim::Disk;
use ringmq_engine::log::dump;
use ringmq_engine::log::frame::{
    Frame, FrameKind, HEADER_BYTES, Header, ITEM_BYTES, Item, ItemKind, encode_around_payload, frame_bytes,
};
use ringmq_engine::sidecar::dump::dump_bytes;

/// A log frame: as it is, and with its checksums put right, so that what lies behind them is reached too.
pub fn log_frame(input: &[u8]) {
    whole(input);
    if let Some(mended) = with_right_checksums(input) {
        whole(&mended);
    }
}

fn whole(input: &[u8]) {
    let mut printed = Vec::new();
    dump::dump_source(Box::new(Cursor::new(input)), &mut printed).expect("reading from memory succeeds");
    let Ok(frame) = Frame::decode(input) else { return };
    let (items, payload): (Vec<Item>, Vec<&[u8]>) =
        frame.items().map(|(item, _, bytes)| (item, bytes)).unzip();
    let payload = payload.concat();
    assert_eq!(payload.len(), frame.header.payload_bytes as usize);
    let mut back = vec![0; frame_bytes(payload.len(), items.len())];
    back[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(&payload);
    encode_around_payload(&mut back, &frame.header, &items);
    let used = HEADER_BYTES + payload.len() + ITEM_BYTES * items.len();
    assert_eq!(back[..used], input[..used], "what was decoded is written the same");
}

fn with_right_checksums(input: &[u8]) -> Option<Vec<u8>> {
    let header = Header::decode(input).ok()?;
    let mut mended = input.to_vec();
    let directory_at = HEADER_BYTES + header.payload_bytes as usize;
    let directory_end = directory_at + ITEM_BYTES * header.items as usize;
    let mut at = HEADER_BYTES;
    for item in (directory_at..directory_end).step_by(ITEM_BYTES) {
        let len = u32::from_be_bytes(*mended.get(item..)?.first_chunk()?) as usize;
        let crc = crc32fast::hash(mended.get(at..at.checked_add(len)?)?);
        mended.get_mut(item + 8..item + 12)?.copy_from_slice(&crc.to_be_bytes());
        at += len;
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&mended[..HEADER_BYTES - 4]);
    hasher.update(mended.get(directory_at..directory_end)?);
    mended[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&hasher.finalize().to_be_bytes());
    Some(mended)
}

/// A sidecar: as it is, and as the pages and the footer of one whose checksums are right.
pub fn sidecar(input: &[u8]) {
    print(input.to_vec());
    print(with_right_pages(input));
}

fn print(bytes: Vec<u8>) {
    dump_bytes(Box::new(bytes), &mut std::io::sink()).expect("a sink takes everything");
}

const FOOTER_BYTES: usize = 512;
const PAGE_BYTES: usize = 16 * 1024;

/// The last 512 bytes become the footer, what is before them the pages.
fn with_right_pages(input: &[u8]) -> Vec<u8> {
    let (pages, end) = input.split_at(input.len().saturating_sub(FOOTER_BYTES));
    let mut bytes = pages.to_vec();
    bytes.resize(pages.len().next_multiple_of(PAGE_BYTES), 0);
    let pages_bytes = bytes.len() as u64;
    let sums: Vec<u8> =
        bytes.chunks(PAGE_BYTES).flat_map(|page| crc32fast::hash(page).to_be_bytes()).collect();
    bytes.extend_from_slice(&sums);
    let mut footer = [0; FOOTER_BYTES];
    footer[..end.len()].copy_from_slice(end);
    footer[..8].copy_from_slice(b"RMQS\x00\x02\x00\x00");
    footer[52..56].copy_from_slice(&crc32fast::hash(&sums).to_be_bytes());
    footer[104..112].copy_from_slice(&pages_bytes.to_be_bytes());
    let crc = crc32fast::hash(&footer[..FOOTER_BYTES - 4]);
    footer[FOOTER_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
    bytes.extend_from_slice(&footer);
    bytes
}

/// The pages and footer of a real sidecar, without what is between them.
pub fn sidecar_seeds() -> Vec<Vec<u8>> {
    let life = Life::open(Disk::new(), cold_options(SEGMENT, None)).expect("it opens");
    for number in 0..60_u64 {
        let mut batch = Batch::default();
        let properties = "KEYS\x01k1 k2\x02UNIQ_KEY\x01u\x02";
        life.add_record_with(&mut batch, number as i32 % 6, &[7; 900], properties);
        batch.put(&[b'k', number as u8 % 20], &number.to_be_bytes());
        if number % 7 == 3 {
            batch.delete(&[b'k', number as u8 % 5]);
        }
        life.store.append(&mut batch).expect("there is room");
        life.sim.run_for(Duration::from_millis(20));
    }
    life.rest();
    let disk = life.sim.disk();
    let seed = |path| {
        let bytes = disk.bytes(path).expect("it is there");
        let used = bytes.iter().take(PAGE_BYTES).rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        [&bytes[..used], &bytes[bytes.len() - FOOTER_BYTES..]].concat()
    };
    sidecars(&disk).iter().map(|path| seed(path)).collect()
}

/// Frames of every kind, to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let kinds = [FrameKind::Opening, FrameKind::Seal, FrameKind::Note].map(|kind| frame(kind, &[]));
    let put = b"\x00\x03keyvalue".as_slice();
    let items: &[(ItemKind, &[u8])] =
        &[(ItemKind::Record, b"no record"), (ItemKind::FactPut, put), (ItemKind::FactDelete, b"key")];
    let one = frame(FrameKind::Batches, &items[1..2]);
    let several = frame(FrameKind::Batches, items);
    kinds.into_iter().chain([[several.clone(), one.clone()].concat(), several, one]).collect()
}

fn frame(kind: FrameKind, items: &[(ItemKind, &[u8])]) -> Vec<u8> {
    let payload: Vec<u8> = items.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    let directory: Vec<Item> = items
        .iter()
        .map(|&(kind, bytes)| Item {
            len: bytes.len() as u32,
            kind,
            batch_end: true,
            crc: crc32fast::hash(bytes),
            tag_hash: -1,
        })
        .collect();
    let header = Header {
        kind,
        store_id: 7,
        epoch: 1,
        position: 0,
        term: 0,
        durable: 0,
        store_timestamp_ms: 1_700_000_000_000,
        payload_bytes: payload.len() as u32,
        items: items.len() as u32,
        batches: items.len() as u32,
        records: items.iter().filter(|(kind, _)| *kind == ItemKind::Record).count() as u32,
        previous_crc: 0,
        crc: 0,
    };
    let mut bytes = vec![0; frame_bytes(payload.len(), items.len())];
    bytes[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(&payload);
    encode_around_payload(&mut bytes, &header, &directory);
    bytes
}
