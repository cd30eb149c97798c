//! Tests of placement: builders, and the three suites.

mod groups;
mod pools;
mod properties;

use actinic_gcs::{
    resources::{CPU, GPU},
    NodeId, PlacementGroupId, ResourceSet,
};

use super::{GroupError, GroupRequest, Lease, NodeResources, PlacementCore, PlacementEffect, PlacementStrategy};

fn cpus(count: f64) -> ResourceSet {
    ResourceSet::new().with(CPU, count)
}

fn gpus(count: f64) -> ResourceSet {
    ResourceSet::new().with(GPU, count)
}

/// A core with the effects of what was done to it.
struct Shell {
    core: PlacementCore,
    effects: Vec<PlacementEffect>,
}

impl Shell {
    /// Nodes 0, 1, … of these resources.
    fn new(nodes: impl IntoIterator<Item = ResourceSet>) -> Self {
        let mut shell = Self { core: PlacementCore::new(), effects: Vec::new() };
        for (id, total) in nodes.into_iter().enumerate() {
            shell.join(id as u128, total);
        }
        shell
    }

    fn join(&mut self, node: u128, total: ResourceSet) {
        self.core.add_node(NodeId(node), NodeResources::new(total), &mut self.effects);
    }

    fn request(id: u128, bundles: &[ResourceSet], strategy: PlacementStrategy) -> GroupRequest {
        GroupRequest { id: PlacementGroupId(id), bundles: bundles.to_vec(), strategy, wait_for_nodes: false }
    }

    fn create(&mut self, id: u128, bundles: &[ResourceSet], strategy: PlacementStrategy) -> Result<bool, GroupError> {
        let made = self.core.create(Self::request(id, bundles, strategy), &mut self.effects);
        self.core.sanity_check();
        made
    }

    fn release(&mut self, lease: Lease) {
        self.core.release(lease, &mut self.effects);
        self.core.retry(&mut self.effects);
        self.core.sanity_check();
    }

    fn remove(&mut self, id: u128, force: bool) {
        assert!(self.core.remove_group(PlacementGroupId(id), force, &mut self.effects));
        self.core.retry(&mut self.effects);
        self.core.sanity_check();
    }

    /// The node of each bundle, -1 for those that wait.
    fn nodes_of(&self, id: u128) -> Vec<i64> {
        let nodes = self.core.group_nodes(PlacementGroupId(id)).expect("the group is there");
        nodes.into_iter().map(|node| node.map_or(-1, |node| node.0 as i64)).collect()
    }

    fn explain(&self, id: u128) -> String {
        self.core.explain(PlacementGroupId(id)).expect("the group is there").to_string()
    }

    fn free(&self, node: u128, resource: &str) -> f64 {
        self.core.node(NodeId(node)).expect("the node is there").free().of(resource).units()
    }
}
