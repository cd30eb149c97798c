//! What every store's views must do.
//!
//! Owns: the checks of views. A view is read here as a transfer to another replica reads it: in chunks, each after the
//! last row of the one before.

use bytes::Bytes;

use super::{get, put_all, Fixture};
use crate::store::{Batch, Column, Store, View};

pub(super) fn run<F: Fixture>(fixture: &mut F) {
    a_view_does_not_change_with_its_store(fixture);
    a_view_has_the_rows_of_shared_columns_only(fixture);
    a_view_gives_chunks_of_the_bytes_asked_for(fixture);
    a_view_can_be_read_on_another_thread_while_the_store_is_written(fixture);
    views_of_an_empty_store_are_empty(fixture);
}

type ViewRow = (Column, Bytes, Bytes);

/// All rows of `view`, read in chunks of `bytes_max`, and how many chunks these were.
pub(super) fn read(view: &dyn View, bytes_max: usize) -> (Vec<ViewRow>, usize) {
    let mut rows: Vec<ViewRow> = Vec::new();
    for chunks in 1.. {
        let after = rows.last().map(|(column, key, _)| (*column, key.clone()));
        let chunk = view.rows(after.as_ref(), bytes_max).expect("the view reads");
        let bytes: usize = chunk.iter().map(|(_, key, value)| key.len() + value.len()).sum();
        rows.extend(chunk);
        if bytes < bytes_max {
            return (rows, chunks);
        }
    }
    unreachable!("invariant: a chunk that is not the last one has a row")
}

fn a_view_does_not_change_with_its_store<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    put_all(&mut store, Column::Tasks, &[b"changed", b"deleted", b"kept"]);
    let view = store.view().expect("there is a view");
    let mut batch = Batch::new();
    batch.put(Column::Tasks, &b"changed"[..], &b"new"[..]);
    batch.put(Column::Tasks, &b"added"[..], &b"new"[..]);
    batch.delete(Column::Tasks, &b"deleted"[..]);
    store.apply(batch).expect("the store writes");
    let later = store.view().expect("there is a view");
    let seen = |view: &dyn View| -> Vec<(Vec<u8>, Vec<u8>)> {
        read(view, 1_000).0.into_iter().map(|(_, key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    let same = |key: &[u8]| (key.to_vec(), key.to_vec());
    assert_eq!(seen(&*view), [same(b"changed"), same(b"deleted"), same(b"kept")]);
    let new = |key: &[u8]| (key.to_vec(), b"new".to_vec());
    assert_eq!(seen(&*later), [new(b"added"), new(b"changed"), same(b"kept")]);
}

fn a_view_has_the_rows_of_shared_columns_only<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    for column in Column::ALL {
        put_all(&mut store, *column, &[b"", b"key"]);
    }
    let view = store.view().expect("there is a view");
    let expected: Vec<(Column, &[u8])> = Column::ALL
        .iter()
        .filter(|column| column.is_shared())
        .flat_map(|column| [(*column, &b""[..]), (*column, &b"key"[..])])
        .collect();
    for bytes_max in [1, 6, 7, 1_000] {
        let (rows, _) = read(&*view, bytes_max);
        let rows: Vec<(Column, &[u8])> = rows.iter().map(|(column, key, _)| (*column, &key[..])).collect();
        assert_eq!(rows, expected, "in chunks of {bytes_max} bytes");
    }
}

fn a_view_gives_chunks_of_the_bytes_asked_for<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    let mut batch = Batch::new();
    for number in 0..100_u8 {
        let column = if number < 50 { Column::Jobs } else { Column::KeyValue };
        batch.put(column, vec![number], vec![number; 9]);
    }
    store.apply(batch).expect("the store writes");
    let view = store.view().expect("there is a view");
    assert_eq!(view.rows(None, 0).expect("the view reads").len(), 1);
    assert_eq!(view.rows(None, 95).expect("the view reads").len(), 10);
    let (rows, chunks) = read(&*view, 95);
    assert_eq!((rows.len(), chunks), (100, 11));
    assert!(rows.iter().enumerate().all(|(at, (_, key, value))| key[..] == [at as u8] && value[..] == [at as u8; 9]));
    let after_a_key_that_is_not_there = (Column::Jobs, Bytes::from_static(&[49, 0]));
    assert_eq!(view.rows(Some(&after_a_key_that_is_not_there), 1).expect("the view reads")[0].0, Column::KeyValue);
}

fn a_view_can_be_read_on_another_thread_while_the_store_is_written<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.open();
    put_all(&mut store, Column::Actors, &[b"a", b"b", b"c"]);
    let view = store.view().expect("there is a view");
    let reader = std::thread::spawn(move || read(&*view, 1).0.len());
    put_all(&mut store, Column::Actors, &[b"d", b"e"]);
    assert_eq!(reader.join().expect("the reader ends"), 3);
    assert_eq!(get(&store, Column::Actors, b"e"), Some(Bytes::from_static(b"e")));
}

fn views_of_an_empty_store_are_empty<F: Fixture>(fixture: &mut F) {
    let store = fixture.open();
    let view = store.view().expect("there is a view");
    assert_eq!(read(&*view, 1), (Vec::new(), 1));
}
