//! User values by namespace and key.
//!
//! Owns: put, delete, compare-and-swap and listing. Invariants: keys are any bytes within their bound; a listing gives
//! keys and no values, so that it is small.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{keys, limits, Applied, ApplyError, Bound, Page, PageRequest, Reply, Route, Table, TableError, Txn};
use crate::store::Column;

/// A change of a user's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KeyValueWrite {
    /// Puts a value. Gives [`Reply::Stored`], false if there was one and `overwrite` is not asked.
    Put {
        /// The namespace.
        namespace: Arc<str>,
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// Whether to put it in place of another.
        overwrite: bool,
    },
    /// Deletes a value. Gives [`Reply::Deleted`].
    Delete {
        /// The namespace.
        namespace: Arc<str>,
        /// The key.
        key: Bytes,
    },
    /// Changes a value if it is what is expected; none means absent. Gives [`Reply::Stored`].
    CompareAndSwap {
        /// The namespace.
        namespace: Arc<str>,
        /// The key.
        key: Bytes,
        /// What the value must be.
        expected: Option<Bytes>,
        /// What it becomes.
        new: Option<Bytes>,
    },
}

/// A question about user values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KeyValueRead {
    /// One value: [`Reply::Value`].
    Get {
        /// The namespace.
        namespace: Arc<str>,
        /// The key.
        key: Bytes,
    },
    /// This shard's keys with a prefix: [`Reply::Keys`].
    List {
        /// The namespace.
        namespace: Arc<str>,
        /// What the keys start with.
        prefix: Bytes,
        /// Which part of the listing.
        page: PageRequest,
    },
}

fn row_key(namespace: &str, key: &[u8]) -> Result<Bytes, ApplyError> {
    Bound::NameBytes.check(namespace.len(), limits::NAME_BYTES_MAX)?;
    Bound::KeyBytes.check(key.len(), limits::KEY_BYTES_MAX)?;
    if key.is_empty() {
        return Err(TableError::EmptyName.into());
    }
    Ok(keys::scoped(namespace, key))
}

impl KeyValueWrite {
    fn address(&self) -> (&str, &Bytes) {
        match self {
            Self::Put { namespace, key, .. }
            | Self::Delete { namespace, key }
            | Self::CompareAndSwap { namespace, key, .. } => (namespace, key),
        }
    }

    pub(super) fn key_hash(&self) -> u64 {
        let (namespace, key) = self.address();
        keys::hash_scoped(namespace, key)
    }

    pub(super) fn apply(&self, txn: &mut Txn<'_>) -> Applied {
        let (namespace, key) = self.address();
        let row = row_key(namespace, key)?;
        match self {
            Self::Put { value, overwrite, .. } => {
                Bound::ValueBytes.check(value.len(), limits::VALUE_BYTES_MAX)?;
                // Whatever is there is not even read.
                let stored = *overwrite || txn.get(Column::KeyValue, &row)?.is_none();
                if stored {
                    txn.put_bytes(Table::KeyValue, row, value.clone());
                }
                Ok(Reply::Stored(stored))
            }
            Self::Delete { .. } => {
                let current = txn.get(Column::KeyValue, &row)?;
                if current.is_some() {
                    txn.delete_row(Table::KeyValue, row);
                }
                Ok(Reply::Deleted(current.is_some()))
            }
            Self::CompareAndSwap { expected, new, .. } => {
                Bound::ValueBytes.check(new.as_ref().map_or(0, Bytes::len), limits::VALUE_BYTES_MAX)?;
                let current = txn.get(Column::KeyValue, &row)?;
                let stored = current == *expected;
                if stored && current != *new {
                    match new {
                        Some(value) => txn.put_bytes(Table::KeyValue, row, value.clone()),
                        None => txn.delete_row(Table::KeyValue, row),
                    }
                }
                Ok(Reply::Stored(stored))
            }
        }
    }
}

impl KeyValueRead {
    pub(super) fn route(&self) -> Route {
        match self {
            Self::Get { namespace, key } => Route::Key(keys::hash_scoped(namespace, key)),
            Self::List { .. } => Route::Every,
        }
    }

    pub(super) fn answer(&self, txn: &Txn<'_>) -> Applied {
        match self {
            Self::Get { namespace, key } => Ok(Reply::Value(txn.get(Column::KeyValue, &row_key(namespace, key)?)?)),
            Self::List { namespace, prefix, page } => {
                Bound::NameBytes.check(namespace.len(), limits::NAME_BYTES_MAX)?;
                let before = keys::scoped(namespace, b"").len();
                let (rows, next) = txn.page(Column::KeyValue, &keys::scoped(namespace, prefix), page)?;
                let items = rows.into_iter().map(|(key, _)| key.slice(before..)).collect();
                Ok(Reply::Keys(Page { items, next }))
            }
        }
    }
}

#[cfg(test)]
mod tests;
