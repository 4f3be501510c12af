//! From a request's code to its handler: everything that a broker answers, on one screen.

use ringmq_engine::env::Env;
use ringmq_wire::code::RequestCode;
use ringmq_wire::code::RequestCode::*;

use super::access::{self, Permission};
use super::handler::{client, heartbeat, lock, offset, pull, send, view};
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
        ConsumerSendMessageBack => send::send_back(call),

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

        // Whatever `access` lets nobody do.
        _ => Err(not_supported),
    }
}
