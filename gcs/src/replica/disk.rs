//! The disk half of a replica: its log, its vote and its tables, in one store.
//!
//! Owns: doing [`DiskJob`]s in their order, and what a store holds of a replica. A log entry is one row with a checksum,
//! and durable before anyone is told. What entries do to the tables, and how far they have come, is one rebuildable batch:
//! it has no fsync and no log of the store's own, since the entries are there to be applied again. A crash takes the
//! tables back to an earlier entry, and all their rows at once; what follows is applied when Raft hands it out again. Does
//! not own: when anything is durable (the store's `sync` and `begin_persist`), threads, or Raft.
//!
//! The log is dropped in two steps, lest an entry go that the tables on the disk still need: when Raft first asks for it,
//! the tables begin to be persisted, in the background; when it asks again, that has long been done, and the entries of
//! the first time go. So the log on the disk is one compaction longer than the one in memory.
//!
//! Call order: [`DiskCore::run`] any jobs, then [`DiskCore::flush`], which is where the one fsync for all of them happens.
//! What `run` gave may be told before the flush: it shows only what a majority has.
//!
//! Invariants: rows of the log follow on each other; the tables, also as they are on the disk, are never ahead of the log
//! and never behind its beginning; what cannot be read is an error, never skipped.

mod rows;

use std::collections::BTreeMap;

use raft::eraftpb::{Entry, HardState};

use self::rows::{
    begin, damaged, encode, hard_state_row, position_row, recover, HARD_STATE, PAGE, POSITION, TRUNCATED,
};
pub(crate) use self::rows::{PositionRow, Truncated};
use super::{
    entry::{self, ProposalRef},
    Bootstrap, DiskDone, DiskJob, Position, ReplicaFailed,
};
use crate::{
    record,
    shard::{ShardCore, ShardLimits},
    store::{Batch, Column, Store, View},
    tables::Write,
};

/// What a disk knows of its replica when it is opened.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The term, the vote, the commit index.
    pub hard_state: HardState,
    /// The last entry that is gone from the log: its index and term.
    pub truncated: (u64, u64),
    /// All that follow.
    pub entries: Vec<Entry>,
    /// How far the tables are: what the log has after it, up to what was committed, is applied again.
    pub position: Position,
}

/// The disk half.
pub struct DiskCore<S> {
    shard: Option<ShardCore<S>>,
    limits: ShardLimits,
    position: Position,
    first: u64,
    last: u64,
    views: BTreeMap<u64, (Box<dyn View>, Position)>,
    /// Up to where the log may go once the tables are persisted, which has begun.
    dropping: Option<Truncated>,
    /// Log rows of the jobs since the last flush, and who waits for them.
    batch: Batch,
    tickets: Vec<u64>,
    must_sync: bool,
    failed: bool,
}

impl<S: Store> DiskCore<S> {
    /// Opens the replica in `store`, or begins one where there is none.
    ///
    /// # Errors
    /// [`ReplicaFailed::Log`] if the log has lost or damaged entries that it had promised; any other [`ReplicaFailed`] if
    /// the store fails.
    pub fn open(mut store: S, bootstrap: &Bootstrap, limits: ShardLimits) -> Result<(Self, Recovered), ReplicaFailed> {
        if store.get(Column::Raft, POSITION)?.is_none() {
            begin(&mut store, bootstrap)?;
        }
        let recovered = recover(&store)?;
        let first = recovered.truncated.0 + 1;
        let this = Self {
            shard: Some(ShardCore::open(store, limits)?),
            limits,
            position: recovered.position.clone(),
            first,
            last: recovered.truncated.0 + recovered.entries.len() as u64,
            views: BTreeMap::new(),
            dropping: None,
            batch: Batch::new(),
            tickets: Vec::new(),
            must_sync: false,
            failed: false,
        };
        Ok((this, recovered))
    }

    /// The state machine.
    ///
    /// # Panics
    /// If an install has failed, after which nothing is left to see.
    #[must_use]
    pub fn shard(&self) -> &ShardCore<S> {
        self.shard.as_ref().expect("a disk whose install failed is not looked at")
    }

    /// How far the tables are.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The store, given away; what was not flushed is lost.
    #[must_use]
    pub fn into_store(self) -> Option<S> {
        self.shard.map(ShardCore::into_store)
    }

    /// Does jobs in their order. Appends are durable after [`DiskCore::flush`].
    ///
    /// # Errors
    /// [`ReplicaFailed`] if the replica must stop; `done` holds what was done before.
    pub fn run(
        &mut self,
        jobs: impl IntoIterator<Item = DiskJob>,
        done: &mut Vec<DiskDone>,
    ) -> Result<(), ReplicaFailed> {
        if self.failed {
            return Err(ReplicaFailed::Stopped);
        }
        let ran = jobs.into_iter().try_for_each(|job| self.run_one(job, done));
        self.failed = ran.is_err();
        ran
    }

