//! A large object as a process has it: it exists, and may be anywhere.
//!
//! Owns: [`AwayObject`], which names it and keeps it alive where this process holds it, and [`Fetching`], one wish to read it.
//! Does not own the asking ([`ObjectClient`]). Invariants: to have it costs no bytes; to read it gives a view of the node's
//! memory, which stays there as long as any part of the view lives; readers of one process at one time share a view.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Weak},
    time::Instant,
};

use actinic_gcs::{NodeId, ObjectId};
use bytes::Bytes;
use parking_lot::Mutex;

use super::{wire::Locator, ObjectClient};
use crate::{
    blocking,
    cell::{Signal, Slot, Stored, Waiter},
    cluster::wire::ProcessId,
    data::codec::{AnyRef, Parts},
    error::{TaskError, TaskErrorKind},
    node::Node,
    task::{Object, Task},
};

/// A large object, wherever it is.
pub struct AwayObject {
    locator: Locator,
    refs: Arc<[AnyRef]>,
    client: Arc<ObjectClient>,
    /// Whether the object is kept for this process.
    held: bool,
    view: Mutex<Weak<Whole>>,
}

/// All of an object's bytes, while somebody reads any.
struct Whole(Bytes);

struct SharedWhole(Arc<Whole>);

impl AsRef<[u8]> for SharedWhole {
    fn as_ref(&self) -> &[u8] {
        &self.0 .0
    }
}

impl AwayObject {
    /// An object that this process holds (`held`), or that somebody else keeps for as long as this lives.
    pub(super) fn new(client: Arc<ObjectClient>, locator: Locator, refs: Arc<[AnyRef]>, held: bool) -> Arc<Self> {
        Arc::new(Self { locator, refs, client, held, view: Mutex::default() })
    }

    /// What names it.
    #[must_use]
    pub fn locator(&self) -> &Locator {
        &self.locator
    }

    /// The references inside of it.
    #[must_use]
    pub fn refs(&self) -> &Arc<[AnyRef]> {
        &self.refs
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.locator.bytes
    }

    /// The nodes that have it, as far as this process knows: all, if it owns it.
    #[must_use]
    pub fn places(&self) -> Vec<NodeId> {
        let known = self.client.places(self.locator.stored);
        if known.is_empty() {
            vec![self.locator.stored.node]
        } else {
            known
        }
    }

    /// Names it for a process that is to hold it from now on, if this one has sealed it; else for one that only reads it.
    #[must_use]
    pub fn pass(&self, to: ProcessId) -> Locator {
        let mut locator = self.locator.clone();
        if self.held && self.client.has_sealed(&locator) {
            self.client.pass(locator.stored, to);
            (locator.given, locator.owner) = (true, to);
        }
        locator
    }

    /// Its parts, if somebody here reads it already.
    #[must_use]
    pub fn parts_now(&self) -> Option<Parts> {
        let whole = self.view.lock().upgrade()?;
        self.parts_of(whole).ok()
    }

    fn parts_of(&self, whole: Arc<Whole>) -> Result<Parts, TaskError> {
        let whole = Bytes::from_owner(SharedWhole(whole));
        let (meta, buffers) = self.locator.placement.cut(&whole).ok_or_else(|| {
            let message = format!("object {} does not have the parts that its locator names", self.locator.object);
            TaskError::from(TaskErrorKind::ObjectStore { message })
        })?;
        Ok(Parts { meta, buffers, refs: self.refs.clone() })
    }

    /// Brings it to this machine, if it is not here; `then` is given its parts, on any thread.
    pub fn bring(self: &Arc<Self>, then: Box<dyn FnOnce(Result<Parts, TaskError>) + Send>) {
        if let Some(parts) = self.parts_now() {
            return then(Ok(parts));
        }
        let this = self.clone();
        self.client.pin(
            &self.locator,
            Box::new(move |bytes| {
                then(bytes.and_then(|bytes| {
                    let whole = Arc::new(Whole(bytes));
                    *this.view.lock() = Arc::downgrade(&whole);
                    this.parts_of(whole)
                }));
            }),
        );
    }

    /// Begins to bring it to this machine.
    #[must_use]
    pub fn fetch(self: &Arc<Self>) -> Arc<Fetching> {
        let fetching = Arc::new(Fetching { object: self.locator.object, slot: Slot::default() });
        let filled = fetching.clone();
        self.bring(Box::new(move |parts| {
            filled.slot.fill(parts.map(Stored::Live));
        }));
        fetching
    }

    /// Its parts, after waiting for them. This thread's CPU is free for others meanwhile.
    ///
    /// # Errors
    /// Why it cannot be had, or `TimedOut`.
    pub fn parts(self: &Arc<Self>, node: &Arc<Node>, deadline: Option<Instant>) -> Result<Parts, TaskError> {
        if let Some(parts) = self.parts_now() {
            return Ok(parts);
        }
        let fetching = self.fetch();
        let object: Arc<dyn Object> = fetching.clone();
        blocking::wait_ready(node, &object, deadline)?;
        fetching.parts().unwrap_or_else(|| Err(super::super::core_worker::disconnected()))
    }
}

impl Drop for AwayObject {
    fn drop(&mut self) {
        if self.held {
            self.client.release(&self.locator);
        }
    }
}

impl fmt::Debug for AwayObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwayObject").field("locator", &self.locator).field("held", &self.held).finish_non_exhaustive()
    }
}

/// One wish to read an object.
pub struct Fetching {
    object: ObjectId,
    slot: Slot<Parts>,
}

impl Fetching {
    /// The object's parts, once they are here.
    #[must_use]
    pub fn parts(&self) -> Option<Result<Parts, TaskError>> {
        match self.slot.outcome()? {
            Ok(Stored::Live(parts)) => Some(Ok(parts.clone())),
            Ok(_) => None,
            Err(error) => Some(Err(error.clone())),
        }
    }
}

impl Object for Fetching {
    fn id(&self) -> ObjectId {
        self.object
    }

    fn is_ready(&self) -> bool {
        self.slot.outcome().is_some()
    }

    fn error(&self) -> Option<TaskError> {
        self.slot.outcome().and_then(|outcome| outcome.as_ref().err().cloned())
    }

    fn register(&self, waiter: Waiter) -> bool {
        self.slot.register(waiter)
    }

    fn unregister(&self, signal: &Arc<Signal>) {
        self.slot.unregister(signal);
    }

    fn producer(self: Arc<Self>) -> Option<Arc<dyn Task>> {
        None
    }

    fn typed_ref(self: Arc<Self>) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
}
