//! From the files to the end of the log: every frame that follows, and the verdict on what comes after.
//!
//! ```text
//!   frames that follow each other │ a frame that does not │ …
//!                                 ^ cut here, or refuse
//! ```
//!
//! Invariants
//!  1. Nothing is written and nothing deleted here; refusing leaves the files as they are.
//!  2. Everything below an offset that any whole frame calls durable is there, or the log is refused.
//!  3. After a sealed segment there is a next one, or the log is refused.
//!
//! Not here: which frame follows (`chain`), what is in it (`state`).

use std::io;
use std::path::{Path, PathBuf};

use super::chain::{Chain, Remains};
use super::frame::{Frame, FrameFault, FrameKind, HEADER_BYTES, Header, block_rounded};
use super::segment;
use super::tail::Sealed;
use crate::env::{BLOCK_BYTES, Env, File, OpenHow};
use crate::limits::{READ_BYTES_MAX, SEARCH_BYTES, SEARCH_PROBE_BYTES};
use crate::planted::{self, Bug};
use crate::store::OpenError;

/// What recovery found.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The end of the log.
    pub end: Chain,
    /// Length of what was cut, as far as it shows.
    pub torn_bytes: u64,
    /// Bytes read.
    pub read_bytes: u64,
}

/// Replays the segments in `folder` (up to the one of number `segments`), from where `chain` ends, at most up to `until`.
/// `apply` gets every frame and says what is wrong with it, if anything is.
pub(crate) async fn replay<E: Env>(
    env: &E,
    folder: &Path,
    segments: u64,
    mut chain: Chain,
    until: Option<u64>,
    mut apply: impl FnMut(&Frame<'_>) -> Result<(), String>,
) -> Result<Recovered, OpenError> {
    let mut files = SegmentReader::new(env, folder, chain.segment_bytes, segments);
    let mut before = chain;
    let fault = loop {
        if until.is_some_and(|until| chain.position >= until) {
            return Ok(Recovered { end: chain, torn_bytes: 0, read_bytes: files.read_bytes });
        }
        let bytes = match files.frame(&chain).await? {
            Ok(bytes) => bytes,
            Err(fault) => break fault,
        };
        let frame = match chain.check(bytes) {
            Ok(frame) => frame,
            Err(fault) => break fault,
        };
        let header = frame.header;
        let applied = apply(&frame);
        applied.map_err(|what| files.corrupt(header.position, what))?;
        if planted::is(Bug::HalfBatchApplied)
            && let Some(item) = frame_bad_item(&mut files, &chain).await?
        {
            break FrameFault::ItemCrc(item);
        }
        before = chain;
        chain.follow(&header);
        if header.kind == FrameKind::Seal {
            files.check_seal(header.position).await?;
        }
    };
    let after = files.search(&chain).await?;
    let proven = after.durable.max(chain.durable);
    if proven > chain.position && !planted::is(Bug::CorruptionCut) {
        let what = format!("{fault}, but everything before physical offset {proven} was once durable");
        return Err(files.corrupt(chain.position, what));
    }
    let mut end = chain;
    let torn_bytes = after.remains.torn_end().saturating_sub(chain.position);
    if planted::is(Bug::TornTailCutsOneTooMany) && torn_bytes > 0 {
        end = before;
    }
    if planted::is(Bug::AcknowledgedBlockRewritten) && !end.position.is_multiple_of(end.segment_bytes) {
        end.position -= BLOCK_BYTES as u64;
    }
    Ok(Recovered { end, torn_bytes, read_bytes: files.read_bytes })
}

/// Whether the segment that `seal` ended still ends with that frame.
pub(crate) async fn is_sealed_by<E: Env>(
    env: &E,
    folder: &Path,
    store: &Chain,
    seal: Sealed,
) -> Result<bool, OpenError> {
    let mut files = SegmentReader::new(env, folder, store.segment_bytes, u64::MAX);
    files.read_bytes_max = BLOCK_BYTES;
    let bytes = files.bytes(seal.position, BLOCK_BYTES).await?;
    let frame = Frame::decode(bytes);
    let is_it = frame.is_ok_and(|Frame { header, .. }| {
        let found = (header.kind, header.store_id, header.position, header.epoch, header.crc);
        found == (FrameKind::Seal, store.store_id, seal.position, seal.epoch, seal.crc)
    });
    files.close().await;
    Ok(is_it)
}

/// What the first frame of the segment at `base` says that it follows, of a log whose segments before it retired.
pub(crate) async fn chain_before<E: Env>(
    env: &E,
    folder: &Path,
    store: &Chain,
    base: u64,
) -> Result<Chain, OpenError> {
    let mut files = SegmentReader::new(env, folder, store.segment_bytes, u64::MAX);
    files.read_bytes_max = BLOCK_BYTES;
    let header = Header::decode(files.bytes(base, BLOCK_BYTES).await?);
    let chain = header.map(|Header { epoch, previous_crc, .. }| Chain {
        position: base,
        epoch,
        crc: previous_crc,
        durable: base,
        ..*store
    });
    let chain = chain.map_err(|fault| files.corrupt(base, fault.to_string()));
    files.close().await;
    chain
}

/// For a planted bug only.
async fn frame_bad_item<E: Env>(
    files: &mut SegmentReader<'_, E>,
    chain: &Chain,
) -> Result<Option<usize>, OpenError> {
    let bytes = files.frame(chain).await?;
    Ok(bytes.ok().and_then(|bytes| Frame::decode_unchecked_payload(bytes).ok()?.first_bad_item()))
}

/// What lies after the end of the log.
#[derive(Debug, Default)]
struct After {
    remains: Remains,
    /// Highest offset that a whole frame there calls durable.
    durable: u64,
}

/// Where whole frames are looked for after the end of the log, so that a start does not read all that was prepared.
///
/// Damage kills one frame, and the next one begins at most a frame's length further on: so much is read after every
/// whole frame. Where more than that is damaged, frames that lie anywhere beyond still show, because the log is dense: a
/// little is read at the beginning of each later segment, and at distances that double.
struct Search {
    /// No whole frame was found from here on.
    quiet_from: u64,
    segment_bytes: u64,
}

impl Search {
    /// Where to look next, from `position` on.
    fn next(&self, position: u64) -> u64 {
        let distance = position.saturating_sub(self.quiet_from);
        let in_segment = position % self.segment_bytes;
        let doubled = SEARCH_BYTES << (distance / SEARCH_BYTES).max(1).ilog2();
        let looked_at = distance < SEARCH_BYTES
            || in_segment < SEARCH_PROBE_BYTES
            || (doubled..doubled + SEARCH_PROBE_BYTES).contains(&distance);
        if looked_at {
            return position;
        }
        let next_segment = position - in_segment + self.segment_bytes;
        next_segment.min(self.quiet_from + 2 * doubled)
    }
}

/// Reads the segments from front to back.
struct SegmentReader<'a, E: Env> {
    env: &'a E,
    folder: &'a Path,
    segment_bytes: u64,
    segments: u64,
    open: Option<OpenSegment<E>>,
    read_bytes: u64,
    /// One read, at most.
    read_bytes_max: usize,
    /// Bytes of the log from `window_at` on, all of the open segment.
    window: Vec<u8>,
    window_at: u64,
}

