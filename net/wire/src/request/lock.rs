//! Queue locks of orderly consumers: LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42). Bodies only.
//!
//!     41, 42   {"clientId":"c","consumerGroup":"CG","mqSet":[{"brokerName":"b","queueId":0,"topic":"T"}]}
//!     41 →     {"lockOKMQSet":[{"brokerName":"b","queueId":0,"topic":"T"}]}
//!
//! Source: `LockBatchRequestBody.java`, `UnlockBatchRequestBody.java`, `LockBatchResponseBody.java`.

use serde::{Deserialize, Serialize};

use super::queue::QueueName;
use crate::json::tolerant;

/// Queues to lock or to unlock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockRequest {
    /// Who locks: the client id, not the connection.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub client_id: String,
    /// The group.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub consumer_group: String,
    /// The queues.
    #[serde(rename = "mqSet", deserialize_with = "tolerant::nullable")]
    pub queues: Vec<QueueName>,
    /// 5.x: do not ask the broker's replicas.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub only_this_broker: bool,
}

/// The answer to 41.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LockReply {
    /// The queues asked for that the client now holds.
    #[serde(rename = "lockOKMQSet", deserialize_with = "tolerant::nullable")]
    pub locked: Vec<QueueName>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn locks_of_all_clients_are_read() {
        let queue = QueueName { broker_name: "broker-a".into(), queue_id: 0, topic: "TopicB".into() };
        for body in [
            r#"{"clientId":"c","consumerGroup":"CG","mqSet":[{"brokerName":"broker-a","queueId":0,"topic":"TopicB"}],"onlyThisBroker":false}"#,
            "{\"clientId\":\"c\",\"consumerGroup\":\"CG\",\"mqSet\":[{\"brokerName\":\"broker-a\",\"queueId\":\"0\",\"topic\":\"TopicB\"}]}\n",
        ] {
            let request: LockRequest = json::read(body.as_bytes()).unwrap();
            let expected = LockRequest {
                client_id: "c".into(),
                consumer_group: "CG".into(),
                queues: vec![queue.clone()],
                only_this_broker: false,
            };
            assert_eq!(request, expected);
        }
        assert_eq!(json::write(&LockReply::default()), br#"{"lockOKMQSet":[]}"#);
    }
}
