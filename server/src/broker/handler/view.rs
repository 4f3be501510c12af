//! One record by its physical offset (33): what `viewMessage` with a server's message id asks.
//!
//! Source: `broker/.../processor/QueryMessageProcessor.java` (`viewMessageById`).

use ringmq_engine::env::Env;
use ringmq_engine::offset::PhysicalOffset;
use ringmq_wire::code::response;
use ringmq_wire::request::view::ViewRequest;

use crate::broker::outcome::Outcome;
use crate::broker::reply::{Refusal, Reply};
use crate::broker::{Broker, Call};

/// VIEW_MESSAGE_BY_ID. The offset comes from outside; the store says whether a visible record begins there.
pub fn view<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let offset = ViewRequest::decode(&call.head.fields)?.physical_offset;
    let physical = u64::try_from(offset).map(PhysicalOffset).map_err(|_| Refusal::NoRecord(offset))?;
    let piece = broker.store.locate(physical).ok_or(Refusal::NoRecord(offset))?;
    reply.write(response::SUCCESS, None, &[], piece.size());
    Ok(Outcome::Deliver(vec![piece]))
}
