//! Asking the machine: one function per fact, none of which judges. Everything is left as it was found.
//!
//! What cannot be found out is `None` or an error's text, never a panic: a checking command runs where things are wrong.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the disk is measured.
const MEASURED: Duration = Duration::from_millis(800);
/// `STA_UNSYNC` of adjtimex(2).
const UNSYNCHRONISED: libc::c_int = 0x0040;

/// Where a folder's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: String,
    /// `ext4`, `tmpfs`.
    pub kind: String,
    /// `major:minor` of its device.
    pub device: String,
}

/// The volatile cache of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteCache {
    /// The disk's name, `nvme0n1`.
    pub device: String,
    /// Whether it has one.
    pub write_back: bool,
    /// Whether single writes can pass it.
    pub fua: bool,
}

/// How long 4 KiB take to become durable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disk {
    /// The median, microseconds.
    pub p50_us: f64,
    /// 99 of 100 take less, microseconds.
    pub p99_us: f64,
}

/// The clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// The kernel's source.
    pub source: Option<String>,
    /// Which it could use.
    pub available: Vec<String>,
    /// Whether the wall clock follows others, if the kernel says so.
    pub synchronised: Option<bool>,
    /// Wall time, seconds since 1970.
    pub wall_secs: u64,
}

/// Where a connection to an address ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// At a listener that was made to try it.
    Ourselves,
    /// At a server that listens on our port already.
    Server,
    /// Somewhere else.
    SomebodyElse,
    /// The name says nothing.
    NotResolved(String),
    /// Nothing could be made to listen.
    NotListening(String),
    /// Nowhere.
    NotReached(String),
}

/// `uname -r`.
pub fn kernel() -> String {
    read_line(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default()
}

/// A soft limit of this process, by its name in `/proc/self/limits`; `None` is no limit, or one that is not told.
pub fn limit(name: &str) -> Option<u64> {
    parse_limit(&fs::read_to_string("/proc/self/limits").ok()?, name)
}

fn parse_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The folder, or the nearest one above it that exists.
pub fn existing(folder: &Path) -> PathBuf {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    folder.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_path_buf()
}

/// The mount that a folder lies in.
pub fn mount(folder: &Path) -> Option<Mount> {
    let folder = folder.canonicalize().ok()?;
    parse_mounts(&fs::read_to_string("/proc/self/mountinfo").ok()?, &folder)
}

/// `id parent major:minor root point options … - kind source options`; of several at one point the last is on top.
///
/// Source: proc_pid_mountinfo(5).
fn parse_mounts(mounts: &str, folder: &Path) -> Option<Mount> {
    let parse = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(2);
        let (device, point) = (fields.next()?, fields.nth(1)?);
        let kind = after.split(' ').next()?;
        Some(Mount { point: point.replace("\\040", " "), kind: kind.to_owned(), device: device.to_owned() })
    };
    mounts
        .lines()
        .filter_map(parse)
        .filter(|mount| folder.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.len())
}

/// The cache of the disk behind a mount. A partition's queue is its disk's.
pub fn write_cache(mount: &Mount) -> Option<WriteCache> {
    let device = Path::new("/sys/dev/block").join(&mount.device).canonicalize().ok()?;
    let disk = device.ancestors().take(2).find(|above| above.join("queue").is_dir())?;
    let mode = read_line(&disk.join("queue/write_cache"))?;
    Some(WriteCache {
        device: disk.file_name()?.to_string_lossy().into_owned(),
        write_back: mode == "write back",
        fua: read_line(&disk.join("queue/fua")).as_deref() == Some("1"),
    })
}

/// Whether a file can be opened past the page cache.
pub fn direct_io(folder: &Path) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = scratch(folder);
    let opened = fs::File::options().write(true).create_new(true).custom_flags(libc::O_DIRECT).open(&path);
    // A file system that refuses the flag may have made the file all the same.
    let _ = fs::remove_file(&path);
    opened.map(drop).map_err(|error| error.to_string())
}

/// Writes a file of 16 MiB, and blocks of it again and again for almost a second.
pub fn flush(folder: &Path) -> Result<Disk, String> {
    let path = scratch(folder);
    let measured = ringmq_bench::disk::measure_file(&path, MEASURED);
    let removed = fs::remove_file(&path);
    let speed = measured.map_err(|error| error.to_string())?;
    removed.map_err(|error| error.to_string())?;
    Ok(Disk { p50_us: speed.p50_us, p99_us: speed.p99_us })
}

fn scratch(folder: &Path) -> PathBuf {
    folder.join(format!("ringmq-check-{}", std::process::id()))
}

