//! Tests of opening: whose store it is, what an older build or a crash left, and what is refused.

use rocksdb::{Options, WriteBatch};

use super::{super::Db, *};

#[test]
fn a_folder_is_made_and_opened_again() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("not/yet/there");
    open(&path).apply(put(Column::Jobs, b"key")).unwrap();
    assert!(open(&path).get(Column::Jobs, b"key").unwrap().is_some());
}

#[test]
fn a_store_is_not_opened_twice() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    assert!(matches!(reason(root.path(), IDENTITY), Unusable::InUse));
    drop(store);
    open(root.path());
}

#[test]
fn a_store_is_opened_by_its_own_replica_only() {
    let root = TempDir::new().unwrap();
    open(root.path());
    let reason = |identity| reason(root.path(), identity).to_string();
    let foreign = reason(StoreIdentity { cluster: 0xdef, ..IDENTITY });
    assert!(foreign.starts_with(
        "it belongs to cluster 00000000000000000000000000000abc, not to 00000000000000000000000000000def;"
    ));
    let shard = reason(StoreIdentity { shard: 3, ..IDENTITY });
    assert!(shard.starts_with("it holds replica 2 of shard 1, not replica 2 of shard 3;"), "{shard}");
    let replica = reason(StoreIdentity { replica: 3, ..IDENTITY });
    assert!(replica.starts_with("it holds replica 2 of shard 1, not replica 3 of shard 1;"), "{replica}");
    open(root.path());
}

/// Opens the store's folder with RocksDB itself, all families there are.
fn raw(path: &Path) -> Db {
    let options = Options::default();
    let families = Db::list_cf(&options, path).unwrap();
    Db::open_cf(&options, path, families).unwrap()
}

#[test]
fn a_newer_format_is_refused() {
    let root = TempDir::new().unwrap();
    open(root.path());
    raw(root.path()).put(b"format", 9_u32.to_be_bytes()).unwrap();
    assert!(matches!(reason(root.path(), IDENTITY), Unusable::Newer { found: 9, supported: 1 }));
}

#[test]
fn a_store_that_does_not_say_whose_it_is_is_refused_if_it_holds_rows() {
    let root = TempDir::new().unwrap();
    open(root.path());
    let forget = || {
        let mut batch = WriteBatch::default();
        [&b"format"[..], b"identity", b"generation"].into_iter().for_each(|key| batch.delete(key));
        raw(root.path()).write(batch).unwrap();
    };
    // As if its creation had been interrupted.
    forget();
    open(root.path()).apply(put(Column::Jobs, b"key")).unwrap();
    forget();
    assert!(matches!(reason(root.path(), IDENTITY), Unusable::Damaged(_)));
}

#[test]
fn a_column_that_is_younger_than_the_store_is_empty_and_can_be_written() {
    let root = TempDir::new().unwrap();
    let mut store = open(root.path());
    store.apply(put(Column::Jobs, b"key")).unwrap();
    drop(store);
    let mut db = raw(root.path());
    ["tasks@0", "raft"].into_iter().for_each(|name| db.drop_cf(name).unwrap());
    drop(db);
    let mut store = open(root.path());
    assert!(store.get(Column::Tasks, b"key").unwrap().is_none());
    assert!(store.scan(Column::Raft, b"", b"", 1).unwrap().is_empty());
    store.apply(put(Column::Tasks, b"key")).unwrap();
    store.apply(put(Column::Raft, b"key")).unwrap();
    for column in [Column::Jobs, Column::Tasks, Column::Raft] {
        assert!(store.get(column, b"key").unwrap().is_some());
    }
}

#[test]
fn what_is_no_folder_is_refused() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(reason(&file, IDENTITY), Unusable::Folder(_)));
}

#[test]
fn a_store_that_lost_a_file_is_damaged_and_never_new() {
    let root = TempDir::new().unwrap();
    let mut store = open(root.path());
    store.apply(put(Column::Jobs, b"key")).unwrap();
    store.reclaim().unwrap();
    store.apply(put(Column::Jobs, b"later")).unwrap();
    drop(store);
    let lose = |is_lost: &dyn Fn(&str) -> bool| {
        let copied = TempDir::new().unwrap();
        copy(root.path(), copied.path());
        let names = fs::read_dir(copied.path()).unwrap().map(|entry| entry.unwrap().path());
        let lost: Vec<_> = names.filter(|path| is_lost(path.file_name().unwrap().to_str().unwrap())).collect();
        assert!(!lost.is_empty());
        lost.into_iter().for_each(|path| fs::remove_file(path).unwrap());
        reason(copied.path(), IDENTITY)
    };
    for (what, is_lost) in [
        ("CURRENT", &(|name: &str| name == "CURRENT") as &dyn Fn(&str) -> bool),
        ("the manifest", &|name: &str| name.starts_with("MANIFEST")),
        ("the tables", &|name: &str| name.ends_with(".sst")),
        ("the log", &|name: &str| name.ends_with(".log")),
    ] {
        let reason = lose(is_lost);
        assert!(matches!(reason, Unusable::Damaged(_)), "without {what}: {reason}");
    }
}

#[test]
fn views_and_stages_that_a_crash_left_are_cleared_away() {
    let mut fixture = OnDisk::new(Durability::Fsync);
    let mut store = suite::Fixture::open(&mut fixture);
    let view = store.view().unwrap();
    store.stage(&[(Column::Jobs, "key".into(), "value".into())]).unwrap();
    store.db.flush_cf(store.db.cf_handle("jobs@1").unwrap()).unwrap();
    assert_eq!(fs::read_dir(store.path.join("views")).unwrap().count(), 1);
    let store = suite::Fixture::crash(&mut fixture, store);
    assert!(!store.path.join("views").exists());
    assert!(store.db.cf_handle("jobs@1").is_none());
    drop(view);
}

#[test]
fn a_view_takes_its_folder_with_it() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let views = [store.view().unwrap(), store.view().unwrap()];
    assert_eq!(fs::read_dir(root.path().join("views")).unwrap().count(), 2);
    drop(views);
    assert_eq!(fs::read_dir(root.path().join("views")).unwrap().count(), 0);
}
