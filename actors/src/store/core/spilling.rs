//! Making room: what is granted at once, what is spilled first, and what has to wait.

use std::sync::Arc;

use super::{
    window::{self, Content, Tile},
    Core, FileId, Key, Phase, Room, SpillOrder,
};
use crate::store::extents::rounded;

impl Core {
    /// Asks for memory for `len` bytes. Without `may_spill`, only objects that have a file already make way.
    pub(in crate::store) fn reserve(&mut self, len: usize, may_spill: bool) -> Room {
        let Some(needed) = rounded(len).filter(|needed| *needed <= self.extents.capacity()) else {
            return Room::TooLarge;
        };
        if let Some(extent) = self.extents.allocate(needed) {
            return Room::Granted(extent);
        }
        let Some(victims) = window::choose(&self.tiles(may_spill), needed) else {
            return Room::Wait { at_spill_limit: false };
        };
        let Some(orders) = self.make_way(victims) else {
            return Room::Wait { at_spill_limit: true };
        };
        if orders.is_empty() {
            let extent = self.extents.allocate(needed).expect("invariant: the window just freed is long enough");
            return Room::Granted(extent);
        }
        Room::Spill(orders)
    }

    /// What to spill to come back under the high-water mark, least recently used first, about `step` bytes at a time.
    pub(in crate::store) fn over_high_water(&mut self, step: usize) -> Vec<SpillOrder> {
        let spilling: usize = self.entries.iter().filter(|(_, e)| e.phase == Phase::Spilling).map(|(_, e)| e.len).sum();
        let excess = self.extents.used().saturating_sub(self.limits.high_water_bytes + spilling).min(step);
        if excess == 0 {
            return Vec::new();
        }
        let mut candidates: Vec<_> =
            self.entries.iter().filter(|(_, e)| e.is_evictable()).map(|(i, e)| (e.last_used, Key(i), e.len)).collect();
        candidates.sort_unstable();
        let mut freed = 0;
        let victims = candidates.into_iter().take_while(|(_, _, len)| {
            let wanted = freed < excess;
            freed += len;
            wanted
        });
        let victims = victims.map(|(_, key, _)| key).collect();
        self.make_way(victims).unwrap_or_default()
    }

    /// The object is on disk. Its memory is freed unless somebody has begun to read it.
    pub(in crate::store) fn spilled(&mut self, order: SpillOrder) {
        let SpillOrder { key, file, extent, len } = order;
        drop(extent);
        let entry = &mut self.entries[key.0];
        assert_eq!(entry.phase, Phase::Spilling, "invariant: only what was ordered is spilled");
        entry.phase = Phase::Settled;
        entry.file = Some(file);
        self.totals.spills += 1;
        if entry.pins == 0 && !entry.released {
            self.unplace(key);
            self.totals.spilled_objects += 1;
            self.totals.spilled_bytes += len as u64;
        }
        self.remove_if_done(key);
    }

    /// The object could not be written; it stays in memory.
    pub(in crate::store) fn spill_failed(&mut self, order: SpillOrder) {
        let SpillOrder { key, extent, len, .. } = order;
        drop(extent);
        self.totals.files -= 1;
        self.totals.file_bytes -= len as u64;
        self.entries[key.0].phase = Phase::Settled;
        self.remove_if_done(key);
    }

    /// Evicts the victims that have a file already, and orders the others to be spilled. `None`, and nothing is
    /// changed, if that would exceed the bound on spilled bytes.
    fn make_way(&mut self, victims: Vec<Key>) -> Option<Vec<SpillOrder>> {
        let (clean, dirty): (Vec<_>, Vec<_>) = victims.into_iter().partition(|key| self.entries[key.0].file.is_some());
        let needed: u64 = dirty.iter().map(|key| self.entries[key.0].len as u64).sum();
        if !self.fits_spill_limit(needed, &clean) {
            return None;
        }
        for key in clean {
            self.totals.spilled_objects += 1;
            self.totals.spilled_bytes += self.entries[key.0].len as u64;
            self.unplace(key);
        }
        Some(dirty.into_iter().map(|key| self.order_spill(key)).collect())
    }

    /// Whether `needed` more bytes may be spilled, if need be after dropping files of objects that are in memory and
    /// are not about to leave it.
    fn fits_spill_limit(&mut self, needed: u64, leaving: &[Key]) -> bool {
        let spare = self.limits.spill_bytes_max.saturating_sub(self.totals.file_bytes);
        if needed <= spare {
            return true;
        }
        let is_spare_copy = |key: &Key| {
            let entry = &self.entries[key.0];
            entry.file.is_some() && entry.extent.is_some() && !leaving.contains(key)
        };
        let copies: Vec<_> = self.by_offset.values().copied().filter(is_spare_copy).collect();
        let copied: u64 = copies.iter().map(|key| self.entries[key.0].len as u64).sum();
        if needed > spare + copied {
            return false;
        }
        let mut short = needed - spare;
        for key in copies {
            if short == 0 {
                break;
            }
            short = short.saturating_sub(self.entries[key.0].len as u64);
            self.drop_file(key);
        }
        true
    }

    fn order_spill(&mut self, key: Key) -> SpillOrder {
        self.files_made += 1;
        let entry = &mut self.entries[key.0];
        let extent = entry.extent.as_ref().expect("invariant: a victim is in memory");
        let order = SpillOrder { key, file: FileId(self.files_made), extent: Arc::clone(extent), len: entry.len };
        entry.phase = Phase::Spilling;
        // Counted from now on, so that the bound holds while files are being written.
        self.totals.files += 1;
        self.totals.file_bytes += entry.len as u64;
        order
    }

    /// The segment as the choice of a window sees it. Room that is granted and not yet filled is in no tile.
    fn tiles(&self, may_spill: bool) -> Vec<Tile<Key>> {
        let mut tiles: Vec<_> =
            self.extents.free_ranges().map(|(start, len)| Tile { start, len, content: Content::Free }).collect();
        tiles.extend(self.by_offset.iter().map(|(start, key)| {
            let entry = &self.entries[key.0];
            let len = entry.extent.as_ref().map_or(0, |extent| extent.len());
            let may_go = entry.is_evictable() && (may_spill || entry.file.is_some());
            let content = if may_go { Content::Spillable(*key, entry.last_used) } else { Content::Fixed };
            Tile { start: *start, len, content }
        }));
        tiles.sort_unstable_by_key(|tile| tile.start);
        tiles
    }
}
