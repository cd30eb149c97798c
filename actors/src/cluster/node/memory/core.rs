//! Decides which worker is killed when memory runs short.
//!
//! Owns: the rule. A core: it is given what is in use and who uses it.
//!
//! Rules. A worker that serves nobody goes first, if it is one of the large ones: nothing is lost with it. Then Ray's policy:
//! tasks that may be retried before those that may not; of the owner that has the most workers here; of these the newest. One
//! thing differs: only those are considered that hold at least half as much as the largest, since the death of a small worker
//! helps nobody.
//!
//! **Invariant:** while a worker is ending no other is killed, for [`END_MS_MAX`] at most.

use std::collections::BTreeMap;

use actinic_gcs::{Millis, WorkerId};

use crate::cluster::{local::core::Served, wire::ProcessId};

/// How long the end of a worker is waited for.
pub(crate) const END_MS_MAX: u64 = 2_000;

/// Memory of a machine or cgroup, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What is in use and cannot be taken back.
    pub(crate) used: u64,
    /// What there is; 0 where that is not known.
    pub(crate) total: u64,
}

impl Memory {
    /// Which part is in use.
    pub(crate) fn part(self) -> f64 {
        if self.total == 0 {
            0.0
        } else {
            self.used as f64 / self.total as f64
        }
    }
}

/// A worker of this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Which.
    pub(crate) worker: WorkerId,
    /// What it holds.
    pub(crate) bytes: u64,
    /// Whom it serves.
    pub(crate) serves: Option<Served>,
}

/// The state.
pub(crate) struct MemoryCore {
    threshold: f64,
    ending: Option<(WorkerId, Millis)>,
}

impl MemoryCore {
    /// One that allows this part of the memory to be in use; 1 for all of it.
    pub(crate) fn new(threshold: f64) -> Self {
        Self { threshold, ending: None }
    }

    /// Whether too much is in use.
    pub(crate) fn is_short(&self, memory: Memory) -> bool {
        self.threshold < 1.0 && memory.part() > self.threshold
    }

    /// Memory is short: whom to kill, and what to say of it.
    pub(crate) fn on_short(
        &mut self,
        now: Millis,
        memory: Memory,
        candidates: Vec<Candidate>,
    ) -> Option<(WorkerId, String)> {
        if let Some((ending, since)) = self.ending {
            let there = candidates.iter().any(|candidate| candidate.worker == ending);
            if there && now.since(since) < END_MS_MAX {
                return None;
            }
        }
        let largest = candidates.iter().map(|candidate| candidate.bytes).max()?;
        let mut of_owner: BTreeMap<ProcessId, usize> = BTreeMap::new();
        for served in candidates.iter().filter_map(|candidate| candidate.serves) {
            *of_owner.entry(served.owner).or_default() += 1;
        }
        let blame = |candidate: &Candidate| match candidate.serves {
            None => (2, 0, candidate.bytes),
            Some(served) => (u8::from(served.retriable), of_owner[&served.owner], served.lease),
        };
        let large = candidates.iter().filter(|candidate| candidate.bytes >= largest / 2);
        let chosen = large.max_by_key(|candidate| blame(candidate))?;
        self.ending = Some((chosen.worker, now));
        Some((chosen.worker, self.reason(memory, chosen.bytes)))
    }

    fn reason(&self, memory: Memory, bytes: u64) -> String {
        let mib = |bytes: u64| bytes >> 20;
        format!(
            "its node was short of memory and killed the worker, which held {} MiB: of {} MiB that the node has, {} MiB were \
             in use, more than {:.1} % (ACTINIC_MEMORY_THRESHOLD); let fewer such tasks run at once (option `memory`), \
             split their work, or give the node more memory",
            mib(bytes),
            mib(memory.total),
            mib(memory.used),
            self.threshold * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use actinic_gcs::NodeId;

    use super::*;

    const SHORT: Memory = Memory { used: 98, total: 100 };

    fn process(number: u32) -> ProcessId {
        ProcessId { node: NodeId(1), worker: WorkerId(number) }
    }

    fn worker(number: u32, bytes: u64, serves: Option<(u32, bool, u64)>) -> Candidate {
        let serves = serves.map(|(owner, retriable, lease)| Served {
            worker: process(number),
            owner: process(owner),
            retriable,
            lease,
        });
        Candidate { worker: WorkerId(number), bytes, serves }
    }

    fn killed(candidates: Vec<Candidate>) -> Option<u32> {
        MemoryCore::new(0.95).on_short(Millis(0), SHORT, candidates).map(|(worker, _)| worker.0)
    }

    #[test]
    fn enough_memory_is_no_reason() {
        assert!(!MemoryCore::new(0.95).is_short(Memory { used: 95, total: 100 }));
        assert!(MemoryCore::new(0.95).is_short(Memory { used: 96, total: 100 }));
        assert!(!MemoryCore::new(1.0).is_short(Memory { used: 100, total: 100 }));
        assert!(!MemoryCore::new(0.95).is_short(Memory::default()));
    }

    #[test]
    fn what_can_be_retried_goes_before_what_cannot() {
        assert_eq!(killed(vec![worker(1, 100, Some((90, true, 1))), worker(2, 100, Some((90, false, 2)))]), Some(1));
    }

    #[test]
    fn the_owner_with_the_most_workers_loses_its_newest() {
        let of_one = worker(1, 100, Some((90, true, 9)));
        let of_other = |number, lease| worker(number, 100, Some((91, true, lease)));
        assert_eq!(killed(vec![of_one, of_other(2, 3), of_other(3, 2)]), Some(2));
    }

    #[test]
    fn a_small_worker_is_not_killed_for_a_large_one() {
        let (large, small) = (worker(1, 1_000, Some((90, true, 1))), worker(2, 10, Some((90, true, 2))));
        assert_eq!(killed(vec![large, small]), Some(1));
    }

    #[test]
    fn one_that_serves_nobody_goes_first_if_it_is_large() {
        let serves = worker(1, 100, Some((90, true, 1)));
        assert_eq!(killed(vec![serves, worker(2, 80, None)]), Some(2));
        assert_eq!(killed(vec![serves, worker(2, 8, None)]), Some(1));
    }

    #[test]
    fn the_next_is_killed_once_the_last_has_ended() {
        let mut core = MemoryCore::new(0.95);
        let both = || vec![worker(1, 100, None), worker(2, 100, Some((90, true, 1)))];
        let first = core.on_short(Millis(0), SHORT, both());
        let said = first.map(|(worker, reason)| (worker.0, reason.contains("short of memory")));
        assert_eq!(said, Some((1, true)));
        assert!(core.on_short(Millis(250), SHORT, both()).is_none());
        let left = vec![worker(2, 100, Some((90, true, 1)))];
        assert!(core.on_short(Millis(500), SHORT, left).is_some());
        assert!(core.on_short(Millis(500 + END_MS_MAX), SHORT, both()).is_some());
    }

    #[test]
    fn without_workers_nobody_is_killed() {
        assert_eq!(killed(Vec::new()), None);
    }
}
