//! Offsets: a group's (14, 15), a queue's bounds (30, 31), by time (29), and the earliest store time (32).
//!
//! A group offset is the *next* queue offset to consume.
//!
//! Source: `QueryConsumerOffsetRequestHeader.java`, `UpdateConsumerOffsetRequestHeader.java`,
//! `GetMaxOffsetRequestHeader.java`, `SearchOffsetRequestHeader.java` and their neighbours.

use super::header;

header! {
    /// QUERY_CONSUMER_OFFSET (14). An offset that is not known is code 22, never 0 with offset 0.
    QueryGroupOffset<'a> {
        /// The group.
        consumer_group: &'a str = "consumerGroup",
        /// The topic.
        topic: &'a str = "topic",
        /// The queue of the topic.
        queue_id: i32 = "queueId",
        /// "false": do not answer 0 for a group that is new on a young queue. Absent means true.
        zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }
}

header! {
    /// UPDATE_CONSUMER_OFFSET (15); often one-way. Reply: code only.
    StoreGroupOffset<'a> {
        /// The group.
        consumer_group: &'a str = "consumerGroup",
        /// The topic.
        topic: &'a str = "topic",
        /// The queue of the topic.
        queue_id: i32 = "queueId",
        /// Next queue offset to consume. Negative means nothing: Go sends -1 for queues it has not consumed.
        offset: i64 = "commitOffset",
    }
}

impl StoreGroupOffset<'_> {
    /// The offset to store, if the request says one.
    pub fn offset_to_store(&self) -> Option<i64> {
        (self.offset >= 0).then_some(self.offset)
    }
}

header! {
    /// GET_MAX_OFFSET (30), GET_MIN_OFFSET (31) and GET_EARLIEST_MSG_STORETIME (32).
    QueueBound<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The queue of the topic.
        queue_id: i32 = "queueId",
        /// 30 of 5.x: only what consumers may see. Absent means true.
        visible_only: Option<bool> = "committed",
    }
}

header! {
    /// SEARCH_OFFSET_BY_TIMESTAMP (29).
    SearchOffset<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The queue of the topic.
        queue_id: i32 = "queueId",
        /// Store time, milliseconds since 1970.
        timestamp_ms: i64 = "timestamp",
        /// `LOWER` (also when absent) or `UPPER`, in any case.
        boundary: Option<&'a str> = "boundaryType",
    }
}

impl SearchOffset<'_> {
    /// Whether the *last* record at or before the time is wanted, rather than the first at or after it.
    pub fn is_upper(&self) -> bool {
        self.boundary.is_some_and(|boundary| boundary.eq_ignore_ascii_case("UPPER"))
    }
}

header! {
    /// The answer to 14, 29, 30 and 31.
    OffsetReply {
        /// A queue offset.
        offset: i64 = "offset",
    }
}

header! {
    /// The answer to 32.
    StoreTimeReply {
        /// Milliseconds since 1970; -1 if the queue is empty.
        timestamp_ms: i64 = "timestamp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::testing::decoded;

    #[test]
    fn requests_of_java_and_go_are_read() {
        decoded(r#"{"consumerGroup":"CG","topic":"T","queueId":"0","bname":"broker-a"}"#, |fields| {
            let request = QueryGroupOffset::decode(&fields).unwrap();
            assert_eq!((request.consumer_group, request.zero_if_not_found), ("CG", None));
        });
        decoded(r#"{"topic":"T","queueId":0,"committed":"true"}"#, |fields| {
            assert_eq!(QueueBound::decode(&fields).unwrap().visible_only, Some(true));
        });
        for (boundary, upper) in
            [("", false), (",\"boundaryType\":\"lower\"", false), (",\"boundaryType\":\"upper\"", true)]
        {
            decoded(&format!(r#"{{"topic":"T","queueId":"0","timestamp":"5"{boundary}}}"#), |fields| {
                assert_eq!(SearchOffset::decode(&fields).unwrap().is_upper(), upper);
            });
        }
    }

    #[test]
    fn rule_17_a_negative_offset_is_not_stored() {
        for (written, stored) in [("-1", None), ("0", Some(0)), ("8", Some(8))] {
            let ext =
                format!(r#"{{"consumerGroup":"CG","topic":"T","queueId":"0","commitOffset":"{written}"}}"#);
            decoded(&ext, |fields| {
                assert_eq!(StoreGroupOffset::decode(&fields).unwrap().offset_to_store(), stored);
            });
        }
    }
}
