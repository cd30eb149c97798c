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
    cluster::objects::{away::Fetching, AwayObject, Portable},
    cluster::refs::{ForeignRef, SharedRef},
    context::{self, ThreadState},
    counters::{Count, Counters},
    data::codec::{self, Encoded, Measured, OwnedMeasured, Parts},
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
        self.cell.slot().outcome().map(|outcome| read(outcome, None))
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
            return read(outcome, deadline);
        }
        let object = self.as_object();
        context::with_thread(|thread| blocking::wait_ready(&thread.node, &object, deadline))??;
        let outcome = self.cell.slot().outcome();
        outcome.map_or_else(|| Err(TaskErrorKind::TimedOut { waited: Duration::ZERO }.into()), |o| read(o, deadline))
    }

    /// The value as it leaves this process.
    pub(crate) fn encoded(&self) -> Result<Portable, TaskError> {
        let pending = || Err(TaskErrorKind::TimedOut { waited: Duration::ZERO }.into());
        self.cell.encoded().unwrap_or_else(pending)
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

/// Reads a value: a clone of what is in memory, or a view of what is in the store. What is on another node is brought here
/// first.
fn read<T: Data>(outcome: &Outcome<T>, deadline: Option<Instant>) -> Result<T, TaskError> {
    match outcome {
        Ok(Stored::Away(away)) => {
            let parts = context::with_thread(|thread| away.parts(&thread.node, deadline))??;
            decode(&parts)
        }
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

/// What is in `slot` as it leaves this process; none while it is empty.
pub(crate) fn encoded<T: Data>(slot: &Slot<T>) -> Option<Result<Portable, TaskError>> {
    match slot.outcome()? {
        Ok(Stored::Live(value)) => Some(encode(value).map(Portable::Here)),
        Ok(Stored::Away(away)) => Some(Ok(Portable::Away(away.clone()))),
        _ => Some(parts_here(slot).map(Portable::Here)),
    }
}

/// The large object in `slot`, if that is what is there.
pub(crate) fn away<T>(slot: &Slot<T>) -> Option<Arc<AwayObject>> {
    match slot.outcome()? {
        Ok(Stored::Away(away)) => Some(away.clone()),
        _ => None,
    }
}

/// The bytes in `slot`, which are on this machine.
pub(crate) fn parts_here<T>(slot: &Slot<T>) -> Result<Parts, TaskError> {
    match slot.outcome() {
        Some(Ok(Stored::Encoded(parts))) => Ok(Parts::clone(parts)),
        Some(Ok(Stored::InStore(object))) => {
            object.parts().map_err(|error| TaskErrorKind::ObjectStore { message: error.to_string() }.into())
        }
        Some(Err(error)) => Err(error.clone()),
        Some(Ok(Stored::Live(_) | Stored::Away(_))) | None => {
            let message = "its bytes are asked for, and are not here".to_owned();
            Err(TaskErrorKind::ObjectStore { message }.into())
        }
    }
}

pub(crate) fn codec_error<T>(error: &codec::CodecError) -> TaskError {
    TaskErrorKind::Codec { type_name: std::any::type_name::<T>().to_owned(), message: error.to_string() }.into()
}

/// Makes an object of `value`: as it is where it is small, else in the store.
pub(crate) fn seal<T: Data>(node: &Arc<Node>, counters: &Counters, id: ObjectId, value: T) -> Outcome<T> {
    counters.add(Count::Objects, 1);
    let limit = node.config.inline_bytes_max;
    if !std::mem::needs_drop::<T>() && size_of::<T>() <= limit {
        counters.add(Count::ObjectBytes, size_of::<T>() as u64);
        return Ok(Stored::Live(value));
    }
    match codec::encode_owned_if_larger(value, limit).map_err(|error| codec_error::<T>(&error))? {
        OwnedMeasured::Large(encoded) => {
            counters.add(Count::ObjectBytes, encoded.size_bytes() as u64);
            store(node, id, encoded)
        }
        OwnedMeasured::Small(value, size) => {
            counters.add(Count::ObjectBytes, size as u64);
            Ok(Stored::Live(value))
        }
    }
}

/// Lays a value out in shared memory: in the node's where this process is in a cluster, else in its own.
fn store<T>(node: &Arc<Node>, id: ObjectId, encoded: Encoded) -> Outcome<T> {
    if let Some(cluster) = &node.cluster {
        return cluster.objects.put(node, id, encoded).map(Stored::Away);
    }
    let put = node.store().and_then(|store| store.put(id, encoded));
    Ok(Stored::InStore(put.map_err(|error| TaskErrorKind::ObjectStore { message: error.to_string() })?))
}

/// An object of `value` if that is large; none if it is small, or cannot be encoded.
pub(crate) fn seal_if_large<T: Data>(thread: &ThreadState, value: &T) -> Option<ObjectRef<T>> {
    let node = &thread.node;
    let limit = node.config.inline_bytes_max;
    if !std::mem::needs_drop::<T>() && size_of::<T>() <= limit {
        return None;
    }
    let Ok(Measured::Large(encoded)) = codec::encode_if_larger(value, limit) else { return None };
    let (_, id) = context::next_put(node);
    thread.counters.add(Count::Objects, 1);
    thread.counters.add(Count::ObjectBytes, encoded.size_bytes() as u64);
    Some(ObjectRef::of(ObjectCell::filled(id, store(node, id, encoded))))
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

    fn encoded(&self) -> Option<Result<Portable, TaskError>> {
        encoded(&self.slot)
    }

    fn away(&self) -> Option<Arc<AwayObject>> {
        away(&self.slot)
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
    fetching: Option<Arc<Fetching>>,
}

impl<T: Data> GetFuture<T> {
    /// What is there already, or is on its way to this machine.
    fn poll_ready(&mut self, cx: &Context<'_>) -> Option<Poll<Result<T, TaskError>>> {
        let outcome = self.object.cell.slot().outcome()?;
        let Ok(Stored::Away(away)) = outcome else { return Some(Poll::Ready(read(outcome, None))) };
        if let Some(parts) = away.parts_now() {
            return Some(Poll::Ready(decode(&parts)));
        }
        let fetching = self.fetching.get_or_insert_with(|| AwayObject::fetch(away));
        if Object::register(&**fetching, Waiter::Waker(cx.waker().clone())) {
            return Some(Poll::Pending);
        }
        let lost = || Err(TaskErrorKind::TimedOut { waited: Duration::ZERO }.into());
        Some(Poll::Ready(fetching.parts().unwrap_or_else(lost).and_then(|parts| decode(&parts))))
    }
}

impl<T: Data> Future for GetFuture<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(ready) = self.poll_ready(cx) {
            return ready;
        }
        if !self.object.cell.register(Waiter::Waker(cx.waker().clone())) {
            let lost = || Poll::Ready(Err(TaskErrorKind::TimedOut { waited: Duration::ZERO }.into()));
            return self.poll_ready(cx).unwrap_or_else(lost);
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
        GetFuture { object: self, asked: false, fetching: None }
    }
}

impl<T: Data> IntoFuture for &ObjectRef<T> {
    type Output = Result<T, TaskError>;
    type IntoFuture = GetFuture<T>;

    fn into_future(self) -> GetFuture<T> {
        GetFuture { object: self.clone(), asked: false, fetching: None }
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
