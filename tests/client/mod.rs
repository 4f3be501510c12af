//! What the Rust client does at a real broker. The same scenarios run at RingMQ (`short`) and, with the official clients,
//! at Apache's broker (`compat/rust_client`).

pub mod administration;
pub mod consuming;
pub mod faults;
pub mod hello;
pub mod sending;

use std::future::Future;
use std::time::Duration;

use ringmq_client::Client;

/// A scenario that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a scenario with a client of the name server at `name_server`.
pub fn run<F: Future<Output = ()>>(name_server: &str, scenario: impl FnOnce(Client) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let client = Client::connect(name_server).await.expect("the name server answers");
        let in_time = tokio::time::timeout(PATIENCE, scenario(client.clone())).await;
        in_time.expect("the scenario ends in time");
        client.shutdown(Duration::from_secs(3)).await;
    });
}

/// Another client of the same cluster: another member of its groups.
pub async fn another(client: &Client) -> Client {
    let cluster = client.admin().cluster().await.expect("the name server answers");
    Client::connect(cluster.name_servers.join(",")).await.expect("the name server answers")
}
