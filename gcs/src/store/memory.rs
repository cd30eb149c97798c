//! The store in memory: an ordered map a column.
//!
//! Owns: rows for as long as it lives; it is the store of an embedded runtime that asked for no durability, and of tests
//! and simulations. Invariant: it cannot fail.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Batch, Column, Op, Row, Store, StoreError};

/// A [`Store`] in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryStore {
    columns: Vec<BTreeMap<Bytes, Bytes>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { columns: vec![BTreeMap::new(); Column::ALL.len()] }
    }

    /// How many rows `column` holds.
    #[must_use]
    pub fn rows(&self, column: Column) -> usize {
        self.columns[column as usize].len()
    }
}

impl Store for MemoryStore {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.columns[column as usize].get(key).cloned())
    }

    fn scan(&self, column: Column, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let start = prefix.max(from);
        let rows = self.columns[column as usize]
            .range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(rows)
    }

    fn apply(&mut self, batch: Batch) -> Result<(), StoreError> {
        for op in batch.into_ops() {
            match op {
                Op::Put { column, key, value } => {
                    self.columns[column as usize].insert(key, value);
                }
                Op::Delete { column, key } => {
                    self.columns[column as usize].remove(&key);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::{self, Fixture};

    struct InMemory;

    impl Fixture for InMemory {
        type Store = MemoryStore;

        fn open(&mut self) -> MemoryStore {
            MemoryStore::new()
        }

        fn reopen(&mut self, store: MemoryStore) -> MemoryStore {
            store
        }
    }

    #[test]
    fn the_memory_store_passes_the_store_suite() {
        suite::run(&mut InMemory);
    }
}
