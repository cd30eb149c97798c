//! The cluster's `LocalScheduler`: who is leased which worker of this node.
//!
//! Owns: the Actix actor: its timer, and carrying out what [`core`] decides. Invariant: one pass over all demands a batch of
//! messages, however many they are.

pub mod core;

use std::{sync::Arc, time::Duration};

use actinic_gcs::{JobId, Millis, NodeId, ResourceSet};
use actix::prelude::*;

use self::core::{LocalCore, LocalEffect, Served};
use super::{
    actors::ActorEvent,
    global::GlobalEvent,
    groups::GroupFrame,
    node::NodeShared,
    wire::{Demand, FromNode, JobCode, LeaseId, NodeFrame, NodeLoad, ProcessId, Spilled},
    workers::PoolEvent,
};
use crate::placement::NodeResources;

/// Between two words on how the node is, while that changes.
const REPORT: Duration = Duration::from_millis(50);
/// Words on how the node is that may be left out while nothing changes.
const SAME_MAX: u32 = 20;

/// What the scheduler is told.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub enum LocalEvent {
    /// A process of this node wants leases.
    Demand(ProcessId, Arc<JobCode>, Box<Demand>),
    /// A demand was placed here.
    Place(Box<Spilled>),
    /// A lease has ended.
    Return(LeaseId),
    /// A node says something about a placement group.
    Group(NodeId, Box<GroupFrame>),
    /// The worker of a lease waits for others.
    Blocked(LeaseId),
    /// It goes on.
    Unblocked(LeaseId),
    /// Inputs have come to this node from another: so many bytes in so many microseconds.
    Transfer(u64, u64),
    /// A lease has its worker.
    Worker(LeaseId, ProcessId),
    /// A lease can have none.
    NoWorker(LeaseId, String),
    /// This node starts no workers of a job, and why; or it does so again.
    Unfit(JobId, Option<String>),
    /// Another node starts no workers of a job.
    PeerUnfit(NodeId, JobId),
    /// A process of another node is gone.
    Gone(ProcessId),
    /// A process of this node is gone, and why.
    Ended(ProcessId, String),
    /// Another node is there, which has this in all.
    Peer(NodeId, ResourceSet),
    /// Its objects are read in place here.
    Neighbour(NodeId),
    /// They are not, though it was thought so.
    Stranger(NodeId),
    /// Another node is gone.
    PeerGone(NodeId),
}

/// What waits on this node, for people.
#[derive(Message, Debug)]
#[rtype(result = "Vec<String>")]
pub struct Waiting;

/// The workers that serve a lease, and whom.
#[derive(Message, Debug)]
#[rtype(result = "Vec<Served>")]
pub struct Leases;

/// The actor.
pub struct LocalScheduler {
    shared: Arc<NodeShared>,
    core: LocalCore,
    effects: Vec<LocalEffect>,
    pass_due: bool,
    timer: Option<(Millis, SpawnHandle)>,
    told: NodeLoad,
    told_to: Option<NodeId>,
    same: u32,
    /// Which other node was told last.
    turn: Option<NodeId>,
}

impl LocalScheduler {
    /// The scheduler of a node that has what its spec says.
    #[must_use]
    pub fn new(shared: Arc<NodeShared>) -> Self {
        let resources = NodeResources::new(shared.spec.resources.clone());
        let core = LocalCore::new(shared.spec.id, resources).with_labels(shared.spec.labels.clone());
        let (effects, told) = (Vec::new(), NodeLoad::default());
        Self { shared, core, effects, pass_due: false, timer: None, told, told_to: None, same: 0, turn: None }
    }

