//! A wake-up within one shard: fired by anyone, waited for by one loop.
//!
//! Level, not edge: a signal fired before the wait ends the wait at once. Firing twice is firing once.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

/// One per waiting loop; shared as an `Rc` within the shard.
#[derive(Debug, Default)]
pub struct Signal {
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// A signal that has not fired.
    pub fn new() -> Signal {
        Signal::default()
    }

    /// Ends the present wait, or the next one.
    pub fn fire(&self) {
        if !self.fired.replace(true) {
            let waker = self.waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Whether it has fired since the last wait ended.
    pub fn is_fired(&self) -> bool {
        self.fired.get()
    }

    /// Takes the signal back without waiting; says whether it had fired.
    pub fn take(&self) -> bool {
        self.fired.replace(false)
    }

    /// Returns once fired, and takes the signal back.
    pub async fn wait(&self) {
        poll_fn(|context| {
            if self.fired.replace(false) {
                Poll::Ready(())
            } else {
                *self.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// What `future` returns, or `None` if this fires first; takes the signal back then.
    pub async fn cut_short<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let (mut future, mut fired) = (pin!(future), pin!(self.wait()));
        poll_fn(|context| match fired.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => future.as_mut().poll(context).map(Some),
        })
        .await
    }
}
