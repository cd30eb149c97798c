//! Planning: bundles onto nodes, all or none.
//!
//! Owns: the four strategies, and the two phases of a reservation: each bundle is *prepared* (really taken from its
//! node), and then either all are *committed* or all are given back. Does not own: who asks, or when again.
//!
//! | strategy       | what it does                                                                                  |
//! |----------------|-----------------------------------------------------------------------------------------------|
//! | `StrictPack`   | the first node that holds all                                                                 |
//! | `Pack`         | again and again the node that holds most of what is left, nodes of the group first            |
//! | `StrictSpread` | a matching of bundles to different nodes (augmenting paths; Kuhn, 1955), found if there is one |
//! | `Spread`       | as `StrictSpread`; if there is none, each bundle to the node with the fewest of the group      |
//!
//! Bundles are tried largest first. `Pack`, `Spread` and the devices of `StrictPack` are heuristics for bin packing:
//! they may miss a placement that exists. They never give a wrong one.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use actinic_gcs::{
    resources::{CPU, GPU},
    NodeId, Quantity, ResourceSet,
};

use super::{
    core::Node,
    groups::PlacementStrategy,
    node::{Allocation, NodeResources},
};

pub(super) type Nodes = BTreeMap<NodeId, Node>;

/// One bundle, taken from its node.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) bundle: usize,
    pub(super) node: NodeId,
    pub(super) allocation: Allocation,
}

/// What is to be placed.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) strategy: PlacementStrategy,
    /// The bundles to place, with their indices.
    pub(super) bundles: Vec<(usize, &'a ResourceSet)>,
    /// The nodes of bundles of the same group that are placed already, once for each.
    pub(super) placed: Vec<NodeId>,
}

/// Reserves all of `wanted`, or nothing.
pub(super) fn reserve(nodes: &mut Nodes, wanted: &Wanted<'_>) -> Option<Vec<Reserved>> {
    let mut bundles = wanted.bundles.clone();
    bundles.sort_by_key(|(index, demand)| (Reverse(size(demand)), *index));
    let mut plan = Plan { nodes, prepared: Vec::new() };
    let whole = match wanted.strategy {
        PlacementStrategy::StrictPack => plan.strict_pack(&bundles, &wanted.placed),
        PlacementStrategy::Pack => plan.pack(bundles, &wanted.placed),
        PlacementStrategy::StrictSpread => plan.strict_spread(&bundles, &wanted.placed),
        PlacementStrategy::Spread => {
            plan.strict_spread(&bundles, &wanted.placed) || plan.spread(&bundles, &wanted.placed)
        }
    };
    if whole {
        Some(plan.commit())
    } else {
        plan.abort();
        None
    }
}

/// Where bundles would go on nodes that have so much free: all of them, with their nodes, or nothing. What they take is taken
/// in `nodes`. For a planner far from the nodes, who has to ask each of them.
#[must_use]
pub fn plan_bundles(
    nodes: &mut BTreeMap<NodeId, NodeResources>,
    strategy: PlacementStrategy,
    bundles: &[(usize, &ResourceSet)],
    placed: &[NodeId],
) -> Option<Vec<(usize, NodeId)>> {
    let mut trial: Nodes = nodes.iter().map(|(id, free)| (*id, Node { epoch: 0, resources: free.clone() })).collect();
    let wanted = Wanted { strategy, bundles: bundles.to_vec(), placed: placed.to_vec() };
    let reserved = reserve(&mut trial, &wanted)?;
    *nodes = trial.into_iter().map(|(id, node)| (id, node.resources)).collect();
    Some(reserved.into_iter().map(|reserved| (reserved.bundle, reserved.node)).collect())
}

/// How large a bundle is, for trying the largest first: devices count before processors, these before the rest.
fn size(demand: &ResourceSet) -> (Quantity, Quantity, u64) {
    let rest = demand.iter().fold(0_u64, |sum, (_, quantity)| sum.saturating_add(quantity.0));
    (demand.of(GPU), demand.of(CPU), rest)
}

/// How many of `bundles` a node would hold, taken greedily in their order.
fn holds(node: &NodeResources, bundles: &[(usize, &ResourceSet)]) -> usize {
    let mut trial = node.clone();
    bundles.iter().filter(|(_, demand)| trial.try_allocate(demand).is_ok()).count()
}

struct Plan<'a> {
    nodes: &'a mut Nodes,
    prepared: Vec<Reserved>,
}

