//! Supervision: crashes, restarts and their limits, checkpoints, groups, links, and who is told of a death.
#![allow(clippy::unwrap_used)]

use actinic::{prelude::*, supervision::Backoff, TaskErrorKind};
use serde::{Deserialize, Serialize};

#[path = "support/kit.rs"]
mod kit;
use kit::{failure, Gate, PATIENCE};

#[path = "supervision/groups.rs"]
mod groups;
#[path = "supervision/restarts.rs"]
mod restarts;
#[path = "supervision/ties.rs"]
mod ties;

pub(crate) fn runtime() -> Runtime {
    Runtime::builder().num_cpus(2).seed(7).init().unwrap()
}

/// An actor that notes each of its lives, and counts.
#[remote]
#[derive(Serialize, Deserialize)]
pub(crate) struct Worker {
    gate: Gate,
    name: String,
    count: i64,
}

#[remote]
impl Worker {
    fn new(gate: Gate, name: String) -> Self {
        gate.note(format!("{name} starts"));
        gate.arrive();
        Self { gate, name, count: 0 }
    }

    fn count(&mut self) -> i64 {
        self.count += 1;
        self.count
    }

    async fn count_async(&mut self) -> i64 {
        tokio::task::yield_now().await;
        self.count += 1;
        self.count
    }

    fn fall(&mut self) -> i64 {
        self.count = 1_000;
        panic!("{} falls", self.name)
    }

    /// Panics until it has been called so often, in all lives.
    fn flaky(&mut self, tries: Gate, good_at: usize) -> i64 {
        tries.arrive();
        self.count += 100;
        assert!(tries.arrived() >= good_at, "not yet");
        self.count
    }

    async fn flaky_async(&mut self, tries: Gate, good_at: usize) -> i64 {
        tries.arrive();
        self.count += 100;
        tokio::task::yield_now().await;
        assert!(tries.arrived() >= good_at, "not yet");
        self.count
    }

    fn pass(&mut self, gate: Gate) -> i64 {
        gate.pass();
        self.count
    }

    fn pass_and_fall(&mut self, gate: Gate) -> i64 {
        gate.pass();
        panic!("{} falls late", self.name)
    }

    async fn wait_for_ever(&self, gate: Gate) -> i64 {
        gate.arrive();
        std::future::pending().await
    }
}

pub(crate) fn panicked<T>(result: Result<T, TaskError>) -> String {
    let error = failure(result);
    match error.kind() {
        TaskErrorKind::Panicked { message, .. } => message.clone(),
        _ => panic!("{error}"),
    }
}

pub(crate) fn died<T>(result: Result<T, TaskError>) -> String {
    let error = failure(result);
    match error.kind() {
        TaskErrorKind::ActorDied { reason, .. } => reason.clone(),
        _ => panic!("{error}"),
    }
}

pub(crate) fn slow(first: Duration) -> Backoff {
    Backoff { first, factor: 2.0, max: Duration::from_secs(5), jitter: 0.0 }
}

pub(crate) fn counts(rt: &Runtime, workers: &[WorkerHandle]) -> Vec<i64> {
    workers.iter().map(|worker| rt.get_timeout(&worker.count(), PATIENCE).unwrap()).collect()
}
