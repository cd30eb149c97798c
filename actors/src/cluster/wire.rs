//! What processes of a cluster say to each other.
//!
//! Owns: the frames, as plain records in MessagePack. Does not own how bytes are cut into frames ([`super::peer`]), nor what
//! is done about them. Invariant: every length is bounded by the frame's, which is checked before it is believed.

use std::fmt;

use actinic_gcs::{
    spec::{ActorSpec, LabelSelector},
    ActorId, FunctionId, JobId, NodeId, ObjectId, PlacementGroupId, ResourceSet, TaskId, WorkerId,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    groups::{GroupAsk, GroupFrame, GroupNews},
    work::Work,
};
use crate::{
    error::TaskError,
    options::{HostedOptions, OverflowPolicy, SchedulingStrategy},
    supervision::Exit,
};

/// The number of the process of a node itself, as the keeper of actors.
pub const MANAGER: WorkerId = WorkerId(0);

/// One process of a cluster: a driver or a worker, numbered by its node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its node.
    pub node: NodeId,
    /// Its number there, never used twice in the node's life.
    pub worker: WorkerId,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}/{}", self.node.0 >> 96, self.worker.0)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ProcessId {
    /// A node as the keeper of actors.
    #[must_use]
    pub fn manager(node: NodeId) -> Self {
        Self { node, worker: MANAGER }
    }

    /// Whether this is a node as the keeper of actors.
    #[must_use]
    pub fn is_manager(self) -> bool {
        self.worker == MANAGER
    }
}

/// A worker lent to an owner, for tasks of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId {
    /// The node that lends.
    pub node: NodeId,
    /// Its number there.
    pub number: u64,
}

/// What a lease is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseFor {
    /// Tasks, one after the other.
    Tasks,
    /// One actor, in a worker of its own.
    Actor,
    /// One actor that asks for nothing, beside others.
    LightActor,
}

/// Tasks of an owner that ask for the same, as the owner numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClassId(pub u32);

/// What the tasks of a class ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClassSpec {
    /// What each takes while it runs.
    pub demand: ResourceSet,
    /// Where it may run.
    pub strategy: SchedulingStrategy,
    /// What must hold of its node's labels, besides.
    pub labels: LabelSelector,
    /// Where the inputs of each mostly are, if they weigh anything.
    pub near: Option<NodeId>,
    /// Whether a task runs again whose worker was lost.
    pub retriable: bool,
}

/// How many leases an owner wants for a class, in all. A newer one replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Which class.
    pub class: ClassId,
    /// What its tasks ask for.
    pub spec: ClassSpec,
    /// How many leases, those that are held included.
    pub want: u32,
    /// How many it holds that other nodes have granted.
    pub elsewhere: u32,
    /// The work behind it.
    pub work: Work,
    /// Of two demands of a class the one with the greater number is the newer.
    pub revision: u64,
}

/// An executable, by its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExeHash(pub [u8; 32]);

impl fmt::Display for ExeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ExeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExeHash({self:.8})")
    }
}

/// What a job's workers are started from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobCode {
    /// The job.
    pub job: JobId,
    /// The driver's executable.
    pub exe: ExeHash,
    /// Its size in bytes.
    pub exe_bytes: u64,
    /// The namespace of actors' names.
    pub namespace: String,
    /// The process of the driver, where the executable can be had, and where output goes.
    pub driver: ProcessId,
    /// The driver's working directory; workers have it too, where it is there.
    pub cwd: String,
    /// Environment variables of the job's workers, besides those of their node.
    pub env: Vec<(String, String)>,
    /// Remote functions that the driver knows; a worker that knows fewer was not built from the same code.
    pub functions: u32,
}

/// Who calls on a node's socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Caller {
    /// A driver, which brings a job.
    Driver {
        /// Its operating-system process.
        pid: u32,
        /// Where its executable is.
        exe: String,
        /// The namespace of its actors' names.
        namespace: String,
        /// Its command line, for people.
        entrypoint: String,
        /// Its working directory.
        cwd: String,
        /// Environment variables of its workers.
        env: Vec<(String, String)>,
        /// How many remote functions it knows.
        functions: u32,
    },
    /// A worker that the node has started.
    Worker {
        /// Under this number.
        worker: WorkerId,
    },
    /// Another process of this node, for tasks and objects.
    Process(ProcessId),
    /// A tool.
    Status,
    /// Somebody who wants the node to end.
    Stop,
}

/// The first words on a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The version of the protocol.
    pub version: u16,
    /// Who calls.
    pub caller: Caller,
}

