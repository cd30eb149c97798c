//! Room in a node's store that somebody else fills: another process of the machine, or what comes from another node.
//!
//! Owns: the steps from [`Room`], which is reserved, to [`SealedRoom`], which may be read and spilled, and [`SharedView`], by
//! which it is read. Does not own what the bytes are, nor who may ask for them ([`crate::cluster::objects`]).
//!
//! **Invariants:** room that is dropped before it is sealed is free again; memory is backed before it is given out, so that
//! no writer dies of a full `/dev/shm`; what is viewed stays where it is.

use std::{ops::Range, sync::Arc};

use super::{
    core::{Key, Pinned, Room as Answer},
    extents::Extent,
    object::View,
    shm::Shares,
    ObjectStore, StoreError,
};

/// Room that is reserved and not yet sealed.
#[derive(Debug)]
pub struct Room {
    store: Arc<ObjectStore>,
    extent: Option<Extent>,
    len: usize,
}

impl Room {
    /// Where it begins in the segment.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.extent.as_ref().map_or(0, Extent::offset)
    }

    /// How many bytes were asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none were.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// It has been filled, and is written to no more.
    #[must_use]
    pub fn seal(mut self) -> SealedRoom {
        let extent = self.extent.take().expect("invariant: room has its extent until it is sealed");
        let key = self.store.core.lock().insert(extent, self.len);
        SealedRoom { store: self.store.clone(), key, len: self.len }
    }

    /// To be filled by several writers of this process at once.
    #[must_use]
    pub fn fill(mut self) -> Arc<Filling> {
        let extent = self.extent.take().expect("invariant: room has its extent until it is sealed");
        Arc::new(Filling { store: self.store.clone(), shares: Some(Shares::new(extent)), len: self.len })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(extent) = self.extent.take() {
            self.store.give_back(extent);
        }
    }
}

/// Room that several writers of this process fill.
#[derive(Debug)]
pub struct Filling {
    store: Arc<ObjectStore>,
    shares: Option<Shares>,
    len: usize,
}

impl Filling {
    /// A part for one writer; none while any of it is another's, or where there is no such part.
    #[must_use]
    pub fn part(self: &Arc<Self>, range: Range<usize>) -> Option<Part> {
        let lent = self.shares.as_ref()?.lend(range)?;
        Some(Part { filling: self.clone(), lent })
    }

    /// It has been filled; none while somebody still writes.
    #[must_use]
    pub fn finish(self: Arc<Self>) -> Option<Room> {
        let mut filling = Arc::into_inner(self)?;
        let extent = filling.shares.take()?.into_extent();
        Some(Room { store: filling.store.clone(), extent: Some(extent), len: filling.len })
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(shares) = self.shares.take() {
            self.store.give_back(shares.into_extent());
        }
    }
}

/// One writer's part.
#[derive(Debug)]
pub struct Part {
    filling: Arc<Filling>,
    lent: Range<usize>,
}

impl Part {
    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let segment = self.filling.store.segment.get().expect("invariant: what is filled lies in the segment");
        let shares = self.filling.shares.as_ref().expect("invariant: a part keeps its filling from being finished");
        shares.bytes_mut(segment, &mut self.lent)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(shares) = &self.filling.shares {
            shares.give_back(&self.lent);
        }
    }
}

/// Bytes that are complete. As long as this lives they can be read; they may be spilled meanwhile.
#[derive(Debug)]
pub struct SealedRoom {
    store: Arc<ObjectStore>,
    key: Key,
    len: usize,
}

impl SealedRoom {
    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A view, if the bytes are in memory.
    #[must_use]
    pub fn view_now(&self) -> Option<SharedView> {
        let mut core = self.store.core.lock();
        if !core.is_in_memory(self.key) {
            return None;
        }
        match core.pin(self.key) {
            Pinned::InMemory(extent) => Some(self.viewed(extent)),
            Pinned::Restore { .. } | Pinned::Restoring => None,
        }
    }

    /// A view; bytes that were spilled are read back first, which may take long.
    ///
    /// # Errors
    ///
    /// As [`StoredObject::parts`](super::StoredObject::parts).
    pub fn view(&self) -> Result<SharedView, StoreError> {
        let extent = self.store.pin(self.key)?;
        Ok(self.viewed(extent))
    }

    fn viewed(&self, extent: Arc<Extent>) -> SharedView {
        let view = View { store: self.store.clone(), key: self.key, extent: Some(extent) };
        SharedView { view, len: self.len }
    }
}

