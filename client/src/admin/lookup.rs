//! Single messages, by key or by id.

use super::Admin;
use super::offset::since_1970_ms;
use crate::edge::answer::Answer;
use crate::error::Error;
use crate::stored_message::{StoredMessage, all_in};
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::id;
use ringmq_wire::request::view::{QueryRequest, ViewRequest};
use std::sync::Arc;
use std::time::SystemTime;

/// Most messages that one look-up returns per broker, unless it is told otherwise. (RocketMQ: `defaultQueryMaxNum`)
const MESSAGES_MAX: u32 = 32;

/// Which messages of a topic to look for.
#[derive(Debug, Clone)]
pub struct KeyQuery {
    topic: String,
    key: String,
    max: u32,
    from: Option<SystemTime>,
    to: Option<SystemTime>,
}

impl KeyQuery {
    /// At most 32 messages per broker with this key, stored at any time.
    pub fn new(topic: impl Into<String>, key: impl Into<String>) -> KeyQuery {
        KeyQuery { topic: topic.into(), key: key.into(), max: MESSAGES_MAX, from: None, to: None }
    }

    /// At most so many per broker.
    pub fn max(mut self, messages: u32) -> KeyQuery {
        self.max = messages;
        self
    }

    /// Stored at this time or later.
    pub fn from(mut self, time: SystemTime) -> KeyQuery {
        self.from = Some(time);
        self
    }

    /// Stored at this time or earlier.
    pub fn to(mut self, time: SystemTime) -> KeyQuery {
        self.to = Some(time);
        self
    }
}

impl Admin {
    /// Messages with a key, the newest first.
    pub async fn messages_by_key(&self, query: &KeyQuery) -> Result<Vec<StoredMessage>, Error> {
        self.look_up(query, false).await
    }

    /// A message by the id that its producer gave it ([`crate::Receipt::id`]); `None` if it is not there.
    pub async fn message_by_id(&self, topic: &str, id: &str) -> Result<Option<StoredMessage>, Error> {
        Ok(self.look_up(&KeyQuery::new(topic, id).max(1), true).await?.into_iter().next())
    }

    /// A message by the id of its place ([`crate::Receipt::place`]); `None` if it is not there any more.
    pub async fn message_by_place(&self, place: &str) -> Result<Option<StoredMessage>, Error> {
        let Some((host, physical_offset)) = id::parse(place) else {
            return Err(Error::Invalid(format!("`{place}` is no id of a place")));
        };
        let masters = self.masters().await?;
        // Nobody is connected to but brokers that the name server knows.
        let Some(master) = masters.iter().find(|master| master.address == host.to_string()) else {
            return Err(Error::Invalid(format!("the name server knows no broker at {host}")));
        };
        let fields = ViewRequest { physical_offset, topic: None }.fields();
        let answer = self.ask_anyway(&master.address, RequestCode::ViewMessageById, &fields, &[]).await?;
        if answer.code == response::SYSTEM_ERROR || answer.code == response::QUERY_NOT_FOUND {
            return Ok(None);
        }
        Ok(messages(answer.success()?, &master.name)?.into_iter().next())
    }

    async fn look_up(&self, query: &KeyQuery, by_unique_key: bool) -> Result<Vec<StoredMessage>, Error> {
        let fields = QueryRequest {
            topic: &query.topic,
            key: &query.key,
            records_max: query.max.try_into().unwrap_or(i32::MAX),
            begin_timestamp_ms: query.from.map_or(0, since_1970_ms),
            end_timestamp_ms: query.to.map_or(i64::MAX, since_1970_ms),
            by_unique_key,
        }
        .fields();
        let mut found = Vec::new();
        for (broker, address) in self.masters_of(&query.topic).await? {
            let answer = self.ask_anyway(&address, RequestCode::QueryMessage, &fields, &[]).await?;
            if answer.code != response::QUERY_NOT_FOUND {
                found.extend(messages(answer.success()?, &broker)?);
            }
        }
        // The index goes by hashes: what only looks alike is left out here.
        found.retain(|message| {
            if by_unique_key { message.id() == query.key } else { message.keys().any(|key| key == query.key) }
        });
        found.sort_by_key(|message| std::cmp::Reverse(message.stored_at()));
        Ok(found)
    }
}

fn messages(answer: Answer, broker: &Arc<str>) -> Result<Vec<StoredMessage>, Error> {
    all_in(answer.body.clone(), broker).map_err(|error| answer.malformed(error))
}
