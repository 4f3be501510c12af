//! The name server's one door: everything it answers, on one screen.
//!
//! Invariants
//!  1. A request is answered at once, in the format it came in, unless it is one-way.
//!  2. Nothing that a peer sends closes its connection or changes what others sent, but a broker's own
//!     registration, and what tools ask for by name.
//!
//! Not here: what each request means (`handler`), sockets and clocks (`shard/namesrv_loop`).
//!
//! Source: `DefaultRequestProcessor.java`, `ClientRequestProcessor.java`.

use std::net::SocketAddr;
use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::code::{RequestCode, response};
use ringmq_wire::{FieldError, Head, HeadFormat, json};
use tracing::{debug, info};

use super::kv::{KvTable, PutError};
use super::limits::SCAN_EVERY;
use super::register_body::BodyError;
use super::replies::{Answer, Replies};
use super::route_table::{RegisterError, RouteTable};
use crate::broker::outcome::Now;
use crate::config::Settings;

/// A name server's state. One per process, on a loop of its own.
#[derive(Debug)]
pub struct NameServer {
    pub(super) routes: RouteTable,
    pub(super) kv: KvTable,
    /// Silence after which a broker is gone that did not say how long to wait.
    pub(super) broker_timeout: Duration,
    /// Whether routes tell the order of topics; tools can change it.
    pub(super) order_topics: bool,
    pub(super) port: u16,
    next_scan: Duration,
}

/// A request as its handler sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub conn: ConnId,
    pub head: &'a Head<'a>,
    pub body: &'a [u8],
    pub now: Now,
}

/// Why a request was not done; [`Refusal::code`] is the only place that gives it a number.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(" request type {0} not supported")]
    UnknownCode(i32),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(transparent)]
    Body(#[from] json::BodyError),
    #[error(transparent)]
    RegisterBody(#[from] BodyError),
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error(transparent)]
    Put(#[from] PutError),
    #[error(
        "No topic route info in name server for the topic: {0}\nCreate it with \
         `mqadmin updateTopic -c CLUSTER -t {0}`, or let brokers do it (topics.auto_create)"
    )]
    NoRoute(String),
    #[error("No config item, Namespace: {namespace} Key: {key}")]
    NoEntry { namespace: String, key: String },
    #[error("No config item, Namespace: {0}")]
    NoNamespace(String),
    #[error("{0} cannot be changed while running; only orderMessageEnable can")]
    FixedSetting(String),
}

impl Refusal {
    fn code(&self) -> i32 {
        match self {
            Refusal::UnknownCode(_) => response::REQUEST_CODE_NOT_SUPPORTED,
            Refusal::NoRoute(_) => response::TOPIC_NOT_EXIST,
            Refusal::NoEntry { .. } | Refusal::NoNamespace(_) => response::QUERY_NOT_FOUND,
            Refusal::FixedSetting(_) => response::NO_PERMISSION,
            Refusal::Field(_)
            | Refusal::Body(_)
            | Refusal::RegisterBody(_)
            | Refusal::Register(_)
            | Refusal::Put(_) => response::SYSTEM_ERROR,
        }
    }
}

impl NameServer {
    /// One that knows nobody yet.
    pub fn new(settings: &Settings) -> NameServer {
        NameServer {
            routes: RouteTable::default(),
            kv: KvTable::default(),
            broker_timeout: settings.namesrv.broker_timeout,
            order_topics: settings.namesrv.order_topics,
            port: settings.server.namesrv_port,
            next_scan: Duration::ZERO,
        }
    }

    /// A connection is there. Whose it is shows when it registers.
    pub fn opened(&mut self, conn: ConnId, peer: SocketAddr, _now: Now) {
        debug!(?conn, %peer, "connected");
    }

    /// A connection is gone, and with it the brokers that registered over it.
    pub fn closed(&mut self, conn: ConnId, _now: Now, _out: &mut Replies) {
        for member in self.routes.connection_closed(conn) {
            info!(cluster = member.cluster, address = member.address, "broker gone: its connection closed");
        }
    }

    /// Answers a request.
    pub fn handle(
        &mut self,
        conn: ConnId,
        format: HeadFormat,
        head: &Head<'_>,
        body: &[u8],
        now: Now,
        out: &mut Replies,
    ) {
        if head.is_response() {
            // A name server asks nobody anything.
            return;
        }
        let answer = self.answer(Request { conn, head, body, now }).unwrap_or_else(|refusal| {
            debug!(code = RequestCode::name(head.code), %refusal, "refused");
            Answer::failed(refusal.code(), refusal.to_string())
        });
        if !head.is_one_way() {
            out.push(conn, format, head.opaque, &answer);
        }
    }

    /// The clock: forgets brokers that have been silent for too long.
    pub fn tick(&mut self, now: Now, _out: &mut Replies) {
        if now.monotonic < self.next_scan {
            return;
        }
        self.next_scan = now.monotonic + SCAN_EVERY;
        for member in self.routes.expire(now.monotonic) {
            info!(cluster = member.cluster, address = member.address, "broker gone: silent for too long");
        }
    }

    /// When [`NameServer::tick`] wants to be called next.
    pub fn next_due(&self) -> Option<Duration> {
        Some(self.next_scan)
    }

    fn answer(&mut self, request: Request<'_>) -> Result<Answer, Refusal> {
        let unknown = || Err(Refusal::UnknownCode(request.head.code));
        let Some(code) = RequestCode::from_number(request.head.code) else { return unknown() };
        match code {
            // Clients.
            RequestCode::GetRouteByTopic => self.route(request),
            // Brokers.
            RequestCode::RegisterBroker => self.register_broker(request),
            RequestCode::UnregisterBroker => self.unregister_broker(request),
            RequestCode::QueryDataVersion => self.query_data_version(request),
            RequestCode::BrokerHeartbeat => self.broker_heartbeat(request),
            RequestCode::GetBrokerMemberGroup => self.broker_member_group(request),
            // Tools.
            RequestCode::GetBrokerCluster => self.clusters(),
            RequestCode::PutKvConfig => self.put_kv(request),
            RequestCode::GetKvConfig => self.kv(request),
            RequestCode::DeleteKvConfig => self.delete_kv(request),
            RequestCode::GetKvListByNamespace => self.kv_namespace(request),
            RequestCode::WipeWritePermOfBroker => self.wipe_write_perm(request),
            RequestCode::AddWritePermOfBroker => self.add_write_perm(request),
            RequestCode::GetAllTopicList => self.all_topics(),
            RequestCode::GetTopicsByCluster => self.topics_of_cluster(request),
            RequestCode::GetSystemTopicListFromNameServer => self.system_topics(),
            RequestCode::GetUnitTopicList => self.unit_topics(|unit, _| unit),
            RequestCode::GetHasUnitSubTopicList => self.unit_topics(|_, subscribed| subscribed),
            RequestCode::GetHasUnitSubUnunitTopicList => {
                self.unit_topics(|unit, subscribed| subscribed && !unit)
            }
            RequestCode::DeleteTopicInNameServer => self.delete_topic(request),
            RequestCode::RegisterTopicInNameServer => self.register_topic(request),
            RequestCode::UpdateNameServerConfig => self.update_settings(request),
            RequestCode::GetNameServerConfig => self.settings(),
            _ => unknown(),
        }
    }
}
