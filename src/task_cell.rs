//! One remote call in memory: its arguments, its state and its results, in one allocation.
//!
//! Owns: [`TaskCell`], from submission to results, for functions and for methods alike. What differs between the two is
//! behind [`Invoke`].

use std::{any::Any, sync::Arc, vec::Vec};

use actinic_actors::{
    cell::{Signal, Slot, Waiter},
    cluster::{
        core_worker::{CoreWorker, Exporter},
        objects::{AwayObject, Portable},
        wire::RunTask,
    },
    context::{self, Frame, ThreadState},
    counters::Count,
    error::{TaskError, TaskErrorKind},
    node::Node,
    options::TaskOptions,
    panics::{self, Panic},
    task::{Object, Task, TaskHead, TaskKind, TaskState},
    user::inflight::{End, Inflight},
};
use actinic_gcs::{FunctionId, ObjectId, TaskId};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::{
    arg::ArgSet,
    data::Data,
    object_ref::{away, encoded, ObjectRef, TypedObject},
    output::{Output, Single},
};

/// What user code gave: its value or its error.
pub type Given<V> = Result<V, Box<dyn std::error::Error + Send + Sync>>;

/// How user code gives its result.
pub enum Body<V> {
    /// It has it.
    Now(Given<V>),
    /// It will have it.
    Later(BoxFuture<'static, Given<V>>),
}

/// Synchronous user code that has run: it gave its result, or a future of it, or panicked.
pub(crate) type Ran<V> = Result<Option<BoxFuture<'static, Given<V>>>, Panic>;

/// What makes a function's call differ from a method's.
pub trait Invoke: Send + Sync + Sized + 'static {
    /// The arguments.
    type Args: ArgSet;
    /// The results.
    type Out: Output;
    /// Executes a claimed call.
    fn execute(cell: Arc<TaskCell<Self>>, node: &Arc<Node>);
    /// Runs the call on this thread, if that may be.
    fn help(cell: Arc<TaskCell<Self>>, node: &Arc<Node>) -> bool;
    /// Whether another process can run it.
    const CAN_LEAVE: bool = false;
    /// What another process finds it by; none where it cannot leave this one.
    fn function() -> Option<FunctionId> {
        None
    }
    /// What must end before it can start.
    fn waits_for_calls(&self) -> Vec<TaskId> {
        Vec::new()
    }
    /// Whether it may run again after `error`.
    fn may_retry(cell: &TaskCell<Self>, error: Option<&TaskError>) -> bool;
}

/// One remote call.
pub struct TaskCell<K: Invoke> {
    pub(crate) head: TaskHead,
    args: Mutex<Option<K::Args>>,
    out: K::Out,
    /// Its future, as long as it is under way. The future's wakers may all be gone: this keeps it, and ends with the call.
    inflight: Mutex<Option<Arc<Inflight>>>,
    pub(crate) kind: K,
}

impl<K: Invoke> TaskCell<K> {
    /// A new call, made by the task at hand.
    pub(crate) fn new(
        thread: &ThreadState,
        name: &'static str,
        task_kind: TaskKind,
        args: K::Args,
        options: Option<Arc<TaskOptions>>,
        kind: impl FnOnce(TaskId) -> K,
    ) -> Arc<Self> {
        // What is large goes into the node's memory before the call is anywhere else.
        let args = match &thread.node.cluster {
            Some(_) if K::CAN_LEAVE => args.promoted(thread),
            _ => args,
        };
        let (parent, id) = context::next_child(&thread.node);
        let out = K::Out::new(id, options.as_deref());
        let name = options.as_ref().and_then(|options| options.name).unwrap_or(name);
        let (dependencies, kind) = (args.dependencies(), kind(parent));
        Arc::new(Self {
            head: TaskHead::new(id, parent, name, task_kind, dependencies, options),
            args: Mutex::new(Some(args)),
            out,
            inflight: Mutex::default(),
            kind,
        })
    }

