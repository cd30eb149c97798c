//! Transactions: the changes of one or more writes, seen before they are applied.
//!
//! Owns: pending rows over a store, and the list of watched rows that changed. Does not own the store; whoever made the
//! transaction applies the batch. Invariant: reads within a transaction see its own changes, so several writes can share
//! one batch and come out as if applied one by one.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{limits, ApplyError, Bound, PageRequest, Table};
use crate::{
    record::{self, Record},
    store::{Batch, Column, Row, Store, StoreError},
};

/// Rows of a listing, and the key to go on after if there are more.
pub(super) type Rows = (Vec<Row>, Option<Bytes>);

/// Pending changes over a store.
pub struct Txn<'a> {
    store: &'a dyn Store,
    pending: BTreeMap<(Column, Bytes), Option<Bytes>>,
    changed: Vec<(Table, Bytes)>,
    /// What the write at hand has replaced among the pending changes, and how many watched rows had changed before it.
    undo: Vec<Undo>,
    changed_before: usize,
}

type Undo = ((Column, Bytes), Option<Option<Bytes>>);

impl<'a> Txn<'a> {
    /// No changes over `store`.
    #[must_use]
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, pending: BTreeMap::new(), changed: Vec::new(), undo: Vec::new(), changed_before: 0 }
    }

    /// The next write begins: what came before stays, whatever becomes of it.
    pub(crate) fn begin_write(&mut self) {
        self.undo.clear();
        self.changed_before = self.changed.len();
    }

    /// Takes the changes of the write at hand back: it is refused.
    pub(crate) fn roll_back(&mut self) {
        for (key, before) in self.undo.drain(..).rev() {
            match before {
                Some(value) => self.pending.insert(key, value),
                None => self.pending.remove(&key),
            };
        }
        self.changed.truncate(self.changed_before);
    }

    fn set(&mut self, column: Column, key: Bytes, value: Option<Bytes>) {
        let at = (column, key);
        let before = self.pending.insert(at.clone(), value);
        self.undo.push((at, before));
    }

    /// The watched rows that the write at hand has changed, in order.
    pub(crate) fn changed_by_write(&self) -> &[(Table, Bytes)] {
        &self.changed[self.changed_before..]
    }

    /// The changes as a batch, and the watched rows among them in the order in which they changed.
    #[must_use]
    pub fn finish(self) -> (Batch, Vec<(Table, Bytes)>) {
        let mut batch = Batch::new();
        for ((column, key), value) in self.pending {
            match value {
                Some(value) => batch.put(column, key, value),
                None => batch.delete(column, key),
            }
        }
        (batch, self.changed)
    }

    /// The value of `key`, pending changes included.
    pub(crate) fn get(&self, column: Column, key: &Bytes) -> Result<Option<Bytes>, StoreError> {
        if !self.pending.is_empty() {
            if let Some(value) = self.pending.get(&(column, key.clone())) {
                return Ok(value.clone());
            }
        }
        self.store.get(column, key)
    }

    /// As [`Store::scan`], pending changes included.
    pub(super) fn scan(
        &self,
        column: Column,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let start = (column, Bytes::copy_from_slice(prefix.max(from)));
        let pending: Vec<_> = self
            .pending
            .range(start..)
            .take_while(|((c, key), _)| *c == column && key.starts_with(prefix))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        // Each pending change can hide at most one row of the store.
        let rows = self.store.scan(column, prefix, from, limit.saturating_add(pending.len()))?;
        if pending.is_empty() {
            return Ok(rows);
        }
        let mut merged: BTreeMap<Bytes, Bytes> = rows.into_iter().collect();
        for (key, value) in pending {
            match value {
                Some(value) => merged.insert(key, value),
                None => merged.remove(&key),
            };
        }
        Ok(merged.into_iter().take(limit).collect())
    }

    /// One page of the rows under `prefix`, bounded in rows and bytes.
    pub(super) fn page(&self, column: Column, prefix: &[u8], page: &PageRequest) -> Result<Rows, StoreError> {
        const CHUNK: usize = 64;
        let limit = (page.limit as usize).clamp(1, limits::PAGE_LEN_MAX);
        let mut from = page.after.as_ref().map(|key| successor(key)).unwrap_or_default();
        let mut rows: Vec<Row> = Vec::new();
        let mut bytes = 0;
        loop {
            let wanted = CHUNK.min(limit + 1 - rows.len());
            let chunk = self.scan(column, prefix, &from, wanted)?;
            let last = chunk.len() < wanted;
            for (key, value) in chunk {
                if rows.len() == limit || bytes > limits::PAGE_BYTES_MAX {
                    let next = rows.last().map(|(key, _)| key.clone());
                    return Ok((rows, next));
                }
                bytes += key.len() + value.len();
                from = successor(&key);
                rows.push((key, value));
            }
            if last {
                return Ok((rows, None));
            }
        }
    }

    /// The record at `key`.
    pub(super) fn record<R: Record>(&self, column: Column, key: &Bytes) -> Result<Option<R>, ApplyError> {
        match self.get(column, key)? {
            Some(bytes) => Ok(Some(record::decode(&bytes)?)),
            None => Ok(None),
        }
    }

    /// Puts bytes at `key`.
    pub(super) fn put(&mut self, column: Column, key: Bytes, value: Bytes) {
        self.set(column, key, Some(value));
    }

    /// Takes `key` away.
    pub(super) fn delete(&mut self, column: Column, key: Bytes) {
        self.set(column, key, None);
    }

    /// Puts a record at `key`.
    pub(super) fn put_record<R: Record>(&mut self, column: Column, key: Bytes, value: &R) -> Result<(), ApplyError> {
        let bytes = record::encode(value)?;
        Bound::RecordBytes.check(bytes.len(), limits::RECORD_BYTES_MAX)?;
        self.put(column, key, bytes);
        Ok(())
    }

    /// Puts a record into a watched table.
    pub(super) fn put_row<R: Record>(&mut self, table: Table, key: Bytes, value: &R) -> Result<(), ApplyError> {
        self.put_record(table.column(), key.clone(), value)?;
        self.changed.push((table, key));
        Ok(())
    }

    /// Puts bytes into a watched table.
    pub(super) fn put_bytes(&mut self, table: Table, key: Bytes, value: Bytes) {
        self.put(table.column(), key.clone(), value);
        self.changed.push((table, key));
    }

    /// Takes a row of a watched table away.
    pub(super) fn delete_row(&mut self, table: Table, key: Bytes) {
        self.delete(table.column(), key.clone());
        self.changed.push((table, key));
    }
}