    /// Makes what was appended durable, and says so.
    ///
    /// # Errors
    /// As [`DiskCore::run`].
    pub fn flush(&mut self, done: &mut Vec<DiskDone>) -> Result<(), ReplicaFailed> {
        if self.failed {
            return Err(ReplicaFailed::Stopped);
        }
        let flushed = self.write_log();
        self.failed = flushed.is_err();
        if flushed? {
            done.push(DiskDone::Synced);
        }
        done.extend(self.tickets.drain(..).map(DiskDone::Persisted));
        Ok(())
    }

    /// Gives whether it was a sync.
    fn write_log(&mut self) -> Result<bool, ReplicaFailed> {
        let batch = std::mem::take(&mut self.batch);
        let must_sync = std::mem::take(&mut self.must_sync);
        let store = self.store()?;
        if !batch.is_empty() {
            store.apply(batch)?;
        }
        if must_sync {
            store.sync()?;
        }
        Ok(must_sync)
    }

    fn machine(&mut self) -> Result<&mut ShardCore<S>, ReplicaFailed> {
        self.shard.as_mut().ok_or(ReplicaFailed::Stopped)
    }

    fn store(&mut self) -> Result<&mut S, ReplicaFailed> {
        Ok(self.machine()?.store_mut())
    }

    fn run_one(&mut self, job: DiskJob, done: &mut Vec<DiskDone>) -> Result<(), ReplicaFailed> {
        let mut effects = Vec::new();
        match job {
            DiskJob::Append { ticket, hard_state, entries, must_sync } => {
                self.append(hard_state.as_ref(), &entries)?;
                self.tickets.push(ticket);
                self.must_sync |= must_sync;
            }
            DiskJob::Install { ticket, hard_state, entries, position } => {
                self.install(hard_state.as_ref(), &entries, position)?;
                done.push(DiskDone::Persisted(ticket));
                done.push(DiskDone::Applied(self.position.index));
            }
            DiskJob::Apply { entries, position, answer } => {
                self.apply(&entries, position, &mut effects)?;
                if !answer {
                    effects.clear();
                }
                done.push(DiskDone::Applied(self.position.index));
            }
            DiskJob::Read { client, request, read } => {
                let now = crate::Millis(0);
                self.machine()?.on_request(now, request, client, &read.into(), &mut effects)?;
            }
            DiskJob::Subscribe { client, subscription, filter, from } => {
                self.machine()?.on_subscribe(client, subscription, filter, from, &mut effects)?;
            }
            DiskJob::Unsubscribe(client, subscription) => self.machine()?.on_unsubscribe(client, subscription),
            DiskJob::ClientGone(client) => self.machine()?.on_client_gone(client),
            DiskJob::NobodyListens => self.machine()?.on_clients_gone(),
            DiskJob::Tick(now) => self.machine()?.on_tick(now, &mut effects)?,
            DiskJob::Compact { index, term } => self.compact(index, term)?,
            DiskJob::Persist => self.store()?.begin_persist()?,
            DiskJob::TakeSnapshot(snapshot) => {
                let view = self.store()?.view()?;
                self.views.insert(snapshot, (view, self.position.clone()));
                done.push(DiskDone::Snapshot(snapshot, self.position.clone()));
            }
            DiskJob::DropSnapshot(snapshot) => drop(self.views.remove(&snapshot)),
            DiskJob::ReadChunk { snapshot, transfer, to, after, bytes_max } => {
                let Some((view, _)) = self.views.get(&snapshot) else { return Ok(()) };
                let rows = view.rows(after.as_ref(), bytes_max)?;
                let bytes: usize = rows.iter().map(|(_, key, value)| key.len() + value.len()).sum();
                done.push(DiskDone::Chunk { transfer, to, last: bytes < bytes_max, rows });
            }
            DiskJob::Stage { transfer, number, rows } => {
                let store = self.store()?;
                if number == 0 {
                    store.clear_stage()?;
                }
                store.stage(&rows)?;
                done.push(DiskDone::Staged { transfer, number });
            }
        }
        if !effects.is_empty() {
            done.push(DiskDone::Effects(effects));
        }
        Ok(())
    }

    fn append(&mut self, hard_state: Option<&HardState>, entries: &[Entry]) -> Result<(), ReplicaFailed> {
        if let Some(hard_state) = hard_state {
            self.batch.put(Column::Raft, HARD_STATE, hard_state_row(hard_state)?);
        }
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        assert!(first.index >= self.first && first.index <= self.last + 1, "the log has no gap");
        for entry in entries {
            self.batch.put(Column::Log, entry::row_key(entry.index), entry::row(entry)?);
        }
        for stale in last.index + 1..=self.last {
            self.batch.delete(Column::Log, entry::row_key(stale));
        }
        self.last = last.index;
        Ok(())
    }

