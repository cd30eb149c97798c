//! From Raft's readiness to effects.
//!
//! Owns: the order in which a ready is carried out, as the `raft` crate's documentation of `Ready` asks for: messages of
//! a leader at once, then what must be durable, then what was committed; messages of others once all before is durable.

use bytes::Bytes;
use raft::{
    eraftpb::{ConfChange, Entry, EntryType, HardState, Message, MessageType, Snapshot},
    Ready, Storage,
};

use super::{Asked, Pending, ReplicaCore, LEASE_GRACE_MS};
use crate::{
    replica::{
        entry::{self, Proposal},
        message::parse,
        Addresses, DiskJob, PeerMessage, Position, ReplicaEffect, ReplicaFailed, ReplicaId,
    },
    shard::RequestError,
};

/// Raft's description of a snapshot; who belongs to the group travels in its data.
pub(super) fn snapshot_of(position: &Position) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = (position.index, position.term);
    metadata.set_conf_state(position.members.clone());
    snapshot.data = Bytes::from(pack_addresses(&position.addresses));
    snapshot
}

pub(crate) fn pack_addresses(addresses: &Addresses) -> Vec<u8> {
    rmp_serde::to_vec(addresses).expect("invariant: numbers and text have an encoding")
}

pub(crate) fn unpack_addresses(bytes: &[u8]) -> Result<Addresses, ReplicaFailed> {
    rmp_serde::from_slice(bytes).map_err(|error| ReplicaFailed::Log(error.to_string()))
}

impl ReplicaCore {
    /// Gives what is to be done after the events so far.
    ///
    /// # Errors
    /// [`ReplicaFailed`] if the replica must stop; what was given before still holds.
    pub fn poll(&mut self, effects: &mut Vec<ReplicaEffect>) -> Result<(), ReplicaFailed> {
        if self.failed {
            return Err(ReplicaFailed::Stopped);
        }
        let polled = self.drain(effects);
        self.failed = polled.is_err();
        polled
    }

    fn drain(&mut self, effects: &mut Vec<ReplicaEffect>) -> Result<(), ReplicaFailed> {
        loop {
            self.propose()?;
            self.begin_reads();
            if !self.raw.has_ready() {
                break;
            }
            let ready = self.raw.ready();
            self.carry_out(ready, effects)?;
            for ended in std::mem::take(&mut self.failed_transfers) {
                self.on_transfer_end(&ended);
            }
            self.tell_of_leader(effects);
        }
        self.answer_reads(effects);
        if self.raw.store().take_snapshot_wanted() {
            self.transfers.want(effects);
        }
        Ok(())
    }

