//! A member of a group: which queues are its own, what it commits, how it ends.
//!
//! One task does it all, so that nothing of it happens at once: rebalance (every 20 s, and as soon as a broker says that
//! members came or went), commit (every 5 s, and when a queue is let go), confirm locks (every 20 s), end.
//!
//! Invariants
//!  1. Brokers have heard of the member before it asks who the members are.
//!  2. A queue is let go, and its offset committed, before another is taken; one that could not be asked about stays as
//!     it is.
//!  3. An orderly member pulls a queue only while the broker has it locked, and unlocks it when nobody handles it any more.
//!
//! Source: `RebalanceImpl.java`, `RebalancePushImpl.java` (where to begin), `RemoteBrokerOffsetStore.java`.

use super::assigned::{Assigned, Topic};
use super::delivery::Delivery;
use super::give_back::{Returned, give_back_all};
use super::run::{Handler, run_queue};
use super::{Settings, Start};
use crate::admin::{Admin, Boundary};
use crate::core::{Core, Member, PATIENCE, wall_ms};
use crate::edge::connection::Request;
use crate::edge::connections::lock;
use crate::error::Error;
use crate::queue::Queue;
use crate::rules::route::TopicRoute;
use ringmq_wire::code::RequestCode;
use ringmq_wire::json;
use ringmq_wire::name::{RETRY_PREFIX, retry_topic};
use ringmq_wire::request::heartbeat::{
    ConsumeFrom, ConsumeType, ConsumerEntry, GroupRequest, MembersReply, MessageModel,
};
use ringmq_wire::request::lock::{LockReply, LockRequest};
use ringmq_wire::request::queue::QueueName;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// (RocketMQ: `rocketmq.client.rebalance.waitInterval`)
const REBALANCE_EVERY: Duration = Duration::from_secs(20);
/// After a rebalance that could not be finished.
const REBALANCE_AGAIN: Duration = Duration::from_millis(500);
/// (RocketMQ: `persistConsumerOffsetInterval`)
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// (RocketMQ: `rocketmq.client.rebalance.lockInterval`)
const LOCK_EVERY: Duration = Duration::from_secs(20);
/// When nobody says how long an end may take.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// Where messages go.
pub(super) enum Delivering {
    Stream(UnboundedSender<Delivery>),
    Orderly(Handler),
}

/// A member, as its task, its queues and its deliveries share it.
pub(super) struct Shared {
    pub core: Arc<Core>,
    pub settings: Settings,
    topics: Vec<Topic>,
    queues: Mutex<BTreeMap<Queue, Arc<Assigned>>>,
    delivering: Mutex<Option<Delivering>>,
    is_orderly: bool,
    wake: Notify,
    /// Members may have come or gone.
    is_changed: AtomicBool,
    /// Bytes and number of deliveries that somebody holds.
    held_bytes: AtomicUsize,
    held: AtomicUsize,
    let_go: Notify,
    introduced: Notify,
    returned: UnboundedSender<Returned>,
    stop_by: Mutex<Option<Instant>>,
    is_stopping: AtomicBool,
    ended: watch::Sender<bool>,
}

/// Ends its member when it is dropped.
pub(super) struct Running(Arc<Shared>);

