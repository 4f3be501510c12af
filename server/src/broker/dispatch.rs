//! From a request's code to its handler: everything that a broker answers, on one screen.

use ringmq_engine::env::Env;
use ringmq_wire::code::RequestCode;
use ringmq_wire::code::RequestCode::*;

use super::access::{self, Permission};
use super::handler::{
    broker_admin, client, group_admin, heartbeat, lock, offset, pull, query, recall, send, send_back,
    topic_admin, view,
};
use super::outcome::Outcome;
use super::reply::{Refusal, Reply};
use super::{Broker, Call};

/// Gives a call to its handler, if the caller may ask that.
pub(super) fn dispatch<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let not_supported = Refusal::NotSupported(call.head.code);
    let Some(code) = RequestCode::from_number(call.head.code) else { return Err(not_supported) };
    let permission = access::permission(code);
    if permission == Permission::Never {
        return Err(not_supported);
    }
    if !access::allows(permission, broker.settings.administration, call.peer.ip()) {
        return Err(Refusal::AdministrationElsewhere);
    }
    match code {
        SendMessageV2 | SendMessage | SendBatchMessage => send::send(broker, call, reply),
        PullMessage | LitePullMessage => pull::pull(broker, call, reply),
        ConsumerSendMessageBack => send_back::send_back(broker, call, reply),
        RecallMessage => recall::recall(broker, call, reply),

        HeartBeat => heartbeat::heartbeat(broker, call, reply),
        UnregisterClient => client::unregister(broker, call, reply),
        GetConsumerListByGroup => client::list_members(broker, call, reply),
        CheckClientConfig => client::check(broker, call, reply),
        LockBatchQueues => lock::lock(broker, call, reply),
        UnlockBatchQueues => lock::unlock(broker, call, reply),

        QueryConsumerOffset => offset::query(broker, call, reply),
        UpdateConsumerOffset => offset::update(broker, call, reply),
        SearchOffsetByTimestamp => offset::search(broker, call, reply),
        GetMaxOffset => offset::max(broker, call, reply),
        GetMinOffset => offset::min(broker, call, reply),
        GetEarliestStoreTime => offset::earliest(broker, call, reply),
        ViewMessageById => view::view(broker, call, reply),
        QueryMessage => query::query(broker, call),

        UpdateAndCreateTopic => topic_admin::update(broker, call, reply),
        UpdateAndCreateTopicList => topic_admin::update_list(broker, call, reply),
        DeleteTopicInBroker => topic_admin::delete(broker, call, reply),
        GetAllTopicConfig => topic_admin::all(broker, call, reply),
        GetTopicConfig => topic_admin::config(broker, call, reply),
        GetTopicStats => topic_admin::stats(broker, call, reply),
        GetSystemTopicListFromBroker => topic_admin::system(broker, call, reply),
        QueryTopicConsumeByWho => topic_admin::groups(broker, call, reply),

        UpdateAndCreateGroup => group_admin::update(broker, call, reply),
        UpdateAndCreateGroupList => group_admin::update_list(broker, call, reply),
        DeleteGroup => group_admin::delete(broker, call, reply),
        GetAllGroupConfig => group_admin::all(broker, call, reply),
        GetGroupConfig => group_admin::config(broker, call, reply),
        GetConsumerConnectionList => group_admin::consumers(broker, call, reply),
        GetProducerConnectionList => group_admin::producers(broker, call, reply),
        GetConsumeStats => group_admin::progress(broker, call, reply),
        GetAllConsumerOffset => group_admin::all_offsets(broker, call, reply),
        QueryTopicsByConsumer => group_admin::topics(broker, call, reply),
        QuerySubscriptionByConsumer => group_admin::subscription(broker, call, reply),

        GetBrokerConfig => broker_admin::config(broker, call, reply),
        GetBrokerRuntimeInfo => broker_admin::runtime(broker, call, reply),
        ViewBrokerStats => broker_admin::stats(broker, call, reply),
        GetAllProducerInfo => group_admin::all_producers(broker, call, reply),

        // Whatever `access` lets nobody do.
        _ => Err(not_supported),
    }
}
