//! The store on disk: RocksDB behind [`Store`].
//!
//! Owns: how columns, batches, stages and views become families, write batches and checkpoints. Does not own what rows
//! mean. Its parts: `open` (whose folder it is, and what a crash left), `families` (generations of columns), `view`,
//! `wal` (what RocksDB would lose silently), `persist` (rows that are in no log), `options`, `failure` (RocksDB's words as errors).
//!
//! Invariants: a crash leaves whole batches, of each kind a prefix of what was applied; once a write failed, every later
//! one is refused until the store is opened anew, since RocksDB and its log may then differ.

mod failure;
mod families;
mod identity;
mod open;
mod options;
mod persist;
#[cfg(test)]
mod tests;
mod view;
mod wal;

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use bytes::Bytes;
use rocksdb::{
    properties, BottommostLevelCompaction, Cache, ColumnFamily, CompactOptions, DBWithThreadMode, ErrorKind,
    FlushOptions, PrefixRange, ReadOptions, SingleThreaded, WaitForCompactOptions, WriteBatch, WriteOptions,
};

pub use identity::StoreIdentity;
pub use options::RocksOptions;

use super::{refuse_log_rows, Batch, Column, Durability, Op, Row, Store, StoreError, View};
use failure::{failure, is_stall, refusal};
use families::{drop_if_used, shared_columns, Families};
pub(crate) use {families::Generation, wal::damage};

/// RocksDB with families that only their owner makes and drops.
type Db = DBWithThreadMode<SingleThreaded>;

/// The key, in the default family, of the generation that shared columns are in.
const GENERATION_KEY: &[u8] = b"generation";

/// What a sync leaves in the log; see [`RocksStore::sync`].
const SYNC_MARK: &[u8] = b"sync";

/// How long a write that RocksDB holds back waits before it asks again.
const STALL_WAIT: Duration = Duration::from_millis(1);

/// A [`Store`] in a folder.
///
/// [Views](Store::view) are folders inside that one and end with the store: opening it anew clears them away.
///
/// # Examples
///
/// ```
/// use actinic_gcs::store::{Batch, Column, RocksOptions, RocksStore, Store, StoreIdentity};
///
/// let folder = tempfile::tempdir()?;
/// let identity = StoreIdentity { cluster: 7, shard: 0, replica: 1 };
/// let mut store = RocksStore::open(folder.path(), identity, RocksOptions::default())?;
/// let mut batch = Batch::new();
/// batch.put(Column::Jobs, &b"key"[..], &b"value"[..]);
/// store.apply(batch)?;
/// store.sync()?;
/// assert_eq!(store.get(Column::Jobs, b"key")?.as_deref(), Some(&b"value"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RocksStore {
    db: Db,
    path: PathBuf,
    options: RocksOptions,
    cache: Cache,
    families: Families,
    /// Whether something was applied since the last sync.
    dirty: bool,
    /// What made a write fail.
    failed: Option<io::ErrorKind>,
}

impl RocksStore {
    /// Opens the store in the folder `path`, which is made if it is missing; an empty folder becomes a store of
    /// `identity`.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] with the reason: the store is open elsewhere, is not of `identity`, is of a newer
    /// format, is damaged, or its folder cannot be used.
    pub fn open(path: &Path, identity: StoreIdentity, options: RocksOptions) -> Result<Self, StoreError> {
        open::open(path, identity, options).map_err(|reason| StoreError::Unusable { path: path.to_owned(), reason })
    }

