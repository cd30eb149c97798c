//! How much work a demand stands for, and where its inputs are: what schedulers weigh.
//!
//! Owns: two plain records of the wire. Invariants: all of it is an estimate, told again with each demand; what is told of
//! nodes is bounded by [`INPUT_NODES_MAX`].

use std::collections::{btree_map::Entry, BTreeMap};

use actinic_gcs::NodeId;
use serde::{Deserialize, Serialize};

/// Nodes of which a demand tells how much of its inputs they have: those with the most.
pub const INPUT_NODES_MAX: usize = 8;

/// Tasks whose inputs are less are of one class, wherever those are: for each class leases are had apart, which takes longer.
pub const HOME_BYTES_MIN: u64 = 512 << 10;

/// Where the bytes are that one task takes, on the average over its class. Small arguments travel with the task and do not
/// count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputBytes {
    /// All of them, each object once, wherever it is.
    pub total: u64,
    /// How many are on which node; an object that is on several counts on each. Sorted by node.
    pub on: Vec<(NodeId, u64)>,
}

impl InputBytes {
    /// From what is on each node.
    #[must_use]
    pub fn new(total: u64, on: impl IntoIterator<Item = (NodeId, u64)>) -> Self {
        let mut by_node: BTreeMap<NodeId, u64> = BTreeMap::new();
        on.into_iter().for_each(|(node, bytes)| *by_node.entry(node).or_insert(0) += bytes);
        let mut on: Vec<(NodeId, u64)> = by_node.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
        on.sort_by_key(|(node, bytes)| (u64::MAX - *bytes, *node));
        on.truncate(INPUT_NODES_MAX);
        on.sort_unstable();
        Self { total, on }
    }

    /// Whether there is nothing to weigh.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How many are on `node`.
    #[must_use]
    pub fn at(&self, node: NodeId) -> u64 {
        self.on.iter().find(|(there, _)| *there == node).map_or(0, |(_, bytes)| *bytes)
    }

    /// How many are on some of the nodes; those that are on several count for each, but never more than there are.
    #[must_use]
    pub fn at_any(&self, of: impl Fn(NodeId) -> bool) -> u64 {
        let sum =
            self.on.iter().filter(|(node, _)| of(*node)).fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        sum.min(self.total)
    }

    /// The node that has most of them, if they are many: tasks of the same demand whose inputs are at different nodes are
    /// of different classes by this.
    #[must_use]
    pub fn home(&self) -> Option<NodeId> {
        let (node, bytes) = self.on.iter().max_by_key(|(node, bytes)| (*bytes, u128::MAX - node.0))?;
        (*bytes >= HOME_BYTES_MIN && *bytes > self.total / 2).then_some(*node)
    }
}

/// The inputs of several tasks.
#[derive(Clone, Debug, Default)]
pub struct InputSum {
    total: u64,
    on: BTreeMap<NodeId, u64>,
}

impl InputSum {
    /// One more task.
    pub fn add(&mut self, inputs: &InputBytes) {
        self.total = self.total.saturating_add(inputs.total);
        for (node, bytes) in &inputs.on {
            let sum = self.on.entry(*node).or_insert(0);
            *sum = sum.saturating_add(*bytes);
        }
    }

    /// One task less.
    pub fn remove(&mut self, inputs: &InputBytes) {
        self.total = self.total.saturating_sub(inputs.total);
        for (node, bytes) in &inputs.on {
            let Entry::Occupied(mut sum) = self.on.entry(*node) else { continue };
            *sum.get_mut() = sum.get().saturating_sub(*bytes);
            if *sum.get() == 0 {
                sum.remove();
            }
        }
    }

    /// One of `tasks`, on the average.
    #[must_use]
    pub fn mean(&self, tasks: usize) -> InputBytes {
        if self.total == 0 {
            return InputBytes::default();
        }
        let tasks = tasks.max(1) as u64;
        InputBytes::new(self.total / tasks, self.on.iter().map(|(node, bytes)| (*node, *bytes / tasks)))
    }
}

/// The work behind a demand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Tasks that are not done.
    pub tasks: u64,
    /// How long one takes, as a moving average, in microseconds; 0 where nobody knows yet.
    pub task_us: u64,
    /// What one of them takes.
    pub inputs: InputBytes,
}

impl Work {
    /// What falls to `some` of `all` leases.
    #[must_use]
    pub fn share(&self, some: u32, all: u32) -> Self {
        let tasks = self.tasks.saturating_mul(u64::from(some)) / u64::from(all.max(1));
        Self { tasks, task_us: self.task_us, inputs: self.inputs.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_inputs_is_bounded_and_names_those_with_the_most() {
        let inputs = InputBytes::new(5_000, (1..=100).map(|node| (NodeId(node), node as u64)));
        assert_eq!(inputs.on.len(), INPUT_NODES_MAX);
        assert_eq!((inputs.at(NodeId(100)), inputs.at(NodeId(1))), (100, 0));
        assert_eq!(inputs.at_any(|node| node.0 >= 99), 199);
        assert_eq!(InputBytes::new(100, [(NodeId(1), 80), (NodeId(2), 80)]).at_any(|_| true), 100);
        assert_eq!(inputs.home(), None, "they are everywhere");
        assert_eq!(InputBytes::new(9 << 20, [(NodeId(3), 5 << 20)]).home(), Some(NodeId(3)));
    }

    #[test]
    fn a_sum_of_inputs_is_empty_once_all_have_left() {
        let mut sum = InputSum::default();
        let inputs = InputBytes::new(10, [(NodeId(1), 10)]);
        sum.add(&inputs);
        sum.add(&inputs);
        assert_eq!(sum.mean(2), inputs);
        sum.remove(&inputs);
        sum.remove(&inputs);
        assert_eq!(sum.mean(0), InputBytes::default());
    }
}
