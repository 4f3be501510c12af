//! Every bound of the client, with its unit, its reason, and what happens at it.

use std::time::Duration;

/// Most calls of one connection that may await answers; one more waits. Their numbers have 16 bits.
pub const CALLS_PER_CONNECTION_MAX: usize = 65_536;

/// Bytes that may be on their way to brokers and not yet answered, of one client, unless it is told otherwise; a send
/// beyond waits for room until its deadline. Twice the largest message a broker takes fits 8 times.
pub const BYTES_IN_FLIGHT_MAX: usize = 64 * 1024 * 1024;

/// Bytes of messages that one consumer holds and that are not consumed, unless it is told otherwise; pulling pauses.
pub const BYTES_UNCONSUMED_MAX: usize = 64 * 1024 * 1024;

/// Messages of one queue that are not consumed; pulling that queue pauses. (RocketMQ: `pullThresholdForQueue`)
pub const MESSAGES_UNCONSUMED_PER_QUEUE_MAX: usize = 1000;

/// Offsets of one queue between the first and the last that is not consumed; pulling that queue pauses, so that one
/// slow message does not make a restart deliver everything behind it again. (RocketMQ: `consumeConcurrentlyMaxSpan`)
pub const OFFSETS_UNCONSUMED_PER_QUEUE_MAX: i64 = 2000;

/// Messages asked for by one pull. (RocketMQ: `pullBatchSize` 32; brokers give at most this many.)
pub const MESSAGES_PER_PULL: i32 = 32;

/// Largest body after compression that is sent; larger ones are refused here. (RocketMQ: `maxMessageSize`)
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest body after decompression: what a broker takes, sixteenfold. A larger one is delivered compressed.
pub const BODY_BYTES_UNPACKED_MAX: usize = 64 * 1024 * 1024;

/// Bodies larger than this are compressed, unless the producer is told otherwise. (RocketMQ: `compressMsgBodyOverHowmuch`)
pub const COMPRESS_ABOVE_BYTES: usize = 4096;

/// Bytes read from a socket at a time.
pub const READ_BYTES: usize = 128 * 1024;

/// Calls are looked at for their deadlines so often: a call may end so much late.
pub const DEADLINE_GRAIN: Duration = Duration::from_millis(50);

/// Routes are asked for again, and heartbeats sent, so often. (RocketMQ: `pollNameServerInterval`,
/// `heartbeatBrokerInterval`) Servers drop what is silent for 120 s.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);

/// Connecting to one address may take so long. (RocketMQ: `com.rocketmq.remoting.client.connect.timeout`)
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// Topics whose routes one client keeps; the one asked for longest ago is forgotten for one more.
pub const TOPICS_KNOWN_MAX: usize = 65_536;

const _: () = assert!(BODY_BYTES_MAX <= ringmq_wire::record::BODY_BYTES_MAX);
const _: () = assert!(2 * BODY_BYTES_MAX <= BYTES_IN_FLIGHT_MAX);
const _: () = assert!(HEARTBEAT_EVERY.as_secs() * 3 < 120);
