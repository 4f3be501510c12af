//! Messages that were not consumed go back to the broker, which delivers them again after a pause, or files them as dead
//! letters.
//!
//! ```text
//! returned ─► CONSUMER_SEND_MSG_BACK (36) ─ ok ─────────────► done
//!                     │ refused, or no answer
//!                     ▼
//!             a send to %RETRY%group, marked so that ─ ok ──► done
//!             the broker does with it as with a 36
//!                     │ fails too
//!                     ▼
//!             delivered again here, 5 s later
//! ```
//!
//! Invariant: a message is done only when the broker has stored its next try.
//!
//! Source: `ConsumeMessageConcurrentlyService.processConsumeResult`, `DefaultMQPushConsumerImpl.sendMessageBack`.

use super::assigned::Assigned;
use super::delivery::Delivery;
use super::member::Shared;
use crate::edge::connection::Request;
use crate::error::Error;
use crate::producer::resend;
use crate::stored_message::StoredMessage;
use ringmq_wire::code::RequestCode;
use ringmq_wire::request::send::SendBack;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep};

/// Giving back may take so long, each way.
const PATIENCE: Duration = Duration::from_secs(3);
/// Before a message is delivered again here. (RocketMQ: `submitConsumeRequestLater`)
const LOCAL_PAUSE: Duration = Duration::from_secs(5);

/// What to do with a message that was not consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Retry,
    DeadLetter,
}

impl Verdict {
    /// As the broker is told: it chooses the pause, or dead letter.
    fn delay_level(self) -> i32 {
        match self {
            Verdict::Retry => 0,
            Verdict::DeadLetter => -1,
        }
    }
}

/// A message on its way back.
pub(super) struct Returned {
    pub message: StoredMessage,
    pub from: Arc<Assigned>,
    pub verdict: Verdict,
}

/// Gives back what comes, one after another.
pub(super) async fn give_back_all(mut returned: UnboundedReceiver<Returned>) {
    while let Some(Returned { mut message, from, verdict }) = returned.recv().await {
        let shared = from.shared.clone();
        if shared.settings.broadcast {
            tracing::warn!(queue = %from.queue, offset = message.offset(), "not consumed; broadcasts are not repeated");
            from.done(message.offset());
            continue;
        }
        match give_back(&shared, &from, &message, verdict).await {
            Ok(()) => from.done(message.offset()),
            Err(error) => {
                tracing::warn!(queue = %from.queue, offset = message.offset(), %error, "not given back");
                message.add_attempt();
                tokio::spawn(async move {
                    sleep(LOCAL_PAUSE).await;
                    if from.wants(message.offset()) {
                        shared.deliver(Delivery::new(message, from));
                    }
                });
            }
        }
    }
}

/// Gives one message back. `Ok` when the broker has it.
pub(super) async fn give_back(
    shared: &Shared,
    from: &Assigned,
    message: &StoredMessage,
    verdict: Verdict,
) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let (group, id) = (&shared.settings.group, message.id());
    let fields = SendBack {
        physical_offset: message.physical_offset(),
        group,
        delay_level: verdict.delay_level(),
        origin_message_id: Some(&id),
        origin_topic: Some(message.topic()),
        unit_mode: false,
        reconsume_times_max: Some(shared.settings.retries.into()),
    }
    .fields();
    let request = Request { code: RequestCode::ConsumerSendMessageBack.number(), fields: &fields, body: &[] };
    let told = match shared.core.route(from.queue.topic(), deadline).await? {
        Some(route) => match route.master(from.queue.broker()) {
            Some(address) => {
                shared.core.ask(address, &request, deadline).await.and_then(|answer| answer.success())
            }
            None => Err(Error::NoRoute { topic: from.queue.topic().to_owned() }),
        },
        None => Err(Error::NoRoute { topic: from.queue.topic().to_owned() }),
    };
    let Err(error) = told else { return Ok(()) };
    tracing::debug!(queue = %from.queue, %error, "given back by a send");
    let times = match verdict {
        Verdict::Retry => message.attempts_before() + 1,
        // Beyond the limit: so the broker files it at once.
        Verdict::DeadLetter => u32::from(shared.settings.retries) + 1,
    };
    resend(&shared.core, group, message, times, shared.settings.retries).await
}
