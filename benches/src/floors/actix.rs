//! Actix as a peer: messages to the same and to another arbiter, and the creation of actors.
//!
//! Each run has a system of its own on a thread of its own, for a system belongs to the thread that started it.

use std::future::Future;
use std::time::Instant;

use actix::{Actor, Addr, Arbiter, Context, Handler, Message, System};

use crate::row::{Ctx, Outcome, Reference, Unit};

const MESSAGES: usize = 500_000;
const ROUND_TRIPS_OTHER: usize = 5_000;
const ROUND_TRIPS_SAME: usize = 100_000;
const ACTORS: usize = 50_000;

/// One-way messages to an actor on another arbiter.
pub(crate) static TELL: Reference =
    Reference { name: "actix do_send to another arbiter", unit: Unit::PerSecond, measure: tell };

/// A message and its answer, one at a time, to another arbiter: two threads wake.
pub(crate) static ROUND_TRIP_OTHER: Reference =
    Reference { name: "actix send to another arbiter", unit: Unit::Seconds, measure: round_trip_other };

/// A message and its answer, one at a time, on the same arbiter.
pub(crate) static ROUND_TRIP_SAME: Reference =
    Reference { name: "actix send on the same arbiter", unit: Unit::Seconds, measure: round_trip_same };

/// Actors created and answering, all alive at the end.
pub(crate) static CREATE: Reference =
    Reference { name: "actix actor creation", unit: Unit::PerSecond, measure: create };

/// An actor that answers.
struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

/// The message.
#[derive(Message)]
#[rtype(result = "()")]
struct Ping;

impl Handler<Ping> for Echo {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

/// Runs the future as the only work of a new system on a new thread.
fn in_system<F: Future<Output = Outcome<f64>>>(work: impl FnOnce() -> F + Send) -> Outcome<f64> {
    let run = || System::new().block_on(async { work().await });
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn tell(ctx: &mut Ctx) -> Outcome<f64> {
    let messages = ctx.size(MESSAGES);
    in_system(|| async move {
        let arbiter = Arbiter::new();
        let echo = Echo::start_in_arbiter(&arbiter.handle(), |_| Echo);
        echo.send(Ping).await?;
        let start = Instant::now();
        for _ in 0..messages {
            echo.do_send(Ping);
        }
        echo.send(Ping).await?;
        let seconds = start.elapsed().as_secs_f64();
        arbiter.stop();
        Ok(messages as f64 / seconds)
    })
}

async fn round_trips(echo: &Addr<Echo>, count: usize) -> Outcome<f64> {
    let start = Instant::now();
    for _ in 0..count {
        echo.send(Ping).await?;
    }
    Ok(start.elapsed().as_secs_f64() / count as f64)
}

fn round_trip_other(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ROUND_TRIPS_OTHER);
    in_system(|| async move {
        let arbiter = Arbiter::new();
        let echo = Echo::start_in_arbiter(&arbiter.handle(), |_| Echo);
        let seconds = round_trips(&echo, count).await;
        arbiter.stop();
        seconds
    })
}

fn round_trip_same(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ROUND_TRIPS_SAME);
    in_system(|| async move { round_trips(&Echo.start(), count).await })
}

fn create(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ACTORS);
    in_system(|| async move {
        let start = Instant::now();
        let actors: Vec<Addr<Echo>> = (0..count).map(|_| Echo.start()).collect();
        for actor in &actors {
            actor.send(Ping).await?;
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    })
}
