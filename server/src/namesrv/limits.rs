//! Bounds of a name server. What comes beyond one is refused with code 1 and a remark that names it.

use std::time::Duration;

/// Broker addresses registered at once.
pub const BROKERS_MAX: usize = 10_000;
/// Pairs of a topic and a broker that has it; about 100 bytes each.
pub const TOPIC_PLACES_MAX: usize = 2_000_000;
/// Bytes of any name that a broker registers: cluster, broker, address, topic.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes that a compressed registration may unfold to: four of the largest wire frames.
pub const REGISTER_BODY_BYTES_MAX: usize = 64 << 20;

/// Entries of the KV table.
pub const KV_ENTRIES_MAX: usize = 100_000;
/// Bytes of one key and its value.
pub const KV_ENTRY_BYTES_MAX: usize = 64 << 10;

/// How often silent brokers are looked for (`scanNotActiveBrokerInterval`).
pub const SCAN_EVERY: Duration = Duration::from_secs(5);
/// Longest silence that a broker may ask to be forgiven.
pub const BROKER_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
