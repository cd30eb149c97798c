//! Decides on which nodes demands go that their own could not or should not meet.
//!
//! Owns: what is known of each node (what it has, and its last word on what is free) and of each demand that spilled over.
//! All of it is soft: nodes say it again every second, so that any global scheduler can take over from any other.
//!
//! Rules. A demand goes, lease by lease, to the node where it would wait the least: where leases are free to the one with
//! the most of them, else to the one with the shortest queue for its size. One that its own node can meet in time goes
//! elsewhere only where it would not wait at all. One that is to be spread goes to all nodes in turn. What no node can ever
//! hold waits, visibly, until a node joins that can.
//!
//! **Invariants:** a node is promised no more of what it said is free than it said; a demand is placed on nodes that live
//! only; the sum of what was placed is what was asked, or less.

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::{spec::NodeSpec, Millis, NodeId, Quantity, ResourceSet};

use crate::{
    cluster::wire::{ClassId, NodeLoad, ProcessId, Spilled},
    options::SchedulingStrategy,
};

/// Leases of one demand placed at once; more would only queue.
pub const PLACED_MAX: u32 = 65_536;
/// A demand that its node has not repeated for so long is forgotten.
pub const FORGET_MS: u64 = 3_500;

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum GlobalEffect {
    /// Tell a node what it is to grant.
    Place(NodeId, Box<Spilled>),
}

struct Known {
    spec: NodeSpec,
    load: NodeLoad,
    /// Leases placed there since its last word, by what they take.
    promised: ResourceSet,
    promised_count: u32,
}

struct Asked {
    last: Spilled,
    heard_at: Millis,
    placed: BTreeMap<NodeId, u32>,
    /// Whether the nodes are to be told again: what is not told again is forgotten there.
    due: bool,
}

/// The state.
#[derive(Default)]
pub struct GlobalCore {
    nodes: BTreeMap<NodeId, Known>,
    asked: BTreeMap<(ProcessId, ClassId), Asked>,
}

impl GlobalCore {
    /// No nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // --- events ----------------------------------------------------------------------------------------------------

    /// A node is there.
    pub fn on_node(&mut self, spec: NodeSpec) {
        let load = NodeLoad { free: spec.resources.clone(), ..NodeLoad::default() };
        let known = Known { load, promised: ResourceSet::new(), promised_count: 0, spec };
        self.nodes.insert(known.spec.id, known);
    }

    /// A node says how it is.
    pub fn on_load(&mut self, node: NodeId, load: NodeLoad) {
        if let Some(known) = self.nodes.get_mut(&node).filter(|known| load.revision >= known.load.revision) {
            (known.load, known.promised, known.promised_count) = (load, ResourceSet::new(), 0);
        }
    }

    /// A node is gone.
    pub fn on_node_gone(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.asked.retain(|(owner, _), _| owner.node != node);
        for asked in self.asked.values_mut() {
            asked.placed.remove(&node);
        }
    }

    /// A process is gone: nothing more is placed for it. The nodes are told of its end by its own.
    pub fn on_gone(&mut self, process: ProcessId) {
        self.asked.retain(|(owner, _), _| *owner != process);
    }

    /// A demand spilled over, or is told again.
    pub fn on_spilled(&mut self, now: Millis, spilled: Spilled) {
        let key = (spilled.owner, spilled.class);
        let asked = self.asked.entry(key).or_insert_with(|| Asked {
            last: spilled.clone(),
            heard_at: now,
            placed: BTreeMap::new(),
            due: true,
        });
        if spilled.revision >= asked.last.revision {
            (asked.last, asked.heard_at, asked.due) = (spilled, now, true);
        }
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    /// One pass over all demands. Call it once after a batch of events.
    pub fn place(&mut self, now: Millis, effects: &mut Vec<GlobalEffect>) {
        self.asked.retain(|_, asked| now.0 < asked.heard_at.0 + FORGET_MS);
        for asked in self.asked.values_mut() {
            let before = asked.placed.clone();
            shrink(asked);
            grow(asked, &mut self.nodes);
            let due = std::mem::take(&mut asked.due);
            let all: BTreeSet<NodeId> = before.keys().chain(asked.placed.keys()).copied().collect();
            for node in all {
                let count = asked.placed.get(&node).copied().unwrap_or(0);
                if due || before.get(&node).copied().unwrap_or(0) != count {
                    let told = Spilled { want: count, ..asked.last.clone() };
                    effects.push(GlobalEffect::Place(node, Box::new(told)));
                }
            }
            asked.placed.retain(|_, count| *count > 0);
        }
        self.asked.retain(|_, asked| asked.last.want > 0 || !asked.placed.is_empty());
    }

    // --- getters ---------------------------------------------------------------------------------------------------

    /// All nodes, with their last word.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeSpec, &NodeLoad)> {
        self.nodes.values().map(|known| (&known.spec, &known.load))
    }

