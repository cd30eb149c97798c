//! Tasks: many at once, one at a time, and what a queued one costs in memory.

use actinic::prelude::*;

use super::node::{get_all, runtime};
use super::remote::{empty, hold, set_gate};
use crate::floors::{each, rate, repeat, resident_each, spawn};
use crate::row::{Ctx, Goal, Outcome, Row, Unit, WORKERS};

const TASKS: usize = 1_000_000;
const TASKS_ONE_BY_ONE: usize = 100_000;

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let many = Goal { text: "1.8 M/s, half of tokio", figure: Some(1.8e6), ratio: Some(0.5), of: None };
    let one = Goal { text: "under 2 µs", figure: Some(2e-6), ..Goal::NONE };
    vec![
        Row {
            name: "empty tasks, submit all then get all",
            unit: Unit::PerSecond,
            goal: many,
            measure: submit_all_get_all,
            references: vec![&spawn::TOKIO_BATCHES],
        },
        Row {
            name: "one task, submit then get",
            unit: Unit::Seconds,
            goal: one,
            measure: submit_get,
            references: vec![&spawn::TOKIO_FROM_OUTSIDE],
        },
        Row {
            name: "memory of a queued task, 1 M queued",
            unit: Unit::Bytes,
            goal: Goal { text: "1 M queued", ..Goal::NONE },
            measure: queued_bytes,
            references: vec![&spawn::TOKIO_TASK_BYTES],
        },
    ]
}

fn submit_all_get_all(ctx: &mut Ctx) -> Outcome<f64> {
    let tasks = ctx.size(TASKS);
    let runtime = runtime(ctx)?;
    rate(tasks, || {
        let refs: Vec<ObjectRef<()>> = (0..tasks).map(|_| empty.remote()).collect();
        get_all(runtime, &refs)?;
        Ok(())
    })
}

fn submit_get(ctx: &mut Ctx) -> Outcome<f64> {
    let tasks = ctx.size(TASKS_ONE_BY_ONE);
    let runtime = runtime(ctx)?;
    each(tasks, || repeat(tasks, || runtime.get(&empty.remote())))
}

/// The workers are held at a gate, so that every task stays queued until the memory is read.
fn queued_bytes(ctx: &mut Ctx) -> Outcome<f64> {
    let tasks = ctx.size(TASKS);
    let runtime = runtime(ctx)?;
    set_gate(false);
    let held: Vec<ObjectRef<()>> = (0..WORKERS).map(|_| hold.remote()).collect();
    let mut refs: Vec<ObjectRef<()>> = Vec::new();
    let bytes = resident_each(tasks, || {
        refs.extend((0..tasks).map(|_| empty.remote()));
        Ok(())
    });
    set_gate(true);
    get_all(runtime, &held)?;
    get_all(runtime, &refs)?;
    bytes
}
