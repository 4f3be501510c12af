//! Brokers.

use super::Admin;
use crate::error::Error;
use ringmq_wire::code::RequestCode;
use ringmq_wire::request::admin::TextTable;
use std::collections::BTreeMap;

/// Every broker that a name server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The name servers that this client asks.
    pub name_servers: Vec<String>,
    /// By cluster, name and id.
    pub brokers: Vec<BrokerDescription>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerDescription {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// 0 takes writes; others are its replicas.
    pub id: i64,
    /// Where clients connect to.
    pub address: String,
    /// What it says of itself: counters, version, times, in RocketMQ's names. (`mqadmin brokerStatus`)
    pub runtime: BTreeMap<String, String>,
    /// Why it did not say it.
    pub error: Option<Error>,
}

/// By what it says, and not by what kept it from saying more.
impl PartialEq for Error {
    fn eq(&self, other: &Error) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Error {}

impl Admin {
    /// Every broker, and what each says of itself. A broker that does not answer is listed with the reason.
    pub async fn cluster(&self) -> Result<ClusterDescription, Error> {
        let mut cluster = self.brokers().await?;
        for broker in &mut cluster.brokers {
            match self.runtime(&broker.address).await {
                Ok(runtime) => broker.runtime = runtime,
                Err(error) => broker.error = Some(error),
            }
        }
        Ok(cluster)
    }

    /// Every broker, none of which is asked anything.
    pub async fn brokers(&self) -> Result<ClusterDescription, Error> {
        let table = self.core.names.clusters(&self.core.connections, self.deadline()).await?;
        let mut brokers = Vec::new();
        for (name, broker) in table.brokers {
            for (id, address) in broker.addresses {
                let (cluster, name) = (broker.cluster.clone(), name.clone());
                let (runtime, error) = (BTreeMap::new(), None);
                brokers.push(BrokerDescription { cluster, name, id, address, runtime, error });
            }
        }
        brokers.sort_by(|one, other| {
            (&one.cluster, &one.name, one.id).cmp(&(&other.cluster, &other.name, other.id))
        });
        Ok(ClusterDescription { name_servers: self.core.names.addresses().to_vec(), brokers })
    }

    async fn runtime(&self, address: &str) -> Result<BTreeMap<String, String>, Error> {
        let answer = self.ask(address, RequestCode::GetBrokerRuntimeInfo, &[], &[]).await?;
        Ok(answer.read::<TextTable>()?.table)
    }

    /// The settings of the broker at `address`, by RocketMQ's names.
    pub async fn broker_settings(&self, address: &str) -> Result<BTreeMap<String, String>, Error> {
        let answer = self.ask(address, RequestCode::GetBrokerConfig, &[], &[]).await?;
        let text = String::from_utf8_lossy(&answer.body);
        // A Java properties file, as brokers write it: no continuation lines, no escapes that matter here.
        let lines =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        Ok(lines.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect())
    }
}