/// The least key greater than `key`.
fn successor(key: &[u8]) -> Bytes {
    Bytes::from([key, &[0]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn filled(keys: &[&'static str]) -> MemoryStore {
        let mut store = MemoryStore::new();
        let mut batch = Batch::new();
        keys.iter().for_each(|k| batch.put(Column::KeyValue, key(k), key(k)));
        store.apply(batch).unwrap();
        store
    }

    #[test]
    fn a_transaction_sees_its_own_changes() {
        let store = filled(&["a", "b", "d"]);
        let mut txn = Txn::new(&store);
        txn.put(Column::KeyValue, key("c"), key("new"));
        txn.delete(Column::KeyValue, key("a"));
        assert_eq!(txn.get(Column::KeyValue, &key("a")).unwrap(), None);
        assert_eq!(txn.get(Column::KeyValue, &key("c")).unwrap(), Some(key("new")));
        let rows = txn.scan(Column::KeyValue, b"", b"", 2).unwrap();
        assert_eq!(rows, [(key("b"), key("b")), (key("c"), key("new"))]);
        assert!(store.get(Column::KeyValue, b"a").unwrap().is_some());
    }

    #[test]
    fn pages_follow_on_each_other_until_the_end() {
        let keys: Vec<&'static str> = vec!["a", "b", "c", "d", "e"];
        let store = filled(&keys);
        let txn = Txn::new(&store);
        let mut after = None;
        let mut seen = Vec::new();
        for _ in 0..3 {
            let (rows, next) = txn.page(Column::KeyValue, b"", &PageRequest { after, limit: 2 }).unwrap();
            seen.extend(rows.into_iter().map(|(key, _)| key));
            after = next;
        }
        assert_eq!(after, None);
        assert_eq!(seen, keys);
    }

    #[test]
    fn a_page_ends_when_it_holds_enough_bytes() {
        let mut store = MemoryStore::new();
        let mut batch = Batch::new();
        let value = Bytes::from(vec![0; limits::VALUE_BYTES_MAX]);
        (0..10_u8).for_each(|n| batch.put(Column::KeyValue, vec![n], value.clone()));
        store.apply(batch).unwrap();
        let page = PageRequest { after: None, limit: 10 };
        let (rows, next) = Txn::new(&store).page(Column::KeyValue, b"", &page).unwrap();
        assert_eq!(rows.len(), 4);
        assert_eq!(next, Some(Bytes::from_static(&[3])));
    }
}
