//! A store's folder: what may be in it, the marker that says it is ours, and how it comes to be.
//!
//! ```text
//! <folder>/ringmq.json                  the marker, written once:
//!                                       {"format":1,"segment_bytes":…,"store_id":"…","crc":"…"}
//!          ringmq.json.new              the marker before the first segment was there
//!          00000000000000000000.log …   the segments, without a gap, from the oldest that has not retired
//!          00000000000000000000.side …  their sidecars
//!          00000000000000000000.spare   a file that held a retired segment
//!          lock, flush-probe            of no meaning to a later start
//! ```
//!
//! A folder is made in this order, each step durable before the next: `ringmq.json.new`, the first segment, the
//! rename to `ringmq.json`. So a start that was interrupted is told from a store that lost its marker or its log.
//!
//! Invariants
//!  1. A folder that is not empty and not ours is refused, and nothing in it is changed: an unmounted disk, a
//!     mistyped path and a half-restored copy are never initialised.
//!  2. The marker never changes, and a damaged one is noticed: with another store id the whole log would seem
//!     to be somebody else's, and be overwritten.

use std::io;
use std::path::Path;
use std::rc::Rc;

use crate::env::{BLOCK_BYTES, Buffer, Env, File, LOCK_FILE, OpenHow};
use crate::flush_probe::PROBE_FILE;
use crate::limits::{LOCK_ATTEMPTS, LOCK_RETRY_DELAY, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::log::segment;
use crate::sidecar;
use crate::store::OpenError;

/// The marker's name.
pub const MARKER_FILE: &str = "ringmq.json";
const NEW_MARKER_FILE: &str = "ringmq.json.new";
/// What file systems put into their roots.
const FOREIGN_ALLOWED: &str = "lost+found";
const FORMAT: u32 = 1;

/// What was decided once for a store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Marker {
    /// Of the folder as a whole.
    pub format: u32,
    /// Length of every segment.
    pub segment_bytes: u64,
    /// 16 hexadecimal digits, drawn at creation and in every frame.
    store_id: String,
    /// 8 hexadecimal digits: CRC-32 of the other values as text, a space between two.
    crc: String,
}

impl Marker {
    fn new(segment_bytes: u64, store_id: u64) -> Marker {
        let store_id = format!("{store_id:016x}");
        let crc = Marker::crc(FORMAT, segment_bytes, &store_id);
        Marker { format: FORMAT, segment_bytes, store_id, crc }
    }

    fn crc(format: u32, segment_bytes: u64, store_id: &str) -> String {
        let text = format!("{format} {segment_bytes} {store_id}");
        format!("{:08x}", crc32fast::hash(text.as_bytes()))
    }

    /// The number that every frame carries.
    pub fn store_id(&self) -> Option<u64> {
        u64::from_str_radix(&self.store_id, 16).ok()
    }

    /// Reads a marker; what follows the JSON may be padding.
    pub fn decode(bytes: &[u8]) -> Result<Marker, String> {
        let marker: Marker =
            serde_json::from_slice(bytes.trim_ascii_end()).map_err(|error| error.to_string())?;
        if marker.format != FORMAT {
            return Err(format!(
                "format {} is not {FORMAT}: another version of RingMQ wrote it",
                marker.format
            ));
        }
        if marker.crc != Marker::crc(marker.format, marker.segment_bytes, &marker.store_id) {
            return Err("the marker fails its checksum".into());
        }
        if marker.store_id().is_none() {
            return Err("the store id is no number".into());
        }
        check_segment_bytes(marker.segment_bytes)?;
        Ok(marker)
    }
}

/// What a folder is, by the names in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing of anybody.
    Empty,
    /// A start was interrupted while it made the store.
    HalfMade { has_segment: bool },
    /// A store whose oldest segment begins there, and that ends before `segments` segments from offset 0 on. Of those that
    /// retired: files to be used again, sidecars to be removed, by their bases.
    Store { first: u64, segments: u64, spares: Vec<u64>, left_sidecars: Vec<u64> },
}

