//! Typed references to objects.
//!
//! Owns: [`ObjectRef`], how its value is read, and how a reference travels inside other values. An object lives as long
//! as any reference to it, in variables, in other objects, in actors' states or in tasks that wait; it is freed with the
//! last one, whatever the order.

use std::{
    any::Any,
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actinic_actors::{
    blocking,
    cell::{Outcome, Signal, Slot, Stored, Waiter},
    cluster::refs::{ForeignRef, SharedRef},
    context,
    counters::{Count, Counters},
    data::codec::{self, OwnedMeasured, Parts},
    error::{TaskError, TaskErrorKind},
    node::Node,
    task::{Object, Task},
};
use actinic_gcs::{ObjectId, TaskId};
use parking_lot::Mutex;
use serde::{de, ser, Deserialize, Deserializer, Serialize, Serializer};

use crate::{data::Data, foreign::ForeignCell};

/// An object of a known type.
pub trait TypedObject<T>: Object {
    /// Where its value is or will be.
    fn slot(&self) -> &Slot<T>;
}

/// A reference to an object of type `T`, which may not exist yet: a future. Cheap to clone, send and store.
pub struct ObjectRef<T> {
    cell: Arc<dyn TypedObject<T>>,
}

impl<T> Clone for ObjectRef<T> {
    fn clone(&self) -> Self {
        Self { cell: self.cell.clone() }
    }
}

impl<T: Data> ObjectRef<T> {
    pub(crate) fn of(cell: Arc<dyn TypedObject<T>>) -> Self {
        Self { cell }
    }

    /// A reference whose `get` gives `error`.
    #[must_use]
    pub fn failed(error: TaskError) -> Self {
        let id = ObjectId::of_return(TaskId(0), 0);
        Self { cell: Arc::new(ObjectCell { id, slot: Slot::filled(Err(error)), producer: Mutex::default() }) }
    }

    /// The object's id.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        self.cell.id()
    }

    /// Whether a value or an error is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.cell.slot().outcome().is_some()
    }

    /// The value, if it is there already.
    #[must_use]
    pub fn try_get(&self) -> Option<Result<T, TaskError>> {
        self.cell.slot().outcome().map(read)
    }

    /// Waits for the value. The caller runs the task itself if it has not started.
    ///
    /// # Errors
    /// What went wrong with the task; `Deadlock` where the wait would close a cycle.
    pub fn get(&self) -> Result<T, TaskError> {
        self.get_until(None)
    }

    /// Waits for the value, at most this long.
    ///
    /// # Errors
    /// As [`ObjectRef::get`], and `TimedOut`; the task goes on then.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, TaskError> {
        self.get_until(Some(Instant::now() + timeout))
    }

    pub(crate) fn get_until(&self, deadline: Option<Instant>) -> Result<T, TaskError> {
        if let Some(outcome) = self.cell.slot().outcome() {
            return read(outcome);
        }
        let object = self.as_object();
        context::with_thread(|thread| blocking::wait_ready(&thread.node, &object, deadline))??;
        self.try_get().unwrap_or_else(|| Err(TaskErrorKind::TimedOut { waited: Duration::ZERO }.into()))
    }

    /// The value as bytes.
    pub(crate) fn encoded(&self) -> Result<Parts, TaskError> {
        let pending = || Err(TaskErrorKind::TimedOut { waited: Duration::ZERO }.into());
        encoded(self.cell.slot()).unwrap_or_else(pending)
    }

    pub(crate) fn as_object(&self) -> Arc<dyn Object> {
        self.cell.clone()
    }
}

impl<T: Data> fmt::Debug for ObjectRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectRef<{}>({:?})", std::any::type_name::<T>(), self.id())
    }
}

impl<T: Data> PartialEq for ObjectRef<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl<T: Data> Eq for ObjectRef<T> {}

impl<T: Data> std::hash::Hash for ObjectRef<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

/// Reads a value: a clone of what is in memory, or a view of what is in the store.
fn read<T: Data>(outcome: &Outcome<T>) -> Result<T, TaskError> {
    match outcome {
        Ok(Stored::Live(value)) => Ok(value.clone()),
        Ok(Stored::Encoded(parts)) => decode(parts),
        Ok(Stored::InStore(object)) => {
            let parts = object.parts().map_err(|error| TaskErrorKind::ObjectStore { message: error.to_string() })?;
            decode(&parts)
        }
        Err(error) => Err(error.clone()),
    }
}

/// Reads a value from its bytes.
pub(crate) fn decode<T: Data>(parts: &Parts) -> Result<T, TaskError> {
    codec::decode(parts).map_err(|error| codec_error::<T>(&error))
}

/// A value as bytes.
pub(crate) fn encode<T: Data>(value: &T) -> Result<Parts, TaskError> {
    Ok(codec::encode(value).map_err(|error| codec_error::<T>(&error))?.into())
}

/// What is in `slot` as bytes; none while it is empty.
pub(crate) fn encoded<T: Data>(slot: &Slot<T>) -> Option<Result<Parts, TaskError>> {
    Some(match slot.outcome()? {
        Ok(Stored::Live(value)) => encode(value),
        Ok(Stored::Encoded(parts)) => Ok(Parts::clone(parts)),
        Ok(Stored::InStore(object)) => {
            object.parts().map_err(|error| TaskErrorKind::ObjectStore { message: error.to_string() }.into())
        }
        Err(error) => Err(error.clone()),
    })
}

