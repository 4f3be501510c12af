//! Planted bugs: each is one plausible mistake, at the place where it would be made.
//!
//! A test campaign plants one and must catch it; that is how the tests are tested. Without the feature
//! `planted-bugs` every question here is the constant `false`.
//!
//! A stale frame is refused by its epoch *and* by the chain, so a mistake in one hides behind the other:
//! [`Bug::FreshnessIgnored`] and [`Bug::EpochReused`] take away both.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A frame is written and never flushed.
    FlushDropped,
    /// A frame counts as durable once written; the flush comes after.
    AnswerBeforeFlush,
    /// Recovery takes any whole frame at the right place, whatever its epoch and predecessor.
    FreshnessIgnored,
    /// A restart goes on in the epoch of the last one, and only the epoch is trusted.
    EpochReused,
    /// Recovery cuts the last whole frame together with the torn one.
    TornTailCutsOneTooMany,
    /// The first frame after a restart begins on the last block of the frame before.
    AcknowledgedBlockRewritten,
    /// A new segment's name is not made durable.
    FolderSyncForgotten,
    /// A frame's completion acknowledges all before it.
    AcknowledgedOutOfOrder,
    /// Recovery does not check the payload.
    RecoveryCrcSkipped,
    /// Recovery applies the good items of a torn frame.
    HalfBatchApplied,
    /// Recovery does not count a record into its queue's end.
    QueueEndForgotten,
    /// Recovery does not apply deletes of facts.
    FactDeletesLost,
    /// Recovery does not learn which keys records have.
    KeysNotReplayed,
    /// Records are found by key when accepted.
    KeyFoundBeforeDurable,
    /// Frames claim the end of what is accepted as durable.
    WatermarkAhead,
    /// After a failed write the log goes on as if it had succeeded.
    PoisonIgnored,
    /// Records are shown to consumers when accepted.
    VisibleBeforeDurable,
    /// Recovery takes damage below the watermark for a torn tail.
    CorruptionCut,
    /// A cold read's records are not checked.
    ColdCrcSkipped,
    /// A record that goes on in a second read is continued with bytes of the first.
    SharedReadMisplaced,
    /// The memory of a cold read is never given back.
    ColdMemoryKept,
    /// Reading ahead does not stop where the log may still change.
    ReadAheadPastDurable,
    /// Recovery takes any whole frame, wherever it says that it belongs: also one of a file's earlier life.
    PlaceIgnored,
    /// A recycled file is written before its new name is durable.
    RecycledNameUnsynced,
    /// A segment retires while somebody reads it.
    RetiredWhileRead,
    /// A queue begins one record too late after a segment retired.
    MinimumOffByOne,
    /// A segment retires although facts point to records in it.
    CarryForgotten,
    /// A record is carried forward, and the fact stays where it was.
    CarriedWithoutFact,
    /// A segment retires before what was carried out of it is durable.
    CarryNotAwaited,
    /// A segment retires before it is durable that the fact that pointed there is deleted.
    DeletionNotAwaited,
    /// A sidecar gets its name before it is flushed.
    SidecarRenamedUnsynced,
    /// A new base has only what its own segment changed.
    SidecarBaseDropped,
    /// A sidecar's entries begin one byte after their records.
    SidecarEntryOffByOne,
    /// A look-up in a sidecar's keys begins one row too early.
    SidecarKeySkipped,
    /// A sidecar's pages are not checked.
    SidecarChecksumIgnored,
    /// A sidecar is believed whatever frame ends its segment.
    SidecarSealIgnored,
    /// Deleted facts are left out of a sidecar's changes.
    SidecarDeletesLost,
    /// Of several sources that have a key, the oldest counts.
    SidecarOldestWins,
    /// A sidecar does not say where its queues occurred before.
    SidecarPreviousLost,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 39] = [
        Bug::FlushDropped,
        Bug::AnswerBeforeFlush,
        Bug::FreshnessIgnored,
        Bug::EpochReused,
        Bug::TornTailCutsOneTooMany,
        Bug::AcknowledgedBlockRewritten,
        Bug::FolderSyncForgotten,
        Bug::AcknowledgedOutOfOrder,
        Bug::RecoveryCrcSkipped,
        Bug::HalfBatchApplied,
        Bug::QueueEndForgotten,
        Bug::FactDeletesLost,
        Bug::KeysNotReplayed,
        Bug::KeyFoundBeforeDurable,
        Bug::WatermarkAhead,
        Bug::PoisonIgnored,
        Bug::VisibleBeforeDurable,
        Bug::CorruptionCut,
        Bug::ColdCrcSkipped,
        Bug::SharedReadMisplaced,
        Bug::ColdMemoryKept,
        Bug::ReadAheadPastDurable,
        Bug::PlaceIgnored,
        Bug::RecycledNameUnsynced,
        Bug::RetiredWhileRead,
        Bug::MinimumOffByOne,
        Bug::CarryForgotten,
        Bug::CarriedWithoutFact,
        Bug::CarryNotAwaited,
        Bug::DeletionNotAwaited,
        Bug::SidecarRenamedUnsynced,
        Bug::SidecarBaseDropped,
        Bug::SidecarEntryOffByOne,
        Bug::SidecarKeySkipped,
        Bug::SidecarChecksumIgnored,
        Bug::SidecarSealIgnored,
        Bug::SidecarDeletesLost,
        Bug::SidecarOldestWins,
        Bug::SidecarPreviousLost,
    ];
}

#[cfg(feature = "planted-bugs")]
mod planted_now {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug on this thread, or takes it away.
    pub fn plant(bug: Option<Bug>) {
        NOW.set(bug);
    }

    /// Whether this bug is planted on this thread.
    pub fn is(bug: Bug) -> bool {
        NOW.get() == Some(bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub use planted_now::{is, plant};

/// Whether this bug is planted: never, in this build.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}