/// Whether segments may have this length.
pub(crate) fn check_segment_bytes(bytes: u64) -> Result<(), String> {
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(BLOCK_BYTES as u64)
    {
        return Err(format!(
            "segments of {bytes} bytes: must be {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}, in blocks of {BLOCK_BYTES}"
        ));
    }
    Ok(())
}

/// Looks at a folder.
pub(crate) async fn look<E: Env>(env: &E, folder: &Path) -> Result<Found, OpenError> {
    let names = env.list(folder).await.map_err(|error| failed("listing", folder, &error))?;
    let refused = |what| OpenError::Refused { folder: folder.display().to_string(), what };
    // The distance of the segments says their length, so the marker is read before they are counted.
    let segment_bytes = if names.iter().any(|name| name == MARKER_FILE) {
        Some(read_marker(env, folder).await?.segment_bytes)
    } else {
        None
    };
    classify(&names, segment_bytes).map_err(refused)
}

/// The rule of `look`; `segment_bytes` is the marker's, if there is one.
fn classify(names: &[String], segment_bytes: Option<u64>) -> Result<Found, String> {
    let mut bases: Vec<u64> = names.iter().filter_map(|name| segment::base_of(name)).collect();
    bases.sort_unstable();
    if let Some(segment_bytes) = segment_bytes {
        return kept(names, &bases, segment_bytes).map_err(|lost| {
            format!("segment {} is missing; restore it from a copy", segment::file_name(lost))
        });
    }
    let half_made = names.iter().any(|name| name == NEW_MARKER_FILE);
    let begun = half_made && bases == [0];
    if !bases.is_empty() && !begun {
        return Err(format!("it has log files and no {MARKER_FILE}; restore it from a copy"));
    }
    let ours = |name: &str| {
        [LOCK_FILE, PROBE_FILE, NEW_MARKER_FILE, FOREIGN_ALLOWED].contains(&name)
            || segment::base_of(name).is_some()
    };
    if let Some(foreign) = names.iter().find(|name| !ours(name)) {
        return Err(format!(
            "it is not empty and no store of RingMQ: {foreign} is in it; name an empty folder"
        ));
    }
    if half_made { Ok(Found::HalfMade { has_segment: !bases.is_empty() }) } else { Ok(Found::Empty) }
}

/// Which segments of a store are there, and which have retired; else the base of one that is missing. It was lost unless
/// a spare file says that it retired, or its sidecar is gone too: that goes last. Nothing retires before a segment after it
/// has its sidecar.
pub(crate) fn kept(names: &[String], bases: &[u64], segment_bytes: u64) -> Result<Found, u64> {
    let &first = bases.first().ok_or(0u64)?;
    let expected = (0..).map(|n: u64| first + n * segment_bytes);
    if let Some((_, lost)) = bases.iter().zip(expected).find(|(base, expected)| **base != *expected) {
        return Err(lost);
    }
    let mut spares: Vec<u64> = names.iter().filter_map(|name| segment::spare_base_of(name)).collect();
    let mut sidecars: Vec<u64> = names.iter().filter_map(|name| sidecar::base_of(name)).collect();
    spares.sort_unstable();
    sidecars.sort_unstable();
    let is_sealed = sidecars.last().is_some_and(|newest| *newest >= first);
    if !first.is_multiple_of(segment_bytes) || (first > 0 && !is_sealed) {
        return Err(first.saturating_sub(segment_bytes) / segment_bytes * segment_bytes);
    }
    let left_sidecars: Vec<u64> = sidecars.into_iter().filter(|base| *base < first).collect();
    match left_sidecars.iter().find(|base| !spares.contains(base)) {
        Some(lost) => Err(*lost),
        None => {
            let segments = first / segment_bytes + bases.len() as u64;
            Ok(Found::Store { first, segments, spares, left_sidecars })
        }
    }
}

