//! Leases of placement groups that are gone.
//!
//! Owns: their end. Owners are asked for them at once, and give back those under which nothing runs. Whatever still runs under
//! one after [`DOOMED_MS`] ends with its worker, as in Ray. An actor's lease is its keeper's, which ends the actor and gives the
//! lease back at once, so that no worker that several actors share is ended for one of them.
//!
//! Invariant: a lease of a group that is gone ends within [`DOOMED_MS`] and the time that a process takes to end.

use actinic_gcs::{Millis, PlacementGroupId};

use super::{bundles::REMOVED, LocalCore, LocalEffect};
use crate::cluster::wire::LeaseId;

/// How long what runs in a group goes on once the group is gone, if it does not end by itself.
pub(super) const DOOMED_MS: u64 = 100;

impl LocalCore {
    /// All leases of a group are to end.
    pub(super) fn doom(&mut self, group: PlacementGroupId, effects: &mut Vec<LocalEffect>) {
        let node = self.node;
        let of_group = |granted: &super::Granted| granted.group == Some(group);
        let doomed: Vec<u64> =
            self.leases.iter().filter(|(_, granted)| of_group(granted)).map(|(number, _)| *number).collect();
        for number in doomed {
            let Some(granted) = self.leases.get(&number) else { continue };
            let lease = LeaseId { node, number };
            if granted.worker.is_none() {
                // Its owner has not heard of it.
                self.end(number);
                effects.push(LocalEffect::Ended(lease));
                continue;
            }
            effects.push(LocalEffect::Recall(granted.key.owner, lease));
            if !granted.key.owner.is_manager() {
                self.groups.doomed.insert(number, None);
            }
        }
    }

    /// Ends the workers of those that were not given back in time.
    pub(super) fn end_doomed(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        let leases = &self.leases;
        self.groups.doomed.retain(|number, until| {
            let Some(worker) = leases.get(number).and_then(|granted| granted.worker) else { return false };
            let until = *until.get_or_insert(Millis(now.0 + DOOMED_MS));
            if now < until {
                return true;
            }
            effects.push(LocalEffect::Kill(worker, REMOVED.to_owned()));
            false
        });
    }

    /// When the next of them ends.
    pub(super) fn next_doomed(&self) -> Option<Millis> {
        self.groups.doomed.values().flatten().min().copied()
    }
}
