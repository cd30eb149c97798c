//! Tests of crashes: logs that end anywhere, logs that are damaged, and installations that were interrupted.

use super::{
    suite::{BothKinds, History},
    *,
};

/// A store that crashed with synced and unsynced batches in its log, none of them in tables.
struct Crashed {
    _root: TempDir,
    path: PathBuf,
    history: History,
    /// How long the log was after each batch.
    ends: Vec<u64>,
}

fn crashed(batches: usize) -> Crashed {
    let root = TempDir::new().unwrap();
    let (live, path) = (root.path().join("live"), root.path().join("crashed"));
    let mut store = open(&live);
    let mut history = History::new();
    let log = newest_log(&live);
    let mut ends = Vec::new();
    for _ in 0..batches {
        store.apply(history.next_batch()).unwrap();
        store.db.flush_wal(false).unwrap();
        ends.push(fs::metadata(&log).unwrap().len());
    }
    copy_open(&store, &path);
    Crashed { _root: root, path, history, ends }
}

/// What comes of the crashed store when its log is changed so.
fn reopened(crashed: &Crashed, change: impl FnOnce(&mut Vec<u8>)) -> Result<RocksStore, StoreError> {
    // The folder may go at once: nothing reads it by name.
    let folder = TempDir::new().unwrap();
    copy(&crashed.path, folder.path());
    let log = newest_log(folder.path());
    let mut bytes = fs::read(&log).unwrap();
    change(&mut bytes);
    fs::write(&log, bytes).unwrap();
    try_open(folder.path())
}

#[test]
fn a_log_that_ends_anywhere_leaves_the_batches_that_are_whole() {
    let crashed = crashed(6);
    // Every byte of the headers of the last batches and around their ends, and some of what is between.
    let (first, last) = (crashed.ends[3], crashed.ends[5]);
    let near = |len: u64| crashed.ends.iter().any(|end| (end - 2..end + 21).contains(&len));
    for len in (first..=last).filter(|len| near(*len) || len % 7 == 0) {
        let store = reopened(&crashed, |log| log.truncate(len as usize)).unwrap();
        let whole = crashed.ends.iter().filter(|end| **end <= len).count();
        assert_eq!(crashed.history.held(&store), whole, "cut to {len} bytes of {last}");
    }
}

#[test]
fn a_log_that_ends_in_zeros_leaves_the_batches_before_them() {
    let crashed = crashed(4);
    for len in [crashed.ends[1], crashed.ends[2], crashed.ends[3]] {
        let store = reopened(&crashed, |log| log[len as usize..].fill(0)).unwrap();
        assert_eq!(crashed.history.held(&store), crashed.ends.iter().filter(|end| **end <= len).count());
        let store = reopened(&crashed, |log| log.resize(log.len() + 100_000, 0)).unwrap();
        assert_eq!(crashed.history.held(&store), 4);
    }
}

#[test]
fn a_damaged_byte_before_the_last_record_is_never_a_silent_loss() {
    let crashed = crashed(6);
    let (begin, end) = (crashed.ends[2] as usize, crashed.ends[3] as usize);
    // The header, where damage could pass for the log's end, and some of the rest.
    let places = (begin..begin + 7).chain((begin + 7..end).step_by(23)).chain([begin - 1, end - 1]);
    for at in places {
        for flip in [1, 0xff] {
            let Err(error) = reopened(&crashed, |log| log[at] ^= flip) else {
                panic!("byte {at} with {flip:#x} passed")
            };
            assert!(matches!(error, StoreError::Unusable { reason: Unusable::Damaged(_), .. }), "{error}");
        }
    }
    let zeroed = reopened(&crashed, |log| log[begin..end].fill(0));
    assert!(matches!(zeroed, Err(StoreError::Unusable { reason: Unusable::Damaged(_), .. })));
}

#[test]
fn the_last_batch_of_a_sync_cannot_be_lost_to_damage_either() {
    let root = TempDir::new().unwrap();
    let (live, path) = (root.path().join("live"), root.path().join("copy"));
    let mut store = open(&live);
    let log = newest_log(&live);
    let begin = fs::metadata(&log).unwrap().len() as usize;
    store.apply(put(Column::Raft, b"vote")).unwrap();
    store.sync().unwrap();
    copy_open(&store, &path);
    let log = newest_log(&path);
    let mut bytes = fs::read(&log).unwrap();
    // The length, so that the record seems to end behind the file.
    bytes[begin + 5] = 0xff;
    fs::write(&log, bytes).unwrap();
    assert!(matches!(reason(&path, IDENTITY), Unusable::Damaged(_)));
}

#[test]
fn a_damaged_table_is_an_error() {
    let root = TempDir::new().unwrap();
    let mut store = open(root.path());
    let mut batch = Batch::new();
    (0..1_000_u32).for_each(|n| batch.put(Column::Tasks, n.to_be_bytes().to_vec(), vec![7; 100]));
    store.apply(batch).unwrap();
    store.reclaim().unwrap();
    drop(store);
    let tables = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().path());
    let largest = tables
        .filter(|path| path.extension().is_some_and(|e| e == "sst"))
        .max_by_key(|path| fs::metadata(path).unwrap().len());
    let largest = largest.unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    bytes[50_000] ^= 1;
    fs::write(&largest, bytes).unwrap();
    let store = open(root.path());
    assert!(matches!(store.scan(Column::Tasks, b"", b"", 1_000), Err(StoreError::Corrupt { .. })));
}

