//! Memory that glommio writes from and reads into.
//!
//! Invariants
//!  1. A buffer is zeroed when made, or was asked for by one who fills it; a read's buffer ends where the read
//!     ended.
//!  2. Bytes that a write in flight may still read never change: who asks to fill them then gets a copy.

use std::ops::Deref;
use std::rc::Rc;

use ::glommio::io::{DmaBuffer, ReadResult};

use crate::env::{BLOCK_BYTES, Buffer};

/// A buffer aligned for direct I/O.
#[derive(Debug)]
pub struct GlommioBuffer {
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    /// To be filled and written; the count is above one exactly while a write is in flight.
    Own(Rc<DmaBuffer>),
    /// What a read returned; glommio gives no way to change it.
    Read(ReadResult),
}

impl GlommioBuffer {
    pub(super) fn zeroed(len: usize) -> GlommioBuffer {
        let mut buffer = GlommioBuffer::unfilled(len);
        buffer.as_mut().fill(0);
        buffer
    }

    /// Zeroing a frame's buffer and then filling it touched all of its memory twice: 5 % of a loaded shard.
    pub(super) fn unfilled(len: usize) -> GlommioBuffer {
        assert!(len.is_multiple_of(BLOCK_BYTES), "a buffer of {len} bytes is not whole blocks");
        GlommioBuffer { memory: Memory::Own(Rc::new(::glommio::allocate_dma_buffer(len))) }
    }

    pub(super) fn read(result: ReadResult) -> GlommioBuffer {
        GlommioBuffer { memory: Memory::Read(result) }
    }

    /// The memory for a write in flight, kept alive by the reactor until it completes.
    pub(super) fn share(&self) -> Rc<DmaBuffer> {
        match &self.memory {
            Memory::Own(own) => own.clone(),
            Memory::Read(read) => Rc::new(copy(read)),
        }
    }

    fn own_mut(&mut self) -> &mut DmaBuffer {
        let alone = matches!(&self.memory, Memory::Own(own) if Rc::strong_count(own) == 1);
        if !alone {
            self.memory = Memory::Own(Rc::new(copy(self)));
        }
        match &mut self.memory {
            Memory::Own(own) => Rc::get_mut(own).expect("it was alone, or is a fresh copy"),
            Memory::Read(_) => unreachable!("a read buffer was replaced by its copy"),
        }
    }
}

impl Deref for GlommioBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Own(own) => own.as_bytes(),
            Memory::Read(read) => read,
        }
    }
}

impl Buffer for GlommioBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.own_mut().as_bytes_mut()
    }

    fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.own_mut().trim_to_size(len);
        }
    }
}

fn copy(bytes: &[u8]) -> DmaBuffer {
    let mut own = ::glommio::allocate_dma_buffer(bytes.len());
    own.as_bytes_mut().copy_from_slice(bytes);
    own
}
