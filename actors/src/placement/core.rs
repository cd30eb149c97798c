//! The placement core: nodes, and plain allocations on them.
//!
//! Owns: the set of nodes and what is taken from each. Groups are in `groups` and who waits in `queue`, on the same core.
//!
//! Methods, in groups: *nodes* (`add_node`, `remove_node`), *leases* (`try_allocate`, `allocate_on`,
//! `allocate_in_group`, `release`), *groups* (`create`, `remove_group`, `retry`) and *getters* (`node`, `can_ever_fit`,
//! `explain`, `group_nodes`).
//!
//! Invariants: what a node has is free, leased or reserved by a bundle, and nothing twice; a lease whose node or bundle
//! is gone gives nothing back, even if another of the same id has come since.

use std::collections::BTreeMap;

use actinic_gcs::{NodeId, PlacementGroupId, Quantity, ResourceSet};

use super::{
    explain::{Infeasible, Refusal},
    groups::{Group, PlacementEffect},
    node::{Allocation, DeviceShare, NodeResources},
    plan::Nodes,
};

/// One node, for one membership.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) epoch: u64,
    pub(super) resources: NodeResources,
}

/// Where a lease is to be given back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Node { epoch: u64 },
    Bundle { group: PlacementGroupId, bundle: u32, epoch: u64 },
}

/// What one task or actor holds. Give it back with [`PlacementCore::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is not released stays taken"]
pub struct Lease {
    pub(super) node: NodeId,
    pub(super) origin: Origin,
    pub(super) allocation: Allocation,
}

impl Lease {
    /// The node it is on.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The placement group and bundle it is in, if any.
    #[must_use]
    pub fn bundle(&self) -> Option<(PlacementGroupId, u32)> {
        match self.origin {
            Origin::Node { .. } => None,
            Origin::Bundle { group, bundle, .. } => Some((group, bundle)),
        }
    }

    /// What is held.
    #[must_use]
    pub fn demand(&self) -> &ResourceSet {
        self.allocation.demand()
    }

    /// The devices held of `resource`.
    #[must_use]
    pub fn devices(&self, resource: &str) -> &[DeviceShare] {
        self.allocation.devices(resource)
    }
}

/// Nodes, what is taken from them, and placement groups.
///
/// ```
/// # use actinic_gcs::{resources::CPU, NodeId, ResourceSet};
/// # use actinic_actors::placement::{NodeResources, PlacementCore};
/// let (mut core, mut effects) = (PlacementCore::new(), Vec::new());
/// core.add_node(NodeId(1), NodeResources::new(ResourceSet::new().with(CPU, 2.0)), &mut effects);
/// let lease = core.try_allocate(&ResourceSet::new().with(CPU, 1.5))?;
/// assert_eq!(core.node(lease.node()).map(|node| node.free().of(CPU).units()), Some(0.5));
/// core.release(lease, &mut effects);
/// let never = core.can_ever_fit(&ResourceSet::new().with(CPU, 3.0)).unwrap_err();
/// assert_eq!(never.to_string(), "3 CPU are asked, and no one place has more than 2");
/// # Ok::<_, actinic_actors::placement::Refusal>(())
/// ```
#[derive(Debug, Default)]
pub struct PlacementCore {
    pub(super) nodes: Nodes,
    pub(super) groups: BTreeMap<PlacementGroupId, Group>,
    /// Groups with bundles to place, by age.
    pub(super) waiting: BTreeMap<u64, PlacementGroupId>,
    /// Whether something was freed since the last retry.
    pub(super) retry_due: bool,
    epoch: u64,
}

impl PlacementCore {
    /// No nodes, no groups.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node, or replaces one of this id, as if it had left before. Groups that wait for nodes may now be placed:
    /// call [`retry`](Self::retry).
    pub fn add_node(&mut self, node: NodeId, resources: NodeResources, effects: &mut Vec<PlacementEffect>) {
        self.remove_node(node, effects);
        let epoch = self.next_epoch();
        self.nodes.insert(node, Node { epoch, resources });
        self.judge_waiting();
    }

    /// Takes a node away with all that is on it. Bundles lost with it are to be placed again; leases on it give nothing
    /// back. Says whether it was there.
    pub fn remove_node(&mut self, node: NodeId, effects: &mut Vec<PlacementEffect>) -> bool {
        if self.nodes.remove(&node).is_none() {
            return false;
        }
        self.lose_bundles(node, effects);
        self.judge_waiting();
        true
    }

