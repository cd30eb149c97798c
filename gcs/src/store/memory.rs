//! The store in memory: an ordered map a column.
//!
//! Owns: rows for as long as it lives; it is the store of an embedded runtime that asked for no durability, and of tests
//! and simulations. Invariant: it cannot fail.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;

use super::{refuse_log_rows, Batch, Column, Cursor, Op, Row, Store, StoreError, View};

/// A [`Store`] in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryStore {
    columns: Vec<BTreeMap<Bytes, Bytes>>,
    staged: Vec<BTreeMap<Bytes, Bytes>>,
}

fn no_rows() -> Vec<BTreeMap<Bytes, Bytes>> {
    vec![BTreeMap::new(); Column::ALL.len()]
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
        Self { columns: no_rows(), staged: no_rows() }
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
            .range::<[u8], _>((Bound::Included(start), Bound::Unbounded))
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

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn apply_rebuildable(&mut self, batch: Batch) -> Result<(), StoreError> {
        refuse_log_rows(&batch)?;
        self.apply(batch)
    }

    fn begin_persist(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn finish_persist(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn view(&self) -> Result<Box<dyn View>, StoreError> {
        Ok(Box::new(MemoryView { columns: self.columns.clone() }))
    }

    fn clear_stage(&mut self) -> Result<(), StoreError> {
        self.staged = no_rows();
        Ok(())
    }

    fn stage(&mut self, rows: &[(Column, Bytes, Bytes)]) -> Result<(), StoreError> {
        for (column, key, value) in rows {
            if !column.is_shared() {
                return Err(StoreError::Corrupt { column: *column, detail: "it cannot be staged".to_owned() });
            }
            self.staged[*column as usize].insert(key.clone(), value.clone());
        }
        Ok(())
    }

    fn install(&mut self, batch: Batch) -> Result<(), StoreError> {
        let staged = std::mem::replace(&mut self.staged, no_rows());
        for (column, rows) in Column::ALL.iter().zip(staged).filter(|(column, _)| column.is_shared()) {
            self.columns[*column as usize] = rows;
        }
        self.apply(batch)
    }
}

struct MemoryView {
    columns: Vec<BTreeMap<Bytes, Bytes>>,
}

impl View for MemoryView {
    fn rows(&self, after: Option<&Cursor>, bytes_max: usize) -> Result<Vec<(Column, Bytes, Bytes)>, StoreError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        for column in Column::ALL.iter().copied().filter(|column| column.is_shared()) {
            let start = match after {
                Some((last, _)) if column < *last => continue,
                Some((last, key)) if column == *last => Bound::Excluded(&key[..]),
                _ => Bound::Unbounded,
            };
            for (key, value) in self.columns[column as usize].range::<[u8], _>((start, Bound::Unbounded)) {
                if bytes >= bytes_max && !rows.is_empty() {
                    return Ok(rows);
                }
                bytes += key.len() + value.len();
                rows.push((column, key.clone(), value.clone()));
            }
        }
        Ok(rows)
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

        fn reopen(&mut self, mut store: MemoryStore) -> MemoryStore {
            store.clear_stage().unwrap();
            store
        }

        fn crash(&mut self, store: MemoryStore) -> MemoryStore {
            self.reopen(store)
        }
    }

    #[test]
    fn the_memory_store_passes_the_store_suite() {
        suite::run(&mut InMemory);
    }
}
