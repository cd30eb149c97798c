//! No task sticks behind a long one: leases that have stalled, and tasks that come back.
//!
//! Owns: nothing of its own. Invariant: a task that is asked for stays under its lease until it is given back, done or lost,
//! so that it is queued again once, and only if nobody runs it.

use actinic_gcs::{Millis, TaskId};

use super::{Alarm, Held, Queued, Slot, SubmitCore, SubmitEffect, STALLED_MS};
use crate::cluster::wire::LeaseId;

impl<T: Queued + Clone> SubmitCore<T> {
    /// Leases that have a task since the last look are looked at from now on.
    pub(super) fn watch_fresh(&mut self, now: Millis) {
        let mut fresh = std::mem::take(&mut self.fresh);
        for (slot, granted) in fresh.drain(..) {
            let Some(held) = self.held.at(slot).filter(|held| held.granted == granted) else { continue };
            held.is_fresh = false;
            if held.under_way.is_empty() {
                continue;
            }
            let moved_at = *held.moved_at.get_or_insert(now);
            if !std::mem::replace(&mut held.is_watched, true) {
                self.alarms.set(Millis(moved_at.0 + STALLED_MS), (Alarm::Busy, slot, granted));
            }
        }
        self.fresh = fresh;
    }

    /// Asks back what waits behind the first task of a lease that has stalled.
    pub(super) fn look_whether_stalled(
        &mut self,
        now: Millis,
        slot: Slot,
        granted: u64,
        effects: &mut Vec<SubmitEffect<T>>,
    ) {
        let Some(held) = self.held.at(slot).filter(|held| held.granted == granted) else { return };
        held.is_watched = !held.under_way.is_empty();
        if !held.is_watched {
            return;
        }
        let moved_at = *held.moved_at.get_or_insert(now);
        let mut next = moved_at.0 + STALLED_MS;
        if now.0 >= next {
            next = now.0 + STALLED_MS;
            if !std::mem::replace(&mut held.stalled, true) {
                ask(held, effects);
                if let Some(of) = self.classes.get_mut(&held.class) {
                    of.rank(slot, held);
                    of.touch(held.class, &mut self.touched);
                }
            }
        }
        self.alarms.set(Millis(next), (Alarm::Busy, slot, granted));
    }

    /// A worker gives tasks back that it has not begun: they are queued again, where they were.
    pub fn on_given_back(&mut self, now: Millis, lease: LeaseId, tasks: &[TaskId], effects: &mut Vec<SubmitEffect<T>>) {
        let Some(slot) = self.held.slot_of(lease) else { return };
        let Some(held) = self.held.at(slot) else { return };
        let Some(of) = self.classes.get_mut(&held.class) else { return };
        for task in tasks {
            let at = held.under_way.iter().position(|sent| sent.entry.task.id() == *task);
            let Some(entry) = at.and_then(|at| held.remove(at)).map(|sent| sent.entry) else { continue };
            self.under_way -= 1;
            if entry.task.put_back() {
                let place = of.queue.partition_point(|queued| queued.number < entry.number);
                of.queue.insert(place, entry);
                self.queued += 1;
            } else {
                of.leave(&entry);
                effects.push(SubmitEffect::Cancelled(entry.task));
            }
        }
        let (class, empty, recalled) = (held.class, held.under_way.is_empty(), held.recalled);
        if empty {
            (held.idle_since, held.moved_at, held.stalled, held.asked) = (now, None, false, false);
        }
        of.rank(slot, held);
        of.touch(class, &mut self.touched);
        if empty {
            self.on_empty(slot, recalled, effects);
        }
        self.pump(class, effects);
        self.make_way_if_idle(slot, lease, effects);
    }
}

/// Asks back what waits behind the first task of a lease; once, until something of it ends.
pub(super) fn ask<T: Queued>(held: &mut Held<T>, effects: &mut Vec<SubmitEffect<T>>) {
    if held.asked || held.under_way.len() < 2 {
        return;
    }
    held.asked = true;
    let tasks = held.under_way.iter().skip(1).map(|sent| sent.entry.task.id()).collect();
    effects.push(SubmitEffect::TakeBack { lease: held.lease, worker: held.worker, tasks });
}
