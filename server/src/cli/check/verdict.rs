//! What is thought of each fact about the machine: a level, what was found, and what mends it. Pure.
//!
//! Invariants
//!  1. Whatever is not OK says a command, a flag or a setting that mends it.
//!  2. Only what keeps the server from starting, or its promises from holding, is [`Level::Fail`].
//!
//! Not here: how the facts are found ([`super::probe`]).

use serde::Serialize;

use super::probe::{Clock, Disk, Mount, Reached, WriteCache};
use crate::config::value::ByteSize;
use crate::start_error::StartError;

/// Lone sends that wait longer than this for the disk are worth a word, microseconds.
const FLUSH_SLOW_US: f64 = 2_000.0;
/// A wall clock before this has not been set: 2024-01-01, seconds since 1970.
const CLOCK_SET_SECS: u64 = 1_704_067_200;
/// Clock sources that are read without entering the kernel.
const FAST_CLOCKS: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and will surprise.
    Warn,
    /// It does not work.
    Fail,
}

/// What is thought of one fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What mends it; empty when nothing has to be.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

fn ok(found: impl Into<String>) -> Verdict {
    Verdict { level: Level::Ok, found: found.into(), remedy: String::new() }
}

fn warn(found: impl Into<String>, remedy: impl Into<String>) -> Verdict {
    Verdict { level: Level::Warn, found: found.into(), remedy: remedy.into() }
}

fn fail(found: impl Into<String>, remedy: impl Into<String>) -> Verdict {
    Verdict { level: Level::Fail, found: found.into(), remedy: remedy.into() }
}

/// Of `uname -r`.
pub fn kernel(release: &str) -> Verdict {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (6, 1) => ok(format!("Linux {release}")),
        (Some(Ok(_)), Some(Ok(_))) => fail(
            format!("Linux {release}, older than 6.1"),
            "Install a newer kernel: on Debian `apt install linux-image-amd64`, or use a virtual machine with one.",
        ),
        _ => warn(format!("{release:?}, which says no version"), "`uname -r` should begin with 6.1 or more."),
    }
}

/// Of an executor and a ring, made as a shard makes them.
pub fn io_uring(tried: &Result<(), StartError>) -> Verdict {
    match tried {
        Ok(()) => ok("an executor and a network ring can be made"),
        Err(error) => match error.remedy() {
            remedy if remedy.is_empty() => {
                fail(error.to_string(), "`dmesg | tail` may say why; `ringmq explain runtime`.")
            }
            remedy => fail(error.to_string(), remedy),
        },
    }
}

/// Of the limit of locked memory, bytes; without a limit `None`. Newer kernels charge a ring to the control group
/// and not to this limit, so that a small one matters only where rings cannot be made.
pub fn memlock(limit: Option<u64>, needed: u64, ring_made: bool) -> Verdict {
    let remedy = "`ulimit -l unlimited`; in a systemd unit `LimitMEMLOCK=infinity`; for a container \
                  `--ulimit memlock=-1`.";
    match limit {
        None => ok("unlimited"),
        Some(limit) if limit >= needed => ok(format!("{}, {} needed", human(limit), human(needed))),
        Some(limit) => {
            let found = format!("{}, {} may be needed", human(limit), human(needed));
            if ring_made { warn(found, remedy) } else { fail(found, remedy) }
        }
    }
}

/// Of the limit of open files; `needed` is for all the connections that settings allow.
pub fn nofile(limit: Option<u64>, needed: u64) -> Verdict {
    match limit {
        None => ok("unlimited"),
        Some(limit) if limit >= needed => ok(format!("{limit}, {needed} needed")),
        Some(limit) => warn(
            format!("{limit}, {needed} needed for all connections that limits.connections allows"),
            format!(
                "`ulimit -n {needed}`; in a systemd unit `LimitNOFILE={needed}`; or fewer connections with \
                 `--set limits.connections=N`."
            ),
        ),
    }
}

/// Of the file system under the data folder.
pub fn file_system(mount: Option<&Mount>) -> Verdict {
    let Some(mount) = mount else {
        return warn("not told by /proc/self/mountinfo", "`df -T DIR` should say ext4 or xfs.");
    };
    let found = format!("{} at {}", mount.kind, mount.point);
    let local = "`--data DIR` on ext4 or xfs on a local disk.";
    match mount.kind.as_str() {
        "ext4" | "xfs" | "ext3" => ok(found),
        "tmpfs" | "ramfs" => fail(format!("{found}: it is memory, and gone when the machine stops"), local),
        "overlay" | "aufs" => warn(
            format!("{found}: a container's own layer"),
            "Mount a volume: `-v ringmq:/data`, and `--data /data`.",
        ),
        "btrfs" | "zfs" | "bcachefs" => {
            warn(format!("{found}: it copies on every overwrite, so flushes are slower"), local)
        }
        kind if kind.starts_with("nfs") || kind.starts_with("fuse") || kind == "cifs" || kind == "9p" => {
            warn(format!("{found}: its flushes are as good as its server's"), local)
        }
        _ => warn(format!("{found}: not tested"), local),
    }
}

