//! Placement groups across nodes: bundles reserved on several nodes, all or none.
//!
//! Owns: what nodes and processes say to each other about them. Who decides is [`core`], which the global scheduler of the
//! node runs on which the group was asked for; who has the resources is each node's local scheduler.
//!
//! ```text
//!  process        its node's GlobalScheduler             LocalSchedulers
//!     │  Create ──────► plans, from what nodes say is free
//!     │                  │  Prepare ─────────────────────────► takes the bundles, or not
//!     │                  │  ◄───────────────────────── Prepared(yes / no)
//!     │  Placed ◄────────│  all yes: Commit ─────────────────► keeps them
//!     │                  │  one no, or a node gone: Release ─► gives them back; planned again later
//!     │                  │  Where ───────────────────────────► all nodes: so demands find their bundle
//! ```
//!
//! Invariants: a group is placed only when every node has said yes in the same round; what was prepared and is not committed
//! in time is given back; a node that asked for bundles takes them along when it goes.

pub mod core;

use actinic_gcs::{JobId, NodeId, PlacementGroupId, ResourceSet};
use serde::{Deserialize, Serialize};

use crate::placement::GroupRequest;

/// From a process to its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupAsk {
    /// A group is wanted.
    Create(GroupRequest),
    /// It is wanted no more.
    Remove(PlacementGroupId),
}

/// From a node to the process that asked for a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupNews {
    /// All bundles are reserved, for the first time or again; the node of each.
    Placed(Vec<NodeId>),
    /// A node is lost with its bundles, which are to be placed again.
    Lost(NodeId),
    /// It will never be.
    Refused(String),
}

/// Where a group's bundles are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The group.
    pub group: PlacementGroupId,
    /// The node whose global scheduler places it.
    pub home: NodeId,
    /// What each bundle reserves, and its node, where it has one.
    pub bundles: Vec<(ResourceSet, Option<NodeId>)>,
}

/// Between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupFrame {
    /// Take these bundles, all or none, and say whether they are taken.
    Prepare {
        /// The group.
        group: PlacementGroupId,
        /// The attempt: an answer to an older one is not heard.
        round: u64,
        /// Their indices, and what they reserve.
        bundles: Vec<(u32, ResourceSet)>,
    },
    /// The answer.
    Prepared {
        /// The group.
        group: PlacementGroupId,
        /// The attempt.
        round: u64,
        /// Whether all were taken; else none was.
        taken: bool,
    },
    /// All nodes have taken theirs: keep them.
    Commit(PlacementGroupId),
    /// Give these back, as soon as nothing runs in them any more.
    Release(PlacementGroupId, Vec<u32>),
    /// Where a group is now.
    Where(Site),
    /// There is no such group any more.
    Gone(PlacementGroupId),
}

/// Whose group it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The process that hears of it.
    pub process: super::wire::ProcessId,
    /// The job with which it ends.
    pub job: JobId,
}
