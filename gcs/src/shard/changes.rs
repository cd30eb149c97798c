//! The history of changes, so that a subscriber can go on where it was.
//!
//! Owns: the numbering of changes of watched rows, and the newest of them in rows written with the changes themselves, one
//! row for all that are written together. A row says which keys changed, not what to: who resumes is told the present value
//! once for each key that changed, in the order of their last changes. Invariants: numbers are consecutive from 1; as many
//! are kept as asked for, and no more than one row's worth beyond; they are the same on every replica, so a subscriber can
//! resume on another.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{core::ShardFailed, Filter};
use crate::{
    record::{self, RecordError},
    store::{Batch, Column, Store},
    tables::{keys, limits::COUNT_MAX, Table, Update},
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

/// One change in a row, which bears the number of the last one in it.
#[derive(Serialize, Deserialize)]
struct Changed {
    table: Table,
    key: Bytes,
}

/// The changes that were written together.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ChangedRow(Vec<Changed>);

record::records! { ChangedRow = "changes" }

/// The bounds of the history.
pub(super) struct ChangeLog {
    /// The first and the last number of each row.
    rows: VecDeque<(u64, u64)>,
    next: u64,
    len_max: u64,
    /// Numbered, and not in a batch yet.
    pending: ChangedRow,
}

fn number_of(key: &[u8]) -> Result<u64, ShardFailed> {
    keys::trailing_number(key).ok_or_else(|| ShardFailed::corrupt(Column::Changes, key))
}

const PAGE: usize = 256;

/// Rows from the one that holds `from`, in order: the number of the first change in each, and its changes.
fn rows_from(store: &impl Store, mut from: u64, mut each: impl FnMut(u64, Vec<Changed>)) -> Result<(), ShardFailed> {
    loop {
        let rows = store.scan(Column::Changes, b"", &keys::number(from), PAGE)?;
        let full = rows.len() == PAGE;
        for (key, value) in rows {
            let (last, ChangedRow(changes)) = (number_of(&key)?, record::decode(&value)?);
            let senseless = || ShardFailed::corrupt(Column::Changes, &key);
            let first = last.checked_sub(changes.len() as u64).ok_or_else(senseless)?.checked_add(1);
            // A row has changes, and more can follow.
            let first = first.filter(|first| *first <= last && last < COUNT_MAX).ok_or_else(senseless)?;
            from = last + 1;
            each(first, changes);
        }
        if !full {
            return Ok(());
        }
    }
}

impl ChangeLog {
    /// The history in `store`, of which the next change gets the number `next`.
    pub(super) fn open(store: &impl Store, next: u64, len_max: u64) -> Result<Self, ShardFailed> {
        let mut rows = VecDeque::new();
        rows_from(store, 0, |first, changes| rows.push_back((first, first + changes.len() as u64 - 1)))?;
        if let Some((_, last)) = rows.back().filter(|(_, last)| *last >= next) {
            return Err(ShardFailed::corrupt(Column::Changes, &keys::number(*last)));
        }
        Ok(Self { rows, next, len_max: len_max.max(1), pending: ChangedRow::default() })
    }

    fn first(&self) -> u64 {
        self.rows.front().map_or(self.next - self.pending.0.len() as u64, |(first, _)| *first)
    }

    /// The number of the last change, 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Numbers a change.
    pub(super) fn append(&mut self, table: Table, key: Bytes) -> u64 {
        let sequence = self.next;
        self.pending.0.push(Changed { table, key });
        self.next += 1;
        sequence
    }

    /// Ends the row at hand, which is that of one log entry, so that it is the same on every replica: puts it into `batch`, and forgets the oldest rows that are not needed any more.
    pub(super) fn write(&mut self, batch: &mut Batch) -> Result<(), ShardFailed> {
        let pending = std::mem::take(&mut self.pending);
        if pending.0.is_empty() {
            return Ok(());
        }
        let last = self.last();
        batch.put(Column::Changes, keys::number(last), record::encode(&pending)?);
        self.rows.push_back((last + 1 - pending.0.len() as u64, last));
        while let Some((_, end)) = self.rows.front().copied().filter(|(_, end)| last - end >= self.len_max) {
            batch.delete(Column::Changes, keys::number(end));
            self.rows.pop_front();
        }
        Ok(())
    }

    /// Whether every change after `sequence` is still known.
    pub(super) fn covers(&self, sequence: u64) -> bool {
        self.first() <= sequence.saturating_add(1) && sequence < self.next
    }

    /// The rows of `filter` that changed after `sequence`, each once and as it is now, in the order of their last changes.
    pub(super) fn since(&self, store: &impl Store, sequence: u64, filter: &Filter) -> Result<Vec<Change>, ShardFailed> {
        let mut last: BTreeMap<Bytes, u64> = BTreeMap::new();
        rows_from(store, sequence.saturating_add(1), |first, changes| {
            for (number, Changed { table, key }) in (first..).zip(changes) {
                if number > sequence && filter.matches(table, &key) {
                    last.insert(key, number);
                }
            }
        })?;
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
        assert!(self.pending.0.is_empty(), "what is numbered is written");
        let kept = Self::open(store, self.next, self.len_max)?;
        assert_eq!(kept.rows, self.rows, "rows of the history");
        let numbers = self.rows.iter().flat_map(|(first, last)| *first..=*last);
        assert!(numbers.eq(self.first()..self.next), "the history has no gaps");
        let beyond_first = self.rows.front().map_or(0, |(_, last)| self.last() - last);
        assert!(beyond_first < self.len_max, "the history is within its bound");
        Ok(())
    }
}
