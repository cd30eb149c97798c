//! What is wanted of this node, and what of it a pass has to look at.
//!
//! Owns: the demands, and which of them are *at rest*: those that hold what they want and of which nobody else was told. An actor
//! keeps its lease for life, so a node may have ten thousand of those. Invariant: whatever is not at rest is active; a pass looks
//! at active demands only, whose number is that of what waits or spills over.

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::Millis;

use super::{Key, Wanted};
use crate::cluster::{
    wire::{ClassId, ProcessId},
    work::Work,
};

impl Wanted {
    /// Whether time and others' words change nothing of it.
    fn is_at_rest(&self) -> bool {
        self.unmet() == 0 && self.held > 0 && self.spilled == 0 && self.shares.is_empty()
    }

    /// Whether nothing is left of it.
    fn is_over(&self) -> bool {
        self.want == 0 && self.held == 0 && self.spilled == 0 && self.shares.is_empty()
    }
}

/// The demands.
#[derive(Default)]
pub(super) struct Demands {
    all: BTreeMap<Key, Wanted>,
    active: BTreeSet<Key>,
    /// Those of whose tasks it is known how long they take.
    timed: BTreeSet<Key>,
    /// How many there are of each owner.
    classes: BTreeMap<ProcessId, usize>,
}

impl Demands {
    pub(super) fn get(&self, key: &Key) -> Option<&Wanted> {
        self.all.get(key)
    }

    /// To change it: so it is active.
    pub(super) fn change(&mut self, key: &Key) -> Option<&mut Wanted> {
        let wanted = self.all.get_mut(key)?;
        self.active.insert(*key);
        Some(wanted)
    }

    /// To change it, made where it is not there.
    pub(super) fn change_or(&mut self, key: Key, make: impl FnOnce() -> Wanted) -> &mut Wanted {
        self.active.insert(key);
        self.all.entry(key).or_insert_with(|| {
            *self.classes.entry(key.owner).or_insert(0) += 1;
            make()
        })
    }

    /// The work behind it is this.
    pub(super) fn set_work(&mut self, key: &Key, work: Work) {
        let Some(wanted) = self.all.get_mut(key) else { return };
        match work.task_us > 0 {
            true => self.timed.insert(*key),
            false => self.timed.remove(key),
        };
        wanted.work = work;
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if self.all.remove(key).is_none() {
            return;
        }
        self.active.remove(key);
        self.timed.remove(key);
        if let Some(left) = self.classes.get_mut(&key.owner) {
            *left -= 1;
            if *left == 0 {
                self.classes.remove(&key.owner);
            }
        }
    }

    /// How many there are of an owner.
    pub(super) fn of_owner(&self, owner: ProcessId) -> usize {
        self.classes.get(&owner).copied().unwrap_or(0)
    }

    /// All owners.
    pub(super) fn owners(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.classes.keys().copied()
    }

    /// Removes all of an owner's.
    pub(super) fn remove_owner(&mut self, owner: ProcessId) {
        let from = Key { owner, class: ClassId(0), placed: false };
        let keys = self.all.range(from..).map(|(key, _)| *key).take_while(|key| key.owner == owner);
        keys.collect::<Vec<Key>>().iter().for_each(|key| self.remove(key));
    }

    /// All.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Wanted)> {
        self.all.iter()
    }

    /// Those that a pass has to look at.
    pub(super) fn active(&self) -> impl Iterator<Item = (&Key, &Wanted)> {
        self.active.iter().filter_map(|key| Some((key, self.all.get(key)?)))
    }

    /// Those of whose tasks it is known how long they take.
    pub(super) fn timed(&self) -> impl Iterator<Item = (&Key, &Wanted)> {
        self.timed.iter().filter_map(|key| Some((key, self.all.get(key)?)))
    }

    /// What was placed here and was not told again wants nothing any more, and is forgotten once it holds nothing.
    pub(super) fn forget_late(&mut self, now: Millis) {
        let is_late = |wanted: &Wanted| wanted.want > 0 && wanted.until.is_some_and(|until| now >= until);
        let late: Vec<Key> = self.active().filter(|(_, wanted)| is_late(wanted)).map(|(key, _)| *key).collect();
        for key in late {
            if let Some(wanted) = self.all.get_mut(&key) {
                wanted.want = 0;
            }
        }
    }

    /// After a pass: forgets what is over, and leaves what is at rest.
    pub(super) fn settle(&mut self) {
        let over: Vec<Key> = self.active().filter(|(_, wanted)| wanted.is_over()).map(|(key, _)| *key).collect();
        over.iter().for_each(|key| self.remove(key));
        let Self { all, active, .. } = self;
        active.retain(|key| all.get(key).is_some_and(|wanted| !wanted.is_at_rest()));
    }

    /// Asserts every invariant.
    pub(super) fn sanity_check(&self) {
        let awake = self.all.iter().filter(|(_, wanted)| !wanted.is_at_rest());
        awake.for_each(|(key, _)| assert!(self.active.contains(key), "what is not at rest is active"));
        assert!(self.active.iter().all(|key| self.all.contains_key(key)), "what is active is there");
        let timed = self.all.iter().filter(|(_, wanted)| wanted.work.task_us > 0).map(|(key, _)| *key);
        assert!(timed.eq(self.timed.iter().copied()), "work is known as it is");
        assert_eq!(self.classes.values().sum::<usize>(), self.all.len(), "the demands of an owner are counted");
    }
}
