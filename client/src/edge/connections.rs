//! All connections of a client, one to each server, made when they are needed and made again when they were lost.
//!
//! Invariants
//!  1. At most one connection to an address is being made at a time; who needs it meanwhile waits for that one.
//!  2. After a failure the next try waits (doubling, jittered): for the first caller and for all others together.
//!  3. What is under way to all servers together is bounded in bytes.

use super::answer::{Answer, Inbox};
use super::connection::{Call, Connection, Request};
use super::pump;
use crate::error::Error;
use crate::limits::CONNECT_PATIENCE;
use crate::rules::backoff::Backoff;
use crate::rules::random::Random;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Bytes to and from a server.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(crate) type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Makes connections: TCP for real, pipes in tests.
pub(crate) trait Dial: Send + Sync + 'static {
    fn dial<'a>(&'a self, address: &'a str) -> Dialing<'a>;
}

/// Names are looked up anew each time, so a server that moved is found.
pub(crate) struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, address: &'a str) -> Dialing<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// See the module.
pub(crate) struct Connections {
    dial: Arc<dyn Dial>,
    inbox: Arc<dyn Inbox>,
    endpoints: Mutex<HashMap<Arc<str>, Arc<Endpoint>>>,
    room: Arc<Semaphore>,
    random: Mutex<Random>,
}

struct Endpoint {
    address: Arc<str>,
    current: Mutex<Option<Connection>>,
    making: tokio::sync::Mutex<Making>,
}

struct Making {
    backoff: Backoff,
    not_before: Instant,
}

impl Connections {
    pub fn new(dial: Arc<dyn Dial>, inbox: Arc<dyn Inbox>, bytes_max: usize, random: Random) -> Connections {
        Connections {
            dial,
            inbox,
            endpoints: Mutex::default(),
            room: Arc::new(Semaphore::new(bytes_max.min(Semaphore::MAX_PERMITS))),
            random: Mutex::new(random),
        }
    }

    /// Asks the server at `address`, and waits for its answer until `deadline`.
    pub async fn ask(
        &self,
        address: &str,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        self.begin(address, request, deadline).await?.await
    }

    /// Begins a call, as soon as there is a connection and room for it.
    pub async fn begin(
        &self,
        address: &str,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Call, Error> {
        let room = self.room(request.body.len(), deadline).await?;
        let connection = self.get(address, deadline).await?;
        Ok(connection.call(request, deadline, Some(room)))
    }

    /// A share of the bytes that may be under way.
    pub async fn room(&self, bytes: usize, deadline: Instant) -> Result<OwnedSemaphorePermit, Error> {
        let share = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Ok(room) = self.room.clone().try_acquire_many_owned(share) {
            return Ok(room);
        }
        let began = Instant::now();
        match timeout_at(deadline, self.room.clone().acquire_many_owned(share)).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_closed)) => Err(Error::Stopped),
            Err(_elapsed) => Err(Error::Full { bytes, after: began.elapsed() }),
        }
    }

    /// The connection to `address`, made if there is none.
    pub async fn get(&self, address: &str, deadline: Instant) -> Result<Connection, Error> {
        let endpoint = self.endpoint(address)?;
        if let Some(connection) = endpoint.usable() {
            return Ok(connection);
        }
        let late = || Error::Connect {
            address: address.to_owned(),
            source: Arc::new(io::Error::new(io::ErrorKind::TimedOut, "not in time")),
        };
        let mut making = timeout_at(deadline, endpoint.making.lock()).await.map_err(|_| late())?;
        if let Some(connection) = endpoint.usable() {
            return Ok(connection);
        }
        if making.not_before >= deadline {
            return Err(late());
        }
        sleep_until(making.not_before).await;
        let patience = deadline.min(Instant::now() + CONNECT_PATIENCE);
        let dialed = timeout_at(patience, self.dial.dial(address)).await;
        match dialed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                making.backoff.succeeded();
                let connection = pump::start(stream, endpoint.address.clone(), self.inbox.clone());
                *lock(&endpoint.current) = Some(connection.clone());
                if self.room.is_closed() {
                    connection.close("the client was shut down");
                    return Err(Error::Stopped);
                }
                tracing::debug!(address, "connected");
                Ok(connection)
            }
            Err(error) => {
                let wait = making.backoff.failed(&mut lock(&self.random));
                making.not_before = Instant::now() + wait;
                tracing::debug!(address, %error, ?wait, "cannot connect");
                Err(Error::Connect { address: address.to_owned(), source: Arc::new(error) })
            }
        }
    }

    /// The connections there are now.
    pub fn open(&self) -> Vec<Connection> {
        lock(&self.endpoints).values().filter_map(|endpoint| endpoint.usable()).collect()
    }

    /// Closes everything, for good.
    pub fn close(&self, reason: &str) {
        self.room.close();
        for connection in self.open() {
            connection.close(reason);
        }
    }

    fn endpoint(&self, address: &str) -> Result<Arc<Endpoint>, Error> {
        let mut endpoints = lock(&self.endpoints);
        if self.room.is_closed() {
            return Err(Error::Stopped);
        }
        if let Some(endpoint) = endpoints.get(address) {
            return Ok(endpoint.clone());
        }
        let address: Arc<str> = address.into();
        let making = Making { backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT), not_before: Instant::now() };
        let endpoint = Arc::new(Endpoint {
            address: address.clone(),
            current: Mutex::default(),
            making: tokio::sync::Mutex::new(making),
        });
        endpoints.insert(address, endpoint.clone());
        Ok(endpoint)
    }

    /// Forgets servers that no route names any more, unless somebody waits for them.
    pub fn keep_only(&self, is_named: impl Fn(&str) -> bool) {
        lock(&self.endpoints).retain(|address, endpoint| {
            let used = endpoint.usable();
            let keep = is_named(address) || used.as_ref().is_some_and(|connection| !connection.is_idle());
            if let (false, Some(connection)) = (keep, used) {
                connection.close("no route names the server any more");
            }
            keep
        });
    }
}

impl Endpoint {
    fn usable(&self) -> Option<Connection> {
        lock(&self.current).as_ref().filter(|connection| !connection.is_closed()).cloned()
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connections").field("room", &self.room.available_permits()).finish_non_exhaustive()
    }
}

/// What is behind our locks is whole also after a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
