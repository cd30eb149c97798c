//! What a replica is told to do: change the group's members, hand the leadership over, stand for election.
//!
//! Owns: which of these make sense now. Does not own their outcome: a change is done once its entry is committed, and a
//! candidate leads once a majority says so. Invariants: one change of members at a time; the leader is never taken out.

use raft::eraftpb::{ConfChange, ConfChangeType};
use thiserror::Error;

use super::{ready, ReplicaCore};
use crate::replica::{MembershipChange, ReplicaId};

/// Why the group's members cannot be changed now.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MembershipError {
    /// This replica does not lead.
    #[error("this replica does not lead its group; ask {leader:?}")]
    NotLeader {
        /// Who does, if that is known.
        leader: Option<ReplicaId>,
    },
    /// A change is under way.
    #[error("another change of the group's members is under way; try again once it is done")]
    UnderWay,
    /// The leader cannot be taken out.
    #[error("the leader cannot be taken out; transfer its leadership first")]
    Leader,
    /// The change would leave nobody who votes, or names nobody.
    #[error("the change makes no sense: {0}")]
    Senseless(&'static str),
}

impl ReplicaCore {
    /// Changes who belongs to the group. Done once `ReplicaEffect::Members` says so; a change of leader may undo it
    /// before.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub fn change_members(&mut self, change: &MembershipChange) -> Result<(), MembershipError> {
        if !self.leads() {
            return Err(MembershipError::NotLeader { leader: self.leader });
        }
        if self.raw.raft.has_pending_conf() {
            return Err(MembershipError::UnderWay);
        }
        let mut addresses = self.position.addresses.clone();
        let mut raft_change = ConfChange::default();
        let (kind, id) = match change {
            MembershipChange::AddLearner(id, address) => {
                if self.position.members.voters.contains(&id.0) {
                    return Err(MembershipError::Senseless("it votes already"));
                }
                addresses.insert(*id, address.clone());
                (ConfChangeType::AddLearnerNode, id)
            }
            MembershipChange::AddVoter(id, address) => {
                addresses.insert(*id, address.clone());
                (ConfChangeType::AddNode, id)
            }
            MembershipChange::Remove(id) if *id == self.config.id => return Err(MembershipError::Leader),
            MembershipChange::Remove(id) => {
                if addresses.remove(id).is_none() {
                    return Err(MembershipError::Senseless("it is not a member"));
                }
                (ConfChangeType::RemoveNode, id)
            }
        };
        if id.0 == 0 {
            return Err(MembershipError::Senseless("a replica's id is not zero"));
        }
        raft_change.set_change_type(kind);
        raft_change.node_id = id.0;
        let context = ready::pack_addresses(&addresses);
        self.raw.propose_conf_change(context, raft_change).map_err(|_| MembershipError::UnderWay)
    }

    /// Hands the leadership to `to`, or to the replica whose log agrees furthest: before a shutdown, so that nobody waits
    /// for a timeout. Nothing happens where this replica does not lead or is alone.
    pub fn transfer_leadership(&mut self, to: Option<ReplicaId>) {
        if !self.leads {
            return;
        }
        let raft = &self.raw.raft;
        let others = self.position.members.voters.iter().copied().filter(|id| *id != self.config.id.0);
        let matched = |id: &u64| raft.prs().get(*id).map_or(0, |progress| progress.matched);
        if let Some(to) = to.map(|to| to.0).or_else(|| others.max_by_key(matched)) {
            self.raw.transfer_leader(to);
        }
    }

    /// Stands for election now: for tests, and for whoever knows that nobody leads.
    pub fn stand(&mut self) {
        self.campaign();
    }
}