    /// A call that came from another process, with the ids that it has there.
    pub(crate) fn imported(
        (parent, id): (TaskId, TaskId),
        (name, task_kind): (&'static str, TaskKind),
        args: K::Args,
        options: Option<Arc<TaskOptions>>,
        kind: impl FnOnce() -> K,
    ) -> Arc<Self> {
        let (out, dependencies) = (K::Out::new(id, options.as_deref()), args.dependencies());
        Arc::new(Self {
            head: TaskHead::new(id, parent, name, task_kind, dependencies, options),
            args: Mutex::new(Some(args)),
            out,
            inflight: Mutex::default(),
            kind: kind(),
        })
    }

    /// The cluster that this process takes part in.
    fn cluster(&self) -> Option<Arc<CoreWorker>> {
        context::with_thread(|thread| thread.node.cluster.clone()).ok().flatten()
    }

    pub(crate) fn output(&self) -> &K::Out {
        &self.out
    }

    /// The arguments' values: taken, or cloned where the call may run again. None where they are gone, after a shutdown.
    pub(crate) fn params(&self) -> Option<Result<<K::Args as ArgSet>::Params, TaskError>> {
        let mut slot = self.args.lock();
        let args = if K::may_retry(self, None) { slot.clone() } else { slot.take() };
        drop(slot);
        Some(args?.resolve())
    }

    /// Runs synchronous user code in a frame of its own and puts its results in place.
    ///
    /// # Errors
    /// Its panic; the results are still open then.
    pub(crate) fn run_body(
        self: &Arc<Self>,
        node: &Arc<Node>,
        body: impl FnOnce() -> Body<<K::Out as Output>::Value>,
    ) -> Ran<<K::Out as Output>::Value> {
        panics::catch(|| match body() {
            Body::Now(given) => {
                self.settle(node, given);
                None
            }
            Body::Later(future) => Some(future),
        })
    }

    /// Puts what user code gave in place.
    pub(crate) fn settle(self: &Arc<Self>, node: &Arc<Node>, given: Given<<K::Out as Output>::Value>) {
        let filled = match given {
            Ok(value) => self.out.fill(node, self.head.id, value),
            Err(error) => Err(TaskError::failed(self.head.name, &node.name, error.as_ref())),
        };
        self.end(node, filled);
    }

    /// Awaits user code and puts its results in place.
    pub(crate) async fn settle_later(
        self: Arc<Self>,
        node: Arc<Node>,
        future: BoxFuture<'static, Given<<K::Out as Output>::Value>>,
    ) {
        let filled = match future.await {
            Ok(value) => self.out.fill_async(&node, self.head.id, value).await,
            Err(error) => Err(TaskError::failed(self.head.name, &node.name, error.as_ref())),
        };
        self.end(&node, filled);
    }

    /// The call is over, or runs again.
    pub(crate) fn end(self: &Arc<Self>, node: &Arc<Node>, result: Result<(), TaskError>) {
        self.let_go_of_future();
        if let Err(error) = result {
            if K::may_retry(self, Some(&error)) && !node.is_down() {
                tracing::debug!(task = self.head.name, %error, "a task is tried again");
                self.head.mark_requeued();
                node.enqueue(self.clone(), None);
                return;
            }
            let _ = context::with_thread(|thread| thread.counters.add(Count::TasksFailed, 1));
            self.out.fail(error);
        }
        self.close(node);
    }

    fn close(&self, node: &Node) {
        self.head.finish();
        if self.head.options.is_some() {
            // Arguments kept for a retry hold references.
            let kept = self.args.lock().take();
            drop(kept);
            node.task_done(&self.head);
        }
        let _ = context::with_thread(|thread| thread.counters.add(Count::TasksFinished, 1));
    }

    /// That user code panicked.
    pub(crate) fn panicked(&self, node: &Node, panic: Panic) -> TaskError {
        TaskErrorKind::Panicked {
            task: self.head.name.to_owned(),
            node: node.name.clone(),
            message: panic.message,
            location: panic.location,
        }
        .into()
    }

    /// Starts a future of this call, and polls it for the first time.
    pub(crate) fn fly(self: &Arc<Self>, node: &Arc<Node>, frame: Frame, future: BoxFuture<'static, ()>) {
        let ended = self.clone();
        let on = node.clone();
        let on_end = Box::new(move |end: End| match end {
            End::Completed => {}
            End::Panicked(panic) => {
                let error = ended.panicked(&on, panic);
                ended.end(&on, Err(error));
            }
            End::Cancelled | End::Abandoned(_) => {
                let error = ended.head.cancelled_error();
                ended.end(&on, Err(error));
            }
        });
        let inflight = Inflight::new(node.clone(), frame, future, on_end, false);
        self.keep_future(inflight.clone());
        inflight.poll_claimed();
    }

    /// Its future, if it has one.
    pub(crate) fn future(&self) -> Option<Arc<Inflight>> {
        self.head.is_inflight().then(|| self.inflight.lock().clone()).flatten()
    }

    /// Keeps the future until the call ends.
    pub(crate) fn keep_future(&self, inflight: Arc<Inflight>) {
        let former = self.inflight.lock().replace(inflight);
        drop(former);
    }

    fn let_go_of_future(&self) {
        if self.head.is_inflight() {
            let inflight = self.inflight.lock().take();
            drop(inflight);
        }
    }
}

impl<K: Invoke> Task for TaskCell<K> {
    fn head(&self) -> &TaskHead {
        &self.head
    }

