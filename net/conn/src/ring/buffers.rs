//! The receive buffers that all connections of a ring share (the kernel's *provided buffer ring*).
//!
//!     one mapping:  │ ring: one 16-byte entry per buffer │ buffer 0 │ buffer 1 │ … │
//!
//! The kernel takes the buffer at the ring's head when bytes have come, so an idle connection holds none.
//! Memory is mapped and not touched: a page costs something when a buffer first receives.
//!
//! Invariants
//!  1. A buffer is either published (the kernel may write to it) or lent (we may read it), never both.
//!  2. Lent buffers are readable until `give_back`.
//!
//! Source of truth: io_uring_register_buf_ring(3).

use super::error::RingError;
use super::queues::Queues;
use super::sockets;
use crate::network::BufferRef;
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

pub(super) struct Buffers {
    mapping: NonNull<u8>,
    mapped_bytes: usize,
    buffer_bytes: u32,
    count: u16,
    /// How many times a buffer has been published, modulo 2^16: the ring's tail.
    tail: u16,
    /// Buffers with received bytes, since the last `give_back`.
    lent: Vec<u16>,
    keep_mapped: bool,
}

impl Buffers {
    /// Maps `count` (a power of two) buffers and publishes all of them to the kernel.
    pub(super) fn new(queues: &Queues, count: u16, buffer_bytes: u32) -> Result<Buffers, RingError> {
        assert!(count.is_power_of_two() && buffer_bytes > 0);
        let mapped_bytes = ring_bytes(count) + usize::from(count) * buffer_bytes as usize;
        // SAFETY: a new private anonymous mapping; no existing memory is concerned.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapped_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            let source = io::Error::last_os_error();
            return Err(RingError::Os { action: "map receive buffers", source });
        }
        let mapping = NonNull::new(mapping.cast::<u8>()).expect("mmap does not return the null page");
        let lent = Vec::with_capacity(usize::from(count));
        let mut buffers =
            Buffers { mapping, mapped_bytes, buffer_bytes, count, tail: 0, lent, keep_mapped: false };
        // SAFETY: the mapping is page-aligned, holds `count` entries, and outlives the ring: `Ring` drops
        // its queues first, and only after every operation has completed.
        unsafe { queues.register_buffers(mapping.as_ptr() as u64, count, GROUP) }
            .map_err(|source| RingError::read("register receive buffers", source, &sockets::system()))?;
        for index in 0..count {
            buffers.publish(index);
        }
        buffers.show_tail();
        Ok(buffers)
    }

    /// Notes that the kernel has handed us buffer `index`.
    pub(super) fn lend(&mut self, index: u16) {
        debug_assert!(index < self.count && !self.lent.contains(&index));
        self.lent.push(index);
    }

    /// How many buffers are with us.
    #[cfg(test)]
    pub(super) fn lent(&self) -> usize {
        self.lent.len()
    }

    /// Whether so few buffers are left that a turn had better end.
    pub(super) fn half_are_lent(&self) -> bool {
        self.lent.len() * 2 >= usize::from(self.count)
    }

    /// Gives every lent buffer back to the kernel; what was read from them is no longer there.
    pub(super) fn give_back(&mut self) {
        if self.lent.is_empty() {
            return;
        }
        let mut lent = std::mem::take(&mut self.lent);
        for index in lent.drain(..) {
            self.publish(index);
        }
        self.lent = lent;
        self.show_tail();
    }

    /// The received bytes of a lent buffer.
    pub(super) fn bytes(&self, buffer: BufferRef) -> &[u8] {
        assert!(buffer.index < u32::from(self.count) && buffer.len <= self.buffer_bytes);
        debug_assert!(
            self.lent.iter().any(|lent| u32::from(*lent) == buffer.index),
            "bytes outlived their turn"
        );
        // SAFETY: inside the mapping by the assertion; initialised, because fresh mappings are zero; not
        // written to while borrowed, because the kernel has handed the buffer over and gets it back only
        // through `give_back`, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.address(buffer.index), buffer.len as usize) }
    }

    fn address(&self, index: u32) -> *mut u8 {
        let offset = ring_bytes(self.count) + index as usize * self.buffer_bytes as usize;
        debug_assert!(offset < self.mapped_bytes);
        // SAFETY: inside the mapping.
        unsafe { self.mapping.as_ptr().add(offset) }
    }

    /// Writes the ring's next entry; the kernel sees it after `show_tail`.
    fn publish(&mut self, index: u16) {
        let place = usize::from(self.tail & (self.count - 1));
        let address = self.address(u32::from(index)) as u64;
        let entries = self.mapping.as_ptr().cast::<BufRingEntry>();
        // SAFETY: inside the ring part of the mapping, which is aligned to a page. The kernel does not
        // read entries beyond the tail, and the ring has a place for every buffer, so this one is ours.
        // (The tail lives in the unused last two bytes of entry 0, which these writes leave alone.)
        let entry = unsafe { &mut *entries.add(place) };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
    }

    fn show_tail(&self) {
        // SAFETY: entry 0 is inside the mapping and initialised (zero at first).
        let tail = unsafe { BufRingEntry::tail(self.mapping.as_ptr().cast()) };
        // SAFETY: aligned, inside the mapping, and shared with the kernel only by atomic access.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
    }

    /// Leaves the memory mapped for ever: for a ring whose operations did not end.
    pub(super) fn keep_mapped(&mut self) {
        self.keep_mapped = true;
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.keep_mapped {
            return;
        }
        // SAFETY: exactly the mapping made by `new`; nobody holds a reference into it any more.
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.mapped_bytes) };
    }
}

/// Bytes of the ring part, rounded up so that the buffers start on a page.
fn ring_bytes(count: u16) -> usize {
    (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(4096)
}
