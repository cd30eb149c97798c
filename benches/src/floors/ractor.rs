//! ractor as a peer: `cast`, `call` and the creation of actors, from within the runtime that runs the actors.

use std::time::Instant;

use ractor::{call, Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::oneshot;

use super::resident_each;
use crate::row::{Ctx, Outcome, Reference, Unit};

const MESSAGES: usize = 500_000;
const CALLS: usize = 200_000;
const CALLS_AT_ONCE: usize = 1_000;
const ACTORS: usize = 50_000;

/// One-way messages to one actor.
pub(crate) static CAST: Reference = Reference { name: "ractor cast", unit: Unit::PerSecond, measure: cast };

/// A message and its answer, one at a time.
pub(crate) static CALL: Reference = Reference { name: "ractor call", unit: Unit::Seconds, measure: calls };

/// A thousand messages sent before the first answer is awaited.
pub(crate) static CALL_BATCHES: Reference =
    Reference { name: "ractor call, 1,000 at once", unit: Unit::PerSecond, measure: call_batches };

/// Actors created and answering, all alive at the end.
pub(crate) static CREATE: Reference =
    Reference { name: "ractor actor creation", unit: Unit::PerSecond, measure: create };

/// Memory of an idle actor.
pub(crate) static ACTOR_BYTES: Reference =
    Reference { name: "memory of an idle ractor actor", unit: Unit::Bytes, measure: actor_bytes };

/// An actor that answers.
struct Echo;

/// What it understands.
enum Ping {
    Note,
    Ask(RpcReplyPort<()>),
}

impl Actor for Echo {
    type Msg = Ping;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ping>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Ping>, message: Ping, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match message {
            Ping::Note => Ok(()),
            Ping::Ask(reply) => Ok(reply.send(())?),
        }
    }
}

async fn spawn() -> Outcome<ActorRef<Ping>> {
    let (actor, _) = Actor::spawn(None, Echo, ()).await?;
    Ok(actor)
}

/// Ends the actors, which outlive their references: the next run must not meet the ends of this one's.
async fn end(actors: &[ActorRef<Ping>]) -> Outcome<()> {
    for actor in actors {
        actor.stop_and_wait(None, None).await?;
    }
    Ok(())
}

fn cast(ctx: &mut Ctx) -> Outcome<f64> {
    let messages = ctx.size(MESSAGES);
    ctx.within_tokio(async move {
        let echo = spawn().await?;
        let start = Instant::now();
        for _ in 0..messages {
            echo.cast(Ping::Note)?;
        }
        call!(echo, Ping::Ask)?;
        let figure = messages as f64 / start.elapsed().as_secs_f64();
        end(&[echo]).await?;
        Ok(figure)
    })
}

fn calls(ctx: &mut Ctx) -> Outcome<f64> {
    let calls = ctx.size(CALLS);
    ctx.within_tokio(async move {
        let echo = spawn().await?;
        let start = Instant::now();
        for _ in 0..calls {
            call!(echo, Ping::Ask)?;
        }
        let figure = start.elapsed().as_secs_f64() / calls as f64;
        end(&[echo]).await?;
        Ok(figure)
    })
}

fn call_batches(ctx: &mut Ctx) -> Outcome<f64> {
    let batches = ctx.size(CALLS).div_ceil(CALLS_AT_ONCE);
    ctx.within_tokio(async move {
        let echo = spawn().await?;
        let start = Instant::now();
        for _ in 0..batches {
            let mut pending = Vec::with_capacity(CALLS_AT_ONCE);
            for _ in 0..CALLS_AT_ONCE {
                let (reply, answer) = oneshot::channel();
                echo.cast(Ping::Ask(reply.into()))?;
                pending.push(answer);
            }
            for answer in pending {
                answer.await?;
            }
        }
        let figure = (batches * CALLS_AT_ONCE) as f64 / start.elapsed().as_secs_f64();
        end(&[echo]).await?;
        Ok(figure)
    })
}

async fn created(count: usize) -> Outcome<Vec<ActorRef<Ping>>> {
    let mut actors = Vec::with_capacity(count);
    for _ in 0..count {
        actors.push(spawn().await?);
    }
    for actor in &actors {
        call!(actor, Ping::Ask)?;
    }
    Ok(actors)
}

fn create(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ACTORS);
    ctx.within_tokio(async move {
        let start = Instant::now();
        let actors = created(count).await?;
        let seconds = start.elapsed().as_secs_f64();
        end(&actors).await?;
        Ok(count as f64 / seconds)
    })
}

fn actor_bytes(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ACTORS);
    resident_each(count, || ctx.within_tokio(created(count)))
}
