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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::env::Map;
    use std::cell::RefCell;
    use std::rc::Rc;

    const PAGE: u64 = PAGE_BYTES as u64;

    /// What was announced of a file: place and length, in pages.
    pub type Announced = Rc<RefCell<Vec<(usize, usize)>>>;

    /// A file that remembers what was announced.
    pub struct Told(pub Vec<u8>, pub Announced);

    impl AsRef<[u8]> for Told {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Map for Told {
        fn will_need(&self, at: usize, len: usize) {
            self.1.borrow_mut().push((at / PAGE_BYTES, len / PAGE_BYTES));
        }
    }

    /// A file of so many pages, each filled with its number.
    fn file(pages: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..pages).flat_map(|page| [page as u8; PAGE_BYTES]).collect();
        for page in 0..pages {
            bytes.extend(crc32fast::hash(&[page as u8; PAGE_BYTES]).to_be_bytes());
        }
        bytes.extend([0; FOOTER_BYTES]);
        bytes
    }

    #[test]
    fn a_file_has_its_pages_their_checksums_and_a_footer_or_is_refused() {
        let whole = file(3).len();
        #[rustfmt::skip]
        let rows = [
            (3 * PAGE,     whole,     true),
            (3 * PAGE,     whole + 1, true),
            (3 * PAGE,     whole - 1, false),
            (3 * PAGE + 1, whole * 2, false),
            (2 * PAGE,     whole,     true),
            (0,            FOOTER_BYTES, true),
            (u64::MAX - PAGE + 1, whole, false),
        ];
        for (pages_bytes, len, taken) in rows {
            let pages = Pages::new(Box::new(vec![0; len]), pages_bytes);
            assert_eq!(pages.is_some(), taken, "{pages_bytes} of {len}");
        }
    }

    #[test]
    fn a_page_is_announced_with_the_next_ones_when_it_is_first_touched() {
        let announced = Announced::default();
        let pages = Pages::new(Box::new(Told(file(70), announced.clone())), 70 * PAGE).expect("it is whole");
        type Row<'a> = (u64, u64, &'a [(usize, usize)]);
        #[rustfmt::skip]
        let rows: &[Row<'_>] = &[
            // at, len, announced
            (0,             10,       &[(0, 4)]),
            (PAGE - 1,      1,        &[]),
            (PAGE,          5 * PAGE, &[(1, 5)]),
            (5 * PAGE,      1,        &[]),
            (6 * PAGE,      1,        &[(6, 4)]),
            (64 * PAGE,     1,        &[(64, 4)]),
            (64 * PAGE + 9, 1,        &[]),
            (65 * PAGE,     1,        &[(65, 4)]),
            (63 * PAGE,     0,        &[]),
        ];
        for (at, len, expected) in rows {
            let bytes = pages.bytes(*at, *len).expect("it is whole");
            assert_eq!(bytes.len() as u64, *len);
            assert!(bytes.first().is_none_or(|byte| u64::from(*byte) == at / PAGE));
            assert_eq!(announced.take(), *expected, "{len} at {at}");
        }
        pages.will_need(7 * PAGE, 2 * PAGE);
        assert_eq!(announced.take(), [(7, 2)]);
    }

    #[test]
    fn damage_is_found_by_who_touches_its_page_and_by_nobody_else() {
        let mut bytes = file(70);
        bytes[66 * PAGE_BYTES + 5] ^= 1;
        let pages = Pages::new(Box::new(bytes), 70 * PAGE).expect("as long as it was");
        let (before, bad, after) = (65 * PAGE, 66 * PAGE, 67 * PAGE);
        #[rustfmt::skip]
        let rows = [
            // at, len, damaged at
            (0,             66 * PAGE, None),
            (bad - 1,       1,         None),
            (bad - 1,       2,         Some(bad)),
            (bad,           1,         Some(bad)),
            (after - 1,     1,         Some(bad)),
            (after,         3 * PAGE,  None),
            (0,             70 * PAGE, Some(bad)),
            (bad,           0,         None),
            // What is past the end is damaged where it begins.
            (after,         3 * PAGE + 1, Some(after)),
            (70 * PAGE,     0,         None),
            (70 * PAGE,     1,         Some(70 * PAGE)),
            (before,        u64::MAX,  Some(before)),
        ];
        for _ in 0..2 {
            for (at, len, damaged) in rows {
                assert_eq!(pages.bytes(at, len).err(), damaged, "{len} at {at}");
            }
        }
    }
}
