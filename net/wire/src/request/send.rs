//! Sending: SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320), replies (324, 325), and giving a
//! record back (36).
//!
//! V1 and V2 are the same fields under long and one-letter names. Codes 310, 320 and 325 carry V2 names; if those are
//! missing, V1 names are looked for. Whether the body is a batch is said by the field `batch` (`m`) alone: C++ sends
//! batches with code 310.
//!
//! Source: `SendMessageRequestHeader.java`, `SendMessageRequestHeaderV2.java`, `SendMessageResponseHeader.java`,
//! `ConsumerSendMsgBackRequestHeader.java`.

use super::header;
use crate::code::RequestCode;
use crate::error::FieldError;
use crate::fields::{FieldList, Fields};

/// V1 names; the V2 name of the i-th is the i-th letter.
const NAMES: [&str; 14] = [
    "producerGroup",
    "topic",
    "defaultTopic",
    "defaultTopicQueueNums",
    "queueId",
    "sysFlag",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "unitMode",
    "maxReconsumeTimes",
    "batch",
    "bname",
];
const LETTERS: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];

/// One message, or a batch of them, for one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendRequest<'a> {
    /// The producer's group; need not be registered.
    pub producer_group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The topic whose settings a topic that does not exist yet is made from.
    pub default_topic: &'a str,
    /// Queues wanted for such a topic.
    pub default_topic_queues: i32,
    /// Chosen by the client; negative lets the broker choose.
    pub queue_id: i32,
    /// See [`crate::record::sys_flag`].
    pub sys_flag: i32,
    /// When the producer made it, milliseconds since 1970.
    pub born_timestamp_ms: i64,
    /// The user's flag.
    pub flag: i32,
    /// Encoded properties; empty if absent. Of a batch: not stored.
    pub properties: &'a str,
    /// Times consumed, on a consumer's own sends to its retry topic.
    pub reconsume_times: i32,
    /// The topic belongs to a unit.
    pub unit_mode: bool,
    /// Limit of `reconsume_times`; absent unless the client says one.
    pub reconsume_times_max: Option<i32>,
    /// The body is a batch ([`crate::record::batch`]).
    pub batch: bool,
}

impl<'a> SendRequest<'a> {
    /// Reads it from the fields of a request with that code. One pass over the fields: this is the hot path.
    pub fn decode(code: i32, fields: &Fields<'a>) -> Result<SendRequest<'a>, FieldError> {
        let mut values = Values { names: &LETTERS, values: [None; NAMES.len()] };
        if carries_letters(code) {
            values.fill(fields, letter_slot);
        }
        if values.values[0].is_none() && values.values[1].is_none() {
            values = Values { names: &NAMES, values: [None; NAMES.len()] };
            values.fill(fields, name_slot);
        }
        Ok(SendRequest {
            producer_group: values.text(0)?,
            topic: values.text(1)?,
            default_topic: values.text(2)?,
            default_topic_queues: values.number(3)?,
            queue_id: values.number(4)?,
            sys_flag: values.number(5)?,
            born_timestamp_ms: values.number(6)?,
            flag: values.number(7)?,
            properties: values.values[8].unwrap_or(""),
            reconsume_times: values.optional(9)?.unwrap_or(0),
            unit_mode: values.is_true(10),
            reconsume_times_max: values.optional(11)?,
            batch: values.is_true(12),
        })
    }

    /// Lists its fields under the names that belong to the code.
    pub fn fields(&self, code: i32) -> FieldList<'a> {
        let names = if carries_letters(code) { &LETTERS } else { &NAMES };
        let mut list = FieldList::new();
        list.push(names[0], self.producer_group);
        list.push(names[1], self.topic);
        list.push(names[2], self.default_topic);
        list.push(names[3], self.default_topic_queues);
        list.push(names[4], self.queue_id);
        list.push(names[5], self.sys_flag);
        list.push(names[6], self.born_timestamp_ms);
        list.push(names[7], self.flag);
        list.push(names[8], self.properties);
        list.push(names[9], self.reconsume_times);
        list.push(names[10], self.unit_mode);
        list.push_some(names[11], self.reconsume_times_max);
        list.push(names[12], self.batch);
        list
    }
}

fn carries_letters(code: i32) -> bool {
    matches!(
        RequestCode::from_number(code),
        Some(RequestCode::SendMessageV2 | RequestCode::SendBatchMessage | RequestCode::SendReplyMessageV2)
    )
}

