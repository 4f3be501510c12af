//! The bytes of a sidecar, each page checked when it is first touched. Pure.

use std::cell::Cell;

use super::{FOOTER_BYTES, PAGE_BYTES};
use crate::env::Mapped;
use crate::planted::{self, Bug};

/// So much is asked of the disk when a page is touched for the first time: who reads goes on, often.
const AHEAD_BYTES: usize = 4 * PAGE_BYTES;

/// See the module.
pub(super) struct Pages {
    bytes: Mapped,
    pages_bytes: usize,
    /// A bit per page that was checked and is whole.
    checked: Box<[Cell<u64>]>,
}

impl Pages {
    /// Pages of which the first `pages_bytes` bytes consist, whose checksums follow. `None` if there are not as many.
    pub fn new(bytes: Mapped, pages_bytes: u64) -> Option<Pages> {
        let len = (*bytes).as_ref().len();
        let pages_bytes = usize::try_from(pages_bytes).ok().filter(|len| len.is_multiple_of(PAGE_BYTES))?;
        let pages = pages_bytes / PAGE_BYTES;
        let all = pages_bytes.checked_add(pages * 4)?.checked_add(FOOTER_BYTES)?;
        if all > len {
            return None;
        }
        Some(Pages { bytes, pages_bytes, checked: (0..pages.div_ceil(64)).map(|_| Cell::new(0)).collect() })
    }

    pub fn whole(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// The checksums of the pages.
    pub fn checksums(&self) -> &[u8] {
        &self.whole()[self.pages_bytes..][..self.pages_bytes / PAGE_BYTES * 4]
    }

    /// These bytes will be read soon.
    pub fn will_need(&self, at: u64, len: u64) {
        if let (Ok(at), Ok(len)) = (usize::try_from(at), usize::try_from(len)) {
            self.bytes.will_need(at, len);
        }
    }

    /// `len` bytes at `at`, checked. The error is the position of what is damaged.
    pub fn bytes(&self, at: u64, len: u64) -> Result<&[u8], u64> {
        let end = at.checked_add(len).filter(|end| *end <= self.pages_bytes as u64).ok_or(at)?;
        if len == 0 {
            return Ok(&[]);
        }
        let (start, end) = (at as usize, end as usize);
        if !self.is_checked(start / PAGE_BYTES) {
            self.bytes.will_need(start, (end - start).max(AHEAD_BYTES));
        }
        for page in start / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            if !self.is_whole(page) {
                return Err((page * PAGE_BYTES) as u64);
            }
        }
        Ok(&self.whole()[start..end])
    }

    fn is_whole(&self, page: usize) -> bool {
        if self.is_checked(page) || planted::is(Bug::SidecarChecksumIgnored) {
            return true;
        }
        let bytes = &self.whole()[page * PAGE_BYTES..][..PAGE_BYTES];
        let whole = crc32fast::hash(bytes).to_be_bytes() == self.checksums()[page * 4..][..4];
        if whole {
            let checked = &self.checked[page / 64];
            checked.set(checked.get() | 1 << (page % 64));
        }
        whole
    }

    fn is_checked(&self, page: usize) -> bool {
        self.checked[page / 64].get() & 1 << (page % 64) != 0
    }
}
