//! The `ActorManager`: where the actors live that a node's processes make, and what becomes of those that are lost.
//!
//! Owns: the Actix actor, which carries out what [`core`] decides. Every node runs one; the head's keeps detached actors too.
//! Invariant: one pass over what is to be placed a batch of messages.

pub mod core;

use std::{sync::Arc, time::Duration};

use actinic_gcs::{
    shard::Request,
    spec::Lifetime,
    tables::{ActorWrite, HistoryWrite, IfExists, Write},
    JobId, NodeId,
};
use actix::prelude::*;

use self::core::{ActorCore, ActorEffect};
use super::{
    local::LocalEvent,
    node::NodeShared,
    wire::{ActorWhere, ActorWord, FromNode, JobCode, LeaseId, NodeFrame, ProcessId},
    workers::PoolEvent,
};
use actinic_gcs::spec::CheckpointState;

/// Between looks at what time changes.
const LOOK: Duration = Duration::from_millis(20);
/// Marks the number of a job whose workers outlive its driver.
const DETACHED: u32 = 1 << 31;

/// What the manager is told.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub enum ActorEvent {
    /// A process has said something of an actor.
    Word(ProcessId, Option<Arc<JobCode>>, ActorWord),
    /// The node's scheduler has answered.
    Heard(Box<FromNode>),
    /// A process of any node is gone.
    Gone(ProcessId, String),
    /// Another node is there.
    Node(NodeId),
    /// Another node is gone.
    NodeGone(NodeId, String),
}

/// The actor.
pub struct ActorManager {
    shared: Arc<NodeShared>,
    core: ActorCore,
    effects: Vec<ActorEffect>,
    pass_due: bool,
}

impl ActorManager {
    /// One that keeps no actors yet.
    #[must_use]
    pub fn new(shared: Arc<NodeShared>) -> Self {
        let core = ActorCore::new(shared.spec.id);
        Self { shared, core, effects: Vec::new(), pass_due: false }
    }

    fn on_word(&mut self, from: ProcessId, code: Option<Arc<JobCode>>, word: ActorWord) {
        let (now, effects) = (self.shared.now(), &mut self.effects);
        match word {
            ActorWord::Declare(new) => {
                let Some(code) = code else { return };
                let detached = new.spec.lifetime == Lifetime::Detached;
                let code = if detached { outliving(&code) } else { (*code).clone() };
                if detached {
                    self.shared.pool(PoolEvent::Keep(Box::new(code.clone())));
                }
                self.core.on_declare(from, *new, code, effects);
            }
            ActorWord::Construct { actor, args } => self.core.on_construct(actor, args, effects),
            ActorWord::Watch(actor) => self.core.on_watch(now, actor, from, effects),
            ActorWord::End { actor, reason, drain } => self.core.on_end(actor, &reason, drain, effects),
            ActorWord::Up(actor, lease) => self.core.on_up(actor, lease, effects),
            ActorWord::Restarting(actor, lease) => self.core.on_restarting(now, actor, lease, effects),
            ActorWord::Down { actor, lease, reason, exit } => self.core.on_down(actor, lease, &reason, exit, effects),
            ActorWord::Checkpoint { actor, lease, state, .. } => {
                self.core.on_checkpoint(actor, lease, state, effects);
            }
        }
    }

    fn on_heard(&mut self, frame: FromNode) {
        let effects = &mut self.effects;
        match frame {
            FromNode::Granted { class, lease, worker, doors, gpus } => {
                self.core.on_granted(class, lease, worker, doors, gpus, effects);
            }
            FromNode::Infeasible { class, reason } => self.core.on_infeasible(class, &reason, effects),
            FromNode::Output(output) => {
                tracing::info!(worker = %output.worker, name = output.name, text = output.text, "a detached actor's worker writes");
            }
            FromNode::Recall(lease) => self.core.on_recalled(lease, effects),
            _ => {}
        }
    }