/// What a node answers to a driver or a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// Who the caller is from now on.
    pub process: ProcessId,
    /// Whose code it runs.
    pub code: JobCode,
    /// Where it is to listen for other processes.
    pub listen: String,
    /// The cluster.
    pub cluster: u128,
    /// Its token, if it has one.
    pub token: Option<String>,
    /// Where each shard of the control store is reached.
    pub gcs: Vec<Vec<String>>,
    /// The head, which keeps detached actors.
    pub head: NodeId,
}

/// From a process to its node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToNode {
    /// Leases are wanted.
    Demand(Demand),
    /// A lease has ended.
    Return(LeaseId),
    /// A worker is ready for tasks.
    Ready,
    /// A placement group is wanted, or wanted no more.
    Group(GroupAsk),
    /// All that the sender runs under this lease of its node waits for others: it needs no CPU meanwhile.
    Blocked(LeaseId),
    /// It goes on.
    Unblocked(LeaseId),
    /// Frames for another process, which cannot be reached directly.
    Relay {
        /// To whom.
        to: ProcessId,
        /// [`DataFrame`]s, encoded.
        body: Bytes,
    },
    /// To whoever keeps an actor.
    Actor {
        /// The keeper's node.
        keeper: NodeId,
        /// What.
        word: ActorWord,
    },
}

/// From a node to one of its processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromNode {
    /// The caller is let in.
    Welcome(Box<Welcome>),
    /// It is not.
    Refused(String),
    /// A worker is leased.
    Granted {
        /// For which class.
        class: ClassId,
        /// The lease.
        lease: LeaseId,
        /// The worker.
        worker: ProcessId,
        /// Its socket, if it is on the same machine.
        socket: Option<String>,
        /// Accelerators assigned.
        gpus: Vec<u32>,
    },
    /// A lease is wanted back for others; what was sent to its worker may end.
    Recall(LeaseId),
    /// The tasks of a class can never run.
    Infeasible {
        /// Which class.
        class: ClassId,
        /// Why.
        reason: String,
    },
    /// What became of a placement group that the receiver asked for.
    Group(PlacementGroupId, GroupNews),
    /// The tasks of a class wait for a node that there is not.
    Hopeless {
        /// Which class.
        class: ClassId,
        /// What they ask for, and what there is.
        reason: String,
    },
    /// A process is gone, and all its leases with it.
    Gone {
        /// Which.
        process: ProcessId,
        /// What is known of its end.
        reason: String,
    },
    /// A node is gone, and all its processes with it.
    NodeGone {
        /// Which.
        node: NodeId,
        /// What is known of its end.
        reason: String,
    },
    /// Frames of another process.
    Relay {
        /// Whose.
        from: ProcessId,
        /// [`DataFrame`]s, encoded.
        body: Bytes,
    },
    /// A worker of the job has written something.
    Output {
        /// Which worker.
        process: ProcessId,
        /// Whether to its standard error.
        stderr: bool,
        /// Whole lines, the last without its end.
        text: String,
    },
    /// How the node is.
    Status(Box<ClusterStatus>),
    /// The worker is to host an actor.
    Host(Box<HostActor>),
    /// The worker hosts an actor that is to end.
    EndActor {
        /// Which.
        actor: ActorId,
        /// Why.
        reason: String,
        /// Whether its calls are to be answered first.
        drain: bool,
    },
    /// Where an actor is that the process has a handle to.
    Actor {
        /// Which.
        actor: ActorId,
        /// Where.
        place: ActorWhere,
    },
}

/// An actor, as its creator asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewActor {
    /// What the control store is told.
    pub spec: ActorSpec,
    /// Who made it; it ends with its owner unless it is detached.
    pub owner: ProcessId,
    /// The task that made it.
    pub parent: TaskId,
    /// Where it may live.
    pub strategy: SchedulingStrategy,
    /// What must hold of its node's labels.
    pub labels: LabelSelector,
    /// How it is to be run.
    pub options: HostedOptions,
}

/// What a worker needs to run an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostActor {
    /// What was asked for.
    pub new: NewActor,
    /// Who keeps it.
    pub keeper: NodeId,
    /// The arguments of its constructor.
    pub args: Vec<WireArg>,
    /// Under which lease.
    pub lease: LeaseId,
    /// Restarts that are left; none for no end.
    pub restarts_left: Option<u32>,
    /// Accelerators assigned to it.
    pub gpus: Vec<u32>,
    /// Its last saved state, which takes the constructor's place.
    pub checkpoint: Option<Bytes>,
}

