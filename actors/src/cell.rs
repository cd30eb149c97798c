//! The place where one value will be: written once, read by many, with those who wait for it.
//!
//! Owns: [`Slot`], its waiters, and [`Signal`], on which a thread sleeps. Does not own: who computes the value
//! ([`crate::task`]), or how a waiting thread gives its CPU back ([`crate::node`]).
//!
//! Protocol. A waiter is registered under the slot's lock, and refused once the list is closed. The writer first sets
//! the value, then closes the list under the same lock and wakes whom it held. So a waiter is either woken or told at
//! once that there is no need to wait; none is forgotten.
//!
//! **Invariant:** a slot is filled at most once, and its list is closed exactly when it is filled.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, OnceLock,
    },
    task::Waker,
    time::Instant,
};

use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use crate::{cluster::objects::AwayObject, data::codec::Parts, error::TaskError, store::StoredObject};

/// Where a value is kept: in memory as it is, or encoded in the object store.
pub enum Stored<T> {
    /// A small value, or one that is cheap to clone.
    Live(T),
    /// A value over the inline limit, in shared memory or spilled.
    InStore(Arc<StoredObject>),
    /// A value that came from another process, as it came.
    Encoded(Arc<Parts>),
    /// A large value of a cluster: it is there, in the memory of some node.
    Away(Arc<AwayObject>),
}

/// A value, or why there is none.
pub type Outcome<T> = Result<Stored<T>, TaskError>;

/// Something that is told when an object is ready.
pub trait Dependent: Send + Sync {
    /// One of the objects that this waits for has a value or an error.
    fn dependency_ready(self: Arc<Self>);
}

/// Who waits for a slot.
pub enum Waiter {
    /// A thread, or several objects' common countdown.
    Signal(Arc<Signal>),
    /// A task whose argument this is.
    Dependent(Arc<dyn Dependent>),
    /// An `await`.
    Waker(Waker),
}

impl Waiter {
    fn wake(self) {
        match self {
            Self::Signal(signal) => signal.notify(),
            Self::Dependent(dependent) => dependent.dependency_ready(),
            Self::Waker(waker) => waker.wake(),
        }
    }
}

enum WaitList {
    Open(SmallVec<[Waiter; 1]>),
    Closed,
}

/// A place for one value of type `T`.
pub struct Slot<T> {
    value: OnceLock<Outcome<T>>,
    waiters: Mutex<WaitList>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { value: OnceLock::new(), waiters: Mutex::new(WaitList::Open(SmallVec::new())) }
    }
}

impl<T> Slot<T> {
    /// A slot that holds its value from the start.
    #[must_use]
    pub fn filled(outcome: Outcome<T>) -> Self {
        Self { value: OnceLock::from(outcome), waiters: Mutex::new(WaitList::Closed) }
    }

    /// The outcome, if it is there.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome<T>> {
        self.value.get()
    }

    /// Fills the slot and wakes all who wait. Gives false, and drops `outcome`, where it was filled already.
    pub fn fill(&self, outcome: Outcome<T>) -> bool {
        if self.value.set(outcome).is_err() {
            return false;
        }
        let waiters = std::mem::replace(&mut *self.waiters.lock(), WaitList::Closed);
        if let WaitList::Open(waiters) = waiters {
            for waiter in waiters {
                waiter.wake();
            }
        }
        true
    }

    /// Registers `waiter`; false (and no registration) where the value is there already.
    pub fn register(&self, waiter: Waiter) -> bool {
        match &mut *self.waiters.lock() {
            WaitList::Open(waiters) => {
                match &waiter {
                    // A future polled again replaces its own waker instead of adding to the list.
                    Waiter::Waker(new)
                        if waiters.iter().any(|w| matches!(w, Waiter::Waker(old) if old.will_wake(new))) => {}
                    _ => waiters.push(waiter),
                }
                true
            }
            WaitList::Closed => false,
        }
    }

    /// Takes `signal` off the list: it no longer waits.
    pub fn unregister(&self, signal: &Arc<Signal>) {
        if let WaitList::Open(waiters) = &mut *self.waiters.lock() {
            waiters.retain(|waiter| !matches!(waiter, Waiter::Signal(other) if Arc::ptr_eq(other, signal)));
        }
    }
}

