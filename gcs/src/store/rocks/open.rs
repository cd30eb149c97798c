//! Opening a store.
//!
//! Owns: whether a folder is this replica's store, and the removal of what a crash or an older build left: a stage, half
//! an installation, views. Invariants: nothing is changed before the folder is known to be ours, but
//! for what RocksDB itself recovers; a folder that has lost its store is never taken for a new one.

use std::{fs, path::Path};

use rocksdb::{Cache, ColumnFamilyDescriptor, IteratorMode, WriteBatch, WriteOptions, DEFAULT_COLUMN_FAMILY_NAME};

use super::{
    super::{Column, Unusable},
    failure::unusable,
    families::{drop_if_used, shared_columns, Families, Generation},
    identity::{format_encoded, FORMAT_KEY, IDENTITY_KEY},
    view, wal, Db, RocksOptions, RocksStore, StoreIdentity, GENERATION_KEY,
};

/// The file that names RocksDB's newest manifest; a store has it from its creation on.
const CURRENT_FILE: &str = "CURRENT";

pub(super) fn open(path: &Path, identity: StoreIdentity, options: RocksOptions) -> Result<RocksStore, Unusable> {
    fs::create_dir_all(path).map_err(Unusable::Folder)?;
    let cache = Cache::new_lru_cache(options.cache_bytes_max);
    let mut database = options.database().map_err(unusable)?;
    let families: Vec<String> = if path.join(CURRENT_FILE).try_exists().map_err(Unusable::Folder)? {
        wal::check(path)?;
        Db::list_cf(&database, path).map_err(unusable)?
    } else {
        refuse_remains(path)?;
        database.create_if_missing(true);
        database.create_missing_column_families(true);
        // All at once, which is faster than each when it is needed. The default family is named too, since it would else get RocksDB's own options, which have no bounds.
        let columns = Column::ALL.iter().map(|column| Generation::Even.family(*column));
        columns.chain([DEFAULT_COLUMN_FAMILY_NAME.to_owned()]).collect()
    };
    let descriptors = families.into_iter().map(|name| ColumnFamilyDescriptor::new(name, options.family(&cache)));
    let mut db = Db::open_cf_descriptors(&database, path, descriptors).map_err(unusable)?;
    let generation = read_head(&db, identity)?;
    clear_other_generation(&mut db, generation.other())?;
    view::clear(path).map_err(Unusable::Folder)?;
    let families = Families::new(generation);
    Ok(RocksStore { db, path: path.to_owned(), options, cache, families, dirty: false, failed: None })
}

/// Without `CURRENT` RocksDB would make a new store around the tables and logs of one that is damaged.
fn refuse_remains(path: &Path) -> Result<(), Unusable> {
    for entry in fs::read_dir(path).map_err(Unusable::Folder)? {
        let name = entry.map_err(Unusable::Folder)?.file_name();
        let extension = Path::new(&name).extension();
        if wal::is_log(Path::new(&name)) || extension.is_some_and(|extension| extension == "sst") {
            return Err(Unusable::Damaged(format!("there is {} but no {CURRENT_FILE}", name.display())));
        }
    }
    Ok(())
}

/// Checks whose store it is, or says it in a new one; gives the current generation.
fn read_head(db: &Db, identity: StoreIdentity) -> Result<Generation, Unusable> {
    let read = |key| db.get(key).map_err(unusable);
    match (read(FORMAT_KEY)?, read(IDENTITY_KEY)?, read(GENERATION_KEY)?) {
        (Some(format), Some(found), generation) => {
            identity.check(&format, &found)?;
            let generation = generation.as_deref().and_then(Generation::decoded);
            generation.ok_or_else(|| Unusable::Damaged("its generation is neither of two".to_owned()))
        }
        (None, None, None) if is_empty(db)? => {
            write_head(db, identity)?;
            Ok(Generation::Even)
        }
        _ => Err(Unusable::Damaged("it does not say whose it is".to_owned())),
    }
}

/// Whether there is no row: the store is new, or its creation was interrupted.
fn is_empty(db: &Db) -> Result<bool, Unusable> {
    for column in Column::ALL {
        for generation in [Generation::Even, Generation::Odd] {
            let Some(family) = db.cf_handle(&generation.family(*column)) else { continue };
            if db.iterator_cf(family, IteratorMode::Start).next().transpose().map_err(unusable)?.is_some() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn write_head(db: &Db, identity: StoreIdentity) -> Result<(), Unusable> {
    let mut head = WriteBatch::default();
    head.put(FORMAT_KEY, format_encoded());
    head.put(IDENTITY_KEY, identity.encoded());
    head.put(GENERATION_KEY, Generation::Even.encoded());
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    db.write_opt(head, &synced).map_err(unusable)
}

/// What is not current is a stage that nobody will install, or what an installation has replaced.
fn clear_other_generation(db: &mut Db, generation: Generation) -> Result<(), Unusable> {
    shared_columns().try_for_each(|column| drop_if_used(db, &generation.family(column)).map_err(unusable))
}
