//! The leases that an owner holds.
//!
//! Owns: each in a slot of its own, found by its number. Invariants: nothing depends on the order of a hash map, which is asked
//! for single leases only; a slot is used again, the number of a grant never.

use std::collections::VecDeque;

use actinic_gcs::Millis;
use rustc_hash::FxHashMap;

use super::{pace::Measure, ready::Rank, Sent, DEPTH_MAX, PIPELINE_US};
use crate::cluster::wire::{ClassId, LeaseId, ProcessId};

/// Where a lease is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u32);

/// A lease.
pub(super) struct Held<T> {
    pub(super) lease: LeaseId,
    pub(super) class: ClassId,
    pub(super) worker: ProcessId,
    /// The number of its grant.
    pub(super) granted: u64,
    pub(super) under_way: VecDeque<Sent<T>>,
    /// The sum of their shares.
    pub(super) load_us: u64,
    pub(super) recalled: bool,
    pub(super) idle_since: Millis,
    /// When something ended last, or the first look since something is under way.
    pub(super) moved_at: Option<Millis>,
    pub(super) stalled: bool,
    /// As what the class counts it while it has stalled: by its first task.
    pub(super) counted: Option<Measure>,
    /// Whether tasks were asked back since something ended.
    pub(super) asked: bool,
    /// Whether it is on the list of those that were empty and have a task since.
    pub(super) is_fresh: bool,
    /// Whether an alarm is set for it while it is busy, and while it is idle.
    pub(super) is_watched: bool,
    pub(super) is_lingering: bool,
}

impl<T> Held<T> {
    pub(super) fn new(now: Millis, class: ClassId, lease: LeaseId, worker: ProcessId, granted: u64) -> Self {
        Self {
            lease,
            class,
            worker,
            granted,
            under_way: VecDeque::new(),
            load_us: 0,
            recalled: false,
            idle_since: now,
            moved_at: None,
            stalled: false,
            counted: None,
            asked: false,
            is_fresh: false,
            is_watched: false,
            is_lingering: false,
        }
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Sent<T>> {
        let sent = if at == 0 { self.under_way.pop_front() } else { self.under_way.remove(at) }?;
        self.load_us = self.load_us.saturating_sub(sent.share_us);
        Some(sent)
    }

    /// Whether it may be sent tasks at all.
    pub(super) fn is_usable(&self) -> bool {
        !self.recalled && !self.stalled && self.under_way.len() < DEPTH_MAX
    }

    /// Whether there is room for such a task; where not, nobody with more under way has any.
    pub(super) fn has_room(&self, share_us: u64) -> bool {
        self.under_way.is_empty() || self.load_us + share_us <= PIPELINE_US
    }

    pub(super) fn rank(&self) -> Rank {
        Rank { load_us: self.load_us, count: self.under_way.len(), granted: self.granted }
    }
}

/// All of them.
pub(super) struct Leases<T> {
    slots: Vec<Option<Held<T>>>,
    free: Vec<Slot>,
    by_id: FxHashMap<LeaseId, Slot>,
    granted: u64,
}

impl<T> Default for Leases<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), by_id: FxHashMap::default(), granted: 0 }
    }
}

impl<T> Leases<T> {
    /// One more; none where it is held already.
    pub(super) fn insert(&mut self, now: Millis, class: ClassId, lease: LeaseId, worker: ProcessId) -> Option<Slot> {
        if self.by_id.contains_key(&lease) {
            return None;
        }
        self.granted += 1;
        let held = Held::new(now, class, lease, worker, self.granted);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot((self.slots.len() - 1) as u32)
        });
        self.slots[slot.0 as usize] = Some(held);
        self.by_id.insert(lease, slot);
        Some(slot)
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Held<T>> {
        let held = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.free.push(slot);
        self.by_id.remove(&held.lease);
        Some(held)
    }

    pub(super) fn slot_of(&self, lease: LeaseId) -> Option<Slot> {
        self.by_id.get(&lease).copied()
    }

    pub(super) fn at(&mut self, slot: Slot) -> Option<&mut Held<T>> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }

    /// All, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Held<T>)> {
        self.slots.iter().enumerate().filter_map(|(at, held)| Some((Slot(at as u32), held.as_ref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
