//! The consensus half of a replica.
//!
//! Owns: events and what Raft makes of them: batching writes into entries, confirming reads, turning Raft's readiness into
//! effects in their order ([`ready`]), when it stands for election ([`elections`]), membership ([`commands`]), and what
//! stays in the log. Does not own rows: it never sees the state machine, only how far the disk has come.
//!
//! Call order: any number of `on_*`, then one [`ReplicaCore::poll`], then carry out what it gave. Nothing leaves without
//! a poll.
//!
//! Invariants:
//! - A message that promises something leaves after the disk has said that it is durable, in the order of the promises.
//! - A request is answered here only by a refusal, and only while no entry holds it.
//! - The same events with the same seed give the same effects.

mod asked;
mod commands;
mod elections;
#[cfg(any(test, feature = "suite"))]
mod faulty;
mod ready;
mod status;

use std::collections::VecDeque;

use raft::{
    eraftpb::{Message, MessageType},
    Config, RawNode, SnapshotStatus, StateRole,
};

use self::{
    asked::{Asked, Reads},
    elections::Elections,
};
pub use self::{
    commands::MembershipError,
    status::{ReplicaStatus, ReplicaWork},
};
use super::{
    entry,
    log::LogCache,
    transfer::{Ended, Transfers},
    DiskDone, DiskJob, PeerMessage, Position, Recovered, ReplicaConfig, ReplicaEffect, ReplicaFailed, ReplicaId,
};
use crate::{
    record,
    shard::{ClientId, Filter, Request, RequestError, RequestId, SubscriptionId},
    tables::{Read, Write},
    Millis,
};
pub(crate) use ready::{pack_addresses, unpack_addresses};

/// After so long without an entry the tables are persisted: whoever opens the replica then has nothing to apply again, and
/// what was deleted leaves the disk.
const QUIET_MS: u64 = 2_000;

/// Between looks at the leases.
const LEASES_EVERY_MS: u64 = 500;
/// How long a new leader judges no lease: nobody could renew one while nobody led.
const LEASE_GRACE_MS: u64 = 3_000;

/// A ready of Raft's that the disk works on.
struct Pending {
    number: u64,
    /// Whether the disk has something to say about it.
    persisted: bool,
    entries: usize,
    held: Vec<Message>,
}

/// The consensus half.
pub struct ReplicaCore {
    config: ReplicaConfig,
    raw: RawNode<LogCache>,
    elections: Elections,
    now: Millis,
    looked_at_leases: Millis,
    /// The last entry that was applied when something last was, when that was, and the last that the disk was asked to
    /// persist the tables at.
    quiet_at: u64,
    quiet_since: Millis,
    persisted_at: u64,
    /// No entry bears an earlier time.
    time_floor: Millis,
    writes: VecDeque<(ClientId, RequestId, bytes::Bytes)>,
    reads: Reads,
    pending: VecDeque<Pending>,
    /// How far the disk was told to apply, and has.
    position: Position,
    applied: u64,
    work: ReplicaWork,
    transfers: Transfers,
    failed_transfers: Vec<Ended>,
    leader: Option<ReplicaId>,
    leads: bool,
    removed: bool,
    failed: bool,
}

impl ReplicaCore {
    /// A replica as its disk knows it.
    ///
    /// # Errors
    /// [`ReplicaFailed::Raft`] if the configuration makes no sense.
    ///
    /// # Panics
    /// If the replica's id is zero.
    pub fn open(config: ReplicaConfig, recovered: Recovered) -> Result<Self, ReplicaFailed> {
        let Recovered { hard_state, truncated, entries, position } = recovered;
        let raft_config = Config {
            id: config.id.0,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied: position.index,
            max_size_per_msg: config.entry_bytes_max as u64,
            max_inflight_msgs: 64,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: 16 * config.entry_bytes_max as u64,
            max_committed_size_per_ready: 4 * config.entry_bytes_max as u64,
            ..Config::default()
        };
        let time_floor = entries.iter().filter_map(entry::time_of).max().unwrap_or_default();
        let log = LogCache::new(hard_state, position.members.clone(), truncated, entries);
        let raw = RawNode::new(&raft_config, log, &slog::Logger::root(slog::Discard, slog::o!()))?;
        let mut core = Self {
            elections: Elections::new(&config),
            now: Millis(0),
            looked_at_leases: Millis(0),
            quiet_at: position.index,
            quiet_since: Millis(0),
            persisted_at: position.index,
            time_floor,
            writes: VecDeque::new(),
            reads: Reads::default(),
            pending: VecDeque::new(),
            applied: position.index,
            work: ReplicaWork::default(),
            transfers: Transfers::new(config.chunk_bytes_max),
            failed_transfers: Vec::new(),
            leader: None,
            leads: false,
            removed: false,
            failed: false,
            position,
            raw,
            config,
        };
        // Alone it need not wait to find out that nobody leads.
        let voters = &core.position.members.voters;
        if voters.as_slice() == [core.config.id.0] {
            core.raw.campaign()?;
        }
        Ok(core)
    }

