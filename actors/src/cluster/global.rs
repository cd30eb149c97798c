//! The `GlobalScheduler`: on which nodes demands go that their own could not or should not meet.
//!
//! Owns: the Actix actor, which carries out what [`core`] decides. Every node runs one; demands go to the head's, and to any
//! other's while the head is away.

pub mod core;

use std::{sync::Arc, time::Duration};

use actinic_gcs::{spec::NodeSpec, JobId, NodeId, PlacementGroupId};
use actix::prelude::*;

use self::core::{GlobalCore, GlobalEffect};
use super::{
    groups::{
        core::{GroupCore, GroupEffect},
        Asker, GroupAsk,
    },
    local::LocalEvent,
    node::NodeShared,
    wire::{FromNode, NodeFrame, NodeLoad, NodeStatus, ProcessId, Spilled},
};

/// Between two tries to place groups that wait.
const GROUP_TICK: Duration = Duration::from_millis(50);

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
    /// A process of this node wants a placement group, or does not any more.
    GroupAsk(Asker, Box<GroupAsk>),
    /// A node has taken bundles, or not.
    GroupPrepared {
        /// Which node.
        from: NodeId,
        /// Of which group.
        group: PlacementGroupId,
        /// In which attempt.
        round: u64,
        /// Whether it has.
        taken: bool,
    },
    /// A job has ended.
    JobGone(JobId),
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
    groups: GroupCore,
    effects: Vec<GlobalEffect>,
    group_effects: Vec<GroupEffect>,
    pass_due: bool,
}

impl GlobalScheduler {
    /// One that knows its own node.
    #[must_use]
    pub fn new(shared: Arc<NodeShared>) -> Self {
        let mut core = GlobalCore::new();
        core.on_node(shared.spec.clone());
        let groups = GroupCore::new(shared.spec.id);
        Self { shared, core, groups, effects: Vec::new(), group_effects: Vec::new(), pass_due: false }
    }

    fn on_group(&mut self, event: GlobalEvent) {
        let (now, effects) = (self.shared.now(), &mut self.group_effects);
        match event {
            GlobalEvent::GroupAsk(asker, ask) => match *ask {
                GroupAsk::Create(request) => self.groups.on_create(asker, request, effects),
                GroupAsk::Remove(group) => self.groups.on_remove(group, effects),
            },
            GlobalEvent::GroupPrepared { from, group, round, taken } => {
                self.groups.on_prepared(now, from, (group, round), taken, effects);
            }
            GlobalEvent::JobGone(job) => self.groups.on_job_gone(job, effects),
            _ => {}
        }
    }

    fn place_groups(&mut self) {
        let core = &self.core;
        self.groups.pass(self.shared.now(), || core.free(), &mut self.group_effects);
        for effect in self.group_effects.drain(..) {
            match effect {
                GroupEffect::Send(node, frame) => self.shared.to_group_node(node, frame),
                GroupEffect::Broadcast(frame) => {
                    self.shared.hub.to_all_nodes(&NodeFrame::Group(frame.clone()));
                    self.shared.group_frame(self.shared.spec.id, frame);
                }
                GroupEffect::Record(group) => {
                    let removed = actinic_gcs::tables::GroupWrite::Remove(group);
                    drop(self.shared.gcs.submit(actinic_gcs::shard::Request::Write(removed.into())));
                }
                GroupEffect::Tell(process, group, news) => {
                    self.shared.hub.to_process(process, FromNode::Group(group, news));
                }
            }
        }
    }
}

impl Actor for GlobalScheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1_024);
        // A group that waits is tried again, whether or not anything is heard.
        ctx.run_interval(GROUP_TICK, |this, _| {
            if this.groups.is_busy() {
                this.place_groups();
            }
        });
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
                GlobalEffect::Infeasible(owner, class, reason) => {
                    self.shared.hub.to_process(owner, FromNode::Infeasible { class, reason });
                }
                GlobalEffect::Hopeless(owner, class, reason) => {
                    self.shared.hub.to_process(owner, FromNode::Hopeless { class, reason });
                }
            }
        }
        self.place_groups();
    }
}

impl Handler<GlobalEvent> for GlobalScheduler {
    type Result = ();

    fn handle(&mut self, event: GlobalEvent, ctx: &mut Context<Self>) {
        match event {
            GlobalEvent::Spilled(spilled) => self.core.on_spilled(self.shared.now(), *spilled),
            GlobalEvent::Load(node, load) => self.core.on_load(node, load),
            GlobalEvent::Node(spec) => {
                self.groups.on_node(spec.id, &mut self.group_effects);
                self.core.on_node(*spec);
            }
            GlobalEvent::NodeGone(node) => {
                self.groups.on_node_gone(self.shared.now(), node, &mut self.group_effects);
                self.core.on_node_gone(node);
            }
            GlobalEvent::Gone(process) => self.core.on_gone(process),
            event => self.on_group(event),
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
        let infeasible = self.core.infeasible().into_iter().chain(self.groups.waiting()).collect();
        Overview { nodes: self.core.nodes().map(status).collect(), infeasible }
    }
}