impl Drop for SealedRoom {
    fn drop(&mut self) {
        self.store.release(self.key);
    }
}

/// A hold on bytes in memory, for a reader of any process.
pub struct SharedView {
    view: View,
    len: usize,
}

impl std::fmt::Debug for SharedView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedView").field("offset", &self.offset()).field("len", &self.len).finish()
    }
}

impl SharedView {
    /// Where it begins in the segment.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.view.extent.as_ref().map_or(0, |extent| extent.offset())
    }
}

impl AsRef<[u8]> for SharedView {
    fn as_ref(&self) -> &[u8] {
        &self.view.as_ref()[..self.len]
    }
}

impl ObjectStore {
    /// Room that is to be had at once: without spilling, waiting, or touching cold memory.
    #[must_use]
    pub fn room_now(self: &Arc<Self>, len: usize) -> Option<Room> {
        self.segment.get()?;
        let mut core = self.core.lock();
        let Answer::Granted(extent) = core.reserve(len, false) else { return None };
        if core.cold_part(extent.offset()..extent.end()).is_empty() {
            return Some(Room { store: self.clone(), extent: Some(extent), len });
        }
        core.give_back(extent);
        None
    }

    /// Room, after spilling others or waiting for it as a put does.
    ///
    /// # Errors
    ///
    /// As [`ObjectStore::put`].
    pub fn room(self: &Arc<Self>, len: usize) -> Result<Room, StoreError> {
        let segment = self.segment()?;
        let extent = self.reserve(len)?;
        let room = Room { store: self.clone(), extent: Some(extent), len };
        if let Some(extent) = &room.extent {
            self.back_with_memory(segment, extent)?;
        }
        Ok(room)
    }

    /// The name of the segment, for processes that are to map it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Segment`].
    pub fn segment_name(&self) -> Result<&str, StoreError> {
        Ok(self.segment()?.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::StoreConfig, *};

    fn store() -> Arc<ObjectStore> {
        ObjectStore::open(StoreConfig { capacity_bytes: 1 << 20, ..StoreConfig::default() }).unwrap()
    }

    #[test]
    fn room_that_is_dropped_before_it_is_sealed_is_free_again() {
        let store = store();
        let room = store.room(1_000).unwrap();
        assert_eq!(store.stats().used_bytes, 1_024);
        drop(room);
        assert_eq!(store.stats().used_bytes, 0);
        let filling = store.room(1_000).unwrap().fill();
        let part = filling.part(0..10).unwrap();
        assert!(filling.clone().finish().is_none(), "somebody still writes");
        drop((filling, part));
        assert_eq!(store.stats().used_bytes, 0);
    }

    #[test]
    fn writers_never_have_the_same_byte() {
        let store = store();
        let filling = store.room(100).unwrap().fill();
        let mut first = filling.part(0..50).unwrap();
        assert!(filling.part(49..60).is_none() && filling.part(0..100).is_none() && filling.part(90..200).is_none());
        first.bytes_mut().fill(1);
        filling.part(50..100).unwrap().bytes_mut().fill(2);
        drop(first);
        let sealed = filling.finish().unwrap().seal();
        let view = sealed.view().unwrap();
        assert_eq!((view.as_ref()[49], view.as_ref()[50], view.as_ref().len()), (1, 2, 100));
    }

    #[test]
    fn what_is_sealed_can_be_mapped_and_its_memory_stays_while_it_is_viewed() {
        let store = store();
        let room = store.room(64).unwrap();
        let mapping = super::super::Mapping::open(store.segment_name().unwrap()).unwrap();
        let encoded = crate::data::codec::encode(&vec![7_u8; 40]).unwrap();
        let placed = mapping.write(room.offset(), room.len(), &encoded).unwrap();
        let sealed = room.seal();
        let view = sealed.view_now().unwrap();
        let bytes = mapping.view(view.offset(), 64, ()).unwrap();
        assert_eq!(bytes, view.as_ref());
        let (meta, buffers) = placed.cut(&bytes).unwrap();
        assert_eq!(meta.len() + buffers.iter().map(bytes::Bytes::len).sum::<usize>(), encoded.size_bytes());
        drop(sealed);
        assert_eq!(store.stats().used_bytes, 64);
        drop(view);
        assert_eq!(store.stats().used_bytes, 0);
    }
}
