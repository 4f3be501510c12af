//! A flooded shard must never park with work in hand.
//!
//! glommio 0.12.0 may take "preempted before anything ran" for "nothing to run" and sleep until a completion
//! arrives; without [`Heartbeat`] this flood has nothing else that would ever complete. A short preemption
//! timer makes the case frequent. The watchdog is a thread, because a hung executor cannot watch itself.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};
use ringmq_engine::env::glommio::GlommioEnv;
use ringmq_engine::env::{Env, Signal, TaskClass};

const TASKS: usize = 64;
const TURNS: u64 = 150_000;
/// A healthy flood takes a second or two; a machine that loses most of its time gets twenty times that.
const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn a_flooded_shard_does_not_hang() {
    let (finished, watchdog) = mpsc::channel();
    let shard = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(1 << 20)
        .preempt_timer(Duration::from_micros(200))
        .spawn(move || async move {
            let longest_delay = flood().await;
            finished.send(longest_delay).expect("the watchdog is there");
        })
        .expect("an executor");

    let longest_delay = watchdog.recv_timeout(PATIENCE).expect("the flood ends: the shard did not hang");
    println!("longest delay of a heartbeat: {longest_delay:?}");
    shard.join().expect("the shard ends");
}

/// A ring of tasks of all classes that wake each other, with eight wake-ups going round: no I/O, no timer.
async fn flood() -> Duration {
    let env = GlommioEnv::start();
    env.set_busy(true);
    let ring: Vec<Rc<Signal>> = (0..TASKS).map(|_| Rc::new(Signal::new())).collect();
    let (turns, running, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(TASKS)), Rc::new(Signal::new()));
    for index in 0..TASKS {
        let class = [TaskClass::Serve, TaskClass::Read, TaskClass::Background][index % 3];
        let (mine, next) = (ring[index].clone(), ring[(index + 1) % TASKS].clone());
        let (turns, running, done) = (turns.clone(), running.clone(), done.clone());
        env.spawn(class, async move {
            while turns.get() < TURNS {
                mine.wait().await;
                spin(Duration::from_micros(5));
                turns.set(turns.get() + 1);
                next.fire();
            }
            next.fire();
            running.set(running.get() - 1);
            if running.get() == 0 {
                done.fire();
            }
        });
    }
    for signal in ring.iter().step_by(TASKS / 8) {
        signal.fire();
    }
    done.wait().await;
    env.set_busy(false);
    let longest_delay = env.heartbeat().longest_delay();
    env.end().await;
    longest_delay
}

fn spin(duration: Duration) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
