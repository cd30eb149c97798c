//! Actors: order, handles, concurrency, mailboxes, names, timers, and how they end.
#![allow(clippy::unwrap_used)]

use actinic::{prelude::*, TaskErrorKind};

#[path = "support/kit.rs"]
mod kit;
use kit::{failure, Gate};

#[path = "actors/concurrency.rs"]
mod concurrency;
#[path = "actors/endings.rs"]
mod endings;
#[path = "actors/mailboxes.rs"]
mod mailboxes;
#[path = "actors/names.rs"]
mod names;
#[path = "actors/order.rs"]
mod order;

pub(crate) fn runtime(cpus: u32) -> Runtime {
    Runtime::builder().num_cpus(cpus).init().unwrap()
}

#[remote]
pub(crate) struct Log {
    entries: Vec<i64>,
}

#[remote]
impl Log {
    fn new() -> Self {
        Self { entries: Vec::new() }
    }

    fn push(&mut self, entry: i64) -> usize {
        self.entries.push(entry);
        self.entries.len()
    }

    fn entries(&self) -> Vec<i64> {
        self.entries.clone()
    }

    fn pass(&mut self, gate: Gate) -> usize {
        gate.pass();
        self.entries.len()
    }

    fn fall(&mut self, message: String) -> i64 {
        panic!("{message}")
    }

    fn sum_with(&self, other: i64) -> Result<i64, String> {
        match self.entries.len() {
            0 => Err("there are no entries".to_owned()),
            _ => Ok(self.entries.iter().sum::<i64>() + other),
        }
    }
}

#[remote]
pub(crate) fn id(value: i64) -> i64 {
    value
}

#[remote]
pub(crate) fn pass(gate: Gate) -> i64 {
    gate.pass();
    7
}

pub(crate) fn died<T>(result: Result<T, TaskError>) -> String {
    let error = failure(result);
    match error.kind() {
        TaskErrorKind::ActorDied { reason, .. } => reason.clone(),
        _ => panic!("{error}"),
    }
}

#[remote]
pub(crate) struct Room {
    visits: usize,
}

#[remote]
impl Room {
    fn new() -> Self {
        Self { visits: 0 }
    }

    async fn meet_async(&self, gate: Gate, count: usize) -> usize {
        let _inside = gate.enter();
        while gate.arrived() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        count
    }

    async fn visit_async(&mut self, gate: Gate) -> usize {
        let _inside = gate.enter();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.visits += 1;
        self.visits
    }

    async fn fall_async(&self) -> i64 {
        tokio::task::yield_now().await;
        panic!("fell between awaits")
    }

    async fn wait_for_ever(&self, gate: Gate) -> i64 {
        gate.arrive();
        std::future::pending().await
    }

    fn meet(&self, gate: Gate, count: usize) -> usize {
        let _inside = gate.enter();
        gate.wait_for(count);
        count
    }

    fn stay(&self, gate: Gate) -> usize {
        let _inside = gate.enter();
        gate.hold();
        1
    }

    #[concurrency_group("io")]
    fn stay_io(&self, gate: Gate) -> usize {
        let _inside = gate.enter();
        gate.hold();
        2
    }

    fn visit(&mut self, gate: Gate) -> usize {
        let _inside = gate.enter();
        self.visits += 1;
        self.visits
    }
}

#[remote]
pub(crate) struct Shelf;

#[remote]
impl Shelf {
    fn new() -> Self {
        Self
    }

    fn read(&self, gate: Gate) -> usize {
        let _inside = gate.enter();
        std::thread::yield_now();
        1
    }
}
