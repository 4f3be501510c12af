//! The shard loop and its start-up.
