//! What can be seen of a replica.
//!
//! Owns: the getters of its core and what they give. Invariant: to look changes nothing.

use serde::{Deserialize, Serialize};

use super::ReplicaCore;
use crate::replica::{Addresses, ReplicaId};

/// What can be seen of a replica.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaStatus {
    /// Which replica.
    pub id: ReplicaId,
    /// The term.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<ReplicaId>,
    /// Whether it is itself the leader.
    pub leads: bool,
    /// The last entry in its log, the last that it knows to be committed, and the last applied on its disk.
    pub last: u64,
    /// See `last`.
    pub committed: u64,
    /// See `last`.
    pub applied: u64,
    /// Entries and bytes of the log in memory.
    pub log_entries: usize,
    /// See `log_entries`.
    pub log_bytes: usize,
    /// Writes that wait for an entry.
    pub waiting: usize,
    /// Who votes, and who only follows.
    pub voters: Vec<ReplicaId>,
    /// See `voters`.
    pub learners: Vec<ReplicaId>,
    /// At the leader: how far each replica's log is known to agree.
    pub matched: Vec<(ReplicaId, u64)>,
    /// What it has done since it was opened.
    pub work: ReplicaWork,
}

/// What a replica has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaWork {
    /// Syncs of its log.
    pub fsyncs: u64,
    /// Entries in its log that are durable.
    pub entries: u64,
    /// Clients' writes that it put into entries, as the leader.
    pub writes: u64,
}

impl ReplicaCore {
    /// What can be seen of it.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        let raft = &self.raw.raft;
        let ids = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect();
        let mut matched: Vec<_> = raft.prs().iter().map(|(id, progress)| (ReplicaId(*id), progress.matched)).collect();
        matched.sort_unstable();
        ReplicaStatus {
            id: self.config.id,
            term: raft.term,
            leader: self.leader,
            leads: self.leads,
            last: raft.raft_log.last_index(),
            committed: raft.raft_log.committed,
            applied: self.applied,
            log_entries: self.raw.store().len(),
            log_bytes: self.raw.store().bytes(),
            waiting: self.writes.len() + self.reads.len(),
            voters: ids(&self.position.members.voters),
            learners: ids(&self.position.members.learners),
            matched: if self.leads { matched } else { Vec::new() },
            work: self.work,
        }
    }

    /// Who leads, as far as this replica knows.
    #[must_use]
    pub fn leader(&self) -> Option<ReplicaId> {
        self.leader
    }

    /// Where the members are reached.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.position.addresses
    }
}
