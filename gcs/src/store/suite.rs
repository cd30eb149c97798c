//! What every store must do, as one suite of checks.
//!
//! Owns: the checks. A store's own tests make a [`Fixture`] and call [`run`]; a store on disk adds its checks of torn
//! writes there, with the [`History`] and [`BothKinds`] that crashes are checked against. The suite draws its cases from a fixed seed, so
//! a failure repeats.

mod crashes;
mod stages;
mod views;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Batch, Column, Row, Store};

pub use crashes::{BothKinds, History};

/// How the suite comes by stores.
pub trait Fixture {
    /// The store under test.
    type Store: Store;

    /// A new, empty store.
    fn open(&mut self) -> Self::Store;

    /// The same store, closed and opened again; a store in memory gives back what it got, without its stage.
    fn reopen(&mut self, store: Self::Store) -> Self::Store;

    /// The store that is found after its process died at this moment. A store in memory, which has nothing to lose but
    /// all, gives back what it got, without its stage.
    fn crash(&mut self, store: Self::Store) -> Self::Store;
}

/// Runs every check.
///
/// # Panics
/// If a check fails.
pub fn run<F: Fixture>(fixture: &mut F) {
    a_new_store_is_empty(fixture);
    what_is_put_can_be_read_until_it_is_deleted(fixture);
    the_last_change_of_a_key_in_a_batch_wins(fixture);
    columns_do_not_mix(fixture);
    keys_are_ordered_as_bytes(fixture);
    a_scan_keeps_to_its_prefix_start_and_limit(fixture);
    empty_keys_and_values_are_rows_like_others(fixture);
    rows_survive_reopening(fixture);
    a_store_behaves_as_ordered_maps_do(fixture);
    views::run(fixture);
    stages::run(fixture);
    crashes::run(fixture);
}

fn get(store: &impl Store, column: Column, key: &[u8]) -> Option<Bytes> {
    store.get(column, key).expect("the store reads")
}

fn scan(store: &impl Store, column: Column, prefix: &[u8], from: &[u8], limit: usize) -> Vec<Row> {
    store.scan(column, prefix, from, limit).expect("the store scans")
}

fn keys(store: &impl Store, column: Column, prefix: &[u8], from: &[u8], limit: usize) -> Vec<Vec<u8>> {
    scan(store, column, prefix, from, limit).into_iter().map(|(key, _)| key.to_vec()).collect()
}

fn put_all(store: &mut impl Store, column: Column, keys: &[&'static [u8]]) {
    let mut batch = Batch::new();
    for key in keys {
        batch.put(column, *key, *key);
    }
    store.apply(batch).expect("the store writes");
}

fn a_new_store_is_empty<F: Fixture>(fixture: &mut F) {
    let store = fixture.open();
    for column in Column::ALL {
        assert_eq!(scan(&store, *column, b"", b"", 10), []);
        assert_eq!(get(&store, *column, b"key"), None);
    }
}

fn what_is_put_can_be_read_until_it_is_deleted<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    put_all(&mut store, Column::Tasks, &[b"a", b"b"]);
    assert_eq!(get(&store, Column::Tasks, b"a"), Some(Bytes::from_static(b"a")));
    let mut batch = Batch::new();
    batch.delete(Column::Tasks, &b"a"[..]);
    batch.delete(Column::Tasks, &b"never there"[..]);
    batch.put(Column::Tasks, &b"b"[..], &b"new"[..]);
    store.apply(batch).expect("the store writes");
    assert_eq!(get(&store, Column::Tasks, b"a"), None);
    assert_eq!(get(&store, Column::Tasks, b"b"), Some(Bytes::from_static(b"new")));
}

fn the_last_change_of_a_key_in_a_batch_wins<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let mut batch = Batch::new();
    batch.put(Column::Meta, &b"kept"[..], &b"1"[..]);
    batch.delete(Column::Meta, &b"kept"[..]);
    batch.put(Column::Meta, &b"kept"[..], &b"2"[..]);
    batch.put(Column::Meta, &b"gone"[..], &b"1"[..]);
    batch.delete(Column::Meta, &b"gone"[..]);
    store.apply(batch).expect("the store writes");
    assert_eq!(get(&store, Column::Meta, b"kept"), Some(Bytes::from_static(b"2")));
    assert_eq!(get(&store, Column::Meta, b"gone"), None);
}

fn columns_do_not_mix<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    for (at, column) in Column::ALL.iter().enumerate() {
        let mut batch = Batch::new();
        batch.put(*column, &b"key"[..], vec![at as u8]);
        store.apply(batch).expect("the store writes");
    }
    for (at, column) in Column::ALL.iter().enumerate() {
        assert_eq!(scan(&store, *column, b"", b"", 10), [(Bytes::from_static(b"key"), Bytes::from(vec![at as u8]))]);
    }
}

