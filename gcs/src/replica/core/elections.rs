//! When a replica stands for election.
//!
//! Owns: the election timeouts, what follows from the end of a leader's process, and candidates who come too early. Does not
//! own votes, which are Raft's.
//!
//! **A leader's process ends.** Everyone's connection to it is reset, at nearly the same time. Whoever is first in rank (by
//! id) stands at once, so that nobody has to wait for a timeout and votes do not split; the others stand in their turn, in
//! case that one has ended, too. Two things would make this slow, and are seen to here:
//!
//! - *The first in rank lags behind in its log*, which any follower may that the leader did not need for its majority. Raft
//!   refuses it, and nobody would stand until the next one's turn. But who refuses it for that reason knows now that the
//!   leader is gone and that this one cannot win: it moves up in rank by one, and whoever is first then stands at once. Only
//!   one stands at a time in a group of any size, since all refuse the same one.
//! - *The candidate's question comes before the other has noticed the end itself.* Raft says nothing then, since the leader's
//!   lease (thesis, 6.4.1) still runs, and does not ask again. So a question that comes during the lease is kept for a few
//!   ticks, and heard when the lease is over. To Raft it is a message that took a little longer, as any may.
//!
//! Invariants: timeouts come from the seed alone; who has no vote never stands; what is kept is bounded by the number of
//! voters.

use std::collections::{BTreeMap, BTreeSet};

use raft::{
    eraftpb::{Message, MessageType},
    StateRole,
};

use super::ReplicaCore;
use crate::replica::{seed::Seeded, ReplicaConfig, ReplicaId};

/// Ticks between two replicas that stand for election when they notice together that their leader's process has ended.
const RANK_TICKS: usize = 2;
/// Ticks that a candidate's question is kept while the leader's lease still runs.
const EARLY_TICKS: usize = 3;

/// What a replica knows of elections beyond Raft.
pub(super) struct Elections {
    seeded: Seeded,
    /// The election timeout, and the term and role that it was drawn for.
    timeout: usize,
    drawn_for: (u64, StateRole),
    /// Ticks until this replica stands, where others stand first.
    stands_in: Option<usize>,
    /// Those who cannot win, while nobody leads: the last leader, and whose log lags behind this one's.
    out: BTreeSet<u64>,
    /// Candidates who came while the leader's lease still ran: the newest question of each, and for how many ticks more.
    early: BTreeMap<u64, (usize, Message)>,
}

impl Elections {
    pub(super) fn new(config: &ReplicaConfig) -> Self {
        Self {
            seeded: Seeded::new(config.seed, config.id.0),
            timeout: config.election_ticks,
            drawn_for: (u64::MAX, StateRole::Follower),
            stands_in: None,
            out: BTreeSet::new(),
            early: BTreeMap::new(),
        }
    }
}

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
        self.elections.out = BTreeSet::from([peer.0]);
        self.elections.stands_in = None;
        self.stand_in_turn();
        for (_, (_, message)) in std::mem::take(&mut self.elections.early) {
            self.on_candidate(message);
        }
    }

    /// A candidate asks for a vote, or whether it would get one.
    pub(super) fn on_candidate(&mut self, message: Message) {
        let raft = &self.raw.raft;
        let (from, real) = (message.from, message.get_msg_type() == MessageType::MsgRequestVote);
        let newer = message.term > raft.term;
        // Who was handed the leadership says so in the context, and is heard at any time.
        if newer && self.in_lease() && message.context.is_empty() {
            if raft.state == StateRole::Follower && self.position.members.voters.contains(&from) {
                self.elections.early.insert(from, (EARLY_TICKS, message));
            }
            return;
        }
        let (leader, asked) = (raft.leader_id, message.term);
        let lags = !raft.raft_log.is_up_to_date(message.index, message.log_term);
        if self.raw.step(message).is_err() || !newer {
            return;
        }
        let raft = &self.raw.raft;
        if lags && raft.state == StateRole::Follower {
            self.elections.out.extend([from, leader].into_iter().filter(|id| *id != raft::INVALID_ID));
            self.stand_in_turn();
        } else if real && raft.term == asked && raft.vote == from {
            // It wins, or dies: then the timeout decides.
            self.elections.stands_in = None;
        }
    }

    /// Stands at once, or after those of lower ids who may win.
    fn stand_in_turn(&mut self) {
        let me = self.config.id.0;
        let may_win = |id: &&u64| **id < me && !self.elections.out.contains(id);
        let turn = RANK_TICKS * self.position.members.voters.iter().filter(may_win).count();
        if turn == 0 {
            self.elections.stands_in = None;
            self.campaign();
        } else {
            let before = self.elections.stands_in.unwrap_or(turn);
            self.elections.stands_in = Some(turn.min(before));
        }
    }

    /// A tick has passed: whose turn it is stands, and who came too early is heard.
    pub(super) fn on_election_tick(&mut self) {
        if self.in_lease() {
            self.elections.out.clear();
            self.elections.stands_in = None;
            self.elections.early.retain(|_, (ticks, _)| {
                *ticks -= 1;
                *ticks > 0
            });
            return;
        }
        self.elections.stands_in = match self.elections.stands_in {
            Some(0) => {
                self.campaign();
                None
            }
            ticks => ticks.map(|ticks| ticks - 1),
        };
        for (_, (_, message)) in std::mem::take(&mut self.elections.early) {
            self.on_candidate(message);
        }
    }

    /// Whether a leader was heard of so lately that Raft gives nobody else its vote.
    fn in_lease(&self) -> bool {
        let raft = &self.raw.raft;
        raft.leader_id != raft::INVALID_ID && raft.election_elapsed < self.config.election_ticks
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
        let (raft, elections) = (&mut self.raw.raft, &mut self.elections);
        if elections.drawn_for != (raft.term, raft.state) {
            elections.drawn_for = (raft.term, raft.state);
            elections.timeout = self.config.election_ticks + elections.seeded.below(self.config.election_ticks);
        }
        raft.set_randomized_election_timeout(elections.timeout);
    }
}

#[cfg(test)]
mod tests;
