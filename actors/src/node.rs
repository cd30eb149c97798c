//! One node of the runtime, as its threads share it.
//!
//! Owns: what the fast paths need without asking an actor: the lane, the counters, the registry of waits. Every decision
//! about resources is the [scheduler](crate::scheduler)'s, every decision about actors' lives the
//! [supervisor](crate::supervisor)'s; this only passes things to them.

use std::{
    any::Any,
    sync::{
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
        Arc, OnceLock,
    },
};

use actinic_gcs::{ActorId, JobId, NodeId, ResourceSet, TaskId};
use parking_lot::Mutex;

use crate::{
    cluster::core_worker::CoreWorker,
    context,
    counters::{Counters, RuntimeStats},
    error::{TaskError, TaskErrorKind},
    gcs_client::GcsPort,
    graph::Recorder,
    lane::{Lane, Work},
    live,
    pool::worker::Threads,
    scheduler::{GrantedTurn, SchedulerPort},
    store::{ObjectStore, StoreConfig, StoreError},
    supervisor::SupervisorPort,
    task::{Task, TaskHead, TaskKind},
    user::Directory,
    waits::WaitGraph,
};

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// What it has.
    pub resources: ResourceSet,
    /// The object store.
    pub store: StoreConfig,
    /// The job that runs here.
    pub job: JobId,
    /// The namespace of actors' names.
    pub namespace: String,
    /// The namespace of the key-value store.
    pub kv_namespace: String,
    /// Keeps the task graph of the whole run, up to this many tasks; none keeps what is alive only.
    pub record_graph: Option<usize>,
    /// Bounds of the worker pool.
    pub pool: crate::pool::PoolLimits,
    /// Objects up to this size stay in memory as they are.
    pub inline_bytes_max: usize,
    /// Threads on which message-style actors live.
    pub arbiters: usize,
    /// Seed of what is random: the jitter of restarts.
    pub seed: u64,
    /// Where the control store is.
    pub gcs: GcsStorage,
    /// The cluster that the process takes part in.
    pub cluster: Option<Arc<CoreWorker>>,
}

/// Where an embedded node keeps its control store.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum GcsStorage {
    /// In memory: it ends with the runtime.
    #[default]
    Memory,
    /// In the cluster.
    Cluster {
        /// The cluster, with its token.
        membership: crate::gcs_net::Membership,
        /// Where each shard is reached.
        shards: Vec<Vec<String>>,
    },
    /// In a folder, where the next runtime finds it: user values, functions, events, and who lived when.
    #[cfg(feature = "rocksdb")]
    Folder {
        /// Which; made if it is not there.
        path: std::path::PathBuf,
        /// What an answer to a write promises.
        durability: actinic_gcs::store::Durability,
    },
    /// In a folder of the system's temporary one, which goes with the runtime, or with the next one's start: for what
    /// outgrows memory and need not outlive the program.
    #[cfg(feature = "rocksdb")]
    Temporary,
}

/// Objects up to this size stay inline (100 KiB, as in Ray).
pub const INLINE_BYTES_MAX: usize = 100 * 1024;

/// The counters of the threads there are, and the sum of those that have gone.
#[derive(Default)]
struct AllCounters {
    threads: Vec<Arc<Counters>>,
    gone: RuntimeStats,
}

/// One node.
pub struct Node {
    /// A number of its own in this process.
    pub tag: u32,
    /// Its id.
    pub id: NodeId,
    /// The id's beginning, for messages.
    pub name: String,
    /// The task that stands for the driver.
    pub driver: TaskId,
    /// How it was set up.
    pub config: NodeConfig,
    /// The fast lane.
    pub lane: Lane,
    /// The worker threads.
    pub threads: Threads,
    /// Timers and sockets of async tasks and methods.
    pub io: tokio::runtime::Handle,
    /// Who waits for what.
    pub waits: Mutex<WaitGraph>,
    /// The graph of the whole run, where asked.
    pub recorder: Option<Recorder>,
    /// The actors of this node.
    pub actors: Directory,
    /// The `LocalScheduler`.
    pub scheduler: SchedulerPort,
    /// The `NodeSupervisor`.
    pub supervisor: SupervisorPort,
    /// The `GcsClient`.
    pub gcs: GcsPort,
    /// The cluster, if this process takes part in one.
    pub cluster: Option<Arc<CoreWorker>>,
    store: OnceLock<Arc<ObjectStore>>,
    store_opening: Mutex<()>,
    counters: Mutex<AllCounters>,
    kept: Mutex<Vec<Box<dyn Any + Send + Sync>>>,
    driver_children: AtomicU64,
    driver_puts: AtomicU32,
    driver_groups: AtomicU64,
    blocked_note: AtomicBool,
    down: AtomicBool,
}

