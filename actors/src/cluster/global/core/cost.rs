//! What is known of one node, and how soon a task would begin there.
//!
//! Owns: the estimate. Its source is DESIGN's rule of least estimated wait, as in the paper (Moritz et al., OSDI 2018, 4.2.2):
//! queued tasks times how long they take, plus the inputs that are missing over the bandwidth at which they come. Invariant:
//! what was promised since a node's last word counts as taken.

use std::collections::BTreeMap;

use actinic_gcs::{spec::NodeSpec, JobId, NodeId, Quantity, ResourceSet};

use crate::cluster::{
    wire::{ClassSpec, NodeLoad},
    work::{InputBytes, Work},
};

/// Bytes a second at which inputs come, as long as nobody has measured it.
pub const BANDWIDTH_DEFAULT: u64 = 1 << 30;

/// How long so many bytes are on their way to a node that has measured this bandwidth, or none (0), in microseconds.
#[must_use]
pub fn fetch_us(bytes: u64, bandwidth: u64) -> u64 {
    let bandwidth = if bandwidth == 0 { BANDWIDTH_DEFAULT } else { bandwidth };
    u64::try_from(u128::from(bytes) * 1_000_000 / u128::from(bandwidth)).unwrap_or(u64::MAX)
}

/// One node.
pub struct Known {
    /// What it has.
    pub spec: NodeSpec,
    /// Its last word.
    pub load: NodeLoad,
    /// Leases placed there since its last word, by what they take.
    promised: ResourceSet,
    /// And by how long their tasks take, in microseconds.
    promised_us: u64,
    /// Leases placed there since its last word.
    promised_count: u32,
}

impl Known {
    /// One of which nothing is taken.
    #[must_use]
    pub fn new(spec: NodeSpec) -> Self {
        let load = NodeLoad { free: spec.resources.clone(), ..NodeLoad::default() };
        Self { load, promised: ResourceSet::new(), promised_us: 0, promised_count: 0, spec }
    }

    /// It says how it is.
    pub fn hear(&mut self, load: NodeLoad) {
        (self.load, self.promised, self.promised_us, self.promised_count) = (load, ResourceSet::new(), 0, 0);
    }

    /// One lease is placed there.
    pub fn promise(&mut self, demand: &ResourceSet, work_us: u64) {
        self.promised.add(demand);
        self.promised_us = self.promised_us.saturating_add(work_us);
        self.promised_count += 1;
    }

    /// Whether tasks of a class could ever run there.
    #[must_use]
    pub fn can_hold(&self, spec: &ClassSpec) -> bool {
        self.spec.resources.covers(&spec.demand) && spec.admits(&self.spec.labels)
    }

    /// Whether workers of a job can be started there.
    #[must_use]
    pub fn is_fit(&self, job: JobId) -> bool {
        !self.load.unfit.contains_key(&job)
    }

    /// What it has free, less what was promised since it said so.
    #[must_use]
    pub fn free(&self) -> ResourceSet {
        let mut free = self.load.free.clone();
        for (name, promised) in self.promised.iter() {
            let left = free.of(name).0.saturating_sub(promised.0);
            free.set(name, Quantity(left));
        }
        free
    }

    /// How often `demand` fits into what is free.
    #[must_use]
    pub fn free_slots(&self, demand: &ResourceSet) -> u64 {
        slots(&self.free(), demand)
    }

    /// How long a task would wait for its turn, in microseconds; none where nobody knows how long the tasks there take.
    #[must_use]
    pub fn wait_us(&self, demand: &ResourceSet) -> Option<u64> {
        if self.free_slots(demand) > 0 {
            return Some(0);
        }
        if self.load.task_us == 0 && self.promised_us == 0 {
            return None;
        }
        // Where nothing waits, it is what runs that has to end first.
        let queued_us = self.load.tasks.max(1).saturating_mul(self.load.task_us).saturating_add(self.promised_us);
        Some(queued_us / slots(&self.spec.resources, demand).max(1))
    }

    /// Leases that wait there, in thousandths of what the node can hold at once.
    #[must_use]
    pub fn queue(&self, demand: &ResourceSet) -> u64 {
        let waiting = u64::from(self.load.waiting) + u64::from(self.promised_count);
        waiting * 1_000 / slots(&self.spec.resources, demand).max(1)
    }

    /// How long the inputs of a task would be on their way, in microseconds.
    #[must_use]
    pub fn transfer_us(&self, inputs: &Inputs) -> u64 {
        fetch_us(inputs.missing_at(&self.spec), self.load.bandwidth)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.spec.id
    }

    /// For people.
    #[must_use]
    pub fn describe(&self) -> String {
        let labels: Vec<String> = self.spec.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
        format!("{:08x} {}{labels}", self.id().0 >> 96, self.spec.resources)
    }
}

/// Where the inputs of a task are: on nodes, some of which read each other's objects in place.
pub struct Inputs {
    bytes: InputBytes,
    /// Which memory the nodes have that have any.
    memory: BTreeMap<NodeId, u64>,
}

impl Inputs {
    /// Of one of a demand's tasks.
    #[must_use]
    pub fn new(work: &Work, nodes: &BTreeMap<NodeId, Known>) -> Self {
        let bytes = work.inputs.clone();
        let memory_of = |node: &NodeId| nodes.get(node).and_then(|known| known.spec.shared_memory);
        let memory = bytes.on.iter().filter_map(|(node, _)| Some((*node, memory_of(node)?))).collect();
        Self { bytes, memory }
    }

    /// How many bytes a node would have to fetch.
    #[must_use]
    pub fn missing_at(&self, spec: &NodeSpec) -> u64 {
        let shares =
            |node: &NodeId| spec.shared_memory.is_some() && self.memory.get(node) == spec.shared_memory.as_ref();
        self.bytes.total.saturating_sub(self.bytes.at_any(|node| node == spec.id || shares(&node)))
    }
}

/// How often `demand` fits.
fn slots(free: &ResourceSet, demand: &ResourceSet) -> u64 {
    demand.iter().map(|(name, asked)| free.of(name).0 / asked.0.max(1)).min().unwrap_or(u64::from(u32::MAX))
}
