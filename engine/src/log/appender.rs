//! The loops that take the log to the disk: append, flush on a timer, prepare segments, watch the space.
//!
//! No linger timer: while fewer than K writes are in flight and somebody waits, what there is now is written;
//! otherwise batches gather in the open frame. Each loop ends when the log is poisoned or stopped.
//!
//! Not here: what is in a frame (`tail`), which frames count (`group_commit`).

use std::rc::Rc;
use std::time::Duration;

use super::Log;
use super::segment_set::is_disk_full;
use crate::env::{Env, File, TaskClass};
use crate::limits::{
    ASYNC_FLUSH_INTERVAL, DISK_FULL_RETRY_DELAY, LAZY_DELAY, PREPARE_CHUNK_BYTES,
    PREPARE_HURRIED_CHUNK_BYTES, PREPARE_PAUSE, PREPARE_START_DELAY, PREPARED_AHEAD_BYTES_MIN,
    SPACE_LOOK_INTERVAL, SPACE_LOOK_INTERVAL_LOW,
};
use crate::planted::{self, Bug};
use crate::space::SpaceLevel;

/// Starts the loops of a log that is open.
pub(super) fn start<E: Env>(log: &Rc<Log<E>>) {
    spawn(log, TaskClass::Serve, append(log.clone()));
    spawn(log, TaskClass::Background, prepare(log.clone()));
    // Nobody waits for its end: it holds nothing, and may sleep.
    log.env.spawn(TaskClass::Background, watch_space(log.clone()));
    if log.answer_before_flush {
        spawn(log, TaskClass::Serve, flush_on_timer(log.clone()));
    }
}

/// Starts a task that the log's end waits for.
pub(super) fn spawn<E: Env>(log: &Rc<Log<E>>, class: TaskClass, task: impl Future<Output = ()> + 'static) {
    log.tasks.set(log.tasks.get() + 1);
    let ending = log.clone();
    log.env.spawn(class, async move {
        task.await;
        ending.tasks.set(ending.tasks.get() - 1);
        ending.settled.fire();
    });
}

async fn append<E: Env>(log: Rc<Log<E>>) {
    while !log.is_over() {
        match log.issue() {
            Some((number, position, buffer)) => {
                spawn(&log, TaskClass::Serve, write(log.clone(), number, position, buffer))
            }
            None => log.work.wait().await,
        }
    }
}

async fn write<E: Env>(log: Rc<Log<E>>, number: u64, position: u64, buffer: Rc<E::Buffer>) {
    let issued = log.env.monotonic();
    log.read_gate.written(issued);
    let mut done = write_frame(&log, position, buffer).await;
    if planted::is(Bug::AnswerBeforeFlush) && done.is_ok() {
        log.complete(number);
        let _ = flush_frame(&log, position).await;
        return;
    }
    if done.is_ok() && !log.answer_before_flush && !planted::is(Bug::FlushDropped) {
        done = flush_frame(&log, position).await;
    }
    let took = log.env.monotonic().saturating_sub(issued);
    log.longest_write.set(log.longest_write.get().max(took));
    match done {
        Ok(()) => log.complete(number),
        Err(_) if planted::is(Bug::PoisonIgnored) => log.complete(number),
        Err(reason) => log.poison(reason),
    }
    if log.is_unnoted() {
        tick_later(&log);
    }
}

/// Hands one frame to the device.
pub(super) async fn write_frame<E: Env>(
    log: &Log<E>,
    position: u64,
    buffer: Rc<E::Buffer>,
) -> Result<(), String> {
    let at = position % log.segments.segment_bytes();
    log.writer(position).write_at(buffer, at).await.map_err(|error| log.failure("writing", position, &error))
}

/// Makes a written frame durable, where writing alone does not.
pub(super) async fn flush_frame<E: Env>(log: &Log<E>, position: u64) -> Result<(), String> {
    if log.sync_writes {
        return Ok(());
    }
    log.writer(position).flush().await.map_err(|error| log.failure("flushing", position, &error))
}

/// `answer_before_flush`: what is written counts; it is flushed now and then, and the watermark in the frames follows.
async fn flush_on_timer<E: Env>(log: Rc<Log<E>>) {
    while !log.is_over() {
        log.env.sleep(ASYNC_FLUSH_INTERVAL).await;
        flush_written(&log).await;
    }
}

