//! Handlers: the loops that hand messages to them.

use super::assigned::Assigned;
use super::delivery::{Deliveries, Delivery};
use super::give_back::{Verdict, give_back};
use crate::edge::connections::lock;
use crate::error::Error;
use crate::stored_message::StoredMessage;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What a handler fails with: anything that can be shown. `?` makes it of any error.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// A handler of an orderly consumer.
pub(super) type Handler = Arc<
    dyn Fn(StoredMessage) -> Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>> + Send + Sync,
>;

/// Before the same message is tried again. (RocketMQ: `suspendCurrentQueueTimeMillis`)
const ORDERLY_PAUSE: Duration = Duration::from_secs(1);
/// A lock that was not confirmed for so long may be another's. (RocketMQ: `rebalanceLockMaxLiveTime`, half of the broker's)
const LOCK_LIVES: Duration = Duration::from_secs(30);

/// Hands messages to `handler`, several at once, until the stream ends.
pub(super) async fn run<H, F>(mut deliveries: Deliveries, concurrency: usize, handler: H) -> Result<(), Error>
where
    H: Fn(StoredMessage) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let handler = Arc::new(handler);
    let slots = Arc::new(Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS)));
    let mut handling = JoinSet::new();
    loop {
        let slot = slots.clone().acquire_owned().await.map_err(|_closed| Error::Stopped)?;
        let Some(delivery) = deliveries.next().await else { break };
        while handling.try_join_next().is_some() {}
        let handler = handler.clone();
        handling.spawn(async move {
            // A handler that panics drops the delivery, which gives it back.
            match handler((*delivery).clone()).await {
                Ok(()) => delivery.ack(),
                Err(error) => {
                    tracing::warn!(queue = %delivery.queue(), offset = delivery.offset(), error, "handler failed");
                    delivery.retry();
                }
            }
            drop(slot);
        });
    }
    while handling.join_next().await.is_some() {}
    Ok(())
}

/// Hands the messages of one queue to `handler`, one after another, until the queue is released.
pub(super) async fn run_queue(
    assigned: Arc<Assigned>,
    mut deliveries: UnboundedReceiver<Delivery>,
    handler: Handler,
) {
    while let Some(delivery) = deliveries.recv().await {
        handle_in_order(&assigned, delivery, &handler).await;
    }
}

async fn handle_in_order(assigned: &Arc<Assigned>, delivery: Delivery, handler: &Handler) {
    let mut message = (*delivery).clone();
    let retries = u32::from(assigned.shared.settings.retries);
    while !delivery.is_stale() {
        if lock(&assigned.locked_at).elapsed() >= LOCK_LIVES {
            tracing::warn!(queue = %assigned.queue, "the lock was not confirmed; the queue is let go");
            assigned.release();
            assigned.shared.look_again();
            return;
        }
        // On a task of its own, so that a panic ends the handler and not the queue.
        let error = match tokio::spawn(handler(message.clone())).await {
            Ok(Ok(())) => return delivery.ack(),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::warn!(queue = %assigned.queue, offset = message.offset(), error, "handler failed");
        if message.attempts_before() >= retries {
            match give_back(&assigned.shared, assigned, &message, Verdict::DeadLetter).await {
                Ok(()) => return delivery.ack(),
                Err(error) => tracing::warn!(queue = %assigned.queue, %error, "dead letter not stored"),
            }
        } else {
            message.add_attempt();
        }
        sleep(ORDERLY_PAUSE).await;
    }
}
