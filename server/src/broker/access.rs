//! What permission each request needs.
//!
//! Exhaustive over the codes that RocketMQ has: a code without a line here does not compile. Codes of name
//! servers, of clients, and of features that we do not have need [`Permission::Never`], and are answered as not
//! supported.
//!
//! There are no accounts. What the operator can restrict is where administration comes from.

use std::net::IpAddr;

use ringmq_wire::code::RequestCode;

use super::identity::Administration;

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Say who it is.
    Connect,
    /// Send messages.
    Publish,
    /// Take messages, and keep the progress of its groups.
    Subscribe,
    /// Look at definitions and statistics.
    Inspect,
    /// Change definitions.
    Administer,
    /// Nobody may: we do not answer it.
    Never,
}

/// What a request needs.
pub fn permission(code: RequestCode) -> Permission {
    use RequestCode::*;
    match code {
        SendMessage | SendMessageV2 | SendBatchMessage | RecallMessage => Permission::Publish,

        HeartBeat | UnregisterClient => Permission::Connect,

        PullMessage
        | LitePullMessage
        | QueryConsumerOffset
        | UpdateConsumerOffset
        | SearchOffsetByTimestamp
        | GetMaxOffset
        | GetMinOffset
        | GetEarliestStoreTime
        | ViewMessageById
        | QueryMessage
        | ConsumerSendMessageBack
        | GetConsumerListByGroup
        | LockBatchQueues
        | UnlockBatchQueues
        | CheckClientConfig => Permission::Subscribe,

        GetAllTopicConfig
        | GetBrokerConfig
        | GetBrokerRuntimeInfo
        | GetAllConsumerOffset
        | GetAllGroupConfig
        | GetTopicStats
        | GetConsumerConnectionList
        | GetProducerConnectionList
        | GetConsumeStats
        | QueryTopicConsumeByWho
        | GetSystemTopicListFromBroker
        | ViewBrokerStats
        | GetAllProducerInfo
        | QueryTopicsByConsumer
        | QuerySubscriptionByConsumer
        | GetTopicConfig
        | GetGroupConfig => Permission::Inspect,

        UpdateAndCreateTopic
        | UpdateAndCreateTopicList
        | DeleteTopicInBroker
        | UpdateAndCreateGroup
        | UpdateAndCreateGroupList
        | DeleteGroup => Permission::Administer,

        // Asked of a name server.
        PutKvConfig
        | GetKvConfig
        | DeleteKvConfig
        | RegisterBroker
        | UnregisterBroker
        | GetRouteByTopic
        | GetBrokerCluster
        | WipeWritePermOfBroker
        | AddWritePermOfBroker
        | GetAllTopicList
        | DeleteTopicInNameServer
        | RegisterTopicInNameServer
        | GetKvListByNamespace
        | GetTopicsByCluster
        | GetSystemTopicListFromNameServer
        | GetUnitTopicList
        | GetHasUnitSubTopicList
        | GetHasUnitSubUnunitTopicList
        | UpdateNameServerConfig
        | GetNameServerConfig
        | QueryDataVersion
        | GetBrokerMemberGroup
        | BrokerHeartbeat => Permission::Never,

        // Asked of a client.
        CheckTransactionState
        | NotifyConsumerIdsChanged
        | ResetConsumerClientOffset
        | GetConsumerStatusFromClient
        | PushReplyMessageToClient => Permission::Never,

        // Features that we do not have.
        EndTransaction
        | GetAllDelayOffset
        | GetTimerCheckPoint
        | GetTimerMetrics
        | UpdateBrokerConfig
        | TriggerDeleteFiles
        | GetClientConfig
        | UpdateAndCreateAclConfig
        | DeleteAclConfig
        | GetBrokerClusterAclInfo
        | UpdateGlobalWhiteAddrsConfig
        | GetBrokerClusterAclConfig
        | ResetOffset
        | GetConsumerStatus
        | QueryConsumeTimeSpan
        | CleanExpiredConsumeQueue
        | GetConsumerRunningInfo
        | QueryCorrectionOffset
        | ConsumeMessageDirectly
        | CloneGroupOffset
        | CleanUnusedTopic
        | GetBrokerConsumeStats
        | QueryConsumeQueue
        | ResumeCheckHalfMessage
        | SendReplyMessage
        | SendReplyMessageV2
        | DeleteExpiredCommitLog
        | UpdateAndGetGroupForbidden
        | CheckRocksdbCqWriteProgress
        | ExportRocksdbConfigToJson
        | QueryAssignment
        | SetMessageRequestMode
        | GetAllMessageRequestMode
        | UpdateAndCreateStaticTopic
        | AddBroker
        | RemoveBroker
        | NotifyMinBrokerIdChange
        | ExchangeBrokerHa
        | GetBrokerHaStatus
        | ResetMasterFlushOffset
        | GetBrokerEpochCache
        | NotifyBrokerRoleChanged
        | UpdateColdFlowGroupConfig
        | RemoveColdFlowGroupConfig
        | GetColdFlow
        | SetCommitLogReadMode
        | AuthCreateUser
        | AuthUpdateUser
        | AuthDeleteUser
        | AuthGetUser
        | AuthListUser
        | AuthCreateAcl
        | AuthUpdateAcl
        | AuthDeleteAcl
        | AuthGetAcl
        | AuthListAcl
        | PopMessage
        | AckMessage
        | PeekMessage
        | ChangeMessageInvisibleTime
        | Notification
        | PollingInfo
        | PopRollback
        | BatchAckMessage => Permission::Never,
    }
}

/// Whether a peer has a permission.
pub fn allows(permission: Permission, administration: Administration, peer: IpAddr) -> bool {
    match (permission, administration) {
        (Permission::Never, _) => false,
        (Permission::Administer, Administration::ThisMachine) => peer.is_loopback(),
        (Permission::Administer, Administration::Anyone) => true,
        (Permission::Connect | Permission::Publish | Permission::Subscribe | Permission::Inspect, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administration_can_be_kept_to_this_machine() {
        let (here, there) = ("127.0.0.1".parse().unwrap(), "10.0.0.1".parse().unwrap());
        assert!(allows(Permission::Administer, Administration::Anyone, there));
        assert!(allows(Permission::Administer, Administration::ThisMachine, here));
        assert!(!allows(Permission::Administer, Administration::ThisMachine, there));
        assert!(allows(Permission::Publish, Administration::ThisMachine, there));
        assert!(!allows(Permission::Never, Administration::Anyone, here));
    }
}
