//! Planted bugs of internal moves: each is one plausible mistake, at the place where it would be made.
//!
//! As in `ringmq_engine::planted`: a campaign plants one and must catch it. Without the feature `planted-bugs` every question here
//! is the constant `false`.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MoveBug {
    /// A waiting message is delivered in one batch, and its fact deleted in the next.
    DeletedAfterwards,
    /// A waiting message's fact is deleted in one batch, and the message delivered in the next.
    DeletedBefore,
    /// A message is delivered as soon as it is in the window.
    DeliveredEarly,
    /// A message that begins to wait inside of the window is not taken in.
    WindowNotNoted,
    /// A record that was read ahead counts as delivered.
    ForgottenOnceRead,
}

impl MoveBug {
    /// All of them.
    pub const ALL: [MoveBug; 5] = [
        MoveBug::DeletedAfterwards,
        MoveBug::DeletedBefore,
        MoveBug::DeliveredEarly,
        MoveBug::WindowNotNoted,
        MoveBug::ForgottenOnceRead,
    ];
}

#[cfg(feature = "planted-bugs")]
mod planted_now {
    use super::MoveBug;
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<Option<MoveBug>> = const { Cell::new(None) };
    }

    /// Plants a bug on this thread, or takes it away.
    pub fn plant(bug: Option<MoveBug>) {
        NOW.set(bug);
    }

    /// Whether this bug is planted on this thread.
    pub fn is(bug: MoveBug) -> bool {
        NOW.get() == Some(bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub use planted_now::{is, plant};

/// Whether this bug is planted: never, in this build.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn is(_bug: MoveBug) -> bool {
    false
}
