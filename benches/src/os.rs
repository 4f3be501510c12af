//! The few things of Linux that the standard library does not offer: epoll, CPU affinity, limits, direct files, and
//! connecting from a chosen address. All `unsafe` of this package lives here.
//!
//! Invariants
//!  1. Every function here is safe to call with any arguments, and reports failure as [`io::Error`].
//!  2. Waiting sleeps, to the nanosecond (`epoll_pwait2`). A generator that spins on one core starves the kernel
//!     workers that finish the disk's writes there, and so measures itself.

use std::alloc::{self, Layout};
use std::fs::File;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::time::Duration;

/// Direct I/O wants its memory, positions and lengths to be multiples of this.
pub const BLOCK_BYTES: usize = 4096;
/// Most events that one wait returns.
const EVENTS_MAX: usize = 256;

/// A set of sockets to wait for. Each is known by a token.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    /// An empty set.
    pub fn new() -> io::Result<Poll> {
        // SAFETY: takes no pointers; the result is checked.
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and is owned by nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Poll { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX] })
    }

    /// Adds a socket: it is reported while it can be read.
    pub fn add(&self, fd: RawFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, false)
    }

    /// Whether a socket is also reported while it can be written.
    pub fn watch_writable(&self, fd: RawFd, token: usize, wanted: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, wanted)
    }

    /// Waits at most `patience` and puts the tokens of the sockets that are ready into `ready`.
    pub fn wait(&mut self, patience: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        ready.clear();
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(patience.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(patience.subsec_nanos()),
        };
        // SAFETY: `events` holds EVENTS_MAX initialised entries and `timeout` lives through the call; no signal mask.
        let count = unsafe {
            libc::epoll_pwait2(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS_MAX as libc::c_int,
                &raw const timeout,
                ptr::null(),
            )
        };
        match usize::try_from(count) {
            Ok(count) => {
                ready.extend(self.events.iter().take(count).map(|event| event.u64 as usize));
                Ok(())
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                error => Err(error),
            },
        }
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, token: usize, writable: bool) -> io::Result<()> {
        let interest = libc::EPOLLIN | if writable { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event { events: interest as u32, u64: token as u64 };
        // SAFETY: `event` lives through the call; bad descriptors are reported, not followed.
        checked(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) }).map(drop)
    }
}

/// The cores that the calling thread may run on.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is as large as we say, and outlives the call.
    checked(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) })?;
    let most = 8 * size_of::<libc::cpu_set_t>();
    // SAFETY: every core asked for lies within the set.
    Ok((0..most).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect())
}

/// Keeps the calling thread, and the processes it starts from now on, to these cores.
pub fn keep_to_cores(cores: &[usize]) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let most = 8 * size_of::<libc::cpu_set_t>();
    for core in cores.iter().filter(|core| **core < most) {
        // SAFETY: the core lies within the set.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    // SAFETY: `set` is as large as we say, and outlives the call.
    checked(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) }).map(drop)
}

/// Lets the calling thread run only while others of its core have little to do.
pub fn give_way() -> io::Result<()> {
    const LOWEST: libc::c_int = 19;
    // SAFETY: takes no pointers. On Linux, 0 names the calling thread.
    checked(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) }).map(drop)
}