impl Plan<'_> {
    /// The first phase, for one bundle.
    fn prepare(&mut self, bundle: usize, node: NodeId, demand: &ResourceSet) -> bool {
        let taken = self.nodes.get_mut(&node).and_then(|on| on.resources.try_allocate(demand).ok());
        let Some(allocation) = taken else { return false };
        self.prepared.push(Reserved { bundle, node, allocation });
        true
    }

    /// The second phase, if all were prepared.
    fn commit(self) -> Vec<Reserved> {
        self.prepared
    }

    /// The second phase, if one could not be prepared.
    fn abort(&mut self) {
        for reserved in self.prepared.drain(..).rev() {
            let node = self.nodes.get_mut(&reserved.node).expect("invariant: no node leaves during a plan");
            node.resources.release(reserved.allocation);
        }
    }

    fn strict_pack(&mut self, bundles: &[(usize, &ResourceSet)], placed: &[NodeId]) -> bool {
        let candidates: Vec<_> = match placed.first() {
            Some(node) => vec![*node],
            None => self.nodes.keys().copied().collect(),
        };
        for node in candidates {
            if bundles.iter().all(|(index, demand)| self.prepare(*index, node, demand)) {
                return true;
            }
            self.abort();
        }
        false
    }

    fn pack(&mut self, mut left: Vec<(usize, &ResourceSet)>, placed: &[NodeId]) -> bool {
        let own: BTreeSet<_> = placed.iter().copied().collect();
        let mut candidates: Vec<_> = self.nodes.keys().copied().collect();
        candidates.sort_by_key(|node| (!own.contains(node), *node));
        while !left.is_empty() {
            let mut best = (0, None);
            for (at, node) in candidates.iter().enumerate() {
                let count = holds(&self.nodes[node].resources, &left);
                if count > best.0 {
                    best = (count, Some(at));
                }
                if count == left.len() || (count > 0 && own.contains(node)) {
                    best = (count, Some(at));
                    break;
                }
            }
            let (_, Some(at)) = best else { return false };
            let node = candidates.remove(at);
            left.retain(|(index, demand)| !self.prepare(*index, node, demand));
        }
        true
    }

    fn strict_spread(&mut self, bundles: &[(usize, &ResourceSet)], placed: &[NodeId]) -> bool {
        let own: BTreeSet<_> = placed.iter().copied().collect();
        let free: Vec<_> = self.nodes.keys().copied().filter(|node| !own.contains(node)).collect();
        if free.len() < bundles.len() || own.len() < placed.len() {
            return false;
        }
        let fits = |bundle: usize, node: usize| self.nodes[&free[node]].resources.fits(bundles[bundle].1);
        let mut matching = Matching { fits, bundle_of: vec![None; free.len()] };
        if !(0..bundles.len()).all(|bundle| matching.augment(bundle, &mut vec![false; free.len()])) {
            return false;
        }
        let pairs: Vec<_> =
            matching.bundle_of.iter().enumerate().filter_map(|(at, bundle)| Some((at, (*bundle)?))).collect();
        pairs.into_iter().all(|(at, bundle)| self.prepare(bundles[bundle].0, free[at], bundles[bundle].1))
    }

    fn spread(&mut self, bundles: &[(usize, &ResourceSet)], placed: &[NodeId]) -> bool {
        self.abort();
        let mut load: BTreeMap<NodeId, usize> = self.nodes.keys().map(|node| (*node, 0)).collect();
        for node in placed {
            *load.entry(*node).or_default() += 1;
        }
        for (index, demand) in bundles {
            let mut candidates: Vec<_> = load.iter().map(|(node, count)| (*count, *node)).collect();
            candidates.sort_unstable();
            let Some((_, node)) = candidates.into_iter().find(|(_, node)| self.prepare(*index, *node, demand)) else {
                return false;
            };
            *load.entry(node).or_default() += 1;
        }
        true
    }
}

struct Matching<F> {
    fits: F,
    bundle_of: Vec<Option<usize>>,
}

impl<F: Fn(usize, usize) -> bool> Matching<F> {
    /// Finds `bundle` a node, moving others if need be. Recursion is as deep as there are bundles at most.
    fn augment(&mut self, bundle: usize, seen: &mut [bool]) -> bool {
        // A free node first: it ends the search, where a taken one would deepen it.
        let free = (0..seen.len()).find(|node| self.bundle_of[*node].is_none() && (self.fits)(bundle, *node));
        if let Some(node) = free {
            self.bundle_of[node] = Some(bundle);
            return true;
        }
        for node in 0..seen.len() {
            if seen[node] || !(self.fits)(bundle, node) {
                continue;
            }
            seen[node] = true;
            let Some(other) = self.bundle_of[node] else { continue };
            if self.augment(other, seen) {
                self.bundle_of[node] = Some(bundle);
                return true;
            }
        }
        false
    }
}
