//! How many leases an owner wants, and what it tells its node.
//!
//! Owns: that figure. Invariant: what was told last holds; it is told again only where it has changed.

use super::{Class, Queued, SubmitCore, SubmitEffect, WANT_MAX};
use crate::cluster::{
    wire::{ClassId, Demand},
    work::Work,
};

impl<T: Queued + Clone> SubmitCore<T> {
    /// Tells the node what is wanted now, of the classes of which something has changed. Call it once after a batch of events.
    pub fn settle(&mut self, effects: &mut Vec<SubmitEffect<T>>) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        for id in touched.drain(..) {
            let Some(class) = self.classes.get_mut(&id) else { continue };
            class.is_touched = false;
            let want = wanted(class);
            if (want, class.away) != (class.told, class.told_elsewhere) {
                self.revision += 1;
                effects.push(SubmitEffect::Demand(Box::new(tell(id, class, want, self.revision))));
            }
        }
        self.touched = touched;
    }

    /// Tells the node at once that fewer leases of a class are wanted, if that is so.
    pub(super) fn tell_if_less(&mut self, id: ClassId, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        let want = wanted(class);
        if want < class.told {
            self.revision += 1;
            effects.push(SubmitEffect::Demand(Box::new(tell(id, class, want, self.revision))));
        }
    }

    /// Tells the node at once what is wanted of a class, whatever it was told.
    pub(super) fn tell_now(&mut self, id: ClassId, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        let want = wanted(class);
        self.revision += 1;
        effects.push(SubmitEffect::Demand(Box::new(tell(id, class, want, self.revision))));
    }

    /// Tells the node of a class at once if it knows of none yet; whether there was something to tell.
    pub fn settle_new(&mut self, id: ClassId, effects: &mut Vec<SubmitEffect<T>>) -> bool {
        let Some(class) = self.classes.get_mut(&id).filter(|class| class.told == 0 && !class.queue.is_empty()) else {
            return false;
        };
        let want = wanted(class);
        self.revision += 1;
        effects.push(SubmitEffect::Demand(Box::new(tell(id, class, want, self.revision))));
        true
    }
}

/// The demand that holds from now on.
fn tell<T>(id: ClassId, class: &mut Class<T>, want: u32, revision: u64) -> Demand {
    (class.told, class.told_elsewhere) = (want, class.away);
    let tasks = class.pace.open();
    let task_us = class.pace.mean_us().map_or(0, |mean_us| mean_us.max(1));
    let work = Work { tasks, task_us, inputs: class.inputs.mean(tasks as usize) };
    Demand { class: id, spec: class.spec.clone(), want, elsewhere: class.away, work, revision }
}

/// Leases wanted in all: enough to end what is queued and under way in time, and those that are held.
fn wanted<T>(class: &Class<T>) -> u32 {
    if class.queue.is_empty() {
        // One that comes though it was not wanted any more, since that took a longer way, is given back unused: were it wanted,
        // its node would grant it again, for ever.
        return class.leases.min(class.told).min(WANT_MAX);
    }
    // One that has stalled is of no use to others, whatever its task was expected to take.
    let needed = class.pace.workers() + class.pace.stalled_short();
    let needed = needed.clamp(1, class.pace.open().max(1));
    u64::from(class.leases).max(needed).min(u64::from(WANT_MAX)) as u32
}
