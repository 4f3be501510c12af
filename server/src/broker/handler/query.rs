//! Messages by a key (12): what `queryMsgByKey`, `queryMsgByUniqueKey`, the Dashboard and a trace's reader ask.
//!
//! ```text
//! query ──▶ candidates by the key's hash, newest first ──▶ inspect: read them
//!   ▲                                                         │
//!   └──── not enough, and more of the log is left ◀───────────┴──▶ reply: those that have the key, oldest first
//! ```
//!
//! The newest records win: of more than are wanted, the older ones are left out. One step looks at a bounded part of the
//! log and reads a bounded number of bytes; in between, others have their turn.
//!
//! Differences from Apache: times are compared to the millisecond and not to the second; a record whose key only has the
//! same hash is left out here and not by the client; a record found after [`QUERY_BYTES_MAX`] others waits for a query of
//! an earlier time.
//!
//! Source: `broker/.../processor/QueryMessageProcessor.java` (`queryMessage`), `store/.../DefaultMessageStore.java`.

use std::ops::RangeInclusive;

use ringmq_engine::env::Env;
use ringmq_engine::keys::KeyQuery;
use ringmq_engine::offset::PhysicalOffset;
use ringmq_engine::store::Piece;
use ringmq_wire::record::{Record, Records};
use ringmq_wire::request::view::{QueryReply, QueryRequest};

use crate::broker::limits::{
    INSPECTED_BYTES_MAX, QUERY_BYTES_MAX, QUERY_RECORDS_MAX, UNIQUE_QUERY_RECORDS_MAX,
};
use crate::broker::outcome::{Now, Outcome, Question};
use crate::broker::reply::{Refusal, Reply};
use crate::broker::{Broker, Call};

/// A query on its way.
#[derive(Debug)]
pub struct KeyLookUp {
    topic: Box<str>,
    key: Box<str>,
    stored_ms: RangeInclusive<i64>,
    /// Still wanted.
    records_left: usize,
    /// Records that were not looked at lie before this; `None`: there are none.
    before: Option<PhysicalOffset>,
    /// Newest first.
    found: Vec<Box<[u8]>>,
    found_bytes: usize,
}

/// QUERY_MESSAGE
pub fn query<E: Env>(broker: &mut Broker<E>, call: &Call<'_>) -> Result<Outcome<E>, Refusal> {
    let request = QueryRequest::decode(&call.head.fields)?;
    let wanted = if request.by_unique_key {
        UNIQUE_QUERY_RECORDS_MAX
    } else {
        usize::try_from(request.records_max).unwrap_or(0).min(QUERY_RECORDS_MAX)
    };
    if wanted == 0 {
        return Err(Refusal::NoMessage);
    }
    let look_up = KeyLookUp {
        topic: request.topic.into(),
        key: request.key.into(),
        stored_ms: request.begin_timestamp_ms..=request.end_timestamp_ms,
        records_left: wanted,
        before: Some(PhysicalOffset(broker.store.durable().0)),
        found: Vec::new(),
        found_bytes: 0,
    };
    go_on(broker, look_up)
}

/// The candidates of one step were read.
pub fn inspected<E: Env>(
    broker: &mut Broker<E>,
    mut look_up: KeyLookUp,
    pieces: &[Piece<E>],
    now: Now,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let bytes = Piece::gather(pieces);
    // What was read has passed its checksum, so what does not decode was never a record of ours.
    for record in Records::new(&bytes).map_while(Result::ok) {
        if look_up.query().matches(&record) && !look_up.take(&record) {
            break;
        }
    }
    if look_up.before.is_some() {
        return go_on(broker, look_up);
    }
    if look_up.found.is_empty() {
        return Err(Refusal::NoMessage);
    }
    let last = QueryReply {
        index_last_update_timestamp: now.wall_ms,
        index_last_physical_offset: broker.store.durable().0.cast_signed(),
    };
    look_up.found.reverse();
    reply.fields_and_body(&last.fields(), &look_up.found.concat());
    Ok(Outcome::Reply)
}

/// Finds the candidates of the next step.
fn go_on<E: Env>(broker: &Broker<E>, mut look_up: KeyLookUp) -> Result<Outcome<E>, Refusal> {
    let before = look_up.before;
    let found = broker.store.find_by_key(&look_up.query(), before, look_up.records_left);
    if found.candidates.is_empty() && found.next.is_some() && found.next >= before {
        return Err(Refusal::KeysDamaged);
    }
    look_up.before = found.next;
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    for candidate in found.candidates {
        // One that has retired meanwhile, or was forgotten with its queue, is not there any more.
        let Some(piece) = broker.store.locate(candidate) else { continue };
        if bytes > 0 && bytes + piece.size() > INSPECTED_BYTES_MAX {
            // Just behind it, so that it is the first candidate of the next step.
            look_up.before = Some(PhysicalOffset(candidate.0 + 1));
            break;
        }
        bytes += piece.size();
        pieces.push(piece);
    }
    Ok(Outcome::Inspect(pieces, Question::HaveKey(look_up)))
}

impl KeyLookUp {
    fn query(&self) -> KeyQuery<'_> {
        KeyQuery { topic: &self.topic, key: &self.key, stored_ms: self.stored_ms.clone() }
    }

    /// Takes a record, if there is room; says whether there may be room for more. Without any, the look-up is over.
    fn take(&mut self, record: &Record<'_>) -> bool {
        let fits = self.found.is_empty() || self.found_bytes + record.bytes.len() <= QUERY_BYTES_MAX;
        if fits {
            self.found_bytes += record.bytes.len();
            self.found.push(record.bytes.into());
            self.records_left -= 1;
        }
        let over = !fits || self.records_left == 0;
        if over {
            self.before = None;
        }
        !over
    }
}