    fn apply(
        &mut self,
        entries: &[Entry],
        position: Position,
        effects: &mut Vec<crate::shard::Effect>,
    ) -> Result<(), ReplicaFailed> {
        let mut groups = Vec::with_capacity(entries.len());
        for entry in entries {
            let ProposalRef { now, writes } = ProposalRef::decode(&entry.data)?;
            let decode = |(client, request, bytes)| match record::decode::<Write>(bytes) {
                Ok(write) => Ok((client, request, write)),
                Err(error) => Err(damaged(format!("entry {}: {error}", entry.index))),
            };
            groups.push((now, writes.into_iter().map(decode).collect::<Result<Vec<_>, _>>()?));
        }
        let mut batch = Batch::new();
        batch.put(Column::Raft, POSITION, position_row(&position)?);
        self.machine()?.on_writes(groups, batch, effects)?;
        self.position = position;
        Ok(())
    }

    /// Drops what the compaction before this one was about, and has the tables persisted for the next.
    fn compact(&mut self, index: u64, term: u64) -> Result<(), ReplicaFailed> {
        assert!(index <= self.position.index, "only what is applied is dropped");
        if let Some(before) = self.dropping.take() {
            self.store()?.finish_persist()?;
            self.drop_log(before)?;
        }
        self.store()?.begin_persist()?;
        self.dropping = Some(Truncated { index, term });
        Ok(())
    }

    fn drop_log(&mut self, Truncated { index, term }: Truncated) -> Result<(), ReplicaFailed> {
        // What is still to be flushed may be about the same rows.
        self.write_log_early()?;
        while self.first <= index {
            let mut batch = Batch::new();
            let to = index.min(self.first + PAGE as u64 - 1);
            (self.first..=to).for_each(|gone| batch.delete(Column::Log, entry::row_key(gone)));
            if to == index {
                batch.put(Column::Raft, TRUNCATED, encode(&Truncated { index, term })?);
            }
            // Where the rows go in several batches, the mark goes first: a row before the mark is no gap.
            if self.first + (PAGE as u64) <= index {
                batch.put(Column::Raft, TRUNCATED, encode(&Truncated { index, term })?);
            }
            self.store()?.apply(batch)?;
            self.first = to + 1;
        }
        Ok(())
    }

    /// Writes log rows now, whose fsync still comes with the flush.
    fn write_log_early(&mut self) -> Result<(), ReplicaFailed> {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.store()?.apply(batch)?;
        }
        Ok(())
    }

    fn install(
        &mut self,
        hard_state: Option<&HardState>,
        entries: &[Entry],
        position: Position,
    ) -> Result<(), ReplicaFailed> {
        self.write_log_early()?;
        let mut batch = Batch::new();
        (self.first..=self.last).for_each(|gone| batch.delete(Column::Log, entry::row_key(gone)));
        for entry in entries {
            batch.put(Column::Log, entry::row_key(entry.index), entry::row(entry)?);
        }
        if let Some(hard_state) = hard_state {
            batch.put(Column::Raft, HARD_STATE, hard_state_row(hard_state)?);
        }
        let truncated = Truncated { index: position.index, term: position.term };
        batch.put(Column::Raft, TRUNCATED, encode(&truncated)?);
        batch.put(Column::Raft, POSITION, position_row(&position)?);
        let mut store = self.shard.take().ok_or(ReplicaFailed::Stopped)?.into_store();
        store.install(batch)?;
        self.dropping = None;
        self.shard = Some(ShardCore::open(store, self.limits)?);
        self.first = position.index + 1;
        self.last = position.index + entries.len() as u64;
        self.position = position;
        Ok(())
    }

    /// Asserts every invariant; reads all rows that are the cores' own.
    ///
    /// # Errors
    /// [`ReplicaFailed`] if the store fails.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn sanity_check(&self) -> Result<(), ReplicaFailed> {
        let Some(shard) = &self.shard else { return Err(ReplicaFailed::Stopped) };
        shard.sanity_check()?;
        assert!(self.position.index <= self.last, "the tables are not ahead of the log");
        if self.batch.is_empty() {
            let recovered = recover(shard.store())?;
            assert_eq!(recovered.position, self.position, "how far the tables are");
            assert_eq!(recovered.truncated.0 + 1, self.first, "where the log begins");
            assert_eq!(recovered.truncated.0 + recovered.entries.len() as u64, self.last, "where the log ends");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
