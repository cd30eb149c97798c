//! What becomes of tasks whose placement group this process has removed.
//!
//! Owns: nothing. Invariant: from the removal on no task is sent into the group, not even by a lease that is still held.

use actinic_gcs::PlacementGroupId;

use super::{LeaseId, Queued, SubmitCore, SubmitEffect};
use crate::{cluster::wire::ClassId, options::SchedulingStrategy};

const REMOVED: &str = "its placement group was removed";

impl<T: Queued + Clone> SubmitCore<T> {
    /// A group was removed here: what waits for it never runs, and leases in it go back once they are empty. Call
    /// [`SubmitCore::settle`] afterwards.
    pub fn on_group_removed(&mut self, removed: PlacementGroupId, effects: &mut Vec<SubmitEffect<T>>) {
        let is_for = |strategy: &SchedulingStrategy| matches!(strategy, SchedulingStrategy::PlacementGroup { group, .. } if *group == removed);
        let mut classes: Vec<ClassId> = Vec::new();
        for (id, class) in self.classes.iter_mut().filter(|(_, class)| is_for(&class.spec.strategy)) {
            class.over = Some(REMOVED);
            classes.push(*id);
        }
        let of_group = |class: &ClassId| classes.contains(class);
        let leases: Vec<LeaseId> =
            self.held.iter().filter(|(_, held)| of_group(&held.class)).map(|(_, held)| held.lease).collect();
        classes.iter().for_each(|class| self.on_infeasible(*class, REMOVED, effects));
        leases.into_iter().for_each(|lease| self.on_recalled(lease, effects));
    }
}