fn letter_slot(name: &str) -> Option<usize> {
    match name.as_bytes() {
        [letter @ b'a'..=b'n'] => Some(usize::from(letter - b'a')),
        _ => None,
    }
}

fn name_slot(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// The fields of a send by position, with the names that errors speak of.
struct Values<'a> {
    names: &'static [&'static str; 14],
    values: [Option<&'a str>; 14],
}

impl<'a> Values<'a> {
    fn fill(&mut self, fields: &Fields<'a>, slot: impl Fn(&str) -> Option<usize>) {
        for (name, value) in fields.iter() {
            if let Some(place) = slot(name).and_then(|slot| self.values.get_mut(slot)) {
                *place = Some(value);
            }
        }
    }

    fn text(&self, slot: usize) -> Result<&'a str, FieldError> {
        self.values[slot].ok_or(FieldError::Missing(self.names[slot]))
    }

    fn number<T: std::str::FromStr>(&self, slot: usize) -> Result<T, FieldError> {
        let text = self.text(slot)?;
        crate::fields::parse(self.names[slot], text, "a number")
    }

    fn optional(&self, slot: usize) -> Result<Option<i32>, FieldError> {
        match self.values[slot] {
            None | Some("") => Ok(None),
            Some(_) => self.number(slot).map(Some),
        }
    }

    fn is_true(&self, slot: usize) -> bool {
        self.values[slot].is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }
}

header! {
    /// The answer to a send whose message is stored (codes 0, 10, 11, 12). Other codes carry only a remark.
    SendReply<'a> {
        /// The server's message id, or those of a batch joined by commas ([`crate::id`]).
        message_id: &'a str = "msgId",
        /// The queue it went to.
        queue_id: i32 = "queueId",
        /// Its queue offset; of a batch, the first one's.
        queue_offset: i64 = "queueOffset",
        /// The message's UNIQ_KEY.
        transaction_id: Option<&'a str> = "transactionId",
        /// UNIQ_KEY of an inner batch.
        batch_unique_key: Option<&'a str> = "batchUniqId",
        /// Recalls a timer message.
        recall_handle: Option<&'a str> = "recallHandle",
        /// The broker's region.
        region: Option<&'a str> = "MSG_REGION",
        /// "false" makes clients stop tracing this message; Go and C++ trace only on "true".
        trace_on: Option<bool> = "TRACE_ON",
    }
}

header! {
    /// CONSUMER_SEND_MSG_BACK (36): a record that could not be consumed goes to the group's retry topic.
    SendBack<'a> {
        /// Physical offset of the record.
        physical_offset: i64 = "offset",
        /// The group.
        group: &'a str = "group",
        /// 0: the broker chooses by times consumed; negative: straight to the dead-letter topic.
        delay_level: i32 = "delayLevel",
        /// UNIQ_KEY of the message.
        origin_message_id: Option<&'a str> = "originMsgId",
        /// The topic it was consumed from.
        origin_topic: Option<&'a str> = "originTopic",
        /// The group belongs to a unit.
        unit_mode: bool = "unitMode",
        /// The client's limit; absent from old ones.
        reconsume_times_max: Option<i32> = "maxReconsumeTimes",
    }
}

