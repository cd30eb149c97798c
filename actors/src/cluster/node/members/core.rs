//! Which nodes there are, from lists and from changes.
//!
//! Owns: putting both together, and when the control store is asked for all of them. A core: it is told the time. Nodes are asked
//! for once; after that each change comes by itself, so what the nodes of a cluster read grows with their number and not with
//! its square. They are asked for again where changes were missed, and every [`LIST_AGAIN_MS`] in case something was lost unseen.
//!
//! A node joins once and dies once, and is never back. So of two words about one the more final is the newer, and lists and
//! changes may come in any order. **Invariant:** who is known to be dead is never taken for alive.

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::{spec::NodeInfo, Millis, NodeId};

/// Between lists, where nothing asks for one.
pub(crate) const LIST_AGAIN_MS: u64 = 30_000;

/// The state.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    alive: BTreeMap<NodeId, NodeInfo>,
    dead: BTreeSet<NodeId>,
    /// When the last list was asked for, and how many changes had been missed by then.
    listed: Option<(Millis, u64)>,
}

impl Roster {
    /// Whether all nodes are to be asked for, where so many changes were missed so far.
    pub(crate) fn is_list_due(&self, now: Millis, missed: u64) -> bool {
        self.listed.is_none_or(|(at, known)| known != missed || now.0 >= at.0 + LIST_AGAIN_MS)
    }

    /// All nodes, dead ones included, as of a list that was asked for at this time. Whether something has changed.
    pub(crate) fn on_list(&mut self, asked: Millis, missed: u64, nodes: Vec<NodeInfo>) -> bool {
        self.listed = Some((asked, missed));
        let mut changed = false;
        for info in nodes {
            changed |= self.on_node(info);
        }
        changed
    }

    /// What has become of a node. Whether that is news.
    pub(crate) fn on_node(&mut self, info: NodeInfo) -> bool {
        let node = info.spec.id;
        if !info.is_alive() {
            return self.alive.remove(&node).is_some() | self.dead.insert(node);
        }
        !self.dead.contains(&node) && self.alive.insert(node, info).is_none()
    }

    /// Those that live.
    pub(crate) fn alive(&self) -> Vec<NodeInfo> {
        self.alive.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use actinic_gcs::{
        spec::{NodeDeath, NodeSpec, NodeState},
        ResourceSet,
    };
    use proptest::prelude::*;

    use super::*;

    fn alive(number: u128) -> NodeInfo {
        let spec = NodeSpec {
            id: NodeId(number),
            address: String::new(),
            hostname: String::new(),
            head: false,
            resources: ResourceSet::new(),
            labels: BTreeMap::new(),
            object_store_bytes: 0,
            shared_memory: None,
        };
        NodeInfo { spec, registered_at: Millis(0), state: NodeState::Alive }
    }

    fn dead(number: u128) -> NodeInfo {
        NodeInfo { state: NodeState::Dead { at: Millis(1), cause: NodeDeath::Left }, ..alive(number) }
    }

    #[test]
    fn nodes_are_asked_for_once_and_again_where_changes_were_missed_or_after_long() {
        let mut roster = Roster::default();
        assert!(roster.is_list_due(Millis(0), 0));
        assert!(roster.on_list(Millis(0), 0, vec![alive(1)]));
        assert!(!roster.is_list_due(Millis(LIST_AGAIN_MS - 1), 0));
        assert!(roster.is_list_due(Millis(1), 1), "missed");
        assert!(roster.is_list_due(Millis(LIST_AGAIN_MS), 0));
        assert!(!roster.on_list(Millis(LIST_AGAIN_MS), 1, vec![alive(1)]), "no news");
        assert!(!roster.is_list_due(Millis(LIST_AGAIN_MS + 1), 1));
    }

    #[test]
    fn a_list_that_is_older_than_a_change_brings_nobody_back() {
        let mut roster = Roster::default();
        assert!(roster.on_node(alive(1)));
        assert!(roster.on_node(dead(1)));
        assert!(!roster.on_list(Millis(0), 0, vec![alive(1)]));
        assert!(roster.alive().is_empty());
    }

    proptest! {
        #[test]
        fn lists_and_changes_give_the_same_in_any_order(words in proptest::collection::vec((0..5_u128, any::<bool>()), 0..20)) {
            let told = |words: &mut dyn Iterator<Item = &(u128, bool)>| {
                let mut roster = Roster::default();
                for (node, lives) in words {
                    roster.on_node(if *lives { alive(*node) } else { dead(*node) });
                }
                roster.alive()
            };
            prop_assert_eq!(told(&mut words.iter()), told(&mut words.iter().rev()));
        }
    }
}
