//! What the phases of all actors add up to: who waits for his turn, whose back-off ends when, and how many are on which node.
//!
//! Owns: those three, each in its order, so that neither placing an actor nor a look at the clock goes through all actors.
//! Invariant: they are what looking at each actor would give; whoever changes a phase does it by [`Phases::turn`].

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::{ActorId, Millis, NodeId};

use super::{Phase, Record};

/// See the module.
pub(super) struct Phases {
    me: NodeId,
    /// Who waits to be placed, by the numbers of their turns.
    queue: BTreeMap<u64, ActorId>,
    next_turn: u64,
    back_offs: BTreeSet<(Millis, ActorId)>,
    /// The nodes that are there.
    nodes: BTreeSet<NodeId>,
    /// How many actors each has, whether it is there or not.
    counts: BTreeMap<NodeId, usize>,
    /// The nodes that are there, the one with the fewest first, and of those this one.
    order: BTreeSet<(usize, bool, NodeId)>,
}

impl Phase {
    /// The node that the actor is on, or is to be on.
    fn node(&self) -> Option<NodeId> {
        match self {
            Self::Held(held) => Some(held.host.node),
            Self::Placing { on, .. } => *on,
            Self::Declared | Self::Queued(_) | Self::BackOff(_) => None,
        }
    }
}

impl Phases {
    pub(super) fn new(me: NodeId) -> Self {
        let (queue, back_offs, nodes) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let mut new =
            Self { me, queue, next_turn: 0, back_offs, nodes, counts: BTreeMap::new(), order: BTreeSet::new() };
        new.add_node(me);
        new
    }

    pub(super) fn add_node(&mut self, node: NodeId) {
        if self.nodes.insert(node) {
            self.order.insert(self.place_of(node));
        }
    }

    pub(super) fn remove_node(&mut self, node: NodeId) {
        self.order.remove(&self.place_of(node));
        self.nodes.remove(&node);
    }

    fn place_of(&self, node: NodeId) -> (usize, bool, NodeId) {
        (self.counts.get(&node).copied().unwrap_or(0), node != self.me, node)
    }

    fn count(&mut self, node: NodeId, change: impl FnOnce(usize) -> usize) {
        let before = self.place_of(node);
        match change(before.0) {
            0 => drop(self.counts.remove(&node)),
            count => drop(self.counts.insert(node, count)),
        }
        if self.order.remove(&before) {
            self.order.insert(self.place_of(node));
        }
    }

    /// The node that has the fewest actors.
    pub(super) fn emptiest(&self) -> Option<NodeId> {
        self.order.first().map(|(_, _, node)| *node)
    }

    /// The last place in the queue.
    pub(super) fn last_turn(&mut self) -> Phase {
        self.next_turn += 1;
        Phase::Queued(self.next_turn)
    }

    /// Who is placed next.
    pub(super) fn first(&self) -> Option<ActorId> {
        self.queue.first_key_value().map(|(_, actor)| *actor)
    }

    /// Those whose back-off is over.
    pub(super) fn over(&self, now: Millis) -> Vec<ActorId> {
        self.back_offs.iter().take_while(|(until, _)| now >= *until).map(|(_, actor)| *actor).collect()
    }

    /// Whether there are back-offs.
    pub(super) fn has_back_offs(&self) -> bool {
        !self.back_offs.is_empty()
    }

    /// An actor's phase is another now.
    pub(super) fn turn(&mut self, actor: ActorId, record: &mut Record, phase: Phase) {
        self.leave(actor, &record.phase);
        record.phase = phase;
        self.enter(actor, &record.phase);
    }

    /// An actor in this phase is no more.
    pub(super) fn leave(&mut self, actor: ActorId, phase: &Phase) {
        match phase {
            Phase::Queued(turn) => drop(self.queue.remove(turn)),
            Phase::BackOff(until) => drop(self.back_offs.remove(&(*until, actor))),
            _ => {}
        }
        if let Some(node) = phase.node() {
            self.count(node, |count| count.saturating_sub(1));
        }
    }

    fn enter(&mut self, actor: ActorId, phase: &Phase) {
        match phase {
            Phase::Queued(turn) => drop(self.queue.insert(*turn, actor)),
            Phase::BackOff(until) => drop(self.back_offs.insert((*until, actor))),
            _ => {}
        }
        if let Some(node) = phase.node() {
            self.count(node, |count| count + 1);
        }
    }

    /// Asserts that all of it is what looking at each actor gives.
    pub(super) fn sanity_check<'a>(&self, all: impl Iterator<Item = (ActorId, &'a Phase)>) {
        let (mut queued, mut waiting, mut counts) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        for (actor, phase) in all {
            match phase {
                Phase::Queued(turn) => drop(queued.insert(*turn, actor)),
                Phase::BackOff(until) => drop(waiting.insert((*until, actor))),
                _ => {}
            }
            phase.node().iter().for_each(|node| *counts.entry(*node).or_insert(0) += 1);
        }
        assert_eq!((&queued, &waiting, &counts), (&self.queue, &self.back_offs, &self.counts), "phases are counted");
        assert_eq!(self.order, self.nodes.iter().map(|node| self.place_of(*node)).collect(), "nodes are in order");
    }
}
