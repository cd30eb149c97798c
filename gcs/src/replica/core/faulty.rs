//! Where mistakes are made on purpose (see [`Fault`]).

use raft::{
    eraftpb::{Entry, Message, MessageType},
    GetEntriesContext, Storage,
};

use super::ReplicaCore;
use crate::replica::{Fault, ReplicaEffect, ReplicaFailed};

impl ReplicaCore {
    /// Lets messages go that should wait for the disk.
    pub(super) fn send_too_early(&mut self, held: &mut Vec<Message>, effects: &mut Vec<ReplicaEffect>) {
        let early = |message: &Message| match message.get_msg_type() {
            MessageType::MsgRequestVoteResponse | MessageType::MsgRequestVote => {
                self.has_fault(Fault::VoteBeforePersist)
            }
            MessageType::MsgAppendResponse => self.has_fault(Fault::AckBeforePersist),
            _ => false,
        };
        let (now, later): (Vec<Message>, Vec<Message>) = std::mem::take(held).into_iter().partition(early);
        *held = later;
        self.send(now, effects);
    }

    /// Applies entries that are not committed.
    pub(super) fn apply_too_early(&mut self, effects: &mut Vec<ReplicaEffect>) -> Result<(), ReplicaFailed> {
        let to = if self.has_fault(Fault::ApplyBeforeCommit) {
            self.raw.store().last()
        } else if self.has_fault(Fault::CommitOlderTerm) && self.leads() {
            self.counted()
        } else {
            return Ok(());
        };
        let from = self.position.index + 1;
        let to = to.min(self.raw.store().last());
        if to < from {
            return Ok(());
        }
        let entries: Vec<Entry> = self.raw.store().entries(from, to + 1, None, GetEntriesContext::empty(false))?;
        self.apply(entries, effects)
    }

    /// How much of what is applied Raft may be told: it would stop at more than it takes for committed.
    pub(super) fn admitted(&self, index: u64) -> u64 {
        let log = &self.raw.raft.raft_log;
        match self.config.fault {
            Some(_) => index.min(log.committed).min(log.persisted).max(log.applied),
            None => index,
        }
    }

    /// The last entry that a majority has, whatever its term.
    fn counted(&self) -> u64 {
        let progress = self.raw.raft.prs();
        let mut matched: Vec<u64> = self
            .position
            .members
            .voters
            .iter()
            .map(|id| progress.get(*id).map_or(0, |progress| progress.matched))
            .collect();
        matched.sort_unstable();
        matched.get((matched.len().max(1) - 1) / 2).copied().unwrap_or(0)
    }
}
