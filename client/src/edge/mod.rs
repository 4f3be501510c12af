//! Where the client waits: connections, name servers, heartbeats. The only place that knows tokio's sockets and clock.

pub(crate) mod answer;
pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod name_servers;
pub(crate) mod pump;
#[cfg(test)]
mod tests;
