//! One file, served by this process: the kernel's side is a FUSE mount whose root is that file.
//!
//! Only what a loop device asks of its file is answered: its attributes, opening, reading, writing, flushing. Opened for
//! direct I/O, so that the kernel keeps nothing of it: every write arrives here before it is done, and a flush after
//! the writes that it covers. One thread answers one request after the other.
//!
//! ```text
//!   request   length u32 │ opcode u32 │ unique u64 │ node u64 │ user, group, process u32 │ 0 u32 │ arguments   (40 + …)
//!   reply     length u32 │ -errno i32 │ unique u64 │ result                                                   (16 + …)
//! ```
//!
//! Truth: Linux `include/uapi/linux/fuse.h`, protocol 7.31; numbers in the machine's own byte order.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::recording::RecordedDisk;

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;

const REQUEST_BYTES: usize = 40;
const WRITE_ARGUMENTS_BYTES: usize = 40;
/// Of one request; the kernel splits what is longer.
const WRITE_BYTES_MAX: usize = 128 * 1024;
const BIG_WRITES: u32 = 1 << 5;
const DIRECT_IO: u32 = 1;

/// The mounted file. Unmounted when dropped.
pub struct ServedFile {
    path: PathBuf,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl ServedFile {
    /// Serves `disk` as the file at `path`, which is made if it is not there.
    pub fn mount(disk: Arc<RecordedDisk>, path: &Path) -> io::Result<ServedFile> {
        File::create(path)?;
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        let options = format!("fd={},rootmode=100600,user_id=0,group_id=0", device.as_raw_fd());
        let (source, target) = (c"ringmq-recorded", CString::new(path.as_os_str().as_bytes())?);
        let options = CString::new(options)?;
        // SAFETY: all pointers are to strings that end with a zero and outlive the call.
        let mounted = unsafe {
            libc::mount(
                source.as_ptr(),
                target.as_ptr(),
                c"fuse".as_ptr(),
                libc::MS_NOSUID | libc::MS_NODEV,
                options.as_ptr().cast(),
            )
        };
        if mounted != 0 {
            return Err(io::Error::last_os_error());
        }
        let server = thread::spawn(move || serve(device, &disk));
        Ok(ServedFile { path: path.to_path_buf(), server: Some(server) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ServedFile {
    fn drop(&mut self) {
        let path = CString::new(self.path.as_os_str().as_bytes()).expect("it was one at the mount");
        // SAFETY: the pointer is to a string that ends with a zero and outlives the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        if let Some(server) = self.server.take() {
            // It ends when nobody uses the mount any more.
            let _ = server.join();
        }
    }
}

/// Answers until the mount is gone.
fn serve(mut device: File, disk: &RecordedDisk) -> io::Result<()> {
    let mut request = vec![0; REQUEST_BYTES + WRITE_ARGUMENTS_BYTES + WRITE_BYTES_MAX + 4096];
    loop {
        let len = match device.read(&mut request) {
            Ok(len) => len,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT | libc::EAGAIN)) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(reply) = answer(&request[..len], disk) else { continue };
        match device.write(&reply) {
            // Whoever asked has gone.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            written => {
                written?;
            }
        }
    }
}

/// The reply to a request; `None` where none is wanted.
fn answer(request: &[u8], disk: &RecordedDisk) -> Option<Vec<u8>> {
    let arguments = &request[REQUEST_BYTES..];
    let result = match word(request, 4) {
        FORGET | BATCH_FORGET | INTERRUPT => return None,
        INIT => Ok(init()),
        GETATTR | SETATTR => Ok(attributes(disk.bytes())),
        OPEN => Ok(numbers(&[0, 0, DIRECT_IO, 0])),
        READ => Ok(disk.read(long(arguments, 8), word(arguments, 16) as usize)),
        WRITE => {
            let len = word(arguments, 16) as usize;
            disk.write(long(arguments, 8), &arguments[WRITE_ARGUMENTS_BYTES..][..len]);
            Ok(numbers(&[len as u32, 0]))
        }
        FSYNC => {
            disk.flush();
            Ok(Vec::new())
        }
        FLUSH | RELEASE | DESTROY => Ok(Vec::new()),
        _ => Err(libc::ENOSYS),
    };
    let (error, result) = match result {
        Ok(result) => (0, result),
        Err(error) => (error, Vec::new()),
    };
    let mut reply = numbers(&[16 + result.len() as u32, (-error) as u32]);
    reply.extend_from_slice(&request[8..16]);
    reply.extend_from_slice(&result);
    Some(reply)
}

/// `fuse_init_out`: protocol 7.31, large writes, the ordinary number of requests at once.
fn init() -> Vec<u8> {
    let mut result = numbers(&[7, 31, 0, BIG_WRITES, 12 << 16 | 16, WRITE_BYTES_MAX as u32, 1]);
    result.resize(64, 0);
    result
}

/// `fuse_attr_out` of a regular file of so many bytes, valid for ever.
fn attributes(bytes: u64) -> Vec<u8> {
    let mut result = Vec::new();
    let valid_s = u64::from(u32::MAX);
    for number in [valid_s, 0, 1, bytes, bytes.div_ceil(512), 0, 0, 0] {
        result.extend_from_slice(&number.to_ne_bytes());
    }
    let mode = libc::S_IFREG | 0o600;
    result.extend_from_slice(&numbers(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0]));
    result
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