    // --- events ----------------------------------------------------------------------------------------------------

    /// A tick of the shell's clock, which is now at `now`.
    pub fn on_tick(&mut self, now: Millis, effects: &mut Vec<ReplicaEffect>) {
        self.now = self.now.max(now);
        self.draw_timeout();
        if !self.installs() {
            self.raw.tick();
        }
        self.on_election_tick();
        let mut ended = Vec::new();
        if self.transfers.on_tick(&mut ended, effects) {
            self.raw.mut_store().set_snapshot(None);
        }
        ended.into_iter().for_each(|ended| self.on_transfer_end(&ended));
        if self.leads && self.now.since(self.looked_at_leases) >= LEASES_EVERY_MS {
            self.looked_at_leases = self.now;
            effects.push(ReplicaEffect::Disk(DiskJob::Tick(self.now)));
        }
        self.compact(effects);
        self.persist_when_quiet(effects);
    }

    /// Another replica has said something.
    pub fn on_message(&mut self, from: ReplicaId, message: PeerMessage, effects: &mut Vec<ReplicaEffect>) {
        match message {
            PeerMessage::Raft(message) if message.from == from.0 && message.to == self.config.id.0 => {
                match message.get_msg_type() {
                    MessageType::MsgRequestPreVote | MessageType::MsgRequestVote => self.on_candidate(*message),
                    MessageType::MsgTimeoutNow if self.installs() => {}
                    // A snapshot comes in chunks, and its message with the last of them.
                    MessageType::MsgSnapshot => {}
                    // What Raft refuses is as if it had been lost.
                    _ => drop(self.raw.step(*message)),
                }
            }
            PeerMessage::Raft(_) => {}
            // What is staged may be the state that Raft is about to install.
            PeerMessage::Chunk { .. } if self.raw.snap().is_some() => {}
            PeerMessage::Chunk { transfer, number, rows, end } => {
                self.transfers.on_incoming(from, (transfer, number), rows, end.map(|end| *end), effects);
            }
            PeerMessage::ChunkStaged { transfer, number } => {
                if let Some(ended) = self.transfers.on_staged(from, transfer, number, effects) {
                    self.on_transfer_end(&ended);
                }
            }
        }
    }

    /// A client asks something.
    pub fn on_request(
        &mut self,
        now: Millis,
        client: ClientId,
        request: RequestId,
        what: Request,
        effects: &mut Vec<ReplicaEffect>,
    ) {
        self.now = self.now.max(now);
        let refusal = if !self.leads() {
            Some(RequestError::NotLeader { leader: self.hint() })
        } else if self.writes.len() + self.reads.len() >= self.config.waiting_max {
            Some(RequestError::Busy)
        } else {
            match what {
                Request::Write(write) => self.take_write(client, request, &write),
                Request::Read(read) => {
                    self.reads.ask(Asked::Read { client, request, read });
                    None
                }
            }
        };
        if let Some(error) = refusal {
            effects.push(ReplicaEffect::Refuse { client, request, error });
        }
    }

    fn take_write(&mut self, client: ClientId, request: RequestId, write: &Write) -> Option<RequestError> {
        let Ok(bytes) = record::encode(write) else { return Some(RequestError::Unreadable) };
        let max = self.config.write_bytes_max;
        if bytes.len() > max {
            return Some(RequestError::TooLarge { bytes: bytes.len(), max });
        }
        self.writes.push_back((client, request, bytes));
        self.reads.on_write(client);
        None
    }

    /// A client asks something and takes an old answer: from any replica, from its rows as they are.
    pub fn on_stale_read(
        &mut self,
        client: ClientId,
        request: RequestId,
        read: Read,
        effects: &mut Vec<ReplicaEffect>,
    ) {
        effects.push(ReplicaEffect::Disk(DiskJob::Read { client, request, read }));
    }

    /// A client subscribes, or renews a subscription; as [`crate::shard::ShardCore::on_subscribe`], at the leader.
    pub fn on_subscribe(
        &mut self,
        client: ClientId,
        subscription: SubscriptionId,
        filter: Filter,
        from: Option<u64>,
        effects: &mut Vec<ReplicaEffect>,
    ) {
        if self.leads() && from.is_none() {
            // Now, or a write right behind it would not be told.
            effects.push(ReplicaEffect::Disk(DiskJob::Subscribe { client, subscription, filter, from }));
        } else if self.leads() {
            self.reads.ask(Asked::Subscribe { client, subscription, filter, from });
        } else {
            effects.push(ReplicaEffect::RefuseSubscription { client, subscription });
        }
    }