#[test]
fn an_installation_that_was_interrupted_is_done_or_not_at_all() {
    let mut fixture = OnDisk::new(Durability::Fsync);
    let mut store = suite::Fixture::open(&mut fixture);
    store.apply(put(Column::Jobs, b"old")).unwrap();
    store.apply(put(Column::Log, b"own")).unwrap();
    store.sync().unwrap();
    store.stage(&[(Column::Jobs, "new".into(), "".into())]).unwrap();
    let has = |store: &RocksStore, column, key: &[u8]| store.get(column, key).unwrap().is_some();

    // Everything is on the device but the key that says so.
    let staged = store.db.cf_handle("jobs@1").unwrap();
    store.db.flush_cf(staged).unwrap();
    let before = fixture.folder();
    copy_open(&store, &before);
    let before = fixture.open_at(&before);
    assert!(
        has(&before, Column::Jobs, b"old") && !has(&before, Column::Jobs, b"new") && has(&before, Column::Log, b"own")
    );

    // The key is written, and the old generation still there.
    store.switch_generations(&put(Column::Raft, b"installed")).unwrap();
    let after = suite::Fixture::crash(&mut fixture, store);
    assert!(
        !has(&after, Column::Jobs, b"old") && has(&after, Column::Jobs, b"new") && has(&after, Column::Log, b"own")
    );
    assert!(has(&after, Column::Raft, b"installed"));
    assert!(after.db.cf_handle("jobs@0").is_none());
}

#[test]
fn batches_survive_tables_and_many_logs() {
    // Buffers so small that tables are written and logs cut all the time.
    let options =
        RocksOptions { write_buffer_bytes_max: 64 << 10, wal_bytes_max: 128 << 10, ..RocksOptions::default() };
    let root = TempDir::new().unwrap();
    let mut store = RocksStore::open(&root.path().join("0"), IDENTITY, options.clone()).unwrap();
    let mut history = History::new();
    for round in 1..=8_u8 {
        for at in 0..400_u32 {
            store.apply(history.next_batch()).unwrap();
            let mut filler = Batch::new();
            filler.put(Column::Objects, at.to_be_bytes().to_vec(), vec![round; 500]);
            store.apply(filler).unwrap();
            if at % 50 == u32::from(round) {
                store.sync().unwrap();
                history.sync();
            }
        }
        let next = root.path().join(round.to_string());
        copy_open(&store, &next);
        drop(store);
        store = RocksStore::open(&next, IDENTITY, options.clone()).unwrap();
        history.check(&store);
    }
}

#[test]
fn rebuildable_batches_go_to_tables_whole_or_not_at_all() {
    // Buffers so small that tables are written whenever it pleases RocksDB.
    let options =
        RocksOptions { write_buffer_bytes_max: 64 << 10, wal_bytes_max: 128 << 10, ..RocksOptions::default() };
    let root = TempDir::new().unwrap();
    let mut store = RocksStore::open(&root.path().join("0"), IDENTITY, options.clone()).unwrap();
    let mut history = BothKinds::new();
    let mut lefts = Vec::new();
    for round in 1..=12_u32 {
        for at in 0..300_u32 {
            history.log(&mut store);
            history.rebuild(&mut store);
            let mut filler = Batch::new();
            filler.put(Column::Objects, at.to_be_bytes().to_vec(), vec![round as u8; 500]);
            store.apply_rebuildable(filler).unwrap();
            if at % 50 == round {
                history.sync(&mut store);
            }
            if at % 97 == round {
                history.begin_persist(&mut store);
            }
            if at % 111 == round {
                history.finish_persist(&mut store);
            }
        }
        let next = root.path().join(round.to_string());
        copy_open(&store, &next);
        drop(store);
        store = RocksStore::open(&next, IDENTITY, options.clone()).unwrap();
        lefts.push(history.check(&store));
    }
    assert!(lefts.iter().any(|(logged, rebuildable)| rebuildable < logged), "nothing is ever lost: {lefts:?}");
}

#[test]
fn a_store_that_was_closed_has_forgotten_what_can_be_rebuilt_and_nothing_else() {
    let root = TempDir::new().unwrap();
    let mut history = BothKinds::new();
    let mut store = open(root.path());
    history.log(&mut store);
    history.rebuild(&mut store);
    history.begin_persist(&mut store);
    history.finish_persist(&mut store);
    history.log(&mut store);
    history.rebuild(&mut store);
    drop(store);
    assert_eq!(history.check(&open(root.path())), (2, 1));
}

/// What is left of so many synced batches when the process dies, and that the store can be used then.
fn left_after_a_crash(durability: Durability, batches: usize) -> usize {
    let mut fixture = OnDisk::new(durability);
    let mut store = suite::Fixture::open(&mut fixture);
    let mut history = History::new();
    for _ in 0..batches {
        store.apply(history.next_batch()).unwrap();
        let mut filler = Batch::new();
        filler.put(Column::Objects, &b"filler"[..], vec![7; 1_000]);
        store.apply(filler).unwrap();
        store.sync().unwrap();
    }
    let store = suite::Fixture::crash(&mut fixture, store);
    let left = history.check(&store);
    let mut store = suite::Fixture::reopen(&mut fixture, store);
    store.apply(history.next_batch()).unwrap();
    let store = suite::Fixture::reopen(&mut fixture, store);
    assert_eq!(history.check(&store), left + 1);
    left
}

#[test]
fn a_store_that_syncs_to_the_operating_system_loses_nothing_with_its_process() {
    assert_eq!(left_after_a_crash(Durability::Buffered, 300), 300);
}

#[test]
fn a_store_that_promises_nothing_loses_whole_batches_only() {
    // How many are left is up to buffers and background work.
    let left = left_after_a_crash(Durability::Memory, 8_000);
    assert!(left <= 8_000, "{left} batches");
}
