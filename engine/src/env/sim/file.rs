//! An open simulated file: what an operation does at its beginning, and what at its end.
//!
//! Time passes between the two, differently for each, so operations end in another order than they began.
//! A write whose future is dropped in between stays pending: a crash keeps it or not.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::disk::NodeId;
use super::faults::Fault;
use super::trace::OpKind;
use super::{SimBuffer, SimEnv};
use crate::env::sim::content::SECTORS;
use crate::env::{BLOCK_BYTES, File, OpenHow};

/// An open file. Stays with its file when that is renamed or removed.
#[derive(Debug)]
pub struct SimFile {
    env: SimEnv,
    node: NodeId,
    path: PathBuf,
    how: OpenHow,
}

impl SimFile {
    pub(super) async fn open(env: &SimEnv, path: &Path, how: OpenHow) -> io::Result<SimFile> {
        let kind = if how.create_new { OpKind::Create } else { OpKind::Open };
        let fault = env.operate(kind, path, 0, 0).await;
        let mut disk = env.world.disk.borrow_mut();
        if let Err(error) = Fault::refuse(fault) {
            if how.create_new && env.world.chance.chance(500) {
                // It failed after the entry was made; if that fails too, so be it.
                disk.touch(path).ok();
            }
            return Err(error);
        }
        let node = if how.create_new { disk.create(path)? } else { disk.find_file(path)? };
        drop(disk);
        Ok(SimFile { env: env.clone(), node, path: path.to_path_buf(), how })
    }

    async fn operate(&self, kind: OpKind, position: u64, len: usize) -> Option<Fault> {
        self.env.operate(kind, &self.path, position, len).await
    }
}

impl File for SimFile {
    type Buffer = SimBuffer;

    async fn write_at(&self, buffer: Rc<SimBuffer>, position: u64) -> io::Result<()> {
        if !self.how.write && !self.how.create_new {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let disk = &self.env.world.disk;
        let begun = disk.borrow_mut().begin_write(self.node, position, &buffer);
        let fault = self.operate(OpKind::Write, position, buffer.len()).await;
        let write = begun?;
        let sectors = buffer.len() / BLOCK_BYTES * SECTORS;
        match fault {
            None | Some(Fault::Stall(_) | Fault::Rot) => {
                disk.borrow_mut().complete_write(self.node, write, self.how.sync_writes);
                return Ok(());
            }
            Some(Fault::NoSpace) => disk.borrow_mut().undo_write(self.node, write),
            Some(Fault::ShortWrite) => {
                disk.borrow_mut().fail_write(self.node, write, sectors / 2);
                let short = format!("{} of {} bytes written at {position}", buffer.len() / 2, buffer.len());
                return Err(io::Error::new(io::ErrorKind::WriteZero, short));
            }
            Some(Fault::Error) => {
                let taken = self.env.world.chance.index(sectors + 1);
                disk.borrow_mut().fail_write(self.node, write, taken);
            }
        }
        Fault::refuse(fault)
    }

    async fn read_at(&self, position: u64, len: usize) -> io::Result<SimBuffer> {
        assert!(len.is_multiple_of(BLOCK_BYTES), "a read of {len} bytes is not whole blocks");
        let fault = self.operate(OpKind::Read, position, len).await;
        Fault::refuse(fault)?;
        let world = &self.env.world;
        let mut disk = world.disk.borrow_mut();
        if fault == Some(Fault::Rot) {
            let at = position + world.chance.below(len.max(1) as u64);
            disk.flip(self.node, at, world.chance.below(8) as u8);
        }
        Ok(SimBuffer { bytes: disk.read(self.node, position, len) })
    }

    async fn flush(&self) -> io::Result<()> {
        let disk = &self.env.world.disk;
        let covered = disk.borrow().completed_writes(self.node);
        let fault = self.operate(OpKind::Flush, 0, 0).await;
        match Fault::refuse(fault) {
            Ok(()) => disk.borrow_mut().complete_flush(self.node, &covered),
            Err(error) => {
                disk.borrow_mut().fail_flush(self.node, &covered);
                self.env.world.faults.flush_failed();
                return Err(error);
            }
        }
        Ok(())
    }

    async fn len(&self) -> io::Result<u64> {
        let fault = self.operate(OpKind::Len, 0, 0).await;
        Fault::refuse(fault)?;
        Ok(self.env.world.disk.borrow().len_bytes(self.node))
    }

    fn is_direct(&self) -> bool {
        true
    }

    async fn close(self) -> io::Result<()> {
        let fault = self.operate(OpKind::Close, 0, 0).await;
        Fault::refuse(fault)
    }
}
