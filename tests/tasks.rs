//! Remote functions: arguments, results, errors, retries, streams, waiting and cancelling.
#![allow(clippy::unwrap_used)]

use actinic::{prelude::*, TaskErrorKind};

#[path = "support/kit.rs"]
mod kit;
use kit::Gate;

#[path = "tasks/arguments.rs"]
mod arguments;
#[path = "tasks/cancelling.rs"]
mod cancelling;
#[path = "tasks/failures.rs"]
mod failures;
#[path = "tasks/graph.rs"]
mod graph;
#[path = "tasks/nesting.rs"]
mod nesting;
#[path = "tasks/streams.rs"]
mod streams;
#[path = "tasks/waiting.rs"]
mod waiting;

pub(crate) fn runtime(cpus: u32) -> Runtime {
    Runtime::builder().num_cpus(cpus).init().unwrap()
}

#[remote]
pub(crate) fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
pub(crate) fn sum(all: Vec<i64>) -> i64 {
    all.iter().sum()
}

#[remote]
pub(crate) fn pass(gate: Gate) -> i64 {
    gate.pass();
    1
}

#[remote]
pub(crate) fn double(a: i64) -> i64 {
    a * 2
}

#[remote]
pub(crate) fn length(text: String) -> usize {
    text.len()
}

#[remote]
pub(crate) fn divide(a: i64, b: i64) -> (i64, i64) {
    (a / b, a % b)
}

#[remote]
pub(crate) fn count_to(n: i64) -> Vec<i64> {
    (0..n).collect()
}

#[remote]
pub(crate) fn numbers(n: u64, gate: Gate) -> impl Iterator<Item = u64> {
    (0..n).inspect(move |_| gate.arrive())
}

#[remote]
pub(crate) fn fall(a: i64) -> i64 {
    assert!(a < 0, "fell with {a}");
    a
}

#[remote]
pub(crate) struct Knot {
    value: i64,
}

#[remote]
impl Knot {
    fn new() -> Self {
        Self { value: 7 }
    }

    fn value(&mut self) -> i64 {
        self.value
    }

    fn ask_myself(&mut self, me: KnotHandle) -> Vec<String> {
        cycle_of(actinic::get(&me.value()))
    }

    fn ask(&mut self, other: KnotHandle, gate: Gate) -> Vec<String> {
        gate.meet(2);
        cycle_of(actinic::get(&other.value()))
    }

    fn ask_through(&mut self, other: KnotHandle, me: KnotHandle) -> Vec<String> {
        actinic::get(&other.ask_back(me)).unwrap()
    }

    fn ask_back(&mut self, asker: KnotHandle) -> Vec<String> {
        cycle_of(actinic::get(&asker.value()))
    }

    fn leaf(&mut self) -> i64 {
        actinic::get(&add.remote(self.value, 1)).unwrap()
    }

    fn pass(&mut self, gate: Gate) -> i64 {
        gate.pass();
        self.value
    }
}

pub(crate) fn cycle_of(result: Result<i64, TaskError>) -> Vec<String> {
    match result {
        Ok(value) => vec![value.to_string()],
        Err(error) => match error.kind() {
            TaskErrorKind::Deadlock { cycle } => cycle.clone(),
            other => panic!("{other}"),
        },
    }
}

#[remote]
pub(crate) async fn wait_for_gate(gate: Gate) -> i64 {
    gate.arrive();
    while gate.log().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    3
}

#[remote]
pub(crate) fn get_gate(gate: Gate) -> i64 {
    actinic::get(&wait_for_gate.remote(gate)).unwrap()
}