struct OpenSegment<E: Env> {
    base: u64,
    len: u64,
    file: E::File,
}

impl<'a, E: Env> SegmentReader<'a, E> {
    fn new(env: &'a E, folder: &'a Path, segment_bytes: u64, segments: u64) -> SegmentReader<'a, E> {
        SegmentReader {
            env,
            folder,
            segment_bytes,
            segments,
            open: None,
            read_bytes: 0,
            read_bytes_max: READ_BYTES_MAX,
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// The bytes of the frame that should follow, as long as its header says.
    async fn frame(&mut self, chain: &Chain) -> Result<Result<&[u8], FrameFault>, OpenError> {
        let head = self.bytes(chain.position, HEADER_BYTES).await?;
        if head.is_empty() {
            return Ok(Err(FrameFault::Empty));
        }
        match chain.frame_bytes(head) {
            Ok(len) => self.bytes(chain.position, len).await.map(Ok),
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// After a seal there is a next segment: its name was durable before the seal was written. How long either file
    /// is says nothing: their zeros may not have survived.
    async fn check_seal(&mut self, position: u64) -> Result<(), OpenError> {
        let next = (position / self.segment_bytes + 1) * self.segment_bytes;
        match self.segment(next).await? {
            Some(_) => Ok(()),
            None => {
                Err(self.corrupt(next, "the segment before it is sealed, and this one is missing".into()))
            }
        }
    }

    /// Looks at what is after the end of the log, as far as [`Search`] goes.
    async fn search(&mut self, chain: &Chain) -> Result<After, OpenError> {
        let mut after = After::default();
        let mut search = Search { quiet_from: chain.position, segment_bytes: self.segment_bytes };
        let mut position = chain.position;
        while position < self.segments * self.segment_bytes {
            position = search.next(position);
            let block = self.bytes(position, BLOCK_BYTES).await?;
            if block.is_empty() {
                position = (position / self.segment_bytes + 1) * self.segment_bytes;
                continue;
            }
            after.remains.note(chain, position, block);
            let frame_bytes = Chain { position, ..*chain }.frame_bytes(block);
            if let Ok(len) = frame_bytes {
                let durable = chain.proof(position, self.bytes(position, len).await?);
                if durable.is_some() {
                    search.quiet_from = position + len as u64;
                }
                after.durable = after.durable.max(durable.unwrap_or(0));
            }
            position += BLOCK_BYTES as u64;
        }
        Ok(after)
    }

    /// Up to `len` bytes of the log at `physical`; fewer only at the end of the file.
    async fn bytes(&mut self, physical: u64, len: usize) -> Result<&[u8], OpenError> {
        let base = physical - physical % self.segment_bytes;
        let Some(segment_len) = self.segment(base).await?.map(|segment| segment.len) else { return Ok(&[]) };
        let have =
            |window: &[u8], at: u64| physical >= at && physical + len as u64 <= at + window.len() as u64;
        if !have(&self.window, self.window_at) {
            self.fill(physical, block_rounded(len).max(self.read_bytes_max), segment_len).await?;
        }
        let start = usize::try_from(physical - self.window_at).unwrap_or(usize::MAX).min(self.window.len());
        let end = self.window.len().min(start.saturating_add(len));
        Ok(&self.window[start..end])
    }

    /// Reads at least `len` bytes from the block of `physical` on into the window, as far as the file goes.
    async fn fill(&mut self, physical: u64, len: usize, segment_len: u64) -> Result<(), OpenError> {
        let at = physical - physical % BLOCK_BYTES as u64;
        let mut position = at % self.segment_bytes;
        let end = (position + len as u64).min(segment_len);
        self.window.clear();
        self.window_at = at;
        while position < end {
            let wanted =
                block_rounded(usize::try_from(end - position).unwrap_or(usize::MAX).min(READ_BYTES_MAX));
            let open = self.open.as_ref().expect("the segment was opened to learn its length");
            let read = open.file.read_at(position, wanted).await;
            let read = read.map_err(|error| self.io("reading", at - at % self.segment_bytes, &error))?;
            if read.is_empty() {
                break;
            }
            position += read.len() as u64;
            self.read_bytes += read.len() as u64;
            self.window.extend_from_slice(&read);
        }
        Ok(())
    }

    /// The segment that begins at `base`, opened; `None` if there is none.
    async fn segment(&mut self, base: u64) -> Result<Option<&OpenSegment<E>>, OpenError> {
        if base / self.segment_bytes >= self.segments {
            return Ok(None);
        }
        if self.open.as_ref().is_none_or(|open| open.base != base) {
            self.close().await;
            let how = OpenHow { create_new: false, write: false, sync_writes: false };
            let opened = self.env.open(&self.path(base), how).await;
            let file = opened.map_err(|error| self.io("opening", base, &error))?;
            let len = file.len().await.map_err(|error| self.io("asking for the length of", base, &error))?;
            self.open = Some(OpenSegment { base, len: len.min(self.segment_bytes), file });
        }
        Ok(self.open.as_ref())
    }

    async fn close(&mut self) {
        if let Some(open) = self.open.take() {
            // Nothing was written through it; failing to close it harms nobody.
            let _ = open.file.close().await;
        }
        self.window.clear();
    }

    fn path(&self, base: u64) -> PathBuf {
        segment::path(self.folder, base)
    }

    fn corrupt(&self, physical: u64, what: String) -> OpenError {
        let position = physical % self.segment_bytes;
        let what =
            format!("{what}. Nothing was changed; restore this file from a copy, or move the folder away");
        OpenError::Corrupt { file: self.path(physical - position).display().to_string(), position, what }
    }

    fn io(&self, operation: &'static str, base: u64, error: &io::Error) -> OpenError {
        OpenError::Io { operation, file: self.path(base).display().to_string(), error: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_read_after_the_end_and_something_of_every_later_segment() {
        let search = Search { quiet_from: 5 << 20, segment_bytes: 256 << 20 };
        let mut looked_at: Vec<(u64, u64)> = Vec::new();
        let mut position = search.quiet_from;
        while position < 1024 << 20 {
            position = search.next(position);
            match looked_at.last_mut() {
                Some((_, end)) if *end == position => *end += BLOCK_BYTES as u64,
                _ => looked_at.push((position, position + BLOCK_BYTES as u64)),
            }
            position += BLOCK_BYTES as u64;
        }
        let mebibytes: Vec<_> = looked_at.iter().map(|(from, to)| (from >> 20, to >> 20)).collect();
        let doubled = [(5, 38), (69, 70), (133, 134), (256, 257), (261, 262)];
        assert_eq!(mebibytes[..5], doubled);
        assert_eq!(mebibytes[5..], [(512, 513), (517, 518), (768, 769), (1024, 1024)]);
    }
}
