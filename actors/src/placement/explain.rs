//! Why something cannot run, or not yet.
//!
//! Owns: reasons as plain data, to be counted, sent and matched on, and their sentences for people. Invariant: nothing
//! that waits or is refused is without a reason here.

use std::fmt;

use actinic_gcs::{NodeId, PlacementGroupId, Quantity, ResourceSet};
use serde::{Deserialize, Serialize};

use super::groups::PlacementStrategy;

/// Why a demand can never be met, however much is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Infeasible {
    /// More is asked than there is in one place at all.
    #[error("{asked} {resource} are asked, and no one place has more than {total}")]
    Total {
        /// Of what.
        resource: String,
        /// How much is asked.
        asked: Quantity,
        /// The most that one place has in all; of a resource with devices, on whole devices if `asked` is whole.
        total: Quantity,
    },
    /// Each resource is there, but no place has all of them.
    #[error("no one place has all of {demand}")]
    Together {
        /// What is asked.
        demand: ResourceSet,
    },
    /// More than one device is asked, and not a whole number of them.
    #[error("{asked} {resource} are asked, and more than one must be a whole number")]
    NotWhole {
        /// Of what.
        resource: String,
        /// How much is asked.
        asked: Quantity,
    },
    /// There are no nodes.
    #[error("there are no nodes")]
    NoNodes,
}

/// Why nothing was allocated. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not now: others hold too much of it.
    #[error("{asked} {resource} are asked, and {free} are free in one place")]
    Busy {
        /// Of what; the first that is short, by name.
        resource: String,
        /// How much is asked.
        asked: Quantity,
        /// How much is free; of a resource with devices it may be enough in sum and lie on too many of them.
        free: Quantity,
    },
    /// Not ever.
    #[error(transparent)]
    Infeasible(#[from] Infeasible),
    /// There is no such node.
    #[error("there is no node {0}")]
    UnknownNode(NodeId),
    /// There is no such placement group.
    #[error("there is no placement group {0}")]
    UnknownGroup(PlacementGroupId),
    /// The group has no bundle of this index.
    #[error("placement group {group} has {bundles} bundles, and none of index {bundle}")]
    UnknownBundle {
        /// The group.
        group: PlacementGroupId,
        /// The index asked for.
        bundle: u32,
        /// How many bundles there are.
        bundles: u32,
    },
    /// The group, or the bundle asked for, is not placed (yet, or again).
    #[error("placement group {0} waits to be placed")]
    NotPlaced(PlacementGroupId),
    /// The group is being removed.
    #[error("placement group {0} is being removed")]
    Removing(PlacementGroupId),
}

/// Why a placement group fits on no set of the present nodes, even if they were empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum GroupInfeasible {
    /// One bundle alone is too large.
    #[error("bundle {bundle} fits on no node: {reason}")]
    Bundle {
        /// Its index.
        bundle: u32,
        /// Why.
        reason: Infeasible,
    },
    /// Every bundle needs a node of its own, and there are too few nodes.
    #[error("{bundles} bundles must be on different nodes, and there are {nodes}")]
    TooFewNodes {
        /// How many bundles.
        bundles: u32,
        /// How many nodes.
        nodes: u32,
    },
    /// Each bundle fits alone, but not all of them the way the strategy asks.
    #[error("each bundle fits on some node, but not all of them together as {strategy} asks")]
    Together {
        /// The strategy.
        strategy: PlacementStrategy,
    },
}

/// Why a placement group could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// There is a group of this id.
    #[error("there is a placement group {0} already")]
    AlreadyExists(PlacementGroupId),
    /// A group needs a bundle.
    #[error("a placement group needs at least one bundle")]
    NoBundles,
    /// A bundle asks for nothing.
    #[error("bundle {0} asks for nothing")]
    EmptyBundle(u32),
    /// There is a bound on bundles.
    #[error("{asked} bundles are asked, and {max} are the most")]
    TooManyBundles {
        /// How many were asked for.
        asked: usize,
        /// The most.
        max: usize,
    },
    /// The present nodes can never hold it, and the request would not wait for others.
    #[error(transparent)]
    Infeasible(#[from] GroupInfeasible),
}

/// What a placement group is doing, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GroupStatus {
    /// Every bundle is reserved.
    Placed,
    /// A bundle does not fit beside what others hold.
    WaitsForResources {
        /// The first such bundle.
        bundle: u32,
        /// What it lacks where it lacks least.
        reason: Refusal,
    },
    /// Each bundle fits, but not all of them the way the strategy asks, beside what others hold.
    WaitsToFitTogether {
        /// The strategy.
        strategy: PlacementStrategy,
    },
    /// An earlier group was passed by too often, and is placed before any later one.
    WaitsBehind {
        /// That group.
        group: PlacementGroupId,
    },
    /// Everything fits now: the next retry places it.
    WaitsForRetry,
    /// The present nodes can never hold it: it waits for nodes to join.
    WaitsForNodes(GroupInfeasible),
    /// It was removed, and these tasks still hold its resources.
    Removing {
        /// How many.
        leases: u32,
    },
}

impl fmt::Display for GroupStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placed => f.write_str("placed"),
            Self::WaitsForResources { bundle, reason } => write!(f, "waits for resources of bundle {bundle}: {reason}"),
            Self::WaitsToFitTogether { strategy } => {
                write!(f, "waits: each bundle fits now, but not all of them together as {strategy} asks")
            }
            Self::WaitsBehind { group } => write!(f, "waits behind placement group {group}, which waited too long"),
            Self::WaitsForRetry => f.write_str("fits now and is placed at the next retry"),
            Self::WaitsForNodes(reason) => write!(f, "waits for nodes to join: {reason}"),
            Self::Removing { leases } => write!(f, "removed, once {leases} running tasks are done"),
        }
    }
}
