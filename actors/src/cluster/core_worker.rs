//! The `CoreWorker`: how a driver or a worker takes part in a cluster (Ray's word for it).
//!
//! Owns: this process's connections to its node and to other processes, the tasks it has submitted and the objects it
//! shares; carries out what [`SubmitCore`] and [`RefCore`] decide. The cores are locked by their callers, as an actor's
//! mailbox is: a task that could go to a worker at once must not wait for another thread. Does not own the running of tasks,
//! which is the engine's ([`crate::node::Node`]).
//!
//! Invariants: no user code runs under a lock of this module; effects of one event are carried out in their order; once the
//! node is gone, whoever waits hears of it.

mod actors;
mod answers;
mod arrived;
mod connect;
mod ears;
mod export;
pub mod far;
mod groups;
mod print;
mod rest;
mod sent;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, OnceLock, Weak,
    },
    time::{Duration, Instant},
};

use actinic_gcs::{FunctionId, Millis, NodeId, ObjectId, PlacementGroupId};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use self::{
    actors::{ActorImporter, CallImporter, Classes},
    arrived::{Arrived, ArrivedArg},
    connect::{ask, node_of, ConnectError, Connection, DriverInfo},
    export::{Exporter, Imported},
    groups::OnPlaced,
};
use self::{
    answers::Running,
    print::{Partings, Printer},
    rest::Rest,
    sent::Sent,
};
use super::{
    lines::{line::Line, Lines},
    objects::{inputs::inputs_of, ObjectClient, Portable},
    peer::{Conduit, NotSent},
    refs::{
        core::{RefCore, RefEffect},
        ForeignRef,
    },
    submit::core::{SubmitCore, SubmitEffect},
    wire::{Caller, ClassId, ClassSpec, ClusterStatus, DataFrame, LeaseId, ProcessId, RunTask, ToNode, Welcome},
};
use crate::{
    error::{TaskError, TaskErrorKind},
    node::Node,
    options::TaskOptions,
    task::{Object, Task, TaskHead, TaskKind},
};

/// How often a task whose worker was lost runs again unless its options say otherwise (as in Ray).
pub const MAX_RETRIES_DEFAULT: u32 = 3;
/// Between looks while tasks wait.
const BUSY_TICK: Duration = Duration::from_millis(1);
/// Between looks while tasks are under way.
const WORK_TICK: Duration = Duration::from_millis(5);
/// Between looks while leases are held.
const IDLE_TICK: Duration = Duration::from_millis(50);

