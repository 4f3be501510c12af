//! One message in your hands, and the stream that they come from.

use super::assigned::Assigned;
use super::give_back::Verdict;
use super::member::Running;
use crate::stored_message::StoredMessage;
use futures_core::Stream;
use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// A message that was delivered and must be acknowledged. It reads as a [`StoredMessage`].
///
/// Dropping it without a word has it tried again later, as [`Delivery::retry`] does; so a panic or a forgotten branch loses
/// nothing.
pub struct Delivery {
    message: Option<StoredMessage>,
    from: Arc<Assigned>,
}

impl Delivery {
    pub(super) fn new(message: StoredMessage, from: Arc<Assigned>) -> Delivery {
        from.took(&message);
        Delivery { message: Some(message), from }
    }

    /// It is done. It is not delivered again, unless this process or its broker dies before its offset is committed, within 5 s
    /// or so.
    pub fn ack(mut self) {
        if let Some(message) = self.message.take() {
            self.from.done(message.offset());
            self.from.gave(&message);
        }
    }

    /// Try it again later: after a pause that the broker chooses by how often it failed before, 10 s to 2 h. It may come to
    /// another member then. A message that failed too often becomes a dead letter.
    pub fn retry(self) {
        self.end(Verdict::Retry);
    }

    /// It goes to the group's dead-letter topic now.
    pub fn dead_letter(self) {
        self.end(Verdict::DeadLetter);
    }

    /// Whether its queue has gone to another member meanwhile: whatever is said of it is not heard any more, and the other
    /// member gets it too.
    pub fn is_taken_away(&self) -> bool {
        self.from.is_released()
    }

    pub(super) fn is_stale(&self) -> bool {
        self.message.as_ref().is_none_or(|message| !self.from.wants(message.offset()))
    }

    fn end(mut self, verdict: Verdict) {
        self.give_back(verdict);
    }

    fn give_back(&mut self, verdict: Verdict) {
        if let Some(message) = self.message.take() {
            self.from.gave(&message);
            self.from.give_back(message, verdict);
        }
    }
}

impl Deref for Delivery {
    type Target = StoredMessage;

    fn deref(&self) -> &StoredMessage {
        self.message.as_ref().expect("it is taken only when the delivery ends")
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.give_back(Verdict::Retry);
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Delivery").field(&self.message).finish()
    }
}

/// Messages as they come; a `futures` stream that ends when the client is shut down. Dropping it ends the consumer: what is
/// in your hands can still be acknowledged, what is not is delivered again.
#[derive(Debug)]
pub struct Deliveries {
    /// Ends before the receiver does, so that what is still in it is not taken for refused.
    running: Running,
    receiver: UnboundedReceiver<Delivery>,
}

impl Deliveries {
    pub(super) fn new(receiver: UnboundedReceiver<Delivery>, running: Running) -> Deliveries {
        Deliveries { running, receiver }
    }

    /// The next message; `None` when the consumer has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|context| self.poll(context)).await
    }

    /// The queues that are this member's now.
    pub fn queues(&self) -> Vec<crate::Queue> {
        self.running.queues()
    }

    /// Ends the consumer in order: no more messages; those in your hands are waited for until the deadline; offsets are
    /// committed, and the other members take over.
    ///
    /// Dropping the future half way ends it as dropping the stream does.
    pub async fn close(self, deadline: Duration) {
        let Deliveries { running, receiver } = self;
        let stopped = running.stop(tokio::time::Instant::now() + deadline);
        drop(receiver);
        stopped.await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            match self.receiver.poll_recv(context) {
                // Its queue has gone to another member, or it was set elsewhere, since it was pulled.
                Poll::Ready(Some(delivery)) if delivery.is_stale() => drop(delivery),
                other => return other,
            }
        }
    }
}

impl Stream for Deliveries {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll(context)
    }
}
