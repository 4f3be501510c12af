//! Every bound of this crate, with its unit, its reason and what happens at it.
//!
//! The values are defaults where [`Bounds`] or [`crate::ring::RingConfig`] has a field of the same name,
//! so that tests can bring an edge near; the relations below hold for the defaults.

use ringmq_wire::frame::FRAME_BYTES_MAX;
use std::time::Duration;

/// Submissions that fit before the kernel must be entered. At the bound: it is entered once more.
pub const SUBMISSIONS: u32 = 1024;

/// Completions that fit before the kernel keeps the rest aside. At the bound: it is entered again until
/// nothing is left aside; nothing is lost (`IORING_FEAT_NODROP`).
pub const COMPLETIONS: u32 = 8192;

/// Receive buffers of one ring, shared by all its connections: an idle connection holds none. At the
/// bound: receives end (`ENOBUFS`) and are started again when the buffers of the turn are back.
pub const RECV_BUFFERS: u16 = 512;

/// Bytes of one receive buffer. A larger frame arrives in several.
pub const RECV_BUFFER_BYTES: u32 = 16 * 1024;

/// Times that one turn enters the kernel, which runs about twenty completions' work per entry. At the
/// bound: the turn ends and the next one goes on, so that the owner's other work is not starved.
pub const ROUNDS_PER_TURN_MAX: u32 = 8;

/// Connections of one network, including those that are just ending. At the bound: a new one is accepted
/// and closed at once, and counted, so that the client sees a refusal and not a silence.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Connections that the kernel holds for us before they are accepted (`listen(2)`); it clamps the number.
pub const LISTEN_BACKLOG: i32 = 1024;

/// Unsent bytes above which a connection is not read from until everything has been sent. A mark below
/// the size of one answer would stop the pipelining of large pulls; one far above it only costs memory.
pub const UNSENT_BYTES_MARK: usize = 1024 * 1024;

/// Unsent bytes of one connection. At the bound: it is closed as a slow reader. What a single receive
/// buffer full of pulls asks for must fit above the mark, since it is answered without reading more.
pub const UNSENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Unsent bytes of all connections together. At the bound: whoever queues while above its own mark is
/// closed as a slow reader; those who keep up are not touched.
pub const UNSENT_BYTES_TOTAL_MAX: usize = 512 * 1024 * 1024;

/// Longest time in which the kernel takes no byte of a connection's answers. At the bound: it is closed
/// as a slow reader.
pub const SLOW_READER_MAX: Duration = Duration::from_secs(30);

/// Longest life after the peer's half-close. At the bound: it is closed, whatever is still owed.
pub const HALF_CLOSED_MAX: Duration = Duration::from_secs(30);

/// Longest time that a connection closed from here is still read from, and what comes thrown away: closed
/// with bytes unread it would be reset, and a reset can overtake the last answers. At the bound: so be it.
pub const LINGER_MAX: Duration = Duration::from_secs(2);

/// Pause after an accept that failed for want of descriptors or memory: such a failure repeats at once
/// for as long as its cause lasts.
pub const ACCEPT_BACK_OFF: Duration = Duration::from_millis(20);

/// Parts (runs of bytes, slices) of one send; the kernel's limit is 1,024 (`UIO_MAXIOV`). At the bound:
/// the rest goes with the next send.
pub const PARTS_PER_SEND_MAX: usize = 1000;

/// Answers are copied behind one another up to this many bytes; beyond, buffers are chained uncopied.
pub const JOINED_BYTES_MAX: usize = 64 * 1024;

/// Emptied send buffers that one connection's backlog keeps for its next answers.
pub const SPARE_BUFFERS_MAX: usize = 8;

/// Capacity above which an emptied buffer is freed and not kept.
pub const SPARE_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Bytes held by backlogs that no connection is using. At the bound: a backlog that falls idle is freed.
pub const IDLE_BACKLOG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What an idle connection may cost here (the kernel's socket comes on top).
pub const IDLE_CONNECTION_BYTES_MAX: usize = 1024;

/// Capacity above which a split frame's buffer is freed once the frame is complete. Small requests are
/// then split without an allocation, and an idle connection stays within its budget.
pub const TAIL_KEPT_BYTES_MAX: usize = 512;

/// The bounds that both networks keep, and that tests bring near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`UNSENT_BYTES_MARK`].
    pub unsent_bytes_mark: usize,
    /// See [`UNSENT_BYTES_MAX`].
    pub unsent_bytes_max: usize,
    /// See [`UNSENT_BYTES_TOTAL_MAX`].
    pub unsent_bytes_total_max: usize,
    /// See [`SLOW_READER_MAX`].
    pub slow_reader_max: Duration,
    /// See [`HALF_CLOSED_MAX`].
    pub half_closed_max: Duration,
    /// See [`LINGER_MAX`].
    pub linger_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connections_max: CONNECTIONS_MAX,
            unsent_bytes_mark: UNSENT_BYTES_MARK,
            unsent_bytes_max: UNSENT_BYTES_MAX,
            unsent_bytes_total_max: UNSENT_BYTES_TOTAL_MAX,
            slow_reader_max: SLOW_READER_MAX,
            half_closed_max: HALF_CLOSED_MAX,
            linger_max: LINGER_MAX,
        }
    }
}

const _: () = assert!(RECV_BUFFERS.is_power_of_two(), "the kernel takes powers of two");
const _: () =
    assert!(COMPLETIONS >= 4 * SUBMISSIONS, "multishots complete more often than they are submitted");
const _: () =
    assert!(COMPLETIONS as usize >= RECV_BUFFERS as usize, "every buffer may be filled in one entry");
const _: () = assert!(PARTS_PER_SEND_MAX < 1024, "UIO_MAXIOV");
const _: () = assert!(UNSENT_BYTES_MAX >= UNSENT_BYTES_MARK + 2 * FRAME_BYTES_MAX, "a whole answer fits");
const _: () = assert!(UNSENT_BYTES_TOTAL_MAX >= UNSENT_BYTES_MAX);
const _: () = assert!(JOINED_BYTES_MAX <= SPARE_BUFFER_BYTES_MAX, "what collects answers is worth keeping");
const _: () = assert!(UNSENT_BYTES_MARK < UNSENT_BYTES_MAX);
const _: () = assert!(TAIL_KEPT_BYTES_MAX * 2 <= IDLE_CONNECTION_BYTES_MAX, "the rest is for the slot");
