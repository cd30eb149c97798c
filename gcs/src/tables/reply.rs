//! What comes back from writes and reads.
//!
//! Owns: [`Reply`] and pages. Invariant: the reply to a write is small, because it is remembered for retries.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    spec::{
        ActorInfo, CallEntry, CallLogHead, Checkpoint, Event, FunctionInfo, JobInfo, NodeInfo, ObjectInfo,
        PlacementGroupInfo, TaskSpec,
    },
    ActorId, JobId,
};

/// Which part of a listing is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRequest {
    /// [`Page::next`] of the page before, or none for the first.
    pub after: Option<Bytes>,
    /// How many items at most; between one and [`super::limits::PAGE_LEN_MAX`] whatever is asked.
    pub limit: u32,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { after: None, limit: super::limits::PAGE_LEN_MAX as u32 }
    }
}

/// Part of a listing, in key order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where to go on, if there are more.
    pub next: Option<Bytes>,
}

/// The answer to a write or read that was not refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reply {
    /// Done.
    Done,
    /// Whether a row was put: to a conditional put.
    Stored(bool),
    /// Whether there was a row to delete.
    Deleted(bool),
    /// A new job's id.
    JobId(JobId),
    /// The actor that is registered, and whether this request registered it.
    Registered {
        /// The actor.
        actor: ActorId,
        /// Whether it is new.
        created: bool,
    },
    /// The actor's incarnation after a step.
    Incarnation(u32),
    /// The bounds of a call log.
    CallLogHead(CallLogHead),
    /// A node.
    Node(Option<Box<NodeInfo>>),
    /// Nodes.
    Nodes(Page<NodeInfo>),
    /// A job.
    Job(Option<Box<JobInfo>>),
    /// Jobs.
    Jobs(Page<JobInfo>),
    /// A function.
    Function(Option<Box<FunctionInfo>>),
    /// Functions.
    Functions(Page<FunctionInfo>),
    /// An actor.
    Actor(Option<Box<ActorInfo>>),
    /// Actors.
    Actors(Page<ActorInfo>),
    /// A checkpoint.
    Checkpoint(Option<Box<Checkpoint>>),
    /// Call log entries by position.
    CallLog(Page<(u64, CallEntry)>),
    /// Task specs, one for each id asked for.
    Tasks(Vec<Option<Box<TaskSpec>>>),
    /// Objects, one for each id asked for.
    Objects(Vec<Option<Box<ObjectInfo>>>),
    /// Objects.
    ObjectPage(Page<ObjectInfo>),
    /// A placement group.
    PlacementGroup(Option<Box<PlacementGroupInfo>>),
    /// Placement groups.
    PlacementGroups(Page<PlacementGroupInfo>),
    /// A user's value.
    Value(Option<Bytes>),
    /// A user's keys.
    Keys(Page<Bytes>),
    /// Events by number.
    Events(Page<(u64, Event)>),
}
