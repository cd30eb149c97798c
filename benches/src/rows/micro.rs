//! Actinic's side of `ray microbenchmark`: objects, tasks and placement groups, under Ray's names and at Ray's sizes.

use actinic::prelude::*;

use super::envelope::{get_object_of_refs, wait_thousand};
use super::node::{get_all, runtime, PATIENCE};
use super::remote::{do_put, do_put_small, small_value, Actor, Small};
use crate::floors::memory::LARGE_BYTES;
use crate::floors::{rate, repeat};
use crate::row::{Ctx, Goal, Measure, Outcome, Row, Unit};

/// Calls of one run, in Ray's batches of a thousand.
const BATCH: usize = 1_000;
const BATCHES: usize = 100;
const CALLS: usize = 100_000;
const PUTTERS: usize = 10;
const SUBMITTERS: usize = 4;
const TASKS_A_SUBMITTER: usize = 10_000;
const PLACEMENT_GROUPS: usize = 100;

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    vec![
        row("single client get calls", get_small),
        row("single client put calls", put_small),
        row("multi client put calls", put_multi_small),
        bytes("single client put gigabytes", put_large),
        row("single client tasks and get batch", small_value_batch),
        bytes("multi client put gigabytes", put_multi),
        row("single client get object containing 10k refs", get_object_of_refs),
        row("single client wait 1k refs", wait_thousand),
        row("single client tasks sync", small_task),
        row("single client tasks async", small_task_async),
        row("multi client tasks async", multi_task),
        row("placement group create/removal", placement_groups),
    ]
}

/// A row of the microbenchmark in operations a second; its goal is judged beside Ray, by the script that runs both.
pub(super) fn row(name: &'static str, measure: Measure) -> Row {
    let goal = Goal { text: "100 × Ray", ..Goal::NONE };
    Row { name, unit: Unit::PerSecond, goal, measure, references: Vec::new() }
}

fn bytes(name: &'static str, measure: Measure) -> Row {
    Row { unit: Unit::BytesPerSecond, ..row(name, measure) }
}

fn get_small(ctx: &mut Ctx) -> Outcome<f64> {
    let calls = ctx.size(CALLS);
    let runtime = runtime(ctx)?;
    let value = runtime.put(0_u64)?;
    rate(calls, || repeat(calls, || runtime.get(&value)))
}

fn put_small(ctx: &mut Ctx) -> Outcome<f64> {
    let calls = ctx.size(CALLS);
    let runtime = runtime(ctx)?;
    rate(calls, || repeat(calls, || runtime.put(0_u64)))
}

fn put_multi_small(ctx: &mut Ctx) -> Outcome<f64> {
    let puts = ctx.size(BATCH * BATCHES) / PUTTERS;
    let runtime = runtime(ctx)?;
    rate(puts * PUTTERS, || {
        let refs: Vec<ObjectRef<()>> = (0..PUTTERS).map(|_| do_put_small.remote(puts)).collect();
        get_all(runtime, &refs).map(drop)
    })
}

/// Ray's array; kept, for making it is not what is measured.
struct Array(Tensor<i64>);

fn put_large(ctx: &mut Ctx) -> Outcome<f64> {
    let numbers = ctx.size(LARGE_BYTES / 8);
    let Array(array) = ctx.kept(|_| Ok(Array(Tensor::zeros([numbers]))))?;
    let array = array.clone();
    let runtime = runtime(ctx)?;
    rate(numbers * 8, || repeat(1, || runtime.put(array.clone())))
}

fn put_multi(ctx: &mut Ctx) -> Outcome<f64> {
    let numbers = ctx.size(LARGE_BYTES / 8) / 10;
    let runtime = runtime(ctx)?;
    rate(PUTTERS * 10 * numbers * 8, || {
        let refs: Vec<ObjectRef<()>> = (0..PUTTERS).map(|_| do_put.remote(10, numbers)).collect();
        get_all(runtime, &refs).map(drop)
    })
}

/// A thousand tasks, then their results; counted in batches.
fn small_value_batch(ctx: &mut Ctx) -> Outcome<f64> {
    Ok(small_task_async(ctx)? / ctx.size(BATCH) as f64)
}

fn small_task(ctx: &mut Ctx) -> Outcome<f64> {
    let calls = ctx.size(CALLS);
    let runtime = runtime(ctx)?;
    rate(calls, || repeat(calls, || runtime.get(&small_value.remote())))
}

fn small_task_async(ctx: &mut Ctx) -> Outcome<f64> {
    let (batches, batch) = (ctx.size(BATCHES), ctx.size(BATCH));
    let runtime = runtime(ctx)?;
    rate(batches * batch, || {
        repeat(batches, || {
            let refs: Vec<ObjectRef<Small>> = (0..batch).map(|_| small_value.remote()).collect();
            get_all(runtime, &refs)
        })
    })
}

/// Four actors that submit ten thousand tasks each.
fn multi_task(ctx: &mut Ctx) -> Outcome<f64> {
    let tasks = ctx.size(TASKS_A_SUBMITTER);
    let runtime = runtime(ctx)?;
    let actors: Vec<_> = (0..SUBMITTERS).map(|_| Actor::options().num_cpus(0.0).remote()).collect();
    rate(tasks * SUBMITTERS, || {
        let refs: Vec<ObjectRef<()>> = actors.iter().map(|actor| actor.small_value_batch(tasks)).collect();
        get_all(runtime, &refs).map(drop)
    })
}

fn placement_groups(ctx: &mut Ctx) -> Outcome<f64> {
    let groups = ctx.size(PLACEMENT_GROUPS);
    let runtime = runtime(ctx)?;
    rate(groups, || {
        let made = (0..groups)
            .map(|_| runtime.placement_group(vec![ResourceSet::new().with("CPU", 0.001)], PlacementStrategy::Pack))
            .collect::<actinic::Result<Vec<_>>>()?;
        for group in &made {
            if !group.wait(PATIENCE)? {
                return Err("a placement group was not placed".into());
            }
        }
        made.iter().for_each(|group| runtime.remove_placement_group(group));
        Ok(())
    })
}
