//! The simulated disk: a tree of folders and files, each in two states, as it is and as it would survive.
//!
//! ```text
//!   file      now ───── what reads return: every completed write
//!             durable ─ what a crash keeps for certain
//!             pending ─ writes begun and not yet flushed; completed or not, a crash keeps any sectors of them
//!   folder    now, durable, pending ─ the same for its entries: created, renamed, removed
//! ```
//!
//! Invariants
//!  1. `durable` changes only by a flush, a synchronous write or [`Disk::sync_folder`].
//!  2. A flush makes durable exactly the writes that had completed when it began, and that no failed
//!     flush has forgotten.
//!  3. Writes in flight to one file share no block; the process that lets them is stopped.
//!
//! Not here: how long things take and what fails (`file.rs`, `faults.rs`); what a crash leaves (`crash.rs`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use super::content::{Block, Content, SECTORS};
use crate::env::{BLOCK_BYTES, DiskSpace};

/// Index of a file or folder; never reused.
pub(super) type NodeId = usize;

const ROOT: NodeId = 0;

/// A whole disk. Cloning one is cheap: blocks are shared.
#[derive(Debug, Clone)]
pub struct Disk {
    pub(super) nodes: Vec<Node>,
    capacity_blocks: usize,
    writes_begun: u64,
    changes: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileNode),
    Folder(FolderNode),
}

#[derive(Debug, Clone, Default)]
pub(super) struct FileNode {
    pub(super) now: Content,
    pub(super) durable: Content,
    /// In the order in which they were begun.
    pub(super) pending: Vec<PendingWrite>,
}

#[derive(Debug, Clone)]
pub(super) struct PendingWrite {
    id: u64,
    pub(super) first_block: usize,
    pub(super) blocks: Vec<Block>,
    /// Per block: a later write of it is durable, so this one can no longer land.
    pub(super) superseded: Vec<bool>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    InFlight,
    Completed,
    /// It, or the flush after it, failed: no flush will make it durable any more.
    Forgotten,
}

#[derive(Debug, Clone, Default)]
pub(super) struct FolderNode {
    pub(super) now: Entries,
    pub(super) durable: Entries,
    pub(super) pending: Vec<EntryChange>,
}

pub(super) type Entries = BTreeMap<String, NodeId>;

#[derive(Debug, Clone)]
pub(super) enum EntryChange {
    Add { name: String, node: NodeId },
    Rename { from: String, to: String, node: NodeId },
    Remove { name: String },
}

impl EntryChange {
    pub(super) fn apply(&self, entries: &mut Entries) {
        match self {
            EntryChange::Add { name, node } => {
                entries.insert(name.clone(), *node);
            }
            EntryChange::Rename { from, to, node } => {
                entries.remove(from);
                entries.insert(to.clone(), *node);
            }
            EntryChange::Remove { name } => {
                entries.remove(name);
            }
        }
    }
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::new()
    }
}

/// Folders and their entries.
impl Disk {
    /// An empty disk without bounds.
    pub fn new() -> Disk {
        let root = Node::Folder(FolderNode::default());
        Disk { nodes: vec![root], capacity_blocks: usize::MAX, writes_begun: 0, changes: 0 }
    }

    /// Bounds the blocks of all files together; a write that would grow a file beyond fails with ENOSPC.
    pub fn set_capacity(&mut self, blocks: usize) {
        self.capacity_blocks = blocks;
    }

    /// What is used and what is left of the bound.
    pub fn space(&self) -> DiskSpace {
        let bytes = |blocks: usize| (blocks as u64).saturating_mul(BLOCK_BYTES as u64);
        let used = self.used_blocks();
        let total = bytes(self.capacity_blocks.max(used));
        DiskSpace { total, available: total - bytes(used) }
    }

