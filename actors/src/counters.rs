//! Counts of what ran, kept by each thread for itself.
//!
//! Owns: the counters. A thread adds to its own without contention; a reader sums them up, so a sum is a moment's
//! figure and never goes back.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// One thread's counters.
#[derive(Debug, Default)]
pub struct Counters {
    cells: [AtomicU64; COUNTS],
}

const COUNTS: usize = 8;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Tasks submitted.
    TasksSubmitted = 0,
    /// Tasks that gave their results, whatever they are.
    TasksFinished = 1,
    /// Tasks that gave an error.
    TasksFailed = 2,
    /// Calls of actors' methods.
    ActorCalls = 3,
    /// Actors created.
    ActorsCreated = 4,
    /// Objects made, by returns and puts.
    Objects = 5,
    /// Bytes of objects, as encoded.
    ObjectBytes = 6,
    /// Tasks run by the caller that waited for them.
    TasksHelped = 7,
}

impl Counters {
    /// Adds `amount`. Only the owning thread calls this.
    pub fn add(&self, count: Count, amount: u64) {
        let cell = &self.cells[count as usize];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Adds to `sum` what this thread counted.
    pub fn sum_into(&self, sum: &mut RuntimeStats) {
        let of = |count: Count| self.cells[count as usize].load(Ordering::Relaxed);
        sum.tasks_submitted += of(Count::TasksSubmitted);
        sum.tasks_finished += of(Count::TasksFinished);
        sum.tasks_failed += of(Count::TasksFailed);
        sum.actor_calls += of(Count::ActorCalls);
        sum.actors_created += of(Count::ActorsCreated);
        sum.objects += of(Count::Objects);
        sum.object_bytes += of(Count::ObjectBytes);
        sum.tasks_helped += of(Count::TasksHelped);
    }
}

/// What has run on a node since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeStats {
    /// Tasks submitted.
    pub tasks_submitted: u64,
    /// Tasks that gave their results, whatever they are.
    pub tasks_finished: u64,
    /// Tasks that gave an error.
    pub tasks_failed: u64,
    /// Calls of actors' methods.
    pub actor_calls: u64,
    /// Actors created.
    pub actors_created: u64,
    /// Objects made, by returns and puts.
    pub objects: u64,
    /// Bytes of objects, as encoded.
    pub object_bytes: u64,
    /// Tasks run by the caller that waited for them.
    pub tasks_helped: u64,
}
