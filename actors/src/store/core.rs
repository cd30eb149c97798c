//! The decisions of the object store: where an object goes, what is spilled for it, when a put must wait.
//!
//! Owns: the entries and their states, pins, the order of use, the limits, and the record of warm memory. Does no I/O:
//! what is to be spilled, restored or deleted is returned, and the outcome reported back. Has no clock but a count of
//! uses.
//!
//! An entry is *in memory* (an extent, perhaps a clean file too), *spilling* (still readable), *spilled* (a file only)
//! or *restoring*. It goes when it is released and its last pin is gone, in whichever order.
//!
//! **Invariants:** a pinned object is in memory and stays where it is; an entry always has an extent or a file; the
//! files' bytes never exceed the limit; an extent that is freed has no reader.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use slab::Slab;

use super::{
    extents::{Extent, Extents},
    warm::Warm,
};

mod spilling;
#[cfg(test)]
mod tests;
mod window;

/// An object's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(usize);

/// One spilled copy of an object. Never used twice, so a late deletion cannot hit a newer copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(pub(super) u64);

/// What the core holds itself to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) capacity_bytes: usize,
    pub(super) high_water_bytes: usize,
    pub(super) spill_bytes_max: u64,
    pub(super) pretouch_bytes: usize,
}

/// The answer to a wish for memory.
#[derive(Debug)]
pub(super) enum Room {
    Granted(Extent),
    /// Spill these, report each, and ask again.
    Spill(Vec<SpillOrder>),
    /// All that could make room is in use, or may not be spilled. Ask again when something has changed.
    Wait {
        /// Room could be made but for the bound on spilled bytes.
        at_spill_limit: bool,
    },
    /// More than the store can ever hold.
    TooLarge,
}

/// Write these bytes to that file, then report `spilled` or `spill_failed`.
#[derive(Debug)]
pub(super) struct SpillOrder {
    pub(super) key: Key,
    pub(super) file: FileId,
    pub(super) extent: Arc<Extent>,
    pub(super) len: usize,
}

/// The answer to a wish to read.
#[derive(Debug)]
pub(super) enum Pinned {
    /// In memory, and stays there until `unpin`.
    InMemory(Arc<Extent>),
    /// Reserve room, read the file, and report `restored` or `restore_failed`.
    Restore { file: FileId, len: usize },
    /// Somebody else is restoring it. Ask again when something has changed.
    Restoring,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Settled,
    Spilling,
    Restoring,
}

#[derive(Debug)]
struct Entry {
    len: usize,
    last_used: u64,
    pins: u32,
    extent: Option<Arc<Extent>>,
    file: Option<FileId>,
    phase: Phase,
    released: bool,
}

impl Entry {
    fn is_evictable(&self) -> bool {
        self.phase == Phase::Settled && self.pins == 0 && self.extent.is_some()
    }
}

/// Totals, kept as things happen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) objects: usize,
    pub(super) peak_bytes: usize,
    pub(super) pinned_bytes: usize,
    pub(super) files: usize,
    pub(super) file_bytes: u64,
    pub(super) spilled_objects: usize,
    pub(super) spilled_bytes: u64,
    pub(super) spills: u64,
    pub(super) restores: u64,
}

/// The state of an object store.
#[derive(Debug)]
pub(super) struct Core {
    limits: Limits,
    extents: Extents,
    entries: Slab<Entry>,
    by_offset: BTreeMap<usize, Key>,
    warm: Warm,
    uses: u64,
    files_made: u64,
    deletions: Vec<FileId>,
    totals: Totals,
}

impl Core {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            extents: Extents::new(limits.capacity_bytes),
            entries: Slab::new(),
            by_offset: BTreeMap::new(),
            warm: Warm::default(),
            uses: 0,
            files_made: 0,
            deletions: Vec::new(),
            totals: Totals::default(),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn extents(&self) -> &Extents {
        &self.extents
    }

    pub(super) fn warm_bytes(&self) -> usize {
        self.warm.end()
    }

    /// Files that are no longer needed, to be deleted.
    pub(super) fn take_deletions(&mut self) -> Vec<FileId> {
        std::mem::take(&mut self.deletions)
    }

    /// Adds an object whose bytes have been written to `extent`.
    pub(super) fn insert(&mut self, extent: Extent, len: usize) -> Key {
        assert!(extent.len() >= len, "invariant: an object fits its extent");
        let last_used = self.next_use();
        let entry = Entry { len, last_used, pins: 0, extent: None, file: None, phase: Phase::Settled, released: false };
        let key = Key(self.entries.insert(entry));
        self.totals.objects += 1;
        self.place(key, extent);
        key
    }

    /// Takes back room that was granted and not used.
    pub(super) fn give_back(&mut self, extent: Extent) {
        self.extents.free(extent);
    }

