//! Objects of other processes.
//!
//! Owns: [`ForeignCell`], which stands here for an object that another process owns: its value is asked for when somebody
//! first waits for it, and kept; and [`AwayCell`], an argument whose bytes are in some node's memory. Does not own how long the object lives: the reference that it holds does.

use std::{
    any::Any,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
};

use actinic_actors::{
    cell::{Signal, Slot, Stored, Waiter},
    cluster::objects::{AwayObject, Portable},
    cluster::refs::ForeignRef,
    error::TaskError,
    task::{Object, Task},
};
use actinic_gcs::ObjectId;

use crate::{
    data::Data,
    object_ref::{away, encoded, ObjectRef, TypedObject},
};

/// A value that came from another process.
pub(crate) fn came<T>(value: Portable) -> Stored<T> {
    match value {
        Portable::Here(parts) => Stored::Encoded(Arc::new(parts)),
        Portable::Away(away) => Stored::Away(away),
    }
}

/// An argument that came as a locator. It is brought to this machine before its task starts, and stays until it has.
pub(crate) struct AwayCell<T> {
    away: Arc<AwayObject>,
    slot: Arc<Slot<T>>,
    asked: AtomicBool,
}

impl<T: Data> AwayCell<T> {
    pub(crate) fn new(away: Arc<AwayObject>) -> Self {
        Self { away, slot: Arc::default(), asked: AtomicBool::new(false) }
    }
}

impl<T: Data> Object for AwayCell<T> {
    fn id(&self) -> ObjectId {
        self.away.locator().object
    }

    fn is_ready(&self) -> bool {
        self.slot.outcome().is_some()
    }

    fn error(&self) -> Option<TaskError> {
        self.slot.outcome().and_then(|outcome| outcome.as_ref().err().cloned())
    }

    fn register(&self, waiter: Waiter) -> bool {
        let waits = self.slot.register(waiter);
        if waits && !self.asked.swap(true, Ordering::AcqRel) {
            let slot = self.slot.clone();
            self.away.bring(Box::new(move |parts| {
                slot.fill(parts.map(|parts| Stored::Encoded(Arc::new(parts))));
            }));
        }
        waits
    }

    fn unregister(&self, signal: &Arc<Signal>) {
        self.slot.unregister(signal);
    }

    fn producer(self: Arc<Self>) -> Option<Arc<dyn Task>> {
        None
    }

    fn encoded(&self) -> Option<Result<Portable, TaskError>> {
        Some(Ok(self.away.clone().into()))
    }

    fn typed_ref(self: Arc<Self>) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(ObjectRef::<T>::of(self)))
    }
}

impl<T: Data> TypedObject<T> for AwayCell<T> {
    fn slot(&self) -> &Slot<T> {
        &self.slot
    }
}

/// An object of another process.
pub(crate) struct ForeignCell<T> {
    foreign: Arc<ForeignRef>,
    slot: Arc<Slot<T>>,
}

impl<T: Data> ForeignCell<T> {
    pub(crate) fn new(foreign: Arc<ForeignRef>) -> Self {
        Self { foreign, slot: Arc::default() }
    }
}

impl<T: Data> Object for ForeignCell<T> {
    fn id(&self) -> ObjectId {
        self.foreign.wire().id
    }

    fn is_ready(&self) -> bool {
        self.slot.outcome().is_some()
    }

    fn error(&self) -> Option<TaskError> {
        self.slot.outcome().and_then(|outcome| outcome.as_ref().err().cloned())
    }

    fn register(&self, waiter: Waiter) -> bool {
        let waits = self.slot.register(waiter);
        if waits {
            let slot = self.slot.clone();
            self.foreign.fetch(Box::new(move |outcome| {
                slot.fill(outcome.map(came));
            }));
        }
        waits
    }

    fn unregister(&self, signal: &Arc<Signal>) {
        self.slot.unregister(signal);
    }

    fn producer(self: Arc<Self>) -> Option<Arc<dyn Task>> {
        None
    }

    fn encoded(&self) -> Option<Result<Portable, TaskError>> {
        encoded(&self.slot)
    }

    fn away(&self) -> Option<Arc<AwayObject>> {
        away(&self.slot)
    }

    fn typed_ref(self: Arc<Self>) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(ObjectRef::<T>::of(self)))
    }

    fn foreign(&self) -> Option<Arc<ForeignRef>> {
        Some(self.foreign.clone())
    }
}

impl<T: Data> TypedObject<T> for ForeignCell<T> {
    fn slot(&self) -> &Slot<T> {
        &self.slot
    }
}
