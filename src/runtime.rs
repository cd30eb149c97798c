//! The runtime: starting it, and what one asks of it.
//!
//! Owns: [`Runtime`], its builder, and the free functions that do the same for the runtime of the thread at hand.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actinic_actors::{
    blocking,
    bootstrap::RunningNode,
    cluster::{core_worker::CoreWorker, wire::NodeStatus},
    context,
    counters::RuntimeStats,
    graph::{graph_of, TaskGraph},
    live,
    node::Node,
    store::StoreStats,
    supervision::DeadLetter,
    task::{Object, Task, TaskState},
};
use actinic_gcs::{NodeId, ResourceSet, TaskId};
use parking_lot::RwLock;

use crate::{
    builder::RuntimeBuilder,
    data::Data,
    error::{Result, TaskError},
    object_ref::{seal, ObjectCell, ObjectRef},
};

/// A running runtime. The one that was started ends it when its last clone is dropped; one from [`Runtime::current`] does
/// not keep it running.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) node: Arc<Node>,
    _owner: Option<Arc<RunningNode>>,
}

/// The nodes that run in this process, for those who must reach the threads behind a node.
static RUNNING: RwLock<Vec<std::sync::Weak<RunningNode>>> = RwLock::new(Vec::new());

pub(crate) fn running(node: &Node) -> Option<Arc<RunningNode>> {
    RUNNING.read().iter().filter_map(std::sync::Weak::upgrade).find(|running| running.node().tag == node.tag)
}

/// Waits for all, or for as many as one asks.
pub trait Get {
    /// What they give.
    type Value;
    /// Waits for the values.
    ///
    /// # Errors
    /// The first error, in the order of the references.
    fn get_until(self, deadline: Option<Instant>) -> Result<Self::Value, TaskError>;
}

impl<T: Data> Get for &ObjectRef<T> {
    type Value = T;

    fn get_until(self, deadline: Option<Instant>) -> Result<T, TaskError> {
        ObjectRef::get_until(self, deadline)
    }
}

impl<T: Data> Get for &[ObjectRef<T>] {
    type Value = Vec<T>;

    fn get_until(self, deadline: Option<Instant>) -> Result<Vec<T>, TaskError> {
        self.iter().map(|object| object.get_until(deadline)).collect()
    }
}

impl<T: Data> Get for &Vec<ObjectRef<T>> {
    type Value = Vec<T>;

    fn get_until(self, deadline: Option<Instant>) -> Result<Vec<T>, TaskError> {
        self.as_slice().get_until(deadline)
    }
}

impl<T: Data, const N: usize> Get for &[ObjectRef<T>; N] {
    type Value = Vec<T>;

    fn get_until(self, deadline: Option<Instant>) -> Result<Vec<T>, TaskError> {
        self.as_slice().get_until(deadline)
    }
}

macro_rules! get_tuple {
    ($($name:ident $at:tt),+) => {
        impl<$($name: Data),+> Get for ($(&ObjectRef<$name>,)+) {
            type Value = ($($name,)+);

            fn get_until(self, deadline: Option<Instant>) -> Result<Self::Value, TaskError> {
                Ok(($(self.$at.get_until(deadline)?,)+))
            }
        }
    };
}

get_tuple!(A 0, B 1);
get_tuple!(A 0, B 1, C 2);
get_tuple!(A 0, B 1, C 2, D 3);

/// What [`Runtime::wait`] gives: the references that are ready, and the others, each in the order in which they were given.
pub type Waited<T> = (Vec<ObjectRef<T>>, Vec<ObjectRef<T>>);

impl Runtime {
    /// Starts a runtime with the settings of the environment: on the cluster that `ACTINIC_ADDRESS` names, else embedded in this
    /// process, with the CPUs of this machine. In a worker that a cluster has started this does not return.
    ///
    /// # Errors
    /// If its threads cannot be started, or `ACTINIC_ADDRESS` names a cluster of which no node of this user runs on this machine,
    /// or whose node refuses this process.
    ///
    /// # Examples
    /// ```
    /// use actinic::prelude::*;
    ///
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 { a + b }
    ///
    /// let rt = Runtime::init()?;
    /// let three = add.remote(1, 2);
    /// assert_eq!(rt.get(&add.remote(&three, 4))?, 7);
    /// # Ok::<(), actinic::Error>(())
    /// ```
    pub fn init() -> Result<Self> {
        Self::builder().init()
    }

    /// Settings of a runtime that is to be started.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Makes this clone one that does not keep the runtime running.
    pub(crate) fn disown(&mut self) {
        self._owner = None;
    }

    pub(crate) fn own(running: Arc<RunningNode>) -> Self {
        let mut all = RUNNING.write();
        all.retain(|node| node.strong_count() > 0);
        all.push(Arc::downgrade(&running));
        Self { node: running.node().clone(), _owner: Some(running) }
    }

    /// The runtime of this thread: the task's that runs here, else the one that was started last.
    ///
    /// # Errors
    /// `NoRuntime` where none runs.
    pub fn current() -> Result<Self, TaskError> {
        context::with_thread(|thread| Self { node: thread.node.clone(), _owner: None })
    }

    /// Waits for one value, or for all of several. The caller runs what has not started itself.
    ///
    /// # Errors
    /// What went wrong with the first task that failed; `Deadlock` where the wait would close a cycle.
    pub fn get<G: Get>(&self, refs: G) -> Result<G::Value, TaskError> {
        refs.get_until(None)
    }

    /// As [`Runtime::get`], for at most this long.
    ///
    /// # Errors
    /// As [`Runtime::get`], and `TimedOut`; the tasks go on then.
    pub fn get_timeout<G: Get>(&self, refs: G, timeout: Duration) -> Result<G::Value, TaskError> {
        refs.get_until(Some(Instant::now() + timeout))
    }