    /// Somebody wants to read an object.
    pub(super) fn pin(&mut self, key: Key) -> Pinned {
        let last_used = self.next_use();
        let entry = &mut self.entries[key.0];
        assert!(!entry.released, "invariant: a released object is not read anew");
        entry.last_used = last_used;
        if let Some(extent) = &entry.extent {
            if entry.pins == 0 {
                self.totals.pinned_bytes += extent.len();
            }
            entry.pins += 1;
            return Pinned::InMemory(Arc::clone(extent));
        }
        if entry.phase == Phase::Restoring {
            return Pinned::Restoring;
        }
        entry.phase = Phase::Restoring;
        let file = entry.file.expect("invariant: an object that is not in memory has a file");
        Pinned::Restore { file, len: entry.len }
    }

    /// Whether it can be read at once.
    pub(super) fn is_in_memory(&self, key: Key) -> bool {
        self.entries[key.0].extent.is_some()
    }

    /// A reader is done. It must have dropped its share of the extent.
    pub(super) fn unpin(&mut self, key: Key) {
        let entry = &mut self.entries[key.0];
        entry.pins = entry.pins.checked_sub(1).expect("invariant: unpinned as often as pinned");
        if entry.pins == 0 {
            let extent = entry.extent.as_ref().expect("invariant: a pinned object is in memory");
            self.totals.pinned_bytes -= extent.len();
            self.remove_if_done(key);
        }
    }

    /// The object was read back into `extent`. It is pinned for the one who did.
    pub(super) fn restored(&mut self, key: Key, extent: Extent) -> Arc<Extent> {
        let entry = &mut self.entries[key.0];
        assert_eq!(entry.phase, Phase::Restoring, "invariant: only what was asked for is restored");
        entry.phase = Phase::Settled;
        self.totals.restores += 1;
        self.totals.spilled_objects -= 1;
        self.totals.spilled_bytes -= self.entries[key.0].len as u64;
        self.place(key, extent);
        match self.pin(key) {
            Pinned::InMemory(extent) => extent,
            Pinned::Restore { .. } | Pinned::Restoring => unreachable!("the object was placed in memory above"),
        }
    }

    /// The object could not be read back; it stays spilled.
    pub(super) fn restore_failed(&mut self, key: Key) {
        self.entries[key.0].phase = Phase::Settled;
    }

    /// The object's last handle is gone. It is freed once its last reader is gone too.
    pub(super) fn release(&mut self, key: Key) {
        let entry = &mut self.entries[key.0];
        assert!(!entry.released, "invariant: an object is released once");
        assert_ne!(entry.phase, Phase::Restoring, "invariant: who restores an object holds it");
        entry.released = true;
        self.totals.objects -= 1;
        self.remove_if_done(key);
    }

    /// The part of `range` to touch before it is written to.
    pub(super) fn cold_part(&self, range: Range<usize>) -> Range<usize> {
        self.warm.cold_part(range)
    }

    /// `range` was touched.
    pub(super) fn touched(&mut self, range: Range<usize>) {
        self.warm.add(range);
    }

    /// What to touch next so that a margin above all that is in use stays warm; `None` when it is.
    pub(super) fn next_pretouch(&self, step: usize) -> Option<Range<usize>> {
        let target = self.extents.top().saturating_add(self.limits.pretouch_bytes).min(self.extents.capacity());
        self.warm.next_step(target, step)
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn place(&mut self, key: Key, extent: Extent) {
        self.by_offset.insert(extent.offset(), key);
        self.entries[key.0].extent = Some(Arc::new(extent));
        self.totals.peak_bytes = self.totals.peak_bytes.max(self.extents.used());
    }

    /// Frees an object's memory. Nobody reads it.
    fn unplace(&mut self, key: Key) {
        let entry = &mut self.entries[key.0];
        assert_eq!(entry.pins, 0, "invariant: a pinned object stays in memory");
        let shared = entry.extent.take().expect("invariant: only what is in memory is freed");
        let extent = Arc::into_inner(shared).expect("invariant: an extent without pins has one holder");
        self.by_offset.remove(&extent.offset());
        self.extents.free(extent);
    }

    fn drop_file(&mut self, key: Key) {
        let entry = &mut self.entries[key.0];
        if let Some(file) = entry.file.take() {
            self.totals.files -= 1;
            self.totals.file_bytes -= entry.len as u64;
            self.deletions.push(file);
        }
    }

    fn remove_if_done(&mut self, key: Key) {
        let entry = &self.entries[key.0];
        if !entry.released || entry.pins > 0 || entry.phase != Phase::Settled {
            return;
        }
        if entry.extent.is_some() {
            self.unplace(key);
        } else {
            self.totals.spilled_objects -= 1;
            self.totals.spilled_bytes -= entry.len as u64;
        }
        self.drop_file(key);
        self.entries.remove(key.0);
    }
}
