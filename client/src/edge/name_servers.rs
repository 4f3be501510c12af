//! Asking name servers: one is asked until it fails, then the next.
//!
//! Invariant: a topic without a route is an answer, not a failure; the next server is not asked then.

use super::answer::Answer;
use super::connection::Request;
use super::connections::{Connections, lock};
use crate::error::Error;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::request::route::{ClusterTable, Route, RouteRequest};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// One server is waited for so long, while there are others.
const PATIENCE_WITH_ONE: Duration = Duration::from_secs(2);

/// The name servers of a client.
#[derive(Debug)]
pub(crate) struct NameServers {
    addresses: Vec<String>,
    /// The one that answered last.
    current: Mutex<usize>,
}

impl NameServers {
    pub fn new(addresses: Vec<String>, first: usize) -> NameServers {
        let current = Mutex::new(first.checked_rem(addresses.len()).unwrap_or(0));
        NameServers { addresses, current }
    }

    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The answer of the first server that gives one.
    pub async fn ask(
        &self,
        connections: &Connections,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let start = *lock(&self.current);
        let mut last = Error::Invalid("there is no name server".into());
        for index in (0..self.addresses.len()).map(|step| (start + step) % self.addresses.len()) {
            let is_only = self.addresses.len() == 1;
            let patience = if is_only { deadline } else { deadline.min(Instant::now() + PATIENCE_WITH_ONE) };
            match connections.ask(&self.addresses[index], request, patience).await {
                Ok(answer) => {
                    *lock(&self.current) = index;
                    return Ok(answer);
                }
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(error) => {
                    tracing::debug!(address = self.addresses[index], %error, "name server");
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Where a topic is; `None` if nobody knows it.
    pub async fn route(
        &self,
        connections: &Connections,
        topic: &str,
        deadline: Instant,
    ) -> Result<Option<Route>, Error> {
        let fields = RouteRequest { topic, standard_json: true, zone: None, zone_mode: false }.fields();
        let request = Request { code: RequestCode::GetRouteByTopic.number(), fields: &fields, body: &[] };
        let answer = self.ask(connections, &request, deadline).await?;
        if answer.code == response::TOPIC_NOT_EXIST {
            return Ok(None);
        }
        answer.success()?.read().map(Some)
    }

    /// Every broker of every cluster.
    pub async fn clusters(
        &self,
        connections: &Connections,
        deadline: Instant,
    ) -> Result<ClusterTable, Error> {
        let request = Request { code: RequestCode::GetBrokerCluster.number(), fields: &[], body: &[] };
        self.ask(connections, &request, deadline).await?.success()?.read()
    }
}
