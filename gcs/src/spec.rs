//! What the control plane knows of tasks, actors, nodes, jobs, objects, placement groups and events.
//!
//! Owns: the shapes of these records and the rules that a single record keeps by itself (which states may follow which).
//! Does not own: where records are kept ([`crate::tables`]) or who decides to change them. Invariants: every record is
//! versioned when encoded ([`crate::record`]); options are enums, never sentinels.

mod actor;
mod event;
mod group;
mod job;
mod node;
mod object;
mod task;

use serde::{Deserialize, Serialize};

pub use actor::{
    ActorDeath, ActorInfo, ActorLocation, ActorSpec, ActorState, CallEntry, CallLogHead, Checkpoint, CheckpointState,
    Lifetime,
};
pub use event::{Event, Severity, Subject};
pub use group::{PlacementGroupInfo, PlacementGroupSpec, PlacementGroupState, PlacementStrategy};
pub use job::{Executable, FunctionInfo, FunctionKind, JobInfo, JobOutcome, JobSpec, JobState};
pub use node::{LabelMatch, LabelSelector, NodeDeath, NodeInfo, NodeSpec, NodeState};
pub use object::{ObjectInfo, Owner};
pub use task::{SchedulingStrategy, TaskArg, TaskKind, TaskSpec};

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Limit {
    /// So many times; zero means never.
    AtMost(u32),
    /// Without end (Ray's `-1`).
    Unlimited,
}

impl Limit {
    /// Never.
    pub const NEVER: Self = Self::AtMost(0);

    /// Whether once more is allowed after `done` times.
    #[must_use]
    pub fn allows(self, done: u32) -> bool {
        match self {
            Self::AtMost(max) => done < max,
            Self::Unlimited => true,
        }
    }
}

crate::record::records! {
    TaskSpec = "task spec",
    ActorSpec = "actor spec",
    ActorInfo = "actor",
    Checkpoint = "checkpoint",
    CallEntry = "call log entry",
    CallLogHead = "call log head",
    NodeInfo = "node",
    JobInfo = "job",
    FunctionInfo = "function",
    ObjectInfo = "object",
    PlacementGroupInfo = "placement group",
    Event = "event",
}
