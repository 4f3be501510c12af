//! Making the topics that a run uses, and finding out where they are.
//!
//! Requests UPDATE_AND_CREATE_TOPIC (17), GET_ROUTEINFO_BY_TOPIC (105), GET_MAX_OFFSET (30): `RequestCode.java`.

use super::{LoadError, Wrong};
use crate::os;
use ringmq_client::blocking::{Answer, Connection, Request};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// `RemotingSysResponseCode.REQUEST_CODE_NOT_SUPPORTED`.
const NOT_SUPPORTED: i32 = 3;
/// How long a preparing call may take. The first one may wait for a server that still starts.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Creates a topic of `queues` queues on each of the brokers. A broker that does not know the request makes the topic
/// when the first message for it comes.
pub fn create(brokers: &[SocketAddr], topic: &str, queues: u16) -> Result<(), LoadError> {
    let request = definition(topic, queues);
    brokers.iter().try_for_each(|broker| match call(*broker, 17, &request) {
        Ok(_) | Err(LoadError::Refused { code: NOT_SUPPORTED, .. }) => Ok(()),
        Err(error) => Err(error),
    })
}

/// Creates topics on one broker, one after the other over one connection, as a script with an admin client does.
pub fn create_each(
    broker: SocketAddr,
    topics: impl Iterator<Item = String>,
    queues: u16,
) -> Result<(), LoadError> {
    let mut connection = Connection::connect(broker, PATIENCE)?;
    for topic in topics {
        accepted(17, connection.call(&definition(&topic, queues), PATIENCE)?)?;
    }
    Ok(())
}

fn definition(topic: &str, queues: u16) -> Request {
    Request::new(17)
        .field("topic", topic)
        .field("defaultTopic", "TBW102")
        .field("readQueueNums", queues)
        .field("writeQueueNums", queues)
        .field("perm", 6)
        .field("topicFilterType", "SINGLE_TAG")
        .field("topicSysFlag", 0)
        .field("order", false)
}

/// The brokers that a name server names for a topic.
pub fn route(name_server: SocketAddr, topic: &str) -> Result<Vec<SocketAddr>, LoadError> {
    let answer = call(name_server, 105, &Request::new(105).field("topic", topic))?;
    brokers_of(&answer.body).map_err(LoadError::Wrong)
}

/// Sends one message to queue 0 of a topic that is made by it, and waits for its answer.
pub fn send_one(broker: SocketAddr, topic: &str) -> Result<(), LoadError> {
    let request = Request::new(310)
        .field("a", "bench-producer")
        .field("b", topic)
        .field("c", "TBW102")
        .field("d", 4)
        .field("e", 0)
        .field("f", 0)
        .field("g", 1_800_000_000_000_u64)
        .field("h", 0)
        .field("i", "WAIT\u{1}true\u{2}")
        .field("j", 0)
        .field("k", false)
        .field("m", false)
        .body("hello");
    call(broker, 310, &request).map(drop)
}

/// The end of a queue: the offset that its next message gets.
pub fn end(broker: SocketAddr, topic: &str, queue: u16) -> Result<u64, LoadError> {
    let request = Request::new(30).field("topic", topic).field("queueId", queue);
    let answer = call(broker, 30, &request)?;
    let offset = answer.number("offset").and_then(|offset| u64::try_from(offset).ok());
    offset.ok_or_else(|| Wrong("the answer to 30 has no offset".into()).into())
}

fn call(to: SocketAddr, code: i32, request: &Request) -> Result<Answer, LoadError> {
    accepted(code, Connection::connect(to, PATIENCE)?.call(request, PATIENCE)?)
}

/// Connects; on loopback, from the source address with this number: each has some 28,000 ports.
pub(super) fn connect(to: SocketAddr, source: usize) -> Result<TcpStream, LoadError> {
    let connecting = |source| LoadError::Io { operation: "connect to the server", source };
    let target = os::as_ipv4(to).map_err(connecting)?;
    let source = [127, 0, 0, u8::try_from(1 + source).unwrap_or(u8::MAX)];
    let source = if target.ip().is_loopback() { source } else { [0; 4] };
    os::connect_from(source, target).map_err(connecting)
}

/// The answer, unless the request was refused.
pub(super) fn accepted(code: i32, answer: Answer) -> Result<Answer, LoadError> {
    match answer.code {
        0 => Ok(answer),
        refusal => Err(LoadError::Refused {
            request: code,
            code: refusal,
            remark: answer.remark.unwrap_or_default(),
        }),
    }
}

/// `TopicRouteData`, as far as it says where the masters are.
#[derive(Deserialize)]
struct Route {
    #[serde(rename = "brokerDatas")]
    brokers: Vec<Broker>,
}

#[derive(Deserialize)]
struct Broker {
    #[serde(rename = "brokerAddrs")]
    addresses: BTreeMap<String, String>,
}

fn brokers_of(body: &[u8]) -> Result<Vec<SocketAddr>, Wrong> {
    let route: Route = serde_json::from_slice(body).map_err(|error| Wrong(format!("route: {error}")))?;
    let masters = route.brokers.iter().filter_map(|broker| broker.addresses.get("0"));
    masters.map(|text| text.parse().map_err(|_| Wrong(format!("route: {text} is no address")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_the_masters_of_its_brokers() {
        let body = br#"{"brokerDatas":[
            {"brokerAddrs":{"0":"10.0.0.2:10911","1":"10.0.0.3:10911"},"brokerName":"a-0","cluster":"c"},
            {"brokerAddrs":{"1":"10.0.0.4:10911"},"brokerName":"a-1","cluster":"c"}],
            "filterServerTable":{},"queueDatas":[]}"#;
        assert_eq!(brokers_of(body), Ok(vec![SocketAddr::from(([10, 0, 0, 2], 10911))]));
        assert!(brokers_of(b"{}").is_err());
        assert!(brokers_of(br#"{"brokerDatas":[{"brokerAddrs":{"0":"nowhere"}}]}"#).is_err());
    }
}
