//! A flooded shard must never stay parked with work in hand.
//!
//! The runtime takes "preempted before anything ran" for "nothing to run" and parks (`env/glommio/watchdog.rs` tells
//! how). Here it is made to: a flood of tasks that never wait for anything outside runs under a preemption timer that
//! gets shorter round by round, until the runtime has parked [`PARKS`] times. Such a flood has no reason ever to
//! sleep, so each time its thread does is one park with runnable work.
//!
//! Without the watchdog the first such park is for ever, and the proof that nothing else was the matter is that the
//! same flood goes on when it is woken from outside. With the watchdog nobody notices.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use glommio::{ExecutorJoinHandle, Latency, LocalExecutorBuilder, Placement, Shares};
use ringmq_engine::env::glommio::{BEAT_BUSY, GlommioEnv, Watchdog};
use ringmq_engine::env::{Env, Signal};

/// So many parks with runnable work are survived.
const PARKS: u64 = 10;
/// After a round with fewer, the preemption timer is shortened.
const PARKS_OF_A_ROUND: u64 = 3;
/// The preemption timer of the first round, long enough to run tasks on any machine.
const PREEMPT_FIRST: Duration = Duration::from_micros(80);
/// At which a runtime with the defect has parked long since.
const PREEMPT_MIN: Duration = Duration::from_micros(1);
const TASKS: usize = 16;
const TURNS_OF_A_ROUND: u64 = 4_000;
const TURN: Duration = Duration::from_micros(3);
/// A flood that makes no turn for so long hangs.
const SILENCE: Duration = Duration::from_secs(2);
/// A healthy flood takes a few seconds, most of them until the preemption timer is short enough.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_flooded_shard_that_parks_with_runnable_work_goes_on() {
    let watchdog = Watchdog::start().expect("a thread");
    let flood = Flood::start(Some(watchdog), PARKS);
    let report = flood.finished.recv_timeout(PATIENCE).expect("the flood ends: the shard did not hang");
    println!("with the watchdog: {report:?}");
    flood.shard.join().expect("the shard ends");
}

#[test]
fn without_the_watchdog_it_hangs_until_it_is_woken_from_outside() {
    let flood = Flood::start(None, 1);
    let started = Instant::now();
    let mut turns = 0;
    loop {
        if let Ok(report) = flood.finished.recv_timeout(SILENCE) {
            panic!("the flood did not hang: {report:?}");
        }
        match flood.turns.load(Relaxed) {
            same if same == turns => break,
            more => turns = more,
        }
        assert!(started.elapsed() < PATIENCE, "the flood neither ends nor hangs");
    }
    let report = loop {
        // The watchdog by hand.
        let waker = flood.waker.lock().expect("no holder panics").clone();
        waker.expect("it ran before the flood").wake();
        match flood.finished.recv_timeout(BEAT_BUSY) {
            Ok(report) => break report,
            Err(_) => assert!(started.elapsed() < 2 * PATIENCE, "a flood that is woken goes on"),
        }
    };
    println!("without: hung after {turns} turns; woken from outside: {report:?}");
    flood.shard.join().expect("the shard ends");
}

/// A shard that is flooded, and what its thread shows to others.
struct Flood {
    shard: ExecutorJoinHandle<()>,
    finished: Receiver<Report>,
    turns: Arc<AtomicU64>,
    /// Of a task that does nothing.
    waker: Arc<Mutex<Option<Waker>>>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
struct Report {
    parks: u64,
    took: Duration,
    preempt: Duration,
    longest_delay: Option<Duration>,
}

impl Flood {
    fn start(watchdog: Option<Arc<Watchdog>>, enough: u64) -> Flood {
        let (turns, waker) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Option<Waker>>>::default());
        let (report, finished) = channel();
        let shard = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(1 << 20)
            .spawn({
                let (turns, waker) = (turns.clone(), waker.clone());
                move || flood(watchdog, turns, waker, report, enough)
            })
            .expect("an executor");
        Flood { shard, finished, turns, waker }
    }
}

