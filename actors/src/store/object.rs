//! One stored object and its views.
//!
//! Owns: where the parts of an object lie within its extent, the handle that keeps the object, and the view that keeps
//! its memory. Handles and views may be dropped in any order; the store frees the memory, or the file, with the last.

use std::{fmt, ops::Range, sync::Arc};

use actinic_gcs::ObjectId;
use bytes::Bytes;
use smallvec::SmallVec;

use super::{copy::copy, core::Key, extents::Extent, extents::ALIGNMENT_BYTES, ObjectStore, StoreError};
use crate::data::codec::{AnyRef, Encoded, Parts};

/// Buffers from this size on are placed with a view to how fast they are copied.
const LARGE_BYTES_MIN: usize = 1 << 20;
const PAGE_BYTES: usize = 4096;

/// Where the meta part and the buffers lie, from the beginning of the extent.
#[derive(Debug)]
pub(super) struct Layout {
    meta_len: usize,
    buffers: SmallVec<[Range<usize>; 2]>,
}

impl Layout {
    /// How long an extent must be for an encoded value to be written to it.
    pub(super) fn room_bytes(encoded: &Encoded) -> usize {
        encoded.buffers.iter().fold(encoded.meta.len(), |end, buffer| {
            let slack = if buffer.len() < LARGE_BYTES_MIN { 0 } else { PAGE_BYTES - ALIGNMENT_BYTES };
            end.next_multiple_of(ALIGNMENT_BYTES) + slack + buffer.len()
        })
    }

    /// Writes an encoded value to memory that begins aligned.
    pub(super) fn write(encoded: &Encoded, into: &mut [u8]) -> Self {
        let meta_len = encoded.meta.len();
        into[..meta_len].copy_from_slice(&encoded.meta);
        let mut end = meta_len;
        let buffers = encoded.buffers.iter().map(|buffer| {
            let mut start = end.next_multiple_of(ALIGNMENT_BYTES);
            if buffer.len() >= LARGE_BYTES_MIN {
                start += bytes_to_same_place_in_page(into[start..].as_ptr() as usize, buffer.as_ptr() as usize);
            }
            // What an earlier object left between the parts must not reach a file.
            into[end..start].fill(0);
            end = start + buffer.len();
            copy(buffer, &mut into[start..end]);
            start..end
        });
        let buffers = buffers.collect();
        into[end..].fill(0);
        Self { meta_len, buffers }
    }

    /// How many bytes the meta part has, and where the buffers lie.
    pub(super) fn into_parts(self) -> (usize, SmallVec<[Range<usize>; 2]>) {
        (self.meta_len, self.buffers)
    }

    /// Without what alignment adds.
    fn size_bytes(&self) -> usize {
        self.meta_len + self.buffers.iter().map(Range::len).sum::<usize>()
    }
}

/// How far the aligned address `to` must be moved to lie in its page just where `from` does, rounded down to the
/// alignment. A processor that copies to an address a little further on in the page than where it reads from takes the
/// reads for dependent on the writes: that costs two thirds of the speed.
fn bytes_to_same_place_in_page(to: usize, from: usize) -> usize {
    let wanted = from % PAGE_BYTES / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
    (PAGE_BYTES + wanted - to % PAGE_BYTES) % PAGE_BYTES
}

/// An object in the store. As long as it lives, the object can be read; it may be spilled meanwhile.
pub struct StoredObject {
    store: Arc<ObjectStore>,
    key: Key,
    id: ObjectId,
    layout: Layout,
    refs: Arc<[AnyRef]>,
}

impl StoredObject {
    pub(super) fn new(store: Arc<ObjectStore>, key: Key, id: ObjectId, layout: Layout, refs: Arc<[AnyRef]>) -> Self {
        Self { store, key, id, layout, refs }
    }

    /// The object's id.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// The encoded value's size, without what alignment adds.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.layout.size_bytes()
    }

    /// The encoded value, without a copy if it is in memory. The views keep it there while any of them lives. A spilled
    /// object is read back first, which takes room as a put does.
    ///
    /// # Errors
    ///
    /// Of a spilled object: [`StoreError::Spill`] if its file is damaged or gone, [`StoreError::Full`] and
    /// [`StoreError::Memory`] if there is no room. The object stays spilled, and another attempt may succeed.
    pub fn parts(&self) -> Result<Parts, StoreError> {
        let extent = self.store.pin(self.key)?;
        let whole = Bytes::from_owner(View { store: Arc::clone(&self.store), key: self.key, extent: Some(extent) });
        let buffers = self.layout.buffers.iter().map(|range| whole.slice(range.clone())).collect();
        Ok(Parts { meta: whole.slice(..self.layout.meta_len), buffers, refs: Arc::clone(&self.refs) })
    }
}

impl Drop for StoredObject {
    fn drop(&mut self) {
        self.store.release(self.key);
    }
}

impl fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredObject").field("id", &self.id).field("size_bytes", &self.size_bytes()).finish()
    }
}

/// One reader's hold on an object's memory.
pub(super) struct View {
    pub(super) store: Arc<ObjectStore>,
    pub(super) key: Key,
    pub(super) extent: Option<Arc<Extent>>,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        let segment = self.store.segment.get().expect("invariant: what is viewed lies in the segment");
        let extent = self.extent.as_ref().expect("invariant: a view has its extent until it is dropped");
        segment.bytes(extent)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        drop(self.extent.take());
        self.store.unpin(self.key);
    }
}
