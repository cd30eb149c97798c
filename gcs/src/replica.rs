//! One replica of a shard: consensus over a log, and the shard's state machine fed from it.
//!
//! ```text
//!            ReplicaCore                      DiskCore
//! requests ─▶ batches, reads, roles  ── DiskJob ─▶  log rows, votes, the shard's tables   (over any Store)
//! messages ◀▶ raft's RawNode         ◀─ DiskDone ─  outcomes, changes, snapshots
//! ticks    ─▶ transfers of snapshots
//! ```
//!
//! Owns: both halves, each a deterministic state machine. [`ReplicaCore`] lives on the thread that serves messages and
//! touches no store; [`DiskCore`] lives wherever its store may block. They speak in [`DiskJob`]s and [`DiskDone`]s, in
//! order, each job answered. Does not own: time, sockets, threads, or the draw of a seed; a shell brings those, and the
//! simulation brings its own.
//!
//! The protocol is Raft (Ongaro and Ousterhout 2014) as the `raft` crate implements it, with pre-vote (Ongaro's thesis,
//! section 9.6), check-quorum (6.2), leadership transfer (3.10), learners and membership changes one replica at a time
//! (4.1), and reads by ReadIndex (6.4), so that no clock is trusted.
//!
//! **What leaves when.** A leader's appends leave while its own disk still writes (thesis, 10.2.1); a follower's answers and
//! every vote wait until what they promise is durable. A write is answered once it is applied, which is after a majority
//! has it on disk. A read is answered after a majority has confirmed that its leader still leads, from rows at least as
//! new as the read. What arrives while a log write is under way becomes the next entry, and so shares the next fsync.
//!
//! **What a crash may take back.** Nothing that was acknowledged: an answer follows the fsyncs that it depends on. A log
//! that lost acknowledged entries (a damaged disk, or a store that promises no durability) must not come back under its old
//! name: it is refused when opened, and the replica is removed and added anew.

mod alone;
mod core;
mod disk;
mod entry;
#[cfg(any(test, feature = "suite"))]
mod fault;
mod log;
mod message;
mod seed;
mod transfer;

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, HardState};
use serde::{Deserialize, Serialize};
use thiserror::Error;

#[cfg(any(test, feature = "suite"))]
pub use self::fault::Fault;
pub use self::{
    alone::Alone,
    core::{MembershipError, ReplicaCore, ReplicaStatus, ReplicaWork},
    disk::{DiskCore, Recovered},
    message::{PeerMessage, WireError},
};
pub(crate) use self::{
    core::{pack_addresses, unpack_addresses},
    disk::{PositionRow, Truncated},
    entry::{parse_row, row, Proposal, ProposalRef},
    message::parse,
};
use crate::{
    shard::{ClientId, Effect, Filter, RequestError, RequestId, ShardFailed, SubscriptionId},
    store::{Column, Cursor, StoreError},
    tables::Read,
    Millis,
};

/// A replica of a shard, unique in its group for ever: one that was removed never comes back under its id. Not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(pub u64);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replica {}", self.0)
    }
}

/// Where replicas are reached, as text that only shells read.
pub type Addresses = BTreeMap<ReplicaId, String>;

/// How a store that holds no replica yet begins.
#[derive(Clone, Debug)]
pub enum Bootstrap {
    /// As one of the first voters of a new group: all of them are given the same.
    Found(Addresses),
    /// As one that joins: it knows nothing, votes for nobody, and waits to be told.
    Join,
}

/// What a replica is told once.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// Its id.
    pub id: ReplicaId,
    /// What its election timeouts are drawn from.
    pub seed: u64,
    /// Ticks without a word of the leader after which a follower asks for votes, at least; at most twice as many.
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Entries that stay in the log and in memory for followers that lag; who lags more gets a snapshot.
    pub log_entries_max: usize,
    /// Bytes of these entries.
    pub log_bytes_max: usize,
    /// Bytes of writes in one entry.
    pub entry_bytes_max: usize,
    /// Bytes of one write; a larger one is refused.
    pub write_bytes_max: usize,
    /// Writes and reads that wait at the leader; more are answered [`RequestError::Busy`].
    pub waiting_max: usize,
    /// Bytes of rows in one chunk of a snapshot.
    pub chunk_bytes_max: usize,
    /// A known mistake, made on purpose: a simulation that does not find it proves nothing.
    #[cfg(any(test, feature = "suite"))]
    pub fault: Option<Fault>,
}

impl ReplicaConfig {
    /// A replica with the usual bounds.
    #[must_use]
    pub fn new(id: ReplicaId, seed: u64) -> Self {
        Self {
            id,
            seed,
            election_ticks: 20,
            heartbeat_ticks: 3,
            log_entries_max: 8_192,
            log_bytes_max: 16 << 20,
            entry_bytes_max: 1 << 20,
            write_bytes_max: 16 << 20,
            waiting_max: 65_536,
            chunk_bytes_max: 1 << 20,
            #[cfg(any(test, feature = "suite"))]
            fault: None,
        }
    }
}

/// A change of who belongs to the group, one replica at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipChange {
    /// Adds a replica that follows without a vote.
    AddLearner(ReplicaId, String),
    /// Adds a replica that votes, or gives a learner its vote. Best given to a learner that has caught up.
    AddVoter(ReplicaId, String),
    /// Takes a replica out.
    Remove(ReplicaId),
}

