//! Idle leases that stand in the way of another class.
//!
//! Owns: which they are. A lease is kept for a while after its last task, since the next is often near; but a node that lacks
//! something for another class of the same owner says so (it is *short* of it), and then that is kept from where it is needed.
//! Invariants: only what does nothing, and for which nothing waits, is given back; at the node that is short, of what it lacks,
//! and no more than that.

use actinic_gcs::{NodeId, PlacementGroupId, Quantity, ResourceSet};

use super::{Queued, Slot, SubmitCore, SubmitEffect};
use crate::{
    cluster::wire::{ClassId, ClassSpec, LeaseId},
    options::SchedulingStrategy,
};

/// Classes that a lease which has become idle is compared with.
const LOOKS_MAX: usize = 16;

impl<T: Queued + Clone> SubmitCore<T> {
    /// A node lacks this for a class that has nothing of it.
    pub fn on_short(&mut self, class: ClassId, node: NodeId, lacking: ResourceSet, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class).filter(|of| of.leases == 0 && !of.queue.is_empty()) else { return };
        let before = of.short_of.replace((node, lacking)).map(|(before, _)| before);
        if let Some(before) = before.filter(|before| *before != node) {
            self.forget_short(class, before);
        }
        let short = self.short.entry(node).or_default();
        if !short.contains(&class) {
            short.push_back(class);
        }
        let idle = self.held.iter().filter(|(_, held)| held.lease.node == node && held.under_way.is_empty());
        let mut idle: Vec<_> = idle.map(|(slot, held)| (held.idle_since, held.granted, slot)).collect();
        idle.sort_unstable();
        for (_, _, slot) in idle {
            if !self.short.contains_key(&node) {
                return;
            }
            if self.makes_way(slot) {
                self.give_up(slot, effects);
            }
        }
    }

    /// A class has a lease: what it lacked is over.
    pub(super) fn fed(&mut self, class: ClassId) {
        let was_short = self.classes.get_mut(&class).and_then(|of| of.short_of.take());
        was_short.into_iter().for_each(|(node, _)| self.forget_short(class, node));
    }

    fn forget_short(&mut self, class: ClassId, node: NodeId) {
        let Some(short) = self.short.get_mut(&node) else { return };
        short.retain(|other| *other != class);
        if short.is_empty() {
            self.short.remove(&node);
        }
    }

    /// A lease that is idle now, for which nothing waits, goes back if its node lacks what it takes.
    pub(super) fn make_way_if_idle(&mut self, slot: Slot, lease: LeaseId, effects: &mut Vec<SubmitEffect<T>>) {
        let is_idle = self.held.at(slot).is_some_and(|held| held.lease == lease && held.under_way.is_empty());
        if !self.short.is_empty() && is_idle && self.makes_way(slot) {
            self.give_up(slot, effects);
        }
    }

    /// Whether an idle lease goes back since its node lacks what it takes: it counts as given then.
    fn makes_way(&mut self, slot: Slot) -> bool {
        let Some((node, own)) = self.held.at(slot).map(|held| (held.lease.node, held.class)) else { return false };
        if !self.short.contains_key(&node) {
            return false;
        }
        let Some(idle) = self.classes.get(&own).filter(|of| of.queue.is_empty()).map(|of| of.spec.clone()) else {
            return false;
        };
        let Some(short) = self.short.get_mut(&node) else { return false };
        let classes = &self.classes;
        // Those for which that is over are forgotten.
        let waits = |id: &ClassId| {
            let of = classes.get(id).filter(|of| of.leases == 0 && !of.queue.is_empty());
            of.and_then(|of| of.short_of.as_ref()).is_some_and(|(at, lacking)| *at == node && !lacking.is_empty())
        };
        while short.front().is_some_and(|id| !waits(id)) {
            short.pop_front();
        }
        let helps = short.iter().take(LOOKS_MAX).find(|id| {
            let of = classes.get(id).filter(|_| **id != own && waits(id));
            let lacking = of.and_then(|of| Some((of, &of.short_of.as_ref()?.1)));
            lacking.is_some_and(|(of, lacking)| takes_of(&idle, lacking) && group(&idle) == group(&of.spec))
        });
        let helps = helps.copied();
        if short.is_empty() {
            self.short.remove(&node);
        }
        let Some(helped) = helps else { return false };
        let Some((_, lacking)) = self.classes.get_mut(&helped).and_then(|of| of.short_of.as_mut()) else {
            return false;
        };
        *lacking = less(lacking, &idle.demand);
        if lacking.is_empty() {
            self.fed(helped);
        }
        true
    }
}

/// Whether a lease takes any of what lacks.
fn takes_of(idle: &ClassSpec, lacking: &ResourceSet) -> bool {
    idle.demand.iter().any(|(name, _)| !lacking.of(name).is_zero())
}

fn less(lacking: &ResourceSet, given: &ResourceSet) -> ResourceSet {
    let mut left = ResourceSet::new();
    for (name, units) in lacking.iter() {
        left.set(name, Quantity(units.0.saturating_sub(given.of(name).0)));
    }
    left
}

fn group(spec: &ClassSpec) -> Option<PlacementGroupId> {
    match spec.strategy {
        SchedulingStrategy::PlacementGroup { group, .. } => Some(group),
        _ => None,
    }
}
