//! Tests of room: on the device, when there is none, and in memory.

use std::process::Command;

use super::*;

const ROWS: u32 = 200_000;

fn key(number: u32) -> Vec<u8> {
    number.wrapping_mul(0x9e37_79b1).to_be_bytes().to_vec()
}

fn change(store: &mut RocksStore, change: impl Fn(&mut Batch, u32)) {
    for first in (0..ROWS).step_by(1_000) {
        let mut batch = Batch::new();
        (first..first + 1_000).for_each(|number| change(&mut batch, number));
        store.apply(batch).unwrap();
    }
    store.sync().unwrap();
}

#[test]
fn deleted_rows_leave_the_disk() {
    let root = TempDir::new().unwrap();
    let mut store = open(root.path());
    change(&mut store, |batch, number| batch.put(Column::Tasks, key(number), vec![number as u8; 200]));
    store.reclaim().unwrap();
    let full = store.disk_bytes();
    assert!(full > u64::from(ROWS) * 200, "{full} bytes");
    change(&mut store, |batch, number| batch.delete(Column::Tasks, key(number)));
    store.reclaim().unwrap();
    let empty = store.disk_bytes();
    assert!(empty < full / 10, "{empty} bytes of {full} are left");
    assert!(store.scan(Column::Tasks, b"", b"", 1).unwrap().is_empty());
}

#[test]
fn deleted_rows_that_can_be_rebuilt_leave_the_disk_once_they_are_persisted() {
    let root = TempDir::new().unwrap();
    let mut store = open(root.path());
    let mut disk_after = |change: &dyn Fn(&mut Batch, u32)| {
        for first in (0..ROWS).step_by(1_000) {
            let mut batch = Batch::new();
            (first..first + 1_000).for_each(|number| change(&mut batch, number));
            store.apply_rebuildable(batch).unwrap();
        }
        store.begin_persist().unwrap();
        store.finish_persist().unwrap();
        // Nobody asks for it: RocksDB notices of itself that there is something to gain.
        store.db.wait_for_compact(&rocksdb::WaitForCompactOptions::default()).unwrap();
        store.disk_bytes()
    };
    let full = disk_after(&|batch, number| batch.put(Column::Tasks, key(number), vec![number as u8; 200]));
    assert!(full > u64::from(ROWS) * 200 && full < u64::from(ROWS) * 300, "{full} bytes, with no log of them");
    let empty = disk_after(&|batch, number| batch.delete(Column::Tasks, key(number)));
    assert!(empty < full / 10, "{empty} bytes of {full} are left");
}

#[test]
fn an_installation_gives_back_what_it_replaces() {
    let root = TempDir::new().unwrap();
    let mut store = open(root.path());
    change(&mut store, |batch, number| batch.put(Column::Tasks, key(number), vec![number as u8; 200]));
    store.reclaim().unwrap();
    let full = store.disk_bytes();
    store.stage(&[(Column::Tasks, "key".into(), "value".into())]).unwrap();
    store.install(Batch::new()).unwrap();
    store.reclaim().unwrap();
    assert!(store.disk_bytes() < full / 10, "{} bytes of {full} are left", store.disk_bytes());
}

#[test]
fn memory_has_its_bounds() {
    let options = RocksOptions { write_buffer_bytes_max: 4 << 20, cache_bytes_max: 2 << 20, ..RocksOptions::default() };
    let root = TempDir::new().unwrap();
    let mut store = RocksStore::open(root.path(), IDENTITY, options).unwrap();
    let mut most = 0;
    for first in (0..40_000_u32).step_by(1_000) {
        let mut batch = Batch::new();
        (first..first + 1_000).for_each(|number| batch.put(Column::Objects, key(number), vec![1; 400]));
        store.apply(batch).unwrap();
        store.scan(Column::Objects, &[(first / 1_000) as u8], b"", 1_000).unwrap();
        most = most.max(store.memory_bytes());
    }
    // The bounds are RocksDB's aims: a buffer that is being written to a table still counts.
    assert!(most > 1 << 20 && most < 16 << 20, "{most} bytes");
}

/// A small device, which goes with this.
struct Device(TempDir);

impl Device {
    /// Nothing where mounting is not allowed.
    fn mount(bytes: usize) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(folder.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_loses_none_that_was_synced() {
    let Some(device) = Device::mount(64 << 20) else {
        eprintln!("skipped a_full_disk_refuses_writes_and_loses_none_that_was_synced: no tmpfs can be mounted here");
        return;
    };
    let options = RocksOptions { write_buffer_bytes_max: 2 << 20, wal_bytes_max: 2 << 20, ..RocksOptions::default() };
    let path = device.0.path().join("store");
    let ballast = device.0.path().join("ballast");
    fs::write(&ballast, vec![1; 46 << 20]).unwrap();
    let mut store = RocksStore::open(&path, IDENTITY, options.clone()).unwrap();
    let mut synced = 0;
    let error = loop {
        assert!(synced < 1_000, "the device never gets full");
        let mut batch = Batch::new();
        batch.put(Column::KeyValue, key(synced), vec![synced as u8; 64 << 10]);
        match store.apply(batch).and_then(|()| store.sync()) {
            Ok(()) => synced += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_full(), "{error:?}");
    assert!(synced > 20);
    assert!(store.apply(put(Column::Jobs, b"more")).unwrap_err().is_full());
    assert!(store.sync().unwrap_err().is_full() && store.install(Batch::new()).unwrap_err().is_full());
    assert!(store.get(Column::KeyValue, &key(0)).unwrap().is_some(), "it can still be read");
    fs::remove_file(ballast).unwrap();
    assert!(store.apply(put(Column::Jobs, b"more")).is_err(), "room alone is not enough");
    drop(store);
    let mut store = RocksStore::open(&path, IDENTITY, options).unwrap();
    for number in 0..synced {
        let value = store.get(Column::KeyValue, &key(number)).unwrap();
        assert_eq!(value.as_deref(), Some(&vec![number as u8; 64 << 10][..]), "row {number} of {synced}");
    }
    store.apply(put(Column::Jobs, b"more")).unwrap();
    store.sync().unwrap();
}