    fn carry_out(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                LocalEffect::NeedWorker { lease, purpose, code } => {
                    self.shared.pool(PoolEvent::Need(lease, purpose, code));
                }
                LocalEffect::Ended(lease) => self.shared.pool(PoolEvent::Ended(lease)),
                LocalEffect::Grant { owner, class, lease, worker, gpus } => {
                    let doors = self.shared.doors_of(worker, owner);
                    self.shared.hub.to_process(owner, FromNode::Granted { class, lease, worker, doors, gpus });
                }
                LocalEffect::Kill(worker, why) => self.shared.pool(PoolEvent::Kill(worker.worker, why)),
                LocalEffect::Recall(owner, lease) => self.shared.hub.to_process(owner, FromNode::Recall(lease)),
                LocalEffect::Short(owner, class, lacking) => {
                    let node = self.shared.spec.id;
                    self.shared.hub.to_process(owner, FromNode::Short { class, node, lacking });
                }
                LocalEffect::Unfit(node, job) => self.shared.hub.to_node(node, &NodeFrame::Unfit(job)),
                LocalEffect::Infeasible(owner, class, reason) => {
                    self.shared.hub.to_process(owner, FromNode::Infeasible { class, reason });
                }
                LocalEffect::Group(node, frame) => self.shared.to_group_node(node, frame),
                LocalEffect::Spill(spilled) => self.spill(spilled),
                LocalEffect::Place(node, placed) => self.shared.hub.to_node(node, &NodeFrame::Place(placed)),
            }
        }
    }

    /// The node whose global scheduler is asked: the head, or this one where the head is away, since any can do it.
    fn in_charge(&self) -> NodeId {
        let head = self.shared.head_node().filter(|head| self.shared.hub.has_node(*head));
        head.unwrap_or(self.shared.spec.id)
    }

    fn spill(&self, spilled: Box<Spilled>) {
        match self.in_charge() {
            node if node == self.shared.spec.id => self.shared.global(GlobalEvent::Spilled(spilled)),
            head => self.shared.hub.to_node(head, &NodeFrame::Spilled(spilled)),
        }
    }

    /// Tells all who may care. From here and nowhere else: whoever was granted a worker hears of its end after the grant, and
    /// a global scheduler of an owner's end after its last demand.
    fn tell_of_end(&self, process: ProcessId, reason: &str) {
        let reason = reason.to_owned();
        self.shared.global(GlobalEvent::Gone(process));
        self.shared.hub.to_all_processes(&FromNode::Gone { process, reason: reason.clone() });
        self.shared.hub.to_all_nodes(&NodeFrame::Gone { process, reason });
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let Some(deadline) = self.core.deadline() else { return };
        if self.timer.as_ref().is_some_and(|(at, _)| *at <= deadline) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        // At least a tick away: what is overdue because nothing can be done about it must not spin.
        let wait = Duration::from_millis(deadline.0.saturating_sub(self.shared.now().0).max(5));
        let timer = ctx.run_later(wait, |this, ctx| {
            this.timer = None;
            this.pass(ctx);
        });
        self.timer = Some((deadline, timer));
    }

    fn pass(&mut self, ctx: &mut Context<Self>) {
        self.pass_due = false;
        self.core.dispatch(self.shared.now(), &mut self.effects);
        self.carry_out();
        self.arm(ctx);
    }

    /// Says how the node is: to the scheduler in charge when it has changed, and to one other node in turn, whose scheduler
    /// may have to take over. So what a node says and hears does not grow with the number of nodes.
    fn report(&mut self) {
        let load = self.core.load(self.shared.workers(), self.told.revision);
        let me = self.shared.spec.id;
        let in_charge = self.in_charge();
        let known = load == self.told && self.told_to == Some(in_charge);
        if known && self.same < SAME_MAX {
            self.same += 1;
        } else {
            (self.same, self.told_to) = (0, Some(in_charge));
            self.told = NodeLoad { revision: load.revision + 1, ..load };
            self.shared.global(GlobalEvent::Load(me, self.told.clone()));
            if in_charge != me {
                self.shared.hub.to_node(in_charge, &NodeFrame::Load(self.told.clone()));
            }
        }
        self.turn = self.shared.hub.node_after(self.turn);
        if let Some(other) = self.turn.filter(|other| *other != in_charge) {
            self.shared.hub.to_node(other, &NodeFrame::Load(self.told.clone()));
        }
    }
}

impl Actor for LocalScheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1_024);
        ctx.run_interval(REPORT, |this, _| this.report());
    }
}

/// Sent to oneself: it comes after all that has arrived by now.
#[derive(Message)]
#[rtype(result = "()")]
struct Pass;

impl Handler<Pass> for LocalScheduler {
    type Result = ();

    fn handle(&mut self, _: Pass, ctx: &mut Context<Self>) {
        self.pass(ctx);
    }
}

impl Handler<LocalEvent> for LocalScheduler {
    type Result = ();

    fn handle(&mut self, event: LocalEvent, ctx: &mut Context<Self>) {
        let now = self.shared.now();
        match event {
            LocalEvent::Demand(owner, code, demand) => {
                self.core.on_demand(now, owner, &code, *demand, &mut self.effects);
            }
            LocalEvent::Place(placed) => self.core.on_place(now, *placed),
            LocalEvent::Return(lease) => self.core.on_return(lease, &mut self.effects),
            LocalEvent::Group(from, frame) => self.core.on_group(now, from, *frame, &mut self.effects),
            LocalEvent::Blocked(lease) => self.core.on_blocked(lease),
            LocalEvent::Unblocked(lease) => self.core.on_unblocked(lease),
            LocalEvent::Transfer(bytes, took_us) => self.core.on_transfer(bytes, took_us),
            LocalEvent::Worker(lease, worker) => self.core.on_worker(lease, worker, &mut self.effects),
            LocalEvent::NoWorker(lease, reason) => self.core.on_no_worker(lease, &reason, &mut self.effects),
            LocalEvent::Unfit(job, why) => self.core.on_unfit(job, why),
            LocalEvent::PeerUnfit(node, job) => self.core.on_peer_unfit(now, node, job),
            LocalEvent::Gone(process) => self.core.on_gone(process, &mut self.effects),
            LocalEvent::Ended(process, reason) => {
                self.core.on_gone(process, &mut self.effects);
                self.carry_out();
                self.tell_of_end(process, &reason);
                self.shared.actors(ActorEvent::Gone(process, reason));
            }
            LocalEvent::Neighbour(node) => self.core.on_neighbour(node),
            LocalEvent::Stranger(node) => self.core.on_stranger(node),
            LocalEvent::Peer(node, has) => {
                self.core.on_peer(node, has);
                // It knows nothing of this node.
                self.told_to = None;
            }
            LocalEvent::PeerGone(node) => self.core.on_peer_gone(now, node, &mut self.effects),
        }
        self.carry_out();
        if !std::mem::replace(&mut self.pass_due, true) {
            ctx.notify(Pass);
        }
    }
}

impl Handler<Leases> for LocalScheduler {
    type Result = Vec<Served>;

    fn handle(&mut self, _: Leases, _: &mut Context<Self>) -> Vec<Served> {
        self.core.served()
    }
}

impl Handler<Waiting> for LocalScheduler {
    type Result = Vec<String>;

    fn handle(&mut self, _: Waiting, _: &mut Context<Self>) -> Vec<String> {
        self.core.waiting()
    }
}
