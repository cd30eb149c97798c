//! What others may know of this node's demands and leases: its load, and words for people.
//!
//! Owns: nothing. Changes nothing.

use super::{bundles::group_of, LocalCore, NodeLoad, Served};

impl LocalCore {
    /// How loaded the node is.
    #[must_use]
    pub fn load(&self, workers: u32, revision: u64) -> NodeLoad {
        let free = self.placement.node(self.node).map(|node| node.free().clone()).unwrap_or_default();
        // A demand for a group is counted where its bundles are.
        let counted = || self.wanted.iter().filter(|(key, wanted)| key.placed || group_of(wanted).is_none());
        let waiting = counted().map(|(_, wanted)| wanted.unmet()).sum();
        let (mut tasks, mut known, mut known_us) = (0_u64, 0_u64, 0_u64);
        for (_, wanted) in counted() {
            let work = &wanted.work;
            tasks = tasks.saturating_add(work.share(wanted.unmet(), wanted.want).tasks);
            if work.task_us > 0 {
                known = known.saturating_add(work.tasks.max(1));
                known_us = known_us.saturating_add(work.tasks.max(1).saturating_mul(work.task_us));
            }
        }
        let task_us = known_us / known.max(1);
        NodeLoad { free, waiting, tasks, task_us, bandwidth: self.bandwidth, workers, revision }
    }

    /// The workers that serve a lease, and whom.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        let served = self.leases.iter().filter_map(|(lease, granted)| {
            let retriable = self.wanted.get(&granted.key).is_none_or(|wanted| wanted.spec.retriable);
            Some(Served { worker: granted.worker?, owner: granted.key.owner, retriable, lease: *lease })
        });
        served.collect()
    }

    /// What waits here, for people.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        let unmet = self.wanted.iter().filter(|(_, wanted)| wanted.unmet() > 0);
        unmet
            .map(|(key, wanted)| {
                let (spec, missing) = (&wanted.spec, wanted.unmet());
                let why = match self.placement.can_ever_fit(&spec.demand) {
                    Err(never) if self.peers.is_empty() => format!("; {never}; a node that has it would start it"),
                    Err(never) => format!("; not on this node: {never}"),
                    Ok(()) if !spec.admits(&self.labels) => "; not on this node: its labels do not fit".to_owned(),
                    Ok(()) => String::new(),
                };
                format!("{}: {missing} workers with {spec}{why}", key.owner)
            })
            .collect()
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        self.placement.sanity_check();
        for (key, wanted) in &self.wanted {
            let held = self.leases.values().filter(|granted| granted.key == *key).count();
            assert_eq!(held, wanted.held as usize, "the leases of a demand are counted");
        }
        for granted in self.leases.values() {
            assert!(!granted.lends || granted.cpus.is_none(), "what is lent is not held");
        }
    }
}
