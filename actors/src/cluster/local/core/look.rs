//! What others may know of this node's demands and leases: its load, and words for people.
//!
//! Owns: nothing. Changes nothing.

use std::collections::BTreeSet;

use actinic_gcs::JobId;

use super::{bundles::group_of, Granted, Key, LocalCore, NodeLoad, Served, Wanted};

/// Jobs of which a node says why it is unfit for them; of others it says that it is.
const UNFIT_TOLD_MAX: usize = 32;

impl LocalCore {
    /// How loaded the node is.
    #[must_use]
    pub fn load(&self, workers: u32, revision: u64) -> NodeLoad {
        let free = self.placement.node(self.node).map(|node| node.free().clone()).unwrap_or_default();
        // A demand for a group is counted where its bundles are.
        let counted = |(key, wanted): &(&Key, &Wanted)| key.placed || group_of(wanted).is_none();
        let (mut waiting, mut tasks, mut known, mut known_us) = (0, 0_u64, 0_u64, 0_u64);
        for (_, wanted) in self.wanted.active().filter(counted) {
            waiting += wanted.unmet();
            tasks = tasks.saturating_add(wanted.work.share(wanted.unmet(), wanted.want).tasks);
        }
        for (_, wanted) in self.wanted.timed().filter(counted) {
            let work = &wanted.work;
            known = known.saturating_add(work.tasks.max(1));
            known_us = known_us.saturating_add(work.tasks.max(1).saturating_mul(work.task_us));
        }
        let task_us = known_us / known.max(1);
        let told = |(n, (job, why)): (usize, (&JobId, &String))| {
            (*job, if n < UNFIT_TOLD_MAX { why.clone() } else { String::new() })
        };
        let unfit = self.unfit.iter().enumerate().map(told).collect();
        NodeLoad { free, waiting, tasks, task_us, bandwidth: self.bandwidth, workers, unfit, revision }
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
        let unmet = self.wanted.active().filter(|(_, wanted)| wanted.unmet() > 0);
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

    /// Who holds which lease, at which worker, for people.
    #[must_use]
    pub fn held(&self) -> Vec<String> {
        let all = self.leases.iter();
        all.map(|(number, granted)| match granted.worker {
            Some(worker) => format!("{}: lease {number} at {worker}", granted.key.owner),
            None => format!("{}: lease {number}, which waits for a worker", granted.key.owner),
        })
        .collect()
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        self.placement.sanity_check();
        self.wanted.sanity_check();
        self.check_leases();
        for (key, wanted) in self.wanted.iter() {
            let held = self.leases.values().filter(|granted| granted.key == *key).count();
            assert_eq!(held, wanted.held as usize, "the leases of a demand are counted");
        }
        for granted in self.leases.values() {
            assert!(!granted.lends || granted.cpus.is_none(), "what is lent is not held");
        }
    }
    /// Asserts that what is known of leases apart from them is so.
    fn check_leases(&self) {
        let numbers = |which: fn(&Granted) -> bool| -> Vec<u64> {
            self.leases.iter().filter(|(_, granted)| which(granted)).map(|(number, _)| *number).collect()
        };
        let owed = numbers(|granted| granted.cpus.is_none() && !granted.lends && !granted.cpu_demand.is_empty());
        assert!(owed.iter().eq(&self.owed), "who is owed CPUs is known");
        let may = numbers(|lease| lease.worker.is_some() && !lease.recalled && !lease.key.owner.is_manager());
        assert!(may.iter().eq(&self.recallable), "who may be asked for a lease is known");
        assert_eq!(numbers(|granted| granted.recalled).len(), self.recalled, "leases that are asked back are counted");
        assert_eq!(numbers(|granted| granted.lends).len(), self.lent, "leases that lend are counted");
        let processes = self.leases.iter().flat_map(|(number, granted)| {
            [Some(granted.key.owner), granted.worker].into_iter().flatten().map(|process| (process, *number))
        });
        assert_eq!(processes.collect::<BTreeSet<_>>(), self.of_process, "the leases of a process are known");
    }
}
