//! When a replica stands for election.
//!
//! Owns: the election timeouts, and what follows from the end of a leader's process. Does not own votes, which are Raft's.
//! Invariants: timeouts come from the seed alone; who has no vote never stands.

use super::ReplicaCore;
use crate::replica::ReplicaId;
use raft::StateRole;

/// Ticks between two replicas that stand for election when they notice together that their leader's process has ended.
const RANK_TICKS: usize = 2;

impl ReplicaCore {
    /// The connection to another replica was reset: its process has ended, or its machine. If it led, those who are left
    /// need not wait for their timeouts; the first of them in order stands at once. Where it was a mistake nothing is lost
    /// but a term: whoever leads is still voted for by a majority.
    pub fn on_peer_gone(&mut self, peer: ReplicaId) {
        self.raw.report_unreachable(peer.0);
        let raft = &mut self.raw.raft;
        if raft.leader_id != peer.0 || raft.state != StateRole::Follower || !raft.promotable() {
            return;
        }
        // Else its vote would be withheld while the leader's lease lasts.
        raft.leader_id = raft::INVALID_ID;
        let me = self.config.id.0;
        let rank = self.position.members.voters.iter().filter(|id| **id < me && **id != peer.0).count();
        if rank == 0 {
            self.campaign();
        } else {
            self.stands_in = Some(rank * RANK_TICKS);
        }
    }

    /// Who has no vote must not stand: alone in what it knows of its group, Raft would have it win.
    pub(super) fn campaign(&mut self) {
        if self.raw.raft.promotable() && !self.installs() {
            // What Raft refuses (a change of members is still to be applied) its timeout tries again.
            let _ = self.raw.campaign();
        }
    }

    /// Raft draws its timeouts from the thread's generator; ours come from the seed.
    pub(super) fn draw_timeout(&mut self) {
        let raft = &mut self.raw.raft;
        if self.drawn_for != (raft.term, raft.state) {
            self.drawn_for = (raft.term, raft.state);
            self.timeout = self.config.election_ticks + self.seeded.below(self.config.election_ticks);
        }
        raft.set_randomized_election_timeout(self.timeout);
    }
}