    /// How many bytes the store's files have, without those that only a [view](Store::view) still needs.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let Ok(entries) = fs::read_dir(&self.path) else { return 0 };
        // A file that vanishes meanwhile was obsolete and counts for nothing.
        entries
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .filter(fs::Metadata::is_file)
            .map(|file| file.len())
            .sum()
    }

    /// How many bytes of memory the store's buffers and caches hold.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let of_families = |property| -> u64 {
            self.handles().filter_map(|family| self.db.property_int_value_cf(family, property).ok().flatten()).sum()
        };
        of_families(properties::SIZE_ALL_MEM_TABLES)
            + of_families(properties::ESTIMATE_TABLE_READERS_MEM)
            + self.cache.get_usage() as u64
    }

    /// Rewrites the store without what was deleted or replaced, and returns when that is done: long for a large store.
    /// RocksDB does the same by and by on its own; this is for tests and for operators in need of room.
    ///
    /// # Errors
    /// [`StoreError`] if the device failed or is full.
    pub fn reclaim(&mut self) -> Result<(), StoreError> {
        self.check_usable()?;
        let handles: Vec<_> = self.handles().collect();
        let flushed = self.db.flush_cfs_opt(&handles, &FlushOptions::default());
        let mut compaction = CompactOptions::default();
        compaction.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for family in handles {
            self.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &compaction);
        }
        let done = flushed.and_then(|()| self.db.wait_for_compact(&WaitForCompactOptions::default()));
        self.note(Column::Meta, done)
    }

    /// Every family that is in use.
    fn handles(&self) -> impl Iterator<Item = &ColumnFamily> {
        let default = self.db.cf_handle(rocksdb::DEFAULT_COLUMN_FAMILY_NAME);
        default.into_iter().chain(Column::ALL.iter().filter_map(|column| self.family(*column)))
    }

    /// The family of `column` as readers see it; without one there are no rows.
    fn family(&self, column: Column) -> Option<&ColumnFamily> {
        self.db.cf_handle(self.families.name(column, self.families.generation()))
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        self.failed.map_or(Ok(()), |kind| Err(refusal(kind)))
    }

    /// Passes on how a write went, and after a failure lets no other follow.
    fn note<T>(&mut self, column: Column, outcome: Result<T, rocksdb::Error>) -> Result<T, StoreError> {
        outcome.map_err(|error| {
            let error = failure(column, error);
            self.failed = Some(match &error {
                StoreError::Io { source, .. } => source.kind(),
                _ => io::ErrorKind::Other,
            });
            error
        })
    }

    /// Makes the families of `columns` that are not there yet: it takes some ms each, once.
    fn make_families(
        &mut self,
        columns: impl Iterator<Item = Column>,
        generation: Generation,
    ) -> Result<(), StoreError> {
        let mut seen = 0_u32;
        for column in columns {
            let bit = 1 << column as u32;
            if seen & bit != 0 {
                continue;
            }
            seen |= bit;
            let name = self.families.name(column, generation);
            if self.db.cf_handle(name).is_none() {
                let made = self.db.create_cf(name, &self.options.family(&self.cache));
                self.note(column, made)?;
            }
        }
        Ok(())
    }

    /// The changes of `batch` for RocksDB, with shared columns in `generation`; puts find their families made.
    fn changes(&self, batch: &Batch, generation: Generation) -> WriteBatch {
        let mut changes = WriteBatch::default();
        let families: Vec<_> =
            Column::ALL.iter().map(|column| self.db.cf_handle(self.families.name(*column, generation))).collect();
        for op in batch.ops() {
            // Where there is no family, there is nothing to delete either.
            let Some(family) = families[op.column() as usize] else { continue };
            match op {
                Op::Put { key, value, .. } => changes.put_cf(family, key, value),
                Op::Delete { key, .. } => changes.delete_cf(family, key),
            }
        }
        changes
    }

    /// Writes what `changes` makes, into the log unless it is of the stage.
    ///
    /// RocksDB holds writes back while tables cannot be written as fast. It must not do so itself: a write that it holds
    /// back when the device gets full keeps RocksDB's own recovery from starting, and waits for that recovery.
    fn write(
        &mut self,
        column: Column,
        is_logged: bool,
        changes: impl Fn(&Self) -> WriteBatch,
    ) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_no_slowdown(true);
        options.disable_wal(!is_logged);
        loop {
            match self.db.write_opt(changes(self), &options) {
                Err(error) if is_stall(&error) => {
                    let waited = self.wait_for_tables();
                    self.note(column, waited)?;
                }
                written => return self.note(column, written),
            }
        }
    }

    /// Waits a little for tables to be written.
    fn wait_for_tables(&self) -> Result<(), rocksdb::Error> {
        let mut options = WaitForCompactOptions::default();
        options.set_timeout(STALL_WAIT.as_micros() as u64);
        match self.db.wait_for_compact(&options) {
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
            Ok(()) => {
                // Nothing to wait for, but RocksDB has yet to notice.
                thread::sleep(STALL_WAIT);
                Ok(())
            }
            failed => failed,
        }
    }

    /// Applies a batch, by way of the log or not.
    fn apply_any(&mut self, batch: &Batch, is_logged: bool) -> Result<(), StoreError> {
        self.check_usable()?;
        let Some(first) = batch.ops().first() else { return Ok(()) };
        let column = first.column();
        let generation = self.families.generation();
        self.make_families(batch.ops().iter().map(Op::column), generation)?;
        self.dirty |= is_logged;
        self.write(column, is_logged, |store| store.changes(batch, generation))
    }

    /// Drops the families that are not current and hold anything.
    fn drop_staged(&mut self) -> Result<(), StoreError> {
        for column in shared_columns() {
            let name = self.families.name(column, self.families.generation().other());
            let dropped = drop_if_used(&mut self.db, name);
            self.note(column, dropped)?;
        }
        Ok(())
    }

    /// The first half of an installation: the stage becomes current, durably. What was current is staged then.
    fn switch_generations(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let next = self.families.generation().other();
        // Staged rows are in no log, so that they must be in tables before they are current.
        let staged = shared_columns().filter_map(|column| self.db.cf_handle(self.families.name(column, next)));
        let flushed = self.db.flush_cfs_opt(&staged.collect::<Vec<_>>(), &FlushOptions::default());
        self.note(Column::Meta, flushed)?;
        self.make_families(batch.ops().iter().map(Op::column), next)?;
        self.write(Column::Raft, true, |store| {
            let mut changes = store.changes(batch, next);
            changes.put(GENERATION_KEY, next.encoded());
            changes
        })?;
        let synced = self.db.flush_wal(true);
        self.note(Column::Raft, synced)?;
        self.dirty = false;
        self.families.switch();
        Ok(())
    }
}