async fn flood(
    watchdog: Option<Arc<Watchdog>>,
    turns: Arc<AtomicU64>,
    waker: Arc<Mutex<Option<Waker>>>,
    report: Sender<Report>,
    enough: u64,
) {
    let env = watchdog.as_ref().map(GlommioEnv::start);
    if let Some(env) = &env {
        env.set_busy(true);
    }
    let ended = Rc::new(Cell::new(false));
    let idler = glommio::spawn_local({
        let (ended, waker) = (ended.clone(), waker.clone());
        poll_fn(move |context| {
            *waker.lock().expect("no holder panics") = Some(context.waker().clone());
            if ended.get() { Poll::Ready(()) } else { Poll::Pending }
        })
    });

    let (started, mut parks, mut preempt) = (Instant::now(), 0, PREEMPT_FIRST);
    while parks < enough {
        assert!(preempt > PREEMPT_MIN, "the runtime has no such defect any more: the watchdog may go");
        let before = parks;
        parks += round(preempt, &turns, enough - parks).await;
        if parks - before < PARKS_OF_A_ROUND {
            preempt = preempt * 14 / 15;
        }
    }

    let longest_delay = env.as_ref().map(|env| env.heartbeat().longest_delay());
    let told = report.send(Report { parks, took: started.elapsed(), preempt, longest_delay });
    told.expect("the test waits");
    if let Some(env) = env {
        env.end().await;
    }
    ended.set(true);
    if let Some(waker) = waker.lock().expect("no holder panics").take() {
        waker.wake();
    }
    idler.await;
}

/// A ring of tasks that wake each other, with four wake-ups going round: no I/O, no timer. Says how often it parked.
async fn round(preempt: Duration, turns: &Arc<AtomicU64>, enough: u64) -> u64 {
    let queue = glommio::executor().create_task_queue(
        Shares::Static(1000),
        // The executor's preemption timer while this queue has runnable tasks.
        Latency::Matters(preempt),
        "flood",
    );
    let ring: Vec<Rc<Signal>> = (0..TASKS).map(|_| Rc::new(Signal::new())).collect();
    let (running, done) = (Rc::new(Cell::new(TASKS)), Rc::new(Signal::new()));
    let end = turns.load(Relaxed) + TURNS_OF_A_ROUND;
    let slept_before = Rc::new(Cell::new(times_slept()));
    for index in 0..TASKS {
        let slept_before = slept_before.clone();
        let (mine, next) = (ring[index].clone(), ring[(index + 1) % TASKS].clone());
        let (turns, running, done) = (turns.clone(), running.clone(), done.clone());
        let task = async move {
            while turns.load(Relaxed) < end {
                mine.wait().await;
                spin(TURN);
                if turns.fetch_add(1, Relaxed) % 64 == 0 && times_slept() - slept_before.get() >= enough {
                    turns.fetch_max(end, Relaxed);
                }
                next.fire();
            }
            next.fire();
            running.set(running.get() - 1);
            if running.get() == 0 {
                done.fire();
            }
        };
        glommio::spawn_local_into(task, queue).expect("the queue was just made").detach();
    }
    let slept = slept_before.clone();
    let start = async move {
        // The reactor arms the preemption timer of the queues that it wakes.
        glommio::timer::sleep(Duration::from_micros(1)).await;
        slept.set(times_slept());
        for signal in ring.iter().step_by(TASKS / 4) {
            signal.fire();
        }
    };
    glommio::spawn_local_into(start, queue).expect("the queue was just made").detach();
    done.wait().await;
    times_slept() - slept_before.get()
}

fn spin(duration: Duration) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// How often this thread has gone to sleep by itself.
fn times_slept() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("Linux");
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.expect("every Linux counts them").trim().parse().expect("a number")
}
