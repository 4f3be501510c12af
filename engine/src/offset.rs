//! A type for each kind of offset, so that mixing two is a compile error.

/// Byte position in a shard's commit log, over all its segments. (RocketMQ: phyOffset)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysicalOffset(pub u64);

/// Entry number in a queue. (RocketMQ: queueOffset, logicOffset)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct QueueOffset(pub u64);
