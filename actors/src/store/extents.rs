//! Which bytes of the segment are whose.
//!
//! Owns: [`Extents`], the allocator of offsets, and [`Extent`], the proof of owning a range of bytes. Knows nothing of
//! objects, and touches no memory.
//!
//! Holes are reused best fit, the lowest first among equals; the *top*, all that was never allocated or was given back
//! at the end, is cut into only if no hole fits. So the addresses in use stay low, where memory is already warm, and
//! the top is never split by small objects. Every operation is O(log n).
//!
//! **Invariants:** extents never overlap; holes never touch each other or the top; an [`Extent`] can be neither cloned
//! nor made elsewhere, so whoever holds one owns its bytes (the memory safety of `shm` rests on this).

use std::collections::{BTreeMap, BTreeSet};

/// Extents begin at, and are sized in, multiples of this: what SIMD code and Arrow ask of a buffer.
pub(super) const ALIGNMENT_BYTES: usize = 64;

/// The right to a range of the segment's bytes: to write them while it is held uniquely, to read them while shared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    offset: usize,
    len: usize,
}

impl Extent {
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn end(&self) -> usize {
        self.offset + self.len
    }
}

/// The allocator of one segment's offsets.
#[derive(Debug)]
pub(super) struct Extents {
    capacity: usize,
    /// Free bytes from here to the capacity, in no hole.
    top: usize,
    /// Length by offset.
    holes: BTreeMap<usize, usize>,
    /// The same holes as (length, offset).
    holes_by_len: BTreeSet<(usize, usize)>,
    used: usize,
}

impl Extents {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
        Self { capacity, top: 0, holes: BTreeMap::new(), holes_by_len: BTreeSet::new(), used: 0 }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Nothing at or above this offset is in use.
    pub(super) fn top(&self) -> usize {
        self.top
    }

    /// The longest extent that could be given out now.
    pub(super) fn longest_free(&self) -> usize {
        let hole = self.holes_by_len.last().map_or(0, |(len, _)| *len);
        hole.max(self.capacity - self.top)
    }

    /// All that is free, as (offset, length): the holes in order, then the top.
    pub(super) fn free_ranges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let top = (self.top < self.capacity).then_some((self.top, self.capacity - self.top));
        self.holes.iter().map(|(offset, len)| (*offset, *len)).chain(top)
    }

    /// At least `len` bytes, or `None` if there are not as many in one piece.
    pub(super) fn allocate(&mut self, len: usize) -> Option<Extent> {
        let len = rounded(len)?;
        let offset = match self.holes_by_len.range((len, 0)..).next().copied() {
            Some((hole_len, offset)) => {
                self.remove_hole(offset, hole_len);
                if hole_len > len {
                    self.insert_hole(offset + len, hole_len - len);
                }
                offset
            }
            None if self.capacity - self.top >= len => {
                self.top += len;
                self.top - len
            }
            None => return None,
        };
        self.used += len;
        Some(Extent { offset, len })
    }

    /// Takes an extent back and joins it with the free bytes around it.
    pub(super) fn free(&mut self, extent: Extent) {
        let Extent { mut offset, mut len } = extent;
        assert!(offset + len <= self.top && len <= self.used, "invariant: an extent is freed where it was allocated");
        self.used -= len;
        if let Some((&before, &before_len)) = self.holes.range(..offset).next_back() {
            assert!(before + before_len <= offset, "invariant: an extent in use overlaps no hole");
            if before + before_len == offset {
                self.remove_hole(before, before_len);
                offset = before;
                len += before_len;
            }
        }
        if let Some(after_len) = self.holes.get(&(offset + len)).copied() {
            self.remove_hole(offset + len, after_len);
            len += after_len;
        }
        if offset + len == self.top {
            self.top = offset;
        } else {
            self.insert_hole(offset, len);
        }
    }

    fn insert_hole(&mut self, offset: usize, len: usize) {
        self.holes.insert(offset, len);
        self.holes_by_len.insert((len, offset));
    }

    fn remove_hole(&mut self, offset: usize, len: usize) {
        self.holes.remove(&offset);
        self.holes_by_len.remove(&(len, offset));
    }

    /// Panics unless the extents in use, given by offset and length in order, and the holes tile the segment.
    #[cfg(test)]
    pub(super) fn sanity_check(&self, in_use: impl Iterator<Item = (usize, usize)>) {
        let by_len: BTreeSet<_> = self.holes.iter().map(|(offset, len)| (*len, *offset)).collect();
        assert_eq!(by_len, self.holes_by_len);
        let mut tiles: Vec<_> = self.holes.iter().map(|(offset, len)| (*offset, *len, false)).collect();
        tiles.extend(in_use.map(|(offset, len)| (offset, len, true)));
        tiles.sort_unstable();
        let (mut end, mut used, mut after_hole) = (0, 0, false);
        for (offset, len, is_used) in tiles {
            assert_eq!(offset, end, "a gap or an overlap");
            assert!(len > 0 && len % ALIGNMENT_BYTES == 0);
            assert!(is_used || !after_hole, "two holes touch");
            end += len;
            used += if is_used { len } else { 0 };
            after_hole = !is_used;
        }
        assert_eq!((end, used), (self.top, self.used));
        assert!(!after_hole, "a hole touches the top");
        assert!(self.top <= self.capacity);
    }
}

/// `len` rounded up to the alignment, and at least one unit, so that every extent has bytes of its own.
pub(super) fn rounded(len: usize) -> Option<usize> {
    len.max(1).checked_next_multiple_of(ALIGNMENT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_reused_before_the_top_is_cut() {
        let mut extents = Extents::new(1 << 20);
        let first = extents.allocate(1000).unwrap();
        let second = extents.allocate(1000).unwrap();
        extents.free(first);
        assert_eq!(extents.allocate(500).unwrap().offset(), 0);
        assert_eq!(extents.allocate(512).unwrap().offset(), 512);
        assert_eq!(second.offset(), 1024);
    }

    #[test]
    fn freed_neighbours_join_into_one_hole() {
        let mut extents = Extents::new(1 << 20);
        let mut taken: Vec<_> = (0..4).map(|_| extents.allocate(64).unwrap()).collect();
        let last = taken.pop().unwrap();
        taken.swap(0, 2);
        for extent in taken {
            extents.free(extent);
        }
        assert_eq!(extents.allocate(192).unwrap().offset(), 0);
        extents.free(last);
        assert_eq!(extents.top(), 192);
    }

    #[test]
    fn more_than_there_is_in_one_piece_is_not_given() {
        let mut extents = Extents::new(128);
        assert_eq!(extents.allocate(129), None);
        assert_eq!(extents.allocate(usize::MAX), None);
        assert!(extents.allocate(128).is_some());
        assert_eq!(extents.allocate(0), None);
    }
}
