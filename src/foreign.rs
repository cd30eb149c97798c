//! Objects of other processes.
//!
//! Owns: [`ForeignCell`], which stands here for an object that another process owns. Its value is asked for when somebody
//! first waits for it, and kept. Does not own how long the object lives: the reference that it holds does.

use std::{any::Any, sync::Arc};

use actinic_actors::{
    cell::{Signal, Slot, Stored, Waiter},
    cluster::refs::ForeignRef,
    data::codec::Parts,
    error::TaskError,
    task::{Object, Task},
};
use actinic_gcs::ObjectId;

use crate::{
    data::Data,
    object_ref::{encoded, ObjectRef, TypedObject},
};

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
                slot.fill(outcome.map(|parts| Stored::Encoded(Arc::new(parts))));
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

    fn encoded(&self) -> Option<Result<Parts, TaskError>> {
        encoded(&self.slot)
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
