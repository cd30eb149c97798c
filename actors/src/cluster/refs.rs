//! References to objects that cross the border of a process.
//!
//! Owns: [`SharedRef`] and [`ForeignRef`], the two forms in which a value's references are found beside its bytes. How long
//! their objects live is decided in [`core`]. Invariant: as long as a [`ForeignRef`] is alive, so is its object.

pub mod core;

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::{core_worker::CoreWorker, objects::Portable, wire::WireRef};
use crate::{error::TaskError, task::Object};

/// A reference to an object of this process, as an encoder leaves it beside the bytes.
pub struct SharedRef {
    /// The object.
    pub object: Arc<dyn Object>,
    /// The reference itself, of a type that only the public API knows.
    pub typed: Arc<dyn Any + Send + Sync>,
}

/// Who hears what became of an object.
pub type OnFetched = Box<dyn FnOnce(Result<Portable, TaskError>) + Send>;

enum Fetch {
    Not,
    UnderWay(Vec<OnFetched>),
    Done(Result<Portable, TaskError>),
}

/// A reference to an object of another process.
pub struct ForeignRef {
    wire: WireRef,
    core: Weak<CoreWorker>,
    fetch: Mutex<Fetch>,
}

impl ForeignRef {
    /// A reference that has come; its core has been told.
    pub(super) fn new(wire: WireRef, core: &Arc<CoreWorker>) -> Arc<Self> {
        Arc::new(Self { wire, core: Arc::downgrade(core), fetch: Mutex::new(Fetch::Not) })
    }

    /// The object, and who owns it.
    #[must_use]
    pub fn wire(&self) -> WireRef {
        self.wire
    }

    /// Asks for the value, once; `then` hears it, at once if it has come already.
    pub fn fetch(self: &Arc<Self>, then: OnFetched) {
        let mut fetch = self.fetch.lock();
        match &mut *fetch {
            Fetch::Done(outcome) => {
                let outcome = outcome.clone();
                drop(fetch);
                then(outcome);
            }
            Fetch::UnderWay(waiting) => waiting.push(then),
            Fetch::Not => {
                *fetch = Fetch::UnderWay(vec![then]);
                drop(fetch);
                match self.core.upgrade() {
                    Some(core) => core.fetch(self),
                    None => self.fetched(Err(super::core_worker::disconnected())),
                }
            }
        }
    }

    /// The value has come, or why there is none.
    pub(super) fn fetched(&self, outcome: Result<Portable, TaskError>) {
        let before = std::mem::replace(&mut *self.fetch.lock(), Fetch::Done(outcome.clone()));
        if let Fetch::UnderWay(waiting) = before {
            waiting.into_iter().for_each(|then| then(outcome.clone()));
        }
    }
}

impl Drop for ForeignRef {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.dropped(self.wire.id);
        }
    }
}