/// What a replica's shell is to do, in this order.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplicaEffect {
    /// Send to another replica. May be lost, doubled or overtaken.
    Send {
        /// To whom.
        to: ReplicaId,
        /// What.
        message: PeerMessage,
    },
    /// Give to the [`DiskCore`], in order.
    Disk(DiskJob),
    /// Carry out for a client.
    Client(Effect),
    /// Refuse a request that the state machine has not seen; it has not been applied, and may be sent again.
    Refuse {
        /// Whose.
        client: ClientId,
        /// Which.
        request: RequestId,
        /// Why.
        error: RequestError,
    },
    /// Refuse a subscription: this replica does not lead. The client asks the leader.
    RefuseSubscription {
        /// Whose.
        client: ClientId,
        /// Which.
        subscription: SubscriptionId,
    },
    /// The leader is another one now, or unknown. Where this replica led, its clients must turn to the new one and send
    /// again what has no answer.
    Leader {
        /// Who leads.
        leader: Option<ReplicaId>,
        /// Whether this replica led until now.
        led: bool,
        /// Whether it leads now.
        leads: bool,
    },
    /// The group's members have changed.
    Members(Addresses),
    /// This replica has been taken out of its group: it may end.
    Removed,
}

/// Why a replica must stop and be opened anew.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplicaFailed {
    /// The state machine failed.
    #[error(transparent)]
    Shard(#[from] ShardFailed),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Raft says no.
    #[error("the consensus module failed")]
    Raft(#[from] raft::Error),
    /// The log makes no sense.
    #[error("the log of this replica is damaged: {0}; remove the replica from its group and add it anew, empty")]
    Log(String),
    /// The system gives no thread for the disk.
    #[error("no thread could be started for the control store's disk; check the limit on threads (ulimit -u)")]
    Thread(#[source] std::io::Error),
    /// The replica failed before and was used again.
    #[error("the replica has failed and must be opened anew")]
    Stopped,
}

/// Work for the disk.
#[derive(Debug)]
pub enum DiskJob {
    /// Make the log longer and the vote durable, then say [`DiskDone::Persisted`].
    Append {
        /// Names the job.
        ticket: u64,
        /// The term, the vote and the commit index, if they have changed.
        hard_state: Option<HardState>,
        /// New entries; they replace those of the same index and all after.
        entries: Vec<Entry>,
        /// Whether others are promised that this is durable; else only the commit index has changed.
        must_sync: bool,
    },
    /// Make the staged snapshot the state, drop the log before it, make the vote durable, then say
    /// [`DiskDone::Persisted`].
    Install {
        /// Names the job.
        ticket: u64,
        /// As in `Append`.
        hard_state: Option<HardState>,
        /// Entries after the snapshot.
        entries: Vec<Entry>,
        /// Where the snapshot stands.
        position: Position,
    },
    /// Feed committed entries to the state machine, then say [`DiskDone::Applied`].
    Apply {
        /// The entries, in order.
        entries: Vec<Entry>,
        /// Where the state machine stands afterwards.
        position: Position,
        /// Whether this replica leads, and so answers those who asked.
        answer: bool,
    },
    /// Answer a question from the rows as they are.
    Read {
        /// Who asks.
        client: ClientId,
        /// The number of the request.
        request: RequestId,
        /// The question.
        read: Read,
    },
    /// Subscribe a client.
    Subscribe {
        /// Who.
        client: ClientId,
        /// Which subscription.
        subscription: SubscriptionId,
        /// Of which changes.
        filter: Filter,
        /// After which change.
        from: Option<u64>,
    },
    /// End a subscription.
    Unsubscribe(ClientId, SubscriptionId),
    /// End all subscriptions of a client.
    ClientGone(ClientId),
    /// End all subscriptions: this replica leads no more.
    NobodyListens,
    /// Time has passed at the leader.
    Tick(Millis),
    /// Drop the log up to and including this entry.
    Compact {
        /// Its index.
        index: u64,
        /// Its term.
        term: u64,
    },
    /// Have the tables persisted: nothing happens for a while, and what was deleted can leave the disk.
    Persist,
    /// Keep a view of the state, under this number, then say [`DiskDone::Snapshot`].
    TakeSnapshot(u64),
    /// Forget a view.
    DropSnapshot(u64),
    /// Read a chunk of a view, then say [`DiskDone::Chunk`].
    ReadChunk {
        /// Which view.
        snapshot: u64,
        /// For which transfer.
        transfer: u64,
        /// To whom.
        to: ReplicaId,
        /// After which row.
        after: Option<Cursor>,
        /// How much.
        bytes_max: usize,
    },
    /// Stage rows of another replica's view, then say [`DiskDone::Staged`]. The first chunk forgets what was staged before.
    Stage {
        /// Of which transfer.
        transfer: u64,
        /// Which chunk, from 0.
        number: u64,
        /// The rows.
        rows: Vec<(Column, Bytes, Bytes)>,
    },
}

/// Where a state machine stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// The last entry applied.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Who belongs to the group there.
    pub members: ConfState,
    /// Where they are reached.
    pub addresses: Addresses,
}

/// What the disk has done.
#[derive(Debug)]
pub enum DiskDone {
    /// The log was synced.
    Synced,
    /// An append or an install is durable.
    Persisted(u64),
    /// Entries up to this index are applied.
    Applied(u64),
    /// The state machine asks for these.
    Effects(Vec<Effect>),
    /// A view was taken at this position.
    Snapshot(u64, Position),
    /// A chunk of a view; nothing follows where `last` says so.
    Chunk {
        /// For which transfer.
        transfer: u64,
        /// To whom.
        to: ReplicaId,
        /// The rows.
        rows: Vec<(Column, Bytes, Bytes)>,
        /// Whether it is the end.
        last: bool,
    },
    /// A chunk is staged.
    Staged {
        /// Of which transfer.
        transfer: u64,
        /// Which.
        number: u64,
    },
}
