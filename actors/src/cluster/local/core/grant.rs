//! Which demand is granted the next lease, what a lease takes and gives back, and from whom one is asked back.
//!
//! Owns: those choices. Invariants: a lease takes its CPUs apart from the rest, from one place, so that it can lend them; who
//! comes back for its CPUs comes before all others.

use std::collections::BTreeSet;

use actinic_gcs::{resources::CPU, Millis, Quantity, ResourceSet};

use super::{bundles::group_of, Granted, Key, LocalCore, LocalEffect, RECALL_AFTER_MS};
use crate::cluster::wire::{LeaseFor, LeaseId};

impl LocalCore {
    /// Leases that go on after they had lent their CPUs come before all others.
    pub(super) fn take_cpus_back(&mut self) {
        let owed = |granted: &&mut Granted| granted.cpus.is_none() && !granted.lends && !granted.cpu_demand.is_empty();
        for granted in self.leases.values_mut().filter(owed) {
            granted.cpus = match granted.bundle {
                None => self.placement.allocate_on(self.node, &granted.cpu_demand).ok(),
                Some(bundle) => self.placement.allocate_in_group(bundle, Some(0), &granted.cpu_demand).ok(),
            };
        }
    }

    /// The unmet demand that holds the fewest leases, the oldest of them.
    pub(super) fn neediest(&self, now: Millis, stuck: &BTreeSet<Key>) -> Option<Key> {
        self.wanted
            .iter()
            .filter(|(key, wanted)| wanted.unmet() > 0 && !stuck.contains(key) && self.is_for_here(now, key, wanted))
            .min_by_key(|(_, wanted)| (wanted.held, wanted.ticket))
            .map(|(key, _)| *key)
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
        let Some(wanted) = self.wanted.get_mut(&key) else { return false };
        wanted.held += 1;
        let code = Box::new(wanted.code.clone());
        let purpose = match (key.owner.is_manager(), demand.is_empty()) {
            (false, _) => LeaseFor::Tasks,
            (true, false) => LeaseFor::Actor,
            (true, true) => LeaseFor::LightActor,
        };
        let number = self.number();
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
        if let Some(wanted) = self.wanted.get_mut(&granted.key) {
            wanted.held -= 1;
            if granted.recalled {
                wanted.recalled = false;
            }
        }
        true
    }

    /// For each demand that holds nothing for long, one lease of the one that holds the most is asked back.
    pub(super) fn recall(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        let starving: Vec<Key> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.held == 0 && wanted.unmet() > 0 && group_of(wanted).is_none())
            .filter(|(_, wanted)| wanted.unmet_since.is_some_and(|since| now.0 >= since.0 + RECALL_AFTER_MS))
            .filter(|(key, wanted)| self.is_for_here(now, key, wanted))
            .filter(|(_, wanted)| self.placement.can_ever_fit(&wanted.spec.demand).is_ok())
            .map(|(key, _)| *key)
            .collect();
        let under_way = self.leases.values().filter(|granted| granted.recalled).count();
        for key in starving.into_iter().skip(under_way) {
            let richest = self
                .leases
                .iter()
                // An actor keeps its lease for life.
                .filter(|(_, granted)| !granted.key.owner.is_manager())
                .filter(|(_, granted)| granted.key != key && !granted.recalled && granted.worker.is_some())
                .max_by_key(|(number, granted)| {
                    (self.wanted.get(&granted.key).map_or(0, |wanted| wanted.held), u64::MAX - **number)
                })
                .map(|(number, _)| *number);
            let Some(number) = richest else { return };
            let Some(granted) = self.leases.get_mut(&number) else { return };
            granted.recalled = true;
            effects.push(LocalEffect::Recall(granted.key.owner, LeaseId { node: self.node, number }));
        }
    }
}
