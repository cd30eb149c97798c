//! The `GlobalScheduler`: on which nodes demands go that their own could not or should not meet.
//!
//! Owns: the Actix actor, which carries out what [`core`] decides. Every node runs one; demands go to the head's, and to any
//! other's while the head is away.

pub mod core;

use std::sync::Arc;

use actinic_gcs::{spec::NodeSpec, NodeId};
use actix::prelude::*;

use self::core::{GlobalCore, GlobalEffect};
use super::{
    local::LocalEvent,
    node::NodeShared,
    wire::{FromNode, NodeFrame, NodeLoad, NodeStatus, ProcessId, Spilled},
};

/// What the scheduler is told.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub enum GlobalEvent {
    /// A demand spilled over.
    Spilled(Box<Spilled>),
    /// A node says how it is.
    Load(NodeId, NodeLoad),
    /// A node is there.
    Node(Box<NodeSpec>),
    /// A node is gone.
    NodeGone(NodeId),
    /// A process is gone.
    Gone(ProcessId),
}

/// What is known of the nodes, and what no node can do.
#[derive(Message, Debug)]
#[rtype(result = "Overview")]
pub struct Look;

/// The answer.
#[derive(MessageResponse, Debug)]
pub struct Overview {
    /// All nodes.
    pub nodes: Vec<NodeStatus>,
    /// Demands that no node can meet.
    pub infeasible: Vec<String>,
}

/// The actor.
pub struct GlobalScheduler {
    shared: Arc<NodeShared>,
    core: GlobalCore,
    effects: Vec<GlobalEffect>,
    pass_due: bool,
}

impl GlobalScheduler {
    /// One that knows its own node.
    #[must_use]
    pub fn new(shared: Arc<NodeShared>) -> Self {
        let mut core = GlobalCore::new();
        core.on_node(shared.spec.clone());
        Self { shared, core, effects: Vec::new(), pass_due: false }
    }
}

impl Actor for GlobalScheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1_024);
    }
}

/// Sent to oneself: it comes after all that has arrived by now.
#[derive(Message)]
#[rtype(result = "()")]
struct Pass;

impl Handler<Pass> for GlobalScheduler {
    type Result = ();

    fn handle(&mut self, _: Pass, _: &mut Context<Self>) {
        self.pass_due = false;
        self.core.place(self.shared.now(), &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                GlobalEffect::Place(node, placed) if node == self.shared.spec.id => {
                    self.shared.local(LocalEvent::Place(placed));
                }
                GlobalEffect::Place(node, placed) => self.shared.hub.to_node(node, &NodeFrame::Place(placed)),
                GlobalEffect::Hopeless(owner, class, reason) => {
                    self.shared.hub.to_process(owner, FromNode::Hopeless { class, reason });
                }
            }
        }
    }
}

impl Handler<GlobalEvent> for GlobalScheduler {
    type Result = ();

    fn handle(&mut self, event: GlobalEvent, ctx: &mut Context<Self>) {
        match event {
            GlobalEvent::Spilled(spilled) => self.core.on_spilled(self.shared.now(), *spilled),
            GlobalEvent::Load(node, load) => self.core.on_load(node, load),
            GlobalEvent::Node(spec) => self.core.on_node(*spec),
            GlobalEvent::NodeGone(node) => self.core.on_node_gone(node),
            GlobalEvent::Gone(process) => self.core.on_gone(process),
        }
        if !std::mem::replace(&mut self.pass_due, true) {
            ctx.notify(Pass);
        }
    }
}

impl Handler<Look> for GlobalScheduler {
    type Result = Overview;

    fn handle(&mut self, _: Look, _: &mut Context<Self>) -> Overview {
        let status = |(spec, load): (&NodeSpec, &NodeLoad)| NodeStatus { spec: spec.clone(), load: load.clone() };
        Overview { nodes: self.core.nodes().map(status).collect(), infeasible: self.core.infeasible() }
    }
}
