//! Decides from which node a copy of an object is fetched.
//!
//! Owns: for each large object of this process, the nodes that have it, those that fetch it, and from where. A core, one an
//! owner.
//!
//! A node that wants a copy is given the one with the fewest who fetch from it, and at most [`PULLERS_MAX`] at a time; the
//! others wait until a copy is complete, which then serves as well. So an object that many nodes want spreads as a tree, and
//! no node sends it more often than its place in the tree asks. A source that could not serve is not asked again by the same
//! node as long as there is another.
//!
//! Who has *near* nodes, of the same machine, reads their copy in place: that takes nobody's place in the tree, and it waits
//! for the copy that one of them fetches rather than fetch another. So an object comes to a machine once.
//!
//! **Invariants:** no source serves more than [`PULLERS_MAX`]; nobody waits while a source is free, but for what comes to its
//! machine; who is told of a source that is not near fetches from it until it says that it has the copy, failed, or needs
//! none.

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::NodeId;

use crate::cluster::objects::wire::StoredId;

/// Nodes that fetch from one copy at a time.
pub const PULLERS_MAX: usize = 2;

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryEffect {
    /// Tell a node where to fetch from, or that there is nowhere.
    Source {
        /// What.
        stored: StoredId,
        /// Which node is told.
        to: NodeId,
        /// From where.
        from: Result<NodeId, String>,
    },
    /// Tell a node that its copy is needed no more.
    Free {
        /// Which.
        stored: StoredId,
        /// Whose.
        at: NodeId,
    },
}

#[derive(Debug)]
struct Waiting {
    to: NodeId,
    near: Vec<NodeId>,
}

#[derive(Debug, Default)]
struct Object {
    /// References of this process to it.
    count: u32,
    places: BTreeSet<NodeId>,
    /// Who fetches, and from where.
    fetching: BTreeMap<NodeId, NodeId>,
    waiting: Vec<Waiting>,
    /// Where each node could not fetch from.
    failed: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

/// The state.
#[derive(Debug, Default)]
pub struct DirectoryCore {
    objects: BTreeMap<StoredId, Object>,
}

impl DirectoryCore {
    // --- events ----------------------------------------------------------------------------------------------------

    /// This process owns an object.
    pub fn on_owned(&mut self, stored: StoredId) {
        let object = self.objects.entry(stored).or_default();
        object.count += 1;
        if object.count == 1 {
            object.places.insert(stored.node);
        }
    }

    /// This process needs it no more.
    pub fn on_released(&mut self, stored: StoredId, effects: &mut Vec<DirectoryEffect>) {
        let Some(object) = self.objects.get_mut(&stored) else { return };
        object.count = object.count.saturating_sub(1);
        if object.count > 0 {
            return;
        }
        let Some(object) = self.objects.remove(&stored) else { return };
        let waiting = object.waiting.into_iter().map(|waiting| waiting.to);
        let elsewhere: BTreeSet<NodeId> =
            object.places.into_iter().chain(object.fetching.into_keys()).chain(waiting).collect();
        let copies = elsewhere.into_iter().filter(|node| *node != stored.node);
        effects.extend(copies.map(|at| DirectoryEffect::Free { stored, at }));
    }

    /// A node wants a copy; it could not have it from `failed`, and would read one in place that is `near`.
    pub fn on_locate(
        &mut self,
        stored: StoredId,
        to: NodeId,
        failed: Option<NodeId>,
        near: Vec<NodeId>,
        effects: &mut Vec<DirectoryEffect>,
    ) {
        let Some(object) = self.objects.get_mut(&stored) else {
            let from = Err("its owner has freed it".to_owned());
            return effects.push(DirectoryEffect::Source { stored, to, from });
        };
        object.fetching.remove(&to);
        if let Some(failed) = failed {
            object.failed.entry(to).or_default().insert(failed);
        }
        match object.waiting.iter_mut().find(|waiting| waiting.to == to) {
            Some(waiting) => waiting.near = near,
            None => object.waiting.push(Waiting { to, near }),
        }
        pump(stored, object, effects);
    }

