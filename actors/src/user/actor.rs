//! The Actix actor of one user actor.
//!
//! Owns: the actor's life as Actix sees it. It runs under an Actix `Supervisor`: a crash is reported to the
//! [node's supervisor](crate::supervisor), whose core decides; on `Restart` the context is stopped, and the Actix
//! supervisor calls `restarting()`, which rebuilds the state from the factory or the last checkpoint. Timers live in its
//! context and are set again after a restart. It ends when its last address is dropped.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;

use super::cell::AnyActor;
use crate::{node::Node, supervision::Exit};

/// A turn reports that the state is broken.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Crashed {
    /// What happened.
    pub reason: String,
}

/// The supervisor's decision to start again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Restart;

/// Calls `tick` after `every`, and again if `repeat`.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub struct StartTimer {
    /// The time between.
    pub every: Duration,
    /// Whether it goes on.
    pub repeat: bool,
    /// What is done; false ends the timer.
    pub tick: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The Actix actor that owns the life of one user actor.
pub struct UserActor {
    cell: Arc<dyn AnyActor>,
    node: Arc<Node>,
    timers: Vec<StartTimer>,
}

impl UserActor {
    /// Starts it, under an Actix `Supervisor`, on one of the node's arbiters.
    pub fn start(cell: Arc<dyn AnyActor>, node: &Arc<Node>, arbiter: &ArbiterHandle) {
        let node = node.clone();
        let ours = cell.clone();
        let address = Supervisor::start_in_arbiter(arbiter, move |_| Self { cell: ours, node, timers: Vec::new() });
        cell.set_address(address);
    }

    fn arm(&self, timer: &StartTimer, ctx: &mut Context<Self>) {
        let tick = timer.tick.clone();
        if timer.repeat {
            ctx.run_interval(timer.every, move |_, ctx| {
                if !tick() {
                    // Ends with the context's items; a tick that does nothing costs little until then.
                    ctx.notify(Sweep);
                }
            });
        } else {
            ctx.run_later(timer.every, move |_, _| {
                tick();
            });
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Sweep;

impl Actor for UserActor {
    type Context = Context<Self>;
}

impl Supervised for UserActor {
    fn restarting(&mut self, ctx: &mut Context<Self>) {
        self.cell.clone().rebuild();
        for timer in &self.timers {
            self.arm(timer, ctx);
        }
    }
}

impl Handler<Crashed> for UserActor {
    type Result = ();

    fn handle(&mut self, crashed: Crashed, _ctx: &mut Context<Self>) {
        self.node.supervisor.exited(self.cell.id(), Exit::Failed(crashed.reason));
    }
}

impl Handler<Restart> for UserActor {
    type Result = ();

    fn handle(&mut self, _: Restart, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<StartTimer> for UserActor {
    type Result = ();

    fn handle(&mut self, timer: StartTimer, ctx: &mut Context<Self>) {
        self.arm(&timer, ctx);
        if timer.repeat {
            self.timers.push(timer);
        }
    }
}

impl Handler<Sweep> for UserActor {
    type Result = ();

    fn handle(&mut self, _: Sweep, _ctx: &mut Context<Self>) {}
}
