//! The object store of one node: immutable objects in shared memory, spilled to disk when they do not fit.
//!
//! Owns: [`ObjectStore`], the thread-safe handle that carries out what `core` decides, and [`StoredObject`]. Which
//! offsets are whose is `extents`' matter, the memory itself `shm`'s, the files `spill`'s, the reclaiming of what dead
//! processes left `lease`'s.
//!
//! An object is one contiguous extent: its meta part, then its buffers, each aligned to 64 bytes. Reading it gives
//! views, and while any of them lives, the memory stays.
//!
//! **Invariants:** no lock is held while bytes are copied, read or written, nor while a caller's values are dropped;
//! memory is backed before it is written to, so a full `/dev/shm` is an error and not the process's death; nothing is
//! left in `/dev/shm` or the spill folder once the store, its objects and their views are gone.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, OnceLock,
    },
    time::Instant,
};

use actinic_gcs::ObjectId;
use parking_lot::{Condvar, Mutex};

use crate::data::codec::Encoded;

mod config;
mod copy;
mod core;
mod error;
mod extents;
mod lease;
mod mapping;
mod object;
pub(crate) mod own_folder;
pub(crate) mod page;
mod room;
mod shm;
pub(crate) mod spill;
mod stats;
#[cfg(test)]
mod tests;
mod warm;

pub use config::StoreConfig;
pub use error::StoreError;
pub use mapping::{Mapping, Placement};
pub use object::StoredObject;
pub use room::{Filling, Part, Room as ReservedRoom, SealedRoom, SharedView};
pub(crate) use shm::{shared_memory, user_id};
pub use spill::SpillError;
pub use stats::StoreStats;

use self::{
    core::{Core, FileId, Key, Pinned, Room, SpillOrder},
    extents::Extent,
    object::Layout,
    shm::Segment,
    spill::SpillFolder,
};

/// A background step touches this much, so that it takes milliseconds even where a first touch is slow.
const PRETOUCH_STEP_BYTES: usize = 4 << 20;
/// A background step spills about this much.
const SPILL_STEP_BYTES: usize = 64 << 20;

/// One node's store of immutable objects. Dropped with its last object and view.
pub struct ObjectStore {
    config: StoreConfig,
    core: Mutex<Core>,
    /// Something changed that a put or a reader may wait for.
    changed: Condvar,
    /// Created when first needed, as is the spill folder.
    segment: OnceLock<Segment>,
    spill_folder: OnceLock<SpillFolder>,
    creating: Mutex<()>,
    closed: AtomicBool,
}

impl std::fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStore").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Removes the segments that dead processes of this user have left.
pub fn reclaim() {
    shm::reclaim_segments();
}

impl ObjectStore {
    /// A store, after what dead processes of this user left has been removed. Memory is taken up only as it is used.
    ///
    /// # Errors
    ///
    /// [`StoreError::Config`].
    pub fn open(config: StoreConfig) -> Result<Arc<Self>, StoreError> {
        let limits = config.limits()?;
        shm::reclaim_segments();
        own_folder::reclaim_folders(&config.spill_base());
        Ok(Arc::new(Self {
            config,
            core: Mutex::new(Core::new(limits)),
            changed: Condvar::new(),
            segment: OnceLock::new(),
            spill_folder: OnceLock::new(),
            creating: Mutex::new(()),
            closed: AtomicBool::new(false),
        }))
    }

    /// Copies an encoded value into the store. Spills other objects if there is no room, and waits up to
    /// `put_timeout` if all of them are being read.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`], [`StoreError::Full`], [`StoreError::Memory`]. Nothing is lost but this put.
    pub fn put(self: &Arc<Self>, id: ObjectId, encoded: Encoded) -> Result<Arc<StoredObject>, StoreError> {
        let segment = self.segment()?;
        let len = Layout::room_bytes(&encoded);
        let mut extent = self.reserve(len)?;
        if let Err(error) = self.back_with_memory(segment, &extent) {
            self.give_back(extent);
            return Err(error);
        }
        let layout = Layout::write(&encoded, &mut segment.bytes_mut(&mut extent)[..len]);
        let key = self.core.lock().insert(extent, len);
        Ok(Arc::new(StoredObject::new(Arc::clone(self), key, id, layout, encoded.refs.into())))
    }

