//! A queue that tasks and actors share.

use std::{
    collections::VecDeque,
    marker::PhantomData,
    time::{Duration, Instant},
};

use actinic_actors::data::codec;
use actinic_macros::remote;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{self as actinic, data::Data, error::TaskError, object_ref::ObjectRef};

/// Why a queue could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// It stayed full.
    #[error("the queue is full; a later put may succeed")]
    Full,
    /// It stayed empty.
    #[error("the queue is empty; a later get may succeed")]
    Empty,
    /// Its actor gave an error.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// An item as the queue's actor holds it: a reference, of a type that only its users know.
#[derive(Clone)]
struct Item(std::sync::Arc<dyn std::any::Any + Send + Sync>);

impl Serialize for Item {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = codec::encode_ref(self.0.clone());
        index
            .ok_or_else(|| serde::ser::Error::custom("a queue's item is encoded inside an object only"))?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        let item = codec::decode_ref(index);
        item.map(Self).ok_or_else(|| serde::de::Error::custom("a queue's item is decoded inside an object only"))
    }
}

#[remote]
struct QueueActor {
    items: Mutex<VecDeque<Item>>,
    bound: usize,
    changed: Notify,
}

#[remote]
impl QueueActor {
    fn new(bound: usize) -> Self {
        Self { items: Mutex::default(), bound, changed: Notify::new() }
    }

    async fn put(&self, item: Item, timeout: Option<Duration>) -> bool {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut items = self.items.lock();
                if items.len() < self.bound {
                    items.push_back(item);
                    self.changed.notify_waiters();
                    return true;
                }
            }
            if !until(changed, deadline).await {
                return false;
            }
        }
    }

    async fn get(&self, timeout: Option<Duration>) -> Option<Item> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut items = self.items.lock();
                if let Some(item) = items.pop_front() {
                    self.changed.notify_waiters();
                    return Some(item);
                }
            }
            if !until(changed, deadline).await {
                return None;
            }
        }
    }

    async fn len(&self) -> usize {
        self.items.lock().len()
    }
}

async fn until(changed: impl std::future::Future<Output = ()>, deadline: Option<Instant>) -> bool {
    match deadline {
        None => {
            changed.await;
            true
        }
        Some(at) => tokio::time::timeout_at(at.into(), changed).await.is_ok(),
    }
}

/// A first-in, first-out queue of `T`, which is an actor: clones of it can be passed into tasks and other actors.
///
/// ```
/// use actinic::{prelude::*, util::Queue};
///
/// let rt = Runtime::init()?;
/// let queue = Queue::<String>::new(100);
/// queue.put("hello".to_owned()).unwrap();
/// assert_eq!(queue.get().unwrap(), "hello");
/// # Ok::<(), actinic::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Queue<T> {
    actor: QueueActorHandle,
    of: PhantomData<fn() -> T>,
}

impl<T: Data> Queue<T> {
    /// A queue of at most `bound` items.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        let actor = QueueActor::options().max_concurrency(10_000).remote(bound.max(1));
        Self { actor, of: PhantomData }
    }

    /// Puts an item, waiting for room.
    ///
    /// # Errors
    /// If the queue's actor is gone.
    pub fn put(&self, item: T) -> Result<(), QueueError> {
        self.put_for(item, None)
    }

    /// Puts an item, waiting for room at most this long.
    ///
    /// # Errors
    /// `Full`, or that the queue's actor is gone.
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), QueueError> {
        self.put_for(item, Some(timeout))
    }

    fn put_for(&self, item: T, timeout: Option<Duration>) -> Result<(), QueueError> {
        let item = Item(std::sync::Arc::new(actinic::put(item)?));
        if self.actor.put(item, timeout).get()? {
            Ok(())
        } else {
            Err(QueueError::Full)
        }
    }

    /// Takes the oldest item, waiting for one.
    ///
    /// # Errors
    /// If the queue's actor is gone.
    pub fn get(&self) -> Result<T, QueueError> {
        Self::value(self.actor.get(None).get()?)
    }

    /// Takes the oldest item, waiting for one at most this long.
    ///
    /// # Errors
    /// `Empty`, or that the queue's actor is gone.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, QueueError> {
        Self::value(self.actor.get(Some(timeout)).get()?)
    }

    /// Takes the oldest item in async code.
    ///
    /// # Errors
    /// If the queue's actor is gone.
    pub async fn get_async(&self) -> Result<T, QueueError> {
        Self::value(self.actor.get(None).await?)
    }

    /// Puts an item in async code.
    ///
    /// # Errors
    /// If the queue's actor is gone.
    pub async fn put_async(&self, item: T) -> Result<(), QueueError> {
        let item = Item(std::sync::Arc::new(actinic::put(item)?));
        self.actor.put(item, None).await?;
        Ok(())
    }

    fn value(item: Option<Item>) -> Result<T, QueueError> {
        let item = item.ok_or(QueueError::Empty)?;
        let object = item.0.downcast::<ObjectRef<T>>().map_err(|_| QueueError::Empty)?;
        Ok(object.get()?)
    }

    /// Items in the queue. A moment's figure.
    ///
    /// # Errors
    /// If the queue's actor is gone.
    pub fn len(&self) -> Result<usize, QueueError> {
        Ok(self.actor.len().get()?)
    }

    /// Whether it is empty.
    ///
    /// # Errors
    /// If the queue's actor is gone.
    pub fn is_empty(&self) -> Result<bool, QueueError> {
        Ok(self.len()? == 0)
    }
}
