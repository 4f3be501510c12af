//! Every bound of a shard's broker: its number, its unit, its reason, and what happens at it.
//!
//! The error that a client sees at a bound names the thing and the remedy; the texts are made in `reply.rs`.
//! A bound on bytes of one request is the frame's (`ringmq_wire::frame::FRAME_BYTES_MAX`).

use std::time::Duration;

/// Topics of one shard. At the bound: a new topic is refused. A topic costs about 200 bytes and one fact.
pub const TOPICS_MAX: usize = 100_000;
/// Body of one answer that is a table. Beyond: the table is refused, and its pages are not.
pub const TABLE_BYTES_MAX: usize = ringmq_wire::frame::FRAME_BYTES_MAX - 64 * 1024;
/// Queues of one topic, read or write. At the bound: the definition is refused.
/// Apache's own `BenchmarkTest` has 1,024.
pub const QUEUES_PER_TOPIC_MAX: u32 = 4_096;
/// Consumer groups of one shard. At the bound: a new group is refused.
pub const GROUPS_MAX: usize = 20_000;
/// Producer groups that have a connection. At the bound: a heartbeat is refused.
pub const PRODUCER_GROUPS_MAX: usize = 20_000;
/// Members of one consumer group. At the bound: the heartbeat of a new member is refused.
/// Every member learns of every change, so a group costs its members squared when all join at once.
pub const MEMBERS_PER_GROUP_MAX: usize = 4_096;
/// Producers of one group: every connection of a shard may be one. Each Java client, consumers too, is in the group
/// `CLIENT_INNER_PRODUCER`.
pub const PRODUCERS_PER_GROUP_MAX: usize = ringmq_conn::limits::CONNECTIONS_MAX;
/// Topics that one group subscribes to. At the bound: the heartbeat is refused.
pub const SUBSCRIPTIONS_PER_GROUP_MAX: usize = 512;
/// Groups, of producers and consumers together, that one connection is in. At the bound: the heartbeat is refused.
pub const GROUPS_PER_SESSION_MAX: usize = 1_024;
/// Bytes of a client id. At the bound: the heartbeat is refused.
pub const CLIENT_ID_BYTES_MAX: usize = 512;
/// Queue locks of one group. At the bound: a lock is not granted; the client tries again.
pub const LOCKS_PER_GROUP_MAX: usize = 16_384;
/// Queues named in one lock request. At the bound: the request is refused.
pub const QUEUES_PER_LOCK_MAX: usize = QUEUES_PER_TOPIC_MAX as usize;
/// Definitions in one list of topics or groups. At the bound: the list is refused.
pub const DEFINITIONS_PER_LIST_MAX: usize = 1_000;

/// Bytes of a message's body, and of a whole batch (`maxMessageSize`). At the bound: refused as illegal.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a record's properties; the record has 15 bits for them. At the bound: refused as illegal.
pub const PROPERTIES_BYTES_MAX: usize = 32_767;
/// Messages of one batch. At the bound: refused as illegal.
pub const MESSAGES_PER_BATCH_MAX: usize = 65_536;

/// Records in one pull answer (`maxTransferCountOnMessageInMemory`). At the bound: the answer ends.
pub const PULL_RECORDS_MAX: usize = 32;
/// Bytes in one pull answer (`maxTransferBytesOnMessageInMemory`). At the bound: the answer ends, but
/// never before the first record.
pub const PULL_BYTES_MAX: usize = 256 * 1024;
/// Entries that one pull examines. At the bound: the answer ends; without a match it is
/// `PULL_RETRY_IMMEDIATELY` with an offset that has moved on.
pub const PULL_ENTRIES_MAX: usize = 800;

/// Records in the answer to a query by key (`maxMsgsNumBatch`). At the bound: the newest are given.
pub const QUERY_RECORDS_MAX: usize = 64;
/// Records in the answer to a query by unique key (`defaultQueryMaxNum`), whatever it asks for.
pub const UNIQUE_QUERY_RECORDS_MAX: usize = 32;
/// Bytes in the answer to a query by key. At the bound: the older ones are left out, but never the newest.
pub const QUERY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of records that one step of a handler has read for it. At the bound: the rest is for its next step, but never the
/// first record.
pub const INSPECTED_BYTES_MAX: usize = PULL_BYTES_MAX;

