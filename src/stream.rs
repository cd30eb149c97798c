//! Streaming tasks: each value that the task yields becomes an object at once, and its consumer sets the pace.
//!
//! Owns: the queue between the two. It holds at most `backpressure` references that the consumer has not taken; then the
//! task waits (and gives its CPU back meanwhile).

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use actinic_actors::{
    blocking,
    cell::{Signal, Stored},
    cluster::objects::Portable,
    context,
    error::{TaskError, TaskErrorKind},
    node::Node,
    options::TaskOptions,
    task::{Object, Task},
};
use actinic_gcs::{ObjectId, TaskId};
use futures::{
    future::{poll_fn, BoxFuture, FutureExt},
    stream::BoxStream,
    Stream, StreamExt,
};
use parking_lot::Mutex;

use crate::{
    data::Data,
    object_ref::{seal, ObjectCell, ObjectRef},
    output::Output,
    task_cell::{Invoke, TaskCell},
};

/// How far a task is ahead of its consumer unless it is told otherwise.
pub const BACKPRESSURE_DEFAULT: usize = 64;

/// What a streaming task yields from.
pub enum StreamSource<T> {
    /// A synchronous one.
    Iter(Box<dyn Iterator<Item = T> + Send>),
    /// An asynchronous one.
    Async(BoxStream<'static, T>),
}

struct Inner<T> {
    items: VecDeque<ObjectRef<T>>,
    next: u32,
    closed: bool,
    abandoned: bool,
    reader: Option<Waker>,
    reading: Option<Arc<Signal>>,
    writer: Option<Waker>,
    writing: Option<Arc<Signal>>,
}

/// The queue of a streaming task.
pub struct Streaming<T> {
    inner: Arc<Mutex<Inner<T>>>,
    room: usize,
    producer: TaskId,
}

impl<T: Data> Inner<T> {
    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
        if let Some(signal) = self.reading.take() {
            signal.notify();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
        if let Some(signal) = self.writing.take() {
            signal.notify();
        }
    }
}

impl<T: Data> Streaming<T> {
    fn seal_next(&self, node: &Arc<Node>, value: T) -> ObjectRef<T> {
        let id = {
            let mut inner = self.inner.lock();
            inner.next += 1;
            ObjectId::of_return(self.producer, inner.next - 1)
        };
        let sealed: Result<Stored<T>, TaskError> =
            context::with_thread(|thread| seal(node, &thread.counters, id, value)).and_then(|sealed| sealed);
        ObjectRef::of(ObjectCell::filled(id, sealed))
    }

    /// Gives `item` to the consumer; gives it back where there is no room. False where nobody consumes any more.
    fn offer(&self, item: ObjectRef<T>) -> Result<bool, ObjectRef<T>> {
        let mut inner = self.inner.lock();
        if inner.abandoned || inner.closed {
            return Ok(false);
        }
        if inner.items.len() >= self.room {
            return Err(item);
        }
        inner.items.push_back(item);
        inner.wake_reader();
        Ok(true)
    }

    fn push_blocking(&self, node: &Arc<Node>, mut item: ObjectRef<T>) -> bool {
        loop {
            if crate::is_cancelled() {
                return false;
            }
            item = match self.offer(item) {
                Ok(goes_on) => return goes_on,
                Err(item) => item,
            };
            let signal = Signal::after(1);
            {
                let mut inner = self.inner.lock();
                if inner.items.len() < self.room || inner.abandoned || inner.closed {
                    continue;
                }
                inner.writing = Some(signal.clone());
            }
            if crate::is_cancelled() {
                return false;
            }
            blocking::blocked(node, || signal.wait_until(None));
        }
    }