    fn carry_out(&mut self) {
        let shared = &self.shared;
        for effect in self.effects.drain(..) {
            match effect {
                ActorEffect::Demand(code, demand) => {
                    let me = ProcessId::manager(shared.spec.id);
                    shared.local(LocalEvent::Demand(me, Arc::from(code), Box::new(demand)));
                }
                ActorEffect::Return(lease) => give_back(shared, lease),
                ActorEffect::Host(host, hosted) => shared.hub.to_process(host, FromNode::Host(hosted)),
                ActorEffect::End { host, actor, reason, drain } => {
                    shared.hub.to_process(host, FromNode::EndActor { actor, reason, drain });
                }
                ActorEffect::Tell(to, actor, place) => {
                    shared.hub.to_process(to, FromNode::Actor { actor, place: seen_by(shared, to, place) });
                }
                // A named one its creator has entered, since a name is free or not.
                ActorEffect::Register(new) if new.spec.name.is_some() => {}
                ActorEffect::Register(new) => {
                    let spec = Box::new(new.spec.clone());
                    record(shared, ActorWrite::Register { spec, if_exists: IfExists::Fail });
                }
                ActorEffect::Step(actor, incarnation, step) => {
                    record(shared, ActorWrite::Step { actor, incarnation, step });
                }
                ActorEffect::Save(actor, incarnation, state) => {
                    let state = CheckpointState::Inline(state);
                    record(shared, HistoryWrite::Checkpoint { actor, incarnation, through: 0, state });
                }
            }
        }
    }

    fn pass(&mut self) {
        self.pass_due = false;
        self.core.place(self.shared.now(), &mut self.effects);
        self.carry_out();
    }
}

/// Nobody waits for the answer: what the tables refuse they have heard otherwise.
fn record(shared: &NodeShared, write: impl Into<Write>) {
    drop(shared.gcs.submit(Request::Write(write.into())));
}

fn give_back(shared: &NodeShared, lease: LeaseId) {
    if lease.node == shared.spec.id {
        shared.local(LocalEvent::Return(lease));
    } else {
        shared.hub.to_node(lease.node, &NodeFrame::Return(lease));
    }
}

/// A host's socket is of use only to whom it is within reach.
fn seen_by(shared: &NodeShared, to: ProcessId, place: ActorWhere) -> ActorWhere {
    match place {
        ActorWhere::Alive { process, .. } if process.node == shared.spec.id => {
            ActorWhere::Alive { process, doors: shared.doors_of(process, to) }
        }
        other => other,
    }
}

/// The code of workers that host detached actors: of a job that no driver ends.
fn outliving(code: &JobCode) -> JobCode {
    let job = JobId(code.job.0 | DETACHED);
    JobCode { job, driver: ProcessId::manager(code.driver.node), ..code.clone() }
}

impl Actor for ActorManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1_024);
        ctx.run_interval(LOOK, |this, _| {
            if this.core.waits_for_time() {
                this.core.on_time(this.shared.now(), &mut this.effects);
                this.carry_out();
            }
        });
    }
}

/// Sent to oneself: it comes after all that has arrived by now.
#[derive(Message)]
#[rtype(result = "()")]
struct Pass;

impl Handler<Pass> for ActorManager {
    type Result = ();

    fn handle(&mut self, _: Pass, _: &mut Context<Self>) {
        self.pass();
    }
}

impl Handler<ActorEvent> for ActorManager {
    type Result = ();

    fn handle(&mut self, event: ActorEvent, ctx: &mut Context<Self>) {
        let now = self.shared.now();
        match event {
            ActorEvent::Word(from, code, word) => self.on_word(from, code, word),
            ActorEvent::Heard(frame) => self.on_heard(*frame),
            ActorEvent::Gone(process, reason) => self.core.on_gone(now, process, &reason, &mut self.effects),
            ActorEvent::Node(node) => self.core.on_node(node),
            ActorEvent::NodeGone(node, reason) => self.core.on_node_gone(now, node, &reason, &mut self.effects),
        }
        self.carry_out();
        if !std::mem::replace(&mut self.pass_due, true) {
            ctx.notify(Pass);
        }
    }
}
