//! How rows that are in no log reach the device.
//!
//! Rebuildable batches and the stage do without RocksDB's write-ahead log. What was only in memory is gone after a crash,
//! so two things see to it that never a part of it is: all families are written to tables together (`atomic_flush`), and
//! a table is only installed once the logs before it are on the device, which RocksDB does of itself. A family whose
//! memory has become a table has its part of those logs skipped when they are read, so that what a log holds never hides
//! what is newer. The replica's log is the one family that [`begin_persist`](super::super::Store::begin_persist) leaves
//! alone: its rows are in RocksDB's log, and are gone again before that has grown too long, so that few of them are ever
//! written twice.
//!
//! Owns: the start of such a writing of tables, and the wait for its end.

use std::{thread, time::Duration};

use rocksdb::{properties, ColumnFamily, ErrorKind, FlushOptions};

use super::{
    super::{Column, StoreError},
    RocksStore,
};

/// How long it is between two looks at a table that is being written.
const PERSIST_WAIT: Duration = Duration::from_millis(1);

impl RocksStore {
    /// Begins to write all rows to tables that are in no log.
    pub(super) fn start_persisting(&mut self) -> Result<(), StoreError> {
        self.check_usable()?;
        // RocksDB does the same, but only for logs that it has closed.
        let logged = self.db.flush_wal(true);
        self.note(Column::Log, logged)?;
        loop {
            match self.flush(false) {
                Err(error) if error.kind() == ErrorKind::TryAgain => {
                    let waited = self.wait_for_tables();
                    self.note(Column::Meta, waited)?;
                }
                begun => return self.note(Column::Meta, begun),
            }
        }
    }

    /// Waits for that.
    pub(super) fn wait_until_persisted(&mut self) -> Result<(), StoreError> {
        self.check_usable()?;
        loop {
            match self.flushing() {
                (false, _) => return Ok(()),
                // It says what went wrong, unless RocksDB has got over it.
                (true, true) => {
                    let flushed = self.flush(true);
                    return self.note(Column::Meta, flushed);
                }
                (true, false) => thread::sleep(PERSIST_WAIT),
            }
        }
    }

    /// Starts to write tables of all rows that are in memory only, and waits for that if it is asked to.
    fn flush(&self, waits: bool) -> Result<(), rocksdb::Error> {
        let mut options = FlushOptions::default();
        options.set_wait(waits);
        let columns = Column::ALL.iter().filter(|column| **column != Column::Log);
        let families: Vec<_> = columns.filter_map(|column| self.family(*column)).collect();
        self.db.flush_cfs_opt(&families, &options)
    }

    /// Whether there are tables still to be written, and whether one could not be.
    fn flushing(&self) -> (bool, bool) {
        let number = |family: &ColumnFamily, property| self.db.property_int_value_cf(family, property).ok().flatten();
        let is_left = |family| number(family, properties::NUM_IMMUTABLE_MEM_TABLE).unwrap_or_default() > 0;
        let errors = self.db.property_int_value(properties::BACKGROUND_ERRORS).ok().flatten().unwrap_or_default();
        (self.handles().any(is_left), errors > 0)
    }
}