fn keys_are_ordered_as_bytes<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    put_all(&mut store, Column::Events, &[b"b", b"\xff", b"a\xff", b"a", b"", b"\x00", b"aa"]);
    let expected: [&[u8]; 7] = [b"", b"\x00", b"a", b"aa", b"a\xff", b"b", b"\xff"];
    assert_eq!(keys(&store, Column::Events, b"", b"", 10), expected);
}

fn a_scan_keeps_to_its_prefix_start_and_limit<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    put_all(&mut store, Column::KeyValue, &[b"a", b"ab", b"ab\xff", b"ab\xff\xff", b"ac", b"\xff", b"\xff\xff"]);
    let column = Column::KeyValue;
    assert_eq!(keys(&store, column, b"ab", b"", 10), [&b"ab"[..], b"ab\xff", b"ab\xff\xff"]);
    assert_eq!(keys(&store, column, b"ab\xff", b"", 10), [&b"ab\xff"[..], b"ab\xff\xff"]);
    assert_eq!(keys(&store, column, b"\xff", b"", 10), [&b"\xff"[..], b"\xff\xff"]);
    assert_eq!(keys(&store, column, b"", b"ab\xff", 2), [&b"ab\xff"[..], b"ab\xff\xff"]);
    assert_eq!(keys(&store, column, b"ab", b"ab\x00", 1), [&b"ab\xff"[..]]);
    assert!(keys(&store, column, b"ab", b"b", 10).is_empty());
    assert_eq!(keys(&store, column, b"ab", b"a", 1), [&b"ab"[..]]);
    assert!(keys(&store, column, b"", b"", 0).is_empty());
}

fn empty_keys_and_values_are_rows_like_others<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let mut batch = Batch::new();
    batch.put(Column::Jobs, Bytes::new(), Bytes::new());
    store.apply(batch).expect("the store writes");
    store.apply(Batch::new()).expect("an empty batch is nothing");
    assert_eq!(get(&store, Column::Jobs, b""), Some(Bytes::new()));
}

fn rows_survive_reopening<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    put_all(&mut store, Column::Actors, &[b"a", b"b"]);
    let mut store = fixture.reopen(store);
    assert_eq!(keys(&store, Column::Actors, b"", b"", 10), [b"a", b"b"]);
    put_all(&mut store, Column::Actors, &[b"c"]);
    let store = fixture.reopen(store);
    assert_eq!(keys(&store, Column::Actors, b"", b"", 10), [b"a", b"b", b"c"]);
}

/// Vigna's `splitmix64`: enough randomness to vary cases, and the same on every machine.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn a_store_behaves_as_ordered_maps_do<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let mut model: BTreeMap<(Column, Vec<u8>), Vec<u8>> = BTreeMap::new();
    let mut state = 7;
    let columns = [Column::Tasks, Column::Objects];
    let draw_key = |state: &mut u64| -> Vec<u8> {
        let len = next_random(state) % 4;
        (0..len).map(|_| [0, 1, 0xfe, 0xff][(next_random(state) % 4) as usize]).collect()
    };
    for round in 0..200_u64 {
        let mut batch = Batch::new();
        for _ in 0..next_random(&mut state) % 8 {
            let column = columns[(next_random(&mut state) % 2) as usize];
            let key = draw_key(&mut state);
            if next_random(&mut state).is_multiple_of(3) {
                batch.delete(column, key.clone());
                model.remove(&(column, key));
            } else {
                batch.put(column, key.clone(), round.to_be_bytes().to_vec());
                model.insert((column, key), round.to_be_bytes().to_vec());
            }
        }
        store.apply(batch).expect("the store writes");
        if round % 50 == 49 {
            store = fixture.reopen(store);
        }
        let column = columns[(next_random(&mut state) % 2) as usize];
        let (prefix, from) = (draw_key(&mut state), draw_key(&mut state));
        let limit = (next_random(&mut state) % 10) as usize;
        let expected: Vec<Row> = model
            .iter()
            .filter(|((c, key), _)| *c == column && key.starts_with(&prefix) && *key >= from)
            .take(limit)
            .map(|((_, key), value)| (Bytes::from(key.clone()), Bytes::from(value.clone())))
            .collect();
        assert_eq!(scan(&store, column, &prefix, &from, limit), expected, "round {round}");
        assert_eq!(get(&store, column, &from).map(|v| v.to_vec()), model.get(&(column, from)).cloned());
    }
}
