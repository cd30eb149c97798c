//! What others may know of the tasks and leases: for the shell, and for people.
//!
//! Owns: nothing. Changes nothing.

use actinic_gcs::{NodeId, TaskId};

use super::{held::Held, Queued, SubmitCore, DEPTH_MAX};
use crate::cluster::wire::{ClassId, LeaseId, ProcessId};

impl<T: Queued + Clone> SubmitCore<T> {
    /// The worker to which a task was sent.
    #[must_use]
    pub fn worker_of(&self, task: TaskId) -> Option<ProcessId> {
        let has_it = |held: &Held<T>| held.under_way.iter().any(|sent| sent.entry.task.id() == task);
        self.held.iter().find(|(_, held)| has_it(held)).map(|(_, held)| held.worker)
    }

    /// Why a task of this class has not started.
    #[must_use]
    pub fn explain(&self, class: ClassId) -> Option<String> {
        let of = self.classes.get(&class)?;
        let hopeless = of.hopeless.as_ref().map_or_else(String::new, |why| format!("; {why}"));
        Some(format!(
            "it waits for {}: {} tasks of its kind are queued here, {} workers are leased for them, {} are wanted{hopeless}",
            of.spec,
            of.queue.len(),
            of.leases,
            of.told
        ))
    }

    /// The workers that a node lends to this process.
    #[must_use]
    pub fn workers_on(&self, node: NodeId) -> Vec<ProcessId> {
        self.held.iter().map(|(_, held)| held.worker).filter(|worker| worker.node == node).collect()
    }

    /// The leases on a process.
    #[must_use]
    pub fn leases_on(&self, worker: ProcessId) -> Vec<LeaseId> {
        let mut leases: Vec<LeaseId> =
            self.held.iter().filter(|(_, held)| held.worker == worker).map(|(_, held)| held.lease).collect();
        leases.sort_unstable();
        leases
    }

    /// Whether anything is under way.
    #[must_use]
    pub fn has_under_way(&self) -> bool {
        self.under_way > 0
    }

    /// Whether tasks wait.
    #[must_use]
    pub fn has_queued(&self) -> bool {
        self.queued > 0
    }

    /// Whether anything is leased.
    #[must_use]
    pub fn holds_any(&self) -> bool {
        self.held.len() > 0
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        for (slot, held) in self.held.iter() {
            let class = &self.classes[&held.class];
            assert!(held.under_way.len() <= DEPTH_MAX, "what is under way is bounded");
            assert_eq!(held.load_us, held.under_way.iter().map(|sent| sent.share_us).sum::<u64>());
            let rank = held.is_usable().then(|| held.rank());
            assert_eq!(class.ready.rank(slot), rank, "who may be sent tasks is known as it is");
            let counted = held.under_way.front().filter(|_| held.stalled).map(|sent| sent.entry.measure);
            assert_eq!(held.counted, counted, "who has stalled is counted by its first task");
            assert!(held.is_lingering || !held.under_way.is_empty(), "who is idle is looked at");
            assert!(held.is_watched || held.is_fresh || held.under_way.is_empty(), "who is busy is looked at");
        }
        for (id, class) in &self.classes {
            let of_class = || self.held.iter().map(|(_, held)| held).filter(|held| held.class == *id);
            let open = class.queue.len() + of_class().map(|held| held.under_way.len()).sum::<usize>();
            class.pace.sanity_check(open, of_class().filter(|held| held.counted.is_some()).count());
            class.ready.sanity_check();
            assert_eq!(class.ready.len(), of_class().filter(|held| held.is_usable()).count());
            assert_eq!(class.leases as usize, of_class().count(), "the leases of a class are counted");
            let away = |held: &&Held<T>| self.home.is_some_and(|home| held.lease.node != home);
            assert_eq!(class.away as usize, of_class().filter(away).count(), "those elsewhere are counted");
            assert_eq!(class.is_touched, self.touched.contains(id), "what has changed is looked at");
            let numbers = class.queue.iter().map(|entry| entry.number);
            assert!(numbers.is_sorted(), "a queue is in the order of submission");
        }
        let queued: usize = self.classes.values().map(|class| class.queue.len()).sum();
        let under_way: usize = self.held.iter().map(|(_, held)| held.under_way.len()).sum();
        assert_eq!((queued, under_way), (self.queued, self.under_way), "what is open is counted");
    }
}
