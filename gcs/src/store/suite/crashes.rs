//! What every store must keep when its process dies.
//!
//! Owns: the checks of crashes, and the histories of batches that they are checked against. Invariants: a store that
//! crashed holds what some first so many batches make, all that were synced among them; of rebuildable batches likewise,
//! with those that were persisted, and none without what came before it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{get, next_random, scan, Fixture};
use crate::store::{Batch, Column, Store};

/// The key, in the first column of a history, where each batch leaves its number.
const COUNT: &[u8] = b"count";

/// The columns that batches change, of both kinds.
const COLUMNS: &[Column] = &[Column::Meta, Column::Tasks, Column::Log, Column::Raft];

type Rows = BTreeMap<(Column, Bytes), Bytes>;

/// Batches in the order in which a store got them. Each changes several columns, so that half of one would show.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What the store holds after each number of batches.
    states: Vec<Rows>,
    synced: usize,
    random: u64,
    columns: &'static [Column],
}

impl History {
    /// The history of an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::of(COLUMNS)
    }

    /// The history of columns that nobody else writes to.
    fn of(columns: &'static [Column]) -> Self {
        Self { states: vec![Rows::new()], synced: 0, random: 1, columns }
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
        for column in self.columns.iter().copied() {
            let (added, removed) = (next_random(&mut self.random) % 8, next_random(&mut self.random) % 8);
            let (added, removed) = (Bytes::from(vec![added as u8]), Bytes::from(vec![removed as u8]));
            batch.delete(column, removed.clone());
            batch.put(column, added.clone(), number.clone());
            rows.remove(&(column, removed));
            rows.insert((column, added), number.clone());
        }
        batch.put(self.columns[0], COUNT, number.clone());
        rows.insert((self.columns[0], Bytes::from_static(COUNT)), number);
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
        let count = get(store, self.columns[0], COUNT);
        let held = count.map_or(0, |count| usize::from_be_bytes(count[..].try_into().expect("a count is a number")));
        let columns = self.columns.iter().copied();
        let rows: Rows = columns
            .flat_map(|column| {
                scan(store, column, b"", b"", 100).into_iter().map(move |(key, value)| ((column, key), value))
            })
            .collect();
        assert!(held <= self.len(), "the store holds {held} batches, and there were {}", self.len());
        assert_eq!(rows, self.states[held], "the store holds {held} batches, but not all of them or more");
        held
    }
}

/// Batches of both kinds in the order in which a store got them.
#[derive(Clone, Debug)]
pub struct BothKinds {
    logged: History,
    rebuildable: History,
    /// How many logged batches came before so many rebuildable ones.
    before: Vec<usize>,
    persisting: usize,
}

impl Default for BothKinds {
    fn default() -> Self {
        Self::new()
    }
}

impl BothKinds {
    /// The history of an empty store.
    #[must_use]
    pub fn new() -> Self {
        let logged = History::of(&[Column::Raft, Column::Log]);
        let rebuildable = History::of(&[Column::Meta, Column::Tasks, Column::Requests]);
        Self { logged, rebuildable, before: vec![0], persisting: 0 }
    }

    /// Applies a batch that is logged.
    ///
    /// # Panics
    /// If the store does not take it.
    pub fn log(&mut self, store: &mut impl Store) {
        store.apply(self.logged.next_batch()).expect("the store writes");
    }

    /// Applies a rebuildable batch.
    ///
    /// # Panics
    /// If the store does not take it.
    pub fn rebuild(&mut self, store: &mut impl Store) {
        store.apply_rebuildable(self.rebuildable.next_batch()).expect("the store writes");
        self.before.push(self.logged.len());
    }

    /// Syncs the store.
    ///
    /// # Panics
    /// If the store does not.
    pub fn sync(&mut self, store: &mut impl Store) {
        store.sync().expect("the store syncs");
        self.logged.sync();
    }

    /// Has the store begin to persist.
    ///
    /// # Panics
    /// If the store does not.
    pub fn begin_persist(&mut self, store: &mut impl Store) {
        store.begin_persist().expect("the store begins to persist");
        self.persisting = self.rebuildable.len();
    }

    /// Waits until the store has persisted.
    ///
    /// # Panics
    /// If the store does not.
    pub fn finish_persist(&mut self, store: &mut impl Store) {
        store.finish_persist().expect("the store persists");
        self.rebuildable.synced = self.rebuildable.synced.max(self.persisting);
    }