    /// The resources of a node; bundles reserved on it count as taken.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeResources> {
        self.nodes.get(&node).map(|on| &on.resources)
    }

    /// Every node, by id.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeResources)> {
        self.nodes.iter().map(|(id, node)| (*id, &node.resources))
    }

    /// Takes `demand` on the first node, by id, where it is free. With one embedded node, that node.
    ///
    /// # Errors
    /// Says what is short on the node that lacks least, or why no node can ever hold it.
    pub fn try_allocate(&mut self, demand: &ResourceSet) -> Result<Lease, Refusal> {
        for (id, node) in &mut self.nodes {
            if let Ok(allocation) = node.resources.try_allocate(demand) {
                return Ok(Lease { node: *id, origin: Origin::Node { epoch: node.epoch }, allocation });
            }
        }
        Err(self.refusal(demand))
    }

    /// Takes `demand` on `node`, outside any group.
    ///
    /// # Errors
    /// If there is no such node, or it has not so much free, or never will.
    pub fn allocate_on(&mut self, node: NodeId, demand: &ResourceSet) -> Result<Lease, Refusal> {
        let on = self.nodes.get_mut(&node).ok_or(Refusal::UnknownNode(node))?;
        let allocation = on.resources.try_allocate(demand)?;
        Ok(Lease { node, origin: Origin::Node { epoch: on.epoch }, allocation })
    }

    /// Gives back what a lease holds. A lease whose node or bundle is gone gives nothing back. Groups that wait are not
    /// tried here but at the next [`retry`](Self::retry), so that a batch of releases costs one retry.
    pub fn release(&mut self, lease: Lease, effects: &mut Vec<PlacementEffect>) {
        match lease.origin {
            Origin::Node { epoch } => {
                if let Some(node) = self.nodes.get_mut(&lease.node).filter(|node| node.epoch == epoch) {
                    node.resources.release(lease.allocation);
                    self.retry_due = true;
                }
            }
            Origin::Bundle { group, bundle, epoch } => {
                self.release_in_group(group, bundle, epoch, lease.allocation, effects);
            }
        }
    }

    /// Whether some present node could hold `demand` if it were empty.
    ///
    /// # Errors
    /// Why none could.
    pub fn can_ever_fit(&self, demand: &ResourceSet) -> Result<(), Infeasible> {
        let mut largest: Option<(String, Quantity, Quantity)> = None;
        for node in self.nodes.values() {
            match node.resources.can_ever_fit(demand) {
                Ok(()) => return Ok(()),
                Err(Infeasible::Total { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        // No node holds all. The first resource that no node holds enough of is the clearest reason.
        for (name, asked) in demand.iter() {
            let mut alone = ResourceSet::new();
            alone.set(name, asked);
            let mut most = Quantity::default();
            let lacking = self.nodes.values().all(|node| match node.resources.can_ever_fit(&alone) {
                Err(Infeasible::Total { total, .. }) => {
                    most = most.max(total);
                    true
                }
                _ => false,
            });
            if lacking {
                largest = Some((name.to_owned(), asked, most));
                break;
            }
        }
        Err(match largest {
            _ if self.nodes.is_empty() => Infeasible::NoNodes,
            Some((resource, asked, total)) => Infeasible::Total { resource, asked, total },
            None => Infeasible::Together { demand: demand.clone() },
        })
    }

    /// Why `demand` is free on no node.
    pub(super) fn refusal(&self, demand: &ResourceSet) -> Refusal {
        if let Err(never) = self.can_ever_fit(demand) {
            return Refusal::Infeasible(never);
        }
        let busy = self.nodes.values().filter_map(|node| match node.resources.refusal(demand) {
            Refusal::Busy { resource, asked, free } => Some((asked.0.saturating_sub(free.0), resource, asked, free)),
            _ => None,
        });
        let (_, resource, asked, free) =
            busy.min().expect("invariant: a node that can hold it is busy if it is refused");
        Refusal::Busy { resource, asked, free }
    }

    pub(super) fn next_epoch(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    /// Asserts every invariant that the core can see by itself.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        self.nodes.values().for_each(|node| node.resources.sanity_check());
        self.sanity_check_groups();
    }
}
