//! What every store's stage must do.
//!
//! Owns: the checks of staging and installing.

use bytes::Bytes;

use super::{get, keys, put_all, views::read, Fixture};
use crate::store::{Batch, Column, Store};

pub(super) fn run<F: Fixture>(fixture: &mut F) {
    a_stage_is_invisible(fixture);
    an_installation_replaces_shared_columns_and_keeps_own_ones(fixture);
    an_installation_without_a_stage_empties_shared_columns(fixture);
    a_stage_is_forgotten_when_it_is_cleared_or_the_store_reopened(fixture);
    installations_follow_each_other(fixture);
    own_columns_cannot_be_staged(fixture);
    a_view_outlasts_an_installation(fixture);
    an_installation_is_durable(fixture);
}

fn stage<S: Store>(store: &mut S, column: Column, keys: &[&'static [u8]]) {
    let rows: Vec<_> = keys.iter().map(|key| (column, Bytes::from_static(key), Bytes::from_static(key))).collect();
    store.stage(&rows).expect("the store stages");
}

fn put(column: Column, key: &'static [u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(column, key, key);
    batch
}

fn all(store: &impl Store, column: Column) -> Vec<Vec<u8>> {
    keys(store, column, b"", b"", 100)
}

fn a_stage_is_invisible<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    put_all(&mut store, Column::Nodes, &[b"old"]);
    stage(&mut store, Column::Nodes, &[b"new"]);
    stage(&mut store, Column::Jobs, &[b"new"]);
    put_all(&mut store, Column::Nodes, &[b"older"]);
    assert_eq!(all(&store, Column::Nodes), [&b"old"[..], b"older"]);
    assert_eq!(get(&store, Column::Jobs, b"new"), None);
    let view = store.view().expect("there is a view");
    assert_eq!(read(&*view, 1_000).0.len(), 2);
}

fn an_installation_replaces_shared_columns_and_keeps_own_ones<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    for column in Column::ALL {
        put_all(&mut store, *column, &[b"old"]);
    }
    stage(&mut store, Column::Nodes, &[b"a", b"b"]);
    stage(&mut store, Column::Jobs, &[b"c"]);
    stage(&mut store, Column::Nodes, &[b"d"]);
    let mut batch = put(Column::Raft, b"new");
    batch.delete(Column::Log, &b"old"[..]);
    store.install(batch).expect("the store installs");
    for reopened in [false, true] {
        assert_eq!(all(&store, Column::Nodes), [b"a", b"b", b"d"], "reopened: {reopened}");
        assert_eq!(all(&store, Column::Jobs), [b"c"]);
        assert!(all(&store, Column::Tasks).is_empty() && all(&store, Column::Log).is_empty());
        assert_eq!(all(&store, Column::Raft), [b"new", b"old"]);
        store = fixture.reopen(store);
    }
    put_all(&mut store, Column::Nodes, &[b"e"]);
    assert_eq!(all(&store, Column::Nodes), [b"a", b"b", b"d", b"e"]);
}

fn an_installation_without_a_stage_empties_shared_columns<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    put_all(&mut store, Column::Tasks, &[b"old"]);
    store.install(put(Column::Raft, b"own")).expect("the store installs");
    assert!(all(&store, Column::Tasks).is_empty());
    assert_eq!(all(&store, Column::Raft), [b"own"]);
}

fn a_stage_is_forgotten_when_it_is_cleared_or_the_store_reopened<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    store.clear_stage().expect("there may be nothing to clear");
    stage(&mut store, Column::Nodes, &[b"cleared"]);
    store.clear_stage().expect("the store clears");
    stage(&mut store, Column::Nodes, &[b"reopened"]);
    let store = fixture.reopen(store);
    let mut store = fixture.crash(store);
    stage(&mut store, Column::Nodes, &[b"crashed"]);
    let mut store = fixture.crash(store);
    stage(&mut store, Column::Nodes, &[b"installed"]);
    store.install(Batch::new()).expect("the store installs");
    assert_eq!(all(&store, Column::Nodes), [b"installed"]);
}

fn installations_follow_each_other<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let rounds: [&'static [u8]; 5] = [b"0", b"1", b"2", b"3", b"4"];
    for (at, key) in rounds.into_iter().enumerate() {
        stage(&mut store, Column::Functions, &[key]);
        store.install(put(Column::Log, key)).expect("the store installs");
        assert_eq!(all(&store, Column::Functions), [key]);
        assert_eq!(all(&store, Column::Log), rounds[..=at]);
        if at == 2 {
            store = fixture.reopen(store);
        }
    }
}

fn own_columns_cannot_be_staged<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let row = |column| (column, Bytes::from_static(b"key"), Bytes::new());
    for column in [Column::Log, Column::Raft] {
        assert!(store.stage(&[row(column)]).is_err());
    }
    store.stage(&[]).expect("nothing can be staged");
    put_all(&mut store, Column::Log, &[b"a"]);
}

fn a_view_outlasts_an_installation<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    put_all(&mut store, Column::Events, &[b"old"]);
    let view = store.view().expect("there is a view");
    stage(&mut store, Column::Events, &[b"new"]);
    store.install(Batch::new()).expect("the store installs");
    assert_eq!(read(&*view, 1_000).0, [(Column::Events, Bytes::from_static(b"old"), Bytes::from_static(b"old"))]);
}

fn an_installation_is_durable<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    put_all(&mut store, Column::Events, &[b"old"]);
    stage(&mut store, Column::Events, &[b"new"]);
    store.install(put(Column::Raft, b"own")).expect("the store installs");
    let store = fixture.crash(store);
    assert_eq!(
        (all(&store, Column::Events), all(&store, Column::Raft)),
        (vec![b"new".to_vec()], vec![b"own".to_vec()])
    );
}
