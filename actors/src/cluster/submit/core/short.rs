//! Idle leases that stand in the way of another class.
//!
//! Owns: which they are. A lease is kept for a while after its last task, since the next is often near; but a node that is full
//! says so (*short*), and then that keeps the same owner's tasks of another class waiting. Invariants: only what does nothing is
//! given back, at the node that is short, and no more than covers what is wanted, as far as it was idle when that was said.

use actinic_gcs::{NodeId, PlacementGroupId, ResourceSet};

use super::{Queued, Slot, SubmitCore, SubmitEffect};
use crate::{
    cluster::wire::{ClassId, ClassSpec},
    options::SchedulingStrategy,
};

impl<T: Queued + Clone> SubmitCore<T> {
    /// A node has nothing to lease to a class that has nothing of it.
    pub fn on_short(&mut self, class: ClassId, node: NodeId, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class).filter(|of| of.leases == 0 && !of.queue.is_empty()) else { return };
        if of.short_at.replace(node).is_none() {
            self.short.push(class);
        }
        let wanted = of.spec.demand.clone();
        let idle = self.held.iter().filter(|(_, held)| held.under_way.is_empty());
        let mut idle: Vec<_> = idle.map(|(slot, held)| (held.idle_since, held.granted, slot)).collect();
        idle.sort_unstable();
        let mut given = ResourceSet::new();
        for (_, _, slot) in idle {
            if given.covers(&wanted) {
                return;
            }
            if self.stands_in_the_way(slot) {
                let of = self.held.at(slot).and_then(|held| self.classes.get(&held.class));
                of.into_iter().for_each(|of| given.add(&of.spec.demand));
                self.give_up(slot, effects);
            }
        }
    }

    /// Whether a class waits for what a lease takes. Forgets classes for which that is over.
    pub(super) fn stands_in_the_way(&mut self, slot: Slot) -> bool {
        if self.short.is_empty() {
            return false;
        }
        let classes = &mut self.classes;
        self.short.retain(|id| {
            let Some(of) = classes.get_mut(id) else { return false };
            let waits = of.leases == 0 && !of.queue.is_empty();
            if !waits {
                of.short_at = None;
            }
            waits
        });
        let Some(held) = self.held.at(slot) else { return false };
        let Some(idle) = self.classes.get(&held.class) else { return false };
        let waiting = self.short.iter().filter(|id| **id != held.class).filter_map(|id| self.classes.get(id));
        let node = Some(held.lease.node);
        waiting.into_iter().any(|of| of.short_at == node && takes_of(&idle.spec, &of.spec))
    }
}

/// Whether a lease of one class takes what another wants, from the same place.
fn takes_of(idle: &ClassSpec, wanted: &ClassSpec) -> bool {
    let shared = idle.demand.iter().any(|(name, _)| !wanted.demand.of(name).is_zero());
    shared && group(idle) == group(wanted)
}

fn group(spec: &ClassSpec) -> Option<PlacementGroupId> {
    match spec.strategy {
        SchedulingStrategy::PlacementGroup { group, .. } => Some(group),
        _ => None,
    }
}
