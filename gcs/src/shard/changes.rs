//! The history of changes, so that a subscriber can go on where it was.
//!
//! Owns: the numbering of changes of watched rows, and the newest of them in rows written with the change itself. A row
//! says which key changed, not what to: who resumes is told the present value once for each key that changed, in the order
//! of their last changes. Invariants: numbers are consecutive from 1; at most so many are kept; they are the same on every
//! replica, so a subscriber can resume on another.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{core::ShardFailed, Filter};
use crate::{
    record::{self, RecordError},
    store::{Batch, Column, Store},
    tables::{keys, Table, Update},
};

/// A change of a watched row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The change's number in its shard, from 1 without gaps. A subscriber resumes with the last that it saw.
    pub sequence: u64,
    /// The table.
    pub table: Table,
    /// The row's key, as [`crate::tables::keys`] makes it.
    pub key: Bytes,
    /// The row as it is now, or none if it was deleted.
    pub value: Option<Bytes>,
}

impl Change {
    /// The row, decoded; none if it was deleted.
    ///
    /// # Errors
    /// [`RecordError`] if the row is none of the table's, or was written by a newer build.
    pub fn update(&self) -> Result<Option<Update>, RecordError> {
        self.value.as_ref().map(|value| Update::decode(self.table, value)).transpose()
    }
}

/// The row of a change.
#[derive(Serialize, Deserialize)]
struct ChangedRow {
    table: Table,
    key: Bytes,
}

record::records! { ChangedRow = "change" }

/// The bounds of the history.
pub(super) struct ChangeLog {
    first: u64,
    next: u64,
    len_max: u64,
}

impl ChangeLog {
    /// The history in `store`, of which the next change gets the number `next`.
    pub(super) fn open(store: &impl Store, next: u64, len_max: u64) -> Result<Self, ShardFailed> {
        let first = match store.scan(Column::Changes, b"", b"", 1)?.first() {
            Some((key, _)) => keys::trailing_number(key).ok_or_else(|| ShardFailed::corrupt(Column::Changes, key))?,
            None => next,
        };
        Ok(Self { first, next, len_max: len_max.max(1) })
    }

    /// The number of the last change, 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Numbers a change, and forgets the oldest ones that have no room any more.
    pub(super) fn append(&mut self, table: Table, key: Bytes, batch: &mut Batch) -> Result<u64, ShardFailed> {
        let sequence = self.next;
        batch.put(Column::Changes, keys::number(sequence), record::encode(&ChangedRow { table, key })?);
        self.next += 1;
        while self.next - self.first > self.len_max {
            batch.delete(Column::Changes, keys::number(self.first));
            self.first += 1;
        }
        Ok(sequence)
    }

    /// Whether every change after `sequence` is still known.
    pub(super) fn covers(&self, sequence: u64) -> bool {
        self.first <= sequence.saturating_add(1) && sequence < self.next
    }

    /// The rows of `filter` that changed after `sequence`, each once and as it is now, in the order of their last changes.
    pub(super) fn since(&self, store: &impl Store, sequence: u64, filter: &Filter) -> Result<Vec<Change>, ShardFailed> {
        const PAGE: usize = 1_024;
        let mut last: BTreeMap<Bytes, u64> = BTreeMap::new();
        let mut from = sequence.saturating_add(1);
        while from < self.next {
            let rows = store.scan(Column::Changes, b"", &keys::number(from), PAGE)?;
            for (key, value) in &rows {
                let number = keys::trailing_number(key).ok_or_else(|| ShardFailed::corrupt(Column::Changes, key))?;
                let row: ChangedRow = record::decode(value)?;
                if filter.matches(row.table, &row.key) {
                    last.insert(row.key, number);
                }
                from = number + 1;
            }
            if rows.is_empty() {
                break;
            }
        }
        let mut ordered: Vec<_> = last.into_iter().collect();
        ordered.sort_unstable_by_key(|(_, number)| *number);
        let table = filter.table;
        let change = |(key, sequence): (Bytes, u64)| {
            let value = store.get(table.column(), &key)?;
            Ok(Change { sequence, table, key, value })
        };
        ordered.into_iter().map(change).collect()
    }

    /// Asserts that the rows are what the bounds say.
    pub(super) fn sanity_check(&self, store: &impl Store) -> Result<(), ShardFailed> {
        let rows = store.scan(Column::Changes, b"", b"", usize::MAX)?;
        let numbers = rows.iter().filter_map(|(key, _)| keys::trailing_number(key));
        assert!(numbers.eq(self.first..self.next), "the history has no gaps");
        assert!(self.next - self.first <= self.len_max, "the history is within its bound");
        Ok(())
    }
}