/// Where an actor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActorWhere {
    /// Nowhere yet.
    Pending,
    /// In this process.
    Alive {
        /// Which.
        process: ProcessId,
        /// Its socket, where that can be reached.
        socket: Option<String>,
    },
    /// It was lost and is on its way up again.
    Away {
        /// How it was lost.
        reason: String,
    },
    /// It takes no calls and never will.
    Dead {
        /// Why, for people.
        reason: String,
        /// How it ended.
        exit: Exit,
    },
}

/// To whoever keeps an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ActorWord {
    /// It is to be made once its constructor's arguments are there.
    Declare(Box<NewActor>),
    /// They are.
    Construct {
        /// Which actor.
        actor: ActorId,
        /// The arguments.
        args: Vec<WireArg>,
    },
    /// The sender has a handle, and wants to know where the actor is from now on.
    Watch(ActorId),
    /// It is to end.
    End {
        /// Which.
        actor: ActorId,
        /// Why.
        reason: String,
        /// Whether its calls are to be answered first.
        drain: bool,
    },
    /// Its host has built its state.
    Up(ActorId, LeaseId),
    /// Its host builds its state anew.
    Restarting(ActorId, LeaseId),
    /// Its host says that it is dead for good.
    Down {
        /// Which.
        actor: ActorId,
        /// Under which lease it ran.
        lease: LeaseId,
        /// Why, for people.
        reason: String,
        /// How it ended.
        exit: Exit,
    },
    /// Its state after so many calls.
    Checkpoint {
        /// Which.
        actor: ActorId,
        /// Under which lease it runs.
        lease: LeaseId,
        /// How many.
        calls: u64,
        /// The state.
        state: Bytes,
    },
}

/// A handle to an actor, on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WireActor {
    /// The actor.
    pub id: ActorId,
    /// The Rust type of its state.
    pub type_name: String,
    /// Its class, with its name if it has one, for people.
    pub label: String,
    /// Whether it lives without handles.
    pub detached: bool,
    /// Calls that may wait.
    pub max_pending_calls: usize,
    /// What happens to one over that bound.
    pub overflow: OverflowPolicy,
    /// How often a call is tried again that was lost with its actor.
    pub max_task_retries: u32,
}

/// An object of another process, and who owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WireRef {
    /// The object.
    pub id: ObjectId,
    /// The process that knows what became of it.
    pub owner: ProcessId,
}

/// A value on its way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WireValue {
    /// The structure.
    pub meta: Bytes,
    /// The bulk.
    pub buffers: Vec<Bytes>,
    /// The references inside.
    pub refs: Vec<WireRef>,
    /// Which of the references are handles to actors.
    #[serde(default)]
    pub actors: Vec<(u32, WireActor)>,
}

impl WireValue {
    /// How many bytes it brings.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.meta.len() + self.buffers.iter().map(Bytes::len).sum::<usize>()
    }
}

/// One argument on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WireArg {
    /// Its value.
    Value(WireValue),
}

/// A task on its way to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunTask {
    /// Its id.
    pub id: TaskId,
    /// Who submitted it.
    pub parent: TaskId,
    /// What it runs.
    pub function: FunctionId,
    /// How many objects a split result has; for others it is not asked.
    pub num_returns: u32,
    /// Its arguments.
    pub args: Vec<WireArg>,
    /// Accelerators assigned to it.
    pub gpus: Vec<u32>,
}

/// What became of a task or an object.
pub type WireOutcome = Result<WireValue, TaskError>;

