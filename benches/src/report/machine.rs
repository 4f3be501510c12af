//! The machine, as far as a reader needs it to judge numbers.

use serde::Serialize;
use std::fs;
use std::path::Path;

/// Where a measurement was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub processor: String,
    /// Cores that may be used.
    pub cores: usize,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// File system of the data folder, with its device.
    pub file_system: String,
    /// Load average over the last minute, before the measurement: what others did to it.
    pub load_before: String,
}

impl Machine {
    /// This one, for data in `folder`.
    pub fn here(folder: &Path) -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Machine {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: value(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: value(&read("/proc/meminfo"), "MemTotal")
                .trim_end_matches(" kB")
                .parse()
                .unwrap_or(0)
                / 1024,
            file_system: file_system(&read("/proc/mounts"), &folder),
            load_before: read("/proc/loadavg").split_whitespace().next().unwrap_or_default().to_owned(),
        }
    }
}

fn value(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
}

/// The mount that holds `folder`: the deepest one above it.
fn file_system(mounts: &str, folder: &Path) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?))
    });
    let above = mounts.filter(|(_, point, _)| folder.starts_with(point));
    let deepest = above.max_by_key(|(_, point, _)| point.len());
    deepest.map_or("unknown".to_owned(), |(device, _, kind)| format!("{kind} on {device}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_deepest_mount_above() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /var/lib xfs rw 0 0\n";
        for (folder, expected) in [
            ("/home/a", "ext4 on /dev/vda"),
            ("/tmp/a", "tmpfs on tmpfs"),
            ("/var/lib/a/b", "xfs on /dev/vdb"),
        ] {
            assert_eq!(file_system(mounts, Path::new(folder)), expected);
        }
        assert_eq!(value("MemTotal:  1024 kB\n", "MemTotal"), "1024 kB");
    }
}
