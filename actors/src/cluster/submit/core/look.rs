//! What others may know of the tasks and leases: for the shell, and for people.
//!
//! Owns: nothing. Changes nothing.

use actinic_gcs::{Millis, NodeId, TaskId};

use super::{Queued, SubmitCore, DEPTH_MAX, LINGER_MS};
use crate::cluster::wire::{ClassId, ProcessId};

impl<T: Queued + Clone> SubmitCore<T> {
    /// The worker to which a task was sent.
    #[must_use]
    pub fn worker_of(&self, task: TaskId) -> Option<ProcessId> {
        self.held
            .values()
            .find(|held| held.under_way.iter().any(|sent| sent.entry.task.id() == task))
            .map(|held| held.worker)
    }

    /// Why a task of this class has not started.
    #[must_use]
    pub fn explain(&self, class: ClassId) -> Option<String> {
        let of = self.classes.get(&class)?;
        Some(format!(
            "it waits for {}: {} tasks of its kind are queued here, {} workers are leased for them, {} are wanted",
            of.spec.demand,
            of.queue.len(),
            of.leases.len(),
            of.told
        ))
    }

    /// When something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let idle = self.held.values().filter(|held| held.under_way.is_empty());
        idle.map(|held| Millis(held.idle_since.0 + LINGER_MS)).min()
    }

    /// The workers that a node lends to this process.
    #[must_use]
    pub fn workers_on(&self, node: NodeId) -> Vec<ProcessId> {
        self.held.values().map(|held| held.worker).filter(|worker| worker.node == node).collect()
    }

    /// Whether anything is under way.
    #[must_use]
    pub fn has_under_way(&self) -> bool {
        self.held.values().any(|held| !held.under_way.is_empty())
    }

    /// Whether tasks wait.
    #[must_use]
    pub fn has_queued(&self) -> bool {
        self.classes.values().any(|class| !class.queue.is_empty())
    }

    /// Whether anything is leased.
    #[must_use]
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        for (lease, held) in &self.held {
            let class = &self.classes[&held.class];
            assert_eq!(class.leases.iter().filter(|of| *of == lease).count(), 1, "a lease is in its class, once");
            assert!(held.under_way.len() <= DEPTH_MAX, "what is under way is bounded");
            assert_eq!(held.load_us, held.under_way.iter().map(|sent| sent.share_us).sum::<u64>());
        }
        for (id, class) in &self.classes {
            let of_class = self.held.values().filter(|held| held.class == *id);
            class.pace.sanity_check(class.queue.len() + of_class.map(|held| held.under_way.len()).sum::<usize>());
            let numbers = class.queue.iter().map(|entry| entry.number);
            assert!(numbers.is_sorted(), "a queue is in the order of submission");
        }
        let listed: usize = self.classes.values().map(|class| class.leases.len()).sum();
        assert_eq!(listed, self.held.len(), "no class has a lease that is not held");
    }
}