    /// One step of touching memory in advance of demand; a matter of milliseconds. `false` when nothing is left to do
    /// until more objects are put, or if memory is short.
    pub fn pretouch_step(&self) -> bool {
        if self.closed.load(Ordering::Acquire) {
            return false;
        }
        let Some(range) = self.core.lock().next_pretouch(PRETOUCH_STEP_BYTES) else {
            return false;
        };
        let Ok(segment) = self.segment() else { return false };
        match segment.touch(range.clone()) {
            Ok(()) => {
                self.core.lock().touched(range);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "no memory to touch in advance");
                false
            }
        }
    }

    /// Spills least recently used objects while the store is above its high-water mark, one step at a time. Says how
    /// many it spilled: zero when there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`StoreError::Spill`]; the objects stay in memory.
    pub fn spill_over_high_water(&self) -> Result<usize, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Ok(0);
        }
        let (orders, deletions) = {
            let mut core = self.core.lock();
            (core.over_high_water(SPILL_STEP_BYTES), core.take_deletions())
        };
        self.delete(deletions);
        let count = orders.len();
        self.carry_out(orders)?;
        Ok(count)
    }

    /// Ends the store: its names in the file system go at once, whoever still holds a view. What is in memory stays
    /// readable through its views and objects; what was spilled does not, and nothing can be put any more.
    pub fn close(&self) {
        let _creating = self.creating.lock();
        self.closed.store(true, Ordering::Release);
        if let Some(segment) = self.segment.get() {
            segment.unlink();
        }
        if let Some(folder) = self.spill_folder.get() {
            folder.remove();
        }
    }

    /// What the store holds now.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        StoreStats::of(&self.core.lock())
    }

    /// The settings that the store was opened with.
    #[must_use]
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    fn segment(&self) -> Result<&Segment, StoreError> {
        if let Some(segment) = self.segment.get() {
            return Ok(segment);
        }
        let _creating = self.creating.lock();
        if let Some(segment) = self.segment.get() {
            return Ok(segment);
        }
        let segment = Segment::create(self.config.capacity_bytes).map_err(StoreError::Segment)?;
        Ok(self.segment.get_or_init(|| segment))
    }

    fn spill_folder(&self) -> Result<&SpillFolder, SpillError> {
        if let Some(folder) = self.spill_folder.get() {
            return Ok(folder);
        }
        let _creating = self.creating.lock();
        if let Some(folder) = self.spill_folder.get() {
            return Ok(folder);
        }
        let folder = SpillFolder::create(&self.config.spill_base())?;
        Ok(self.spill_folder.get_or_init(|| folder))
    }

    /// Room for an object: at once, after spilling others, or after waiting.
    fn reserve(&self, len: usize) -> Result<Extent, StoreError> {
        let mut deadline = None;
        let mut expired = false;
        let mut spill_error = None;
        let mut core = self.core.lock();
        loop {
            let room = core.reserve(len, spill_error.is_none());
            let deletions = core.take_deletions();
            if !deletions.is_empty() {
                parking_lot::MutexGuard::unlocked(&mut core, || self.delete(deletions));
            }
            match room {
                Room::Granted(extent) => return Ok(extent),
                Room::TooLarge => {
                    return Err(StoreError::TooLarge { needed_bytes: len, capacity_bytes: core.extents().capacity() })
                }
                Room::Spill(orders) => {
                    let result = parking_lot::MutexGuard::unlocked(&mut core, || self.carry_out(orders));
                    spill_error = result.err();
                }
                Room::Wait { at_spill_limit } if expired => {
                    let limit = self.config.spill_bytes_max.filter(|_| at_spill_limit);
                    let cause = spill_error.or(limit.map(|max_bytes| SpillError::Limit { max_bytes }));
                    return Err(StoreError::full(len, &core, &self.config, cause));
                }
                Room::Wait { .. } => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.config.put_timeout);
                    expired = self.changed.wait_until(&mut core, deadline).timed_out();
                }
            }
        }
    }

    fn give_back(&self, extent: Extent) {
        self.core.lock().give_back(extent);
        self.changed.notify_all();
    }

    /// Touches what is still cold of an extent that is about to be written.
    fn back_with_memory(&self, segment: &Segment, extent: &Extent) -> Result<(), StoreError> {
        let range: Range<usize> = extent.offset()..extent.end();
        let cold = self.core.lock().cold_part(range);
        if cold.is_empty() {
            return Ok(());
        }
        segment.touch(cold.clone()).map_err(|source| StoreError::Memory { needed_bytes: cold.len(), source })?;
        self.core.lock().touched(cold);
        Ok(())
    }

    /// Spills as ordered. After the first failure the rest is not attempted.
    fn carry_out(&self, orders: Vec<SpillOrder>) -> Result<(), SpillError> {
        let mut result = Ok(());
        for order in orders {
            if result.is_ok() {
                result = self.write(&order);
            }
            let deletions = {
                let mut core = self.core.lock();
                match &result {
                    Ok(()) => core.spilled(order),
                    Err(_) => core.spill_failed(order),
                }
                core.take_deletions()
            };
            self.changed.notify_all();
            self.delete(deletions);
        }
        result
    }

    fn write(&self, order: &SpillOrder) -> Result<(), SpillError> {
        let segment = self.segment.get().expect("invariant: what is spilled lies in the segment");
        self.spill_folder()?.write(order.file, &segment.bytes(&order.extent)[..order.len])
    }

    fn delete(&self, files: Vec<FileId>) {
        if let Some(folder) = self.spill_folder.get() {
            files.into_iter().for_each(|file| folder.delete(file));
        }
    }

    /// Pins an object in memory, restoring it if it was spilled.
    fn pin(&self, key: Key) -> Result<Arc<Extent>, StoreError> {
        let mut core = self.core.lock();
        loop {
            match core.pin(key) {
                Pinned::InMemory(extent) => return Ok(extent),
                Pinned::Restoring => self.changed.wait(&mut core),
                Pinned::Restore { file, len } => {
                    drop(core);
                    return self.restore(key, file, len);
                }
            }
        }
    }

    fn restore(&self, key: Key, file: FileId, len: usize) -> Result<Arc<Extent>, StoreError> {
        let result = self.read_back(file, len);
        let mut core = self.core.lock();
        let pinned = result.map(|extent| core.restored(key, extent)).inspect_err(|_| core.restore_failed(key));
        drop(core);
        self.changed.notify_all();
        pinned
    }

    fn read_back(&self, file: FileId, len: usize) -> Result<Extent, StoreError> {
        let segment = self.segment()?;
        let mut extent = self.reserve(len)?;
        let read = self.back_with_memory(segment, &extent).and_then(|()| {
            let bytes = &mut segment.bytes_mut(&mut extent)[..len];
            Ok(self.spill_folder()?.read(file, bytes)?)
        });
        match read {
            Ok(()) => Ok(extent),
            Err(error) => {
                self.give_back(extent);
                Err(error)
            }
        }
    }

    /// A reader is done, and has dropped its share of the extent.
    fn unpin(&self, key: Key) {
        let deletions = {
            let mut core = self.core.lock();
            core.unpin(key);
            core.take_deletions()
        };
        self.changed.notify_all();
        self.delete(deletions);
    }

    fn release(&self, key: Key) {
        let deletions = {
            let mut core = self.core.lock();
            core.release(key);
            core.take_deletions()
        };
        self.changed.notify_all();
        self.delete(deletions);
    }
}

impl StoreConfig {
    fn spill_base(&self) -> PathBuf {
        self.spill_dir.as_deref().map_or_else(std::env::temp_dir, Path::to_owned)
    }
}
