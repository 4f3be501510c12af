//! Every bound of the store, its unit, its reason, and what happens at it.

use crate::env::BLOCK_BYTES;
use crate::log::frame::HEADER_BYTES;
use std::time::Duration;

/// Smallest segment: tiny ones put every edge near in tests. A smaller one is refused at open.
pub const SEGMENT_BYTES_MIN: u64 = 16 * 1024;
/// Largest segment. A larger one is refused at open.
pub const SEGMENT_BYTES_MAX: u64 = 4 << 30;

/// A batch with its directory, at most; and at most what one segment holds. Beyond: `TooLarge`.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Items (records and fact changes) of one frame; a frame that is full is closed and the next one opened.
pub const FRAME_ITEMS_MAX: usize = 1 << 20;
/// Memory of a frame being filled: twice the last frame, within these two; more when one batch needs it.
pub const FRAME_BUFFER_BYTES_MIN: usize = 16 * 1024;
/// See [`FRAME_BUFFER_BYTES_MIN`].
pub const FRAME_BUFFER_BYTES_MAX: usize = 1 << 20;

/// A fact's key. Beyond: `TooLarge`.
pub const FACT_KEY_BYTES_MAX: usize = 1024;
/// A fact's value. Beyond: `TooLarge`.
pub const FACT_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Live facts of a store. Beyond: `TooManyFacts`.
pub const FACTS_MAX: usize = 1 << 24;

/// One read of recovery; longer frames are read in several.
pub const READ_BYTES_MAX: usize = 1 << 20;
/// One cold read for consumers; what is longer is read in several, all at once.
pub const COLD_READ_BYTES_MAX: usize = 512 * 1024;
/// Cold reads with the disk at a time. With that many of [`COLD_READ_BYTES_MAX`] a disk is as fast as with more, and answers
/// sooner.
pub const COLD_READS_AT_ONCE: usize = 4;
/// After the end of the log, a start looks for whole frames this far: twice the longest frame.
pub const SEARCH_BYTES: u64 = 2 * BATCH_BYTES_MAX as u64;
/// And so far at each of a few places beyond.
pub const SEARCH_PROBE_BYTES: u64 = 1 << 20;
/// Cold records nearer to each other than this come with one read.
pub const READ_GAP_BYTES_MAX: u64 = 64 * 1024;
/// Read ahead of one consumer that goes on, at most. With half of it, a consumer waited for the disk whenever the machine
/// hesitated for a millisecond.
pub const READ_WINDOW_BYTES_MAX: u64 = 8 << 20;
/// A log that gave nothing to the disk for so long has no producers that cold reads could disturb.
pub const WRITERS_QUIET_AFTER: Duration = Duration::from_millis(20);
/// Longest pause between two cold reads while producers write, however slow the disk is.
pub const READ_PAUSE_MAX: Duration = Duration::from_millis(20);
/// Of a sidecar that readers are about to go through, so much is asked of the disk ahead of them.
pub const SIDECAR_ANNOUNCED_BYTES_MAX: u64 = 32 << 20;
/// Segment files held open. Beyond: the oldest that nobody uses is closed.
pub const SEGMENT_FILES_OPEN_MAX: usize = 256;

/// Zeroed before a new store is opened; the rest of the first segment follows in the background.
pub const FIRST_ZEROED_BYTES: u64 = 1 << 20;
/// Zeros written with one flush while a segment is prepared and enough is prepared ahead.
pub const PREPARE_CHUNK_BYTES: u64 = 1 << 20;
/// The same while the writer is catching up: every flush of a growing file costs the file system a commit of its own, so
/// fewer and larger ones prepare several times faster.
pub const PREPARE_HURRIED_CHUNK_BYTES: u64 = 4 << 20;
/// Zeros in one write. A write that lets a file grow locks the others out of it, and occupies the disk: with all of a hurried
/// chunk in one, frames waited for it, and senders had twelve percent less.
pub const PREPARE_WRITE_BYTES: u64 = 512 * 1024;
/// While less than this is prepared ahead of the writer, preparing does not pause.
pub const PREPARED_AHEAD_BYTES_MIN: u64 = 64 << 20;
/// Pause between two chunks once enough is prepared: about 50 MiB/s, so that senders do not feel it.
pub const PREPARE_PAUSE: Duration = Duration::from_millis(20);
/// Preparing starts this long after the open, so that a start is not slowed by it, or as soon as the writer wants space.
pub const PREPARE_START_DELAY: Duration = Duration::from_millis(200);
/// Between two attempts to prepare while the disk is full.
pub const DISK_FULL_RETRY_DELAY: Duration = Duration::from_millis(250);
/// Of a segment, at most kept for fact changes while the disk is full: one part in this many.
pub const RESERVE_PART_MAX: u64 = 2;
/// Files of retired segments kept to be used again; more are removed.
pub const SPARE_SEGMENTS_MAX: usize = 1;
/// Between two looks at the disk's space.
pub const SPACE_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The same while there is little.
pub const SPACE_LOOK_INTERVAL_LOW: Duration = Duration::from_millis(250);

