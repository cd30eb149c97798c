//! What processes of a cluster say to each other.
//!
//! Owns: the frames, as plain records in MessagePack. Does not own how bytes are cut into frames ([`super::peer`]), nor what
//! is done about them. Invariant: every length is bounded by the frame's, which is checked before it is believed.

use std::fmt;

use actinic_gcs::{FunctionId, JobId, NodeId, ObjectId, ResourceSet, TaskId, WorkerId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{error::TaskError, options::SchedulingStrategy};

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

/// A worker lent to an owner, for tasks of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId {
    /// The node that lends.
    pub node: NodeId,
    /// Its number there.
    pub number: u64,
}

/// Tasks of an owner that ask for the same, as the owner numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClassId(pub u32);

/// What the tasks of a class ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClassSpec {
    /// What each takes while it runs.
    pub demand: ResourceSet,
    /// Where it may run.
    pub strategy: SchedulingStrategy,
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
    /// Its join token, if it has one.
    pub token: Option<String>,
    /// The certificates of this machine's node, where they are the operator's own.
    pub tls_files: Option<crate::gcs_net::tls::TlsFiles>,
    /// Where each shard of the control store is reached.
    pub gcs: Vec<Vec<String>>,
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
    /// Frames for another process, which cannot be reached directly.
    Relay {
        /// To whom.
        to: ProcessId,
        /// [`DataFrame`]s, encoded.
        body: Bytes,
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
    /// From a global scheduler to the owner's node: no node can ever do this.
    Infeasible {
        /// Whose.
        owner: ProcessId,
        /// Which.
        class: ClassId,
        /// Why.
        reason: String,
    },
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
}

/// What is known of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// What it said of itself.
    pub spec: actinic_gcs::spec::NodeSpec,
    /// How it is.
    pub load: NodeLoad,
}
