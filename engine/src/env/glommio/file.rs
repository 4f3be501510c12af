//! An open file: direct where the file system can, buffered where it cannot.
//!
//! Invariants
//!  1. A write that returns `Ok` has taken the whole buffer.
//!  2. A read returns bytes of the file and nothing else: it ends at the end of the file.
//!  3. Opened with `sync_writes`, a write is durable when it returns, direct or not (`O_DSYNC`).
//!
//! Why reads go through `read_at_aligned`: glommio's `read_at` returns, past the end of the file, bytes that
//! nobody has written.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::rc::Rc;

use ::glommio::GlommioError;
use ::glommio::io::{BufferedFile, DmaFile, OpenOptions};

use super::buffer::GlommioBuffer;
use crate::env::{BLOCK_BYTES, Buffer, File, OpenHow};

/// Reads above this size are made of several: very large ones have been seen to hang on polled devices.
const READ_BYTES_MAX: usize = 1 << 20;

/// An open file. One per opening; lives on the shard that opened it.
#[derive(Debug)]
pub struct GlommioFile {
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Direct(DmaFile),
    Buffered(BufferedFile),
}

impl GlommioFile {
    pub(super) async fn open(path: &Path, how: OpenHow) -> io::Result<GlommioFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(how.write || how.create_new).create_new(how.create_new);
        if how.sync_writes {
            options.custom_flags(libc::O_DSYNC);
        }
        let handle = match options.dma_open(path).await {
            Ok(file) => Handle::Direct(file),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                // The file system has no direct I/O. The failed attempt may have created the file.
                options.create_new(false);
                Handle::Buffered(options.buffered_open(path).await.map_err(plain)?)
            }
            Err(error) => return Err(plain(error)),
        };
        Ok(GlommioFile { handle })
    }

    async fn read_once(&self, position: u64, len: usize) -> io::Result<GlommioBuffer> {
        let result = match &self.handle {
            Handle::Direct(file) => file.read_at_aligned(position, len).await.map_err(plain)?,
            Handle::Buffered(file) => file.read_at(position, len).await.map_err(plain)?,
        };
        Ok(GlommioBuffer::read(result))
    }

    async fn read_in_parts(&self, position: u64, len: usize) -> io::Result<GlommioBuffer> {
        let mut whole = GlommioBuffer::zeroed(len.next_multiple_of(BLOCK_BYTES));
        let mut filled = 0;
        while filled < len {
            let part_len = (len - filled).min(READ_BYTES_MAX);
            let part = self.read_once(position + filled as u64, part_len).await?;
            whole.as_mut()[filled..][..part.len()].copy_from_slice(&part);
            filled += part.len();
            if part.len() < part_len {
                break;
            }
        }
        whole.truncate(filled);
        Ok(whole)
    }
}

impl File for GlommioFile {
    type Buffer = GlommioBuffer;

    async fn write_at(&self, buffer: Rc<GlommioBuffer>, position: u64) -> io::Result<()> {
        let written = match &self.handle {
            Handle::Direct(file) => file.write_rc_at(buffer.share(), position).await,
            Handle::Buffered(file) => file.write_at(buffer.to_vec(), position).await,
        };
        let written = written.map_err(plain)?;
        if written != buffer.len() {
            let short = format!("{written} of {} bytes written at {position}", buffer.len());
            return Err(io::Error::new(io::ErrorKind::WriteZero, short));
        }
        Ok(())
    }

    async fn read_at(&self, position: u64, len: usize) -> io::Result<GlommioBuffer> {
        if len <= READ_BYTES_MAX {
            self.read_once(position, len).await
        } else {
            self.read_in_parts(position, len).await
        }
    }

    async fn flush(&self) -> io::Result<()> {
        match &self.handle {
            Handle::Direct(file) => file.fdatasync().await.map_err(plain),
            Handle::Buffered(file) => file.fdatasync().await.map_err(plain),
        }
    }

    async fn len(&self) -> io::Result<u64> {
        match &self.handle {
            Handle::Direct(file) => file.file_size().await.map_err(plain),
            Handle::Buffered(file) => file.file_size().await.map_err(plain),
        }
    }

    fn is_direct(&self) -> bool {
        match &self.handle {
            // On tmpfs glommio opens a "direct" file without the flag: ask the kernel what it has.
            Handle::Direct(file) => flags(file.as_raw_fd()) & libc::O_DIRECT != 0,
            Handle::Buffered(_) => false,
        }
    }

    async fn close(self) -> io::Result<()> {
        match self.handle {
            Handle::Direct(file) => file.close().await.map_err(plain),
            Handle::Buffered(file) => file.close().await.map_err(plain),
        }
    }
}

fn flags(descriptor: i32) -> i32 {
    // SAFETY: F_GETFL takes no pointer; a bad descriptor is answered with -1.
    match unsafe { libc::fcntl(descriptor, libc::F_GETFL) } {
        -1 => 0,
        flags => flags,
    }
}

/// glommio's errors wrap the kernel's; the engine wants its number.
fn plain(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    }
}
