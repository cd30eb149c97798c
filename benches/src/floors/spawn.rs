//! Floors of a task: what a spawn and a join cost without objects, ids, arguments or a graph.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{each, rate, resident_each};
use crate::row::{Ctx, Outcome, Reference, Unit, WORKERS};

const TASKS: usize = 500_000;
const BATCH: usize = 10_000;
const TASKS_ONE_BY_ONE: usize = 100_000;
const TASKS_FROM_OUTSIDE: usize = 5_000;

/// Empty tasks, ten thousand spawned and then joined at a time, from within the runtime.
pub(crate) static TOKIO_BATCHES: Reference =
    Reference { name: "tokio::spawn + join, batches of 10k", unit: Unit::PerSecond, measure: tokio_batches };

/// One empty task after another, from within the runtime: no thread has to wake.
pub(crate) static TOKIO_ONE: Reference =
    Reference { name: "tokio::spawn + join, one at a time", unit: Unit::Seconds, measure: tokio_one };

/// One empty task after another, from a thread that blocks outside of the runtime, as a driver does.
pub(crate) static TOKIO_FROM_OUTSIDE: Reference =
    Reference { name: "tokio::spawn + block_on, from outside", unit: Unit::Seconds, measure: tokio_from_outside };

/// Empty closures of one rayon scope.
pub(crate) static RAYON_SCOPE: Reference =
    Reference { name: "rayon scope spawn", unit: Unit::PerSecond, measure: rayon_scope };

/// Memory of a tokio task that waits.
pub(crate) static TOKIO_TASK_BYTES: Reference =
    Reference { name: "memory of a waiting tokio task", unit: Unit::Bytes, measure: tokio_task_bytes };

fn tokio_batches(ctx: &mut Ctx) -> Outcome<f64> {
    let tasks = ctx.size(TASKS);
    rate(tasks, || ctx.within_tokio(batches(tasks)))
}

async fn batches(tasks: usize) -> Outcome<()> {
    let mut handles: Vec<JoinHandle<()>> = Vec::with_capacity(BATCH);
    let mut left = tasks;
    while left > 0 {
        let batch = left.min(BATCH);
        handles.extend((0..batch).map(|_| tokio::spawn(async {})));
        for handle in handles.drain(..) {
            handle.await?;
        }
        left -= batch;
    }
    Ok(())
}

fn tokio_one(ctx: &mut Ctx) -> Outcome<f64> {
    let tasks = ctx.size(TASKS_ONE_BY_ONE);
    let one_by_one = async move {
        for _ in 0..tasks {
            tokio::spawn(async {}).await?;
        }
        Ok(())
    };
    each(tasks, || ctx.within_tokio(one_by_one))
}

fn tokio_from_outside(ctx: &mut Ctx) -> Outcome<f64> {
    let tasks = ctx.size(TASKS_FROM_OUTSIDE);
    let runtime = ctx.tokio()?;
    each(tasks, || {
        for _ in 0..tasks {
            let handle = runtime.spawn(async {});
            runtime.block_on(handle)?;
        }
        Ok(())
    })
}

fn rayon_scope(ctx: &mut Ctx) -> Outcome<f64> {
    let tasks = ctx.size(TASKS);
    let pool = ctx.kept(|_| Ok(rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build()?))?;
    rate(tasks, || {
        pool.scope(|scope| (0..tasks).for_each(|_| scope.spawn(|_| {})));
        Ok(())
    })
}

fn tokio_task_bytes(ctx: &mut Ctx) -> Outcome<f64> {
    let tasks = ctx.size(TASKS);
    let runtime = ctx.tokio()?;
    let arrived = Arc::new(Semaphore::new(0));
    let gate = Arc::new(Semaphore::new(0));
    resident_each(tasks, || {
        let wait = |_| runtime.spawn(wait_at(gate.clone(), arrived.clone()));
        let waiting: Vec<JoinHandle<()>> = (0..tasks).map(wait).collect();
        runtime.block_on(arrived.acquire_many(u32::try_from(tasks)?))?.forget();
        Ok(waiting)
    })
}

/// Says that it has arrived, then waits until the runtime is dropped.
async fn wait_at(gate: Arc<Semaphore>, arrived: Arc<Semaphore>) {
    arrived.add_permits(1);
    // The gate stays shut: the measurement ends with the task still waiting.
    let _ = gate.acquire().await;
}
