//! Who is there: leaving (35), the members of a group (38), and whether a subscription would be understood (46).
//!
//! Source: `broker/.../processor/ClientManageProcessor.java`, `broker/.../processor/ConsumerManageProcessor.java`.

use ringmq_engine::env::Env;
use ringmq_wire::json;
use ringmq_wire::request::client::CheckClient;
use ringmq_wire::request::heartbeat::{GroupRequest, MembersReply, UnregisterRequest};

use crate::broker::group::subscription;
use crate::broker::outcome::Outcome;
use crate::broker::reply::{Refusal, Reply};
use crate::broker::{Broker, Call};

/// UNREGISTER_CLIENT. Offsets that a client stores after it has left are still taken: Java sends both at once.
pub fn unregister<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = UnregisterRequest::decode(&call.head.fields)?;
    let session = broker.sessions.get_mut(call.conn).expect("the call came through this session");
    if let Some(name) = request.producer_group {
        session.producer_groups.retain(|group| **group != *name);
        broker.groups.producer_left(name, call.conn);
    }
    if let Some(name) = request.consumer_group {
        session.consumer_groups.retain(|group| **group != *name);
        if broker.groups.get_mut(name).is_some_and(|group| group.leave(call.conn)) {
            broker.changed_groups.push(name.into());
        }
    }
    reply.done();
    Ok(Outcome::Reply)
}

/// GET_CONSUMER_LIST_BY_GROUP. A group without members is an error and not an empty list: a client that does
/// not find itself in a list lets go of all its queues.
pub fn list_members<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = GroupRequest::decode(&call.head.fields)?;
    let ids = broker.groups.get(request.consumer_group).map(|group| group.members.client_ids());
    let client_ids: Vec<String> = ids.into_iter().flatten().map(str::to_owned).collect();
    if client_ids.is_empty() {
        return Err(Refusal::NoMembers(request.consumer_group.into()));
    }
    reply.json(&MembersReply { client_ids });
    Ok(Outcome::Reply)
}

/// CHECK_CLIENT_CONFIG: what a consumer that filters by more than tags asks before it starts.
pub fn check<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request: CheckClient = json::read(call.body)?;
    let said = request.subscription;
    if !said.is_tag() {
        if !broker.settings.property_filter {
            return Err(Refusal::NoPropertyFilter(said.expression_type));
        }
        let parsed =
            subscription::parse(&mut broker.conditions, Some(&said.expression_type), &said.expression);
        parsed.map_err(Refusal::CheckedExpression)?;
    }
    reply.done();
    Ok(Outcome::Reply)
}
