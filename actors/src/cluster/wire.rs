//! What processes of a cluster say to each other.
//!
//! Owns: the frames, as plain records in MessagePack. Does not own how bytes are cut into frames ([`super::peer`]), nor what
//! is done about them. Invariant: every length is bounded by the frame's, which is checked before it is believed.

use std::fmt;

use actinic_gcs::{
    spec::LabelSelector, ActorId, FunctionId, JobId, NodeId, ObjectId, PlacementGroupId, ResourceSet, TaskId, WorkerId,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

mod actor;
mod greeting;
mod node;
mod output;
mod value;

pub use self::{
    actor::{ActorWhere, ActorWord, HostActor, NewActor},
    greeting::{anonymous_namespace, is_anonymous, Caller, Greeting, Welcome, DEFAULT_NAMESPACE},
    node::{ClusterStatus, GcsStatus, NodeFrame, NodeLoad, NodeStatus, Spilled},
    output::WorkerOutput,
    value::{WireActor, WireArg, WireRef, WireValue},
};
use super::{
    groups::{GroupAsk, GroupFrame, GroupNews},
    objects::wire::{ObjectAsk, ObjectFigures, ObjectFrame, ObjectNews},
    work::Work,
};
use crate::{error::TaskError, options::SchedulingStrategy};

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

/// Names a line between processes of two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LineName {
    /// Who called.
    pub caller: ProcessId,
    /// Which of its calls it was.
    pub number: u32,
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

/// Where a process is reached directly; nowhere but through its node, where neither is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doors {
    /// Its Unix socket, on the same machine.
    pub socket: Option<String>,
    /// `host:port`, from others.
    pub address: Option<String>,
}

/// From a process to its node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToNode {
    /// Leases are wanted.
    Demand(Demand),
    /// A lease has ended.
    Return(LeaseId),
    /// A driver is about to leave: what its workers have written by now is to come out first. Each node answers with
    /// [`FromNode::Flushed`].
    Flush,
    /// The answer to [`FromNode::MayEnd`].
    MayEnd {
        /// To which question.
        question: u64,
        /// Whether the worker may end: nobody needs what it has.
        may: bool,
    },
    /// A worker is ready for tasks.
    Ready {
        /// Where processes of other nodes reach it directly.
        address: Option<String>,
    },
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
    /// About large objects.
    Object(ObjectAsk),
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
        /// Where it is reached directly.
        doors: Doors,
        /// Accelerators assigned.
        gpus: Vec<u32>,
    },
    /// The worker has had nothing to do for long: may it end? The number tells one question from another.
    MayEnd(u64),
    /// A lease is wanted back for others; what was sent to its worker may end.
    Recall(LeaseId),
    /// A node has nothing for a class of which it leases nothing yet, while the receiver has other leases there.
    Short {
        /// Which class.
        class: ClassId,
        /// Which node.
        node: NodeId,
        /// What it lacks for one more lease.
        lacking: ResourceSet,
    },
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
    Output(Box<WorkerOutput>),
    /// What the driver's workers on one node had written has been told.
    Flushed {
        /// Which node says so.
        by: NodeId,
        /// Which others will, too; told by the driver's own.
        others: Option<Vec<NodeId>>,
    },
    /// How the node is.
    Status(Box<ClusterStatus>),
    /// About large objects.
    Object(ObjectNews),
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
    /// The sender has given up these lines, and what was under way on them.
    GivenUp(Vec<LineName>),
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

impl DataFrame {
    /// The objects to which what it brings refers, each as often as it does.
    #[must_use]
    pub fn references(&self) -> Vec<ObjectId> {
        let outcomes = match self {
            Self::Run(_, run) | Self::Call(_, run) => {
                let refs = run.args.iter().flat_map(WireArg::values).flat_map(|value| &value.refs);
                return refs.map(|wire| wire.id).collect();
            }
            Self::Done { outcomes, .. } | Self::Answer { outcomes, .. } => outcomes.as_slice(),
            Self::Object { outcome, .. } => std::slice::from_ref(outcome),
            _ => &[],
        };
        outcomes.iter().flatten().flat_map(|value| &value.refs).map(|wire| wire.id).collect()
    }
}