header! {
    /// END_TRANSACTION (37): the producer's verdict on a half message. Often one-way.
    EndTransaction<'a> {
        /// The producer's group.
        producer_group: &'a str = "producerGroup",
        /// Queue offset of the half message.
        half_queue_offset: i64 = "tranStateTableOffset",
        /// Physical offset of the half message.
        physical_offset: i64 = "commitLogOffset",
        /// [`crate::record::sys_flag::TRANSACTION_COMMIT`], `TRANSACTION_ROLLBACK`, or 0: not known.
        verdict: i32 = "commitOrRollback" or 0,
        /// It answers a check, rather than ending the send.
        from_check: bool = "fromTransactionCheck",
        /// UNIQ_KEY of the message.
        message_id: Option<&'a str> = "msgId",
        /// The transaction's id.
        transaction_id: Option<&'a str> = "transactionId",
        /// The topic, from 5.x clients.
        topic: Option<&'a str> = "topic",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::testing::decoded;

    const V2: i32 = 310;
    const V1: i32 = 10;

    #[test]
    fn sends_of_all_clients_are_read() {
        let java = r#"{"a":"PG","b":"TopicA","c":"TBW102","d":"4","e":"2","f":"0","g":"1795360489485","h":"0",
            "i":"KEYS\u0001k1\u0002TAGS\u0001TagA\u0002","j":"0","k":"false","m":"false","n":"broker-a"}"#;
        let go = r#"{"producerGroup":"PG","topic":"TopicA","queueId":"2","sysFlag":"0","bornTimestamp":"1795360489485",
            "flag":"0","properties":"KEYS\u0001k1\u0002TAGS\u0001TagA\u0002","reconsumeTimes":"0","unitMode":"false",
            "maxReconsumeTimes":"0","defaultTopic":"TBW102","defaultTopicQueueNums":"4","batch":"false","bname":"b"}"#;
        let cpp = r#"{"a":"PG","b":"TopicA","c":"TBW102","d":4,"e":2,"f":0,"g":"1795360489485","h":0,
            "i":"KEYS\u0001k1\u0002TAGS\u0001TagA\u0002","j":"0","k":"false","l":16,"m":"false","AccessKey":"",
            "OnsChannel":"ALIYUN","Signature":"x"}"#;
        for (code, ext, reconsume_times_max) in
            [(V2, java, None), (V1, go, Some(0)), (V2, cpp, Some(16)), (V2, go, Some(0))]
        {
            decoded(ext, |fields| {
                let request = SendRequest::decode(code, &fields).unwrap();
                let expected = SendRequest {
                    producer_group: "PG",
                    topic: "TopicA",
                    default_topic: "TBW102",
                    default_topic_queues: 4,
                    queue_id: 2,
                    sys_flag: 0,
                    born_timestamp_ms: 1_795_360_489_485,
                    flag: 0,
                    properties: "KEYS\u{1}k1\u{2}TAGS\u{1}TagA\u{2}",
                    reconsume_times: 0,
                    unit_mode: false,
                    reconsume_times_max,
                    batch: false,
                };
                assert_eq!(request, expected, "{code} {ext}");
            });
        }
    }

    #[test]
    fn rule_19_a_batch_is_known_by_its_field_and_not_by_its_code() {
        let ext = |batch: &str| {
            format!(r#"{{"a":"PG","b":"T","c":"TBW102","d":4,"e":0,"f":0,"g":"1","h":0{batch}}}"#)
        };
        for (code, batch, expected) in [
            (310, r#","m":"true""#, true),
            (310, r#","m":true"#, true),
            (320, r#","m":"false""#, false),
            (320, "", false),
        ] {
            decoded(&ext(batch), |fields| {
                assert_eq!(SendRequest::decode(code, &fields).unwrap().batch, expected, "{code} {batch}");
            });
        }
    }

    #[test]
    fn errors_name_the_field_as_it_was_sent() {
        for (code, ext, expected) in [
            (V2, r#"{"a":"PG","b":"T","c":"TBW102"}"#, "the custom field <d> is null"),
            (V2, r#"{"a":"PG"}"#, "the custom field <b> is null"),
            (V1, r#"{"producerGroup":"PG"}"#, "the custom field <topic> is null"),
            (V1, r#"{"a":"PG","b":"T"}"#, "the custom field <producerGroup> is null"),
            (V2, r#"{"a":"PG","b":"T","c":"X","d":"four"}"#, "the field <d> is not a number: four"),
            (V2, "{}", "the custom field <producerGroup> is null"),
        ] {
            decoded(ext, |fields| {
                assert_eq!(SendRequest::decode(code, &fields).unwrap_err().to_string(), expected);
            });
        }
    }

    #[test]
    fn rule_10_a_send_answer_holds_id_queue_and_offset() {
        let reply = SendReply {
            message_id: "0A00000200002A9F00000000000003E8",
            queue_id: 2,
            queue_offset: 5,
            transaction_id: None,
            batch_unique_key: None,
            recall_handle: None,
            region: Some("DefaultRegion"),
            trace_on: Some(true),
        };
        let names: Vec<_> = reply.fields().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["msgId", "queueId", "queueOffset", "MSG_REGION", "TRACE_ON"]);
    }

    #[test]
    fn a_record_given_back_by_java_or_cpp_is_read() {
        for ext in [
            r#"{"offset":"185","group":"CG","delayLevel":"0","originMsgId":"X","originTopic":"T","unitMode":"false","maxReconsumeTimes":"16"}"#,
            r#"{"offset":"185","group":"CG","delayLevel":0,"originMsgId":"X","originTopic":"T","unitMode":"false","maxReconsumeTimes":16}"#,
        ] {
            decoded(ext, |fields| {
                let request = SendBack::decode(&fields).unwrap();
                assert_eq!((request.physical_offset, request.group, request.delay_level), (185, "CG", 0));
                assert_eq!(request.reconsume_times_max, Some(16));
            });
        }
    }
}