/// The task that stands for what runs outside of any: the driver's, or one of a worker's own.
fn driver_task(config: &NodeConfig) -> TaskId {
    let driver = TaskId::driver(config.job);
    match &config.cluster {
        Some(cluster) if !cluster.is_driver() => {
            let me = cluster.me();
            driver.child(me.node.0 as u64).child((me.node.0 >> 64) as u64).child(u64::from(me.worker.0))
        }
        _ => driver,
    }
}

static NEXT_TAG: AtomicU32 = AtomicU32::new(1);

impl Node {
    /// A node that is not running yet.
    #[must_use]
    pub fn new(config: NodeConfig, id: NodeId, io: tokio::runtime::Handle) -> Arc<Self> {
        let cpus = (config.resources.of(actinic_gcs::resources::CPU).0 / actinic_gcs::Quantity::UNIT) as u32;
        Arc::new(Self {
            tag: NEXT_TAG.fetch_add(1, Ordering::Relaxed),
            id,
            name: match &config.cluster {
                Some(cluster) => cluster.me().to_string(),
                None => format!("{:08x}", id.0 >> 96),
            },
            driver: driver_task(&config),
            lane: Lane::new(cpus),
            threads: Threads::default(),
            io,
            waits: Mutex::default(),
            recorder: config.record_graph.map(Recorder::new),
            actors: Directory::default(),
            scheduler: SchedulerPort::default(),
            supervisor: SupervisorPort::default(),
            gcs: GcsPort::default(),
            cluster: config.cluster.clone(),
            store: OnceLock::new(),
            store_opening: Mutex::default(),
            counters: Mutex::default(),
            kept: Mutex::default(),
            driver_children: AtomicU64::new(0),
            driver_puts: AtomicU32::new(0),
            driver_groups: AtomicU64::new(0),
            blocked_note: AtomicBool::new(false),
            down: AtomicBool::new(false),
            config,
        })
    }

    /// Submits a task whose edges are known. It is queued as soon as the objects that it takes are there.
    pub fn submit(self: &Arc<Self>, task: &Arc<dyn Task>, thread: &context::ThreadState) {
        self.register(task, thread);
        if crate::edges::arm(self, task) {
            self.ready(task.clone(), Some(thread));
        }
    }

    /// As [`Node::submit`], of a task that another thread is as likely to run as this one: it goes where all look.
    pub fn submit_here(self: &Arc<Self>, task: &Arc<dyn Task>, thread: &context::ThreadState) {
        self.register(task, thread);
        if crate::edges::arm(self, task) {
            self.ready(task.clone(), None);
        }
    }

    /// The way to the keeper of an actor that this process hosts for the cluster.
    #[must_use]
    pub fn keeper_of(&self, actor: ActorId) -> Option<&Arc<CoreWorker>> {
        self.cluster.as_ref().filter(|cluster| cluster.hosts(actor))
    }

    /// Enters a task into the registry, and into the record of the run where one is kept.
    pub fn register(&self, task: &Arc<dyn Task>, thread: &context::ThreadState) {
        live::enter(self.tag, task);
        thread.counters.add(crate::counters::Count::TasksSubmitted, 1);
        if let Some(recorder) = &self.recorder {
            recorder.record(task.head());
        }
    }

    /// A task has all it takes: it goes to the lane, or to the scheduler if it asks for more than one CPU.
    pub fn ready(self: &Arc<Self>, task: Arc<dyn Task>, thread: Option<&context::ThreadState>) {
        if !task.head().mark_queued() {
            return;
        }
        self.enqueue(task, thread);
    }

    /// Puts a task that is queued by its state into the queue that suits it.
    pub fn enqueue(self: &Arc<Self>, task: Arc<dyn Task>, thread: Option<&context::ThreadState>) {
        if let Some(grant) = task.head().grant() {
            self.lane.push_turn(GrantedTurn::of(task.clone(), grant));
            return;
        }
        if let Some(cluster) = self.cluster.as_ref().filter(|_| !task.head().is_kept_here() && task.can_leave()) {
            return cluster.submit(task);
        }
        match (&task.head().options, thread) {
            // An actor that asks for nothing waits for no CPU: its constructor runs in a turn of its own.
            (None, _) if matches!(task.head().kind, TaskKind::Creation(_)) => task.execute(self),
            (Some(options), _) if !options.is_plain() => self.scheduler.submit(task),
            (_, Some(thread)) => self.lane.submit(Work::Task(task), &thread.outbox),
            (_, None) => self.lane.push(task),
        }
    }

