//! The client itself: where to connect, and what to make of it.

use crate::admin::Admin;
use crate::consumer::{ConsumerBuilder, Puller};
use crate::core::Core;
use crate::edge::connections::{Dial, Tcp};
use crate::error::Error;
use crate::limits;
use crate::producer::ProducerBuilder;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long [`Client::connect`] looks for a name server.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// A client of one cluster. Cheap to clone: all clones share their connections, one to each broker.
///
/// The client lives as long as any clone of it, any producer and any consumer. [`Client::shutdown`] ends it in order;
/// dropping the last handle ends it at once.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
}

impl Client {
    /// Connects to the name servers in `url`: `rocketmq://host:9876`, several separated by commas, the scheme and the port
    /// may be left out. Returns when one of them answered.
    ///
    /// Needs a tokio runtime with its I/O and time enabled. Dropping the future leaves nothing behind.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), ringmq_client::Error> {
    /// let client = ringmq_client::Client::connect("rocketmq://127.0.0.1:9876").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(url: impl Into<String>) -> Result<Client, Error> {
        Client::builder(url).connect().await
    }

    /// Begins a client with settings of its own.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            options: Options {
                name_servers: url.into(),
                client_id: None,
                host: Ipv4Addr::LOCALHOST,
                bytes_in_flight_max: limits::BYTES_IN_FLIGHT_MAX,
            },
            dial: Arc::new(Tcp),
        }
    }

    /// Begins a producer.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.core.clone())
    }

    /// Begins a consumer of a group.
    pub fn consumer(&self, group: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(self.core.clone(), group.into())
    }

    /// Pulls messages queue by queue, for who wants to decide each step; see [`Puller`].
    pub fn puller(&self, group: impl Into<String>) -> Result<Puller, Error> {
        Puller::new(self.core.clone(), group.into())
    }

    /// Administration: topics, groups, offsets, brokers, single messages.
    pub fn admin(&self) -> Admin {
        Admin::new(self.core.clone())
    }

    /// How brokers and other members of a group know this client.
    pub fn id(&self) -> &str {
        &self.core.id
    }

    /// Ends the client in order: consumers take no more, messages that are being handled are finished, offsets are
    /// committed, brokers learn that it is gone, and connections close. After `deadline` it ends as it is. A send that is
    /// still waiting then, on any clone, gets [`Error::Stopped`] or [`Error::Lost`]; so finish your sends first.
    ///
    /// Dropping the future half way leaves a client that takes no more calls and whose brokers notice its end by
    /// themselves.
    pub async fn shutdown(&self, deadline: Duration) {
        self.core.stop(Instant::now() + deadline).await;
    }
}

/// Settings of a [`Client`].
#[must_use = "a client is made by `connect`"]
pub struct ClientBuilder {
    options: Options,
    dial: Arc<dyn Dial>,
}

/// What a client was told.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub name_servers: String,
    pub client_id: Option<String>,
    /// Our own address, as ids have it.
    pub host: Ipv4Addr,
    pub bytes_in_flight_max: usize,
}

impl ClientBuilder {
    /// How brokers and other members of a group know this client; it must be another for each. Unless said, it is made
    /// of the address, the process and chance.
    pub fn client_id(mut self, id: impl Into<String>) -> ClientBuilder {
        self.options.client_id = Some(id.into());
        self
    }

    /// Bytes of requests that may be under way together, 64 MiB unless said. A send beyond waits for room, at most until
    /// its own deadline.
    pub fn bytes_in_flight_max(mut self, bytes: usize) -> ClientBuilder {
        self.options.bytes_in_flight_max = bytes.max(2 * limits::BODY_BYTES_MAX);
        self
    }

    /// Makes the client; see [`Client::connect`].
    pub async fn connect(mut self) -> Result<Client, Error> {
        self.options.host = own_address().unwrap_or(Ipv4Addr::LOCALHOST);
        let core = Core::start(self.options, self.dial)?;
        let deadline = Instant::now() + CONNECT_PATIENCE;
        // Any answer will do; this one every name server gives.
        core.names.clusters(&core.connections, deadline).await?;
        Ok(Client { core })
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.options.fmt(out)
    }
}

/// The address from which this machine would leave; no packet is sent.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // TEST-NET-1: never somebody's.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Makes sure that what callers spawn can be spawned.
const _: fn() = || {
    fn is_shared<T: Send + Sync + 'static>() {}
    fn is_sent<F: Future + Send>(_: F) {}
    is_shared::<Client>();
    let _ = |client: &Client| is_sent(client.shutdown(Duration::ZERO));
    let _ = || is_sent(Client::connect(""));
};
