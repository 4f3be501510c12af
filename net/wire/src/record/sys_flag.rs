//! The bits of a record's `sysFlag`.
//!
//! The broker neither compresses nor decompresses: the compression bits are delivered as they came.
//! Source: `common/.../sysflag/MessageSysFlag.java`.

/// The producer compressed the body.
pub const COMPRESSED: i32 = 0x1;
/// The message's topic carries several tags per message.
pub const MULTI_TAGS: i32 = 0x2;
/// A half message: prepared, neither committed nor rolled back.
pub const TRANSACTION_PREPARED: i32 = 0x4;
/// The outcome of a transaction: commit.
pub const TRANSACTION_COMMIT: i32 = 0x8;
/// The outcome of a transaction: roll back.
pub const TRANSACTION_ROLLBACK: i32 = 0xC;
/// Selects the transaction's state; 0 is an ordinary message.
pub const TRANSACTION_MASK: i32 = 0xC;
/// The born host is IPv6.
pub const BORN_HOST_V6: i32 = 0x10;
/// The store host is IPv6.
pub const STORE_HOST_V6: i32 = 0x20;
/// The body is a batch that consumers unwrap.
pub const NEED_UNWRAP: i32 = 0x40;
/// The record is an inner batch.
pub const INNER_BATCH: i32 = 0x80;
/// Selects how the body is compressed; 0 is zlib from before the bits existed.
pub const COMPRESSION_MASK: i32 = 0x700;
/// LZ4 frame.
pub const COMPRESSION_LZ4: i32 = 0x100;
/// Zstandard.
pub const COMPRESSION_ZSTD: i32 = 0x200;
/// zlib.
pub const COMPRESSION_ZLIB: i32 = 0x300;