    /// Has what this thread has made ready begun now, by a worker that sleeps. For threads that run no tasks themselves: what
    /// they leave to the sentinel's looks begins up to a millisecond later.
    pub fn rouse(&self) {
        context::hand_over();
        let lane = &self.lane;
        let runnable = lane.has_turns() || (lane.free_tokens() > 0 && lane.has_tasks());
        if runnable && lane.searching() == 0 {
            lane.wake_one();
        }
    }

    /// A task is over: what it was granted is free again.
    pub fn task_done(&self, head: &TaskHead) {
        if let Some(grant) = head.grant() {
            self.scheduler.finished(grant.id);
        }
    }

    /// The object store, opened at its first use.
    ///
    /// # Errors
    /// The store's, where its segment cannot be made.
    pub fn store(&self) -> Result<&Arc<ObjectStore>, StoreError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let _one_at_a_time = self.store_opening.lock();
        if self.store.get().is_none() {
            let opened = ObjectStore::open(self.config.store.clone())?;
            let _ = self.store.set(opened);
        }
        Ok(self.store.get().expect("invariant: it was set under the lock"))
    }

    /// The object store, if it has been used.
    #[must_use]
    pub fn store_if_open(&self) -> Option<&Arc<ObjectStore>> {
        self.store.get()
    }

    /// Counters for one more thread.
    pub fn add_counters(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        let mut all = self.counters.lock();
        let AllCounters { threads, gone } = &mut *all;
        threads.retain(|of_thread| {
            let alive = Arc::strong_count(of_thread) > 1;
            if !alive {
                of_thread.sum_into(gone);
            }
            alive
        });
        threads.push(counters.clone());
        counters
    }

    /// What has run so far.
    #[must_use]
    pub fn stats(&self) -> RuntimeStats {
        let all = self.counters.lock();
        let mut sum = all.gone;
        for counters in &all.threads {
            counters.sum_into(&mut sum);
        }
        sum
    }

    /// Keeps `value` as long as the node runs.
    pub fn keep(&self, value: Box<dyn Any + Send + Sync>) {
        self.kept.lock().push(value);
    }

    /// Gives a token back to the lane, or to the scheduler if it is owed one.
    pub fn put_token(&self) {
        self.lane.put_token();
        if self.lane.owes() {
            self.settle_tokens();
        }
    }

    /// Hands free tokens that are owed to the scheduler.
    pub fn settle_tokens(&self) {
        let settled = self.lane.settle();
        if settled > 0 {
            self.scheduler.tokens_returned(settled);
        }
    }

    /// A thread is about to block: somebody else should take what is queued.
    pub fn note_blocked(&self) {
        let waiting = self.lane.has_turns() || (self.lane.free_tokens() > 0 && self.lane.has_tasks());
        if waiting && self.lane.searching() == 0 && !self.lane.wake_one() {
            self.blocked_note.store(true, Ordering::Release);
            self.lane.wake_sentinel();
        }
    }

    /// Whether a thread has blocked with nobody to wake since the last look.
    pub fn take_blocked_note(&self) -> bool {
        self.blocked_note.swap(false, Ordering::AcqRel)
    }

    /// Whole CPUs of the node.
    #[must_use]
    pub fn cpus_whole(&self) -> usize {
        (self.config.resources.of(actinic_gcs::resources::CPU).units() as usize).max(1)
    }

    pub(crate) fn next_driver_child(&self) -> u64 {
        self.driver_children.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn next_driver_put(&self) -> u32 {
        self.driver_puts.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn next_driver_group(&self) -> u64 {
        self.driver_groups.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether it has been shut down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Ends it: threads leave, and what has not run gives an error to whoever waits for it.
    pub fn shut_down(&self) {
        if self.down.swap(true, Ordering::SeqCst) {
            return;
        }
        let hint = "it was shut down before the task had run".to_owned();
        let error = TaskError::from(TaskErrorKind::NoRuntime { hint });
        for task in live::snapshot(self.tag) {
            task.fail(error.clone());
        }
        if let Some(cluster) = &self.cluster {
            cluster.lines.close();
        }
        while self.lane.wake_one() {}
        self.lane.wake_sentinel();
        let kept = std::mem::take(&mut *self.kept.lock());
        drop(kept);
    }
}
