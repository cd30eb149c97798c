//! Tests of the store on disk.
//!
//! Owns: folders with stores, copies of them as a crash would leave them, and the store suite. The rest is beside this
//! file: opening, crashes, and room on the device.

mod crashes;
mod opening;
mod space;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{super::suite, wal, RocksOptions, RocksStore, StoreIdentity};
use crate::store::{Batch, Column, Durability, Store, StoreError, Unusable};

const IDENTITY: StoreIdentity = StoreIdentity { cluster: 0xabc, shard: 1, replica: 2 };

fn try_open(path: &Path) -> Result<RocksStore, StoreError> {
    RocksStore::open(path, IDENTITY, RocksOptions::default())
}

fn open(path: &Path) -> RocksStore {
    try_open(path).unwrap()
}

/// Why `path` cannot be opened as `identity`.
fn reason(path: &Path, identity: StoreIdentity) -> Unusable {
    match RocksStore::open(path, identity, RocksOptions::default()) {
        Err(StoreError::Unusable { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opened"),
    }
}

fn put(column: Column, key: &'static [u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(column, key, key);
    batch
}

/// What the operating system has of `store` in this moment: what another process finds when this one is killed.
///
/// RocksDB may be busy meanwhile. So the manifest comes first, and what it names is kept; other files may vanish.
fn copy_open(store: &RocksStore, to: &Path) {
    store.db.disable_file_deletions().unwrap();
    let manifests = fs::read_dir(&store.path).unwrap().map(|entry| entry.unwrap().path());
    let manifests = manifests.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("MANIFEST"));
    let manifests: Vec<_> = manifests.map(|path| (fs::read(&path).unwrap(), path)).collect();
    copy(&store.path, to);
    for (bytes, path) in manifests {
        fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
    }
    store.db.enable_file_deletions().unwrap();
}

/// The files of a store that nobody writes.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            let copied = fs::copy(entry.path(), target);
            assert!(copied.is_ok() || !entry.path().exists(), "{} cannot be copied", entry.path().display());
        }
    }
}

/// The newest write-ahead log.
fn newest_log(path: &Path) -> PathBuf {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| wal::is_log(Path::new(path.file_name().unwrap()))).max().unwrap()
}

/// Stores in folders of their own, which go with this.
struct OnDisk {
    root: TempDir,
    folders: usize,
    durability: Durability,
}

impl OnDisk {
    fn new(durability: Durability) -> Self {
        Self { root: TempDir::new().unwrap(), folders: 0, durability }
    }

    fn folder(&mut self) -> PathBuf {
        self.folders += 1;
        self.root.path().join(self.folders.to_string())
    }

    fn open_at(&self, path: &Path) -> RocksStore {
        RocksStore::open(path, IDENTITY, RocksOptions { durability: self.durability, ..RocksOptions::default() })
            .unwrap()
    }
}

impl suite::Fixture for OnDisk {
    type Store = RocksStore;

    fn open(&mut self) -> RocksStore {
        let folder = self.folder();
        self.open_at(&folder)
    }

    fn reopen(&mut self, store: RocksStore) -> RocksStore {
        let path = store.path.clone();
        drop(store);
        self.open_at(&path)
    }

    fn crash(&mut self, store: RocksStore) -> RocksStore {
        let folder = self.folder();
        copy_open(&store, &folder);
        drop(store);
        self.open_at(&folder)
    }
}

#[test]
fn the_store_on_disk_passes_the_store_suite() {
    suite::run(&mut OnDisk::new(Durability::Fsync));
}

#[test]
fn a_store_is_sent_between_threads() {
    fn is_send<T: Send + 'static>() {}
    is_send::<RocksStore>();
}
