//! Request and response codes.
//!
//! Request codes are an enum, so that one exhaustive `match` can give each a handler or a permission; response
//! codes are plain numbers, since the broker only writes them and a peer may answer anything.
//!
//! Source: `remoting/.../protocol/RequestCode.java`, `ResponseCode.java`, `RemotingSysResponseCode.java`.

macro_rules! request_codes {
    ($($variant:ident = $number:literal $name:literal)*) => {
        /// What a request asks for. Variants carry RocketMQ's numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum RequestCode {
            $(#[doc = $name] $variant = $number,)*
        }

        impl RequestCode {
            /// All codes we have a name for, by number.
            pub const ALL: &'static [RequestCode] = &[$(RequestCode::$variant),*];

            /// The code of a number; `None` if we do not know it.
            pub fn from_number(number: i32) -> Option<RequestCode> {
                match number {
                    $($number => Some(RequestCode::$variant),)*
                    _ => None,
                }
            }

            /// RocketMQ's name, as in `RequestCode.java`.
            pub fn label(self) -> &'static str {
                match self {
                    $(RequestCode::$variant => $name,)*
                }
            }
        }
    };
}

request_codes! {
    SendMessage = 10 "SEND_MESSAGE"
    PullMessage = 11 "PULL_MESSAGE"
    QueryMessage = 12 "QUERY_MESSAGE"
    QueryConsumerOffset = 14 "QUERY_CONSUMER_OFFSET"
    UpdateConsumerOffset = 15 "UPDATE_CONSUMER_OFFSET"
    UpdateAndCreateTopic = 17 "UPDATE_AND_CREATE_TOPIC"
    UpdateAndCreateTopicList = 18 "UPDATE_AND_CREATE_TOPIC_LIST"
    GetAllTopicConfig = 21 "GET_ALL_TOPIC_CONFIG"
    UpdateBrokerConfig = 25 "UPDATE_BROKER_CONFIG"
    GetBrokerConfig = 26 "GET_BROKER_CONFIG"
    TriggerDeleteFiles = 27 "TRIGGER_DELETE_FILES"
    GetBrokerRuntimeInfo = 28 "GET_BROKER_RUNTIME_INFO"
    SearchOffsetByTimestamp = 29 "SEARCH_OFFSET_BY_TIMESTAMP"
    GetMaxOffset = 30 "GET_MAX_OFFSET"
    GetMinOffset = 31 "GET_MIN_OFFSET"
    GetEarliestStoreTime = 32 "GET_EARLIEST_MSG_STORETIME"
    ViewMessageById = 33 "VIEW_MESSAGE_BY_ID"
    HeartBeat = 34 "HEART_BEAT"
    UnregisterClient = 35 "UNREGISTER_CLIENT"
    ConsumerSendMessageBack = 36 "CONSUMER_SEND_MSG_BACK"
    EndTransaction = 37 "END_TRANSACTION"
    GetConsumerListByGroup = 38 "GET_CONSUMER_LIST_BY_GROUP"
    CheckTransactionState = 39 "CHECK_TRANSACTION_STATE"
    NotifyConsumerIdsChanged = 40 "NOTIFY_CONSUMER_IDS_CHANGED"
    LockBatchQueues = 41 "LOCK_BATCH_MQ"
    UnlockBatchQueues = 42 "UNLOCK_BATCH_MQ"
    GetAllConsumerOffset = 43 "GET_ALL_CONSUMER_OFFSET"
    GetAllDelayOffset = 45 "GET_ALL_DELAY_OFFSET"
    CheckClientConfig = 46 "CHECK_CLIENT_CONFIG"
    GetClientConfig = 47 "GET_CLIENT_CONFIG"
    UpdateAndCreateAclConfig = 50 "UPDATE_AND_CREATE_ACL_CONFIG"
    DeleteAclConfig = 51 "DELETE_ACL_CONFIG"
    GetBrokerClusterAclInfo = 52 "GET_BROKER_CLUSTER_ACL_INFO"
    UpdateGlobalWhiteAddrsConfig = 53 "UPDATE_GLOBAL_WHITE_ADDRS_CONFIG"
    GetBrokerClusterAclConfig = 54 "GET_BROKER_CLUSTER_ACL_CONFIG"
    GetTimerCheckPoint = 60 "GET_TIMER_CHECK_POINT"
    GetTimerMetrics = 61 "GET_TIMER_METRICS"
    PutKvConfig = 100 "PUT_KV_CONFIG"
    GetKvConfig = 101 "GET_KV_CONFIG"
    DeleteKvConfig = 102 "DELETE_KV_CONFIG"
    RegisterBroker = 103 "REGISTER_BROKER"
    UnregisterBroker = 104 "UNREGISTER_BROKER"
    GetRouteByTopic = 105 "GET_ROUTEINFO_BY_TOPIC"
    GetBrokerCluster = 106 "GET_BROKER_CLUSTER_INFO"
    UpdateAndCreateGroup = 200 "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP"
    GetAllGroupConfig = 201 "GET_ALL_SUBSCRIPTIONGROUP_CONFIG"
    GetTopicStats = 202 "GET_TOPIC_STATS_INFO"
    GetConsumerConnectionList = 203 "GET_CONSUMER_CONNECTION_LIST"
    GetProducerConnectionList = 204 "GET_PRODUCER_CONNECTION_LIST"
    WipeWritePermOfBroker = 205 "WIPE_WRITE_PERM_OF_BROKER"
    GetAllTopicList = 206 "GET_ALL_TOPIC_LIST_FROM_NAMESERVER"
    DeleteGroup = 207 "DELETE_SUBSCRIPTIONGROUP"
    GetConsumeStats = 208 "GET_CONSUME_STATS"
    DeleteTopicInBroker = 215 "DELETE_TOPIC_IN_BROKER"
    DeleteTopicInNameServer = 216 "DELETE_TOPIC_IN_NAMESRV"
    RegisterTopicInNameServer = 217 "REGISTER_TOPIC_IN_NAMESRV"
    GetKvListByNamespace = 219 "GET_KVLIST_BY_NAMESPACE"
    ResetConsumerClientOffset = 220 "RESET_CONSUMER_CLIENT_OFFSET"
    GetConsumerStatusFromClient = 221 "GET_CONSUMER_STATUS_FROM_CLIENT"
    ResetOffset = 222 "INVOKE_BROKER_TO_RESET_OFFSET"
    GetConsumerStatus = 223 "INVOKE_BROKER_TO_GET_CONSUMER_STATUS"
    GetTopicsByCluster = 224 "GET_TOPICS_BY_CLUSTER"
    UpdateAndCreateGroupList = 225 "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST"
    QueryTopicConsumeByWho = 300 "QUERY_TOPIC_CONSUME_BY_WHO"
    QueryConsumeTimeSpan = 303 "QUERY_CONSUME_TIME_SPAN"
    GetSystemTopicListFromNameServer = 304 "GET_SYSTEM_TOPIC_LIST_FROM_NS"
    GetSystemTopicListFromBroker = 305 "GET_SYSTEM_TOPIC_LIST_FROM_BROKER"
    CleanExpiredConsumeQueue = 306 "CLEAN_EXPIRED_CONSUMEQUEUE"
    GetConsumerRunningInfo = 307 "GET_CONSUMER_RUNNING_INFO"
    QueryCorrectionOffset = 308 "QUERY_CORRECTION_OFFSET"
    ConsumeMessageDirectly = 309 "CONSUME_MESSAGE_DIRECTLY"
    SendMessageV2 = 310 "SEND_MESSAGE_V2"
    GetUnitTopicList = 311 "GET_UNIT_TOPIC_LIST"
    GetHasUnitSubTopicList = 312 "GET_HAS_UNIT_SUB_TOPIC_LIST"
    GetHasUnitSubUnunitTopicList = 313 "GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST"
    CloneGroupOffset = 314 "CLONE_GROUP_OFFSET"
    ViewBrokerStats = 315 "VIEW_BROKER_STATS_DATA"
    CleanUnusedTopic = 316 "CLEAN_UNUSED_TOPIC"
    GetBrokerConsumeStats = 317 "GET_BROKER_CONSUME_STATS"
    UpdateNameServerConfig = 318 "UPDATE_NAMESRV_CONFIG"
    GetNameServerConfig = 319 "GET_NAMESRV_CONFIG"
    SendBatchMessage = 320 "SEND_BATCH_MESSAGE"
    QueryConsumeQueue = 321 "QUERY_CONSUME_QUEUE"
    QueryDataVersion = 322 "QUERY_DATA_VERSION"
    ResumeCheckHalfMessage = 323 "RESUME_CHECK_HALF_MESSAGE"
    SendReplyMessage = 324 "SEND_REPLY_MESSAGE"
    SendReplyMessageV2 = 325 "SEND_REPLY_MESSAGE_V2"
    PushReplyMessageToClient = 326 "PUSH_REPLY_MESSAGE_TO_CLIENT"
    AddWritePermOfBroker = 327 "ADD_WRITE_PERM_OF_BROKER"
    GetAllProducerInfo = 328 "GET_ALL_PRODUCER_INFO"
    DeleteExpiredCommitLog = 329 "DELETE_EXPIRED_COMMITLOG"
    QueryTopicsByConsumer = 343 "QUERY_TOPICS_BY_CONSUMER"
    QuerySubscriptionByConsumer = 345 "QUERY_SUBSCRIPTION_BY_CONSUMER"
    GetTopicConfig = 351 "GET_TOPIC_CONFIG"
    GetGroupConfig = 352 "GET_SUBSCRIPTIONGROUP_CONFIG"
    UpdateAndGetGroupForbidden = 353 "UPDATE_AND_GET_GROUP_FORBIDDEN"
    CheckRocksdbCqWriteProgress = 354 "CHECK_ROCKSDB_CQ_WRITE_PROGRESS"
    ExportRocksdbConfigToJson = 355 "EXPORT_ROCKSDB_CONFIG_TO_JSON"
    LitePullMessage = 361 "LITE_PULL_MESSAGE"
    RecallMessage = 370 "RECALL_MESSAGE"
    QueryAssignment = 400 "QUERY_ASSIGNMENT"
    SetMessageRequestMode = 401 "SET_MESSAGE_REQUEST_MODE"
    GetAllMessageRequestMode = 402 "GET_ALL_MESSAGE_REQUEST_MODE"
    UpdateAndCreateStaticTopic = 513 "UPDATE_AND_CREATE_STATIC_TOPIC"
    GetBrokerMemberGroup = 901 "GET_BROKER_MEMBER_GROUP"
    AddBroker = 902 "ADD_BROKER"
    RemoveBroker = 903 "REMOVE_BROKER"
    BrokerHeartbeat = 904 "BROKER_HEARTBEAT"
    NotifyMinBrokerIdChange = 905 "NOTIFY_MIN_BROKER_ID_CHANGE"
    ExchangeBrokerHa = 906 "EXCHANGE_BROKER_HA_INFO"
    GetBrokerHaStatus = 907 "GET_BROKER_HA_STATUS"
    ResetMasterFlushOffset = 908 "RESET_MASTER_FLUSH_OFFSET"
    GetBrokerEpochCache = 1007 "GET_BROKER_EPOCH_CACHE"
    NotifyBrokerRoleChanged = 1008 "NOTIFY_BROKER_ROLE_CHANGED"
    UpdateColdFlowGroupConfig = 2001 "UPDATE_COLD_DATA_FLOW_CTR_CONFIG"
    RemoveColdFlowGroupConfig = 2002 "REMOVE_COLD_DATA_FLOW_CTR_CONFIG"
    GetColdFlow = 2003 "GET_COLD_DATA_FLOW_CTR_INFO"
    SetCommitLogReadMode = 2004 "SET_COMMITLOG_READ_MODE"
    AuthCreateUser = 3001 "AUTH_CREATE_USER"
    AuthUpdateUser = 3002 "AUTH_UPDATE_USER"
    AuthDeleteUser = 3003 "AUTH_DELETE_USER"
    AuthGetUser = 3004 "AUTH_GET_USER"
    AuthListUser = 3005 "AUTH_LIST_USER"
    AuthCreateAcl = 3006 "AUTH_CREATE_ACL"
    AuthUpdateAcl = 3007 "AUTH_UPDATE_ACL"
    AuthDeleteAcl = 3008 "AUTH_DELETE_ACL"
    AuthGetAcl = 3009 "AUTH_GET_ACL"
    AuthListAcl = 3010 "AUTH_LIST_ACL"
    PopMessage = 200050 "POP_MESSAGE"
    AckMessage = 200051 "ACK_MESSAGE"
    PeekMessage = 200052 "PEEK_MESSAGE"
    ChangeMessageInvisibleTime = 200053 "CHANGE_MESSAGE_INVISIBLETIME"
    Notification = 200054 "NOTIFICATION"
    PollingInfo = 200055 "POLLING_INFO"
    PopRollback = 200056 "POP_ROLLBACK"
    BatchAckMessage = 200151 "BATCH_ACK_MESSAGE"
}

