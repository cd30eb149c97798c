//! Actinic's side of `ray microbenchmark`: calls of actors, under Ray's names and at Ray's sizes.
//!
//! Ray makes half as many servers as there are CPUs: one, with the two of these runs.

use actinic::prelude::*;

use super::micro::row;
use super::node::{get_all, runtime};
use super::remote::{async_actor_work, work, Actor, ActorHandle, AsyncActor, AsyncClient, Client, Small};
use crate::floors::{rate, repeat};
use crate::row::{Ctx, Outcome, Row};

const BATCH: usize = 1_000;
const BATCHES: usize = 50;
const CALLS_SYNC: usize = 50_000;
const CALLS_A_CLIENT: usize = 5_000;
const CALLS_A_CLIENT_WITH_ARG: usize = 1_000;
const CALLERS: usize = 4;
const CONCURRENCY: usize = 16;

/// Times that a client makes its calls in one run.
const REPEATS: usize = 10;

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    vec![
        row("1:1 actor calls sync", |ctx| sync(ctx, Actor::remote, |actor| actor.small_value())),
        row("1:1 actor calls async", |ctx| batches(ctx, Actor::remote, |actor, _| actor.small_value())),
        row("1:1 actor calls concurrent", |ctx| batches(ctx, concurrent, |actor, _| actor.small_value())),
        row("1:n actor calls async", one_to_n),
        row("n:n actor calls async", n_to_n),
        row("n:n actor calls with arg async", n_to_n_with_arg),
        row("1:1 async-actor calls sync", |ctx| sync(ctx, AsyncActor::remote, |actor| actor.small_value())),
        row("1:1 async-actor calls async", |ctx| batches(ctx, AsyncActor::remote, |actor, _| actor.small_value())),
        row("1:1 async-actor calls with args async", |ctx| {
            batches(ctx, AsyncActor::remote, |actor, i| actor.small_value_with_arg(i as u64))
        }),
        row("1:n async-actor calls async", async_one_to_n),
        row("n:n async-actor calls async", async_n_to_n),
    ]
}

fn concurrent() -> ActorHandle {
    Actor::options().max_concurrency(CONCURRENCY).remote()
}

/// One call at a time, each waited for.
fn sync<A>(ctx: &mut Ctx, make: impl FnOnce() -> A, call: impl Fn(&A) -> ObjectRef<Small>) -> Outcome<f64> {
    let calls = ctx.size(CALLS_SYNC);
    let runtime = runtime(ctx)?;
    let actor = make();
    rate(calls, || repeat(calls, || runtime.get(&call(&actor))))
}

/// A thousand calls, then their answers.
fn batches<A>(ctx: &mut Ctx, make: impl FnOnce() -> A, call: impl Fn(&A, usize) -> ObjectRef<Small>) -> Outcome<f64> {
    let (batches, batch) = (ctx.size(BATCHES), ctx.size(BATCH));
    let runtime = runtime(ctx)?;
    let actor = make();
    rate(batches * batch, || {
        repeat(batches, || {
            let refs: Vec<ObjectRef<Small>> = (0..batch).map(|i| call(&actor, i)).collect();
            get_all(runtime, &refs)
        })
    })
}

/// A client that makes `calls` calls each time it is asked to, ten times.
fn client(ctx: &mut Ctx, calls: usize, ask: impl Fn(usize) -> ObjectRef<()>) -> Outcome<f64> {
    let repeats = ctx.size(REPEATS);
    let runtime = runtime(ctx)?;
    rate(calls * repeats, || repeat(repeats, || runtime.get(&ask(calls))))
}

fn one_to_n(ctx: &mut Ctx) -> Outcome<f64> {
    runtime(ctx)?;
    let asked = Client::remote(Actor::remote());
    let calls = ctx.size(CALLS_A_CLIENT);
    client(ctx, calls, |calls| asked.small_value_batch(calls))
}

fn n_to_n_with_arg(ctx: &mut Ctx) -> Outcome<f64> {
    runtime(ctx)?;
    let asked = Client::remote(Actor::remote());
    let calls = ctx.size(CALLS_A_CLIENT_WITH_ARG);
    client(ctx, calls, |calls| asked.small_value_batch_arg(calls))
}

fn async_one_to_n(ctx: &mut Ctx) -> Outcome<f64> {
    runtime(ctx)?;
    let asked = AsyncClient::remote(AsyncActor::remote());
    let calls = ctx.size(CALLS_A_CLIENT);
    client(ctx, calls, |calls| asked.small_value_batch(calls))
}

/// Four tasks that call at the same time.
fn callers(ctx: &mut Ctx, call: impl Fn(usize) -> ObjectRef<()>) -> Outcome<f64> {
    let (calls, repeats) = (ctx.size(CALLS_A_CLIENT), ctx.size(REPEATS));
    let runtime = runtime(ctx)?;
    rate(CALLERS * calls * repeats, || {
        repeat(repeats, || {
            let refs: Vec<ObjectRef<()>> = (0..CALLERS).map(|_| call(calls)).collect();
            get_all(runtime, &refs)
        })
    })
}

fn n_to_n(ctx: &mut Ctx) -> Outcome<f64> {
    runtime(ctx)?;
    let actor = Actor::remote();
    callers(ctx, |calls| work.remote(actor.clone(), calls))
}

fn async_n_to_n(ctx: &mut Ctx) -> Outcome<f64> {
    runtime(ctx)?;
    let actor = AsyncActor::remote();
    callers(ctx, |calls| async_actor_work.remote(actor.clone(), calls))
}
