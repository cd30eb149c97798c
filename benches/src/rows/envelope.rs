//! What Ray publishes as the limits of one node: arguments, returns, references, queued tasks, actors.

use std::iter::repeat_with;

use actinic::prelude::*;

use super::node::{get_all, runtime, wait_one_by_one};
use super::remote::{count_values, create_object_containing_ref, empty, many, small_value, Actor, Small};
use crate::floors::{rate, repeat};
use crate::row::{Ctx, Goal, Measure, Outcome, Row, Unit};

const ARGUMENTS: usize = 10_000;
const RETURNS: usize = 3_000;
const OBJECTS: usize = 10_000;
const WAITED: usize = 1_000;
const QUEUED: usize = 5_000;
const CREATED: usize = 20;

/// Times that a row does its work in one run, where once is too short to time.
const REPEATS: usize = 20;

/// The limits, as rows among the goals.
pub(super) fn rows() -> Vec<Row> {
    vec![
        row("wait on 1,000 refs, one by one", wait_thousand),
        row("get of an object of 10,000 refs", get_object_of_refs),
        row("10,000 arguments to one task", arguments),
        row("3,000 returns of one task", returns),
        row("get of 10,000 objects at once", get_objects),
    ]
}

/// The same work under the names of the script that measures Ray.
pub(super) fn beside_ray() -> Vec<Row> {
    vec![
        row("10000 arguments to one task", arguments),
        row("3000 returns of one task", returns),
        row("get of 10000 objects", get_objects),
        row("actor creation", create_actors),
        row("queued tasks, submit all then get all", queued),
    ]
}

fn row(name: &'static str, measure: Measure) -> Row {
    Row { name, unit: Unit::PerSecond, goal: Goal::NONE, measure, references: Vec::new() }
}

/// Waits for a thousand tasks, one reference at a time.
pub(super) fn wait_thousand(ctx: &mut Ctx) -> Outcome<f64> {
    let (waited, repeats) = (ctx.size(WAITED), ctx.size(REPEATS));
    let runtime = runtime(ctx)?;
    rate(repeats, || {
        repeat(repeats, || {
            let pending: Vec<ObjectRef<Small>> = (0..waited).map(|_| small_value.remote()).collect();
            wait_one_by_one(runtime, pending)
        })
    })
}

/// Gets an object that holds ten thousand references, again and again.
pub(super) fn get_object_of_refs(ctx: &mut Ctx) -> Outcome<f64> {
    let (objects, repeats) = (ctx.size(OBJECTS), ctx.size(REPEATS));
    let runtime = runtime(ctx)?;
    let object = create_object_containing_ref.remote(objects as u64);
    same(runtime.get(&object)?.len(), objects)?;
    rate(repeats, || repeat(repeats, || same(runtime.get(&object)?.len(), objects)))
}

fn arguments(ctx: &mut Ctx) -> Outcome<f64> {
    let (arguments, repeats) = (ctx.size(ARGUMENTS), ctx.size(REPEATS));
    let runtime = runtime(ctx)?;
    rate(repeats, || {
        for _ in 0..repeats {
            let refs = (0..arguments as u64).map(|value| runtime.put(value)).collect::<Result<Vec<_>, TaskError>>()?;
            same(runtime.get(&count_values.remote(refs))?, arguments)?;
        }
        Ok(())
    })
}

fn returns(ctx: &mut Ctx) -> Outcome<f64> {
    let (returns, repeats) = (ctx.size(RETURNS), ctx.size(REPEATS));
    let runtime = runtime(ctx)?;
    rate(repeats, || {
        for _ in 0..repeats {
            let refs: Vec<ObjectRef<u64>> = many.options().num_returns(returns).remote(returns as u64);
            same(get_all(runtime, &refs)?.len(), returns)?;
        }
        Ok(())
    })
}

fn get_objects(ctx: &mut Ctx) -> Outcome<f64> {
    let (objects, repeats) = (ctx.size(OBJECTS), ctx.size(REPEATS));
    let runtime = runtime(ctx)?;
    let refs = (0..objects as u64).map(|value| runtime.put(value)).collect::<Result<Vec<_>, TaskError>>()?;
    rate(repeats, || repeat(repeats, || same(get_all(runtime, &refs)?.len(), objects)))
}

fn create_actors(ctx: &mut Ctx) -> Outcome<f64> {
    let (created, repeats) = (ctx.size(CREATED), ctx.size(REPEATS));
    let runtime = runtime(ctx)?;
    rate(created * repeats, || {
        for _ in 0..repeats {
            let actors: Vec<_> = repeat_with(Actor::remote).take(created).collect();
            let answers: Vec<ObjectRef<Small>> = actors.iter().map(|actor| actor.small_value()).collect();
            get_all(runtime, &answers)?;
        }
        Ok(())
    })
}

fn queued(ctx: &mut Ctx) -> Outcome<f64> {
    let (queued, repeats) = (ctx.size(QUEUED), ctx.size(REPEATS));
    let runtime = runtime(ctx)?;
    rate(queued * repeats, || {
        repeat(repeats, || {
            let refs: Vec<ObjectRef<()>> = (0..queued).map(|_| empty.remote()).collect();
            get_all(runtime, &refs)
        })
    })
}

/// What was asked for is what came: a row that loses results is no faster for it.
fn same(came: usize, asked: usize) -> Outcome<()> {
    if came == asked {
        Ok(())
    } else {
        Err(format!("{came} values came in place of {asked}").into())
    }
}
