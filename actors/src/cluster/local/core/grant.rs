//! Which demand is granted the next lease, what a lease takes and gives back, and from whom one is asked back.
//!
//! Owns: those choices. Invariants: a lease takes its CPUs apart from the rest, from one place, so that it can lend them; who
//! comes back for its CPUs comes before all others.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use actinic_gcs::{resources::CPU, Millis, PlacementGroupId, Quantity, ResourceSet};

use super::{bundles::group_of, Granted, Key, LocalCore, LocalEffect, Wanted, RECALL_AFTER_MS, SHORT_AGAIN_MS};
use crate::cluster::wire::{LeaseFor, LeaseId, ProcessId};

/// A placement group, and which bundle of it.
type Group = (PlacementGroupId, Option<u32>);

/// Kinds of demands that are known, in one pass, to find no room; others try in vain.
const KINDS_MAX: usize = 16;

/// Leases of an owner that are looked at for what they take.
const HELD_LOOKS_MAX: usize = 256;

impl LocalCore {
    /// Leases that go on after they had lent their CPUs come before all others.
    pub(super) fn take_cpus_back(&mut self) {
        let Self { leases, owed, placement, node, .. } = self;
        owed.retain(|number| {
            let Some(granted) = leases.get_mut(number) else { return false };
            granted.cpus = match granted.bundle {
                None => placement.allocate_on(*node, &granted.cpu_demand).ok(),
                Some(bundle) => placement.allocate_in_group(bundle, Some(0), &granted.cpu_demand).ok(),
            };
            granted.cpus.is_none()
        });
    }

    /// Grants what is free: first to the unmet demand that holds the fewest leases, the oldest of them.
    pub(super) fn grant_in_turn(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        let unmet =
            self.wanted.active().filter(|(key, wanted)| wanted.unmet() > 0 && self.is_for_here(now, key, wanted));
        let mut turns: BinaryHeap<Reverse<(u32, u64, Key)>> =
            unmet.map(|(key, wanted)| Reverse((wanted.held, wanted.ticket, *key))).collect();
        // What has found no room finds none for the next of its kind.
        let mut too_large: Vec<(Option<Group>, ResourceSet)> = Vec::new();
        while let Some(Reverse((_, ticket, key))) = turns.pop() {
            let Some(wanted) = self.wanted.get(&key) else { continue };
            let group = group_of(wanted);
            if too_large.iter().any(|(of, demand)| *of == group && *demand == wanted.spec.demand) {
                continue;
            }
            if !self.grant(key, effects) {
                let Some(wanted) = self.wanted.get(&key).filter(|_| too_large.len() < KINDS_MAX) else { continue };
                too_large.push((group, wanted.spec.demand.clone()));
                continue;
            }
            let left = self.wanted.get(&key).filter(|wanted| wanted.unmet() > 0);
            left.into_iter().for_each(|wanted| turns.push(Reverse((wanted.held, ticket, key))));
        }
    }

    pub(super) fn grant(&mut self, key: Key, effects: &mut Vec<LocalEffect>) -> bool {
        let Some(wanted) = self.wanted.get(&key) else { return false };
        let (demand, group) = (wanted.spec.demand.clone(), group_of(wanted));
        // The whole is tried first, then taken in two parts: a lease that blocks lends its CPUs only.
        let of_group = group.map(|(group, _)| group);
        let whole = match group {
            None => self.placement.allocate_on(self.node, &demand).ok().map(|lease| (None, lease)),
            Some(group) => self.allocate_in_bundle(group, &demand).map(|(bundle, lease)| (Some(bundle), lease)),
        };
        let Some((bundle, whole)) = whole else { return false };
        self.placement.release(whole, &mut Vec::new());
        let (mut cpu_demand, mut rest) = (ResourceSet::new(), demand.clone());
        cpu_demand.set(CPU, demand.of(CPU));
        rest.set(CPU, Quantity::default());
        let mut take = |part: &ResourceSet| match bundle {
            None => self.placement.allocate_on(self.node, part).ok(),
            Some(bundle) => self.placement.allocate_in_group(bundle, Some(0), part).ok(),
        };
        let Some(rest) = take(&rest) else { return false };
        let cpus = if cpu_demand.is_empty() { None } else { take(&cpu_demand) };
        let Some(wanted) = self.wanted.change(&key) else { return false };
        wanted.held += 1;
        let code = Box::new(wanted.code.clone());
        let purpose = match (key.owner.is_manager(), demand.is_empty()) {
            (false, _) => LeaseFor::Tasks,
            (true, false) => LeaseFor::Actor,
            (true, true) => LeaseFor::LightActor,
        };
        let number = self.number();
        if cpus.is_none() && !cpu_demand.is_empty() {
            self.owed.insert(number);
        }
        self.of_process.insert((key.owner, number));
        let (lends, worker, recalled) = (false, None, false);
        let granted = Granted { key, rest, cpus, cpu_demand, lends, group: of_group, bundle, worker, recalled };
        self.leases.insert(number, granted);
        effects.push(LocalEffect::NeedWorker { lease: LeaseId { node: self.node, number }, purpose, code });
        true
    }