/// The clocks.
pub fn clock() -> Clock {
    let sources = Path::new("/sys/devices/system/clocksource/clocksource0");
    let available = read_line(&sources.join("available_clocksource")).unwrap_or_default();
    Clock {
        source: read_line(&sources.join("current_clocksource")),
        available: available.split_whitespace().map(str::to_owned).collect(),
        synchronised: synchronised(),
        wall_secs: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    }
}

fn synchronised() -> Option<bool> {
    // SAFETY: an all-zero timex is valid, and asks for nothing to be changed.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `timex` outlives the call, which only writes to it.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    // Containers may forbid it.
    (state >= 0).then_some(timex.status & UNSYNCHRONISED == 0)
}

/// Listens on `host:port` for a moment, connects to `advertised:port`, and sees who is met.
pub fn reach(host: &str, advertised: &str, port: u16) -> Reached {
    let addresses: Vec<SocketAddr> = match (advertised, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(error) => return Reached::NotResolved(error.to_string()),
    };
    match TcpListener::bind((host, port)) {
        Ok(listener) => match connect(&addresses) {
            Ok(connection) => who_was_met(&listener, &connection),
            Err(error) => Reached::NotReached(error.to_string()),
        },
        Err(error) if error.kind() == ErrorKind::AddrInUse => match connect(&addresses) {
            Ok(_) => Reached::Server,
            Err(error) => Reached::NotReached(error.to_string()),
        },
        Err(error) => Reached::NotListening(error.to_string()),
    }
}

fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(address, PATIENCE) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection that is established waits in its listener's queue, so nothing has to be waited for.
fn who_was_met(listener: &TcpListener, connection: &TcpStream) -> Reached {
    let met = listener.set_nonblocking(true).and_then(|()| listener.accept());
    match (met, connection.local_addr()) {
        (Ok((_, peer)), Ok(ours)) if peer.port() == ours.port() => Reached::Ourselves,
        _ => Reached::SomebodyElse,
    }
}

fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            20000                30000                files     \n\
                      Max locked memory         unlimited            unlimited            bytes     \n";
        assert_eq!(parse_limit(limits, "Max open files"), Some(20_000));
        assert_eq!(parse_limit(limits, "Max locked memory"), None);
        assert_eq!(parse_limit(limits, "Max nothing"), None);
    }

    #[test]
    fn a_folder_lies_in_the_innermost_mount_and_on_top_of_it() {
        let mounts = "27 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\
                      40 27 8:1 / /data rw shared:5 - ext3 /dev/sda1 rw\n\
                      41 40 8:2 /sub /data rw - xfs /dev/sda2 rw\n\
                      42 27 0:5 / /my\\040disk rw - tmpfs tmpfs rw\n\
                      no mount at all\n";
        let of =
            |folder: &str| parse_mounts(mounts, Path::new(folder)).map(|mount| (mount.kind, mount.device));
        let is = |kind: &str, device: &str| Some((kind.to_owned(), device.to_owned()));
        assert_eq!(of("/data/ringmq"), is("xfs", "8:2"));
        assert_eq!(of("/database"), is("ext4", "254:0"));
        assert_eq!(of("/my disk/x"), is("tmpfs", "0:5"));
        assert_eq!(parse_mounts("", Path::new("/")), None);
    }

    #[test]
    fn this_machine_answers_and_nothing_stays_behind() {
        assert!(!kernel().is_empty());
        assert!(limit("Max open files").is_none_or(|files| files > 0));
        let here = existing(Path::new("no/such/folder"));
        assert_eq!(here, std::env::current_dir().unwrap());
        assert!(mount(&here).is_some());
        let before = fs::read_dir(&here).unwrap().count();
        let _ = direct_io(&here);
        assert_eq!(fs::read_dir(&here).unwrap().count(), before);
        assert!(clock().wall_secs > 0);
    }

    #[test]
    fn an_address_is_tried_by_connecting_to_it() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert_eq!(reach("127.0.0.1", "127.0.0.1", port), Reached::Ourselves);
        assert!(matches!(reach("127.0.0.1", "mq.invalid", port), Reached::NotResolved(_)));
        assert!(matches!(reach("192.0.2.1", "127.0.0.1", port), Reached::NotListening(_)));
        // 127.0.0.2 is this machine too, but nobody listens there.
        assert!(matches!(reach("127.0.0.1", "127.0.0.2", port), Reached::NotReached(_)));
        let _server = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert_eq!(reach("127.0.0.1", "127.0.0.1", port), Reached::Server);
    }
}
