//! What a node hears: from its processes, and from other nodes.
//!
//! Owns: handing each frame to the actor that it concerns. Decides nothing.

use std::sync::{Arc, Weak};

use actinic_gcs::{spec::NodeSpec, tables::JobWrite, NodeId};
use actix::prelude::*;
use bytes::Bytes;
use parking_lot::Mutex;

use super::NodeShared;
use crate::{
    cluster::{
        actors::ActorEvent,
        global::GlobalEvent,
        groups::Asker,
        local::LocalEvent,
        objects::{manager::BulkCaller, ObjectEvent},
        peer::{tcp_halves, Conduit, Hears, Liveness, Peer},
        wire::{ActorWhere, ActorWord, FromNode, JobCode, NodeFrame, ProcessId, ToNode},
        workers::PoolEvent,
    },
    gcs_net::{
        stream::Stream,
        wire::{decode, FrameError},
        Visit, Visitors,
    },
    supervision::Exit,
};

/// What is heard of one process.
pub(super) struct ProcessEars {
    shared: Arc<NodeShared>,
    process: ProcessId,
    code: Arc<JobCode>,
}

impl ProcessEars {
    pub(super) fn new(shared: Arc<NodeShared>, process: ProcessId, code: Arc<JobCode>) -> Self {
        Self { shared, process, code }
    }
}

impl ProcessEars {
    fn to_keeper(&self, keeper: NodeId, word: ActorWord) {
        let shared = &self.shared;
        if keeper == shared.spec.id {
            return shared.actors(ActorEvent::Word(self.process, Some(self.code.clone()), word));
        }
        let code = matches!(word, ActorWord::Declare(_)).then(|| Box::new((*self.code).clone()));
        if shared.hub.has_node(keeper) {
            return shared.hub.to_node(keeper, &NodeFrame::Actor { from: self.process, code, word });
        }
        let actor = match word {
            ActorWord::Declare(new) => new.spec.id,
            ActorWord::Watch(actor) => actor,
            _ => return,
        };
        let reason = format!("the node {keeper} that kept it is gone");
        // It may have come when that was lost and not known to be dead: what it makes next another keeps.
        shared.hub.to_process(self.process, FromNode::NodeGone { node: keeper, reason: reason.clone() });
        let place = ActorWhere::Dead { exit: Exit::Failed(reason.clone()), reason };
        shared.hub.to_process(self.process, FromNode::Actor { actor, place });
    }
}

impl Hears for ProcessEars {
    fn frames(&mut self, frames: Vec<Bytes>) -> Result<(), FrameError> {
        for frame in frames {
            match decode::<ToNode>(&frame)? {
                ToNode::Demand(demand) => {
                    self.shared.local(LocalEvent::Demand(self.process, self.code.clone(), Box::new(demand)));
                }
                ToNode::Return(lease) if lease.node == self.shared.spec.id => {
                    self.shared.local(LocalEvent::Return(lease));
                }
                ToNode::Return(lease) => self.shared.hub.to_node(lease.node, &NodeFrame::Return(lease)),
                ToNode::Group(ask) => {
                    let asker = Asker { process: self.process, job: self.code.job };
                    self.shared.global(GlobalEvent::GroupAsk(asker, Box::new(ask)));
                }
                ToNode::Blocked(lease) => self.shared.local(LocalEvent::Blocked(lease)),
                ToNode::Unblocked(lease) => self.shared.local(LocalEvent::Unblocked(lease)),
                ToNode::Flush => {
                    let nodes = self.shared.hub.nodes();
                    nodes.iter().for_each(|node| self.shared.hub.to_node(*node, &NodeFrame::Flush(self.process)));
                    self.shared.pool(PoolEvent::Flush { driver: self.process, others: Some(nodes) });
                }
                ToNode::MayEnd { question, may } => {
                    self.shared.pool(PoolEvent::MayEnd(self.process.worker, question, may));
                }
                ToNode::Ready { address } => {
                    self.shared.reached_at(self.process, address);
                    self.shared.pool(PoolEvent::Ready(self.process.worker));
                }
                ToNode::Actor { keeper, word } => self.to_keeper(keeper, word),
                ToNode::Relay { to, body } => {
                    self.shared.hub.to_process(to, FromNode::Relay { from: self.process, body });
                }
                ToNode::Object(ask) => self.shared.objects(ObjectEvent::Ask(self.process, ask)),
            }
        }
        Ok(())
    }

    fn closed(&mut self, reason: &str) {
        tracing::debug!(process = %self.process, reason, "a process is gone");
        // After all that it said.
        self.shared.objects(ObjectEvent::ProcessGone(self.process));
        if self.process != self.code.driver {
            // Its end is told with its exit status, which says more.
            self.shared.hub.remove_process(self.process.worker);
            return self.shared.pool(PoolEvent::Lost(self.process.worker));
        }
        let finish = JobWrite::Finish { job: self.code.job, outcome: actinic_gcs::spec::JobOutcome::Succeeded };
        drop(self.shared.gcs.submit(actinic_gcs::shard::Request::Write(finish.into())));
        self.shared.process_gone(self.process, reason);
    }
}

/// What is heard of another node.
struct NodeEars {
    shared: Arc<NodeShared>,
    spec: NodeSpec,
    conduit: Conduit,
}

