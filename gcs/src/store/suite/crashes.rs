//! What every store must keep when its process dies.
//!
//! Owns: the checks of crashes, and the history of batches that they are checked against. Invariant: a store that
//! crashed holds what some first so many batches make, all that were synced among them.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{get, next_random, scan, Fixture};
use crate::store::{Batch, Column, Store};

/// Where each batch leaves its number.
const COUNT: (Column, &[u8]) = (Column::Meta, b"count");

/// The columns that batches change, of both kinds.
const COLUMNS: [Column; 4] = [Column::Meta, Column::Tasks, Column::Log, Column::Raft];

type Rows = BTreeMap<(Column, Bytes), Bytes>;

/// Batches in the order in which a store got them. Each changes several columns, so that half of one would show.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What the store holds after each number of batches.
    states: Vec<Rows>,
    synced: usize,
    random: u64,
}

impl History {
    /// The history of an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { states: vec![Rows::new()], synced: 0, random: 1 }
    }

    /// How many batches were applied.
    #[must_use]
    pub fn len(&self) -> usize {
        self.states.len() - 1
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next batch, which counts as applied.
    ///
    /// # Panics
    /// Never: the history begins with an empty state.
    pub fn next_batch(&mut self) -> Batch {
        let number = Bytes::from(self.states.len().to_be_bytes().to_vec());
        let mut rows = self.states.last().cloned().expect("invariant: a history begins with an empty state");
        let mut batch = Batch::new();
        for column in COLUMNS {
            let (added, removed) = (next_random(&mut self.random) % 8, next_random(&mut self.random) % 8);
            let (added, removed) = (Bytes::from(vec![added as u8]), Bytes::from(vec![removed as u8]));
            batch.delete(column, removed.clone());
            batch.put(column, added.clone(), number.clone());
            rows.remove(&(column, removed));
            rows.insert((column, added), number.clone());
        }
        batch.put(COUNT.0, COUNT.1, number.clone());
        rows.insert((COUNT.0, Bytes::from_static(COUNT.1)), number);
        self.states.push(rows);
        batch
    }

    /// Says that the store was synced.
    pub fn sync(&mut self) {
        self.synced = self.len();
    }

    /// How many of the first batches `store` holds; the history goes on from there.
    ///
    /// # Panics
    /// If it holds anything but first batches, or lost one that was synced.
    pub fn check(&mut self, store: &impl Store) -> usize {
        let held = self.held(store);
        assert!(held >= self.synced, "{held} batches are left of {}, and {} were synced", self.len(), self.synced);
        self.states.truncate(held + 1);
        held
    }

    /// How many of the first batches `store` holds, synced or not.
    ///
    /// # Panics
    /// If it holds anything but first batches.
    pub fn held(&self, store: &impl Store) -> usize {
        let count = get(store, COUNT.0, COUNT.1);
        let held = count.map_or(0, |count| usize::from_be_bytes(count[..].try_into().expect("a count is a number")));
        let rows: Rows = COLUMNS
            .into_iter()
            .flat_map(|column| {
                scan(store, column, b"", b"", 100).into_iter().map(move |(key, value)| ((column, key), value))
            })
            .collect();
        assert!(held <= self.len(), "the store holds {held} batches, and there were {}", self.len());
        assert_eq!(rows, self.states[held], "the store holds {held} batches, but not all of them or more");
        held
    }
}

pub(super) fn run<F: Fixture>(fixture: &mut F) {
    a_crash_loses_at_most_the_newest_batches(fixture);
    what_a_crash_left_can_be_written_on(fixture);
}

fn a_crash_loses_at_most_the_newest_batches<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let mut history = History::new();
    for (synced, unsynced) in [(0, 0), (0, 3), (1, 0), (5, 1), (3, 40)] {
        for _ in 0..synced {
            store.apply(history.next_batch()).expect("the store writes");
        }
        store.sync().expect("the store syncs");
        history.sync();
        for _ in 0..unsynced {
            store.apply(history.next_batch()).expect("the store writes");
        }
        store = fixture.crash(store);
        history.check(&store);
    }
}

fn what_a_crash_left_can_be_written_on<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let mut history = History::new();
    for round in 0..6 {
        store.apply(history.next_batch()).expect("the store writes");
        store.sync().expect("the store syncs");
        history.sync();
        store.apply(history.next_batch()).expect("the store writes");
        store = if round % 2 == 0 { fixture.crash(store) } else { fixture.reopen(store) };
        history.check(&store);
    }
}
