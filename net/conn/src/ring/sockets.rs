//! The system calls on sockets and descriptors that are not worth a submission: each returns at once.

use super::error::{ListenError, System};
use crate::limits::LISTEN_BACKLOG;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// An address as the kernel wants it.
pub(super) struct KernelAddress {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl KernelAddress {
    pub(super) fn of(address: SocketAddr) -> KernelAddress {
        // SAFETY: all zeroes is a valid `sockaddr_storage`.
        let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let len = match address {
            SocketAddr::V4(address) => {
                let v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
                    sin_zero: [0; 8],
                };
                // SAFETY: `sockaddr_storage` is larger than, and aligned for, every socket address.
                unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(v4) };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(address) => {
                let v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                // SAFETY: as above.
                unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(v6) };
                size_of::<libc::sockaddr_in6>()
            }
        };
        KernelAddress { storage, len: len as libc::socklen_t }
    }

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(super) fn len(&self) -> libc::socklen_t {
        self.len
    }

    fn read(&self) -> io::Result<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the kernel wrote a `sockaddr_in`, as the family says; storage is aligned for it.
                let v4 = unsafe { &*self.as_ptr().cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Ok(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above, for `sockaddr_in6`.
                let v6 = unsafe { &*self.as_ptr().cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Ok(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// A listening socket on `address`. `TCP_NODELAY` is set here and inherited by what it accepts.
///
/// The socket blocks, as all of ours do: an operation on a non-blocking one fails instead of waiting.
pub(super) fn listen(address: SocketAddr) -> Result<OwnedFd, ListenError> {
    let listen = || -> io::Result<OwnedFd> {
        let socket = stream_socket(address)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
        set_option(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
        let kernel = KernelAddress::of(address);
        // SAFETY: pointer and length are those of a valid socket address.
        check(unsafe { libc::bind(socket.as_raw_fd(), kernel.as_ptr(), kernel.len()) })?;
        // SAFETY: no memory is passed.
        check(unsafe { libc::listen(socket.as_raw_fd(), LISTEN_BACKLOG) })?;
        Ok(socket)
    };
    listen().map_err(|source| ListenError::read(address, source))
}

/// A socket to connect to `peer` with.
pub(super) fn for_connecting_to(peer: SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream_socket(peer)?;
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
    Ok(socket)
}

fn stream_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let domain = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no memory is passed.
    owned(unsafe { libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })
}

fn set_option(socket: &OwnedFd, level: i32, option: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: pointer and length are those of `on`.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), len) })
}

/// The address that a listening socket got.
pub(super) fn local_address(socket: RawFd) -> io::Result<SocketAddr> {
    read_address(|storage, len| {
        // SAFETY: `len` says how much `storage` can take.
        unsafe { libc::getsockname(socket, storage, len) }
    })
}

/// The other end; an error if it has gone already.
pub(super) fn peer_address(socket: RawFd) -> io::Result<SocketAddr> {
    read_address(|storage, len| {
        // SAFETY: `len` says how much `storage` can take.
        unsafe { libc::getpeername(socket, storage, len) }
    })
}

fn read_address(
    ask: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int,
) -> io::Result<SocketAddr> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    check(ask(storage.as_mut_ptr().cast(), &mut len))?;
    // SAFETY: all zeroes was valid already, and the kernel wrote an address over it.
    KernelAddress { storage: unsafe { storage.assume_init() }, len }.read()
}

/// Sends no more: the peer sees the end behind the last byte.
pub(super) fn end_sending(socket: &OwnedFd) {
    // SAFETY: no memory is passed. An error says that the connection has gone already.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) };
}

/// Ends both directions: what is in flight on the socket completes.
pub(super) fn shut_down(socket: &OwnedFd) {
    // SAFETY: no memory is passed. An error says that the connection has gone already.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

/// Accepts a waiting connection, if there is one, and closes it: its client sees a refusal.
pub(super) fn refuse_one(listener: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid `pollfd`, no waiting.
    if unsafe { libc::poll(&mut poll, 1, 0) } != 1 {
        return false;
    }
    // SAFETY: no address is asked for. Does not wait: a connection is there, and only we accept here.
    let accepted = unsafe {
        libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC)
    };
    owned(accepted).is_ok()
}

/// A descriptor that is good for nothing but being closed when one is needed.
pub(super) fn spare() -> io::Result<OwnedFd> {
    event_fd()
}

/// An event counter that never blocks.
pub(super) fn event_fd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Adds one to an event counter, which makes it readable.
pub(super) fn signal(event_fd: &OwnedFd) {
    let one: u64 = 1;
    // SAFETY: eight readable bytes. It fails only when the counter is at its end, and then it is readable.
    unsafe { libc::write(event_fd.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
}

/// Waits until an event counter is readable, for at most `patience`, and sets it back to zero.
pub(super) fn wait_for_signal(event_fd: BorrowedFd<'_>, patience: Duration) -> bool {
    let mut poll = libc::pollfd { fd: event_fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = libc::c_int::try_from(patience.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one valid `pollfd`.
    let ready = unsafe { libc::poll(&mut poll, 1, milliseconds) } == 1;
    let mut count = 0u64;
    // SAFETY: eight writable bytes. The counter does not block, so nothing is lost if it is zero.
    unsafe { libc::read(event_fd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    ready
}

/// Takes the descriptor that a system call or a completion has handed to us.
pub(super) fn owned(result: i32) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What the system says of itself, for the reason why a ring was refused.
pub(super) fn system() -> System {
    let first_line = |path| std::fs::read_to_string(path).ok().map(|text| text.trim().to_string());
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable; an error leaves it zero.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    System {
        io_uring_disabled: first_line("/proc/sys/kernel/io_uring_disabled")
            .and_then(|word| word.parse().ok()),
        release: first_line("/proc/sys/kernel/osrelease").unwrap_or_default(),
        memlock_bytes: limit.rlim_cur,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_survive_the_kernel_form() {
        for text in ["127.0.0.1:10911", "[::1]:9876", "[fe80::1%7]:1", "255.1.2.3:65535"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(KernelAddress::of(address).read().ok(), Some(address));
        }
    }

    #[test]
    fn a_port_in_use_is_named() {
        let first = listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = local_address(first.as_raw_fd()).expect("an address");
        let error = listen(address).expect_err("in use");
        assert!(matches!(error, ListenError::InUse(at) if at == address));
        assert!(error.to_string().contains("in use by another process"));
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = listen("192.0.2.1:0".parse().expect("an address")).expect_err("not ours");
        assert!(matches!(error, ListenError::NotOurs(_)), "{error}");
    }
}
