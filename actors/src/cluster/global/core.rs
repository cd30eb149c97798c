//! Decides on which nodes demands go that their own could not or should not meet.
//!
//! Owns: what is known of each node (what it has, and its last word on what is free and what waits) and of each demand that
//! spilled over. All of it is soft: nodes say it again every second, so that any global scheduler can take over from any
//! other.
//!
//! Rules. A demand goes, lease by lease, to the node where it would begin soonest: how long it would wait there (the tasks
//! that wait, times how long they take, over how many run at once) and how long its missing inputs would be on their way
//! ([`cost`]). One that its own node can meet goes elsewhere only where it would begin sooner; what it has waited already its
//! own node will let it wait again, so that none starves. One that is to be spread goes to all nodes in turn. Labels of nodes
//! that must fit do, those that should are preferred where they are free. What no node can ever hold waits, visibly, until
//! one joins that can; its owner is told once.
//!
//! **Invariants:** a node is promised no more of what it said is free than it said, but knowingly, to wait; a demand is placed
//! on nodes that live only; the sum of what was placed is what was asked, or less.

pub mod cost;
mod grow;

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::{spec::NodeSpec, Millis, NodeId, ResourceSet};

use self::cost::Known;
use crate::cluster::wire::{ClassId, NodeLoad, ProcessId, Spilled};

/// Leases of one demand placed at once; more would only queue.
pub const PLACED_MAX: u32 = 65_536;
/// A demand that its node has not repeated for so long is forgotten.
pub const FORGET_MS: u64 = 3_500;
/// Nodes that are named in a word to people; the rest is counted.
const NAMED_MAX: usize = 8;
/// A demand that no node can meet for so long is told to its owner.
pub const HOPELESS_MS: u64 = 1_000;

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum GlobalEffect {
    /// Tell a node what it is to grant.
    Place(NodeId, Box<Spilled>),
    /// Tell an owner that no node there is can meet its demand: it waits for one that can.
    Hopeless(ProcessId, ClassId, String),
    /// Tell an owner that each node that has what it demands cannot start its workers.
    Infeasible(ProcessId, ClassId, String),
}