impl Store for RocksStore {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let Some(family) = self.family(column) else { return Ok(None) };
        let value = self.db.get_pinned_cf(family, key).map_err(|error| failure(column, error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, column: Column, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let Some(family) = self.family(column) else { return Ok(Vec::new()) };
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(prefix));
        let mut cursor = self.db.raw_iterator_cf_opt(family, options);
        let mut rows = Vec::new();
        cursor.seek(prefix.max(from));
        while rows.len() < limit {
            let Some((key, value)) = cursor.item() else { break };
            rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            cursor.next();
        }
        cursor.status().map_err(|error| failure(column, error))?;
        Ok(rows)
    }

    fn apply(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.apply_any(&batch, true)
    }

    fn apply_rebuildable(&mut self, batch: Batch) -> Result<(), StoreError> {
        refuse_log_rows(&batch)?;
        self.apply_any(&batch, false)
    }

    fn begin_persist(&mut self) -> Result<(), StoreError> {
        self.start_persisting()
    }

    fn finish_persist(&mut self) -> Result<(), StoreError> {
        self.wait_until_persisted()
    }

    /// With [`Durability::Fsync`] a mark goes into the log after the batches, so that even in the last of them damage
    /// can be told from a write that was torn: a torn one has nothing behind it.
    fn sync(&mut self) -> Result<(), StoreError> {
        self.check_usable()?;
        if !self.dirty {
            return Ok(());
        }
        let synced = match self.options.durability {
            Durability::Fsync => {
                self.write(Column::Log, true, |_| {
                    let mut mark = WriteBatch::default();
                    mark.put_log_data(SYNC_MARK);
                    mark
                })?;
                self.db.flush_wal(true)
            }
            Durability::Buffered => self.db.flush_wal(false),
            Durability::Memory => Ok(()),
        };
        self.note(Column::Log, synced)?;
        self.dirty = false;
        Ok(())
    }

    fn view(&self) -> Result<Box<dyn View>, StoreError> {
        Ok(Box::new(view::RocksView::of(&self.db, &self.path, self.families.generation())?))
    }

    fn clear_stage(&mut self) -> Result<(), StoreError> {
        self.check_usable()?;
        self.drop_staged()
    }

    fn stage(&mut self, rows: &[(Column, Bytes, Bytes)]) -> Result<(), StoreError> {
        self.check_usable()?;
        let Some((first, ..)) = rows.first() else { return Ok(()) };
        if let Some((column, ..)) = rows.iter().find(|(column, ..)| !column.is_shared()) {
            return Err(StoreError::Corrupt { column: *column, detail: "it cannot be staged".to_owned() });
        }
        let next = self.families.generation().other();
        self.make_families(rows.iter().map(|(column, ..)| *column), next)?;
        // A stage does not outlive a crash, so that logging it would only write everything twice.
        self.write(*first, false, |store| {
            let mut changes = WriteBatch::default();
            for (column, key, value) in rows {
                let family = store.db.cf_handle(store.families.name(*column, next));
                changes.put_cf(family.expect("invariant: it was just made"), key, value);
            }
            changes
        })
    }

    fn install(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.check_usable()?;
        self.switch_generations(&batch)?;
        self.drop_staged()
    }
}