    /// A client wants to hear no more.
    pub fn on_unsubscribe(&mut self, client: ClientId, subscription: SubscriptionId, effects: &mut Vec<ReplicaEffect>) {
        self.reads.forget_subscription(client, subscription);
        effects.push(ReplicaEffect::Disk(DiskJob::Unsubscribe(client, subscription)));
    }

    /// A client's connection is gone.
    pub fn on_client_gone(&mut self, client: ClientId, effects: &mut Vec<ReplicaEffect>) {
        self.reads.forget(client);
        effects.push(ReplicaEffect::Disk(DiskJob::ClientGone(client)));
    }

    /// The disk has done something.
    ///
    /// # Errors
    /// [`ReplicaFailed`] if the replica must stop.
    pub fn on_disk(&mut self, done: DiskDone, effects: &mut Vec<ReplicaEffect>) -> Result<(), ReplicaFailed> {
        match done {
            DiskDone::Synced => self.work.fsyncs += 1,
            DiskDone::Persisted(ticket) => self.on_persisted(ticket, effects),
            DiskDone::Applied(index) => {
                self.applied = index;
                #[cfg(any(test, feature = "suite"))]
                let index = self.admitted(index);
                self.raw.advance_apply_to(index);
            }
            DiskDone::Effects(all) => effects.extend(all.into_iter().map(ReplicaEffect::Client)),
            DiskDone::Snapshot(snapshot, position) => {
                self.transfers.taken(snapshot, position.index, effects);
                let snapshot = ready::snapshot_of(&position);
                self.raw.mut_store().set_snapshot(Some(snapshot));
            }
            DiskDone::Chunk { transfer, to, rows, last } => {
                self.transfers.on_chunk(transfer, to, rows, last, effects);
            }
            DiskDone::Staged { transfer, number } => {
                if let Some(end) = self.transfers.staged(transfer, number, effects) {
                    let _ = self.raw.step(end);
                    // Before another chunk can come and clear the stage.
                    self.poll(effects)?;
                }
            }
        }
        Ok(())
    }

    // --- inside ----------------------------------------------------------------------------------------------------

    /// Whether the disk still installs a snapshot. Raft must not stand meanwhile: it would look for changes of members
    /// among entries that the snapshot has replaced.
    fn installs(&self) -> bool {
        self.raw.raft.raft_log.applied + 1 < self.raw.store().first()
    }

    /// Whether Raft leads, told or not.
    fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn hint(&self) -> Option<u64> {
        match self.raw.raft.leader_id {
            raft::INVALID_ID => None,
            id if id == self.config.id.0 => None,
            id => Some(id),
        }
    }

    fn on_transfer_end(&mut self, ended: &Ended) {
        match ended {
            Ended::Arrived(to) => self.raw.report_snapshot(to.0, SnapshotStatus::Finish),
            Ended::Failed(to) => self.raw.report_snapshot(to.0, SnapshotStatus::Failure),
        }
    }

    /// Drops the log's oldest half once it has outgrown its bounds, but for what is not applied.
    fn compact(&mut self, effects: &mut Vec<ReplicaEffect>) {
        let log = self.raw.store();
        if log.len() <= self.config.log_entries_max && log.bytes() <= self.config.log_bytes_max {
            return;
        }
        let half = log.first() + log.len() as u64 / 2;
        let index = half.min(self.applied);
        if index < log.first() {
            return;
        }
        if let Some(term) = self.raw.mut_store().compact(index) {
            effects.push(ReplicaEffect::Disk(DiskJob::Compact { index, term }));
        }
    }

    fn persist_when_quiet(&mut self, effects: &mut Vec<ReplicaEffect>) {
        if self.quiet_at != self.applied {
            (self.quiet_at, self.quiet_since) = (self.applied, self.now);
        } else if self.persisted_at != self.applied && self.now.since(self.quiet_since) >= QUIET_MS {
            self.persisted_at = self.applied;
            effects.push(ReplicaEffect::Disk(DiskJob::Persist));
        }
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        self.raw.store().sanity_check();
        assert!(self.applied <= self.position.index, "the disk applies what it was told to");
        assert!(self.position.index <= self.raw.raft.raft_log.committed, "only what is committed is applied");
        assert!(self.pending.iter().zip(self.pending.iter().skip(1)).all(|(a, b)| a.number < b.number), "in order");
        assert!(self.leads() || self.writes.is_empty() || self.leads, "only a leader keeps writes");
    }

    #[cfg(any(test, feature = "suite"))]
    fn has_fault(&self, fault: super::Fault) -> bool {
        self.config.fault == Some(fault)
    }
}
