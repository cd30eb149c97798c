//! A store that loses what was not synced or persisted, and fills up.
//!
//! Owns: the rows as the process sees them, those that the device has, and the batches between the two. Does not own when
//! a crash or a full device happens: the world says so. Invariant: after a crash the rows are those of the device and some
//! of the batches behind them, of each kind in order and each whole, and none without those before it that a rebuildable
//! one needs. Most often all rebuildable ones are gone.

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
    /// With their numbers among all batches.
    unsynced: Vec<(u64, Batch)>,
    rebuildable: Vec<(u64, Batch)>,
    next: u64,
    /// What is persisted when it is asked for again: all before this number.
    persists: u64,
    pub(crate) full: bool,
}

impl Device {
    pub(crate) fn new() -> Rc<RefCell<Self>> {
        let (live, durable) = (MemoryStore::new(), MemoryStore::new());
        Rc::new(RefCell::new(Self {
            live,
            durable,
            unsynced: Vec::new(),
            rebuildable: Vec::new(),
            next: 0,
            persists: 0,
            full: false,
        }))
    }

    /// As the next life of the process finds it.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let rebuildable = self.rebuildable.len();
        let kept = if rng.chance(600) { 0 } else { rng.index(rebuildable + 1) };
        let follows = kept.checked_sub(1).map_or(0, |last| self.rebuildable[last].0);
        let needed = self.unsynced.iter().filter(|(number, _)| *number < follows).count();
        let synced = needed + rng.index(self.unsynced.len() - needed + 1);
        let left = self.unsynced.drain(..).take(synced).chain(self.rebuildable.drain(..).take(kept));
        left.for_each(|(_, batch)| self.durable.apply(batch).expect("the memory store does not fail"));
        self.durable.clear_stage().expect("the memory store does not fail");
        self.live = self.durable.clone();
    }

    /// The rows that replicas agree on.
    pub(crate) fn shared(&self) -> Vec<(Column, Row)> {
        let shared = Column::ALL.iter().copied().filter(|column| column.is_shared());
        let rows = |column| self.live.scan(column, b"", b"", usize::MAX).expect("the memory store does not fail");
        shared.flat_map(|column| rows(column).into_iter().map(move |row| (column, row))).collect()
    }

    /// Applies a batch that is on its way to the device.
    fn write(&mut self, batch: Batch, is_rebuildable: bool) -> Result<(), StoreError> {
        self.room(Column::Log)?;
        let behind = if is_rebuildable { &mut self.rebuildable } else { &mut self.unsynced };
        behind.push((self.next, batch.clone()));
        self.next += 1;
        self.live.apply(batch)
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        self.room(Column::Meta)?;
        let Self { durable, unsynced, rebuildable, persists, .. } = self;
        for behind in [unsynced, rebuildable] {
            let persisted = behind.iter().filter(|(number, _)| number < persists).count();
            behind.drain(..persisted).try_for_each(|(_, batch)| durable.apply(batch))?;
        }
        Ok(())
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
        self.0.borrow_mut().write(batch, false)
    }

    fn apply_rebuildable(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.0.borrow_mut().write(batch, true)
    }

    fn begin_persist(&mut self) -> Result<(), StoreError> {
        let device = &mut *self.0.borrow_mut();
        device.room(Column::Meta)?;
        device.persists = device.next;
        Ok(())
    }

    fn finish_persist(&mut self) -> Result<(), StoreError> {
        self.0.borrow_mut().persist()
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let mut device = self.0.borrow_mut();
        device.room(Column::Log)?;
        let Device { durable, unsynced, .. } = &mut *device;
        let synced: Result<(), StoreError> = unsynced.drain(..).try_for_each(|(_, batch)| durable.apply(batch));
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
        device.rebuildable.clear();
        device.durable = device.live.clone();
        Ok(())
    }
}