/// Reads the marker of a store.
pub(crate) async fn read_marker<E: Env>(env: &E, folder: &Path) -> Result<Marker, OpenError> {
    let path = folder.join(MARKER_FILE);
    let bytes = first_block(env, &path).await.map_err(|error| failed("reading", &path, &error))?;
    Marker::decode(&bytes).map_err(|what| OpenError::Corrupt {
        file: path.display().to_string(),
        position: 0,
        what,
    })
}

/// Makes the folder's own name durable, and those of the folders it is in: they may be as new.
pub(crate) async fn sync_parents<E: Env>(env: &E, folder: &Path) -> Result<(), OpenError> {
    for parent in folder.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match env.sync_folder(parent).await {
            // What we may not even look into, we did not make.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            synced => synced.map_err(|error| failed("syncing", parent, &error))?,
        }
    }
    Ok(())
}

/// First step of making a store: the marker under its first name. A half-made store keeps the one it has.
pub(crate) async fn begin<E: Env>(
    env: &E,
    folder: &Path,
    found: &Found,
    segment_bytes: u64,
) -> Result<Marker, OpenError> {
    let path = folder.join(NEW_MARKER_FILE);
    let fresh = Marker::new(segment_bytes, env.random());
    let marker = match *found {
        Found::HalfMade { has_segment } => {
            blank_first_segment(env, folder, has_segment).await?;
            let bytes = first_block(env, &path).await.map_err(|error| failed("reading", &path, &error))?;
            match Marker::decode(&bytes) {
                Ok(marker) => marker,
                // It was not durable yet, so there was nothing after it.
                Err(_) if !has_segment => fresh,
                Err(what) => {
                    return Err(OpenError::Corrupt { file: path.display().to_string(), position: 0, what });
                }
            }
        }
        _ => fresh,
    };
    let mut text = serde_json::to_vec(&marker).expect("a marker is text and numbers");
    text.push(b'\n');
    text.resize(BLOCK_BYTES, b' ');
    let mut buffer = env.buffer(BLOCK_BYTES);
    buffer.as_mut().copy_from_slice(&text);
    // One that is there is written again: that it can be read does not mean that it is durable.
    let create_new = *found == Found::Empty;
    let write = async {
        let file = env.open(&path, OpenHow { create_new, write: true, sync_writes: false }).await?;
        file.write_at(Rc::new(buffer), 0).await?;
        file.flush().await?;
        file.close().await?;
        env.sync_folder(folder).await
    };
    write.await.map_err(|error| failed("writing", &path, &error))?;
    Ok(marker)
}

/// Last step of making a store: the marker under its name.
pub(crate) async fn finish<E: Env>(env: &E, folder: &Path) -> Result<(), OpenError> {
    let path = folder.join(MARKER_FILE);
    let rename = async {
        env.rename(&folder.join(NEW_MARKER_FILE), &path).await?;
        env.sync_folder(folder).await
    };
    rename.await.map_err(|error| failed("writing", &path, &error))
}

/// Holds the folder. A process that died a moment ago may still seem to hold it.
pub(crate) async fn lock<E: Env>(env: &E, folder: &Path) -> Result<E::FolderLock, OpenError> {
    for attempt in 1.. {
        match env.lock_folder(folder).await {
            Ok(lock) => return Ok(lock),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(failed("locking", folder, &error));
            }
            Err(_) if attempt == LOCK_ATTEMPTS => break,
            Err(_) => env.sleep(LOCK_RETRY_DELAY).await,
        }
    }
    Err(OpenError::Locked { folder: folder.display().to_string() })
}

/// An error of one operation on one path.
pub(crate) fn failed(operation: &'static str, path: &Path, error: &io::Error) -> OpenError {
    OpenError::Io { operation, file: path.display().to_string(), error: error.to_string() }
}

/// Nobody was ever answered by a half-made store; bytes in its segment came from elsewhere.
async fn blank_first_segment<E: Env>(env: &E, folder: &Path, has_segment: bool) -> Result<(), OpenError> {
    if !has_segment {
        return Ok(());
    }
    let path = segment::path(folder, 0);
    let bytes = first_block(env, &path).await.map_err(|error| failed("reading", &path, &error))?;
    if bytes.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    let what = format!("it has log files and no {MARKER_FILE}; restore it from a copy");
    Err(OpenError::Refused { folder: folder.display().to_string(), what })
}