    fn execute(self: Arc<Self>, node: &Arc<Node>) {
        K::execute(self, node);
    }

    fn fail(&self, error: TaskError) {
        self.out.fail(error);
        self.head.finish();
        self.let_go_of_future();
        let args = self.args.lock().take();
        drop(args);
    }

    fn each_dependency(&self, visit: &mut dyn FnMut(Arc<dyn Object>)) {
        // Collected first: a visitor may run code that ends this task.
        let mut all = Vec::new();
        if let Some(args) = &*self.args.lock() {
            args.each(&mut |object| all.push(object));
        }
        all.into_iter().for_each(visit);
    }

    fn help(self: Arc<Self>, node: &Arc<Node>) -> bool {
        K::help(self, node)
    }

    fn waits_for_calls(&self) -> Vec<TaskId> {
        self.kind.waits_for_calls()
    }

    fn can_leave(&self) -> bool {
        K::CAN_LEAVE
    }

    fn export(&self, exporter: &Exporter<'_>) -> Option<Result<RunTask, TaskError>> {
        let function = K::function()?;
        // Cloned, so that no code of the user's runs under the lock.
        let args = self.args.lock().clone()?;
        let num_returns = self.head.options.as_ref().and_then(|options| options.num_returns).unwrap_or(1) as u32;
        let run = |args| RunTask {
            id: self.head.id,
            parent: self.head.parent,
            function,
            num_returns,
            args,
            gpus: Vec::new(),
        };
        Some(args.export(exporter).map(run))
    }

    fn settle(self: Arc<Self>, node: &Arc<Node>, outcomes: Vec<Result<Portable, TaskError>>) {
        let parts: Result<Vec<Portable>, TaskError> = outcomes.into_iter().collect();
        let filled = parts.and_then(|parts| self.out.fill_encoded(parts));
        self.end(node, filled);
        if self.head.state() == TaskState::Done {
            let args = self.args.lock().take();
            drop(args);
        }
    }

    fn nudge(self: Arc<Self>) {
        if let (Some(cluster), false) = (self.cluster(), self.head.is_kept_here()) {
            cluster.cancel(&self.head);
        }
        self.out.nudge();
        if let Some(inflight) = self.future() {
            std::task::Wake::wake(inflight);
        }
    }
}

impl<T: Data, K: Invoke<Out = Single<T>>> Object for TaskCell<K> {
    fn id(&self) -> ObjectId {
        ObjectId::of_return(self.head.id, 0)
    }

    fn is_ready(&self) -> bool {
        self.out.0.outcome().is_some()
    }

    fn error(&self) -> Option<TaskError> {
        self.out.0.outcome().and_then(|outcome| outcome.as_ref().err().cloned())
    }

    fn register(&self, waiter: Waiter) -> bool {
        self.out.0.register(waiter)
    }

    fn unregister(&self, signal: &Arc<Signal>) {
        self.out.0.unregister(signal);
    }

    fn producer(self: Arc<Self>) -> Option<Arc<dyn Task>> {
        Some(self)
    }

    fn encoded(&self) -> Option<Result<Portable, TaskError>> {
        encoded(&self.out.0)
    }

    fn away(&self) -> Option<Arc<AwayObject>> {
        away(&self.out.0)
    }

    fn typed_ref(self: Arc<Self>) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(ObjectRef::<T>::of(self)))
    }
}

impl<T: Data, K: Invoke<Out = Single<T>>> TypedObject<T> for TaskCell<K> {
    fn slot(&self) -> &Slot<T> {
        &self.out.0
    }
}