/// Something that sleeps and is to look again.
pub trait Poke: Send + Sync {
    /// Look again.
    fn poke(&self);
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The count is reached.
    Reached,
    /// The deadline has passed.
    TimedOut,
    /// It was stopped.
    Stopped,
}

struct Countdown {
    left: usize,
    /// Who sleeps elsewhere until the count is reached.
    poke: Option<Arc<dyn Poke>>,
}

/// A countdown on which a thread sleeps.
pub struct Signal {
    count: Mutex<Countdown>,
    reached: Condvar,
}

impl Signal {
    /// A signal that is reached after `count` notifications.
    #[must_use]
    pub fn after(count: usize) -> Arc<Self> {
        Arc::new(Self { count: Mutex::new(Countdown { left: count, poke: None }), reached: Condvar::new() })
    }

    /// Counts one down.
    pub fn notify(&self) {
        let mut count = self.count.lock();
        count.left = count.left.saturating_sub(1);
        if count.left == 0 {
            self.reached.notify_all();
            if let Some(poke) = &count.poke {
                poke.poke();
            }
        }
    }

    /// Has whoever sleeps on it look again.
    pub fn poke(&self) {
        let _count = self.count.lock();
        self.reached.notify_all();
    }

    /// From now on `poke` is told when the count is reached.
    pub fn poke_by(&self, poke: Option<Arc<dyn Poke>>) {
        self.count.lock().poke = poke;
    }

    /// Whether the count is reached.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.count.lock().left == 0
    }

    /// Sleeps until the count is reached, or the deadline passes; whether it was reached.
    #[must_use]
    pub fn wait_until(&self, deadline: Option<Instant>) -> bool {
        self.wait_unless(deadline, &AtomicBool::new(false)) == Waited::Reached
    }

    /// As [`Signal::wait_until`], but not once `stop` is set; who sets it calls [`Signal::poke`].
    #[must_use]
    pub fn wait_unless(&self, deadline: Option<Instant>, stop: &AtomicBool) -> Waited {
        let mut count = self.count.lock();
        let mut timed_out = false;
        loop {
            if count.left == 0 {
                return Waited::Reached;
            }
            if stop.load(Ordering::Acquire) {
                return Waited::Stopped;
            }
            if timed_out {
                return Waited::TimedOut;
            }
            match deadline {
                None => self.reached.wait(&mut count),
                Some(at) => timed_out = self.reached.wait_until(&mut count, at).timed_out(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_filled_once_and_wakes_all_who_wait() {
        let slot = Slot::<i32>::default();
        let signal = Signal::after(2);
        assert!(slot.register(Waiter::Signal(signal.clone())));
        assert!(slot.register(Waiter::Signal(signal.clone())));
        assert!(slot.fill(Ok(Stored::Live(1))));
        assert!(!slot.fill(Ok(Stored::Live(2))));
        assert!(signal.wait_until(None));
        assert!(matches!(slot.outcome(), Some(Ok(Stored::Live(1)))));
    }

    #[test]
    fn a_waiter_that_comes_late_is_told_so() {
        let slot = Slot::filled(Ok(Stored::Live(1)));
        assert!(!slot.register(Waiter::Signal(Signal::after(1))));
    }

    #[test]
    fn a_waiter_that_left_is_not_woken() {
        let slot = Slot::<i32>::default();
        let signal = Signal::after(1);
        slot.register(Waiter::Signal(signal.clone()));
        slot.unregister(&signal);
        slot.fill(Ok(Stored::Live(1)));
        assert!(!signal.wait_until(Some(Instant::now())));
    }
}
