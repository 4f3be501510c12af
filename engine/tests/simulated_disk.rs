//! What the simulated seam promises to those who test with it.

use std::cell::Cell;
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_engine::env::sim::{Disk, Fault, FaultMix, Sim, SimBuffer, SimEnv, Step};
use ringmq_engine::env::{BLOCK_BYTES, Buffer, Env, File, OpenHow, Random, Signal, TaskClass};

const NEW: OpenHow = OpenHow { create_new: true, write: true, sync_writes: false };
const NEW_DSYNC: OpenHow = OpenHow { create_new: true, write: true, sync_writes: true };
const WRITE: OpenHow = OpenHow { create_new: false, write: true, sync_writes: false };
const READ: OpenHow = OpenHow { create_new: false, write: false, sync_writes: false };

fn folder() -> &'static Path {
    Path::new("/store")
}

fn filled(env: &SimEnv, blocks: usize, byte: u8) -> Rc<SimBuffer> {
    let mut buffer = env.buffer(blocks * BLOCK_BYTES);
    buffer.as_mut().fill(byte);
    Rc::new(buffer)
}

/// A disk with the folder and one durable file "a" of two blocks of ones.
fn disk_with_a() -> Disk {
    let sim = Sim::new(1);
    let env = sim.env();
    sim.run_until(async {
        env.create_folder(folder()).await.expect("create");
        env.sync_folder(Path::new("/")).await.expect("sync");
        let file = env.open(&folder().join("a"), NEW).await.expect("open");
        file.write_at(filled(&env, 2, 1), 0).await.expect("write");
        file.flush().await.expect("flush");
        env.sync_folder(folder()).await.expect("sync");
    })
    .expect("nothing to wait for");
    let disk = sim.disk();
    assert!(!disk.has_pending());
    disk
}

/// Runs a program on that disk and returns the disk afterwards, pending writes included.
fn after<F: Future<Output = ()>>(program: impl FnOnce(SimEnv) -> F) -> Disk {
    let sim = Sim::on(disk_with_a(), 7);
    sim.run_until(program(sim.env())).expect("nothing to wait for");
    sim.disk()
}

fn first_bytes(disk: &Disk, name: &str) -> Option<Vec<u8>> {
    let bytes = disk.bytes(&folder().join(name)).ok()?;
    Some(bytes.chunks(BLOCK_BYTES).map(|block| block[0]).collect())
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let run = |seed| {
        let sim = Sim::on(disk_with_a(), seed);
        sim.faults().set_mix(FaultMix { stalls: 100, read_errors: 100, ..FaultMix::default() });
        let running = Rc::new(Cell::new(4));
        for index in 0..running.get() {
            let (env, running) = (sim.env(), running.clone());
            sim.env().spawn(TaskClass::Serve, async move {
                let file = env.open(&folder().join("a"), WRITE).await.expect("open");
                let position = u64::from(index) * BLOCK_BYTES as u64;
                file.write_at(filled(&env, 1, 2 + index), position).await.expect("write");
                env.sleep(Duration::from_micros(env.random() % 1000)).await;
                file.read_at(0, BLOCK_BYTES).await.ok();
                running.set(running.get() - 1);
            });
        }
        while sim.step() != Step::Nothing {}
        assert_eq!((running.get(), sim.tasks()), (0, 0));
        (sim.trace().hash(), sim.trace().count(), sim.now())
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
        assert_ne!(run(seed).0, run(seed + 1).0);
    }
}

#[test]
fn waiting_for_nothing_is_reported_and_not_waited_for() {
    let sim = Sim::new(1);
    let never = Signal::new();
    let stuck = sim.run_until(never.wait()).expect_err("nobody fires it");
    assert_eq!(stuck.now, Duration::ZERO);

    let env = sim.env();
    let endless = async {
        loop {
            env.sleep(Duration::from_secs(60)).await;
        }
    };
    assert!(sim.run_until::<()>(endless).is_err(), "it never ends");
}

#[test]
fn time_passes_only_by_waiting() {
    let sim = Sim::new(1);
    let env = sim.env();
    let wall = env.wall_ms();
    sim.run_for(Duration::from_secs(5));
    assert_eq!(sim.now(), Duration::from_secs(5));
    sim.run_until(env.sleep(Duration::from_millis(1500))).expect("the timer fires");
    assert_eq!((env.monotonic(), env.wall_ms() - wall), (Duration::from_millis(6500), 6500));
    sim.jump_wall_clock(-10_000);
    assert_eq!(env.wall_ms() - wall, -3500);
}