    /// Ends a lease; whether there was one.
    pub(super) fn end(&mut self, number: u64) -> bool {
        let Some(granted) = self.leases.remove(&number) else { return false };
        for lease in granted.cpus.into_iter().chain([granted.rest]) {
            self.placement.release(lease, &mut Vec::new());
        }
        self.of_process.remove(&(granted.key.owner, number));
        if let Some(worker) = granted.worker {
            self.of_process.remove(&(worker, number));
        }
        self.owed.remove(&number);
        self.recallable.remove(&number);
        self.recalled -= usize::from(granted.recalled);
        self.lent -= usize::from(granted.lends);
        let last_in_line = self.number();
        if let Some(wanted) = self.wanted.change(&granted.key) {
            wanted.held -= 1;
            if granted.recalled {
                // It was asked back for somebody else, who is to have it, and to keep it for as long as this one waits now.
                (wanted.recalled, wanted.ticket, wanted.unmet_since) = (false, last_in_line, None);
            }
        }
        true
    }

    /// Tells owners of demands that hold nothing and cannot have anything now, if other leases of theirs take what lacks: some
    /// of those may do nothing.
    pub(super) fn tell_who_is_short(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        let waits = |wanted: &Wanted| wanted.held == 0 && wanted.unmet() > 0 && group_of(wanted).is_none();
        let is_due = |wanted: &Wanted| wanted.short_told_at.is_none_or(|told| now.0 >= told.0 + SHORT_AGAIN_MS);
        let (mut over, mut short) = (Vec::new(), Vec::new());
        let mut held: BTreeMap<ProcessId, BTreeSet<&str>> = BTreeMap::new();
        for (key, wanted) in self.wanted.active().filter(|(key, _)| !key.owner.is_manager()) {
            if !waits(wanted) {
                over.extend(wanted.short_told_at.map(|_| *key));
            } else if is_due(wanted) && self.is_for_here(now, key, wanted) {
                let lacking = self.lacking(&wanted.spec.demand);
                if lacking.is_empty() {
                    continue;
                }
                let own = held.entry(key.owner).or_insert_with(|| self.held_by(key.owner));
                if lacking.iter().any(|(name, _)| own.contains(name)) {
                    short.push((*key, lacking));
                }
            }
        }
        for key in over {
            self.wanted.change(&key).into_iter().for_each(|wanted| wanted.short_told_at = None);
        }
        for (key, lacking) in short {
            self.wanted.change(&key).into_iter().for_each(|wanted| wanted.short_told_at = Some(now));
            effects.push(LocalEffect::Short(key.owner, key.class, lacking));
        }
    }

    /// What of a demand is not free.
    fn lacking(&self, demand: &ResourceSet) -> ResourceSet {
        let mut lacking = ResourceSet::new();
        let Some(free) = self.placement.node(self.node).map(|node| node.free()) else { return lacking };
        for (name, asked) in demand.iter() {
            lacking.set(name, Quantity(asked.0.saturating_sub(free.of(name).0)));
        }
        lacking
    }

    /// Which resources an owner's leases here take; looked up once a pass, of no more leases than [`HELD_LOOKS_MAX`].
    fn held_by(&self, owner: ProcessId) -> BTreeSet<&str> {
        let numbers = self.of_process.range((owner, 0)..=(owner, u64::MAX)).map(|(_, number)| number);
        // Also those that it serves are listed.
        let own = numbers.filter_map(|number| self.leases.get(number)).filter(|granted| granted.key.owner == owner);
        let demands = own.take(HELD_LOOKS_MAX).filter_map(|granted| Some(&self.wanted.get(&granted.key)?.spec.demand));
        demands.flat_map(|demand| demand.iter().map(|(name, _)| name)).collect()
    }

    /// For each demand that holds nothing for long, one lease of the one that holds the most is asked back.
    pub(super) fn recall(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        if self.recallable.is_empty() {
            return;
        }
        let starving: Vec<Key> = self
            .wanted
            .active()
            .filter(|(_, wanted)| wanted.held == 0 && wanted.unmet() > 0 && group_of(wanted).is_none())
            .filter(|(_, wanted)| wanted.unmet_since.is_some_and(|since| now.0 >= since.0 + RECALL_AFTER_MS))
            .filter(|(key, wanted)| self.is_for_here(now, key, wanted))
            .filter(|(_, wanted)| self.placement.can_ever_fit(&wanted.spec.demand).is_ok())
            .map(|(key, _)| *key)
            .collect();
        for key in starving.into_iter().skip(self.recalled) {
            let may = self.recallable.iter().filter_map(|number| Some((*number, self.leases.get(number)?)));
            let held = |of: &Key| self.wanted.get(of).map_or(0, |wanted| wanted.held);
            let richest = may
                .filter(|(_, granted)| granted.key != key)
                .max_by_key(|(number, granted)| (held(&granted.key), u64::MAX - *number))
                .map(|(number, _)| number);
            let Some(number) = richest else { return };
            let Some(granted) = self.leases.get_mut(&number) else { return };
            granted.recalled = true;
            self.recalled += 1;
            self.recallable.remove(&number);
            effects.push(LocalEffect::Recall(granted.key.owner, LeaseId { node: self.node, number }));
        }
    }
}
