//! kameo as a peer: `tell`, `ask` and the creation of actors, from within the runtime that runs the actors.

use std::convert::Infallible;
use std::time::Instant;

use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::mailbox;
use kameo::message::{Context, Message};

use super::resident_each;
use crate::row::{Ctx, Outcome, Reference, Unit};

const MESSAGES: usize = 500_000;
const ASKS: usize = 200_000;
const ASKS_AT_ONCE: usize = 1_000;
const ACTORS: usize = 50_000;

/// One-way messages to one actor with an unbounded mailbox.
pub(crate) static TELL: Reference = Reference { name: "kameo tell", unit: Unit::PerSecond, measure: tell };

/// A message and its answer, one at a time.
pub(crate) static ASK: Reference = Reference { name: "kameo ask", unit: Unit::Seconds, measure: ask };

/// A thousand messages sent before the first answer is awaited.
pub(crate) static ASK_BATCHES: Reference =
    Reference { name: "kameo ask, 1,000 at once", unit: Unit::PerSecond, measure: ask_batches };

/// Actors created and answering, all alive at the end.
pub(crate) static CREATE: Reference =
    Reference { name: "kameo actor creation", unit: Unit::PerSecond, measure: create };

/// Memory of an idle actor.
pub(crate) static ACTOR_BYTES: Reference =
    Reference { name: "memory of an idle kameo actor", unit: Unit::Bytes, measure: actor_bytes };

/// An actor that answers.
struct Echo;

impl Actor for Echo {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(args: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(args)
    }
}

/// The message.
struct Ping;

impl Message<Ping> for Echo {
    type Reply = ();

    async fn handle(&mut self, _: Ping, _: &mut Context<Self, ()>) {}
}

fn spawn() -> ActorRef<Echo> {
    Echo::spawn_with_mailbox(Echo, mailbox::unbounded())
}

fn tell(ctx: &mut Ctx) -> Outcome<f64> {
    let messages = ctx.size(MESSAGES);
    ctx.within_tokio(async move {
        let echo = spawn();
        echo.ask(Ping).await?;
        let start = Instant::now();
        for _ in 0..messages {
            echo.tell(Ping).await?;
        }
        echo.ask(Ping).await?;
        Ok(messages as f64 / start.elapsed().as_secs_f64())
    })
}

fn ask(ctx: &mut Ctx) -> Outcome<f64> {
    let asks = ctx.size(ASKS);
    ctx.within_tokio(async move {
        let echo = spawn();
        let start = Instant::now();
        for _ in 0..asks {
            echo.ask(Ping).await?;
        }
        Ok(start.elapsed().as_secs_f64() / asks as f64)
    })
}

fn ask_batches(ctx: &mut Ctx) -> Outcome<f64> {
    let batches = ctx.size(ASKS).div_ceil(ASKS_AT_ONCE);
    ctx.within_tokio(async move {
        let echo = spawn();
        let start = Instant::now();
        for _ in 0..batches {
            let mut pending = Vec::with_capacity(ASKS_AT_ONCE);
            for _ in 0..ASKS_AT_ONCE {
                pending.push(echo.ask(Ping).enqueue().await?);
            }
            for reply in pending {
                reply.await?;
            }
        }
        Ok((batches * ASKS_AT_ONCE) as f64 / start.elapsed().as_secs_f64())
    })
}

async fn created(count: usize) -> Outcome<Vec<ActorRef<Echo>>> {
    let actors: Vec<ActorRef<Echo>> = (0..count).map(|_| spawn()).collect();
    for actor in &actors {
        actor.ask(Ping).await?;
    }
    Ok(actors)
}

fn create(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ACTORS);
    ctx.within_tokio(async move {
        let start = Instant::now();
        let actors = created(count).await?;
        let seconds = start.elapsed().as_secs_f64();
        // The next run must not meet the ends of this one's actors.
        for actor in actors {
            actor.stop_gracefully().await?;
            actor.wait_for_shutdown().await;
        }
        Ok(count as f64 / seconds)
    })
}

fn actor_bytes(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ACTORS);
    resident_each(count, || ctx.within_tokio(created(count)))
}
