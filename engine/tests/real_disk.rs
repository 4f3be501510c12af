//! The real seam against real files: what the engine relies on, and the traps of the runtime below.

use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};
use ringmq_engine::env::glommio::{GlommioEnv, Watchdog};
use ringmq_engine::env::{BLOCK_BYTES, Buffer, Env, File, LOCK_FILE, OpenHow, Signal, TaskClass};

const NEW: OpenHow = OpenHow { create_new: true, write: true, sync_writes: false };
const NEW_DSYNC: OpenHow = OpenHow { create_new: true, write: true, sync_writes: true };
const READ: OpenHow = OpenHow { create_new: false, write: false, sync_writes: false };

/// Runs a test on an executor of its own, in an empty folder that is removed afterwards.
fn with_env<F: Future<Output = ()>>(base: &Path, test: impl FnOnce(GlommioEnv, PathBuf) -> F) {
    let name = std::thread::current().name().unwrap_or("test").replace("::", "-");
    let folder = base.join(format!("ringmq-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(1 << 20)
        .detect_stalls(Some(Box::new(glommio::DefaultStallDetectionHandler {})))
        .make()
        .expect("an executor");
    let watchdog = Watchdog::start().expect("a thread");
    executor.run(async {
        let env = GlommioEnv::start(&watchdog);
        test(env.clone(), folder.clone()).await;
        env.end().await;
    });
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

fn disk() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn filled(env: &GlommioEnv, blocks: usize, byte: u8) -> Rc<<GlommioEnv as Env>::Buffer> {
    let mut buffer = env.buffer(blocks * BLOCK_BYTES);
    buffer.as_mut().fill(byte);
    Rc::new(buffer)
}

async fn what_is_written_is_read(env: GlommioEnv, folder: PathBuf, how: OpenHow, direct: bool) {
    let file = env.open(&folder.join("a"), how).await.expect("open");
    assert_eq!(file.is_direct(), direct);
    file.write_at(filled(&env, 2, 7), BLOCK_BYTES as u64).await.expect("write");
    file.write_at(filled(&env, 1, 5), 0).await.expect("write");
    file.flush().await.expect("flush");
    assert_eq!(file.len().await.expect("len"), 3 * BLOCK_BYTES as u64);
    file.close().await.expect("close");

    let file = env.open(&folder.join("a"), READ).await.expect("open again");
    let read = file.read_at(0, 3 * BLOCK_BYTES).await.expect("read");
    assert!(read[..BLOCK_BYTES].iter().all(|byte| *byte == 5));
    assert!(read[BLOCK_BYTES..].iter().all(|byte| *byte == 7));
    assert_eq!(read.len(), 3 * BLOCK_BYTES);
    file.close().await.expect("close");
}

#[test]
fn a_file_on_disk_is_direct_and_keeps_what_was_written() {
    with_env(disk(), |env, folder| what_is_written_is_read(env, folder, NEW, true));
}

#[test]
fn a_file_opened_for_synchronous_writes_keeps_what_was_written() {
    with_env(disk(), |env, folder| what_is_written_is_read(env, folder, NEW_DSYNC, true));
}

#[test]
fn a_folder_in_memory_has_no_direct_io_and_works_all_the_same() {
    with_env(Path::new("/dev/shm"), |env, folder| what_is_written_is_read(env, folder, NEW_DSYNC, false));
}

#[test]
fn a_read_ends_at_the_end_of_the_file() {
    with_env(disk(), |env, folder| async move {
        let file = env.open(&folder.join("a"), NEW).await.expect("open");
        file.write_at(filled(&env, 3, 9), 0).await.expect("write");
        for (position_blocks, len_blocks, expected_blocks) in
            [(0, 3, 3), (0, 8, 3), (2, 4, 1), (3, 1, 0), (7, 2, 0), (1, 400, 2)]
        {
            let position = (position_blocks * BLOCK_BYTES) as u64;
            let read = file.read_at(position, len_blocks * BLOCK_BYTES).await.expect("read");
            assert_eq!(read.len(), expected_blocks * BLOCK_BYTES, "{len_blocks} blocks at {position_blocks}");
            assert!(read.iter().all(|byte| *byte == 9));
        }
        file.close().await.expect("close");
    });
}

#[test]
fn a_buffer_is_zeroed_and_a_filled_one_may_be_reused_after_its_write() {
    with_env(disk(), |env, folder| async move {
        let mut buffer = env.buffer(4 * BLOCK_BYTES);
        assert!(buffer.iter().all(|byte| *byte == 0));
        buffer.as_mut().fill(1);
        buffer.truncate(BLOCK_BYTES);
        assert_eq!(buffer.len(), BLOCK_BYTES);

        let file = env.open(&folder.join("a"), NEW).await.expect("open");
        let shared = Rc::new(buffer);
        file.write_at(shared.clone(), 0).await.expect("write");
        let mut buffer = Rc::into_inner(shared).expect("the write has let go of it");
        buffer.as_mut().fill(2);

        let mut read = file.read_at(0, BLOCK_BYTES).await.expect("read");
        assert!(read.iter().all(|byte| *byte == 1));
        read.as_mut().fill(3);
        assert!(read.iter().all(|byte| *byte == 3), "what was read may be changed too");
        file.close().await.expect("close");
    });
}

#[test]
fn a_folder_is_made_listed_renamed_in_and_synced() {
    with_env(disk(), |env, folder| async move {
        let inner = folder.join("x/y");
        env.create_folder(&inner).await.expect("create");
        env.create_folder(&inner).await.expect("again");
        for name in ["b", "a", "c"] {
            env.open(&inner.join(name), NEW).await.expect("open").close().await.expect("close");
        }
        env.rename(&inner.join("c"), &inner.join("b")).await.expect("rename replaces");
        env.sync_folder(&inner).await.expect("sync");
        assert_eq!(env.list(&inner).await.expect("list"), ["a", "b"]);
        env.remove(&inner.join("a")).await.expect("remove");
        assert_eq!(env.list(&inner).await.expect("list"), ["b"]);
    });
}

#[test]
fn the_space_of_a_disk_is_what_df_says() {
    with_env(disk(), |env, folder| async move {
        let space = env.space(&folder).await.expect("the space");
        let df = std::process::Command::new("df").args(["-B1", "--output=used,avail"]).arg(&folder).output();
        let said = String::from_utf8(df.expect("df runs").stdout).expect("text");
        let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // Others write meanwhile.
        let near = |a: u64, b: u64| a.abs_diff(b) < 1 << 30;
        assert!(
            near(space.available, numbers[1]) && near(space.total, numbers[0] + numbers[1]),
            "{space:?} {said}"
        );
        let missing = env.space(&folder.join("missing")).await.expect_err("nothing is there");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn failures_say_what_they_are() {
    with_env(disk(), |env, folder| async move {
        let kind = |error: std::io::Error| error.kind();
        let here = folder.join("a");
        let absent = folder.join("nothing");
        assert_eq!(env.open(&absent, READ).await.err().map(kind), Some(ErrorKind::NotFound));
        assert_eq!(env.list(&absent).await.err().map(kind), Some(ErrorKind::NotFound));
        assert_eq!(env.rename(&absent, &here).await.err().map(kind), Some(ErrorKind::NotFound));
        assert_eq!(env.remove(&absent).await.err().map(kind), Some(ErrorKind::NotFound));
        assert_eq!(env.sync_folder(&absent).await.err().map(kind), Some(ErrorKind::NotFound));

        env.open(&here, NEW).await.expect("open").close().await.expect("close");
        assert_eq!(env.open(&here, NEW).await.err().map(kind), Some(ErrorKind::AlreadyExists));
        let file = env.open(&here, READ).await.expect("open");
        assert!(file.write_at(filled(&env, 1, 1), 0).await.is_err(), "opened for reading only");
        file.close().await.expect("close");
    });
}

#[test]
fn a_folder_is_held_by_one_at_a_time() {
    with_env(disk(), |env, folder| async move {
        let held = env.lock_folder(&folder).await.expect("the first has it");
        let second = env.lock_folder(&folder).await.err().map(|error| error.kind());
        assert_eq!(second, Some(ErrorKind::WouldBlock));
        assert_eq!(env.list(&folder).await.expect("list"), [LOCK_FILE]);
        drop(held);
        env.lock_folder(&folder).await.expect("it was let go");
    });
}

#[test]
fn tasks_of_every_class_run_and_time_goes_forward() {
    with_env(disk(), |env, _| async move {
        let before = env.monotonic();
        for class in [TaskClass::Serve, TaskClass::Read, TaskClass::Background] {
            let done = Rc::new(Signal::new());
            let fire = done.clone();
            env.spawn(class, async move { fire.fire() });
            done.wait().await;
        }
        env.sleep(Duration::from_millis(2)).await;
        assert!(env.monotonic() - before >= Duration::from_millis(2));
        assert!(env.wall_ms() > 1_700_000_000_000);
        assert_ne!(env.random(), env.random());
    });
}
