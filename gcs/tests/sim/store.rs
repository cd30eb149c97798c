//! A store that loses what was not synced, and fills up.
//!
//! Owns: the rows as the process sees them, those that the device has, and the batches between the two. Does not own when
//! a crash or a full device happens: the world says so. Invariant: after a crash the rows are those of the device and some
//! of the batches behind them, in order and each whole.

use std::{
    cell::{Ref, RefCell},
    io,
    rc::Rc,
};

use actinic_gcs::store::{Batch, Column, MemoryStore, Row, Store, StoreError, View};
use bytes::Bytes;

use super::rng::Rng;

/// What a machine's disk holds; it outlives the process.
pub(crate) struct Device {
    live: MemoryStore,
    durable: MemoryStore,
    unsynced: Vec<Batch>,
    pub(crate) full: bool,
}

impl Device {
    pub(crate) fn new() -> Rc<RefCell<Self>> {
        let (live, durable) = (MemoryStore::new(), MemoryStore::new());
        Rc::new(RefCell::new(Self { live, durable, unsynced: Vec::new(), full: false }))
    }

    /// As the next life of the process finds it.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.index(self.unsynced.len() + 1);
        for batch in self.unsynced.drain(..).take(kept) {
            self.durable.apply(batch).expect("the memory store does not fail");
        }
        self.durable.clear_stage().expect("the memory store does not fail");
        self.live = self.durable.clone();
    }

    /// The rows that replicas agree on.
    pub(crate) fn shared(&self) -> Vec<(Column, Row)> {
        let shared = Column::ALL.iter().copied().filter(|column| column.is_shared());
        let rows = |column| self.live.scan(column, b"", b"", usize::MAX).expect("the memory store does not fail");
        shared.flat_map(|column| rows(column).into_iter().map(move |row| (column, row))).collect()
    }

    fn room(&self, column: Column) -> Result<(), StoreError> {
        if self.full {
            return Err(StoreError::Io { column, source: io::ErrorKind::StorageFull.into() });
        }
        Ok(())
    }
}

/// The store of one life of a replica.
pub(crate) struct SimStore(pub(crate) Rc<RefCell<Device>>);

impl SimStore {
    fn device(&self) -> Ref<'_, Device> {
        self.0.borrow()
    }
}

impl Store for SimStore {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.device().live.get(column, key)
    }

    fn scan(&self, column: Column, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.device().live.scan(column, prefix, from, limit)
    }

    fn apply(&mut self, batch: Batch) -> Result<(), StoreError> {
        let device = &mut *self.0.borrow_mut();
        device.room(Column::Log)?;
        device.unsynced.push(batch.clone());
        device.live.apply(batch)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let mut device = self.0.borrow_mut();
        device.room(Column::Log)?;
        let Device { durable, unsynced, .. } = &mut *device;
        let synced: Result<(), StoreError> = unsynced.drain(..).try_for_each(|batch| durable.apply(batch));
        synced
    }

    fn view(&self) -> Result<Box<dyn View>, StoreError> {
        self.device().live.view()
    }

    fn clear_stage(&mut self) -> Result<(), StoreError> {
        self.0.borrow_mut().live.clear_stage()
    }

    fn stage(&mut self, rows: &[(Column, Bytes, Bytes)]) -> Result<(), StoreError> {
        let device = &mut *self.0.borrow_mut();
        device.room(Column::Meta)?;
        device.live.stage(rows)
    }

    fn install(&mut self, batch: Batch) -> Result<(), StoreError> {
        let device = &mut *self.0.borrow_mut();
        device.room(Column::Meta)?;
        device.live.install(batch)?;
        device.unsynced.clear();
        device.durable = device.live.clone();
        Ok(())
    }
}