/// Between two processes, about tasks and objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DataFrame {
    /// Run this, under this lease.
    Run(LeaseId, Box<RunTask>),
    /// A task has ended.
    Done {
        /// Under this lease.
        lease: LeaseId,
        /// Which.
        task: TaskId,
        /// How long it ran, in microseconds.
        ran_us: u64,
        /// Its objects, in order.
        outcomes: Vec<WireOutcome>,
    },
    /// Do not run it, or ask it to end.
    Cancel(TaskId),
    /// Call an actor's method.
    Call(ActorId, Box<RunTask>),
    /// A call has been answered.
    Answer {
        /// Whose.
        actor: ActorId,
        /// Which.
        task: TaskId,
        /// Its objects, in order.
        outcomes: Vec<WireOutcome>,
    },
    /// Take an actor's state down and rebuild it.
    RestartActor(ActorId),
    /// The sender has found a handle by its name: the actor's owner keeps it until it is released.
    BorrowActor(ActorId),
    /// The owner wants those of these tasks back that have not begun: others can run them sooner.
    TakeBack {
        /// Under which lease they were sent.
        lease: LeaseId,
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// These tasks have not begun, and will not begin at the sender.
    GivenBack {
        /// Under which lease they were sent.
        lease: LeaseId,
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// The asker wants the value of this object when it is there.
    Fetch(ObjectId),
    /// Whoever gave the sender its reference is lost: the owner keeps the object until it is released.
    Borrow(ObjectId),
    /// The sender needs so many of the references that it was given no more.
    Release {
        /// To which object.
        object: ObjectId,
        /// How many.
        count: u32,
    },
    /// What became of an object that was asked for.
    Object {
        /// Which.
        id: ObjectId,
        /// What became of it.
        outcome: WireOutcome,
    },
}

/// How loaded a node is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeLoad {
    /// What is free.
    pub free: ResourceSet,
    /// Leases that are wanted of it and not granted.
    pub waiting: u32,
    /// Tasks that wait for those.
    pub tasks: u64,
    /// How long the tasks take of those who want leases here, on the average, in microseconds; 0 where nobody knows.
    pub task_us: u64,
    /// Bytes a second at which inputs come to it; 0 where none have.
    pub bandwidth: u64,
    /// Workers that run.
    pub workers: u32,
    /// Of two of a node the one with the greater number is the newer.
    pub revision: u64,
}

/// A demand that its own node cannot or should not meet, on its way to a [`super::global::GlobalScheduler`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spilled {
    /// Whose.
    pub owner: ProcessId,
    /// Whose code.
    pub code: JobCode,
    /// The class.
    pub class: ClassId,
    /// What its tasks ask for.
    pub spec: ClassSpec,
    /// How many leases are to be had elsewhere, in all.
    pub want: u32,
    /// The work behind them.
    pub work: Work,
    /// The newer replaces the older.
    pub revision: u64,
}

/// Between two nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum NodeFrame {
    /// Who calls, and what it is.
    Hello(Box<actinic_gcs::spec::NodeSpec>),
    /// How the sender is.
    Load(NodeLoad),
    /// To a global scheduler: place this.
    Spilled(Box<Spilled>),
    /// From a global scheduler: so many of these leases are yours to grant.
    Place(Box<Spilled>),
    /// About a placement group.
    Group(GroupFrame),
    /// Something for a process of the receiver.
    ForProcess {
        /// For whom.
        to: ProcessId,
        /// What.
        frame: Box<FromNode>,
    },
    /// A lease of the receiver has ended.
    Return(LeaseId),
    /// A process of the sender is gone.
    Gone {
        /// Which.
        process: ProcessId,
        /// Why.
        reason: String,
    },
    /// A job has ended: so must its workers.
    JobGone(JobId),
    /// To the receiver as the keeper of actors.
    Actor {
        /// Who says it.
        from: ProcessId,
        /// Whose code the sender runs, where an actor is to be made.
        code: Option<Box<JobCode>>,
        /// What.
        word: ActorWord,
    },
    /// From the node that leads a shard of the control store: hold a replica of it.
    HoldReplica {
        /// Which shard.
        shard: usize,
    },
    /// A piece of an executable is wanted.
    FetchExe {
        /// Which.
        exe: ExeHash,
        /// From which byte on.
        offset: u64,
    },
    /// A piece of an executable; empty at its end.
    ExePart {
        /// Which.
        exe: ExeHash,
        /// From which byte on.
        offset: u64,
        /// The bytes, or why there are none.
        bytes: Result<Bytes, String>,
    },
}

/// What a node says of the cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// All nodes that live, this one first.
    pub nodes: Vec<NodeStatus>,
    /// Jobs with a driver on this node.
    pub jobs: Vec<JobId>,
    /// What waits on this node, and for what.
    pub waiting: Vec<String>,
    /// The control store's replicas.
    pub gcs: GcsStatus,
}

/// What is known of the control store's replicas.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GcsStatus {
    /// How many each shard is to have.
    pub wanted: u32,
    /// By shard: where the replicas that vote are reached, and whether their nodes live.
    pub shards: Vec<Vec<(String, bool)>>,
    /// Whether the loss of any one node would be survived.
    pub survives_a_node: bool,
    /// Whether the loss of any one machine would be.
    pub survives_a_machine: bool,
}

/// What is known of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// What it said of itself.
    pub spec: actinic_gcs::spec::NodeSpec,
    /// How it is.
    pub load: NodeLoad,
}
