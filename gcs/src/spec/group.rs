//! Placement groups: resources reserved together.
//!
//! Owns: the states of a group and what each strategy demands of a placement. Does not own the choice of nodes. Invariant:
//! a group that is `Created` has a node for every bundle, and that placement fits its strategy.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Lifetime;
use crate::{Millis, NodeId, PlacementGroupId, ResourceSet};

/// What was asked for when a placement group was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementGroupSpec {
    /// The group's id, derived from the task that made it.
    pub id: PlacementGroupId,
    /// A name, for people.
    pub name: Option<Arc<str>>,
    /// How bundles go onto nodes.
    pub strategy: PlacementStrategy,
    /// What each bundle reserves; a bundle is on one node.
    pub bundles: Vec<ResourceSet>,
    /// How long it lives if nobody removes it.
    pub lifetime: Lifetime,
}

/// How a group's bundles go onto nodes; Ray's strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PlacementStrategy {
    /// On as few nodes as can be.
    Pack,
    /// On as many nodes as can be.
    Spread,
    /// On one node or not at all.
    StrictPack,
    /// On as many nodes as there are bundles or not at all.
    StrictSpread,
}

impl PlacementStrategy {
    /// Whether this strategy admits `nodes`, one for each bundle.
    #[must_use]
    pub fn admits(self, nodes: &[NodeId]) -> bool {
        let distinct = nodes.iter().collect::<BTreeSet<_>>().len();
        match self {
            Self::Pack | Self::Spread => true,
            Self::StrictPack => distinct <= 1,
            Self::StrictSpread => distinct == nodes.len(),
        }
    }
}

/// Where a placement group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PlacementGroupState {
    /// It waits for resources.
    Pending,
    /// Every bundle is reserved.
    Created,
    /// A node was lost; its bundles wait for resources elsewhere.
    Rescheduling,
    /// It is gone.
    Removed,
}

impl PlacementGroupState {
    /// Whether `next` may follow this state.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Created | Self::Removed),
            Self::Created => matches!(next, Self::Rescheduling | Self::Removed),
            Self::Rescheduling => matches!(next, Self::Created | Self::Rescheduling | Self::Removed),
            Self::Removed => false,
        }
    }
}

/// A placement group as the control plane sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementGroupInfo {
    /// What was asked for.
    pub spec: PlacementGroupSpec,
    /// Where it stands.
    pub state: PlacementGroupState,
    /// The node of each bundle, where it has one.
    pub nodes: Vec<Option<NodeId>>,
    /// Since when it is in this state.
    pub since: Millis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_strategies_admit_only_one_node_or_all_different() {
        let (a, b) = (NodeId(1), NodeId(2));
        assert!(PlacementStrategy::StrictPack.admits(&[a, a]));
        assert!(!PlacementStrategy::StrictPack.admits(&[a, b]));
        assert!(PlacementStrategy::StrictSpread.admits(&[a, b]));
        assert!(!PlacementStrategy::StrictSpread.admits(&[a, b, a]));
        assert!(PlacementStrategy::Pack.admits(&[a, b]));
        assert!(PlacementStrategy::Spread.admits(&[a, a]));
    }
}
