//! No task sticks behind a long one: leases that have stalled, and tasks that come back.
//!
//! Owns: nothing of its own. Invariant: a task that is asked for stays under its lease until it is given back, done or lost,
//! so that it is queued again once, and only if nobody runs it.

use actinic_gcs::{Millis, TaskId};

use super::{Held, Queued, SubmitCore, SubmitEffect, STALLED_MS};
use crate::cluster::wire::LeaseId;

impl<T: Queued + Clone> SubmitCore<T> {
    /// Asks back what waits behind the first task of leases that have stalled.
    pub(super) fn look_for_stalled(&mut self, now: Millis, effects: &mut Vec<SubmitEffect<T>>) {
        for (lease, held) in self.held.iter_mut().filter(|(_, held)| !held.under_way.is_empty()) {
            let moved_at = *held.moved_at.get_or_insert(now);
            if now.0 >= moved_at.0 + STALLED_MS {
                held.stalled = true;
                ask(*lease, held, effects);
            }
        }
    }

    /// A worker gives tasks back that it has not begun: they are queued again, where they were.
    pub fn on_given_back(&mut self, now: Millis, lease: LeaseId, tasks: &[TaskId], effects: &mut Vec<SubmitEffect<T>>) {
        let Some(held) = self.held.get_mut(&lease) else { return };
        let Some(of) = self.classes.get_mut(&held.class) else { return };
        for task in tasks {
            let at = held.under_way.iter().position(|sent| sent.entry.task.id() == *task);
            let Some(entry) = at.and_then(|at| held.remove(at)).map(|sent| sent.entry) else { continue };
            if entry.task.put_back() {
                let place = of.queue.partition_point(|queued| queued.number < entry.number);
                of.queue.insert(place, entry);
            } else {
                of.leave(&entry);
                effects.push(SubmitEffect::Cancelled(entry.task));
            }
        }
        let (class, empty, recalled) = (held.class, held.under_way.is_empty(), held.recalled);
        if empty {
            (held.idle_since, held.moved_at, held.stalled, held.asked) = (now, None, false, false);
        }
        if empty && recalled {
            self.give_back(lease, effects);
        }
        self.pump(class, effects);
    }
}

/// Asks back what waits behind the first task of a lease; once, until something of it ends.
pub(super) fn ask<T: Queued>(lease: LeaseId, held: &mut Held<T>, effects: &mut Vec<SubmitEffect<T>>) {
    if held.asked || held.under_way.len() < 2 {
        return;
    }
    held.asked = true;
    let tasks = held.under_way.iter().skip(1).map(|sent| sent.entry.task.id()).collect();
    effects.push(SubmitEffect::TakeBack { lease, worker: held.worker, tasks });
}