    async fn push_async(&self, item: ObjectRef<T>) -> bool {
        let mut item = Some(item);
        poll_fn(|cx| {
            let Some(given) = item.take() else { return Poll::Ready(false) };
            match self.offer(given) {
                Ok(goes_on) => Poll::Ready(goes_on),
                Err(back) => {
                    let mut inner = self.inner.lock();
                    if inner.items.len() < self.room || inner.abandoned || inner.closed {
                        cx.waker().wake_by_ref();
                    } else {
                        inner.writer = Some(cx.waker().clone());
                    }
                    item = Some(back);
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.wake_reader();
    }
}

impl<T: Data> Output for Streaming<T> {
    type Value = StreamSource<T>;
    type Refs = ObjectRefStream<T>;
    // Its consumer sets the pace, from the same process.
    const CAN_LEAVE: bool = false;

    fn fill_encoded(&self, _parts: Vec<Portable>) -> Result<(), TaskError> {
        let hint = "a streaming task runs in the process that called it".to_owned();
        Err(TaskErrorKind::NoRuntime { hint }.into())
    }

    fn objects<K: Invoke<Out = Self>>(_cell: &Arc<TaskCell<K>>) -> Vec<Arc<dyn Object>> {
        Vec::new()
    }

    fn new(task: TaskId, options: Option<&TaskOptions>) -> Self {
        let room = options.and_then(|options| options.backpressure).unwrap_or(BACKPRESSURE_DEFAULT).max(1);
        let inner = Inner {
            items: VecDeque::new(),
            next: 0,
            closed: false,
            abandoned: false,
            reader: None,
            reading: None,
            writer: None,
            writing: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)), room, producer: task }
    }

    fn fill(&self, node: &Arc<Node>, _task: TaskId, value: StreamSource<T>) -> Result<(), TaskError> {
        match value {
            StreamSource::Iter(items) => {
                for value in items {
                    let item = self.seal_next(node, value);
                    if !self.push_blocking(node, item) {
                        break;
                    }
                }
                if let Some(task) = context::current_task().filter(|task| task.head().is_cancelled()) {
                    return Err(task.head().cancelled_error());
                }
            }
            StreamSource::Async(_) => {
                let hint = "a stream needs an async function".to_owned();
                return Err(TaskErrorKind::NoRuntime { hint }.into());
            }
        }
        self.close();
        Ok(())
    }

    fn fill_async<'a>(
        &'a self,
        node: &'a Arc<Node>,
        task: TaskId,
        value: StreamSource<T>,
    ) -> BoxFuture<'a, Result<(), TaskError>> {
        async move {
            match value {
                StreamSource::Iter(_) => return self.fill(node, task, value),
                StreamSource::Async(mut items) => {
                    while let Some(value) = items.next().await {
                        let item = self.seal_next(node, value);
                        if !self.push_async(item).await {
                            break;
                        }
                    }
                }
            }
            self.close();
            Ok(())
        }
        .boxed()
    }

    fn fail(&self, error: TaskError) {
        let mut inner = self.inner.lock();
        if !inner.closed {
            // The error is the stream's last object, over the bound if need be.
            inner.items.push_back(ObjectRef::failed(error));
            inner.closed = true;
        }
        inner.wake_reader();
        inner.wake_writer();
    }

    fn nudge(&self) {
        self.inner.lock().wake_writer();
    }

    fn refs<K: Invoke<Out = Self>>(cell: &Arc<TaskCell<K>>) -> ObjectRefStream<T> {
        let task: Arc<dyn Task> = cell.clone();
        ObjectRefStream { inner: cell.output().inner.clone(), task: Some(task) }
    }

    fn failed(error: TaskError) -> ObjectRefStream<T> {
        let out = Self::new(TaskId(0), None);
        out.fail(error);
        ObjectRefStream { inner: out.inner.clone(), task: None }
    }
}

/// References to what a streaming task yields, in its order: a `Stream` for async code, an `Iterator` for the rest. If the
/// task fails, the last reference gives its error. Dropping it ends the task at its next value.
pub struct ObjectRefStream<T> {
    inner: Arc<Mutex<Inner<T>>>,
    task: Option<Arc<dyn Task>>,
}

impl<T> Drop for ObjectRefStream<T> {
    fn drop(&mut self) {
        let mut inner = self.inner.lock();
        inner.abandoned = true;
        let (waker, signal) = (inner.writer.take(), inner.writing.take());
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(signal) = signal {
            signal.notify();
        }
        self.task = None;
    }
}

impl<T: Data> Iterator for ObjectRefStream<T> {
    type Item = ObjectRef<T>;

    fn next(&mut self) -> Option<ObjectRef<T>> {
        loop {
            let signal = Signal::after(1);
            {
                let mut inner = self.inner.lock();
                if let Some(item) = inner.items.pop_front() {
                    inner.wake_writer();
                    return Some(item);
                }
                if inner.closed {
                    return None;
                }
                inner.reading = Some(signal.clone());
            }
            let waited = context::with_thread(|thread| {
                blocking::blocked(&thread.node, || signal.wait_until(None));
            });
            if waited.is_err() {
                return None;
            }
        }
    }
}

impl<T: Data> Stream for ObjectRefStream<T> {
    type Item = ObjectRef<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ObjectRef<T>>> {
        let mut inner = self.inner.lock();
        if let Some(item) = inner.items.pop_front() {
            inner.wake_writer();
            return Poll::Ready(Some(item));
        }
        if inner.closed {
            return Poll::Ready(None);
        }
        inner.reader = Some(cx.waker().clone());
        drop(inner);
        let _ = context::with_thread(|thread| {
            if context::cpu() == context::Cpu::None {
                thread.node.lane.flush(&thread.outbox);
                thread.node.note_blocked();
            }
        });
        Poll::Pending
    }
}
