//! The ordered key-value store beneath the tables.
//!
//! Owns: the [`Store`] trait, its columns and batches, and the store in memory. Does not own what rows mean
//! ([`crate::tables`]) or in which order writes come ([`crate::shard`]). Invariants: a batch is applied whole or not at
//! all; keys are ordered as bytes, so a scan gives the same rows in the same order on every store.
//!
//! Batches are of two kinds. What must not be lost is [applied](Store::apply) and [synced](Store::sync). What its owner can
//! make again is [applied as rebuildable](Store::apply_rebuildable): the tables of a replica, which follow from its log.
//! Those cost no log of the store's own; they are [persisted](Store::begin_persist) once in a while, before what they are
//! made from is dropped.

mod batch;
mod column;
mod durability;
mod memory;
#[cfg(feature = "rocksdb")]
mod rocks;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

use bytes::Bytes;
use thiserror::Error;

pub use batch::{Batch, Op};
pub use column::Column;
pub use durability::Durability;
pub use memory::MemoryStore;
#[cfg(feature = "rocksdb")]
pub(crate) use rocks::{damage, Generation};
#[cfg(feature = "rocksdb")]
pub use rocks::{RocksOptions, RocksStore, StoreIdentity};

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// An ordered key-value store of several columns.
///
/// A store is owned by one shard and used from one thread at a time. The suite in `store::suite` says the rest of what
/// it must do.
pub trait Store {
    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot tell.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The first `limit` rows whose keys start with `prefix` and are not less than `from`, in the order of their keys.
    /// An empty prefix means all keys, an empty `from` the first one.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot tell.
    fn scan(&self, column: Column, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Applies all of `batch` in its order, or nothing.
    ///
    /// # Errors
    /// [`StoreError`] if nothing was applied, or if the store cannot tell; it must then be opened anew.
    fn apply(&mut self, batch: Batch) -> Result<(), StoreError>;

    /// Makes every batch applied so far durable, whatever happens to the process or the machine, but for rebuildable ones.
    /// What was applied after the last `sync` may be lost with them, but only as whole batches from the newest backwards.
    /// A store that promises no durability has nothing to do.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be told; the store must then be opened anew.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Applies all of `batch` in its order, or nothing: rows that their owner can make again from others that it keeps.
    /// A `sync` does nothing for them, which is what makes them cheap. When the process dies, those since the last
    /// [persist](Store::begin_persist) may be lost, but only as whole batches from the newest backwards; and one that is
    /// left finds every batch left that was applied before it, of either kind. A key is written by one kind of batch only,
    /// but for the first time and in an installation. Rows of [`Column::Log`] cannot be rebuilt.
    ///
    /// # Errors
    /// As [`Store::apply`].
    fn apply_rebuildable(&mut self, batch: Batch) -> Result<(), StoreError>;

    /// Begins to make every rebuildable batch applied so far durable, and whatever they follow, in the background where
    /// the store can. It takes long beside a sync, and is for once in some MB.
    ///
    /// # Errors
    /// As [`Store::sync`].
    fn begin_persist(&mut self) -> Result<(), StoreError>;

    /// Returns once what the last [`Store::begin_persist`] was about is durable. Where there was none, there is nothing to
    /// wait for.
    ///
    /// # Errors
    /// As [`Store::sync`].
    fn finish_persist(&mut self) -> Result<(), StoreError>;

    /// The shared state ([`Column::is_shared`]) as it is now, whatever is applied later.
    ///
    /// # Errors
    /// [`StoreError`] if there is none to be had.
    fn view(&self) -> Result<Box<dyn View>, StoreError>;

    /// Forgets what was staged before.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot tell.
    fn clear_stage(&mut self) -> Result<(), StoreError>;

    /// Adds rows of shared columns to the stage, where nobody sees them. A stage does not outlive the store's closing.
    ///
    /// # Errors
    /// [`StoreError`] if the device failed or is full, or a column is not shared.
    fn stage(&mut self, rows: &[(Column, Bytes, Bytes)]) -> Result<(), StoreError>;

    /// Makes the stage the whole shared state in place of what there was, and applies `batch` (rows of a replica's own
    /// columns): all of it or nothing, and durable when it returns.
    ///
    /// # Errors
    /// As [`Store::apply`].
    fn install(&mut self, batch: Batch) -> Result<(), StoreError>;
}

impl StoreError {
    /// A row whose numbers no write of this crate makes.
    pub(crate) fn senseless(column: Column, key: &[u8]) -> Self {
        Self::Corrupt { column, detail: format!("the row with key {key:02x?} makes no sense") }
    }
}

/// Refuses a rebuildable batch with rows of the log, from which all others are made again.
fn refuse_log_rows(batch: &Batch) -> Result<(), StoreError> {
    if batch.ops().iter().any(|op| op.column() == Column::Log) {
        return Err(StoreError::Corrupt { column: Column::Log, detail: "its rows cannot be made again".to_owned() });
    }
    Ok(())
}

/// Where a view is read on: after this row.
pub type Cursor = (Column, Bytes);

/// The shared state at one moment.
pub trait View: Send {
    /// Rows after `after` (from the first without it), column by column and in the order of their keys, until they hold
    /// `bytes_max` bytes: at least one row if there is any. Fewer bytes than that mean that nothing follows.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot tell.
    fn rows(&self, after: Option<&Cursor>, bytes_max: usize) -> Result<Vec<(Column, Bytes, Bytes)>, StoreError>;
}

/// Why a store could not do what was asked. A shard whose store fails stops; it is for its supervisor to open it again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The device failed or is full.
    #[error("the store of column {column} failed")]
    Io {
        /// The column that was read or written.
        column: Column,
        /// What the system says.
        source: std::io::Error,
    },
    /// What the store holds makes no sense.
    #[error("the store of column {column} is corrupt: {detail}")]
    Corrupt {
        /// The column that was read.
        column: Column,
        /// What was found.
        detail: String,
    },
    /// The store cannot be opened, or not by this program.
    #[error("the store in {path} cannot be opened: {reason}")]
    Unusable {
        /// The folder.
        path: std::path::PathBuf,
        /// Why, and what to do.
        reason: Unusable,
    },
}

impl StoreError {
    /// Whether there is no room left on the device, or none for this user. Nothing that was synced is lost; once there
    /// is room, opening the store anew is all it takes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } | Self::Unusable { reason: Unusable::Folder(source), .. } => source,
            _ => return false,
        };
        matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
    }
}

/// Why a store cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unusable {
    /// Another process has it open.
    #[error("another process uses it; end that one, or name another folder")]
    InUse,
    /// It belongs to another cluster.
    #[error("it belongs to cluster {found}, not to {expected}; name another folder, or empty this one")]
    Foreign {
        /// Whose it is.
        found: String,
        /// Who asks.
        expected: String,
    },
    /// It is another replica's, or another shard's.
    #[error("it holds {found}, not {expected}; name another folder")]
    OtherReplica {
        /// What it holds.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// A newer version of Actinic wrote it.
    #[error("it has format {found}, and this build reads formats up to {supported}; use a newer version of Actinic")]
    Newer {
        /// The format found.
        found: u32,
        /// The newest that this build reads.
        supported: u32,
    },
    /// The folder cannot be made or read.
    #[error("the folder cannot be used: {0}")]
    Folder(#[source] std::io::Error),
    /// What is in it makes no sense.
    #[error("it is damaged: {0}; remove this replica from its group, empty the folder, and add it anew")]
    Damaged(String),
}
