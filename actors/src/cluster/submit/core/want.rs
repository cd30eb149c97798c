//! How many leases an owner wants, and what it tells its node.
//!
//! Owns: that figure. Invariant: what was told last holds; it is told again only where it has changed.

use std::collections::BTreeMap;

use actinic_gcs::NodeId;

use super::{Class, Held, Queued, SubmitCore, SubmitEffect, WANT_MAX};
use crate::cluster::{
    wire::{ClassId, Demand, LeaseId},
    work::Work,
};

impl<T: Queued + Clone> SubmitCore<T> {
    /// Tells the node what is wanted now. Call it once after a batch of events.
    pub fn settle(&mut self, effects: &mut Vec<SubmitEffect<T>>) {
        for (id, class) in &mut self.classes {
            let (want, elsewhere) = (wanted(class, &self.held), elsewhere(class, self.home));
            if (want, elsewhere) != (class.told, class.told_elsewhere) {
                self.revision += 1;
                effects.push(SubmitEffect::Demand(tell(*id, class, want, elsewhere, self.revision)));
            }
        }
    }

    /// Tells the node of a class at once if it knows of none yet; whether there was something to tell.
    pub fn settle_new(&mut self, id: ClassId, effects: &mut Vec<SubmitEffect<T>>) -> bool {
        let Some(class) = self.classes.get_mut(&id).filter(|class| class.told == 0 && !class.queue.is_empty()) else {
            return false;
        };
        let (want, elsewhere) = (wanted(class, &self.held), elsewhere(class, self.home));
        self.revision += 1;
        effects.push(SubmitEffect::Demand(tell(id, class, want, elsewhere, self.revision)));
        true
    }
}

/// The demand that holds from now on.
fn tell<T>(id: ClassId, class: &mut Class<T>, want: u32, elsewhere: u32, revision: u64) -> Demand {
    (class.told, class.told_elsewhere) = (want, elsewhere);
    let tasks = class.pace.open();
    let (task_us, inputs) = (class.pace.mean_us().map_or(0, |mean_us| mean_us.max(1)), class.inputs.mean(tasks));
    let work = Work { tasks: tasks as u64, task_us, inputs };
    Demand { class: id, spec: class.spec.clone(), want, elsewhere, work, revision }
}

/// Leases of a class that other nodes have granted.
fn elsewhere<T>(class: &Class<T>, home: Option<NodeId>) -> u32 {
    let away = |lease: &&LeaseId| home.is_some_and(|home| lease.node != home);
    class.leases.iter().filter(away).count() as u32
}

/// Leases wanted in all: enough to end what is queued and under way in time, and those that are held.
fn wanted<T>(class: &Class<T>, held: &BTreeMap<LeaseId, Held<T>>) -> u32 {
    let leases = class.leases.len() as u64;
    if class.queue.is_empty() {
        return leases.min(u64::from(WANT_MAX)) as u32;
    }
    // One that has stalled is of no use to others, whatever its task was expected to take.
    let lost_to_others = |held: &&Held<T>| {
        held.stalled && held.under_way.front().is_some_and(|first| !class.pace.is_long(first.entry.measure))
    };
    let stalled = class.leases.iter().filter_map(|lease| held.get(lease)).filter(lost_to_others).count() as u64;
    let needed = (class.pace.workers() + stalled).clamp(1, class.pace.open().max(1) as u64);
    leases.max(needed).min(u64::from(WANT_MAX)) as u32
}
