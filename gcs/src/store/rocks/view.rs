//! Views: the shared state at one moment, as a folder of its own.
//!
//! Owns: the checkpoint behind a view, and its removal. A checkpoint is hard links to tables, which RocksDB never
//! changes, so it costs a flush and no copy; being a store of its own it can be read from another thread, and for as
//! long as it takes, without keeping anything in the store it came from. Invariant: a view's folder goes with it, or at
//! the next opening.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use rocksdb::{
    checkpoint::Checkpoint, BlockBasedOptions, Cache, ColumnFamilyDescriptor, LogLevel, Options, ReadOptions,
};

use super::{
    super::{Column, Cursor, StoreError, View},
    failure::failure,
    families::{shared_columns, Generation},
    Db,
};

/// Where views are, in the store's folder.
const FOLDER: &str = "views";

/// Bytes of memory for blocks of a view's tables; it is read once from front to back.
const CACHE_BYTES: usize = 1 << 20;

/// Files that a view keeps open at a time.
const OPEN_FILES_MAX: i32 = 64;

/// Makes the names of views differ, also between a store and the one that was open in its place before: a view that
/// outlives its store must not take a later one's folder with it.
static NEXT_VIEW: AtomicU64 = AtomicU64::new(0);

/// Removes views that a store left behind.
pub(super) fn clear(store: &Path) -> io::Result<()> {
    match fs::remove_dir_all(store.join(FOLDER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A folder that is removed when this goes.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next opening.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// See the module. The fields go in their order: first the readers, then the files.
pub(super) struct RocksView {
    db: Db,
    generation: Generation,
    _folder: Folder,
}

impl RocksView {
    /// A view of the store `db` in the folder `store`.
    pub(super) fn of(db: &Db, store: &Path, generation: Generation) -> Result<Self, StoreError> {
        let views = store.join(FOLDER);
        fs::create_dir_all(&views).map_err(|source| StoreError::Io { column: Column::Meta, source })?;
        let number = NEXT_VIEW.fetch_add(1, Ordering::Relaxed);
        let folder = Folder(views.join(format!("{}-{number}", process::id())));
        let families = shared_columns().map(|column| generation.family(column));
        let families = families.filter(|name| db.cf_handle(name).is_some()).collect();
        let db = Checkpoint::new(db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(&folder.0))
            .and_then(|()| open(&folder.0, families))
            .map_err(|error| failure(Column::Meta, error))?;
        Ok(Self { db, generation, _folder: folder })
    }
}

/// Opens the families that a view reads; a stage may be there as well and is left alone.
fn open(path: &Path, families: Vec<String>) -> Result<Db, rocksdb::Error> {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    let families = families.into_iter().map(|name| {
        let mut options = Options::default();
        options.set_block_based_table_factory(&tables);
        ColumnFamilyDescriptor::new(name, options)
    });
    let mut options = Options::default();
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_log_level(LogLevel::Error);
    Db::open_cf_descriptors_read_only(&options, path, families, false)
}

impl View for RocksView {
    fn rows(&self, after: Option<&Cursor>, bytes_max: usize) -> Result<Vec<(Column, Bytes, Bytes)>, StoreError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        for column in shared_columns().filter(|column| after.is_none_or(|(last, _)| column >= last)) {
            let Some(family) = self.db.cf_handle(&self.generation.family(column)) else { continue };
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            let mut cursor = self.db.raw_iterator_cf_opt(family, options);
            match after {
                Some((last, key)) if *last == column => {
                    cursor.seek(key);
                    if cursor.key() == Some(key) {
                        cursor.next();
                    }
                }
                _ => cursor.seek_to_first(),
            }
            while let Some((key, value)) = cursor.item() {
                if bytes >= bytes_max && !rows.is_empty() {
                    return Ok(rows);
                }
                bytes += key.len() + value.len();
                rows.push((column, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                cursor.next();
            }
            cursor.status().map_err(|error| failure(column, error))?;
        }
        Ok(rows)
    }
}