impl RequestCode {
    /// RocketMQ's name of a number, for logs; `UNKNOWN` if we have none.
    pub fn name(number: i32) -> &'static str {
        RequestCode::from_number(number).map_or("UNKNOWN", RequestCode::label)
    }

    /// RocketMQ's number.
    pub fn number(self) -> i32 {
        self as i32
    }
}

macro_rules! response_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal)*) => {
        /// Numbers and names of response codes.
        pub mod response {
            $($(#[$doc])* pub const $name: i32 = $number;)*

            /// RocketMQ's name of a number, for logs; `UNKNOWN` if we have none.
            pub fn name(number: i32) -> &'static str {
                match number {
                    $($number => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

response_codes! {
    /// Done.
    SUCCESS = 0
    /// Anything without a code of its own; the remark says what.
    SYSTEM_ERROR = 1
    /// Overloaded; producers try another broker.
    SYSTEM_BUSY = 2
    /// Remark ` request type N not supported`.
    REQUEST_CODE_NOT_SUPPORTED = 3
    /// A transaction step failed.
    TRANSACTION_FAILED = 4
    /// Stored; the flush took too long.
    FLUSH_DISK_TIMEOUT = 10
    /// Stored; no replica is there.
    SLAVE_NOT_AVAILABLE = 11
    /// Stored; replication took too long.
    FLUSH_SLAVE_TIMEOUT = 12
    /// Body or properties break a limit.
    MESSAGE_ILLEGAL = 13
    /// Not writable now: shut down, disk full.
    SERVICE_NOT_AVAILABLE = 14
    /// The peer's version is too old.
    VERSION_NOT_SUPPORTED = 15
    /// Forbidden.
    NO_PERMISSION = 16
    /// No such topic.
    TOPIC_NOT_EXIST = 17
    /// The topic exists already.
    TOPIC_EXIST_ALREADY = 18
    /// Nothing at that queue offset yet.
    PULL_NOT_FOUND = 19
    /// Nothing matched so far; go on at the next offset.
    PULL_RETRY_IMMEDIATELY = 20
    /// The offset is out of the queue's bounds; the answer holds a better one.
    PULL_OFFSET_MOVED = 21
    /// What was asked for is not there.
    QUERY_NOT_FOUND = 22
    /// The expression cannot be parsed.
    SUBSCRIPTION_PARSE_FAILED = 23
    /// The group has no such subscription.
    SUBSCRIPTION_NOT_EXIST = 24
    /// The broker knows an older subscription than the request.
    SUBSCRIPTION_NOT_LATEST = 25
    /// No such group.
    SUBSCRIPTION_GROUP_NOT_EXIST = 26
    /// No filter is registered.
    FILTER_DATA_NOT_EXIST = 27
    /// The registered filter is older than the request.
    FILTER_DATA_NOT_LATEST = 28
    /// A field has an impossible value.
    INVALID_PARAMETER = 29
    /// The transaction should commit.
    TRANSACTION_SHOULD_COMMIT = 200
    /// The transaction should roll back.
    TRANSACTION_SHOULD_ROLLBACK = 201
    /// The transaction's state is not known.
    TRANSACTION_STATE_UNKNOW = 202
    /// The transaction belongs to another group.
    TRANSACTION_STATE_GROUP_WRONG = 203
    /// No buyer id.
    NO_BUYER_ID = 204
    /// Not in this unit.
    NOT_IN_CURRENT_UNIT = 205
    /// The group has no member.
    CONSUMER_NOT_ONLINE = 206
    /// The consumer did not answer in time.
    CONSUME_MSG_TIMEOUT = 207
    /// Nothing there.
    NO_MESSAGE = 208
    /// Too many parked pops.
    POLLING_FULL = 209
    /// A parked pop found nothing.
    POLLING_TIMEOUT = 210
    /// No such broker.
    BROKER_NOT_EXIST = 211
    /// The broker has not caught up.
    BROKER_DISPATCH_NOT_COMPLETE = 212
    /// The group is broadcasting.
    BROADCAST_CONSUMPTION = 213
    /// Slow down.
    FLOW_CONTROL = 215
    /// Not the leader.
    NOT_LEADER_FOR_QUEUE = 501
    /// The operation makes no sense here.
    ILLEGAL_OPERATION = 604
    /// Reconnect and ask again: the server is closing.
    GO_AWAY = 1500
    /// No such user.
    USER_NOT_EXIST = 3001
    /// No such policy.
    POLICY_NOT_EXIST = 3002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_code_finds_itself_and_numbers_rise() {
        for code in RequestCode::ALL {
            assert_eq!(RequestCode::from_number(code.number()), Some(*code));
            assert_eq!(RequestCode::name(code.number()), code.label());
        }
        assert!(RequestCode::ALL.is_sorted_by(|one, next| one.number() < next.number()));
        assert_eq!((RequestCode::from_number(9), RequestCode::name(9)), (None, "UNKNOWN"));
    }

    #[test]
    fn response_codes_have_names() {
        assert_eq!(response::name(response::PULL_OFFSET_MOVED), "PULL_OFFSET_MOVED");
        assert_eq!(response::name(-1), "UNKNOWN");
    }
}