async fn first_block<E: Env>(env: &E, path: &Path) -> io::Result<Vec<u8>> {
    let file = env.open(path, OpenHow { create_new: false, write: false, sync_writes: false }).await?;
    let bytes = file.read_at(0, BLOCK_BYTES).await?.to_vec();
    file.close().await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_folder_becomes_a_store_and_only_a_whole_store_is_one() {
        const S: u64 = 65536;
        let first = "00000000000000000000.log";
        let second = "00000000000000065536.log";
        let third = "00000000000000131072.log";
        let (side_1, side_2) = ("00000000000000000000.side", "00000000000000065536.side");
        let side_3 = "00000000000000131072.side";
        let spare_1 = "00000000000000000000.spare";
        let store = |first: u64, segments, spares: &[u64], left_sidecars: &[u64]| {
            let [spares, left_sidecars] = [spares, left_sidecars].map(|bases| bases.to_vec());
            Some(Found::Store { first: first * S, segments, spares, left_sidecars })
        };
        #[rustfmt::skip]
        let rows: &[(&[&str], Option<u64>, Option<Found>)] = &[
            (&[],                                          None,    Some(Found::Empty)),
            (&["lock", "flush-probe", "lost+found"],       None,    Some(Found::Empty)),
            (&["ringmq.json.new"],                         None,    Some(Found::HalfMade { has_segment: false })),
            (&["ringmq.json.new", first],                  None,    Some(Found::HalfMade { has_segment: true })),
            (&["ringmq.json.new", first, second],          None,    None),
            (&["ringmq.json.new", "letters"],              None,    None),
            (&[first],                                     None,    None),
            (&["letters"],                                 None,    None),
            (&["ringmq.json"],                             Some(S), None),
            (&["ringmq.json", first],                      Some(S), store(0, 1, &[], &[])),
            (&["ringmq.json", first, second, third],       Some(S), store(0, 3, &[], &[])),
            (&["ringmq.json", first, "notes"],             Some(S), store(0, 1, &[], &[])),
            (&["ringmq.json", second],                     Some(S), None),
            (&["ringmq.json", first, third],               Some(S), None),
            // The first one retired: wholly, up to its sidecar, up to the spare file, not at all but lost.
            (&["ringmq.json", second, side_2],             Some(S), store(1, 2, &[], &[])),
            (&["ringmq.json", second, third, side_3],      Some(S), store(1, 3, &[], &[])),
            (&["ringmq.json", second, third, side_1],      Some(S), None),
            (&["ringmq.json", second, side_2, side_1, spare_1], Some(S), store(1, 2, &[0], &[0])),
            (&["ringmq.json", second, side_2, spare_1],    Some(S), store(1, 2, &[0], &[])),
            (&["ringmq.json", second, side_2, side_1],     Some(S), None),
            (&["ringmq.json", first, third, side_1],       Some(S), None),
        ];
        for (names, marker, found) in rows {
            let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
            assert_eq!(classify(&names, *marker).ok(), *found, "{names:?}");
        }
    }

    #[test]
    fn a_marker_is_read_back_with_its_padding_and_nothing_else_is() {
        let good = r#"{"format":1,"segment_bytes":65536,"store_id":"00000000deadbeef","crc":"1dfc45fc"}"#;
        let marker = Marker::decode(format!("{good}\n      ").as_bytes()).expect("it is a marker");
        assert_eq!((marker.segment_bytes, marker.store_id()), (65536, Some(0xdead_beef)));
        assert_eq!(serde_json::to_string(&marker).expect("json"), good);
        for bad in [
            "",
            "{}",
            &good.replace(":1", ":2"),
            &good.replace("65536", "65537"),
            &good.replace("65536", "0"),
            &good.replace("beef", "beer"),
            &good.replace("beef", "beee"),
            &good.replace("65536", "61440"),
            &good[..good.len() - 1],
        ] {
            assert!(Marker::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
