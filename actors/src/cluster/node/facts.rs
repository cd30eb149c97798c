//! What a node knows of its cluster, as of its last look.
//!
//! Owns: the facts, and what follows from them: where the control store is reached, what is told to callers and on the card.
//! Invariant: facts are replaced as a whole.

use std::sync::{atomic::Ordering, Arc};

use actinic_gcs::spec::NodeInfo;

use super::{group::GroupRow, NodeShared};
use crate::cluster::{folder::NodeCard, wire::GcsStatus};

/// What is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The nodes that live.
    pub nodes: Vec<NodeInfo>,
    /// The control store's replicas.
    pub row: GroupRow,
}

impl Facts {
    /// How the control store is.
    pub(super) fn gcs_status(&self) -> GcsStatus {
        let node_of = |address: &String| self.nodes.iter().find(|info| info.spec.address == *address);
        let shards: Vec<Vec<(String, bool)>> = self
            .row
            .addresses()
            .into_iter()
            .map(|addresses| {
                addresses.into_iter().map(|address| (address.clone(), node_of(&address).is_some())).collect()
            })
            .collect();
        let survives = |lost: &dyn Fn(&NodeInfo) -> bool| {
            self.row.voters.iter().all(|voters| {
                let left = voters.values().filter_map(node_of).filter(|info| !lost(info)).count();
                left > voters.len() / 2
            })
        };
        let known = !self.row.voters.is_empty();
        GcsStatus {
            wanted: self.row.wanted,
            shards,
            survives_a_node: known && self.nodes.iter().all(|one| survives(&|info| info.spec.id == one.spec.id)),
            survives_a_machine: known
                && self.nodes.iter().all(|one| survives(&|info| info.spec.hostname == one.spec.hostname)),
        }
    }
}

impl NodeShared {
    /// What is known by now.
    #[must_use]
    pub fn facts(&self) -> Arc<Facts> {
        self.facts.read().clone()
    }

    /// Where each shard of the control store is reached, those that were given at first included.
    #[must_use]
    pub fn gcs_addresses(&self) -> Vec<Vec<String>> {
        let mut shards = self.facts().row.addresses();
        shards.resize_with(shards.len().max(self.given.len()), Vec::new);
        for (known, given) in shards.iter_mut().zip(&self.given) {
            known.extend(given.iter().filter(|address| !known.contains(address)).cloned().collect::<Vec<_>>());
        }
        shards
    }

    /// A look has found this.
    pub(super) fn set_facts(&self, facts: Facts) {
        if *self.facts() == facts {
            return;
        }
        *self.facts.write() = Arc::new(facts);
        if let Some(server) = self.server.upgrade() {
            let shards = self.gcs_addresses().into_iter().enumerate();
            shards.for_each(|(shard, addresses)| server.set_heard(shard, addresses));
        }
        if let Err(error) = self.folder.publish(&self.card_now()) {
            tracing::warn!(%error, "what this node knows of its cluster cannot be written to its folder");
        }
    }

    /// What the node says to those on its machine.
    #[must_use]
    pub fn card_now(&self) -> NodeCard {
        let facts = self.facts();
        let nodes = facts.nodes.iter().map(|info| info.spec.address.clone()).collect();
        let head = facts.nodes.iter().find(|info| info.spec.head).map(|info| info.spec.address.clone());
        NodeCard { nodes, head: head.unwrap_or_else(|| self.card.head.clone()), ..self.card.clone() }
    }

    /// A renewal of the lease that was sent at this time was granted.
    pub(super) fn set_renewed(&self, at: actinic_gcs::Millis) {
        self.renewed.fetch_max(at.0, Ordering::AcqRel);
    }
}
