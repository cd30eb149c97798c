//! The tasks and leases of one class.
//!
//! Owns: a queue, the leases that may be sent tasks in the order of their loads, and what they add up to. Invariant: whatever
//! changes of a lease, [`Class::rank`] is called after it.

use std::collections::VecDeque;

use actinic_gcs::{NodeId, ResourceSet};

use super::{
    held::{Held, Slot},
    pace::Pace,
    ready::Ready,
    Entry,
};
use crate::cluster::{
    wire::{ClassId, ClassSpec},
    work::InputSum,
};

/// One class.
pub(super) struct Class<T> {
    pub(super) spec: ClassSpec,
    pub(super) queue: VecDeque<Entry<T>>,
    /// How many leases it has, and how many of them are elsewhere.
    pub(super) leases: u32,
    pub(super) away: u32,
    /// Those that may be sent tasks.
    pub(super) ready: Ready,
    pub(super) pace: Pace,
    pub(super) inputs: InputSum,
    pub(super) told: u32,
    pub(super) told_elsewhere: u32,
    /// Why none of it will ever run again.
    pub(super) over: Option<&'static str>,
    /// What is known of why it gets no worker, since it had a lease last.
    pub(super) hopeless: Option<String>,
    /// Which node was short for it, and of what, since it had a lease last.
    pub(super) short_of: Option<(NodeId, ResourceSet)>,
    /// Whether something has changed since what is wanted was looked at.
    pub(super) is_touched: bool,
}

impl<T> Class<T> {
    pub(super) fn new(spec: ClassSpec) -> Self {
        Self {
            spec,
            queue: VecDeque::new(),
            leases: 0,
            away: 0,
            ready: Ready::default(),
            pace: Pace::default(),
            inputs: InputSum::default(),
            told: 0,
            told_elsewhere: 0,
            over: None,
            hopeless: None,
            short_of: None,
            is_touched: false,
        }
    }

    /// A task of it will never run, or is lost.
    pub(super) fn leave(&mut self, entry: &Entry<T>) {
        self.pace.leave(entry.measure);
        self.forget_inputs(entry);
    }

    /// A task of it is done.
    pub(super) fn end(&mut self, entry: &Entry<T>, ran_us: u64) {
        self.pace.end(entry.measure, ran_us);
        self.forget_inputs(entry);
    }

    fn forget_inputs(&mut self, entry: &Entry<T>) {
        if let Some(inputs) = &entry.inputs {
            self.inputs.remove(inputs);
        }
    }

    /// What is wanted is to be looked at.
    pub(super) fn touch(&mut self, id: ClassId, touched: &mut Vec<ClassId>) {
        if !std::mem::replace(&mut self.is_touched, true) {
            touched.push(id);
        }
    }

    /// Puts one of its leases where it belongs, after anything of it has changed.
    pub(super) fn rank(&mut self, slot: Slot, held: &mut Held<T>) {
        match held.is_usable() {
            true => self.ready.set(slot, held.rank()),
            false => self.ready.remove(slot),
        }
        let first = || held.under_way.front().map(|sent| sent.entry.measure);
        let counts = if held.stalled { first() } else { None };
        if counts != held.counted {
            held.counted.iter().for_each(|measure| self.pace.unstall(*measure));
            counts.iter().for_each(|measure| self.pace.stall(*measure));
            held.counted = counts;
        }
    }
}