fn codec_error<T>(error: &codec::CodecError) -> TaskError {
    TaskErrorKind::Codec { type_name: std::any::type_name::<T>().to_owned(), message: error.to_string() }.into()
}

/// Makes an object of `value`: as it is where it is small, else in the store.
pub(crate) fn seal<T: Data>(node: &Node, counters: &Counters, id: ObjectId, value: T) -> Outcome<T> {
    counters.add(Count::Objects, 1);
    let limit = node.config.inline_bytes_max;
    if !std::mem::needs_drop::<T>() && size_of::<T>() <= limit {
        counters.add(Count::ObjectBytes, size_of::<T>() as u64);
        return Ok(Stored::Live(value));
    }
    match codec::encode_owned_if_larger(value, limit).map_err(|error| codec_error::<T>(&error))? {
        OwnedMeasured::Large(encoded) => {
            counters.add(Count::ObjectBytes, encoded.size_bytes() as u64);
            let put = node.store().and_then(|store| store.put(id, encoded));
            let object = put.map_err(|error| TaskErrorKind::ObjectStore { message: error.to_string() })?;
            Ok(Stored::InStore(object))
        }
        OwnedMeasured::Small(value, size) => {
            counters.add(Count::ObjectBytes, size as u64);
            Ok(Stored::Live(value))
        }
    }
}

/// An object that is not the single result of a task: put, or one of several results.
pub(crate) struct ObjectCell<T> {
    id: ObjectId,
    slot: Slot<T>,
    producer: Mutex<Option<Arc<dyn Task>>>,
}

impl<T: Data> ObjectCell<T> {
    pub(crate) fn pending(id: ObjectId) -> Arc<Self> {
        Arc::new(Self { id, slot: Slot::default(), producer: Mutex::default() })
    }

    pub(crate) fn filled(id: ObjectId, outcome: Outcome<T>) -> Arc<Self> {
        Arc::new(Self { id, slot: Slot::filled(outcome), producer: Mutex::default() })
    }

    pub(crate) fn set_producer(&self, task: Arc<dyn Task>) {
        if self.slot.outcome().is_none() {
            *self.producer.lock() = Some(task);
        }
    }

    pub(crate) fn fill(&self, outcome: Outcome<T>) {
        self.slot.fill(outcome);
        // The task refers to its objects as well: the circle is cut once it has run.
        let producer = self.producer.lock().take();
        drop(producer);
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }
}

impl<T: Data> Object for ObjectCell<T> {
    fn id(&self) -> ObjectId {
        self.id
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
        self.producer.lock().clone()
    }

    fn encoded(&self) -> Option<Result<Parts, TaskError>> {
        encoded(&self.slot)
    }

    fn typed_ref(self: Arc<Self>) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(ObjectRef::<T>::of(self)))
    }
}

impl<T: Data> TypedObject<T> for ObjectCell<T> {
    fn slot(&self) -> &Slot<T> {
        &self.slot
    }
}

/// The future of an object's value.
pub struct GetFuture<T> {
    object: ObjectRef<T>,
    asked: bool,
}

impl<T: Data> Future for GetFuture<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.object.cell.slot();
        if let Some(outcome) = slot.outcome() {
            return Poll::Ready(read(outcome));
        }
        if !slot.register(Waiter::Waker(cx.waker().clone())) {
            return Poll::Ready(
                self.object.try_get().unwrap_or_else(|| Err(TaskErrorKind::TimedOut { waited: Duration::ZERO }.into())),
            );
        }
        if !self.asked {
            self.asked = true;
            // This thread will not run the task: somebody must be awake for it.
            let _ = context::with_thread(|thread| {
                if context::cpu() == context::Cpu::None {
                    thread.node.lane.flush(&thread.outbox);
                    thread.node.note_blocked();
                }
            });
        }
        Poll::Pending
    }
}

impl<T: Data> IntoFuture for ObjectRef<T> {
    type Output = Result<T, TaskError>;
    type IntoFuture = GetFuture<T>;

    fn into_future(self) -> GetFuture<T> {
        GetFuture { object: self, asked: false }
    }
}

impl<T: Data> IntoFuture for &ObjectRef<T> {
    type Output = Result<T, TaskError>;
    type IntoFuture = GetFuture<T>;

    fn into_future(self) -> GetFuture<T> {
        GetFuture { object: self.clone(), asked: false }
    }
}

impl<T: Data> Serialize for ObjectRef<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shared = SharedRef { object: self.as_object(), typed: Arc::new(self.clone()) };
        let index = codec::encode_ref(Arc::new(shared))
            .ok_or_else(|| ser::Error::custom("an ObjectRef can be encoded inside an object only"))?;
        serializer.serialize_u32(index)
    }
}

impl<'de, T: Data> Deserialize<'de> for ObjectRef<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        let object = codec::decode_ref(index)
            .ok_or_else(|| de::Error::custom("an ObjectRef can be decoded inside an object only"))?;
        let object = match object.downcast::<SharedRef>() {
            Ok(shared) => shared.typed.clone(),
            Err(other) => match other.downcast::<ForeignRef>() {
                Ok(foreign) => return Ok(Self::of(Arc::new(ForeignCell::new(foreign)))),
                Err(_) => return Err(de::Error::custom("what is referred to is no object")),
            },
        };
        let object = object.downcast::<Self>().map_err(|_| de::Error::custom("the ObjectRef is of another type"))?;
        Ok(Self::clone(&object))
    }
}