/// Bytes that the operations of a condition look at for one pull: some ten milliseconds. At the bound: the answer ends, but
/// never before the first record.
pub const CONDITION_COST_MAX: usize = 64 * 1024 * 1024;

/// Parked pulls at one queue. At the bound: the pull is refused as busy, which every client repeats after
/// some seconds; a "nothing new" at once would make it come back at once.
pub const PARKED_PER_QUEUE_MAX: usize = 4_096;
/// Parked pulls of one shard. At the bound: as for a queue.
pub const PARKED_MAX: usize = 262_144;
/// Longest that a pull stays parked, whatever it asks for: well inside the idle limit of its connection.
pub const PARK_MAX: Duration = Duration::from_secs(60);

/// Delay levels: they are one byte of a key. More are refused at the start.
pub const DELAY_LEVELS_MAX: usize = 64;
/// Furthest that the horizon of timers may be set.
pub const TIMER_HORIZON_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Waits of a group's customized retry policy. More are refused.
pub const RETRY_WAITS_MAX: usize = 64;
/// What a timer's properties grow by when it is delivered, at most. A message whose properties leave less is refused.
pub const WAITED_PROPERTIES_BYTES: usize = 80;
/// So far ahead of the clock, the records of waiting messages are taken into memory.
pub const NEAR_AHEAD: Duration = Duration::from_secs(4);
/// Waiting messages in memory, about 100 bytes each and their records. At the bound: the later ones are looked at later.
pub const NEAR_MESSAGES_MAX: usize = 131_072;
/// Their records. At the bound: as for messages.
pub const NEAR_BYTES_MAX: usize = 32 << 20;
/// Looks at the facts of waiting messages by one turn of the clock, each at so many of them; more follow at once.
pub const LOOKS_PER_TURN: usize = 4;
/// See [`LOOKS_PER_TURN`].
pub const LOOK_FACTS_MAX: usize = 1_024;
/// Records that one read ahead brings.
pub const READ_AHEAD_MESSAGES_MAX: usize = 4_096;
/// Reads ahead under way.
pub const READS_AHEAD_MAX: usize = 2;
/// Between two turns while there are records to be read ahead.
pub const READ_AHEAD_STEP: Duration = Duration::from_millis(20);
/// Messages delivered by one turn of the clock, in one batch; more follow at once.
pub const MOVES_PER_TURN: usize = 512;
/// Their records; one may exceed it.
pub const MOVE_BYTES_MAX: usize = 1 << 20;
/// After the store refused a move (the disk is full, or behind), until it is tried again.
pub const MOVE_REFUSED_DELAY: Duration = Duration::from_millis(100);
/// After a record could not be read, until it is tried again.
pub const UNREADABLE_DELAY: Duration = Duration::from_secs(30);

/// A member, or a producer, that sent no heartbeat for so long is forgotten and its connection closed
/// (`channelExpiredTimeout`).
pub const MEMBER_EXPIRY: Duration = Duration::from_secs(120);
/// A connection that sent nothing for so long is closed (`serverChannelMaxIdleTimeSeconds`).
pub const IDLE_MAX: Duration = Duration::from_secs(120);
/// A queue lock that was not renewed for so long is free (`rocketmq.broker.rebalance.lockMaxLiveTime`).
pub const LOCK_EXPIRY: Duration = Duration::from_secs(60);
/// How often members, connections and locks are looked at for expiry.
pub const SCAN_EVERY: Duration = Duration::from_secs(10);

const _: () = assert!(PULL_RECORDS_MAX <= PULL_ENTRIES_MAX, "a full answer needs that many entries");
const _: () = assert!(DELAY_LEVELS_MAX <= u8::MAX as usize, "a level is one byte of a key");
const _: () = assert!(PARKED_PER_QUEUE_MAX <= PARKED_MAX, "one queue cannot park more than the shard");
const _: () =
    assert!(PARK_MAX.as_secs() < IDLE_MAX.as_secs(), "a parked pull must not outlive its connection");