    /// Checks what a store holds after a crash; gives how many batches are left of each kind, the logged ones first. The
    /// history goes on from there.
    ///
    /// # Panics
    /// If the store holds anything that it may not, or not what it must.
    pub fn check(&mut self, store: &impl Store) -> (usize, usize) {
        let left = (self.logged.check(store), self.rebuildable.check(store));
        let before = self.before[left.1];
        assert!(left.0 >= before, "{} rebuildable batches are left, and {} of {before} before them", left.1, left.0);
        self.before.truncate(left.1 + 1);
        self.before.iter_mut().for_each(|before| *before = left.0.min(*before));
        self.persisting = self.persisting.min(left.1);
        left
    }
}

pub(super) fn run<F: Fixture>(fixture: &mut F) {
    a_crash_loses_at_most_the_newest_batches(fixture);
    what_a_crash_left_can_be_written_on(fixture);
    rebuildable_rows_are_read_like_others(fixture);
    a_crash_loses_rebuildable_batches_from_the_newest_backwards(fixture);
    rebuildable_batches_and_installations_follow_each_other(fixture);
}

fn rebuildable_rows_are_read_like_others<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let mut batch = Batch::new();
    batch.put(Column::Tasks, &b"a"[..], &b"1"[..]);
    batch.put(Column::Raft, &b"position"[..], &b"1"[..]);
    store.apply_rebuildable(batch).expect("the store writes");
    let mut batch = Batch::new();
    batch.put(Column::Tasks, &b"b"[..], &b"2"[..]);
    batch.delete(Column::Tasks, &b"a"[..]);
    store.apply_rebuildable(batch).expect("the store writes");
    assert_eq!(scan(&store, Column::Tasks, b"", b"", 9), [(Bytes::from_static(b"b"), Bytes::from_static(b"2"))]);
    assert_eq!(get(&store, Column::Raft, b"position"), Some(Bytes::from_static(b"1")));
    let view = store.view().expect("there is a view");
    assert_eq!(view.rows(None, 100).expect("the view reads").len(), 1);
    let mut batch = Batch::new();
    batch.put(Column::Log, &b"entry"[..], &b""[..]);
    assert!(store.apply_rebuildable(batch).is_err(), "what others are made from cannot be made again");
    store.finish_persist().expect("what has not begun is done");
}

fn a_crash_loses_rebuildable_batches_from_the_newest_backwards<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let mut history = BothKinds::new();
    let mut random = 3;
    for round in 0..40 {
        for _ in 0..next_random(&mut random) % 12 {
            match next_random(&mut random) % 8 {
                0..=2 => history.log(&mut store),
                3..=5 => history.rebuild(&mut store),
                6 => history.sync(&mut store),
                _ if round % 2 == 0 => history.begin_persist(&mut store),
                _ => history.finish_persist(&mut store),
            }
        }
        store = if round % 5 == 4 { fixture.reopen(store) } else { fixture.crash(store) };
        history.check(&store);
    }
}

fn rebuildable_batches_and_installations_follow_each_other<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let position = |number: u8| {
        let mut batch = Batch::new();
        batch.put(Column::Raft, &b"position"[..], vec![number]);
        batch
    };
    store.apply(position(0)).expect("the store writes");
    let mut rebuilt = position(1);
    rebuilt.put(Column::Tasks, &b"old"[..], &b""[..]);
    store.apply_rebuildable(rebuilt.clone()).expect("the store writes");
    store.stage(&[(Column::Tasks, "staged".into(), "".into())]).expect("the store stages");
    store.install(position(2)).expect("the store installs");
    let mut rebuilt = position(3);
    rebuilt.put(Column::Tasks, &b"new"[..], &b""[..]);
    store.apply_rebuildable(rebuilt).expect("the store writes");
    let check = |store: &F::Store, may_be_lost: bool| {
        let is_new = get(store, Column::Raft, b"position") == Some(Bytes::from_static(&[3]));
        assert!(is_new || may_be_lost, "what is persisted is not lost");
        assert_eq!(get(store, Column::Tasks, b"new").is_some(), is_new, "never a part");
        assert!(is_new || get(store, Column::Raft, b"position") == Some(Bytes::from_static(&[2])));
        assert!(get(store, Column::Tasks, b"staged").is_some() && get(store, Column::Tasks, b"old").is_none());
        is_new
    };
    store = fixture.crash(store);
    if !check(&store, true) {
        let mut again = position(3);
        again.put(Column::Tasks, &b"new"[..], &b""[..]);
        store.apply_rebuildable(again).expect("the store writes");
    }
    store.begin_persist().expect("the store begins to persist");
    store.finish_persist().expect("the store persists");
    store = fixture.crash(store);
    check(&store, false);
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