    /// What arrived during a log write is the next entry.
    fn propose(&mut self) -> Result<(), ReplicaFailed> {
        while self.leads() && !self.writes.is_empty() && !self.pending.iter().any(|pending| pending.entries > 0) {
            let room = self.raw.raft.lead_transferee.is_none();
            if !room {
                return Ok(());
            }
            let Some((taken, data)) = self.encode_batch()? else { return Ok(()) };
            if self.raw.propose(Vec::new(), data).is_err() {
                // Too much is uncommitted, for want of a majority: it waits, until new requests find no room.
                return Ok(());
            }
            self.writes.drain(..taken);
            self.work.writes += taken as u64;
            self.reads.on_proposed(taken as u64, self.raw.raft.raft_log.last_index());
            if self.raw.has_ready() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next entry, and how many of the oldest writes it holds; they still wait.
    fn encode_batch(&mut self) -> Result<Option<(usize, Vec<u8>)>, ReplicaFailed> {
        let mut bytes = 0;
        let mut take = 0;
        for (_, _, write) in &self.writes {
            if take > 0 && bytes + write.len() > self.config.entry_bytes_max {
                break;
            }
            bytes += write.len() + 40;
            take += 1;
        }
        if take == 0 {
            return Ok(None);
        }
        self.time_floor = self.time_floor.max(self.now);
        let proposal = Proposal { now: self.time_floor, writes: self.writes.iter().take(take).cloned().collect() };
        Ok(Some((take, proposal.encode()?)))
    }

    fn begin_reads(&mut self) {
        if !self.leads() || !self.raw.raft.commit_to_current_term() {
            return;
        }
        while let Some(round) = self.reads.begin_round() {
            #[cfg(any(test, feature = "suite"))]
            if self.has_fault(crate::replica::Fault::ReadWithoutConfirmation) {
                self.reads.on_confirmed(round, 0);
                continue;
            }
            let context = [self.raw.raft.term.to_be_bytes(), round.to_be_bytes()].concat();
            self.raw.read_index(context);
        }
    }

    fn carry_out(&mut self, mut ready: Ready, effects: &mut Vec<ReplicaEffect>) -> Result<(), ReplicaFailed> {
        self.send(ready.take_messages(), effects);
        let (number, must_sync) = (ready.number(), ready.must_sync());
        #[cfg_attr(not(any(test, feature = "suite")), allow(unused_mut))]
        let mut held = ready.take_persisted_messages();
        #[cfg(any(test, feature = "suite"))]
        self.send_too_early(&mut held, effects);
        let entries = ready.take_entries();
        let snapshot = Some(ready.snapshot().clone()).filter(|snapshot| !snapshot.is_empty());
        let hard_state = ready.hs().cloned();
        let committed = ready.take_committed_entries();
        let reads = ready.take_read_states();
        for state in reads {
            let round = state.request_ctx.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
            if let Some(round) = round {
                self.reads.on_confirmed(round, state.index);
            }
        }
        let persist = self.remember(hard_state, entries, snapshot, (number, must_sync))?;
        self.raw.advance_append_async(ready);
        let pending = Pending {
            number,
            persisted: persist.is_none(),
            entries: match &persist {
                Some(DiskJob::Append { entries, .. }) => entries.len(),
                _ => 0,
            },
            held,
        };
        self.pending.push_back(pending);
        effects.extend(persist.map(ReplicaEffect::Disk));
        self.release(effects);
        self.apply(committed, effects)?;
        #[cfg(any(test, feature = "suite"))]
        self.apply_too_early(effects)?;
        self.answer_reads(effects);
        Ok(())
    }

    /// Puts into the log in memory what the disk is to keep; gives the disk's job, if it has one.
    fn remember(
        &mut self,
        hard_state: Option<HardState>,
        entries: Vec<Entry>,
        snapshot: Option<Snapshot>,
        (ticket, must_sync): (u64, bool),
    ) -> Result<Option<DiskJob>, ReplicaFailed> {
        for entry in &entries {
            self.time_floor = self.time_floor.max(entry::time_of(entry).unwrap_or_default());
        }
        let log = self.raw.mut_store();
        if let Some(hard_state) = &hard_state {
            log.set_hard_state(hard_state.clone());
        }
        if let Some(snapshot) = snapshot {
            let metadata = snapshot.get_metadata();
            let position = Position {
                index: metadata.index,
                term: metadata.term,
                members: metadata.get_conf_state().clone(),
                addresses: unpack_addresses(&snapshot.data)?,
            };
            log.restart(position.index, position.term, position.members.clone());
            log.append(&entries);
            self.position = position.clone();
            return Ok(Some(DiskJob::Install { ticket, hard_state, entries, position }));
        }
        log.append(&entries);
        // A commit index alone need not be kept: it is learned again.
        let keep = must_sync || !entries.is_empty();
        let hard_state = if keep { Some(log.initial_state()?.hard_state) } else { None };
        Ok(keep.then_some(DiskJob::Append { ticket, hard_state, entries, must_sync }))
    }

    pub(super) fn on_persisted(&mut self, ticket: u64, effects: &mut Vec<ReplicaEffect>) {
        for pending in &mut self.pending {
            pending.persisted |= pending.number <= ticket;
        }
        self.release(effects);
    }

    /// Lets go of what waited for durability, in order.
    fn release(&mut self, effects: &mut Vec<ReplicaEffect>) {
        let mut last = None;
        while self.pending.front().is_some_and(|pending| pending.persisted) {
            let Some(pending) = self.pending.pop_front() else { break };
            last = Some(pending.number);
            self.work.entries += pending.entries as u64;
            self.send(pending.held, effects);
        }
        if let Some(number) = last {
            self.raw.on_persist_ready(number);
        }
    }

    pub(super) fn send(&mut self, messages: Vec<Message>, effects: &mut Vec<ReplicaEffect>) {
        for message in messages {
            let to = ReplicaId(message.to);
            if message.get_msg_type() == MessageType::MsgSnapshot {
                // Raft is not to be called here: it is told after the ready.
                self.failed_transfers.extend(self.transfers.start(to, self.raw.raft.term, message, effects));
            } else {
                effects.push(ReplicaEffect::Send { to, message: PeerMessage::Raft(Box::new(message)) });
            }
        }
    }

    pub(super) fn apply(
        &mut self,
        committed: Vec<Entry>,
        effects: &mut Vec<ReplicaEffect>,
    ) -> Result<(), ReplicaFailed> {
        // With a fault put back on purpose some may have been applied before.
        let committed: Vec<Entry> = committed.into_iter().filter(|entry| entry.index > self.position.index).collect();
        let Some(last) = committed.last() else { return Ok(()) };
        (self.position.index, self.position.term) = (last.index, last.term);
        let mut changed = false;
        for entry in committed.iter().filter(|entry| entry.get_entry_type() == EntryType::EntryConfChange) {
            let change = parse::<ConfChange>(&entry.data)
                .map_err(|error| ReplicaFailed::Log(format!("entry {}: {error}", entry.index)))?;
            self.position.members = self.raw.apply_conf_change(&change)?;
            self.position.addresses = unpack_addresses(&entry.context)?;
            changed = true;
        }
        let position = self.position.clone();
        if changed {
            self.raw.mut_store().set_members(position.members.clone());
            self.step_down_if_out();
        }
        let entries = committed
            .into_iter()
            .filter(|entry| entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty());
        self.reads.on_handed(position.index);
        let answer = self.leads();
        effects.push(ReplicaEffect::Disk(DiskJob::Apply { entries: entries.collect(), position, answer }));
        if changed {
            self.members_changed(effects);
        }
        Ok(())
    }

    /// Another leader's change may take this one out once it leads. Raft would lead on, and fail where it counts itself.
    fn step_down_if_out(&mut self) {
        if self.leads() && !self.position.members.voters.contains(&self.config.id.0) {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
    }

    fn members_changed(&mut self, effects: &mut Vec<ReplicaEffect>) {
        effects.push(ReplicaEffect::Members(self.position.addresses.clone()));
        let (me, members) = (self.config.id.0, &self.position.members);
        if !self.removed && !members.voters.contains(&me) && !members.learners.contains(&me) {
            self.removed = true;
            effects.push(ReplicaEffect::Removed);
        }
    }

    fn answer_reads(&mut self, effects: &mut Vec<ReplicaEffect>) {
        let ready = self.reads.take_ready(self.position.index);
        effects.extend(ready.into_iter().map(|asked| ReplicaEffect::Disk(asked.into_job())));
    }

    fn tell_of_leader(&mut self, effects: &mut Vec<ReplicaEffect>) {
        let raft = &self.raw.raft;
        let leader = Some(raft.leader_id).filter(|id| *id != raft::INVALID_ID).map(ReplicaId);
        let leads = self.leads();
        if (leader, leads) == (self.leader, self.leads) {
            return;
        }
        let led = self.leads && !leads;
        (self.leader, self.leads) = (leader, leads);
        if leads {
            self.looked_at_leases = self.now.after(LEASE_GRACE_MS);
        }
        if led {
            self.give_up(effects);
        }
        effects.push(ReplicaEffect::Leader { leader, led, leads });
    }

    /// This replica leads no more: what no entry holds goes back.
    fn give_up(&mut self, effects: &mut Vec<ReplicaEffect>) {
        let leader = self.hint();
        for (client, request, _) in self.writes.drain(..) {
            effects.push(ReplicaEffect::Refuse { client, request, error: RequestError::NotLeader { leader } });
        }
        for asked in self.reads.take_all() {
            effects.push(match asked {
                Asked::Read { client, request, .. } => {
                    ReplicaEffect::Refuse { client, request, error: RequestError::NotLeader { leader } }
                }
                Asked::Subscribe { client, subscription, .. } => {
                    ReplicaEffect::RefuseSubscription { client, subscription }
                }
            });
        }
        self.transfers.stop_sending(effects);
        effects.push(ReplicaEffect::Disk(DiskJob::NobodyListens));
    }
}
