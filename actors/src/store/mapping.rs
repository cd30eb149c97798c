//! The segment of this process's node, or of another node of the machine, as this process sees it.
//!
//! Owns: [`Mapping`], by which a driver or a worker writes to room that its node has granted, and reads in place what its
//! node has pinned or borrowed. Does not own the asking ([`crate::cluster::objects`]), nor the memory itself (`shm`).
//!
//! **Invariants:** nothing is written but what was granted; a view keeps whatever it is given (the pin) as long as any part
//! of it lives; what does not lie within the segment is an error, not a panic: it came from another process.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    object::Layout,
    shm::{Grant, Mapped},
    StoreError,
};
use crate::data::codec::Encoded;

/// Where the parts of an encoded value lie, from the beginning of its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Bytes of the meta part, which comes first.
    pub meta_bytes: u64,
    /// Beginning and end of each buffer.
    pub buffers: Vec<(u64, u64)>,
}

impl Placement {
    /// Bytes that an encoded value takes at most.
    #[must_use]
    pub fn room_bytes(encoded: &Encoded) -> usize {
        Layout::room_bytes(encoded)
    }

    /// Whether all parts lie within so many bytes.
    #[must_use]
    pub fn fits(&self, bytes: u64) -> bool {
        self.meta_bytes <= bytes && self.buffers.iter().all(|(start, end)| start <= end && *end <= bytes)
    }

    /// The parts of a value whose bytes are `whole`; none where they do not fit.
    #[must_use]
    pub fn cut(&self, whole: &Bytes) -> Option<(Bytes, Vec<Bytes>)> {
        if !self.fits(whole.len() as u64) {
            return None;
        }
        let part = |start: u64, end: u64| whole.slice(start as usize..end as usize);
        Some((part(0, self.meta_bytes), self.buffers.iter().map(|(start, end)| part(*start, *end)).collect()))
    }
}

/// A node's segment in another process of its machine.
pub struct Mapping {
    mapped: Arc<Mapped>,
    name: String,
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapping").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Mapping {
    /// Maps the segment of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Segment`].
    pub fn open(name: &str) -> Result<Self, StoreError> {
        let mapped = Mapped::open(name).map_err(StoreError::Segment)?;
        Ok(Self { mapped: Arc::new(mapped), name: name.to_owned() })
    }

    /// Maps the segment of another node, to be read. `guest` is dropped when it is mapped no more: after the last view.
    ///
    /// # Errors
    ///
    /// [`StoreError::Segment`].
    pub fn open_as_guest(name: &str, guest: impl Send + Sync + 'static) -> Result<Self, StoreError> {
        let mapped = Mapped::open_to_read(name, Some(Box::new(guest))).map_err(StoreError::Segment)?;
        Ok(Self { mapped: Arc::new(mapped), name: name.to_owned() })
    }

    /// The segment's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn range(&self, offset: usize, len: usize) -> Option<Range<usize>> {
        let end = offset.checked_add(len)?;
        (end <= self.mapped.len()).then_some(offset..end)
    }

    /// Writes a value to room that the node has granted. To be called once for each grant, which ends when it is sealed.
    /// `None` where it is not within the segment, or too small.
    #[must_use]
    pub fn write(&self, offset: usize, len: usize, encoded: &Encoded) -> Option<Placement> {
        self.range(offset, len)?;
        if len < Layout::room_bytes(encoded) || !self.mapped.is_own() {
            return None;
        }
        let mut grant = Grant::new(offset, len);
        let (meta, buffers) = Layout::write(encoded, self.mapped.bytes_mut(&mut grant)).into_parts();
        let buffers = buffers.into_iter().map(|range| (range.start as u64, range.end as u64)).collect();
        Some(Placement { meta_bytes: meta as u64, buffers })
    }

    /// Bytes that the node has pinned; `pin` is dropped with the last view of them. `None` where they are not within the
    /// segment.
    #[must_use]
    pub fn view(&self, offset: usize, len: usize, pin: impl Send + Sync + 'static) -> Option<Bytes> {
        let range = self.range(offset, len)?;
        Some(Bytes::from_owner(MappedView { mapped: self.mapped.clone(), range, _pin: pin }))
    }
}

struct MappedView<P> {
    mapped: Arc<Mapped>,
    range: Range<usize>,
    _pin: P,
}

impl<P> AsRef<[u8]> for MappedView<P> {
    fn as_ref(&self) -> &[u8] {
        self.mapped.bytes(&self.range)
    }
}
