//! The floor of the control store's writes: RocksDB alone, as the store is set up, with batches of as many rows as the
//! rows have under way, and a sync after each batch.

use std::sync::atomic::{AtomicU64, Ordering};

use actinic_gcs::store::{Batch, Column, Durability, RocksOptions, RocksStore, Store, StoreIdentity};

use super::{each, rate};
use crate::row::{Ctx, Outcome, Reference, Unit};

const BATCH: usize = 256;
const BATCHES: usize = 400;
const ONE_BY_ONE: usize = 1_000;

/// Batches of 256 rows of 128 bytes, each with an fsync.
pub(crate) static FSYNC: Reference =
    Reference { name: "RocksDB alone, batches of 256, fsync", unit: Unit::PerSecond, measure: fsync };
/// Batches of 256 rows of 128 bytes, given to the operating system.
pub(crate) static BUFFERED: Reference =
    Reference { name: "RocksDB alone, batches of 256, buffered", unit: Unit::PerSecond, measure: buffered };
/// Single rows of 128 bytes, each with an fsync.
pub(crate) static ONE_AT_A_TIME: Reference =
    Reference { name: "RocksDB alone, one at a time, fsync", unit: Unit::Seconds, measure: one_by_one };

/// A store in a folder of its own.
fn open(durability: Durability) -> Outcome<(tempfile::TempDir, RocksStore)> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let folder = tempfile::tempdir()?;
    let identity = StoreIdentity { cluster: 1, shard: 0, replica: LAST.fetch_add(1, Ordering::Relaxed) + 1 };
    let options = RocksOptions { durability, ..RocksOptions::default() };
    let store = RocksStore::open(folder.path(), identity, options)?;
    Ok((folder, store))
}

fn batches(ctx: &mut Ctx, durability: Durability) -> Outcome<f64> {
    let count = ctx.size(BATCHES);
    let (_folder, mut store) = open(durability)?;
    rate(count * BATCH, || {
        for number in 0..count {
            write(&mut store, number * BATCH, BATCH)?;
        }
        Ok(())
    })
}

fn write(store: &mut RocksStore, first: usize, rows: usize) -> Outcome<()> {
    let mut batch = Batch::new();
    for number in first..first + rows {
        batch.put(Column::KeyValue, format!("key{:06}", number % 100_000).into_bytes(), vec![b'v'; 128]);
    }
    store.apply(batch)?;
    Ok(store.sync()?)
}

fn fsync(ctx: &mut Ctx) -> Outcome<f64> {
    batches(ctx, Durability::Fsync)
}

fn buffered(ctx: &mut Ctx) -> Outcome<f64> {
    batches(ctx, Durability::Buffered)
}

fn one_by_one(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ONE_BY_ONE);
    let (_folder, mut store) = open(Durability::Fsync)?;
    each(count, || (0..count).try_for_each(|number| write(&mut store, number, 1)))
}