/// Makes a task of this process out of one that has come.
pub type Importer = fn(Arrived<'_>, RunTask) -> Result<Imported, TaskError>;

struct State {
    submit: SubmitCore<Sent>,
    refs: RefCore,
    /// The class of ordinary tasks.
    plain: ClassId,
}

impl State {
    fn class_of(&mut self, task: &dyn Task) -> ClassId {
        let options = task.head().options.as_deref().filter(|options| !options.is_plain());
        match (options, inputs_of(task).home()) {
            (None, None) => self.plain,
            (_, near) => self.submit.class(&ClassSpec { near, ..class_of(options) }),
        }
    }
}

/// How another process is reached.
#[derive(Clone)]
enum Way {
    Direct(Arc<Line>),
    ThroughNode,
}

/// This process in its cluster.
pub struct CoreWorker {
    /// Who this process is.
    pub welcome: Welcome,
    /// The way to large objects.
    pub objects: Arc<ObjectClient>,
    /// To other processes of its node.
    pub lines: Arc<Lines>,
    is_driver: bool,
    /// Which node keeps new detached actors.
    head: Mutex<NodeId>,
    /// Where processes of other nodes call.
    address: Option<String>,
    /// The node's socket.
    socket: PathBuf,
    node_conduit: Conduit,
    state: Mutex<State>,
    /// Accelerators of the leases that have some, and whether there was ever one.
    gpus: Mutex<BTreeMap<LeaseId, Vec<u32>>>,
    has_gpus: AtomicBool,
    ways: Mutex<BTreeMap<ProcessId, Way>>,
    /// What is heard of processes of other nodes while they are called.
    coming: Mutex<BTreeMap<ProcessId, Vec<far::Later>>>,
    /// Nodes whose workers do not answer at their doors.
    shut_off: Mutex<BTreeSet<NodeId>>,
    /// Where processes of other nodes call, until it is open.
    door: Mutex<Option<(std::net::TcpListener, String)>>,
    /// Objects of this process that others need.
    pinned: Mutex<BTreeMap<ObjectId, Arc<dyn Object>>>,
    /// References whose values were asked for.
    fetching: Mutex<BTreeMap<ObjectId, Vec<Weak<ForeignRef>>>>,
    running: Mutex<Running>,
    rest: Mutex<Rest>,
    groups: Mutex<BTreeMap<PlacementGroupId, Option<OnPlaced>>>,
    functions: BTreeMap<FunctionId, Importer>,
    classes: Classes,
    actors: Mutex<actors::Actors>,
    node: OnceLock<Weak<Node>>,
    arbiter: OnceLock<actix::ArbiterHandle>,
    far_lines: Mutex<far::FarLines>,
    connection: Mutex<Option<std::os::unix::net::UnixStream>>,
    tick: Notify,
    began: Instant,
    gone: AtomicBool,
    partings: Partings,
    printer: Printer,
}

/// That the node is gone.
#[must_use]
pub fn disconnected() -> TaskError {
    let hint = "the node that this process was connected to has ended; start the program again once the cluster runs";
    TaskErrorKind::NoRuntime { hint: hint.to_owned() }.into()
}

impl CoreWorker {
    /// A process that its node has let in. Nothing is heard or sent before [`CoreWorker::attach`].
    #[must_use]
    pub fn new(connection: Connection, functions: BTreeMap<FunctionId, Importer>, classes: Classes) -> Arc<Self> {
        let Connection { stream, lines, socket, welcome, is_driver } = connection;
        let mut submit = SubmitCore::at(welcome.process.node);
        let plain = submit.class(&class_of(None));
        let refs = RefCore::new(welcome.process);
        let head = Mutex::new(welcome.head);
        // Nobody but a worker is called by those whom it has not called.
        let door = welcome.host.as_deref().filter(|_| !is_driver).and_then(far::door);
        let address = door.as_ref().map(|(_, address)| address.clone());
        let node_conduit = Conduit::new();
        Arc::new(Self {
            objects: ObjectClient::new(welcome.process, node_conduit.clone()),
            welcome,
            lines,
            address,
            is_driver,
            head,
            socket,
            node_conduit,
            state: Mutex::new(State { submit, refs, plain }),
            gpus: Mutex::default(),
            has_gpus: AtomicBool::new(false),
            ways: Mutex::default(),
            coming: Mutex::default(),
            shut_off: Mutex::default(),
            door: Mutex::new(door),
            pinned: Mutex::default(),
            fetching: Mutex::default(),
            running: Mutex::default(),
            rest: Mutex::default(),
            groups: Mutex::default(),
            functions,
            classes,
            actors: Mutex::default(),
            node: OnceLock::new(),
            arbiter: OnceLock::new(),
            far_lines: Mutex::default(),
            connection: Mutex::new(Some(stream)),
            tick: Notify::new(),
            began: Instant::now(),
            gone: AtomicBool::new(false),
            partings: Partings::default(),
            printer: Printer::default(),
        })
    }

    /// Who this process is.
    #[must_use]
    pub fn me(&self) -> ProcessId {
        self.welcome.process
    }

    /// Whether this is a driver.
    #[must_use]
    pub fn is_driver(&self) -> bool {
        self.is_driver
    }

    /// Whether this driver prints what its workers write; it does unless told otherwise.
    pub fn log_to_driver(&self, prints: bool) {
        self.printer.turn(prints);
    }

    /// How the cluster is, as this process's node sees it.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn status(&self) -> Result<ClusterStatus, ConnectError> {
        connect::ask_at(&self.socket, Caller::Status)
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn engine(&self) -> Option<Arc<Node>> {
        self.node.get().and_then(Weak::upgrade)
    }

    /// Tells the node that this worker can serve.
    pub fn ready(&self) {
        self.to_node(&ToNode::Ready { address: self.address.clone() });
    }

    fn to_node(&self, frame: &ToNode) {
        if let Err(error) = self.node_conduit.send_now(frame) {
            tracing::warn!(%error, "the node does not hear");
        }
    }

    // --- tasks -----------------------------------------------------------------------------------------------------

    /// A task of this process is ready: it goes to a leased worker, now or later.
    pub fn submit(self: &Arc<Self>, task: Arc<dyn Task>) {
        if self.gone.load(Ordering::Acquire) {
            return task.fail(disconnected());
        }
        let mut effects = Vec::new();
        let mut state = self.state.lock();
        let task = Sent(task);
        let class = state.class_of(&*task.0);
        state.submit.on_submit(class, task, &mut effects);
        let first = state.submit.settle_new(class, &mut effects);
        drop(state);
        if first || effects.is_empty() {
            self.tick.notify_one();
        }
        self.carry_out(effects);
    }

    /// Why a task has not started.
    #[must_use]
    pub fn explain(&self, task: &dyn Task) -> Option<String> {
        if let TaskKind::Method(actor) = task.head().kind {
            return self.explain_call(actor);
        }
        let mut state = self.state.lock();
        let id = task.head().id;
        if let Some(worker) = state.submit.worker_of(id) {
            return Some(format!("it is at worker {worker}"));
        }
        let class = state.class_of(task);
        state.submit.explain(class)
    }

    /// Asks the worker of a task that was sent to end it.
    pub fn cancel(self: &Arc<Self>, head: &TaskHead) {
        let worker = self.state.lock().submit.worker_of(head.id);
        match worker {
            Some(worker) => drop(self.to_process(worker, &DataFrame::Cancel(head.id))),
            None => self.cancel_call(head),
        }
    }

    fn carry_out(self: &Arc<Self>, effects: Vec<SubmitEffect<Sent>>) {
        for effect in effects {
            match effect {
                SubmitEffect::Demand(demand) => self.to_node(&ToNode::Demand(*demand)),
                SubmitEffect::Return(lease) => {
                    self.with_gpus(|gpus| drop(gpus.remove(&lease)));
                    self.to_node(&ToNode::Return(lease));
                }
                SubmitEffect::Send { lease, worker, task, at_once } => self.send(lease, worker, &task.0, at_once),
                SubmitEffect::Infeasible(task, reason) => {
                    let head = task.0.head();
                    let demand = head.options.as_ref().map_or("1 CPU".to_owned(), |o| o.resources().to_string());
                    let task_name = head.name.to_owned();
                    task.0.fail(TaskErrorKind::Infeasible { task: task_name, demand, reason }.into());
                }
                SubmitEffect::Lost(task, worker) => self.lost(&task.0, worker, "it ended"),
                SubmitEffect::TakeBack { lease, worker, tasks } => {
                    // One who cannot be asked runs them in the end, or is lost.
                    let _ = self.to_process_soon(worker, &DataFrame::TakeBack { lease, tasks }, true);
                }
                SubmitEffect::Cancelled(task) => task.0.fail(task.0.head().cancelled_error()),
            }
        }
    }

    /// What is known of accelerators, if there are any.
    fn with_gpus(&self, use_them: impl FnOnce(&mut BTreeMap<LeaseId, Vec<u32>>)) {
        if self.has_gpus.load(Ordering::Relaxed) {
            use_them(&mut self.gpus.lock());
        }
    }

    fn send(self: &Arc<Self>, lease: LeaseId, worker: ProcessId, task: &Arc<dyn Task>, at_once: bool) {
        let exported = self.export(worker, |exporter| task.export(exporter).unwrap_or_else(|| Err(disconnected())));
        let refused = match exported {
            Ok(mut run) => {
                self.with_gpus(|gpus| run.gpus = gpus.get(&lease).cloned().unwrap_or_default());
                let sent = self.to_process_soon(worker, &DataFrame::Run(lease, Box::new(run)), at_once);
                sent.err().map(|error| export::not_sent(task.head().name, error))
            }
            Err(error) => Some(error),
        };
        if let Some(error) = refused {
            let mut effects = Vec::new();
            let now = self.now();
            let ended = self.state.lock().submit.on_done(now, lease, task.head().id, 0, &mut effects);
            if ended.is_some() {
                task.fail(error);
            }
            self.carry_out(effects);
        }
    }

    /// A task's worker is lost: it runs again, or fails.
    fn lost(&self, task: &Arc<dyn Task>, worker: ProcessId, reason: &str) {
        let head = task.head();
        let retries = head.options.as_ref().and_then(|options| options.max_retries).unwrap_or(MAX_RETRIES_DEFAULT);
        match self.engine() {
            Some(node) if head.attempts() < retries && !head.is_cancelled() => {
                tracing::info!(task = head.name, %worker, reason, "a task's worker was lost; it runs again");
                head.mark_requeued();
                node.enqueue(task.clone(), None);
            }
            _ => {
                let (name, node) = (head.name.to_owned(), worker.to_string());
                task.fail(TaskErrorKind::WorkerLost { task: name, node, reason: reason.to_owned() }.into());
            }
        }
    }

    // --- references ------------------------------------------------------------------------------------------------

    fn carry_out_refs(self: &Arc<Self>, effects: Vec<RefEffect>) {
        for effect in effects {
            match effect {
                RefEffect::Release { to, object, count } => {
                    let _ = self.to_process(to, &DataFrame::Release { object, count });
                }
                RefEffect::Borrow { owner, object } => {
                    let _ = self.to_process(owner, &DataFrame::Borrow(object));
                }
                RefEffect::Unpin(object) => {
                    let unpinned = self.pinned.lock().remove(&object);
                    let actor = self.actors.lock().pinned.remove(&object);
                    drop((unpinned, actor));
                }
                RefEffect::Forget(_) => {}
            }
        }
    }

    /// A process has ended for good, and is not only cut off.
    fn ended(&self, process: ProcessId) -> ProcessId {
        self.state.lock().refs.on_ended(process);
        process
    }

    /// A reference to an object of another process is gone.
    pub(super) fn dropped(self: &Arc<Self>, object: ObjectId) {
        let mut effects = Vec::new();
        self.state.lock().refs.on_dropped(object, &mut effects);
        self.carry_out_refs(effects);
    }

    /// Asks the owner for a value.
    pub(super) fn fetch(self: &Arc<Self>, wanted: &Arc<ForeignRef>) {
        let wire = wanted.wire();
        let first = {
            let mut fetching = self.fetching.lock();
            let waiting = fetching.entry(wire.id).or_default();
            waiting.push(Arc::downgrade(wanted));
            waiting.len() == 1
        };
        if first {
            if let Err(error) = self.to_process(wire.owner, &DataFrame::Fetch(wire.id)) {
                self.fetched(wire.id, &Err(export::not_sent("fetch", error)));
            }
        }
    }

    fn fetched(&self, object: ObjectId, outcome: &Result<Portable, TaskError>) {
        let waiting = self.fetching.lock().remove(&object).unwrap_or_default();
        for wanted in waiting.iter().filter_map(Weak::upgrade) {
            wanted.fetched(outcome.clone());
        }
    }

    // --- the end ---------------------------------------------------------------------------------------------------

    /// A driver is about to leave: what its workers have written comes out first.
    pub fn part(&self) {
        if !self.is_driver || !self.partings.begin() {
            return;
        }
        if !self.gone.load(Ordering::Acquire) {
            self.to_node(&ToNode::Flush);
            self.partings.wait();
        }
        self.printer.wait();
    }

    /// The node is gone: nothing can be done any more.
    fn node_gone(self: &Arc<Self>, reason: &str) {
        if self.gone.swap(true, Ordering::AcqRel) {
            return;
        }
        self.partings.on_gone();
        // A node that was killed leaves its shared memory to those who outlive it.
        crate::store::reclaim();
        if !self.is_driver {
            tracing::info!(reason, "the node is gone, and so is this worker");
            std::process::exit(0);
        }
        tracing::error!(reason, "the node is gone");
        self.objects.disconnected();
        let fetching = std::mem::take(&mut *self.fetching.lock());
        for wanted in fetching.into_values().flatten().filter_map(|wanted| wanted.upgrade()) {
            wanted.fetched(Err(disconnected()));
        }
        self.groups_lost();
        if let Some(node) = self.engine() {
            for task in crate::live::snapshot(node.tag) {
                task.fail(disconnected());
            }
        }
    }
}

fn class_of(options: Option<&TaskOptions>) -> ClassSpec {
    let default = TaskOptions::default();
    let options = options.unwrap_or(&default);
    let (strategy, labels) = (options.strategy.clone(), options.labels.clone());
    let retriable = options.max_retries.unwrap_or(MAX_RETRIES_DEFAULT) > 0;
    ClassSpec { demand: options.resources(), strategy, labels, near: None, retriable }
}

impl std::fmt::Debug for CoreWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoreWorker").field("me", &self.me()).finish_non_exhaustive()
    }
}