    /// Demands that no node can ever meet as things are, for people.
    #[must_use]
    pub fn infeasible(&self) -> Vec<String> {
        let never = |asked: &&Asked| {
            asked.last.want > 0 && !self.nodes.values().any(|node| node.spec.resources.covers(&asked.last.spec.demand))
        };
        let hopeless = self.asked.values().filter(never);
        let text = |asked: &Asked| format!("{}: {} fits on no node", asked.last.owner, asked.last.spec.demand);
        hopeless.map(text).collect()
    }
}

/// Takes back what is not wanted any more, from the node with the most first.
fn shrink(asked: &mut Asked) {
    let mut over = asked.placed.values().sum::<u32>().saturating_sub(asked.last.want);
    while over > 0 {
        let Some(count) = asked.placed.iter_mut().max_by_key(|(_, count)| **count).map(|(_, count)| count) else {
            return;
        };
        *count -= 1;
        over -= 1;
    }
}

/// Places what is not placed yet.
fn grow(asked: &mut Asked, nodes: &mut BTreeMap<NodeId, Known>) {
    let demand = asked.last.spec.demand.clone();
    let home = asked.last.owner.node;
    let spread = asked.last.spec.strategy == SchedulingStrategy::Spread;
    let home_can = nodes.get(&home).is_some_and(|known| known.spec.resources.covers(&demand));
    let missing = asked.last.want.min(PLACED_MAX).saturating_sub(asked.placed.values().sum());
    for _ in 0..missing {
        let candidates = nodes
            .iter()
            .filter(|(id, known)| (spread || **id != home) && known.spec.resources.covers(&demand))
            .map(|(id, known)| (*id, slots(&free_of(known), &demand), queue_of(known, &demand)));
        let best = if spread {
            let placed = |id: &NodeId| asked.placed.get(id).copied().unwrap_or(0);
            candidates.min_by_key(|(id, free, queue)| (placed(id), *queue, u64::MAX - *free, *id))
        } else {
            candidates
                .filter(|(_, free, _)| *free > 0 || !home_can)
                .min_by_key(|(id, free, queue)| (*free == 0, if *free > 0 { 0 } else { *queue }, u64::MAX - *free, *id))
        };
        let Some((node, ..)) = best else { return };
        *asked.placed.entry(node).or_insert(0) += 1;
        if let Some(known) = nodes.get_mut(&node) {
            known.promised.add(&demand);
            known.promised_count += 1;
        }
    }
}

/// What a node has free, less what was promised since it said so.
fn free_of(known: &Known) -> ResourceSet {
    let mut free = known.load.free.clone();
    for (name, promised) in known.promised.iter() {
        let left = free.of(name).0.saturating_sub(promised.0);
        free.set(name, Quantity(left));
    }
    free
}

/// How often `demand` fits.
fn slots(free: &ResourceSet, demand: &ResourceSet) -> u64 {
    demand.iter().map(|(name, asked)| free.of(name).0 / asked.0.max(1)).min().unwrap_or(u64::from(u32::MAX))
}

/// Leases that wait there, in thousandths of what the node can hold at once.
fn queue_of(known: &Known, demand: &ResourceSet) -> u64 {
    let waiting = u64::from(known.load.waiting) + u64::from(known.promised_count);
    waiting * 1_000 / slots(&known.spec.resources, demand).max(1)
}

#[cfg(test)]
mod tests;
