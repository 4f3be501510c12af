//! `ringmq cluster`: which brokers there are, and how they are.

use std::process::ExitCode;

use clap::Args;
use ringmq_client::admin::{BrokerDescription, ClusterDescription};
use serde::Serialize;

use super::remote::{self, Answer, Connection, Session};
use super::table::{self, Column};

/// Nothing but which cluster.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringmq cluster
  ringmq cluster --namesrv 10.0.0.1:9876
  ringmq cluster --format json | jq '.brokers[].runtime'")]
pub struct ClusterArgs {
    #[command(flatten)]
    connection: Connection,
}

/// Shows it.
pub fn run(args: &ClusterArgs) -> ExitCode {
    remote::run(&args.connection, async |session: &Session| Ok(Cluster::from(session.admin.cluster().await?)))
}

#[derive(Debug, Serialize)]
struct Cluster {
    name_servers: Vec<String>,
    brokers: Vec<Broker>,
}

#[derive(Debug, Serialize)]
struct Broker {
    cluster: String,
    broker: String,
    id: i64,
    address: String,
    /// What it says of itself, in RocketMQ's names.
    runtime: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<ClusterDescription> for Cluster {
    fn from(cluster: ClusterDescription) -> Cluster {
        Cluster {
            name_servers: cluster.name_servers,
            brokers: cluster.brokers.into_iter().map(Broker::from).collect(),
        }
    }
}

impl From<BrokerDescription> for Broker {
    fn from(broker: BrokerDescription) -> Broker {
        Broker {
            cluster: broker.cluster,
            broker: broker.name,
            id: broker.id,
            address: broker.address,
            runtime: broker.runtime,
            error: broker.error.map(|error| error.to_string()),
        }
    }
}

impl Broker {
    fn row(&self) -> Vec<String> {
        let names = [self.cluster.clone(), self.broker.clone(), self.id.to_string(), self.address.clone()];
        let told = |key: &str| self.runtime.get(key).cloned().unwrap_or_default();
        // Three figures: of the last 10 s, 60 s and 600 s.
        let rate = |key: &str| rate(told(key).split_whitespace().next().unwrap_or_default());
        let told = match &self.error {
            Some(error) => [error.clone(), String::new(), String::new(), String::new()],
            None => [
                told("brokerVersionDesc"),
                rate("putTps"),
                rate("getTransferredTps"),
                percent(&told("commitLogDiskRatio")),
            ],
        };
        names.into_iter().chain(told).collect()
    }
}

/// A rate for people; what is no number is nothing.
fn rate(text: &str) -> String {
    text.parse::<f64>().map_or_else(|_| String::new(), |rate| format!("{rate:.0}"))
}

/// A share; below zero it is not known.
fn percent(text: &str) -> String {
    let share = text.parse::<f64>().ok().filter(|share| *share >= 0.0);
    share.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0))
}

impl Answer for Cluster {
    fn text(&self) -> String {
        let columns = [
            Column::Text("CLUSTER"),
            Column::Text("BROKER"),
            Column::Number("ID"),
            Column::Text("ADDRESS"),
            Column::Text("VERSION"),
            Column::Number("IN/S"),
            Column::Number("OUT/S"),
            Column::Number("DISK"),
        ];
        if self.brokers.is_empty() {
            return format!("no broker has registered with {}\n", self.name_servers.join(", "));
        }
        table::render(&columns, self.brokers.iter().map(Broker::row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::golden;

    fn broker(id: i64, runtime: &[(&str, &str)], error: Option<&str>) -> Broker {
        Broker {
            cluster: "DefaultCluster".to_owned(),
            broker: "node-0".to_owned(),
            id,
            address: "10.0.0.1:10911".to_owned(),
            runtime: runtime.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn brokers_are_rows_and_one_that_does_not_answer_says_why() {
        let told = [
            ("brokerVersionDesc", "V5_3_3"),
            ("putTps", "1234.6 1.0 0.0"),
            ("getTransferredTps", "0.0 0.0 0.0"),
            ("commitLogDiskRatio", "0.42"),
        ];
        let brokers = vec![
            broker(0, &told, None),
            broker(1, &[("putTps", ""), ("commitLogDiskRatio", "-1.0")], None),
            broker(2, &[], Some("no answer within 5s")),
        ];
        let cluster = Cluster { name_servers: vec!["ns:9876".to_owned()], brokers };
        golden::answer("cluster-text", &cluster.text());
        let none = Cluster { brokers: Vec::new(), ..cluster };
        assert_eq!(none.text(), "no broker has registered with ns:9876\n");
    }
}