/// Pointing facts that one step of looking for records to carry forward looks at; in between, others run.
pub const CARRY_STEP_FACTS: usize = 1024;
/// Records carried forward by one batch. The next one waits until it is durable.
pub const CARRY_STEP_RECORDS: usize = 32;
/// Their bytes; one record may exceed it.
pub const CARRY_STEP_BYTES: usize = 256 * 1024;
/// After a record that is to be carried forward could not be read, until it is tried again; its segment stays.
pub const CARRY_RETRY_DELAY: Duration = Duration::from_secs(60);

/// Sidecars from the newest base on, at most: then a new base is written. A look-up of a fact goes through as many.
pub const SIDECARS_SINCE_BASE_MAX: usize = 16;
/// A base of at most this part of a segment is written with every sidecar: then a look-up of a fact goes through one.
pub const SIDECAR_BASE_FREE_PART: u64 = 1024;
/// Rows that one step of making a sidecar takes; in between, others run.
pub const SIDECAR_STEP_ROWS: usize = 1024;
/// Bytes of a sidecar written, or checked, at once.
pub const SIDECAR_CHUNK_BYTES: usize = 128 * 1024;
/// After a sidecar could not be written, until it is tried again; what it would hold stays in memory.
pub const SIDECAR_RETRY_DELAY: Duration = Duration::from_secs(2);
/// Sealed segments without a sidecar that a start replays; of older ones it makes the sidecars first.
pub const SEALED_REPLAYED_MAX: u64 = 2;

/// Of a record, at most one key per so many of its bytes is looked up, and its unique key: so what keys take of memory and of
/// a sidecar is a quarter of the segment at most. Those beyond are not found.
pub const BYTES_PER_KEY: u32 = 32;
/// Candidates that one look-up of a key returns, at most; it goes on with the next one.
pub const FOUND_BY_KEY_MAX: usize = 1024;
/// Keys in memory that one look-up goes through, about 0.1 ms; it goes on with the next one.
pub const KEY_ROWS_SEARCHED_MAX: usize = 1 << 16;
/// Segments that one look-up goes through: a page or two of each may have to come from the disk. It goes on with the next one.
pub const KEY_SEGMENTS_SEARCHED_MAX: usize = 16;

/// A lazy batch that found no urgent one to ride with goes after this; an idle log notes its watermark after it.
pub const LAZY_DELAY: Duration = Duration::from_secs(1);
/// Under `answer_before_flush`: between two flushes.
pub const ASYNC_FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// Attempts to lock the folder: a process that died a moment ago may still hold it through the ring.
pub const LOCK_ATTEMPTS: usize = 5;
/// Between two attempts.
pub const LOCK_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The flush probe ends after this.
pub const PROBE_TIME_MAX: Duration = Duration::from_millis(40);
/// Or after this many flushes, each way.
pub const PROBE_FLUSHES_MAX: usize = 64;

const _: () = {
    assert!(SEGMENT_BYTES_MIN.is_multiple_of(BLOCK_BYTES as u64));
    // The smallest segment holds one frame, its seal, and the opening frame of a next start.
    assert!(SEGMENT_BYTES_MIN >= 4 * BLOCK_BYTES as u64);
    assert!(
        FRAME_BUFFER_BYTES_MIN.is_multiple_of(BLOCK_BYTES)
            && FRAME_BUFFER_BYTES_MAX.is_multiple_of(BLOCK_BYTES)
    );
    assert!(FRAME_BUFFER_BYTES_MIN <= FRAME_BUFFER_BYTES_MAX && FRAME_BUFFER_BYTES_MAX <= BATCH_BYTES_MAX);
    assert!(
        PREPARE_CHUNK_BYTES.is_multiple_of(BLOCK_BYTES as u64)
            && PREPARE_CHUNK_BYTES <= READ_BYTES_MAX as u64
            && PREPARE_HURRIED_CHUNK_BYTES.is_multiple_of(PREPARE_CHUNK_BYTES)
            && PREPARE_HURRIED_CHUNK_BYTES < PREPARED_AHEAD_BYTES_MIN
    );
    assert!(FIRST_ZEROED_BYTES.is_multiple_of(BLOCK_BYTES as u64));
    assert!(READ_BYTES_MAX.is_multiple_of(BLOCK_BYTES) && COLD_READ_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
    assert!(HEADER_BYTES < BLOCK_BYTES);
    // A record's rows of eight bytes take at most a quarter of it.
    assert!(BYTES_PER_KEY >= 4 * 8);
    assert!(SIDECAR_CHUNK_BYTES.is_multiple_of(BLOCK_BYTES));
    // Positions in a segment are u32 in a sidecar.
    assert!(SEGMENT_BYTES_MAX <= 1 << 32);
    assert!(FACT_KEY_BYTES_MAX <= u16::MAX as usize);
};