#[test]
fn what_is_written_is_read_and_only_what_is_flushed_survives() {
    let disk = after(|env| async move {
        let file = env.open(&folder().join("a"), WRITE).await.expect("open");
        file.write_at(filled(&env, 1, 2), 0).await.expect("write");
        file.flush().await.expect("flush");
        file.write_at(filled(&env, 1, 3), BLOCK_BYTES as u64).await.expect("write");
        assert_eq!(file.read_at(0, 8 * BLOCK_BYTES).await.expect("read")[BLOCK_BYTES], 3);
    });
    assert_eq!(first_bytes(&disk, "a"), Some(vec![2, 3]));
    assert_eq!(first_bytes(&disk.crash(|_| false), "a"), Some(vec![2, 1]));
    assert_eq!(first_bytes(&disk.crash(|_| true), "a"), Some(vec![2, 3]));
}

#[test]
fn a_synchronous_write_survives_without_a_flush() {
    let disk = after(|env| async move {
        let file = env.open(&folder().join("b"), NEW_DSYNC).await.expect("open");
        env.sync_folder(folder()).await.expect("sync");
        file.write_at(filled(&env, 1, 4), 0).await.expect("write");
    });
    assert_eq!(first_bytes(&disk.crash(|_| false), "b"), Some(vec![4]));
}