/// Of direct I/O in the data folder.
pub fn direct_io(tried: &Result<(), String>) -> Verdict {
    match tried {
        Ok(()) => ok("works"),
        Err(error) => warn(
            format!("{error}: writes go through the page cache and fdatasync"),
            "Expect more latency; `--data DIR` on ext4 or xfs on a local disk has it.",
        ),
    }
}

/// Of writing 4 KiB durably, again and again.
pub fn flush(measured: &Result<Disk, String>) -> Verdict {
    match measured {
        Err(error) => fail(
            format!("cannot write: {error}"),
            "`chown` the folder to the user that runs ringmq, free some space, or choose another with `--data DIR`.",
        ),
        Ok(disk) => {
            let found = format!("4 KiB durable in {:.0} us, 99 % within {:.0} us", disk.p50_us, disk.p99_us);
            if disk.p50_us <= FLUSH_SLOW_US {
                ok(found)
            } else {
                warn(
                    format!("{found}: a lone sender waits that long for each message"),
                    "`--data DIR` on an NVMe disk, or one with power-loss protection.",
                )
            }
        }
    }
}

/// Of the disk's own cache.
pub fn write_cache(cache: Option<&WriteCache>) -> Verdict {
    match cache {
        None => ok("not told by the kernel; each flush is asked for all the same"),
        Some(cache) if cache.write_back => {
            let how = if cache.fua { "written through with FUA" } else { "flushed on each commit" };
            ok(format!("{}: volatile, {how}", cache.device))
        }
        Some(cache) => ok(format!("{}: none that could lose anything", cache.device)),
    }
}

/// Of the clocks.
pub fn clock(clock: &Clock) -> Verdict {
    if clock.wall_secs < CLOCK_SET_SECS {
        return fail("the wall clock is not set", "`timedatectl set-ntp true`, or `date -s`.");
    }
    let Some(source) = &clock.source else {
        return warn("no clock source is told", "`dmesg | grep -i clocksource` says which is in use.");
    };
    if !FAST_CLOCKS.contains(&source.as_str()) {
        let found = format!("{source}, which is slow to read");
        let faster = FAST_CLOCKS.iter().find(|fast| clock.available.iter().any(|source| source == *fast));
        return match faster {
            Some(faster) => warn(
                found,
                format!(
                    "`echo {faster} > /sys/devices/system/clocksource/clocksource0/current_clocksource`."
                ),
            ),
            None => warn(found, "Boot with `tsc=reliable` if the processor's counter is invariant."),
        };
    }
    if clock.synchronised == Some(false) {
        return warn(
            format!("{source}, not synchronised: store times and retention follow the wall clock"),
            "`timedatectl set-ntp true`, or `apt install chrony`.",
        );
    }
    ok(match clock.synchronised {
        Some(_) => format!("{source}, synchronised"),
        None => source.clone(),
    })
}

/// Of the disk's room: what shards prepare ahead must fit, below the share from which producers are refused.
pub fn free_space(
    total: u64,
    available: u64,
    needed: u64,
    (warn_percent, refuse_percent): (u8, u8),
) -> Verdict {
    let used = total.saturating_sub(available).saturating_mul(100).checked_div(total).unwrap_or(100);
    let found = format!("{} of {} free, {used} % used", human(available), human(total));
    let remedy = "`du -xh DIR | sort -h | tail` finds what is large; `--data DIR` uses another disk; \
                  `--set log.segment_bytes=64MiB` prepares less.";
    if available < needed {
        fail(format!("{found}; {} are prepared at start", human(needed)), remedy)
    } else if used >= u64::from(refuse_percent) {
        fail(format!("{found}; producers are refused from {refuse_percent} % on"), remedy)
    } else if used >= u64::from(warn_percent) {
        warn(format!("{found}; producers are refused from {refuse_percent} % on"), remedy)
    } else {
        ok(found)
    }
}