impl Running {
    /// Makes a member, and returns when the brokers have heard of it.
    pub async fn start(
        core: Arc<Core>,
        settings: Settings,
        delivering: Delivering,
    ) -> Result<Running, Error> {
        let version = i64::try_from(wall_ms()).unwrap_or(i64::MAX);
        let mut topics = Vec::new();
        for (name, filter) in &settings.subscriptions {
            let (subscription, selection) = (filter.subscription(name, version), filter.selection()?);
            topics.push(Topic { name: name.clone(), subscription, selection });
        }
        if !settings.broadcast && settings.assigned.is_none() {
            let (name, all) = (retry_topic(&settings.group), super::Filter::all());
            let (subscription, selection) = (all.subscription(&name, version), all.selection()?);
            topics.push(Topic { name, subscription, selection });
        }
        let (returned, returns) = unbounded_channel();
        let shared = Arc::new(Shared {
            core: core.clone(),
            topics,
            queues: Mutex::default(),
            is_orderly: matches!(delivering, Delivering::Orderly(_)),
            delivering: Mutex::new(Some(delivering)),
            wake: Notify::new(),
            is_changed: AtomicBool::new(true),
            held_bytes: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            let_go: Notify::new(),
            introduced: Notify::new(),
            returned,
            stop_by: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            ended: watch::Sender::new(false),
            settings,
        });
        let group = &shared.settings.group;
        if core.is_stopped() {
            return Err(Error::Stopped);
        }
        if !core.add_member(group, shared.clone()) {
            return Err(Error::Invalid(format!("this client has a consumer of group {group} already")));
        }
        let running = Running(shared.clone());
        let returner = tokio::spawn(give_back_all(returns));
        tokio::spawn(async move {
            shared.introduce().await;
            shared.introduced.notify_one();
            shared.keep().await;
            returner.abort();
        });
        running.0.introduced.notified().await;
        Ok(running)
    }

    /// Waits until the member has ended.
    pub async fn ended(&self) {
        let mut ended = self.0.ended.subscribe();
        // The sender lives as long as we do.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Begins to end it now, whenever the future is waited for.
    pub fn stop(self, deadline: Instant) -> impl Future<Output = ()> {
        self.0.begin_stop(deadline);
        async move { self.ended().await }
    }

    pub fn queues(&self) -> Vec<Queue> {
        lock(&self.0.queues).keys().cloned().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.begin_stop(Instant::now());
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Consumer").field("group", &self.0.settings.group).finish_non_exhaustive()
    }
}

impl Member for Shared {
    fn entry(&self) -> Option<ConsumerEntry> {
        // Who divides queues by hand is no member in the brokers' eyes, or others would leave queues to it.
        if self.settings.assigned.is_some() || self.is_stopping() {
            return None;
        }
        Some(ConsumerEntry {
            consume_from: match self.settings.from {
                Start::First => ConsumeFrom::FirstOffset,
                Start::Last => ConsumeFrom::LastOffset,
                Start::Timestamp(_) => ConsumeFrom::Timestamp,
            },
            consume_type: ConsumeType::Passively,
            group_name: self.settings.group.clone(),
            message_model: match self.settings.broadcast {
                true => MessageModel::Broadcasting,
                false => MessageModel::Clustering,
            },
            subscriptions: self.topics.iter().map(|topic| topic.subscription.clone()).collect(),
            unit_mode: false,
        })
    }

    fn changed(&self) {
        self.look_again();
    }

    fn reset(self: Arc<Self>, offsets: Vec<(Queue, i64)>) {
        tokio::spawn(async move {
            for (queue, offset) in offsets {
                let assigned = lock(&self.queues).remove(&queue);
                let Some(assigned) = assigned else { continue };
                assigned.release();
                if let Err(error) = self.commit(&queue, offset).await {
                    tracing::warn!(%queue, %error, "offset not reset");
                }
            }
            self.look_again();
        });
    }

