//! One queue that is this member's: how far it is consumed, and the task that pulls it.
//!
//! Invariants
//!  1. One pull is under way at a time, and none while there is no room for what it brings.
//!  2. Once released, nothing of the queue is delivered, given back or committed by this member any more.

use super::delivery::Delivery;
use super::give_back::{Returned, Verdict};
use super::member::Shared;
use super::pull::{Outcome, Wanted, pull};
use crate::edge::connections::lock;
use crate::error::Error;
use crate::limits::MESSAGES_PER_PULL;
use crate::queue::Queue;
use crate::rules::backoff::Backoff;
use crate::rules::progress::Progress;
use crate::stored_message::StoredMessage;
use ringmq_wire::code::response;
use ringmq_wire::record::tag::TagSelection;
use ringmq_wire::request::subscription::Subscription;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// The broker holds a pull that finds nothing for so long. (RocketMQ: `brokerSuspendMaxTimeMillis`)
const WAIT: Duration = Duration::from_secs(15);
/// A broker that answers *nothing* sooner than this was not waiting.
const NOT_WAITED: Duration = Duration::from_millis(2);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is wanted of a topic.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub name: String,
    pub subscription: Subscription,
    pub selection: TagSelection,
}

/// One queue of this member's.
pub(super) struct Assigned {
    pub queue: Queue,
    pub shared: Arc<Shared>,
    pub topic: Topic,
    progress: Mutex<Progress>,
    is_released: AtomicBool,
    room: Notify,
    puller: Mutex<Option<AbortHandle>>,
    /// When the broker last said that the queue is locked for us. Orderly consumers only.
    pub locked_at: Mutex<Instant>,
}

impl Assigned {
    pub fn new(queue: Queue, shared: Arc<Shared>, topic: Topic, start: i64) -> Arc<Assigned> {
        Arc::new(Assigned {
            queue,
            shared,
            topic,
            progress: Mutex::new(Progress::new(start)),
            is_released: AtomicBool::new(false),
            room: Notify::new(),
            puller: Mutex::default(),
            locked_at: Mutex::new(Instant::now()),
        })
    }

    /// Pulls, until it is released, what goes to `deliver`.
    pub fn start(self: &Arc<Assigned>, deliver: UnboundedSender<Delivery>) {
        let puller = tokio::spawn(self.clone().pull_on(deliver)).abort_handle();
        *lock(&self.puller) = Some(puller);
    }

    /// Pulls no more; what was delivered may still be finished.
    pub fn stop_pulling(&self) {
        if let Some(puller) = lock(&self.puller).take() {
            puller.abort();
        }
    }

    pub fn release(&self) {
        self.is_released.store(true, Ordering::Release);
        self.stop_pulling();
    }

    pub fn is_released(&self) -> bool {
        self.is_released.load(Ordering::Acquire)
    }

    /// Whether a message that was pulled should still be delivered.
    pub fn wants(&self, offset: i64) -> bool {
        !self.is_released() && !self.shared.is_stopping() && lock(&self.progress).is_undone(offset)
    }

    /// A message is in somebody's hands.
    pub fn took(&self, message: &StoredMessage) {
        self.shared.took(message.bytes());
    }

    /// It is not any more.
    pub fn gave(&self, message: &StoredMessage) {
        self.shared.gave(message.bytes());
    }

    pub fn done(&self, offset: i64) {
        if !self.is_released() {
            lock(&self.progress).done(offset);
            self.room.notify_one();
        }
    }

    pub fn give_back(self: &Arc<Assigned>, message: StoredMessage, verdict: Verdict) {
        if self.wants(message.offset()) {
            self.shared.give_back(Returned { message, from: self.clone(), verdict });
        }
    }

    /// Lets the puller look again whether there is room.
    pub fn look_for_room(&self) {
        self.room.notify_one();
    }

    pub fn to_commit(&self) -> Option<i64> {
        lock(&self.progress).to_commit()
    }

    pub fn committed(&self, offset: i64) {
        lock(&self.progress).committed(offset);
    }

    async fn pull_on(self: Arc<Assigned>, deliver: UnboundedSender<Delivery>) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while !self.is_released() {
            while !self.has_room() {
                self.room.notified().await;
            }
            let offset = lock(&self.progress).next();
            let began = Instant::now();
            let pulled = pull(&self.shared.core, &self.wanted(offset)).await;
            let pause = match pulled {
                Ok(outcome) => {
                    let is_idle = !self.take(outcome, offset, &deliver) && began.elapsed() < NOT_WAITED;
                    is_idle.then(|| backoff.failed(&mut self.shared.core.random()))
                }
                Err(Error::Stopped) => return,
                Err(error) => {
                    let pause = backoff.failed(&mut self.shared.core.random());
                    self.failed(&error, pause);
                    Some(pause)
                }
            };
            match pause {
                Some(pause) => sleep(pause).await,
                None => backoff.succeeded(),
            }
        }
    }

    fn wanted(&self, offset: i64) -> Wanted<'_> {
        Wanted {
            group: &self.shared.settings.group,
            queue: &self.queue,
            offset,
            subscription: &self.topic.subscription,
            messages_max: MESSAGES_PER_PULL,
            wait: WAIT,
            commit: None,
        }
    }

    /// Takes what a pull brought; `false` if it brought nothing and led nowhere.
    fn take(self: &Arc<Assigned>, outcome: Outcome, asked: i64, deliver: &UnboundedSender<Delivery>) -> bool {
        let mut wanted = Vec::new();
        let next = {
            let mut progress = lock(&self.progress);
            match outcome {
                Outcome::Found { messages, next, .. } => {
                    for message in messages {
                        // The broker goes by the tags' hashes.
                        if self.topic.selection.admits_tag(message.tag()) && progress.pulled(message.offset())
                        {
                            wanted.push(message);
                        }
                    }
                    progress.passed(next);
                }
                Outcome::Nothing { next, .. } => progress.passed(next),
                Outcome::Moved { next, .. } => {
                    tracing::warn!(queue = %self.queue, asked, next, "the offset is not there");
                    progress.moved(next);
                }
            }
            progress.next()
        };
        for message in wanted {
            // Nobody listens to a consumer that is ending.
            let _ = deliver.send(Delivery::new(message, self.clone()));
        }
        next != asked
    }

    fn failed(&self, error: &Error, pause: Duration) {
        tracing::debug!(queue = %self.queue, %error, ?pause, "pull failed");
        match error.code() {
            // The broker has forgotten the group, or never heard of it.
            Some(
                response::SUBSCRIPTION_NOT_EXIST
                | response::SUBSCRIPTION_NOT_LATEST
                | response::SUBSCRIPTION_GROUP_NOT_EXIST,
            ) => self.shared.core.housekeeping.notify_one(),
            _ => self.shared.core.doubt(self.queue.topic()),
        }
    }

    fn has_room(&self) -> bool {
        lock(&self.progress).has_room() && self.shared.has_room()
    }
}