/// Of a connection to the address that clients are told.
pub fn advertised(address: &str, reached: &Reached) -> Verdict {
    match reached {
        Reached::Ourselves => ok(format!("{address} leads to this machine")),
        Reached::Server => ok(format!("{address} answers: a server listens there")),
        Reached::SomebodyElse => warn(
            format!("{address} leads to another machine"),
            "Right behind a load balancer; otherwise name an address of this machine: `--advertise HOST`.",
        ),
        Reached::NotResolved(error) => fail(
            format!("{address} cannot be resolved: {error}"),
            "`--advertise HOST`, with a name that clients resolve.",
        ),
        Reached::NotListening(error) => fail(
            format!("cannot listen to try it: {error}"),
            "`--host ADDRESS` of this machine, and a free `--port`.",
        ),
        Reached::NotReached(error) => fail(
            format!("{address} cannot be reached from here: {error}"),
            "Let TCP through the firewall (`nft list ruleset` shows it), or name another address: `--advertise HOST`.",
        ),
    }
}

/// Of what listens beyond this machine, and for whom.
pub fn listening(warnings: &[super::Warning]) -> Verdict {
    match warnings.first() {
        None => ok("as clients are told"),
        Some(first) => warn(first.to_string(), first.remedy()),
    }
}

/// `66.1 GiB`.
fn human(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) if !bytes.is_multiple_of(1 << shift) => {
            format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64)
        }
        Some((unit, shift)) => format!("{} {unit}", bytes >> shift),
        None => ByteSize(bytes).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: a verdict, its level, what it must say, and what its remedy must say.
    fn check(rows: &[(Verdict, Level, &str, &str)]) {
        for (verdict, level, found, remedy) in rows {
            assert_eq!(verdict.level, *level, "{verdict:?}");
            assert!(verdict.found.contains(found), "{found:?} in {verdict:?}");
            assert!(verdict.remedy.contains(remedy), "{remedy:?} in {verdict:?}");
            assert_eq!(verdict.remedy.is_empty(), *level == Level::Ok, "{verdict:?}");
        }
    }

    #[test]
    fn kernels_from_6_1_on_are_right() {
        check(&[
            (kernel("6.1.0-18-amd64"), Level::Ok, "Linux 6.1.0-18-amd64", ""),
            (kernel("7.0"), Level::Ok, "Linux 7.0", ""),
            (kernel("6.0.19"), Level::Fail, "older than 6.1", "apt install"),
            (kernel("5.15.0"), Level::Fail, "older than 6.1", "apt install"),
            (kernel(""), Level::Warn, "says no version", "uname -r"),
        ]);
    }

    #[test]
    fn io_uring_is_told_with_the_command_that_allows_it() {
        let refused = |disabled| Err(StartError::IoUringRefused { error: "EPERM".to_owned(), disabled });
        let other = Err(StartError::Runtime { what: "x".to_owned(), error: "y".to_owned() });
        check(&[
            (io_uring(&Ok(())), Level::Ok, "can be made", ""),
            (io_uring(&refused(Some(2))), Level::Fail, "EPERM", "sysctl -w kernel.io_uring_disabled=0"),
            (io_uring(&refused(None)), Level::Fail, "EPERM", "seccomp"),
            (io_uring(&other), Level::Fail, "x: y", "dmesg"),
        ]);
    }

    #[test]
    fn limits_are_told_with_what_is_needed() {
        let (kib, mib) = (1 << 10, 1 << 20);
        check(&[
            (memlock(None, mib, true), Level::Ok, "unlimited", ""),
            (memlock(Some(mib), mib, true), Level::Ok, "1 MiB, 1 MiB needed", ""),
            (memlock(Some(64 * kib), mib, true), Level::Warn, "64 KiB, 1 MiB", "ulimit -l unlimited"),
            (memlock(Some(64 * kib), mib, false), Level::Fail, "64 KiB, 1 MiB", "LimitMEMLOCK"),
            (nofile(None, 30_000), Level::Ok, "unlimited", ""),
            (nofile(Some(30_000), 30_000), Level::Ok, "30000, 30000 needed", ""),
            (nofile(Some(1024), 30_000), Level::Warn, "1024, 30000 needed", "ulimit -n 30000"),
        ]);
    }

    #[test]
    fn file_systems_are_known_by_what_their_flushes_are_worth() {
        let of = |kind: &str| {
            let mount = Mount { point: "/d".to_owned(), kind: kind.to_owned(), device: "8:1".to_owned() };
            file_system(Some(&mount))
        };
        check(&[
            (of("ext4"), Level::Ok, "ext4 at /d", ""),
            (of("xfs"), Level::Ok, "xfs", ""),
            (of("tmpfs"), Level::Fail, "it is memory", "--data DIR"),
            (of("overlay"), Level::Warn, "container", "-v ringmq:/data"),
            (of("zfs"), Level::Warn, "copies", "--data DIR"),
            (of("nfs4"), Level::Warn, "server's", "--data DIR"),
            (of("fuse.sshfs"), Level::Warn, "server's", "--data DIR"),
            (of("f2fs"), Level::Warn, "not tested", "--data DIR"),
            (file_system(None), Level::Warn, "not told", "df -T"),
        ]);
    }

    #[test]
    fn disks_are_told_by_how_long_a_flush_takes() {
        let disk = |p50_us| Ok(Disk { p50_us, p99_us: 2.0 * p50_us });
        let cache = |write_back, fua| WriteCache { device: "sda".to_owned(), write_back, fua };
        check(&[
            (direct_io(&Ok(())), Level::Ok, "works", ""),
            (direct_io(&Err("EINVAL".to_owned())), Level::Warn, "EINVAL", "ext4"),
            (flush(&disk(160.0)), Level::Ok, "4 KiB durable in 160 us, 99 % within 320 us", ""),
            (flush(&disk(2_000.0)), Level::Ok, "2000 us", ""),
            (flush(&disk(8_300.0)), Level::Warn, "8300 us", "NVMe"),
            (flush(&Err("EACCES".to_owned())), Level::Fail, "EACCES", "chown"),
            (write_cache(None), Level::Ok, "not told", ""),
            (write_cache(Some(&cache(true, false))), Level::Ok, "sda: volatile, flushed on each commit", ""),
            (write_cache(Some(&cache(true, true))), Level::Ok, "FUA", ""),
            (write_cache(Some(&cache(false, false))), Level::Ok, "none", ""),
        ]);
    }

    #[test]
    fn a_slow_a_free_running_and_an_unset_clock_are_told_apart() {
        let of = |source: &str, available: &[&str], synchronised, wall_secs| {
            let available = available.iter().map(|one| (*one).to_owned()).collect();
            clock(&Clock { source: Some(source.to_owned()), available, synchronised, wall_secs })
        };
        let now = CLOCK_SET_SECS;
        check(&[
            (of("tsc", &["tsc"], Some(true), now), Level::Ok, "tsc, synchronised", ""),
            (of("kvm-clock", &[], None, now), Level::Ok, "kvm-clock", ""),
            (of("tsc", &["tsc"], Some(false), now), Level::Warn, "not synchronised", "set-ntp"),
            (of("hpet", &["hpet", "tsc"], Some(true), now), Level::Warn, "slow", "echo tsc >"),
            (of("hpet", &["hpet"], Some(true), now), Level::Warn, "slow", "tsc=reliable"),
            (of("tsc", &["tsc"], Some(true), now - 1), Level::Fail, "not set", "timedatectl"),
        ]);
    }

    #[test]
    fn room_is_measured_against_what_is_prepared_and_refused() {
        let gib = |n: u64| n << 30;
        let of = |available, needed| free_space(gib(100), gib(available), gib(needed), (85, 90));
        check(&[
            (of(60, 2), Level::Ok, "60 GiB of 100 GiB free, 40 % used", ""),
            (of(15, 2), Level::Warn, "85 % used; producers are refused from 90 % on", "du -xh"),
            (of(10, 2), Level::Fail, "90 % used", "--data DIR"),
            (of(60, 61), Level::Fail, "61 GiB are prepared at start", "segment_bytes"),
            (free_space(0, 0, 1, (85, 90)), Level::Fail, "0B of 0B free, 100 % used", "du -xh"),
        ]);
    }

    #[test]
    fn the_advertised_address_is_told_by_where_it_leads() {
        let of = |reached| advertised("mq:10911", &reached);
        let error = || "timed out".to_owned();
        check(&[
            (of(Reached::Ourselves), Level::Ok, "mq:10911 leads to this machine", ""),
            (of(Reached::Server), Level::Ok, "a server listens there", ""),
            (of(Reached::SomebodyElse), Level::Warn, "another machine", "--advertise HOST"),
            (of(Reached::NotResolved(error())), Level::Fail, "resolved: timed out", "--advertise HOST"),
            (of(Reached::NotListening(error())), Level::Fail, "listen", "--host ADDRESS"),
            (of(Reached::NotReached(error())), Level::Fail, "reached from here: timed out", "firewall"),
        ]);
    }

    #[test]
    fn sizes_are_for_people() {
        let rows = [(0, "0B"), (512, "512B"), (1 << 10, "1 KiB"), (1_600, "1.6 KiB"), (1 << 40, "1 TiB")];
        for (bytes, expected) in rows {
            assert_eq!(human(bytes), expected);
        }
    }
}