pub(super) struct Asked {
    last: Spilled,
    heard_at: Millis,
    /// Since when it is known here.
    since: Millis,
    /// Since when no node can meet it.
    hopeless_since: Option<Millis>,
    told_hopeless: bool,
    /// Since when no node that could meet it can start its workers.
    unfit_since: Option<Millis>,
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
        self.nodes.insert(spec.id, Known::new(spec));
    }

    /// A node says how it is.
    pub fn on_load(&mut self, node: NodeId, load: NodeLoad) {
        if let Some(known) = self.nodes.get_mut(&node).filter(|known| load.revision >= known.load.revision) {
            known.hear(load);
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
            since: now,
            hopeless_since: None,
            told_hopeless: false,
            unfit_since: None,
            placed: BTreeMap::new(),
            due: true,
        });
        if spilled.revision >= asked.last.revision {
            (asked.last, asked.heard_at, asked.due) = (spilled, now, true);
        }
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    /// One pass over all demands, those with the least placed first, then the oldest. Call it once after a batch of events.
    pub fn place(&mut self, now: Millis, effects: &mut Vec<GlobalEffect>) {
        self.asked.retain(|_, asked| now.0 < asked.heard_at.0 + FORGET_MS);
        let order = |asked: &Asked| (asked.placed.values().sum::<u32>(), asked.since);
        let mut keys: Vec<_> = self.asked.iter().map(|(key, asked)| (order(asked), *key)).collect();
        keys.sort_unstable();
        for (_, key) in keys {
            let Some(asked) = self.asked.get_mut(&key) else { continue };
            let before = asked.placed.clone();
            shrink(asked);
            leave_unfit(asked, &self.nodes);
            grow::grow(now, asked, &mut self.nodes);
            note_hopeless(now, asked, &self.nodes, effects);
            note_unfit(now, asked, &self.nodes, effects);
            let due = std::mem::take(&mut asked.due);
            let all: BTreeSet<NodeId> = before.keys().chain(asked.placed.keys()).copied().collect();
            for node in all {
                let count = asked.placed.get(&node).copied().unwrap_or(0);
                if due || before.get(&node).copied().unwrap_or(0) != count {
                    let work = asked.last.work.share(count, asked.last.want);
                    let told = Spilled { want: count, work, ..asked.last.clone() };
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

    /// What each node has free, as far as is known.
    #[must_use]
    pub fn free(&self) -> BTreeMap<NodeId, ResourceSet> {
        self.nodes.iter().map(|(node, known)| (*node, known.free())).collect()
    }

    /// Demands that no node can ever meet as things are, for people.
    #[must_use]
    pub fn infeasible(&self) -> Vec<String> {
        let hopeless = self.asked.values().filter(|asked| is_hopeless(asked, &self.nodes));
        let waits = hopeless.map(|asked| format!("{}: {} fits on no node", asked.last.owner, asked.last.spec));
        let unfit = self.nodes.values().flat_map(|known| {
            let of_node = known.load.unfit.iter();
            of_node.map(|(job, why)| format!("node {} starts no workers of job {job}: {why}", known.id()))
        });
        waits.chain(unfit).collect()
    }
}

fn is_hopeless(asked: &Asked, nodes: &BTreeMap<NodeId, Known>) -> bool {
    asked.last.want > 0 && !nodes.values().any(|known| known.can_hold(&asked.last.spec))
}

/// Tells the owner, once, of what no node could meet for [`HOPELESS_MS`].
fn note_hopeless(now: Millis, asked: &mut Asked, nodes: &BTreeMap<NodeId, Known>, effects: &mut Vec<GlobalEffect>) {
    if !is_hopeless(asked, nodes) {
        (asked.hopeless_since, asked.told_hopeless) = (None, false);
        return;
    }
    let since = *asked.hopeless_since.get_or_insert(now);
    if asked.told_hopeless || now.0 < since.0 + HOPELESS_MS {
        return;
    }
    asked.told_hopeless = true;
    let mut have: Vec<String> = nodes.values().take(NAMED_MAX).map(Known::describe).collect();
    if nodes.len() > NAMED_MAX {
        have.push(format!("and {} others", nodes.len() - NAMED_MAX));
    }
    let spec = &asked.last.spec;
    let text = format!(
        "tasks wait for {spec}, which no node has; the nodes have: {}; they start when one joins that has it",
        have.join("; ")
    );
    effects.push(GlobalEffect::Hopeless(asked.last.owner, asked.last.class, text));
}

/// Takes back what was placed on nodes that cannot start its workers.
fn leave_unfit(asked: &mut Asked, nodes: &BTreeMap<NodeId, Known>) {
    let job = asked.last.code.job;
    asked.placed.retain(|node, _| nodes.get(node).is_none_or(|known| known.is_fit(job)));
}

/// Tells the owner of what no node could start workers for, that has what is asked, for [`HOPELESS_MS`]: it does not wait on.
fn note_unfit(now: Millis, asked: &mut Asked, nodes: &BTreeMap<NodeId, Known>, effects: &mut Vec<GlobalEffect>) {
    let able: Vec<&Known> = nodes.values().filter(|known| known.can_hold(&asked.last.spec)).collect();
    let job = asked.last.code.job;
    if asked.last.want == 0 || able.is_empty() || able.iter().any(|known| known.is_fit(job)) {
        asked.unfit_since = None;
        return;
    }
    let since = *asked.unfit_since.get_or_insert(now);
    if now.0 < since.0 + HOPELESS_MS {
        return;
    }
    asked.last.want = 0;
    asked.unfit_since = None;
    let reasons = able.iter().filter_map(|known| Some((known.id(), known.load.unfit.get(&job)?)));
    let reasons: Vec<String> = reasons.take(NAMED_MAX).map(|(node, why)| format!("node {node}: {why}")).collect();
    let text = format!("no node that has {} can start its workers; {}", asked.last.spec, reasons.join("; "));
    effects.push(GlobalEffect::Infeasible(asked.last.owner, asked.last.class, text));
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

#[cfg(test)]
mod tests;