    fn stop(self: Arc<Self>, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.begin_stop(deadline);
        let mut ended = self.ended.subscribe();
        Box::pin(async move {
            let _ = timeout_at(deadline, ended.wait_for(|ended| *ended)).await;
        })
    }
}

impl Shared {
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Has the member's task rebalance now.
    pub fn look_again(&self) {
        self.is_changed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub fn took(&self, bytes: usize) {
        self.held.fetch_add(1, Ordering::AcqRel);
        self.held_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub fn gave(&self, bytes: usize) {
        let had = self.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
        let max = self.settings.bytes_max;
        if had >= max && had - bytes < max {
            lock(&self.queues).values().for_each(|assigned| assigned.look_for_room());
        }
        if self.held.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.let_go.notify_one();
        }
    }

    pub fn has_room(&self) -> bool {
        self.held_bytes.load(Ordering::Acquire) < self.settings.bytes_max
    }

    pub fn give_back(&self, returned: Returned) {
        // A member that has ended leaves its messages to others.
        let _ = self.returned.send(returned);
    }

    /// Delivers a message again.
    pub fn deliver(&self, delivery: Delivery) {
        if let Some(Delivering::Stream(sender)) = &*lock(&self.delivering) {
            let _ = sender.send(delivery);
        }
    }

    fn begin_stop(&self, deadline: Instant) {
        lock(&self.stop_by).get_or_insert(deadline);
        self.is_stopping.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Learns where the topics are, and tells their brokers of the member.
    async fn introduce(&self) {
        let deadline = Instant::now() + PATIENCE;
        for topic in &self.topics {
            if let Err(error) = self.core.route(&topic.name, deadline).await {
                tracing::warn!(topic = topic.name, %error, "no route yet");
            }
        }
        self.core.heartbeat(deadline).await;
    }

    /// The member's life.
    async fn keep(self: &Arc<Shared>) {
        let began = Instant::now();
        let (mut rebalance_at, mut commit_at, mut lock_at) =
            (began, began + COMMIT_EVERY, began + LOCK_EVERY);
        while !self.is_stopping() {
            let is_changed = self.is_changed.swap(false, Ordering::AcqRel);
            if is_changed || Instant::now() >= rebalance_at {
                let is_whole = self.rebalance().await;
                rebalance_at = Instant::now() + if is_whole { REBALANCE_EVERY } else { REBALANCE_AGAIN };
            }
            if Instant::now() >= commit_at {
                self.commit_all().await;
                commit_at = Instant::now() + COMMIT_EVERY;
            }
            if self.is_orderly && Instant::now() >= lock_at {
                self.confirm_locks().await;
                lock_at = Instant::now() + LOCK_EVERY;
            }
            let next = rebalance_at.min(commit_at).min(lock_at.max(Instant::now()));
            let _ = timeout_at(next, self.wake.notified()).await;
        }
        self.end().await;
    }

    /// Lets go what is others', takes what is ours. Whether everybody could be asked.
    async fn rebalance(self: &Arc<Shared>) -> bool {
        let mut is_whole = true;
        for topic in &self.topics {
            match self.allocated(topic).await {
                Ok((mine, is_sure)) => is_whole &= self.take_over(topic, &mine).await & is_sure,
                Err(error) => {
                    tracing::debug!(topic = topic.name, %error, "rebalance is put off");
                    is_whole = false;
                }
            }
        }
        is_whole
    }

    /// The queues of a topic that are this member's, and whether that is likely to stay so.
    async fn allocated(&self, topic: &Topic) -> Result<(Vec<Queue>, bool), Error> {
        if let Some(assigned) = &self.settings.assigned {
            let of_topic = assigned.iter().filter(|queue| queue.topic() == topic.name);
            return Ok((of_topic.cloned().collect(), true));
        }
        let deadline = Instant::now() + PATIENCE;
        let Some(route) = self.core.route(&topic.name, deadline).await? else {
            // A retry topic comes into being with its first message.
            return Ok((Vec::new(), topic.name.starts_with(RETRY_PREFIX)));
        };
        if self.settings.broadcast {
            return Ok((route.readable.clone(), true));
        }
        let members = self.members(&route, deadline).await?;
        let is_member = members.contains(&self.core.id);
        if !is_member {
            self.core.heartbeat(deadline).await;
        }
        Ok((self.settings.allocation.allocate(&self.core.id, &route.readable, &members), is_member))
    }

    /// The group's members, sorted, as one of the topic's brokers knows them.
    async fn members(&self, route: &TopicRoute, deadline: Instant) -> Result<Vec<String>, Error> {
        let fields = GroupRequest { consumer_group: &self.settings.group }.fields();
        let code = RequestCode::GetConsumerListByGroup.number();
        let request = Request { code, fields: &fields, body: &[] };
        let brokers: Vec<_> = route.brokers.keys().collect();
        let start = self.core.random().below(brokers.len() as u64) as usize;
        let mut last = Error::NoRoute { topic: self.settings.group.clone() };
        for index in 0..brokers.len() {
            let broker = brokers[(start + index) % brokers.len()];
            let Some(address) = route.readable_address(broker) else { continue };
            match self.core.ask(address, &request, deadline).await.and_then(|answer| answer.success()) {
                Ok(answer) => {
                    let mut members = answer.read::<MembersReply>()?.client_ids;
                    members.sort();
                    members.dedup();
                    return Ok(members);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Makes `mine` the queues of a topic. Whether that could be done.
    async fn take_over(self: &Arc<Shared>, topic: &Topic, mine: &[Queue]) -> bool {
        let is_others = |queue: &Queue| queue.topic() == topic.name && !mine.contains(queue);
        let let_go: Vec<_> = {
            let mut queues = lock(&self.queues);
            queues.retain(|_, assigned| !assigned.is_released());
            let names: Vec<_> = queues.keys().filter(|queue| is_others(queue)).cloned().collect();
            names.iter().filter_map(|queue| queues.remove(queue)).collect()
        };
        for assigned in let_go {
            self.let_go(&assigned).await;
        }
        let mut is_done = true;
        for queue in mine {
            if lock(&self.queues).contains_key(queue) || self.is_stopping() {
                continue;
            }
            if let Err(error) = self.take(topic, queue).await {
                tracing::debug!(%queue, %error, "queue not taken yet");
                is_done = false;
            }
        }
        is_done
    }

    async fn let_go(&self, assigned: &Assigned) {
        let offset = assigned.to_commit();
        assigned.release();
        tracing::debug!(queue = %assigned.queue, "let go");
        if let Some(offset) = offset.filter(|_| !self.settings.broadcast)
            && let Err(error) = self.commit(&assigned.queue, offset).await
        {
            tracing::warn!(queue = %assigned.queue, %error, "offset not committed");
        }
    }

    async fn take(self: &Arc<Shared>, topic: &Topic, queue: &Queue) -> Result<(), Error> {
        if self.is_orderly && !self.lock(queue).await? {
            return Err(Error::Invalid(format!("{queue} is locked for another member")));
        }
        let start = self.start_offset(queue).await?;
        let assigned = Assigned::new(queue.clone(), self.clone(), topic.clone(), start);
        match &*lock(&self.delivering) {
            None => return Ok(()),
            Some(Delivering::Stream(sender)) => assigned.start(sender.clone()),
            Some(Delivering::Orderly(handler)) => {
                let (sender, receiver) = unbounded_channel();
                assigned.start(sender);
                let (shared, queue, handler) = (self.clone(), assigned.clone(), handler.clone());
                tokio::spawn(async move {
                    run_queue(queue.clone(), receiver, handler).await;
                    shared.unlock(&queue.queue).await;
                });
            }
        }
        tracing::debug!(%queue, start, "taken");
        lock(&self.queues).insert(queue.clone(), assigned);
        Ok(())
    }

    /// Where to begin: the group's own place, or else as it was told.
    async fn start_offset(&self, queue: &Queue) -> Result<i64, Error> {
        let admin = self.admin();
        if !self.settings.broadcast
            && let Some(offset) = admin.group_offset(&self.settings.group, queue).await?
        {
            return Ok(offset);
        }
        let is_retry = queue.topic().starts_with(RETRY_PREFIX);
        let boundary = match self.settings.from {
            Start::First => Boundary::First,
            // Whatever is in a retry topic failed before, and must not be passed over.
            Start::Last | Start::Timestamp(_) if is_retry => Boundary::First,
            Start::Last => Boundary::End,
            Start::Timestamp(time) => Boundary::At(time),
        };
        admin.offset(queue, boundary).await
    }

    async fn commit_all(&self) {
        if self.settings.broadcast {
            return;
        }
        let queues: Vec<_> = lock(&self.queues).values().cloned().collect();
        for assigned in queues {
            let Some(offset) = assigned.to_commit() else { continue };
            match self.commit(&assigned.queue, offset).await {
                Ok(()) => assigned.committed(offset),
                Err(error) => tracing::debug!(queue = %assigned.queue, %error, "offset not committed"),
            }
        }
    }

    async fn commit(&self, queue: &Queue, offset: i64) -> Result<(), Error> {
        self.admin().set_group_offset(&self.settings.group, queue, offset).await
    }

    async fn confirm_locks(&self) {
        let queues: Vec<_> = lock(&self.queues).values().cloned().collect();
        for assigned in queues {
            match self.lock(&assigned.queue).await {
                Ok(true) => *lock(&assigned.locked_at) = Instant::now(),
                Ok(false) => {
                    tracing::warn!(queue = %assigned.queue, "locked for another member");
                    assigned.release();
                    self.look_again();
                }
                Err(error) => tracing::debug!(queue = %assigned.queue, %error, "lock not confirmed"),
            }
        }
    }

    /// Has the broker lock a queue for us; `false` if it is another's.
    async fn lock(&self, queue: &Queue) -> Result<bool, Error> {
        let answer = self.ask_lock(queue, RequestCode::LockBatchQueues).await?;
        Ok(answer.read::<LockReply>()?.locked.iter().any(|locked| locked.queue_id == queue.id()))
    }

    async fn unlock(&self, queue: &Queue) {
        if let Err(error) = self.ask_lock(queue, RequestCode::UnlockBatchQueues).await {
            tracing::debug!(%queue, %error, "not unlocked");
        }
    }

    async fn ask_lock(&self, queue: &Queue, code: RequestCode) -> Result<crate::edge::answer::Answer, Error> {
        let deadline = Instant::now() + PATIENCE;
        let no_route = || Error::NoRoute { topic: queue.topic().to_owned() };
        let route = self.core.route(queue.topic(), deadline).await?.ok_or_else(no_route)?;
        let address = route.master(queue.broker()).ok_or_else(no_route)?;
        let name = QueueName {
            broker_name: queue.broker().to_owned(),
            queue_id: queue.id(),
            topic: queue.topic().to_owned(),
        };
        let body = json::write(&LockRequest {
            client_id: self.core.id.clone(),
            consumer_group: self.settings.group.clone(),
            queues: vec![name],
            only_this_broker: false,
        });
        let request = Request { code: code.number(), fields: &[], body: &body };
        self.core.ask(address, &request, deadline).await?.success()
    }

    /// Ends: no more messages; what is being handled may finish; offsets; farewell.
    async fn end(&self) {
        let queues: Vec<_> = lock(&self.queues).values().cloned().collect();
        queues.iter().for_each(|assigned| assigned.stop_pulling());
        lock(&self.delivering).take();
        let deadline = lock(&self.stop_by).unwrap_or_else(Instant::now);
        while self.held.load(Ordering::Acquire) > 0 {
            if timeout_at(deadline, self.let_go.notified()).await.is_err() {
                break;
            }
        }
        let deadline = deadline.max(Instant::now() + END_PATIENCE);
        let farewell = async {
            self.commit_all().await;
            queues.iter().for_each(|assigned| assigned.release());
            lock(&self.queues).clear();
            self.core.remove_member(&self.settings.group, deadline).await;
        };
        let _ = timeout_at(deadline, farewell).await;
        self.ended.send_replace(true);
    }

    fn admin(&self) -> Admin {
        Admin::new(self.core.clone()).timeout(PATIENCE)
    }
}
