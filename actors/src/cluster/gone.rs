//! Who is gone.
//!
//! Owns: the processes of which it was told last that they are gone, so that a word that comes late, of theirs or about them,
//! is known as such. Ids of processes are never used twice. Invariant: bounded; the oldest is forgotten first.

use std::collections::{BTreeSet, VecDeque};

use super::wire::ProcessId;

/// How many are remembered: words come seconds late at most.
const REMEMBERED_MAX: usize = 4_096;

/// Processes that are gone.
#[derive(Default)]
pub(in crate::cluster) struct Gone {
    order: VecDeque<ProcessId>,
    all: BTreeSet<ProcessId>,
}

impl Gone {
    /// One more.
    pub(in crate::cluster) fn insert(&mut self, process: ProcessId) {
        if self.all.insert(process) {
            self.order.push_back(process);
        }
        if self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.all.remove(&oldest);
            }
        }
    }

    /// Whether a process is known to be gone.
    pub(in crate::cluster) fn contains(&self, process: ProcessId) -> bool {
        self.all.contains(&process)
    }
}