    /// Grows with every change of what the disk holds or has pending: equal numbers of one disk, equal disks.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The names in a folder, sorted.
    pub fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let folder = self.find_folder(folder)?;
        Ok(self.folder(folder).now.keys().cloned().collect())
    }

    pub(super) fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        let mut at = ROOT;
        for name in names(path)? {
            at = match self.folder_now(at)?.get(name) {
                Some(below) => *below,
                None => self.add(at, name, Node::Folder(FolderNode::default()))?,
            };
        }
        self.folder_now(at).map(|_| ())
    }

    pub(super) fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.find_folder(path)?;
        let folder = self.folder_mut(folder);
        folder.durable = folder.now.clone();
        folder.pending.clear();
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let (folder, from) = self.split(from)?;
        let (folder_to, to) = self.split(to)?;
        assert_eq!(folder, folder_to, "files are renamed within their folder");
        self.change(folder, EntryChange::Rename { from, to, node })
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        let (folder, name) = self.split(path)?;
        self.change(folder, EntryChange::Remove { name })
    }

    /// Creates an empty file, and finds nothing wrong with one that is there.
    pub(super) fn touch(&mut self, path: &Path) -> io::Result<()> {
        match self.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<NodeId> {
        let (folder, name) = self.split(path)?;
        if self.folder(folder).now.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.add(folder, &name, Node::File(FileNode::default()))
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.find(path)?;
        match &self.nodes[node] {
            Node::File(_) => Ok(node),
            Node::Folder(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn add(&mut self, folder: NodeId, name: &str, node: Node) -> io::Result<NodeId> {
        let id = self.nodes.len();
        self.nodes.push(node);
        self.change(folder, EntryChange::Add { name: name.to_string(), node: id })?;
        Ok(id)
    }

    fn change(&mut self, folder: NodeId, change: EntryChange) -> io::Result<()> {
        let folder = self.folder_mut(folder);
        change.apply(&mut folder.now);
        folder.pending.push(change);
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut at = ROOT;
        for name in names(path)? {
            at = *self.folder_now(at)?.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn find_folder(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.find(path)?;
        self.folder_now(node).map(|_| node)
    }

    /// The folder of a path, and the name in it.
    fn split(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
        let folder = self.find_folder(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        Ok((folder, name.to_string()))
    }

    fn folder_now(&self, node: NodeId) -> io::Result<&Entries> {
        match &self.nodes[node] {
            Node::Folder(folder) => Ok(&folder.now),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn folder(&self, node: NodeId) -> &FolderNode {
        match &self.nodes[node] {
            Node::Folder(folder) => folder,
            Node::File(_) => unreachable!("found as a folder"),
        }
    }

    fn folder_mut(&mut self, node: NodeId) -> &mut FolderNode {
        self.changes += 1;
        match &mut self.nodes[node] {
            Node::Folder(folder) => folder,
            Node::File(_) => unreachable!("found as a folder"),
        }
    }
}

/// Files and their bytes.
impl Disk {
    /// The bytes of a file, as reads return them.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.file(self.find_file(path)?);
        Ok((0..file.now.len_blocks()).flat_map(|block| *file.now.block(block)).collect())
    }

    /// Flips one bit of a file, for good.
    pub fn rot(&mut self, path: &Path, position: u64, bit: u8) -> io::Result<()> {
        let node = self.find_file(path)?;
        self.flip(node, position, bit);
        Ok(())
    }

    /// Puts these bytes in the place of a file's, for good.
    pub fn put(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let node = self.find_file(path)?;
        let file = self.file_mut(node);
        let mut content = Content::default();
        for (index, block) in Content::blocks_of(bytes).into_iter().enumerate() {
            content.put(index, block);
        }
        (file.now, file.durable) = (content.clone(), content);
        file.pending.clear();
        Ok(())
    }

    /// Takes a file away, for good.
    pub fn lose(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.split(path)?;
        self.remove(path)?;
        let folder = self.folder_mut(folder);
        folder.durable.remove(&name);
        folder.pending.pop();
        Ok(())
    }

    pub(super) fn flip(&mut self, node: NodeId, position: u64, bit: u8) {
        let file = self.file_mut(node);
        if position < file.now.len_bytes() {
            file.now.flip(position, bit);
        }
        if position < file.durable.len_bytes() {
            file.durable.flip(position, bit);
        }
    }

    /// Writes that a crash may keep or lose, and changes of folders likewise.
    pub fn has_pending(&self) -> bool {
        self.nodes.iter().any(|node| match node {
            Node::File(file) => !file.pending.is_empty(),
            Node::Folder(folder) => !folder.pending.is_empty(),
        })
    }

    pub(super) fn len_bytes(&self, node: NodeId) -> u64 {
        self.file(node).now.len_bytes()
    }

    pub(super) fn read(&self, node: NodeId, position: u64, len: usize) -> Vec<u8> {
        let file = self.file(node);
        let first = block_index(position);
        let end = first.saturating_add(len / BLOCK_BYTES).min(file.now.len_blocks());
        (first..end).flat_map(|block| *file.now.block(block)).collect()
    }

    /// From here on a crash may keep the write.
    pub(super) fn begin_write(&mut self, node: NodeId, position: u64, bytes: &[u8]) -> io::Result<u64> {
        let first_block = block_index(position);
        let blocks = Content::blocks_of(bytes);
        let grown = (first_block + blocks.len()).saturating_sub(self.file(node).now.len_blocks());
        if grown > 0 && self.used_blocks().saturating_add(grown) > self.capacity_blocks {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let overlaps = |other: &PendingWrite| {
            other.stage == Stage::InFlight
                && other.first_block < first_block + blocks.len()
                && first_block < other.first_block + other.blocks.len()
        };
        assert!(!self.file(node).pending.iter().any(overlaps), "two writes in flight share a block");
        let id = self.writes_begun;
        self.writes_begun += 1;
        let superseded = vec![false; blocks.len()];
        let write = PendingWrite { id, first_block, blocks, superseded, stage: Stage::InFlight };
        self.file_mut(node).pending.push(write);
        Ok(id)
    }

    /// Reads see the write; a crash may still lose it, unless it was synchronous.
    pub(super) fn complete_write(&mut self, node: NodeId, id: u64, synchronous: bool) {
        let file = self.file_mut(node);
        let index = file.pending_index(id);
        let write = &mut file.pending[index];
        write.stage = Stage::Completed;
        write.put(&mut file.now, write.blocks.len() * SECTORS);
        if synchronous {
            file.keep(index);
        }
    }

    /// The write failed after its first `sectors` had been taken; more may land at a crash.
    pub(super) fn fail_write(&mut self, node: NodeId, id: u64, sectors: usize) {
        let file = self.file_mut(node);
        let index = file.pending_index(id);
        let write = &mut file.pending[index];
        write.stage = Stage::Forgotten;
        write.put(&mut file.now, sectors);
    }

    /// The write failed and has left no trace.
    pub(super) fn undo_write(&mut self, node: NodeId, id: u64) {
        let file = self.file_mut(node);
        let index = file.pending_index(id);
        file.pending.remove(index);
    }

    /// Which writes a flush that begins now covers.
    pub(super) fn completed_writes(&self, node: NodeId) -> Vec<u64> {
        let completed = |write: &&PendingWrite| write.stage == Stage::Completed;
        self.file(node).pending.iter().filter(completed).map(|write| write.id).collect()
    }

    pub(super) fn complete_flush(&mut self, node: NodeId, covered: &[u64]) {
        let file = self.file_mut(node);
        let mut index = 0;
        while index < file.pending.len() {
            let write = &file.pending[index];
            if write.stage == Stage::Completed && covered.contains(&write.id) {
                file.keep(index);
            } else {
                index += 1;
            }
        }
    }

    /// The kernel marks the pages clean all the same: no later flush will write them.
    pub(super) fn fail_flush(&mut self, node: NodeId, covered: &[u64]) {
        for write in &mut self.file_mut(node).pending {
            if covered.contains(&write.id) {
                write.stage = Stage::Forgotten;
            }
        }
    }

    fn used_blocks(&self) -> usize {
        self.linked_files().map(|file| file.now.len_blocks()).sum()
    }

    fn linked_files(&self) -> impl Iterator<Item = &FileNode> {
        let linked = self.nodes.iter().flat_map(|node| match node {
            Node::Folder(folder) => folder.now.values().copied().collect(),
            Node::File(_) => Vec::new(),
        });
        linked.filter_map(|node| match &self.nodes[node] {
            Node::File(file) => Some(file),
            Node::Folder(_) => None,
        })
    }

    fn file(&self, node: NodeId) -> &FileNode {
        match &self.nodes[node] {
            Node::File(file) => file,
            Node::Folder(_) => unreachable!("opened as a file"),
        }
    }

    fn file_mut(&mut self, node: NodeId) -> &mut FileNode {
        self.changes += 1;
        match &mut self.nodes[node] {
            Node::File(file) => file,
            Node::Folder(_) => unreachable!("opened as a file"),
        }
    }
}

impl FileNode {
    /// Makes a pending write durable: it is pending no more, and no earlier write of its blocks can land now.
    fn keep(&mut self, index: usize) {
        let write = self.pending.remove(index);
        write.put(&mut self.durable, write.blocks.len() * SECTORS);
        let kept = write.first_block..write.first_block + write.blocks.len();
        for earlier in &mut self.pending[..index] {
            for (offset, superseded) in earlier.superseded.iter_mut().enumerate() {
                *superseded |= kept.contains(&(earlier.first_block + offset));
            }
        }
    }

    fn pending_index(&self, id: u64) -> usize {
        self.pending.iter().position(|write| write.id == id).expect("a write in flight is pending")
    }
}

impl PendingWrite {
    /// Puts its first `sectors` sectors.
    fn put(&self, content: &mut Content, sectors: usize) {
        for (index, block) in self.blocks.iter().enumerate() {
            let left = sectors.saturating_sub(index * SECTORS).min(SECTORS);
            let mask = ((1u16 << left) - 1) as u8;
            content.put_sectors(self.first_block + index, block, mask);
        }
    }
}

fn block_index(position: u64) -> usize {
    let block_bytes = BLOCK_BYTES as u64;
    assert!(position.is_multiple_of(block_bytes), "position {position} is not a block's");
    usize::try_from(position / block_bytes).expect("a simulated file fits in memory")
}

/// The names along a full path.
fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir => {}
            Component::Normal(name) => names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