    /// A node has a copy.
    pub fn on_copied(&mut self, stored: StoredId, at: NodeId, effects: &mut Vec<DirectoryEffect>) {
        let Some(object) = self.objects.get_mut(&stored) else {
            // It was freed while the copy was on its way.
            return effects.push(DirectoryEffect::Free { stored, at });
        };
        // It may have asked again meanwhile.
        leave(object, at);
        object.places.insert(at);
        pump(stored, object, effects);
    }

    /// A node has no copy any more, or does not want one.
    pub fn on_dropped(&mut self, stored: StoredId, at: NodeId, effects: &mut Vec<DirectoryEffect>) {
        let Some(object) = self.objects.get_mut(&stored) else { return };
        leave(object, at);
        pump(stored, object, effects);
    }

    /// A node is lost.
    pub fn on_node_gone(&mut self, node: NodeId, effects: &mut Vec<DirectoryEffect>) {
        for (stored, object) in &mut self.objects {
            leave(object, node);
            pump(*stored, object, effects);
        }
    }

    // --- getters ---------------------------------------------------------------------------------------------------

    /// The nodes that have a copy.
    #[must_use]
    pub fn places(&self, stored: StoredId) -> Vec<NodeId> {
        self.objects.get(&stored).map(|object| object.places.iter().copied().collect()).unwrap_or_default()
    }

    /// How many nodes fetch an object, or wait for a source.
    #[must_use]
    pub fn under_way(&self, stored: StoredId) -> usize {
        self.objects.get(&stored).map_or(0, |object| object.fetching.len() + object.waiting.len())
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        for object in self.objects.values() {
            assert!(object.count > 0, "what nobody needs is forgotten");
            for place in &object.places {
                let pullers = object.fetching.values().filter(|from| *from == place).count();
                assert!(pullers <= PULLERS_MAX, "no source serves more than it may");
                let for_another =
                    |waiting: &Waiting| waiting.near.iter().any(|node| object.fetching.contains_key(node));
                let may_wait = pullers == PULLERS_MAX || object.waiting.iter().all(for_another);
                assert!(may_wait, "nobody waits while a source is free");
            }
            assert!(!object.places.is_empty() || object.waiting.is_empty(), "nobody waits for what is lost");
        }
    }
}

/// A node has nothing to do with an object any more.
fn leave(object: &mut Object, node: NodeId) {
    object.places.remove(&node);
    object.fetching.remove(&node);
    object.waiting.retain(|waiting| waiting.to != node);
    object.failed.remove(&node);
}

/// Gives sources to those who wait, in the order in which they asked.
fn pump(stored: StoredId, object: &mut Object, effects: &mut Vec<DirectoryEffect>) {
    let mut all = std::mem::take(&mut object.waiting);
    all.retain(|Waiting { to, near }| {
        let to = *to;
        if object.places.is_empty() {
            let from = Err("every node that had it is lost".to_owned());
            effects.push(DirectoryEffect::Source { stored, to, from });
            return false;
        }
        let bad = object.failed.get(&to);
        let has_failed = |place: &NodeId| bad.is_some_and(|failed| failed.contains(place));
        if let Some(beside) = near.iter().find(|node| object.places.contains(node) && !has_failed(node)) {
            effects.push(DirectoryEffect::Source { stored, to, from: Ok(*beside) });
            return false;
        }
        if near.iter().any(|node| object.fetching.contains_key(node)) {
            return true;
        }
        let pullers = |place: &NodeId| object.fetching.values().filter(|from| *from == place).count();
        let free = object.places.iter().filter(|place| **place != to && pullers(place) < PULLERS_MAX);
        let best = free.min_by_key(|place| (has_failed(place), pullers(place))).copied();
        let Some(best) = best else { return true };
        object.fetching.insert(to, best);
        effects.push(DirectoryEffect::Source { stored, to, from: Ok(best) });
        false
    });
    object.waiting = all;
}

#[cfg(test)]
mod tests;