impl NodeEars {
    fn hear(&self, frame: NodeFrame) {
        let shared = &self.shared;
        match frame {
            NodeFrame::Hello(_) => {}
            NodeFrame::Load(load) => shared.global(GlobalEvent::Load(self.spec.id, load)),
            NodeFrame::Spilled(spilled) => shared.global(GlobalEvent::Spilled(spilled)),
            NodeFrame::Group(frame) => shared.group_frame(self.spec.id, frame),
            NodeFrame::Place(placed) => shared.local(LocalEvent::Place(placed)),
            // Never further: it has come to where the process is, or nowhere.
            NodeFrame::ForProcess { to, frame } if to.node == shared.spec.id => shared.hub.to_process(to, *frame),
            NodeFrame::ForProcess { .. } => {}
            NodeFrame::Unfit(job) => shared.local(LocalEvent::PeerUnfit(self.spec.id, job)),
            NodeFrame::Return(lease) => shared.local(LocalEvent::Return(lease)),
            NodeFrame::Gone { process, reason } => {
                shared.local(LocalEvent::Gone(process));
                shared.global(GlobalEvent::Gone(process));
                shared.objects(ObjectEvent::ProcessGone(process));
                shared.actors(ActorEvent::Gone(process, reason.clone()));
                shared.hub.to_all_processes(&FromNode::Gone { process, reason });
            }
            NodeFrame::Actor { from, code, word } => {
                shared.actors(ActorEvent::Word(from, code.map(Arc::from), word));
            }
            NodeFrame::HoldReplica { shard } => super::group::hold(shared, shard),
            NodeFrame::JobGone(job) => {
                shared.pool(PoolEvent::JobGone(job));
                shared.global(GlobalEvent::JobGone(job));
            }
            NodeFrame::Flush(driver) => shared.pool(PoolEvent::Flush { driver, others: None }),
            NodeFrame::FetchExe { exe, offset } => {
                let (shared, conduit) = (shared.clone(), self.conduit.clone());
                actix_rt::task::spawn_blocking(move || {
                    let bytes = shared.exes.part(exe, offset).map_err(|error| error.to_string());
                    let _ = conduit.send(&NodeFrame::ExePart { exe, offset, bytes });
                });
            }
            NodeFrame::ExePart { exe, offset, bytes } => shared.pool(PoolEvent::Part(exe, offset, bytes)),
            NodeFrame::Object(frame) => shared.objects(ObjectEvent::Frame(self.spec.id, frame)),
        }
    }
}

impl Hears for NodeEars {
    fn frames(&mut self, frames: Vec<Bytes>) -> Result<(), FrameError> {
        for frame in frames {
            self.hear(decode(&frame)?);
        }
        Ok(())
    }

    fn closed(&mut self, reason: &str) {
        let node = self.spec.id;
        if self.shared.hub.remove_node(node, &self.conduit) {
            tracing::warn!(%node, reason, "the connection to a node has ended");
            self.shared.others.write().remove(&node);
            self.shared.local(LocalEvent::PeerGone(node));
            self.shared.global(GlobalEvent::NodeGone(node));
            self.shared.pool(PoolEvent::NodeGone(node));
            self.shared.objects(ObjectEvent::NodeGone(node));
            self.shared.actors(ActorEvent::NodeGone(node, reason.to_owned()));
            self.shared.hub.to_all_processes(&FromNode::NodeGone { node, reason: reason.to_owned() });
        }
    }
}

/// A node is connected, on the arbiter at hand.
pub(super) fn welcome(shared: &Arc<NodeShared>, spec: NodeSpec, stream: Stream) {
    let conduit = Conduit::new();
    if spec.id == shared.spec.id || !shared.hub.add_node(spec.id, conduit.clone()) {
        return;
    }
    shared.others.write().insert(spec.id, spec.clone());
    shared.local(LocalEvent::Peer(spec.id, spec.resources.clone()));
    if spec.shares_memory_with(&shared.spec) {
        shared.local(LocalEvent::Neighbour(spec.id));
        shared.objects(ObjectEvent::Neighbour(spec.id));
    }
    shared.global(GlobalEvent::Node(Box::new(spec.clone())));
    shared.pool(PoolEvent::Node(spec.id));
    shared.actors(ActorEvent::Node(spec.id));
    let ears = NodeEars { shared: shared.clone(), spec, conduit: conduit.clone() };
    Peer::start_on(tcp_halves(stream), conduit, Liveness::Remote, ears);
}

/// Nodes that call; those who come before this one is ready are hung up on, and call again.
#[derive(Clone, Default)]
pub(super) struct Callers(Arc<Mutex<Option<LetIn>>>);

/// To whom callers are led, and on which arbiter.
type LetIn = (Weak<NodeShared>, ArbiterHandle);

impl Callers {
    /// From now on callers are let in, on the arbiter that `arbiter` names.
    pub(super) fn lead_to(&self, shared: &Arc<NodeShared>) {
        let weak = Arc::downgrade(shared);
        let here = self.clone();
        shared.callers.get_or_init(|| Box::new(move |arbiter| *here.0.lock() = Some((weak.clone(), arbiter))));
    }

    /// For the listener.
    pub(super) fn visitors(&self) -> Visitors {
        let here = self.clone();
        Visitors::new(move |visit, stream| {
            let Some((shared, arbiter)) = here.0.lock().clone() else { return };
            let spec = match visit {
                Visit::Node(spec) => spec,
                Visit::Objects(_) => {
                    let objects = shared.upgrade().and_then(|shared| shared.objects.get().cloned());
                    return objects.map_or((), |objects| objects.do_send(BulkCaller(stream)));
                }
            };
            arbiter.spawn_fn(move || {
                if let (Some(shared), Ok(stream)) = (shared.upgrade(), stream.arrive()) {
                    welcome(&shared, spec, stream);
                }
            });
        })
    }
}
