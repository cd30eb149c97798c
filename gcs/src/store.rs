//! The ordered key-value store beneath the tables.
//!
//! Owns: the [`Store`] trait, its columns and batches, and the store in memory. Does not own what rows mean
//! ([`crate::tables`]) or in which order writes come ([`crate::shard`]). Invariants: a batch is applied whole or not at
//! all; keys are ordered as bytes, so a scan gives the same rows in the same order on every store.

mod batch;
mod column;
mod memory;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

use bytes::Bytes;
use thiserror::Error;

pub use batch::{Batch, Op};
pub use column::Column;
pub use memory::MemoryStore;

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
}
