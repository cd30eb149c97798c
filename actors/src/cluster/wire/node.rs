//! What nodes say to each other, and of themselves.
//!
//! Owns: the records. Invariant: what is told of a load or a demand is absolute, and the newer replaces the older.

use std::collections::BTreeMap;

use super::*;

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
    /// Jobs whose workers it cannot start for a while, and why.
    pub unfit: BTreeMap<JobId, String>,
    /// Of two of a node the one with the greater number is the newer.
    pub revision: u64,
}

/// A demand that its own node cannot or should not meet, on its way to a `GlobalScheduler`.
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
    /// The sender starts no workers of a job for a while, so what was placed there by name is better placed elsewhere.
    Unfit(JobId),
    /// A process of the sender is gone.
    Gone {
        /// Which.
        process: ProcessId,
        /// Why.
        reason: String,
    },
    /// A job has ended: so must its workers.
    JobGone(JobId),
    /// A driver of the sender's is about to leave, and is to have what its workers have written by now.
    Flush(ProcessId),
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
    /// About large objects.
    Object(ObjectFrame),
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
    /// What this node's object store holds.
    pub objects: ObjectFigures,
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