/// Flushes every segment that has frames which were written and not flushed.
pub(super) async fn flush_written<E: Env>(log: &Log<E>) {
    let (from, to) = (log.flushed.get(), log.durable());
    let mut base = log.segments.base(from);
    while base < to && !log.is_over() {
        let flushed = match log.segments.reader(base).await {
            Ok(file) => file.flush().await,
            Err(error) => Err(error),
        };
        if let Err(error) = flushed {
            log.poison(log.failure("flushing", base, &error));
            return;
        }
        base += log.segments.segment_bytes();
    }
    log.flushed.set(log.flushed.get().max(to));
    log.rolled.fire();
    log.may_retire.fire();
}

/// Keeps the rest of the active segment and all of the next one prepared.
async fn prepare<E: Env>(log: Rc<Log<E>>) {
    let waiting = log.clone();
    log.env.spawn(TaskClass::Background, async move {
        waiting.env.sleep(PREPARE_START_DELAY).await;
        waiting.space_wanted.fire();
    });
    log.space_wanted.wait().await;
    while !log.is_over() {
        let segment_bytes = log.segments.segment_bytes();
        let wanted = log.segments.base(log.appended()) + 2 * segment_bytes;
        if log.segments.ready() >= wanted {
            log.segments.rest();
            log.space_wanted.wait().await;
            continue;
        }
        let ahead_bytes = || log.segments.ready().saturating_sub(log.appended());
        match log.segments.prepare(chunk_bytes(ahead_bytes(), log.segments.is_disk_full())).await {
            Ok(()) => log.work.fire(),
            Err(error) if is_disk_full(&error) => {
                // What was accepted may now be written into the reserve.
                log.work.fire();
                log.settled.fire();
                log.env.sleep(DISK_FULL_RETRY_DELAY).await;
            }
            Err(error) => log.poison(log.failure("preparing", log.segments.ready(), &error)),
        }
        if let Some(pause) = pause(ahead_bytes()) {
            log.env.sleep(pause).await;
        }
    }
}

/// Asks the disk for its space now and then: by the clock, never per message.
async fn watch_space<E: Env>(log: Rc<Log<E>>) {
    loop {
        let low = log.space_level.get() != SpaceLevel::Roomy || log.segments.is_disk_full();
        log.env.sleep(if low { SPACE_LOOK_INTERVAL_LOW } else { SPACE_LOOK_INTERVAL }).await;
        if log.is_over() {
            return;
        }
        log.look_at_space().await;
    }
}

/// How much to prepare next, with so much space prepared ahead of the writer. A full disk may still have room for
/// little.
fn chunk_bytes(ahead_bytes: u64, is_disk_full: bool) -> u64 {
    let hurried = ahead_bytes < PREPARED_AHEAD_BYTES_MIN && !is_disk_full;
    if hurried { PREPARE_HURRIED_CHUNK_BYTES } else { PREPARE_CHUNK_BYTES }
}

/// How long to wait before the next chunk, with so much space prepared ahead of the writer.
fn pause(ahead_bytes: u64) -> Option<Duration> {
    (ahead_bytes >= PREPARED_AHEAD_BYTES_MIN).then_some(PREPARE_PAUSE)
}

/// Comes back after `LAZY_DELAY`: for a lazy batch without company, and to note the watermark of an idle log.
pub(super) fn tick_later<E: Env>(log: &Rc<Log<E>>) {
    if log.tick_pending.replace(true) {
        return;
    }
    let ticking = log.clone();
    log.env.spawn(TaskClass::Background, async move {
        ticking.env.sleep(LAZY_DELAY).await;
        ticking.tick_pending.set(false);
        if !ticking.is_over() && ticking.tick() {
            tick_later(&ticking);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preparing_pauses_and_takes_small_steps_once_it_is_well_ahead() {
        for (ahead, paused) in
            [(0, false), (PREPARED_AHEAD_BYTES_MIN - 1, false), (PREPARED_AHEAD_BYTES_MIN, true)]
        {
            assert_eq!(pause(ahead).is_some(), paused, "{ahead} bytes ahead");
            assert_eq!(chunk_bytes(ahead, false) == PREPARE_CHUNK_BYTES, paused, "{ahead} bytes ahead");
        }
    }
}