    /// Waits until `count` of `refs` are ready, or the timeout expires (OSDI 2018, Table 1). Gives at most `count` that
    /// are ready, and all others, both in the order of `refs` (as Ray does). A timeout of `None` waits without end.
    ///
    /// # Errors
    /// `NoRuntime` on a thread without a runtime.
    pub fn wait<T: Data>(
        &self,
        refs: &[ObjectRef<T>],
        count: usize,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Waited<T>, TaskError> {
        let deadline = timeout.into().map(|timeout| Instant::now() + timeout);
        let count = count.min(refs.len());
        if refs.iter().filter(|object| object.is_ready()).take(count).count() < count {
            let objects: Vec<Arc<dyn Object>> = refs.iter().map(ObjectRef::as_object).collect();
            blocking::wait_some(&self.node, &objects, count, deadline);
        }
        let (mut ready, mut pending) = (Vec::with_capacity(count), Vec::with_capacity(refs.len() - count));
        for object in refs {
            if ready.len() < count && object.is_ready() {
                ready.push(object.clone());
            } else {
                pending.push(object.clone());
            }
        }
        Ok((ready, pending))
    }

    /// Makes an object of `value`: inline where it is small, else in shared memory.
    ///
    /// # Errors
    /// If the value cannot be encoded, or the store and its disk are full; nothing else is lost then.
    pub fn put<T: Data>(&self, value: T) -> Result<ObjectRef<T>, TaskError> {
        context::with_thread(|thread| {
            let (_, id) = context::next_put(&thread.node);
            let stored = seal(&thread.node, &thread.counters, id, value)?;
            Ok(ObjectRef::of(ObjectCell::filled(id, Ok(stored))))
        })?
    }

    /// Cancels the task that makes `object`, and what it has submitted. One that has not started never runs; one that
    /// runs is asked ([`is_cancelled`](crate::is_cancelled)), an async one ends at its next `await`. Whether there was
    /// anything to cancel.
    pub fn cancel<T: Data>(&self, object: &ObjectRef<T>) -> bool {
        let Some(task) = object.as_object().producer() else { return false };
        let found = cancel_one(&task);
        self.cancel_children(task.head().id);
        found
    }

    fn cancel_children(&self, of: TaskId) {
        let all = live::snapshot(self.node.tag);
        let mut parents = vec![of];
        while let Some(parent) = parents.pop() {
            for task in all.iter().filter(|task| task.head().parent == parent && task.head().id != parent) {
                cancel_one(task);
                parents.push(task.head().id);
            }
        }
    }

    /// The dynamic task graph: all that is alive, and the whole run where the runtime was told to record it.
    #[must_use]
    pub fn graph(&self) -> TaskGraph {
        graph_of(&self.node)
    }

    /// Why the task of `object` has no result yet, in one sentence.
    #[must_use]
    pub fn explain<T: Data>(&self, object: &ObjectRef<T>) -> String {
        crate::explain::explain(&self.node, &object.as_object())
    }

    /// The namespace of the names of this program's actors: what [`RuntimeBuilder::namespace`](crate::RuntimeBuilder::namespace)
    /// said, else `default`, or in a cluster one of the job's own.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.node.config.namespace
    }

    /// What has run so far.
    #[must_use]
    pub fn stats(&self) -> RuntimeStats {
        self.node.stats()
    }

    /// What the object store holds; none before its first use.
    #[must_use]
    pub fn store_stats(&self) -> Option<StoreStats> {
        self.node.store_if_open().map(|store| store.stats())
    }

    /// The id of the node that this process is on: the cluster's, if it takes part in one.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node.cluster.as_ref().map_or(self.node.id, |cluster| cluster.me().node)
    }

    /// What all living nodes have; embedded, what this one has. Nothing where the cluster's node does not answer.
    #[must_use]
    pub fn cluster_resources(&self) -> ResourceSet {
        match &self.node.cluster {
            None => self.node.config.resources.clone(),
            Some(cluster) => self.sum(cluster, |node| &node.spec.resources),
        }
    }

    /// What of it is free right now, as far as it is known on this node. Embedded, CPUs of ordinary tasks count as free.
    #[must_use]
    pub fn available_resources(&self) -> ResourceSet {
        match &self.node.cluster {
            None => self.node.scheduler.free().unwrap_or_default(),
            Some(cluster) => self.sum(cluster, |node| &node.load.free),
        }
    }

    fn sum(&self, cluster: &Arc<CoreWorker>, of: impl Fn(&NodeStatus) -> &ResourceSet) -> ResourceSet {
        let status = blocking::blocked(&self.node, || cluster.status());
        let mut sum = ResourceSet::new();
        status.unwrap_or_default().nodes.iter().for_each(|node| sum.add(of(node)));
        sum
    }

    /// The latest calls that could not be delivered, and how many there were in all.
    #[must_use]
    pub fn dead_letters(&self) -> (Vec<DeadLetter>, u64) {
        self.node.supervisor.dead_letters()
    }

    /// Restarts of actors so far.
    #[must_use]
    pub fn actor_restarts(&self) -> u64 {
        self.node.supervisor.restarts()
    }

    /// Ends the runtime now: what has not run gives an error. Dropping the last clone does the same.
    pub fn shutdown(self) {
        if let Some(running) = running(&self.node) {
            running.shut_down();
        }
    }
}

fn cancel_one(task: &Arc<dyn Task>) -> bool {
    let head = task.head();
    if head.state() == TaskState::Done {
        return false;
    }
    if head.cancel_before_start() {
        task.fail(head.cancelled_error());
    } else {
        task.clone().nudge();
    }
    true
}
