//! Receiving what is sent meanwhile: each lane follows one queue with long polls, as Java's push consumers do.
//!
//! Every body says when its message was due (`send`), so the time from there to here is the whole way: the wait for a place,
//! the send, the store, the wake-up of the parked pull, the answer. Sender and receiver share one process and so one clock.
//!
//! Checked of every answer: what `pull` checks. A poll that ended without a record is asked again.
//!
//! Truth: RocketMQ `PullSysFlag`, `PullMessageProcessor`, `ResponseCode`.

use super::pull::{self, Suspend};
use super::template::{Stamp, Template};
use super::timeline::Timeline;
use super::{Lane, Moment, Work, Wrong, send, since_epoch_ns};
use ringmq_wire::Head;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A poll that finds nothing is answered after so long.
const SUSPEND: Suspend = Suspend::Milliseconds(5000);
/// `PULL_NOT_FOUND`, `PULL_RETRY_IMMEDIATELY`: nothing came, ask again.
const NOTHING_YET: [i32; 2] = [19, 20];

/// What the sender and the receiver of a run tell each other.
#[derive(Debug, Default)]
pub struct Meeting {
    /// Messages due from here on are measured, nanoseconds since the epoch; 0 for none yet.
    pub from_ns: AtomicU64,
    /// Messages received, measured or not.
    pub received: AtomicU64,
}

/// Follows the queues of a topic that is empty at first.
#[derive(Clone)]
pub struct Tail {
    templates: Vec<Template>,
    /// By queue: the offset that comes next.
    next: Vec<u64>,
    meeting: Arc<Meeting>,
    /// Messages that were measured, by when they came.
    pub timeline: Timeline,
}

impl Tail {
    /// One lane for each queue.
    pub fn of(topic: &str, queues: u16, meeting: Arc<Meeting>, timeline: Timeline) -> Tail {
        Tail {
            templates: (0..queues).map(|queue| pull::template(topic, queue.into(), SUSPEND)).collect(),
            next: vec![0; queues.into()],
            meeting,
            timeline,
        }
    }

    /// How many there are.
    pub fn queues(&self) -> usize {
        self.next.len()
    }
}

impl Work for Tail {
    fn request(&mut self, lane: Lane, opaque: i32, _moment: Moment, out: &mut Vec<u8>) -> bool {
        let stamp = Stamp { opaque, offset: self.next[lane.index], ..Stamp::default() };
        self.templates[lane.index].stamp(stamp, 1, out);
        true
    }

    fn answer(&mut self, lane: Lane, head: &Head<'_>, body: &[u8]) -> Result<u64, Wrong> {
        if head.code != 0 {
            return Ok(0);
        }
        let now = since_epoch_ns(Instant::now());
        let from = self.meeting.from_ns.load(Ordering::Relaxed);
        let Tail { next, timeline, .. } = self;
        let next = &mut next[lane.index];
        let records = pull::take_records(head, body, lane.index, next, |record| {
            let due = send::due_of(record.body).ok_or_else(|| Wrong("a body without its moment".into()))?;
            if from > 0 && due >= from {
                let at = Duration::from_nanos(now.saturating_sub(from));
                timeline.note(at, 1, Duration::from_nanos(now.saturating_sub(due)));
            }
            Ok(())
        })?;
        self.meeting.received.fetch_add(records, Ordering::Relaxed);
        Ok(records)
    }

    fn accepts(&self, code: i32) -> bool {
        code == 0 || NOTHING_YET.contains(&code)
    }
}
