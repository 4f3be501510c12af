//! The bytes of a simulated file, in blocks that snapshots share until one of them changes.

use std::rc::Rc;

use crate::env::BLOCK_BYTES;

/// What a disk writes as one: a write that is torn is torn between sectors.
pub const SECTOR_BYTES: usize = 512;

/// Sectors of a block.
pub(super) const SECTORS: usize = BLOCK_BYTES / SECTOR_BYTES;

const _: () = assert!(BLOCK_BYTES.is_multiple_of(SECTOR_BYTES));

/// One block; `None` is zeros.
pub(super) type Block = Option<Rc<[u8; BLOCK_BYTES]>>;

static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Whole blocks, one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    blocks: Vec<Block>,
}

impl Content {
    /// Blocks from a buffer of whole blocks.
    pub(super) fn blocks_of(bytes: &[u8]) -> Vec<Block> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        assert!(rest.is_empty(), "{} bytes are not whole blocks", bytes.len());
        blocks.iter().map(|block| (*block != ZEROS).then(|| Rc::new(*block))).collect()
    }

    pub(super) fn len_bytes(&self) -> u64 {
        (self.blocks.len() * BLOCK_BYTES) as u64
    }

    pub(super) fn len_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The bytes of a block; zeros beyond the end.
    pub(super) fn block(&self, index: usize) -> &[u8; BLOCK_BYTES] {
        bytes_of(self.blocks.get(index).unwrap_or(&None))
    }

    pub(super) fn sector(&self, block: usize, sector: usize) -> &[u8] {
        sector_of(self.block(block), sector)
    }

    /// Puts a block, growing the file with zeros up to it.
    pub(super) fn put(&mut self, index: usize, block: Block) {
        if self.blocks.len() <= index {
            self.blocks.resize(index + 1, None);
        }
        self.blocks[index] = block;
    }

    /// Puts those sectors of a block that are in `sectors`, a bit each.
    pub(super) fn put_sectors(&mut self, index: usize, block: &Block, sectors: u8) {
        if sectors == u8::MAX {
            return self.put(index, block.clone());
        }
        if sectors == 0 {
            return;
        }
        let mut mixed = *self.block(index);
        for sector in (0..SECTORS).filter(|sector| sectors & (1 << sector) != 0) {
            let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
            mixed[range.clone()].copy_from_slice(&bytes_of(block)[range]);
        }
        self.put(index, Some(Rc::new(mixed)));
    }

    /// Flips one bit.
    pub(super) fn flip(&mut self, position: u64, bit: u8) {
        let block = position as usize / BLOCK_BYTES;
        let mut bytes = *self.block(block);
        bytes[position as usize % BLOCK_BYTES] ^= 1 << (bit % 8);
        self.put(block, Some(Rc::new(bytes)));
    }
}

const _: () = assert!(SECTORS == u8::BITS as usize, "sectors of a block are the bits of a byte");

pub(super) fn bytes_of(block: &Block) -> &[u8; BLOCK_BYTES] {
    block.as_deref().unwrap_or(&ZEROS)
}

pub(super) fn sector_of(block: &[u8; BLOCK_BYTES], sector: usize) -> &[u8] {
    &block[sector * SECTOR_BYTES..][..SECTOR_BYTES]
}