/// Raises the number of files this process, and the ones it starts, may open to what the system allows; returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` outlives the call.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// Drops what the page cache holds of a file, as far as it is written.
pub fn forget_cached(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: the call takes a descriptor that is open and no pointer.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Waits until the file system of this path has written what it holds back.
pub fn write_back(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: the call takes a descriptor that is open and no pointer.
    checked(unsafe { libc::syncfs(file.as_raw_fd()) }).map(drop)
}

/// Clock ticks per second, the unit of times in `/proc`.
pub fn ticks_per_second() -> u64 {
    // SAFETY: takes no pointers.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1)
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    if pid < 1 {
        // Zero and negative numbers name whole groups of processes.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: takes no pointers.
    checked(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Connects to `target` from the source address `source` and any free port there.
///
/// One source address has some 28,000 ports towards one target; several of 127.0.0.0/8 have as many each.
pub fn connect_from(source: [u8; 4], target: SocketAddrV4) -> io::Result<TcpStream> {
    // SAFETY: takes no pointers; the result is checked.
    let fd = checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and is owned by nobody else.
    let stream = unsafe { TcpStream::from_raw_fd(fd) };
    let yes: libc::c_int = 1;
    // SAFETY: `yes` is as large as we say, and outlives the call.
    checked(unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const yes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })?;
    let from = ipv4(source, 0);
    // SAFETY: `from` is a sockaddr_in of the size we say, and outlives the call.
    checked(unsafe { libc::bind(fd, (&raw const from).cast(), size_of_val(&from) as libc::socklen_t) })?;
    let to = ipv4(target.ip().octets(), target.port());
    // SAFETY: `to` is a sockaddr_in of the size we say, and outlives the call.
    checked(unsafe { libc::connect(fd, (&raw const to).cast(), size_of_val(&to) as libc::socklen_t) })?;
    Ok(stream)
}

/// The IPv4 form of an address, which is all that the harness connects to.
pub fn as_ipv4(address: SocketAddr) -> io::Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(address) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, format!("{address} is not an IPv4 address")))
        }
    }
}

/// Opens a file for writing past the page cache (`O_DIRECT`).
pub fn open_direct(path: &Path, create: bool) -> io::Result<File> {
    File::options().write(true).create(create).custom_flags(libc::O_DIRECT).open(path)
}

/// Zeroed memory fit for direct I/O.
pub struct AlignedBytes {
    start: NonNull<u8>,
    layout: Layout,
}

impl AlignedBytes {
    /// `blocks` times [`BLOCK_BYTES`], at least one block.
    pub fn blocks(blocks: usize) -> AlignedBytes {
        let bytes = blocks.max(1).saturating_mul(BLOCK_BYTES);
        let layout = Layout::from_size_align(bytes, BLOCK_BYTES).expect("a few blocks are no overflow");
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc::alloc_zeroed(layout) });
        AlignedBytes { start: start.unwrap_or_else(|| alloc::handle_alloc_error(layout)), layout }
    }
}

impl std::ops::Deref for AlignedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the memory is ours, initialised, and of this size.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl std::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory is ours alone, initialised, and of this size.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout and is freed once.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

fn ipv4(address: [u8; 4], port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address) },
        sin_zero: [0; 8],
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn a_readable_socket_is_reported_by_its_token_until_it_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let target = as_ipv4(listener.local_addr().expect("bound")).expect("bound to IPv4");
        let ours = connect_from([127, 0, 0, 7], target).expect("it listens");
        let (mut theirs, source) = listener.accept().expect("somebody connects");
        assert_eq!(source.ip().to_string(), "127.0.0.7");

        let mut poll = Poll::new().expect("epoll");
        poll.add(ours.as_raw_fd(), 42).expect("added");
        let mut ready = vec![1];
        poll.wait(Duration::ZERO, &mut ready).expect("waited");
        assert!(ready.is_empty());
        theirs.write_all(b"x").expect("connected");
        poll.wait(Duration::from_secs(10), &mut ready).expect("waited");
        assert_eq!(ready, [42]);
    }

    #[test]
    fn a_thread_keeps_to_the_core_it_was_told() {
        std::thread::spawn(|| {
            let core = allowed_cores().expect("known")[0];
            keep_to_cores(&[core]).expect("allowed");
            assert_eq!(allowed_cores().expect("known"), [core]);
        })
        .join()
        .expect("the assertions hold");
    }

    #[test]
    fn groups_of_processes_are_never_signalled() {
        assert!(signal(0, 0).is_err());
        assert!(signal(u32::MAX, 0).is_err());
        assert!(signal(std::process::id(), 0).is_ok());
    }
}
