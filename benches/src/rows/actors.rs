//! Actors: one-way calls, calls with an answer, creation, and what an idle one costs in memory.

use std::time::Instant;

use actinic::prelude::*;

use super::node::{get_all, runtime, PATIENCE};
use super::remote::{Actor, ActorHandle, Small};
use crate::floors::{actix, each, kameo, ractor, rate, repeat, resident_each};
use crate::row::{Ctx, Goal, Outcome, Row, Unit};

const CALLS: usize = 500_000;
const CALLS_ONE_BY_ONE: usize = 100_000;
const ACTORS: usize = 50_000;
const ACTORS_ALIVE: usize = 100_000;

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let one_way = Goal { text: "2 M/s, ahead of kameo and ractor", figure: Some(2e6), ratio: Some(1.0), of: None };
    let answer = Goal { text: "ahead of kameo and ractor", ratio: Some(1.0), ..Goal::NONE };
    let creation = Goal { text: "50 k/s", figure: Some(5e4), ..Goal::NONE };
    vec![
        Row {
            name: "actor calls, one way",
            unit: Unit::PerSecond,
            goal: one_way,
            measure: tell,
            references: vec![&kameo::TELL, &ractor::CAST],
        },
        Row {
            name: "actor calls, one at a time",
            unit: Unit::Seconds,
            goal: answer,
            measure: ask,
            references: vec![&kameo::ASK, &ractor::CALL],
        },
        Row {
            name: "actor creation",
            unit: Unit::PerSecond,
            goal: creation,
            measure: create,
            references: vec![&kameo::CREATE, &ractor::CREATE, &actix::CREATE],
        },
        Row {
            name: "memory of an idle actor, 100 k alive",
            unit: Unit::Bytes,
            goal: Goal { text: "100 k alive", ..Goal::NONE },
            measure: idle_bytes,
            references: vec![&kameo::ACTOR_BYTES, &ractor::ACTOR_BYTES],
        },
    ]
}

fn tell(ctx: &mut Ctx) -> Outcome<f64> {
    let calls = ctx.size(CALLS);
    let runtime = runtime(ctx)?;
    let actor = Actor::remote();
    runtime.get(&actor.small_value())?;
    rate(calls, || {
        for _ in 0..calls {
            // A reference that is dropped at once asks for no answer.
            drop(actor.note());
        }
        runtime.get(&actor.small_value())?;
        Ok(())
    })
}

fn ask(ctx: &mut Ctx) -> Outcome<f64> {
    let calls = ctx.size(CALLS_ONE_BY_ONE);
    let runtime = runtime(ctx)?;
    let actor = Actor::remote();
    each(calls, || repeat(calls, || runtime.get(&actor.small_value())))
}

/// Actors that have answered, so that they are known to be alive.
fn created(runtime: &Runtime, count: usize) -> Outcome<Vec<ActorHandle>> {
    let actors: Vec<ActorHandle> = (0..count).map(|_| Actor::remote()).collect();
    let answers: Vec<ObjectRef<Small>> = actors.iter().map(|actor| actor.small_value()).collect();
    get_all(runtime, &answers)?;
    Ok(actors)
}

fn create(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ACTORS);
    let runtime = runtime(ctx)?;
    let mut alive = Vec::new();
    let created = rate(count, || {
        alive = created(runtime, count)?;
        Ok(())
    });
    drop(alive);
    all_gone(runtime)?;
    created
}

/// Waits for the ends of actors without a handle: the next run must not meet them.
fn all_gone(runtime: &Runtime) -> Outcome<()> {
    let start = Instant::now();
    while runtime.actor_count() > 0 {
        if start.elapsed() > PATIENCE {
            return Err(format!("{} actors live on without a handle", runtime.actor_count()).into());
        }
        std::thread::yield_now();
    }
    Ok(())
}

fn idle_bytes(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ACTORS_ALIVE);
    let runtime = runtime(ctx)?;
    resident_each(count, || created(runtime, count))
}
