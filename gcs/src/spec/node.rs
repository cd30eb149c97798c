//! Nodes, and the labels by which they are chosen.
//!
//! Owns: what a node says of itself when it joins, and whether it lives. Does not own: its lease, which is renewed far more
//! often than a node changes and so is kept apart. Invariant: a dead node never comes back; the process that returns is a
//! new node with a new id.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Millis, NodeId, ResourceSet};

/// What a node says of itself when it joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// The node's id, for one life of its process.
    pub id: NodeId,
    /// Where other nodes reach it, `host:port`.
    pub address: String,
    /// The machine's name, for people.
    pub hostname: String,
    /// Whether it is the head node.
    pub head: bool,
    /// All that it has.
    pub resources: ResourceSet,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The size of its object store in bytes.
    pub object_store_bytes: u64,
    /// Which shared memory its processes can map: nodes of which this is equal read each other's objects in place. None where
    /// it shares none.
    #[serde(default)]
    pub shared_memory: Option<u64>,
}

impl NodeSpec {
    /// Whether the two read each other's objects in place.
    #[must_use]
    pub fn shares_memory_with(&self, other: &NodeSpec) -> bool {
        self.shared_memory.is_some() && self.shared_memory == other.shared_memory
    }
}

/// A node as the control plane sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// What it said of itself.
    pub spec: NodeSpec,
    /// When it joined.
    pub registered_at: Millis,
    /// Whether it lives.
    pub state: NodeState,
}

/// Whether a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// It holds a lease.
    Alive,
    /// It is gone for good.
    Dead {
        /// Since when.
        at: Millis,
        /// Why.
        cause: NodeDeath,
    },
}

/// Why a node is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NodeDeath {
    /// It left in good order.
    Left,
    /// It did not renew its lease.
    LeaseExpired,
    /// Its connection was reset and it did not come back.
    ConnectionLost,
}

impl NodeInfo {
    /// Whether the node lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.state == NodeState::Alive
    }
}

/// What must hold of a node's label of some key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LabelMatch {
    /// It is one of these.
    In(Vec<String>),
    /// It is absent or none of these.
    NotIn(Vec<String>),
    /// It is there.
    Exists,
    /// It is absent.
    Absent,
}

impl LabelMatch {
    /// From Ray's way of writing it: `value`, `!value`, `in(a, b)`, `!in(a, b)`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (denied, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let listed = rest.strip_prefix("in(").and_then(|rest| rest.strip_suffix(')'));
        let values = match listed {
            Some(list) => list.split(',').map(|value| value.trim().to_owned()).collect(),
            None => vec![rest.to_owned()],
        };
        if denied {
            Self::NotIn(values)
        } else {
            Self::In(values)
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, wanted)) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            match wanted {
                LabelMatch::In(values) => write!(f, "{key} in({})", values.join(", "))?,
                LabelMatch::NotIn(values) => write!(f, "{key} !in({})", values.join(", "))?,
                LabelMatch::Exists => write!(f, "{key} present")?,
                LabelMatch::Absent => write!(f, "{key} absent")?,
            }
        }
        Ok(())
    }
}

/// What must hold of a node's labels, by key; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelSelector(pub BTreeMap<String, LabelMatch>);

impl LabelSelector {
    /// As this, and that the label `key` fits `text`, in Ray's way of writing it (see [`LabelMatch::parse`]).
    #[must_use]
    pub fn with(mut self, key: &str, text: &str) -> Self {
        self.0.insert(key.to_owned(), LabelMatch::parse(text));
        self
    }

    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `labels` fit.
    #[must_use]
    pub fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, wanted)| match (wanted, labels.get(key)) {
            (LabelMatch::In(values), Some(value)) => values.contains(value),
            (LabelMatch::NotIn(values), Some(value)) => !values.contains(value),
            (LabelMatch::Exists, label) => label.is_some(),
            (LabelMatch::Absent, label) => label.is_none(),
            (LabelMatch::In(_), None) => false,
            (LabelMatch::NotIn(_), None) => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_written_as_in_ray() {
        let values = |text: &[&str]| text.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        assert_eq!(LabelMatch::parse("a"), LabelMatch::In(values(&["a"])));
        assert_eq!(LabelMatch::parse("!a"), LabelMatch::NotIn(values(&["a"])));
        assert_eq!(LabelMatch::parse("in(a, b)"), LabelMatch::In(values(&["a", "b"])));
        assert_eq!(LabelMatch::parse("!in(a,b)"), LabelMatch::NotIn(values(&["a", "b"])));
        let selector = LabelSelector::default().with("zone", "!in(a,b)").with("rack", "1");
        assert_eq!(selector.to_string(), "rack in(1), zone !in(a, b)");
    }

    #[test]
    fn labels_fit_only_if_every_demand_does() {
        let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        let selector = |key: &str, wanted| LabelSelector(BTreeMap::from([(key.to_owned(), wanted)]));
        let values = |value: &str| vec![value.to_owned()];
        assert!(LabelSelector::default().fits(&labels));
        assert!(selector("zone", LabelMatch::In(values("a"))).fits(&labels));
        assert!(!selector("zone", LabelMatch::In(values("b"))).fits(&labels));
        assert!(!selector("rack", LabelMatch::In(values("a"))).fits(&labels));
        assert!(!selector("zone", LabelMatch::NotIn(values("a"))).fits(&labels));
        assert!(selector("rack", LabelMatch::NotIn(values("a"))).fits(&labels));
        assert!(selector("zone", LabelMatch::Exists).fits(&labels));
        assert!(!selector("zone", LabelMatch::Absent).fits(&labels));
    }
}
