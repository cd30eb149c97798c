//! Who is connected to a node, and the way to each.
//!
//! Owns: the conduits to this node's processes and to other nodes. Every actor of the node has a handle on it. Invariants: a
//! frame for a process of another node goes through that node; what one process says to another and cannot be delivered is
//! told to the one who said it, who may have said it after it was told of the loss; all else is dropped, since whoever is gone
//! is told of by those who noticed.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use actinic_gcs::{NodeId, WorkerId};
use parking_lot::RwLock;

use super::{
    peer::Conduit,
    wire::{FromNode, NodeFrame, ProcessId},
};

/// The conduits.
pub struct Hub {
    /// This node.
    pub node: NodeId,
    processes: RwLock<BTreeMap<WorkerId, Conduit>>,
    nodes: RwLock<BTreeMap<NodeId, Conduit>>,
    manager: OnceLock<Box<dyn Fn(FromNode) + Send + Sync>>,
}

impl Hub {
    /// Of a node to which nobody is connected.
    #[must_use]
    pub fn new(node: NodeId) -> Arc<Self> {
        Arc::new(Self { node, processes: RwLock::default(), nodes: RwLock::default(), manager: OnceLock::new() })
    }

    /// Who hears what is sent to this node as the keeper of actors.
    pub fn set_manager(&self, hears: impl Fn(FromNode) + Send + Sync + 'static) {
        let _ = self.manager.set(Box::new(hears));
    }

    /// A process is connected.
    pub fn add_process(&self, worker: WorkerId, conduit: Conduit) {
        self.processes.write().insert(worker, conduit);
    }

    /// A process is gone; whether it was there.
    pub fn remove_process(&self, worker: WorkerId) -> bool {
        self.processes.write().remove(&worker).is_some()
    }

    /// A node is connected. Gives false, and keeps the one there is, where it was connected already.
    pub fn add_node(&self, node: NodeId, conduit: Conduit) -> bool {
        let mut nodes = self.nodes.write();
        if nodes.contains_key(&node) {
            return false;
        }
        nodes.insert(node, conduit);
        true
    }

    /// A node's connection has ended; whether it was this one.
    pub fn remove_node(&self, node: NodeId, conduit: &Conduit) -> bool {
        let mut nodes = self.nodes.write();
        let same = nodes.get(&node).is_some_and(|there| there.is(conduit));
        if same {
            nodes.remove(&node);
        }
        same
    }

    /// Whether a node is connected.
    #[must_use]
    pub fn has_node(&self, node: NodeId) -> bool {
        self.nodes.read().contains_key(&node)
    }

    /// All nodes that are connected.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.nodes.read().keys().copied().collect()
    }

    /// The node that comes next in turn after `node`, among those that are connected.
    #[must_use]
    pub fn node_after(&self, node: Option<NodeId>) -> Option<NodeId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let nodes = self.nodes.read();
        let after = node.and_then(|node| nodes.range((Excluded(node), Unbounded)).next());
        after.or_else(|| nodes.iter().next()).map(|(node, _)| *node)
    }

    /// Sends to a process, wherever it is.
    pub fn to_process(&self, to: ProcessId, frame: FromNode) {
        if to.node != self.node {
            let speaker = speaker(&frame);
            let is_sent = self.is_sent_to(to.node, &NodeFrame::ForProcess { to, frame: Box::new(frame) });
            if let (false, Some(speaker)) = (is_sent, speaker) {
                let reason = "its node is not connected".to_owned();
                self.to_process(speaker, FromNode::NodeGone { node: to.node, reason });
            }
            return;
        }
        if to.is_manager() {
            if let Some(hears) = self.manager.get() {
                hears(frame);
            }
            return;
        }
        let conduit = self.processes.read().get(&to.worker).cloned();
        match conduit.map(|conduit| conduit.send(&frame)) {
            None => match speaker(&frame) {
                Some(speaker) => {
                    self.to_process(speaker, FromNode::Gone { process: to, reason: "it has ended".to_owned() });
                }
                None => tracing::debug!(%to, "a frame for a process that is gone"),
            },
            Some(Err(error)) => tracing::warn!(%to, %error, "a frame was not sent"),
            Some(Ok(())) => {}
        }
    }

    /// Sends to another node, where that is connected.
    pub fn to_node(&self, to: NodeId, frame: &NodeFrame) {
        if !self.is_sent_to(to, frame) {
            tracing::debug!(%to, "a frame for a node that is not connected");
        }
    }

    /// Sends to another node; false where that is not connected.
    fn is_sent_to(&self, to: NodeId, frame: &NodeFrame) -> bool {
        let conduit = self.nodes.read().get(&to).cloned();
        match conduit.map(|conduit| conduit.send(frame)) {
            None => return false,
            Some(Err(error)) => tracing::warn!(%to, %error, "a frame was not sent"),
            Some(Ok(())) => {}
        }
        true
    }

    /// Sends to every process of this node.
    pub fn to_all_processes(&self, frame: &FromNode) {
        for conduit in self.processes.read().values() {
            let _ = conduit.send(frame);
        }
    }

    /// Sends to every other node.
    pub fn to_all_nodes(&self, frame: &NodeFrame) {
        for conduit in self.nodes.read().values() {
            let _ = conduit.send(frame);
        }
    }
}

/// The process whose words a frame brings, if it does.
fn speaker(frame: &FromNode) -> Option<ProcessId> {
    match frame {
        FromNode::Relay { from, .. } => Some(*from),
        _ => None,
    }
}
