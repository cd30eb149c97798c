//! The store in figures.

use super::core::Core;

/// What a store holds, and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StoreStats {
    /// How much it may hold in memory.
    pub capacity_bytes: usize,
    /// How much it holds in memory, alignment included.
    pub used_bytes: usize,
    /// The most it ever held in memory.
    pub peak_bytes: usize,
    /// How much is being read and must stay in memory.
    pub pinned_bytes: usize,
    /// How many objects there are, in memory or spilled.
    pub objects: usize,
    /// How many objects are on disk only.
    pub spilled_objects: usize,
    /// How large they are.
    pub spilled_bytes: u64,
    /// How much the spill folder holds, with copies of objects that were restored.
    pub spill_file_bytes: u64,
    /// How many times an object was written to disk.
    pub spills: u64,
    /// How many times an object was read back.
    pub restores: u64,
    /// How much memory was touched already, from the lowest address on.
    pub warm_bytes: usize,
    /// The share of the free memory, from 0 to 1, that is not in its longest piece.
    pub fragmentation: f64,
}

impl StoreStats {
    pub(super) fn of(core: &Core) -> Self {
        let (extents, totals) = (core.extents(), core.totals());
        let free = extents.capacity() - extents.used();
        let fragmentation = if free == 0 { 0.0 } else { 1.0 - extents.longest_free() as f64 / free as f64 };
        Self {
            capacity_bytes: extents.capacity(),
            used_bytes: extents.used(),
            peak_bytes: totals.peak_bytes,
            pinned_bytes: totals.pinned_bytes,
            objects: totals.objects,
            spilled_objects: totals.spilled_objects,
            spilled_bytes: totals.spilled_bytes,
            spill_file_bytes: totals.file_bytes,
            spills: totals.spills,
            restores: totals.restores,
            warm_bytes: core.warm_bytes(),
            fragmentation,
        }
    }
}
