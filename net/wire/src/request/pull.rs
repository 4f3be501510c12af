//! Pulling records of one queue: PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361), whose headers are the same.
//!
//! The reply's body, with code 0 only, is the records one after another.
//!
//! Source: `PullMessageRequestHeader.java`, `PullMessageResponseHeader.java`, `common/.../sysflag/PullSysFlag.java`.

use super::header;

/// `commit_offset` is to be stored as the group's offset.
pub const FLAG_STORE_OFFSET: i32 = 1;
/// Hold the request if there is nothing new.
pub const FLAG_SUSPEND: i32 = 2;
/// The subscription is in the request.
pub const FLAG_SUBSCRIPTION: i32 = 4;
/// Class filter; never set by the clients we know.
pub const FLAG_CLASS_FILTER: i32 = 8;
/// A lite pull.
pub const FLAG_LITE: i32 = 16;

header! {
    /// Records wanted.
    PullRequest<'a> {
        /// The group that consumes.
        consumer_group: &'a str = "consumerGroup",
        /// The topic.
        topic: &'a str = "topic",
        /// The queue of the topic.
        queue_id: i32 = "queueId",
        /// First queue offset wanted.
        queue_offset: i64 = "queueOffset",
        /// Most records wanted.
        records_max: i32 = "maxMsgNums",
        /// [`FLAG_STORE_OFFSET`] and the others.
        flags: i32 = "sysFlag",
        /// Position consumed; -1 or 0 if none is known. Meaningful with [`FLAG_STORE_OFFSET`] only.
        commit_offset: i64 = "commitOffset",
        /// How long to hold the request, with [`FLAG_SUSPEND`].
        suspend_timeout_ms: i64 = "suspendTimeoutMillis",
        /// The expression, with [`FLAG_SUBSCRIPTION`].
        subscription: Option<&'a str> = "subscription",
        /// Version of the subscription that the client has.
        subscription_version: i64 = "subVersion",
        /// `TAG` (also when absent) or `SQL92`.
        expression_type: Option<&'a str> = "expressionType",
        /// A hint of 5.x clients; not a promise.
        bytes_max: Option<i32> = "maxMsgBytes",
    }
}

impl PullRequest<'_> {
    /// Whether `flag` is set.
    pub fn has(&self, flag: i32) -> bool {
        self.flags & flag != 0
    }
}

header! {
    /// How a pull ended. Codes 0, 19, 20 and 21 carry all four offsets; Java fails on an answer without them.
    PullReply {
        /// 0: go on asking the master.
        suggested_broker_id: i64 = "suggestWhichBrokerId",
        /// Queue offset to ask for next.
        next_offset: i64 = "nextBeginOffset",
        /// First queue offset still there.
        min_offset: i64 = "minOffset",
        /// Queue offset that the next record will get.
        max_offset: i64 = "maxOffset",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::testing::decoded;

    #[test]
    fn a_pull_of_a_java_push_consumer_is_read_and_written() {
        let ext = r#"{"consumerGroup":"CG","topic":"T","queueId":"1","queueOffset":"5","maxMsgNums":"32","sysFlag":"3",
            "commitOffset":"5","suspendTimeoutMillis":"15000","subVersion":"1795360511454","expressionType":"TAG",
            "maxMsgBytes":"262144","bname":"broker-a"}"#;
        decoded(ext, |fields| {
            let request = PullRequest::decode(&fields).unwrap();
            assert!(request.has(FLAG_SUSPEND) && request.has(FLAG_STORE_OFFSET) && !request.has(FLAG_LITE));
            assert_eq!((request.queue_id, request.queue_offset, request.records_max), (1, 5, 32));
            assert_eq!((request.subscription, request.bytes_max), (None, Some(262144)));
            assert_eq!(request.fields().len(), 11);
        });
    }

    #[test]
    fn a_pull_of_a_cpp_consumer_has_numbers_and_no_expression_type() {
        let ext = r#"{"consumerGroup":"CG","topic":"T","queueId":1,"queueOffset":"0","maxMsgNums":32,"sysFlag":6,
            "commitOffset":"-1","suspendTimeoutMillis":"15000","subVersion":"1795361064215","subscription":"TagA || TagB",
            "AccessKey":"","OnsChannel":"ALIYUN","Signature":"x"}"#;
        decoded(ext, |fields| {
            let request = PullRequest::decode(&fields).unwrap();
            assert_eq!((request.subscription, request.expression_type), (Some("TagA || TagB"), None));
            assert_eq!(request.commit_offset, -1);
        });
    }

    #[test]
    fn a_missing_number_names_its_field() {
        decoded(r#"{"consumerGroup":"CG","topic":"T"}"#, |fields| {
            let error = PullRequest::decode(&fields).unwrap_err();
            assert_eq!(error.to_string(), "the custom field <queueId> is null");
        });
    }

    #[test]
    fn rule_11_a_pull_answer_holds_all_four_offsets() {
        let reply = PullReply { suggested_broker_id: 0, next_offset: 6, min_offset: 0, max_offset: 6 };
        let names: Vec<_> = reply.fields().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["suggestWhichBrokerId", "nextBeginOffset", "minOffset", "maxOffset"]);
    }
}
