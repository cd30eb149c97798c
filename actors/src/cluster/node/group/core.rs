//! Decides which nodes hold the replicas of a shard.
//!
//! Owns: the next change of a group, one at a time. A core: it sees the group as its leader does, and the nodes that live.
//!
//! Rules, the first that applies. A member whose node is dead is taken out. A learner that has caught up gets its vote. Where
//! there are fewer members than wanted, the node that has lived longest without one is told to open a replica, which is then
//! added as a learner. The number of voters that is aimed at is odd, and no more than there are nodes: two replicas would
//! survive less than one.
//!
//! **Invariants:** nobody whose node lives is taken out; a replica votes only once it has what the leader has; while no node is
//! known nothing is decided.

use std::collections::BTreeSet;

use actinic_gcs::{
    replica::{MembershipChange, ReplicaId, ReplicaStatus},
    NodeId,
};

/// Entries that a learner may lack when it gets its vote.
const BEHIND_MAX: u64 = 64;

/// The replica that a node holds, of any shard: of one life of one node, so never used again.
pub(crate) fn replica_of(node: NodeId) -> ReplicaId {
    ReplicaId(((node.0 >> 64) as u64).max(1))
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Tell a node to open its replica; harmless if it has.
    Hold(NodeId),
    /// Change the group.
    Change(MembershipChange),
}

/// The state.
#[derive(Default)]
pub(crate) struct GroupCore {
    told: BTreeSet<NodeId>,
}

impl GroupCore {
    /// This node leads no more: what it told others is the next leader's to tell again.
    pub(crate) fn on_lost(&mut self) {
        self.told.clear();
    }

    /// What is to be done next, for a group that is to have `wanted` voters and whose leader sees it as `status`; `nodes` are
    /// those that live, those that came first before the others, with their addresses.
    pub(crate) fn next(&mut self, wanted: usize, status: &ReplicaStatus, nodes: &[(NodeId, String)]) -> Vec<Step> {
        self.told.retain(|told| nodes.iter().any(|(node, _)| node == told));
        let lives = |replica: &ReplicaId| nodes.iter().any(|(node, _)| replica_of(*node) == *replica);
        if !lives(&status.id) {
            return Vec::new();
        }
        let members: Vec<ReplicaId> = status.voters.iter().chain(&status.learners).copied().collect();
        if let Some(dead) = members.iter().find(|replica| !lives(replica)) {
            return vec![Step::Change(MembershipChange::Remove(*dead))];
        }
        let address = |replica: ReplicaId| nodes.iter().find(|(node, _)| replica_of(*node) == replica);
        if let Some((node, address)) = status.learners.first().and_then(|learner| address(*learner)) {
            let replica = replica_of(*node);
            let matched = status.matched.iter().find(|(id, _)| *id == replica).map_or(0, |(_, matched)| *matched);
            if matched > 0 && matched + BEHIND_MAX >= status.last {
                return vec![Step::Change(MembershipChange::AddVoter(replica, address.clone()))];
            }
            // It may have been told before its connection was there.
            return vec![Step::Hold(*node)];
        }
        let most = wanted.min(nodes.len()).max(1);
        let aim = most - usize::from(most.is_multiple_of(2));
        if members.len() >= aim {
            return Vec::new();
        }
        let Some((node, address)) = nodes.iter().find(|(node, _)| !members.contains(&replica_of(*node))) else {
            return Vec::new();
        };
        if self.told.insert(*node) {
            return vec![Step::Hold(*node)];
        }
        let learner = MembershipChange::AddLearner(replica_of(*node), address.clone());
        vec![Step::Change(learner), Step::Hold(*node)]
    }
}

#[cfg(test)]
mod tests;
