//! The `ObjectManager`: the Actix actor that looks after the object store.
//!
//! Owns: the background work of the [store](crate::store): touching memory ahead of need and spilling above the
//! high-water mark. Both run on a thread of their own, one bounded step at a time, since both touch slow things; the actor
//! starts a step and is told when it has ended.

use std::{
    sync::{mpsc, Arc},
    thread,
    time::Duration,
};

use actix::prelude::*;

use crate::node::Node;

/// Between looks at the store.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Message)]
#[rtype(result = "()")]
struct StepDone {
    more: bool,
}

/// The object manager's Actix actor.
pub struct ObjectManager {
    node: Arc<Node>,
    steps: Option<mpsc::Sender<Recipient<StepDone>>>,
    busy: bool,
}

impl ObjectManager {
    /// The object manager of `node`.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        Self { node, steps: None, busy: false }
    }

    fn step(&mut self, ctx: &mut Context<Self>) {
        if self.busy || self.node.store_if_open().is_none() {
            return;
        }
        if self.steps.is_none() {
            self.steps = start_thread(self.node.clone());
        }
        if let Some(steps) = &self.steps {
            self.busy = steps.send(ctx.address().recipient()).is_ok();
        }
    }
}

fn start_thread(node: Arc<Node>) -> Option<mpsc::Sender<Recipient<StepDone>>> {
    let (steps, asked) = mpsc::channel::<Recipient<StepDone>>();
    let started = thread::Builder::new().name("actinic-objects".into()).spawn(move || {
        while let Ok(reply) = asked.recv() {
            let Some(store) = node.store_if_open().filter(|_| !node.is_down()) else { break };
            let more = store.pretouch_step();
            if let Err(error) = store.spill_over_high_water() {
                tracing::warn!(%error, "objects over the high-water mark could not be spilled; they stay in memory");
            }
            reply.do_send(StepDone { more });
        }
    });
    if let Err(error) = started {
        tracing::warn!(%error, "no thread for the object store's background work; it goes on without");
        return None;
    }
    Some(steps)
}

impl Actor for ObjectManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(LOOK_EVERY, Self::step);
    }
}

impl Handler<StepDone> for ObjectManager {
    type Result = ();

    fn handle(&mut self, done: StepDone, ctx: &mut Context<Self>) {
        self.busy = false;
        if done.more && !self.node.is_down() {
            self.step(ctx);
        }
    }
}
