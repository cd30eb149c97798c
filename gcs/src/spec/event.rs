//! Events: what happened, for people.
//!
//! Owns: the shape of an event. Events explain; nothing is decided by them, and old ones are dropped.

use serde::{Deserialize, Serialize};

use crate::{ActorId, JobId, Millis, NodeId, ObjectId, PlacementGroupId, TaskId};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the clock of the node that says so.
    pub at: Millis,
    /// The node that says so.
    pub node: NodeId,
    /// How grave it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// A short stable label, such as `NODE_DIED`.
    pub label: String,
    /// A sentence.
    pub message: String,
}

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// As it should be.
    Info,
    /// Something was lost or delayed, and is dealt with.
    Warning,
    /// Something failed.
    Error,
}

impl Severity {
    /// The severity as logs print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The cluster.
    Cluster,
    /// A node.
    Node(NodeId),
    /// A job.
    Job(JobId),
    /// A task.
    Task(TaskId),
    /// An actor.
    Actor(ActorId),
    /// An object.
    Object(ObjectId),
    /// A placement group.
    PlacementGroup(PlacementGroupId),
}
