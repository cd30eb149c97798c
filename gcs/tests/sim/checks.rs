//! What must hold at every moment, whoever crashed.
//!
//! Owns: who led in which term, which entry was applied at which place, which change bore which number. Invariant: the
//! first contradiction is kept and ends the simulation.

use std::collections::{btree_map::Entry as Slot, BTreeMap};

use actinic_gcs::{
    replica::{DiskJob, ReplicaId},
    Millis,
};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// What was found to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) check: &'static str,
    pub(crate) detail: String,
}

/// What happened how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) operations: u64,
    pub(crate) answered: u64,
    pub(crate) elections: u64,
    pub(crate) crashes: u64,
    pub(crate) compactions: u64,
    pub(crate) installs: u64,
    pub(crate) chunks: u64,
    /// Chunks that were not the first.
    pub(crate) later_chunks: u64,
    pub(crate) members_changed: u64,
    pub(crate) notified: u64,
    pub(crate) resyncs: u64,
    pub(crate) disk_failures: u64,
    pub(crate) undecided: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.operations += other.operations;
        self.answered += other.answered;
        self.elections += other.elections;
        self.crashes += other.crashes;
        self.compactions += other.compactions;
        self.installs += other.installs;
        self.chunks += other.chunks;
        self.later_chunks += other.later_chunks;
        self.members_changed += other.members_changed;
        self.notified += other.notified;
        self.resyncs += other.resyncs;
        self.disk_failures += other.disk_failures;
        self.undecided += other.undecided;
    }
}

/// The checks.
#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) failure: Option<Failure>,
    pub(crate) counts: Counts,
    leaders: BTreeMap<u64, ReplicaId>,
    applied: BTreeMap<u64, (u64, Option<u64>)>,
    changes: BTreeMap<u64, Bytes>,
    clock_max: Millis,
}

impl Checks {
    pub(crate) fn fail(&mut self, check: &'static str, detail: String) {
        self.failure.get_or_insert(Failure { check, detail });
    }

    /// A replica does in `term` what only a leader does.
    pub(crate) fn on_leader(&mut self, term: u64, id: ReplicaId) {
        match self.leaders.entry(term) {
            Slot::Vacant(slot) => {
                slot.insert(id);
                self.counts.elections += 1;
            }
            Slot::Occupied(slot) if *slot.get() != id => {
                let detail = format!("{} and {id} both lead in term {term}", slot.get());
                self.fail("one leader a term", detail);
            }
            Slot::Occupied(_) => {}
        }
    }

    pub(crate) fn on_clock(&mut self, now: Millis) {
        self.clock_max = self.clock_max.max(now);
    }

    /// A replica's disk is about to do this.
    pub(crate) fn on_job(&mut self, id: ReplicaId, job: &DiskJob) {
        match job {
            DiskJob::Apply { entries, position, .. } => {
                for entry in entries {
                    self.on_applied(id, entry.index, entry.term, Some(xxh3_64(&entry.data)));
                    let time = entry.data.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                    if time > self.clock_max.0 {
                        self.fail("no time from nowhere", format!("entry {} is of {time} ms", entry.index));
                    }
                }
                self.on_applied(id, position.index, position.term, None);
            }
            DiskJob::Install { position, .. } => {
                self.counts.installs += 1;
                self.on_applied(id, position.index, position.term, None);
            }
            DiskJob::Compact { .. } => self.counts.compactions += 1,
            DiskJob::Stage { number, .. } => {
                self.counts.chunks += 1;
                self.counts.later_chunks += u64::from(*number > 0);
            }
            _ => {}
        }
    }

    fn on_applied(&mut self, id: ReplicaId, index: u64, term: u64, data: Option<u64>) {
        let known = self.applied.entry(index).or_insert((term, data));
        let before = *known;
        known.1 = known.1.or(data);
        if before.0 != term || before.1.zip(data).is_some_and(|(before, now)| before != now) {
            let detail = format!("{id} applies at {index} {:?}, where another applied {before:?}", (term, data));
            self.fail("logs match", detail);
        }
    }

    /// A subscriber was told of a change.
    pub(crate) fn on_change(&mut self, sequence: u64, key: &Bytes) {
        self.counts.notified += 1;
        let known = self.changes.entry(sequence).or_insert_with(|| key.clone());
        if known != key {
            let detail = format!("change {sequence} is of {key:?}, and was of {known:?}");
            self.fail("a change bears one number", detail);
        }
    }
}
