//! A store on real files: what it costs to open, and that it is there again.

use std::path::PathBuf;
use std::rc::Rc;

use glommio::{LocalExecutorBuilder, Placement};
use ringmq_engine::Batch;
use ringmq_engine::env::Signal;
use ringmq_engine::env::glommio::{GlommioEnv, Watchdog};
use ringmq_engine::log::verify::verify;
use ringmq_engine::offset::QueueOffset;
use ringmq_engine::store::{FlushHow, Piece, ReadBudget, Store, StoreOptions};
use ringmq_wire::record::{Draft, decode};

const RECORDS: u64 = 3000;

/// Runs a test on an executor of its own, in an empty folder that is removed afterwards.
fn with_env<F: Future<Output = ()>>(test: impl FnOnce(GlommioEnv, PathBuf) -> F) {
    let name = std::thread::current().name().unwrap_or("test").replace("::", "-");
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ringmq-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let executor =
        LocalExecutorBuilder::new(Placement::Unbound).io_memory(1 << 20).make().expect("an executor");
    let watchdog = Watchdog::start().expect("a thread");
    executor.run(async {
        let env = GlommioEnv::start(&watchdog);
        test(env.clone(), folder.clone()).await;
        env.end().await;
    });
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

fn options(flush: FlushHow) -> StoreOptions {
    StoreOptions {
        segment_bytes: 1 << 20,
        writes_in_flight_max: 4,
        tail_cache_bytes: 256 * 1024,
        cold_bytes_max: 1 << 20,
        appended_bytes_max: 64 << 20,
        flush,
        answer_before_flush: false,
        ..StoreOptions::default()
    }
}

fn draft(body: &[u8]) -> Draft<'_> {
    Draft {
        topic: "orders",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp_ms: 5,
        born_host: "10.0.0.1:5000".parse().expect("an address"),
        store_host: "10.0.0.2:10911".parse().expect("an address"),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: b"",
    }
}

async fn fill(store: &Store<GlommioEnv>, progress: &Signal) {
    let queue = store.queue("orders", 0);
    let mut batch = Batch::default();
    for n in 0..RECORDS {
        batch.clear();
        let mut body = n.to_be_bytes().to_vec();
        body.resize(1000, 7);
        batch.record(queue, 0, &draft(&body)).expect("it is a record");
        let appended = store.append(&mut batch).expect("there is room");
        // Now and then a sender waits for its answer, so that frames of all lengths are written.
        while n % 100 == 0 && store.durable() < appended.ticket {
            progress.wait().await;
        }
    }
}

async fn read_all(store: &Store<GlommioEnv>) -> u64 {
    let queue = store.find_queue("orders", 0).expect("it is known");
    let (mut from, end) = store.bounds(queue);
    assert_eq!((from, end), (QueueOffset(0), QueueOffset(RECORDS)));
    while from < end {
        let budget = ReadBudget { records_max: 32, bytes_max: 1 << 20, entries_max: 32 };
        let mut reading = store.read(queue, from, budget, |_| true);
        store.fetch(&mut reading.pieces).await.expect("it reads");
        let bytes = reading.pieces.iter().map(|piece| match piece {
            Piece::Hot(slice) => slice.bytes(),
            Piece::Cold { .. } => panic!("it was fetched"),
        });
        let bytes = bytes.collect::<Vec<_>>().concat();
        let mut rest = &bytes[..];
        while let Ok(record) = decode(rest) {
            assert_eq!(record.body[..8], from.0.to_be_bytes());
            rest = &rest[record.bytes.len()..];
            from.0 += 1;
        }
    }
    from.0
}

async fn a_store_fills_segments_and_is_there_again(env: GlommioEnv, folder: PathBuf, flush: FlushHow) {
    let progress = Rc::new(Signal::new());
    let opened = Store::open(env.clone(), &folder, options(flush), progress.clone()).await;
    let (store, report) = opened.expect("it opens");
    assert_eq!((report.records, report.torn_bytes), (0, 0));
    fill(&store, &progress).await;
    store.close().await.expect("it closes");
    let report = verify(&folder).expect("it can be read");
    assert!(report.is_whole() && report.records == RECORDS && report.segments > 3, "{report:?}");

    let opened = Store::open(env, &folder, options(flush), progress).await;
    let (store, report) = opened.expect("it opens again");
    assert_eq!((report.records, report.torn_bytes), (RECORDS, 0));
    assert_eq!(read_all(&store).await, RECORDS);
    store.close().await.expect("it closes");
}

#[test]
fn a_store_is_there_again_on_real_files_whichever_way_it_flushes() {
    for flush in [FlushHow::Fdatasync, FlushHow::Dsync, FlushHow::Probe] {
        with_env(|env, folder| a_store_fills_segments_and_is_there_again(env, folder, flush));
    }
}
