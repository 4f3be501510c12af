//! One queue's bounds, and a group's place in it.

use super::Admin;
use crate::error::Error;
use crate::queue::Queue;
use ringmq_wire::Value;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::request::offset::{
    OffsetReply, QueryGroupOffset, QueueBound, SearchOffset, StoreGroupOffset,
};
use std::time::{SystemTime, UNIX_EPOCH};

/// A place in a queue that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The first message still there.
    First,
    /// Behind the last message: the offset that the next one will have.
    End,
    /// The first message stored at this time or later; the end if there is none.
    At(SystemTime),
}

impl Admin {
    /// An offset of a queue.
    pub async fn offset(&self, queue: &Queue, boundary: Boundary) -> Result<i64, Error> {
        let (topic, queue_id) = (queue.topic(), queue.id());
        let bound = QueueBound { topic, queue_id, visible_only: None };
        let (code, fields) = match boundary {
            Boundary::First => (RequestCode::GetMinOffset, bound.fields()),
            Boundary::End => (RequestCode::GetMaxOffset, bound.fields()),
            Boundary::At(time) => {
                let timestamp_ms = since_1970_ms(time);
                let search = SearchOffset { topic, queue_id, timestamp_ms, boundary: None };
                (RequestCode::SearchOffsetByTimestamp, search.fields())
            }
        };
        self.ask_offset(queue, code, &fields).await?.ok_or_else(|| Error::NoRoute { topic: topic.to_owned() })
    }

    /// The offset that a group will consume next; `None` if it never committed one.
    pub async fn group_offset(&self, group: &str, queue: &Queue) -> Result<Option<i64>, Error> {
        let fields = QueryGroupOffset {
            consumer_group: group,
            topic: queue.topic(),
            queue_id: queue.id(),
            zero_if_not_found: Some(false),
        }
        .fields();
        self.ask_offset(queue, RequestCode::QueryConsumerOffset, &fields).await
    }

    /// Sets the offset that a group will consume next. Members that consume the queue now overwrite it; see
    /// [`Admin::reset_offset`].
    pub async fn set_group_offset(&self, group: &str, queue: &Queue, offset: i64) -> Result<(), Error> {
        let fields =
            StoreGroupOffset { consumer_group: group, topic: queue.topic(), queue_id: queue.id(), offset }
                .fields();
        let address = self.master(queue).await?;
        self.ask(&address, RequestCode::UpdateConsumerOffset, &fields, &[]).await.map(drop)
    }

    /// `None` if the broker says that there is no such offset.
    async fn ask_offset(
        &self,
        queue: &Queue,
        code: RequestCode,
        fields: &[(&str, Value<'_>)],
    ) -> Result<Option<i64>, Error> {
        let address = self.master(queue).await?;
        let answer = self.ask_anyway(&address, code, fields, &[]).await?;
        if answer.code == response::QUERY_NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.success()?;
        let reply = OffsetReply::decode(&answer.fields()).map_err(|error| answer.malformed(error))?;
        Ok(Some(reply.offset))
    }

    /// The address of the broker that takes writes to a queue.
    async fn master(&self, queue: &Queue) -> Result<String, Error> {
        let route = self.core.route(queue.topic(), self.deadline()).await?;
        let address = route.and_then(|route| route.master(queue.broker()).map(str::to_owned));
        address.ok_or_else(|| Error::NoRoute { topic: queue.topic().to_owned() })
    }
}

pub(super) fn since_1970_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