#[test]
fn every_subset_of_the_sectors_of_a_pending_write_can_be_had() {
    let disk = after(|env| async move {
        let file = env.open(&folder().join("a"), WRITE).await.expect("open");
        file.write_at(filled(&env, 1, 2), 0).await.expect("write");
    });
    let units = disk.pending_units();
    assert_eq!(units.len(), 8);
    let mut seen = std::collections::BTreeSet::new();
    for mask in 0..1u32 << units.len() {
        let after = disk.crash(|unit| mask & (1 << unit) != 0);
        assert!(!after.has_pending());
        let bytes = after.bytes(&folder().join("a")).expect("it is there");
        let sectors: Vec<u8> = bytes[..BLOCK_BYTES].chunks(512).map(|sector| sector[0]).collect();
        assert!(bytes[..BLOCK_BYTES].chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        seen.insert(sectors);
    }
    assert_eq!(seen.len(), 256);
}

#[test]
fn a_sector_that_would_change_nothing_is_no_choice() {
    let disk = after(|env| async move {
        let file = env.open(&folder().join("a"), WRITE).await.expect("open");
        let mut buffer = env.buffer(BLOCK_BYTES);
        buffer.as_mut().fill(1);
        buffer.as_mut()[600] = 9;
        file.write_at(Rc::new(buffer), 0).await.expect("write");
    });
    assert_eq!(disk.pending_units().len(), 1);
}

#[test]
fn a_folder_forgets_what_it_was_not_synced_for() {
    let disk = after(|env| async move {
        env.open(&folder().join("b"), NEW).await.expect("open");
        env.rename(&folder().join("a"), &folder().join("c")).await.expect("rename");
    });
    assert_eq!(disk.list(folder()).expect("list"), ["b", "c"]);
    assert_eq!(disk.crash(|_| false).list(folder()).expect("list"), ["a"]);
    let only_the_rename = disk.crash(|unit| unit == 1);
    assert_eq!(first_bytes(&only_the_rename, "c"), Some(vec![1, 1]));
    assert_eq!(only_the_rename.list(folder()).expect("list"), ["c"]);
}

#[test]
fn a_failed_flush_forgets_its_writes_and_the_next_one_succeeds_without_them() {
    let sim = Sim::on(disk_with_a(), 3);
    let env = sim.env();
    sim.run_until(async {
        let file = env.open(&folder().join("a"), WRITE).await.expect("open");
        file.write_at(filled(&env, 1, 2), 0).await.expect("write");
        sim.faults().plan(sim.trace().count(), Fault::Error);
        assert!(file.flush().await.is_err());
        file.flush().await.expect("the second flush");
        assert_eq!(file.read_at(0, BLOCK_BYTES).await.expect("read")[0], 2);
    })
    .expect("nothing to wait for");
    assert_eq!(first_bytes(&sim.disk().crash(|_| false), "a"), Some(vec![1, 1]));
}

#[test]
fn a_forgotten_write_does_not_land_over_a_later_one_that_is_durable() {
    let sim = Sim::on(disk_with_a(), 3);
    let env = sim.env();
    sim.run_until(async {
        let file = env.open(&folder().join("a"), WRITE).await.expect("open");
        file.write_at(filled(&env, 2, 2), 0).await.expect("write");
        sim.faults().plan(sim.trace().count(), Fault::Error);
        assert!(file.flush().await.is_err());
        file.write_at(filled(&env, 1, 3), 0).await.expect("write");
        file.flush().await.expect("flush");
    })
    .expect("nothing to wait for");
    assert_eq!(first_bytes(&sim.disk().crash(|_| true), "a"), Some(vec![3, 2]));
    assert_eq!(first_bytes(&sim.disk().crash(|_| false), "a"), Some(vec![3, 1]));
}

#[test]
fn each_fault_does_what_it_says() {
    let stall = Fault::Stall(Duration::from_secs(3));
    for (fault, error, blocks_after) in [
        (Fault::Error, Some(libc::EIO), None),
        (Fault::NoSpace, Some(libc::ENOSPC), Some(vec![1, 1])),
        (Fault::ShortWrite, None, Some(vec![2, 1])),
        (stall, None, Some(vec![2, 2])),
    ] {
        let sim = Sim::on(disk_with_a(), 5);
        let env = sim.env();
        let outcome = sim.run_until(async {
            let file = env.open(&folder().join("a"), WRITE).await.expect("open");
            sim.faults().plan(sim.trace().count(), fault);
            file.write_at(filled(&env, 2, 2), 0).await
        });
        let outcome = outcome.expect("nothing to wait for");
        assert_eq!(outcome.is_ok(), fault == stall, "{fault:?}");
        assert_eq!(sim.now() > Duration::from_secs(3), fault == stall);
        assert_eq!(sim.faults().happened(), 1);
        if let Some(number) = error {
            assert_eq!(outcome.expect_err("it failed").raw_os_error(), Some(number));
        }
        if let Some(blocks) = blocks_after {
            assert_eq!(first_bytes(&sim.disk(), "a"), Some(blocks), "{fault:?}");
        }
    }
}

#[test]
fn a_rotten_bit_stays_rotten() {
    let sim = Sim::on(disk_with_a(), 5);
    let env = sim.env();
    sim.run_until(async {
        let file = env.open(&folder().join("a"), READ).await.expect("open");
        sim.faults().plan(sim.trace().count(), Fault::Rot);
        let wrong = |bytes: &[u8]| bytes.iter().map(|byte| (byte ^ 1).count_ones()).sum::<u32>();
        assert_eq!(wrong(&file.read_at(0, BLOCK_BYTES).await.expect("read")), 1);
        assert_eq!(wrong(&file.read_at(0, BLOCK_BYTES).await.expect("read")), 1);
    })
    .expect("nothing to wait for");
    assert_ne!(sim.disk().crash(|_| false).bytes(&folder().join("a")).expect("there"), [1; 2 * BLOCK_BYTES]);
}

#[test]
fn a_full_disk_refuses_to_grow_files_and_lets_them_be_overwritten() {
    let mut disk = disk_with_a();
    disk.set_capacity(3);
    let sim = Sim::on(disk, 5);
    let env = sim.env();
    sim.run_until(async {
        let file = env.open(&folder().join("a"), WRITE).await.expect("open");
        file.write_at(filled(&env, 1, 2), 2 * BLOCK_BYTES as u64).await.expect("the third block");
        let space = env.space(folder()).await.expect("the space");
        assert_eq!((space.total, space.available, space.used_percent()), (3 * BLOCK_BYTES as u64, 0, 100));
        let full = file.write_at(filled(&env, 1, 2), 3 * BLOCK_BYTES as u64).await;
        assert_eq!(full.expect_err("no fourth").raw_os_error(), Some(libc::ENOSPC));
        file.write_at(filled(&env, 3, 3), 0).await.expect("old blocks");
        sim.change_disk(|disk| disk.set_capacity(4));
        assert_eq!(env.space(folder()).await.expect("the space").used_percent(), 75);
        file.write_at(filled(&env, 1, 2), 3 * BLOCK_BYTES as u64).await.expect("space is back");
    })
    .expect("nothing to wait for");
}

#[test]
fn a_folder_is_held_by_one_at_a_time_and_let_go_by_a_crash() {
    let sim = Sim::on(disk_with_a(), 5);
    let env = sim.env();
    sim.run_until(async {
        let held = env.lock_folder(folder()).await.expect("the first has it");
        let second = env.lock_folder(folder()).await.err().map(|error| error.kind());
        assert_eq!(second, Some(ErrorKind::WouldBlock));
        drop(held);
        std::mem::forget(env.lock_folder(folder()).await.expect("it was let go"));
    })
    .expect("nothing to wait for");
    let next = Sim::on(sim.disk().crash_by_chance(&Random::new(1)), 6);
    next.run_until(async { next.env().lock_folder(folder()).await.expect("a new process") })
        .expect("nothing to wait for");
}

#[test]
#[should_panic(expected = "two writes in flight share a block")]
fn writes_in_flight_that_share_a_block_stop_the_simulation() {
    let sim = Sim::on(disk_with_a(), 5);
    for byte in [2, 3] {
        let env = sim.env();
        sim.env().spawn(TaskClass::Serve, async move {
            let file = env.open(&folder().join("a"), WRITE).await.expect("open");
            file.write_at(filled(&env, 2, byte), 0).await.expect("write");
        });
    }
    while sim.step() != Step::Nothing {}
}
