//! What the settings mean to each part: the store, the ring, the broker, the name server.
//!
//! The only place that knows both the settings' words and the parts' own.

use std::net::SocketAddr;

use ringmq_conn::limits::{Bounds, CONNECTIONS_MAX};
use ringmq_conn::ring::RingConfig;
use ringmq_engine::retention::Retention;
use ringmq_engine::space::SpaceLimits;
use ringmq_engine::store::{FlushHow, StoreOptions};

use crate::broker::identity::{self, Administration, Identity};
use crate::broker::waiting::rule::Waits;
use crate::config::Settings;
use crate::config::value::{ByteSize, Flush, FlushMethod};

/// How a shard's store is opened.
pub fn store(settings: &Settings) -> StoreOptions {
    let log = &settings.log;
    StoreOptions {
        segment_bytes: log.segment_bytes.0,
        writes_in_flight_max: log.writes_in_flight,
        tail_cache_bytes: bytes(log.tail_cache),
        cold_bytes_max: bytes(log.cold_reads),
        appended_bytes_max: bytes(log.unflushed_bytes_max),
        flush: match log.flush_method {
            FlushMethod::Probe => FlushHow::Probe,
            FlushMethod::Fdatasync => FlushHow::Fdatasync,
            FlushMethod::Dsync => FlushHow::Dsync,
        },
        answer_before_flush: log.flush == Flush::Async,
        space: SpaceLimits {
            warn_percent: settings.disk.warn_percent,
            refuse_percent: settings.disk.refuse_percent,
            reserve_bytes: settings.disk.reserve.0,
        },
        retention: retention(settings),
    }
}

/// The shards of a node share its part of the disk.
fn retention(settings: &Settings) -> Retention {
    let kept = &settings.retention;
    let shards = u32::try_from(settings.shards().max(1)).unwrap_or(u32::MAX);
    Retention {
        age: Some(kept.age),
        bytes_max: (kept.bytes.0 > 0).then_some(kept.bytes.0),
        disk_millionths_max: (kept.disk_percent < 100)
            .then(|| u32::from(kept.disk_percent) * 10_000 / shards),
    }
}

/// How large a ring is.
pub fn ring(settings: &Settings) -> RingConfig {
    let connections_max = settings.limits.connections.min(CONNECTIONS_MAX);
    RingConfig { bounds: Bounds { connections_max, ..Bounds::default() }, ..RingConfig::default() }
}

/// Who one shard is to the outside. `nonce` differs on every start.
pub fn identity(settings: &Settings, shard: usize, store_host: SocketAddr, nonce: u32) -> Identity {
    Identity {
        cluster: settings.server.cluster.clone(),
        broker_name: settings.broker_name(shard),
        store_host,
        region: "DefaultRegion".to_owned(),
        version: format!("RingMQ {}", env!("CARGO_PKG_VERSION")),
        nonce,
    }
}

/// What the operator chose for one shard's broker. Only the first shards of a node offer to create topics, so that
/// clients of a small topic keep few connections.
pub fn broker(settings: &Settings, shard: usize) -> identity::Settings {
    identity::Settings {
        auto_create_topic: settings.topics.auto_create && shard < settings.topics.auto_create_shards,
        auto_create_group: settings.groups.auto_create,
        default_topic_queues: settings.topics.default_queues,
        property_filter: settings.groups.property_filter,
        trace_on: true,
        administration: Administration::Anyone,
        waits: Waits {
            levels: settings.delay.levels.clone(),
            horizon_ms: i64::try_from(settings.delay.timer_horizon.as_millis()).unwrap_or(i64::MAX),
            recall: settings.delay.recall,
        },
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
