//! Frames out of files that no store has open: for printing and checking. Synchronous; the only place in the log
//! that reads without the seam, because it must work on a copy, on any machine.

use std::io::{self, Read, Seek, SeekFrom};

use super::frame::{Frame, FrameFault, HEADER_BYTES, Header};
use crate::env::BLOCK_BYTES;

/// Bytes that can be read from any position: a file, or a copy in memory.
pub trait Source: Read + Seek {}
impl<S: Read + Seek> Source for S {}

/// One segment's bytes.
pub(super) struct SegmentBytes<'a> {
    source: Box<dyn Source + 'a>,
    pub len: u64,
    bytes: Vec<u8>,
}

impl<'a> SegmentBytes<'a> {
    pub fn new(mut source: Box<dyn Source + 'a>) -> io::Result<SegmentBytes<'a>> {
        let len = source.seek(SeekFrom::End(0))?;
        Ok(SegmentBytes { source, len, bytes: Vec::new() })
    }

    /// The bytes of the frame that begins at `position`, as many as its header says and the file has.
    pub fn frame(&mut self, position: u64) -> io::Result<Result<&[u8], FrameFault>> {
        match Header::decode(self.at(position, HEADER_BYTES)?) {
            Ok(header) => Ok(Ok(self.at(position, header.frame_bytes())?)),
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// The next whole frame that begins at `position` or a later block and passes; `skip` hears of every block before it.
    pub fn next_frame(
        &mut self,
        mut position: u64,
        passes: impl Fn(u64, &Frame<'_>) -> bool,
        mut skip: impl FnMut(u64, &[u8]),
    ) -> io::Result<Option<u64>> {
        while position < self.len {
            let frame = self.frame(position)?.and_then(Frame::decode_unchecked_payload);
            if frame.is_ok_and(|frame| passes(position, &frame)) {
                return Ok(Some(position));
            }
            skip(position, self.at(position, BLOCK_BYTES)?);
            position += BLOCK_BYTES as u64;
        }
        Ok(None)
    }

    /// Up to `len` bytes at `position`; fewer only at the end of the file.
    fn at(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let have = usize::try_from(self.len.saturating_sub(position)).unwrap_or(usize::MAX).min(len);
        self.source.seek(SeekFrom::Start(position))?;
        self.bytes.resize(have, 0);
        self.source.read_exact(&mut self.bytes)?;
        Ok(&self.bytes)
    }
}
