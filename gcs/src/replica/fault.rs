//! Known mistakes of Raft implementations, put back on purpose.
//!
//! Owns: the list. Each is a line that somebody once left out; the simulation must find every one of them, or it proves
//! nothing about the rest. Only tests can ask for one.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A vote is sent before it is durable: after a crash the replica votes again, and two lead in one term.
    VoteBeforePersist,
    /// Entries are acknowledged before they are durable: a crash takes back what a majority was counted for.
    AckBeforePersist,
    /// An entry of an older term is taken for committed because a majority has it (the Raft paper, figure 8).
    CommitOlderTerm,
    /// Entries are applied when they are appended, before a majority has them.
    ApplyBeforeCommit,
    /// A leader answers reads without asking a majority whether it still leads.
    ReadWithoutConfirmation,
}
